//! The last look: the first write of a watched key inside EXEC holds only on what EXEC saw.
//!
//! Between the clerk's look at the shelf and the moment the new thing is put there, somebody else may have been quicker.
//! So it is put there only if the shelf is as the clerk saw it; if not, the order stops.
//!
//! # Contract
//! - The first command of an EXEC that writes a watched key runs alone, and its writes of watched keys become
//!   [`Basis::Seen`] of what EXEC saw. What it reads of them before it writes must be untouched, too.
//! - When somebody was quicker, it changes nothing of that key ([`TOUCHED`], or [`TOUCHED_IN_PART`] when other keys of the
//!   same command were written), and nothing after it in the EXEC runs ([`NOT_RUN`]).
//! - This holds at one coordinator, as everything that looks before it writes.

use super::step::{Operations, Step, Then};
use crate::coordinator::Coordinator;
use crate::coordinator::acks::AckLog;
use crate::key::StorageKey;
use crate::message::operation::{Act, Basis, Operation, Outcome};
use crate::resp::reply::Reply;
use crate::session::transaction::Seen;
use std::sync::Arc;

/// What a command answers that would have overwritten somebody's later write of a watched key.
pub const TOUCHED: &str =
    "ERR a watched key was changed while EXEC ran; this command changed nothing; watch and try again";

/// The same when the command has written other keys already.
pub const TOUCHED_IN_PART: &str =
    "NOQUORUM a watched key was changed while EXEC ran; other keys of this command were changed and stay so";

/// What the commands after it answer.
pub const NOT_RUN: &str = "ERR not run: a watched key was changed while EXEC ran";

/// Whether a reply says that somebody was quicker.
pub fn is_touched(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(line) if line == TOUCHED || line == TOUCHED_IN_PART)
}

/// What an EXEC saw of its watched keys, as far as it has not written them yet.
#[derive(Debug, Default)]
pub struct Guard {
    seen: Vec<Seen>,
    /// Somebody was quicker: nothing more is run.
    broken: bool,
}

impl Guard {
    /// Guards these keys.
    pub fn new(seen: Vec<Seen>) -> Guard {
        Guard { seen, broken: false }
    }

    /// Somebody was quicker.
    pub fn fail(&mut self) {
        self.broken = true;
    }

    /// Whether somebody was quicker.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The guarded keys that these operations are about; they are guarded no longer.
    fn lift(&mut self, operations: &Operations) -> Vec<Seen> {
        let (lifted, kept) = std::mem::take(&mut self.seen)
            .into_iter()
            .partition(|seen| operations.iter().any(|each| each.key == seen.key));
        self.seen = kept;
        lifted
    }

    /// A writing command's step, held to what was seen of its keys.
    pub fn hold(&mut self, step: Step, coordinator: &Arc<Coordinator>, acks: &Arc<AckLog>) -> Step {
        if self.seen.is_empty() {
            return step;
        }
        let Step::Ask(operations, then) = step else { return step };
        let lifted = self.lift(&operations);
        if lifted.is_empty() {
            return Step::Ask(operations, then);
        }
        let (coordinator, acks) = (coordinator.clone(), acks.clone());
        let ask = move |operations| {
            let (coordinator, acks) = (coordinator.clone(), acks.clone());
            async move { (coordinator.run(operations, &acks).await, coordinator.now_ms()) }
        };
        Step::Wait(Box::pin(run(operations, then, lifted, ask)))
    }
}

/// Runs a command to its end; a race ends it, too. `ask` gives the outcomes of operations, and the wall clock after them in
/// Unix milliseconds.
async fn run<F>(
    mut operations: Operations,
    mut then: Then,
    seen: Vec<Seen>,
    ask: impl Fn(Vec<Operation>) -> F + Send,
) -> Reply
where
    F: Future<Output = (Vec<Outcome>, u64)> + Send,
{
    bind(&mut operations, &seen);
    loop {
        let keys: Vec<_> = operations.iter().map(|operation| operation.key.clone()).collect();
        let (outcomes, now_ms) = ask(operations.into_vec()).await;
        // A command that has changed something already goes on itself.
        if !matches!(then, Then::Committed(_))
            && let Some(touched) = touched(&keys, &outcomes, &seen, now_ms)
        {
            return Reply::error(touched);
        }
        match then.run(outcomes.into(), now_ms) {
            Step::Ask(next, after) => (operations, then) = (next, after),
            Step::Reply(reply) => return reply,
            Step::Wait(waiting) => return waiting.await,
            Step::Start(start) => return start().await,
        }
    }
}

/// What to answer when the outcomes show that somebody was quicker.
fn touched(keys: &[StorageKey], outcomes: &[Outcome], seen: &[Seen], now_ms: u64) -> Option<&'static str> {
    let is_later = |(key, outcome): (&StorageKey, &Outcome)| match outcome {
        Outcome::Raced => true,
        Outcome::Got(object) => seen.iter().any(|seen| seen.key == *key && seen.mark.is_touched(key, object, now_ms)),
        _ => false,
    };
    let wrote = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Written(_)));
    keys.iter().zip(outcomes).any(is_later).then_some(if wrote { TOUCHED_IN_PART } else { TOUCHED })
}

