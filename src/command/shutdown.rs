//! SHUTDOWN: the node stops, as it does on SIGTERM.
//!
//! # Contract
//! - Nothing is answered when it works: the connection closes. What was acknowledged is kept with NOSAVE as well: it is in
//!   the log already. NOW and FORCE change nothing: a stop waits for no replica, and a disk that fails is no reason to go on.
//! - Once begun it cannot be aborted.

use super::arguments::{is, syntax_error};
use super::step::Step;
use super::{Asked, done};
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// Where SHUTDOWN rings, and the roof listens.
#[derive(Debug, Default)]
pub struct Shutdown {
    asked: AtomicBool,
    wake: Notify,
}

impl Shutdown {
    /// Asks the node to stop.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether it was asked to.
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Ends when it was asked to stop, also before this call. Only the roof may wait here.
    pub async fn asked(&self) {
        while !self.is_asked() {
            self.wake.notified().await;
        }
    }
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`
pub fn shutdown(asked: &mut Asked, words: &[Bytes]) -> Step {
    let aborts = match Options::read(&words[1..]) {
        Ok(aborts) => aborts,
        Err(refusal) => return done(refusal),
    };
    let shutdown = &asked.server.shutdown;
    if aborts {
        return done(match shutdown.is_asked() {
            true => Reply::error("ERR the shutdown has begun and cannot be aborted"),
            false => Reply::error("ERR No shutdown in progress."),
        });
    }
    tracing::info!(client = %asked.session.client.address, "SHUTDOWN: stopping");
    asked.session.closing = true;
    asked.session.muted = true;
    shutdown.ask();
    done(Reply::Ok)
}

#[derive(Default)]
struct Options {
    save: bool,
    nosave: bool,
    modifiers: bool,
    abort: bool,
}

impl Options {
    /// Whether a shutdown is to be aborted.
    fn read(words: &[Bytes]) -> Result<bool, Reply> {
        let mut options = Options::default();
        for word in words {
            match word {
                word if is(word, "SAVE") => options.save = true,
                word if is(word, "NOSAVE") => options.nosave = true,
                word if is(word, "NOW") || is(word, "FORCE") => options.modifiers = true,
                word if is(word, "ABORT") => options.abort = true,
                _ => return Err(syntax_error()),
            }
        }
        let contradicts = options.save && options.nosave;
        let abort_and_more = options.abort && (options.save || options.nosave || options.modifiers);
        if contradicts || abort_and_more { Err(syntax_error()) } else { Ok(options.abort) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_redis_s() {
        let read = |text: &str| {
            let words: Vec<Bytes> = text.split_whitespace().map(|word| Bytes::from(word.to_owned())).collect();
            Options::read(&words).ok()
        };
        assert_eq!(read(""), Some(false));
        assert_eq!(read("nosave NOW force"), Some(false));
        assert_eq!(read("ABORT"), Some(true));
        for wrong in ["SAVE NOSAVE", "ABORT NOW", "x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn who_rings_early_is_heard() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.is_asked());
        shutdown.ask();
        shutdown.asked().await;
    }
}
