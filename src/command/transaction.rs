//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: a list of commands that is run whole, or not at all.
//!
//! You dictate an order line by line; nothing is fetched until you say "that is all". If you asked that some shelf be left
//! alone meanwhile, the clerk walks to it once more before fetching anything, and hands the order back if it was touched.
//!
//! # Contract
//! - Replies, and which refused command spoils a transaction, are Redis 7's. What is queued runs back to back on its
//!   connection, in order, in as few rounds as the same commands in a pipeline; the replies are one array.
//! - WATCH reads its keys at R and takes a [`Mark`] of each. EXEC reads them again at R, and answers nil when one was
//!   touched since ([`Mark::is_touched`]), by anybody, this connection included, or has expired; or when its database was
//!   swapped for another, unless there was nothing and is nothing.
//! - Before EXEC nothing takes effect. When WATCH or EXEC cannot read a key, EXEC answers EXECABORT: nothing ran.
//! - A command that fails inside EXEC has its error at its place in the array, and the others run, as in Redis. That holds
//!   for a quorum that was missed, too.
//! - Nothing keeps EXEC waiting: WAIT in it answers with what is known.
//!
//! # What it does not do
//! It isolates nothing: other clients' commands run between those of an EXEC, at this node and at others. WATCH notices
//! every write that was acknowledged before EXEC began. Of what comes between EXEC's look at the watched keys and its own
//! first write of one ([`super::guard`]), it notices what goes through the same coordinator: where only reads came before
//! that write the answer is nil, else an error in its place, and the rest is not run. A write of the same moment through
//! another coordinator becomes a sibling, or the other way round.
//!
//! One thing differs from Redis: CLIENT REPLY in an EXEC changes what comes after the EXEC. Redis leaves replies out of the
//! announced array, which no client can read.

use super::arguments::target::got;
use super::step::Step;
use super::{Asked, done, face};
use crate::coordinator::Coordinator;
use crate::coordinator::acks::AckLog;
use crate::gossip::swaps::{Place, Places};
use crate::key::StorageKey;
use crate::message::operation::{Act, Operation, Outcome};
use crate::object::Object;
use crate::object::mark::Mark;
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::session::transaction::{Seen, WatchList, Watched};
use crate::session::{Face, Session};
use bytes::Bytes;
use std::sync::Arc;

/// What [`exec`] answers when the queue is to be run: the runner then answers with the replies.
pub const GO: Reply = Reply::Ok;

/// What a command that was queued is answered.
pub const QUEUED: Reply = Reply::Simple("QUEUED");

/// `MULTI`
pub fn multi(asked: &mut Asked, _words: &[Bytes]) -> Step {
    if asked.session.transaction.is_some() {
        return done(Reply::error("ERR MULTI calls can not be nested"));
    }
    asked.session.begin_transaction();
    done(Reply::Ok)
}

/// `DISCARD`
pub fn discard(asked: &mut Asked, _words: &[Bytes]) -> Step {
    if asked.session.end_transaction().is_none() {
        return done(Reply::error("ERR DISCARD without MULTI"));
    }
    asked.session.watches.take();
    done(Reply::Ok)
}

/// `UNWATCH`
pub fn unwatch(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.session.watches.take();
    done(Reply::Ok)
}

/// `WATCH key [key …]`
pub fn watch(asked: &mut Asked, words: &[Bytes]) -> Step {
    if asked.session.transaction.is_some() {
        return done(Reply::error("ERR WATCH inside MULTI is not allowed"));
    }
    let limit = asked.server.config.load().client_query_buffer_limit;
    if asked.session.watches.bytes() as u64 > limit {
        return done(Reply::error("ERR too many keys are watched (client-query-buffer-limit); none was added"));
    }
    let look = Look::of(asked);
    let looks: Result<Vec<Operation>, Reply> = words[1..].iter().map(|key| asked.operation(key, Act::Get)).collect();
    match looks {
        Err(reply) => {
            asked.session.watches.fail();
            done(reply)
        }
        Ok(looks) => {
            let index = asked.session.database;
            Step::Wait(Box::pin(async move { look.remember(looks, index).await }))
        }
    }
}

/// `EXEC`: [`GO`], or why the queue is not run.
pub fn exec(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let is_cluster_view = asked.session.face == Face::ClusterView;
    let refuse = |queue: &[Request]| {
        is_cluster_view.then(|| face::refusal_of_all(&asked.server.notice(), asked.session.guest, queue)).flatten()
    };
    match to_compare(asked.session, refuse) {
        Err(refusal) => done(refusal),
        Ok(watched) if watched.is_empty() => done(GO),
        Ok(watched) => {
            let look = Look::of(asked);
            Step::Wait(Box::pin(async move { look.compare(watched).await }))
        }
    }
}