/// Makes blind writes of the keys depend on what was seen.
fn bind(operations: &mut Operations, seen: &[Seen]) {
    for operation in operations {
        if let Act::Put(put) = &mut operation.act
            && matches!(put.basis, Basis::Local)
            && let Some(seen) = seen.iter().find(|seen| seen.key == operation.key)
        {
            put.basis = Basis::seen(seen.object.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Context, Hlc};
    use crate::command::arguments::target::put;
    use crate::command::arguments::target::trial::one;
    use crate::command::step::Outcomes;
    use crate::object::Object;
    use crate::object::mark::Mark;
    use bytes::Bytes;
    use parking_lot::Mutex;

    fn seen(name: &str) -> Seen {
        let key = StorageKey::new(0, name.as_bytes()).unwrap();
        let object = Object::default();
        Seen { mark: Mark::of(&key, &object, 1, Hlc(0)), key, object }
    }

    fn operation(name: &str, act: Act) -> Operation {
        Operation { key: seen(name).key, act, r: None, w: None }
    }

    #[test]
    fn blind_writes_of_guarded_keys_are_bound_and_others_are_not() {
        let write = |basis| put(Some(Bytes::from_static(b"v")), None, basis);
        let mut operations: Operations = [
            operation("a", write(Basis::Local)),
            operation("b", write(Basis::Local)),
            operation("a", write(Basis::Nothing)),
            operation("a", Act::Get),
        ]
        .into_iter()
        .collect();
        bind(&mut operations, &[seen("a")]);
        let bound = operations.iter().map(|operation| match &operation.act {
            Act::Put(put) => matches!(put.basis, Basis::Seen(_)),
            _ => false,
        });
        assert_eq!(bound.collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn a_key_is_guarded_until_it_is_written_first() {
        let mut guard = Guard::new(vec![seen("a"), seen("b")]);
        let asks = |name| -> Operations { [operation(name, Act::Get)].into_iter().collect() };
        assert_eq!(guard.lift(&asks("c")).len(), 0);
        assert_eq!(guard.lift(&asks("a")).len(), 1);
        assert_eq!(guard.lift(&asks("a")).len(), 0);
        assert_eq!(guard.lift(&asks("b")).len(), 1);
    }

    /// What a command answers whose operations come to these outcomes, one round after the other, and what it asked for.
    async fn answered(operations: Operations, then: Then, rounds: Vec<Vec<Outcome>>) -> (Reply, Vec<Vec<Operation>>) {
        let (rounds, asked) = (Mutex::new(rounds.into_iter()), Mutex::new(Vec::new()));
        let ask = |operations: Vec<Operation>| {
            asked.lock().push(operations);
            std::future::ready((rounds.lock().next().expect("a round"), 1))
        };
        let reply = run(operations, then, vec![seen("a")], ask).await;
        (reply, asked.into_inner())
    }

    fn blind(name: &str) -> Operation {
        operation(name, put(Some(Bytes::from_static(b"v")), None, Basis::Local))
    }

    fn written() -> Outcome {
        Outcome::Written(Context::new())
    }

    #[tokio::test]
    async fn who_was_quicker_ends_the_command_and_what_it_wrote_before_is_told() {
        let ok = || Then::Plain(|_: Outcomes, _| Step::Reply(Reply::Ok));
        let reply = |operations: &[&str], outcomes| {
            let operations: Operations = operations.iter().map(|name| blind(name)).collect();
            async move { answered(operations, ok(), vec![outcomes]).await.0 }
        };
        assert_eq!(reply(&["a"], vec![written()]).await, Reply::Ok);
        assert_eq!(reply(&["a"], vec![Outcome::Raced]).await, Reply::error(TOUCHED));
        assert_eq!(reply(&["a", "b"], vec![Outcome::Raced, written()]).await, Reply::error(TOUCHED_IN_PART));
        assert!(is_touched(&reply(&["a", "b"], vec![written(), Outcome::Raced]).await));
    }

    #[tokio::test]
    async fn what_is_read_of_a_guarded_key_must_be_as_it_was_and_of_others_need_not() {
        let reply = |name: &str| {
            let operations: Operations = [operation(name, Act::Get)].into_iter().collect();
            let then = Then::Plain(|_: Outcomes, _| Step::Reply(Reply::Ok));
            async move { answered(operations, then, vec![vec![Outcome::Got(one("w"))]]).await.0 }
        };
        assert_eq!(reply("a").await, Reply::error(TOUCHED));
        assert_eq!(reply("b").await, Reply::Ok);
    }

    #[tokio::test]
    async fn only_the_first_round_depends_on_what_exec_saw_and_who_has_changed_something_goes_on() {
        let operations: Operations = [blind("a")].into_iter().collect();
        let then = Then::Plain(|_, _| {
            let raced = |outcomes: Outcomes, _| Step::Reply(Reply::Integer(outcomes.len() as i64));
            Step::Ask([blind("a")].into_iter().collect(), Then::Committed(Box::new(raced)))
        });
        let (reply, asked) = answered(operations, then, vec![vec![written()], vec![Outcome::Raced]]).await;
        assert_eq!(reply, Reply::Integer(1));
        let bound = |operations: &Vec<Operation>| matches!(&operations[0].act, Act::Put(put) if matches!(put.basis, Basis::Seen(_)));
        assert_eq!(asked.iter().map(bound).collect::<Vec<_>>(), [true, false]);
    }
}
