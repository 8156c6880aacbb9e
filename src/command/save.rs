//! SAVE, BGSAVE, BGREWRITEAOF and LASTSAVE: everything acknowledged so far is on the disk for good.
//!
//! Picture a notary who writes every deed into the book at once and has the book carried to the vault every evening. Asked
//! "save", he carries it there now. There is no second copy to be made: the log holds everything, so a "rewrite" of it is
//! the same walk.
//!
//! # Contract
//! - SAVE answers when everything this node had taken before is written and fsynced, whatever `appendfsync` says. It is
//!   about this node's copies alone; the other homes have their own vaults.
//! - BGSAVE and BGREWRITEAOF answer at once; one save runs at a time. LASTSAVE is the second at which the last save that
//!   succeeded ended, and the start of the process before that.

use super::arguments::{is, syntax_error};
use super::step::Step;
use super::{Asked, Server, done};
use crate::resp::reply::Reply;
use crate::world::{Instant, spawn_blocking};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

const IN_PROGRESS: &str = "ERR Background save already in progress";

/// What is known of the saves of this process.
#[derive(Debug)]
pub struct Saves {
    /// A save runs.
    pub running: AtomicBool,
    /// The Unix second at which the last good one ended.
    pub last_s: AtomicU64,
    /// Whole seconds the last one took; -1: there was none.
    pub took_s: AtomicI64,
    /// The last one failed.
    pub failed: AtomicBool,
    /// Writes this node had coordinated when the last good one began.
    pub puts: AtomicU64,
    /// Good ones since the start.
    pub count: AtomicU64,
}

impl Saves {
    /// None yet; the process started at that Unix second.
    pub fn new(started_s: u64) -> Saves {
        Saves {
            running: AtomicBool::new(false),
            last_s: AtomicU64::new(started_s),
            took_s: AtomicI64::new(-1),
            failed: AtomicBool::new(false),
            puts: AtomicU64::new(0),
            count: AtomicU64::new(0),
        }
    }

    /// The right to run a save; none: one is running.
    fn begin(&self) -> bool {
        self.running.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn end(&self, good: bool, now_s: u64, took_s: u64, puts: u64) {
        self.failed.store(!good, Ordering::Relaxed);
        self.took_s.store(i64::try_from(took_s).unwrap_or(i64::MAX), Ordering::Relaxed);
        if good {
            self.last_s.store(now_s, Ordering::Relaxed);
            self.puts.store(puts, Ordering::Relaxed);
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.running.store(false, Ordering::Release);
    }
}

/// `LASTSAVE`
pub fn lastsave(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Integer(i64::try_from(asked.server.saves.last_s.load(Ordering::Relaxed)).unwrap_or(i64::MAX)))
}

/// `SAVE`
pub fn save(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let server = asked.server.clone();
    Step::Wait(Box::pin(async move {
        if !server.saves.begin() {
            return Reply::error(IN_PROGRESS);
        }
        // A task of its own: a client that goes away does not leave the save begun for ever.
        match tokio::spawn(run(server)).await {
            Ok(Ok(())) => Reply::Ok,
            Ok(Err(why)) => Reply::error(format!("ERR {why}")),
            Err(_) => Reply::error("ERR the node stops; everything is saved with that"),
        }
    }))
}

/// `BGSAVE [SCHEDULE]`
pub fn bgsave(asked: &mut Asked, words: &[Bytes]) -> Step {
    match &words[1..] {
        [] => {}
        [option] if is(option, "SCHEDULE") => {}
        _ => return done(syntax_error()),
    }
    done(if begin_behind(asked.server) {
        Reply::Simple("Background saving started")
    } else {
        Reply::error(IN_PROGRESS)
    })
}

/// `BGREWRITEAOF`
pub fn bgrewriteaof(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(match begin_behind(asked.server) {
        true => Reply::Simple("Background append only file rewriting started"),
        false => Reply::error("ERR Background append only file rewriting already in progress"),
    })
}

fn begin_behind(server: &Arc<Server>) -> bool {
    let begun = server.saves.begin();
    if begun {
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(why) = run(server).await {
                tracing::error!("BGSAVE failed: {why}");
            }
        });
    }
    begun
}

/// The save itself, once begun.
async fn run(server: Arc<Server>) -> Result<(), String> {
    let began = Instant::now();
    let puts = server.coordinator.stats.puts.load(Ordering::Relaxed);
    let replica = server.coordinator.replica().clone();
    let saved = spawn_blocking(move || replica.store().sync()).await;
    let saved = match saved {
        Ok(saved) => saved.map_err(|error| format!("what was acknowledged could not be forced to the disk: {error}")),
        Err(_) => Err("the node stops".to_owned()),
    };
    server.saves.end(saved.is_ok(), server.coordinator.now_ms() / 1000, began.elapsed().as_secs(), puts);
    saved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_save_runs_at_a_time_and_a_failed_one_is_not_the_last() {
        let saves = Saves::new(7);
        let told = || (saves.last_s.load(Ordering::Relaxed), saves.failed.load(Ordering::Relaxed));
        assert!(saves.begin() && !saves.begin());
        saves.end(false, 9, 1, 5);
        assert_eq!(told(), (7, true));
        assert!(saves.begin());
        saves.end(true, 11, 2, 6);
        assert_eq!(told(), (11, false));
        assert_eq!((saves.took_s.load(Ordering::Relaxed), saves.count.load(Ordering::Relaxed)), (2, 1));
    }
}