/// The watched keys to be looked at before the queue is run; they are watched no longer, unless there is no transaction.
/// `refuse` says why a queue is not run here.
fn to_compare(session: &Session, refuse: impl Fn(&[Request]) -> Option<Reply>) -> Result<Vec<Watched>, Reply> {
    let Some(transaction) = &session.transaction else { return Err(Reply::error("ERR EXEC without MULTI")) };
    let unsure = session.watches.has_failed();
    let watched = session.watches.take();
    if transaction.is_spoilt() {
        return Err(Reply::error("EXECABORT Transaction discarded because of previous errors."));
    }
    if let Some(refusal) = refuse(transaction.requests()) {
        return Err(refusal);
    }
    if unsure {
        return Err(Reply::error(
            "EXECABORT Transaction discarded because a WATCH before it failed; nothing was changed; watch again",
        ));
    }
    Ok(watched)
}

/// The look at watched keys: runs beside the session, while nothing else of the connection does.
struct Look {
    coordinator: Arc<Coordinator>,
    acks: Arc<AckLog>,
    watches: Arc<WatchList>,
    /// What the indexes mean.
    places: Places,
}

impl Look {
    /// What is looked at, and what the commands of an EXEC are then run on, are the same databases.
    fn of(asked: &mut Asked) -> Look {
        let places = asked.server.coordinator.view().places;
        asked.session.databases = places.databases();
        Look {
            places,
            coordinator: asked.server.coordinator.clone(),
            acks: asked.session.acks.clone(),
            watches: asked.session.watches.clone(),
        }
    }

    /// Takes marks of keys.
    async fn remember(self, looks: Vec<Operation>, index: u8) -> Reply {
        let outcomes = self.coordinator.run(looks.clone(), &self.acks).await;
        // The home that was read may have forgotten more than this node knows to be settled, and the next one less.
        let floor = self.coordinator.replica().floor_max();
        let now_ms = self.coordinator.now_ms();
        let mark = |key: &StorageKey, object: &Object| Mark::of(key, object, now_ms, floor);
        match marks(looks, outcomes, (index, self.places.of(index)), mark) {
            Ok(watched) => self.watches.add(watched),
            Err(reply) => {
                self.watches.fail();
                return reply;
            }
        }
        Reply::Ok
    }

    /// Whether none of the keys was touched.
    async fn compare(self, watched: Vec<Watched>) -> Reply {
        let Some(watched) = Watched::follow(watched, &self.places) else { return Reply::NullArray };
        let get = |watched: &Watched| Operation { key: watched.key.clone(), act: Act::Get, r: watched.r, w: None };
        let outcomes = self.coordinator.run(watched.iter().map(get).collect(), &self.acks).await;
        let now_ms = self.coordinator.now_ms();
        let (verdict, seen) = verdict(watched, outcomes, now_ms);
        self.watches.untouched(seen);
        verdict
    }
}

/// The marks of keys that were read under an index, which means this place, or the first failure. `mark` takes one.
fn marks(
    looks: Vec<Operation>,
    outcomes: Vec<Outcome>,
    (index, place): (u8, Place),
    mark: impl Fn(&StorageKey, &Object) -> Mark,
) -> Result<Vec<Watched>, Reply> {
    let watched = |(Operation { key, r, .. }, outcome)| {
        got(outcome).map(|object| Watched { mark: mark(&key, &object), key, index, place, r })
    };
    looks.into_iter().zip(outcomes).map(watched).collect()
}

/// What EXEC answers when its watched keys were read again at `now_ms`, and what it saw of those that are untouched.
fn verdict(watched: Vec<Watched>, outcomes: Vec<Outcome>, now_ms: u64) -> (Reply, Vec<Seen>) {
    let (mut verdict, mut seen) = (GO, Vec::with_capacity(watched.len()));
    for (Watched { key, mark, .. }, outcome) in watched.into_iter().zip(outcomes) {
        match got(outcome) {
            Ok(object) if mark.is_touched(&key, &object, now_ms) => verdict = Reply::NullArray,
            Ok(object) => seen.push(Seen { key, mark, object }),
            // One key known to be touched is enough to know that nothing is to run.
            Err(_) if verdict == Reply::NullArray => {}
            Err(Reply::Error(line)) => {
                verdict = Reply::error(format!(
                    "EXECABORT Transaction discarded because a watched key could not be read: {line}"
                ));
            }
            Err(reply) => verdict = reply,
        }
    }
    (verdict, seen)
}

#[cfg(test)]
mod tests;
