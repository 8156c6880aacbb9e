//! One key of a command, and the usual rounds a command makes with it.
//!
//! A waiter who keeps going back to the kitchen for one table writes the table's number once, and copies it onto every
//! slip. A [`Target`] is that number: the key in its database, and the quorums the connection asks for.
//!
//! # Contract
//! - A failed read is answered with [`failure::reply_to_read`], a failed write with [`failure::reply`]; a command never
//!   goes on after one.
//! - The runner gives one outcome for each operation and keeps [`Outcome::Raced`] to itself. Should either not hold, the
//!   client gets an error that claims nothing about its key; nothing panics.

use crate::causality::Context;
use crate::command::Asked;
use crate::command::failure;
use crate::command::step::{Outcomes, Step, Then};
use crate::key::StorageKey;
use crate::message::operation::{Act, Basis, Operation, Outcome, Put};
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;
use smallvec::smallvec;

/// A key in its database, with the quorums its connection asks for.
#[derive(Clone, Debug)]
pub struct Target {
    key: StorageKey,
    /// R for the reads of this command; none: the database's.
    pub r: Option<u8>,
    /// W for the writes of this command; none: the database's.
    pub w: Option<u8>,
}

impl Target {
    /// The target of an operation.
    pub fn of(operation: Operation) -> Target {
        Target { key: operation.key, r: operation.r, w: operation.w }
    }

    /// The key a client named. An error when it is longer than a key may be.
    pub fn named(asked: &mut Asked, key: &Bytes) -> Result<Target, Reply> {
        asked.operation(key, Act::Get).map(Target::of)
    }

    /// The key a client named, in another database than its own.
    pub fn in_database(asked: &mut Asked, database: u8, key: &Bytes) -> Result<Target, Reply> {
        let here = std::mem::replace(&mut asked.session.database, database);
        let target = Target::named(asked, key);
        asked.session.database = here;
        target
    }

    /// The key, with its database.
    pub fn key(&self) -> &StorageKey {
        &self.key
    }

    /// The operation that does this to the key.
    pub fn operation(self, act: Act) -> Operation {
        Operation { key: self.key, act, r: self.r, w: self.w }
    }

    /// Reads the key, then goes on with what R replicas hold, at the coordinator's wall clock in Unix milliseconds.
    pub fn get(self, then: impl FnOnce(Object, u64) -> Result<Step, Reply> + Send + 'static) -> Step {
        let then = move |outcomes: Outcomes, now_ms| settle(got_one(outcomes).and_then(|object| then(object, now_ms)));
        Step::Ask(smallvec![self.operation(Act::Get)], Then::With(Box::new(then)))
    }

    /// Changes the key, then answers `reply`.
    pub fn change(self, act: Act, reply: Reply) -> Step {
        let then = move |outcomes: Outcomes, _| settle(written_one(outcomes).map(|_| Step::Reply(reply)));
        Step::Ask(smallvec![self.operation(act)], Then::With(Box::new(then)))
    }
}

/// A write without an `ID`.
pub fn put(value: Option<Bytes>, expiry: Option<u64>, basis: Basis) -> Act {
    Act::Put(Put { value, expiry, basis, id: None })
}

/// The basis of a write of one key among several. Were one of them to race, the whole command would start again and find
/// what it has itself done already (a DEL would no longer count it, an MSETNX take it for someone else's); so the key is
/// changed as it was read, and a value written meanwhile stays beside it: GET shows whichever is later.
pub fn as_read(object: Object) -> Basis {
    Basis::given(object.context)
}

/// A step, or the error that ends the command.
pub fn settle(step: Result<Step, Reply>) -> Step {
    step.unwrap_or_else(Step::Reply)
}

/// What a read got.
pub fn got(outcome: Outcome) -> Result<Object, Reply> {
    match outcome {
        Outcome::Got(object) => Ok(object),
        Outcome::Failed(failure) => Err(failure::reply_to_read(failure)),
        Outcome::Written(_) | Outcome::Counted(_) | Outcome::Raced => Err(failure::out_of_step()),
    }
}

/// What the only read of a step got.
pub fn got_one(mut outcomes: Outcomes) -> Result<Object, Reply> {
    outcomes.pop().map_or_else(|| Err(failure::out_of_step()), got)
}

/// What the only write of a step had seen once it was done.
pub fn written_one(mut outcomes: Outcomes) -> Result<Context, Reply> {
    match outcomes.pop() {
        Some(Outcome::Written(context)) => Ok(context),
        Some(Outcome::Failed(failure)) => Err(failure::reply(failure)),
        Some(Outcome::Got(_) | Outcome::Counted(_) | Outcome::Raced) | None => Err(failure::out_of_step()),
    }
}

/// How many keys a command of many wrote, when it wrote all; otherwise the error that says how many.
pub fn acknowledged(outcomes: Outcomes) -> Result<usize, Reply> {
    let (keys, mut written, mut failures) = (outcomes.len(), 0, Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Written(_) => written += 1,
            Outcome::Failed(failure) => failures.push(failure),
            Outcome::Got(_) | Outcome::Counted(_) | Outcome::Raced => return Err(failure::out_of_step()),
        }
    }
    failure::reply_to_many(&failures, written, keys).map_or(Ok(written), Err)
}

/// Tools for the tests of commands: feed outcomes, expect next steps.
#[cfg(test)]
pub mod trial {
    use super::{
        Act, Bytes, Object, Operation, Outcome, Outcomes, Put, Reply, Step, StorageKey, Target, Then, smallvec,
    };
    use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
    use crate::object::Sibling;

    /// The clock of every test.
    pub const NOW_MS: u64 = 1_800_000_000_000;

    /// The key every test aims at unless it names its own.
    pub fn target() -> Target {
        target_named("k")
    }

    /// A key of database 0.
    pub fn target_named(key: &str) -> Target {
        Target { key: StorageKey::new(0, key.as_bytes()).unwrap(), r: None, w: None }
    }

    /// A request's words.
    pub fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    /// A dot of a node of that number.
    pub fn dot(node: u64, hlc: u64) -> Dot {
        Dot { hlc: Hlc(hlc), actor: Actor { node: NodeTag(node), birth: Hlc(1) } }
    }

    /// An object of siblings (node, value, expiry), the n-th written at HLC n.
    pub fn object(siblings: &[(u64, Option<&str>, Option<u64>)]) -> Object {
        let mut object = Object::default();
        for (n, (node, value, expiry)) in siblings.iter().enumerate() {
            let dot = dot(*node, n as u64 + 1);
            object.context.add(dot);
            object.siblings.push(Sibling {
                dot,
                minter: dot.actor.node,
                value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
                expiry: (dot.hlc, *expiry),
                increments: Vec::new(),
                counter: false,
            });
        }
        object
    }

    /// One live value that does not expire.
    pub fn one(value: &str) -> Object {
        object(&[(1, Some(value), None)])
    }

    /// Expects a question with one operation.
    pub fn asks(step: Step) -> (Operation, Then) {
        let (mut operations, then) = asks_many(step);
        assert_eq!(operations.len(), 1, "{operations:?}");
        (operations.remove(0), then)
    }

    /// Expects a question.
    pub fn asks_many(step: Step) -> (Vec<Operation>, Then) {
        match step {
            Step::Ask(operations, then) => (operations.into_vec(), then),
            Step::Reply(reply) => panic!("answered {reply:?}"),
            Step::Wait(_) | Step::Start(_) => panic!("waits"),
        }
    }

    /// Expects a read, and goes on with this object.
    pub fn after_get(step: Step, object: Object) -> Step {
        let (operation, then) = asks(step);
        assert!(matches!(operation.act, Act::Get), "{operation:?}");
        then.run(smallvec![Outcome::Got(object)], NOW_MS)
    }

    /// Expects a write; the reply is what its acknowledgement brings.
    pub fn writes(step: Step) -> (Put, Reply) {
        let (operation, then) = asks(step);
        match operation.act {
            Act::Put(put) => (put, replies(then.run(smallvec![Outcome::Written(Context::new())], NOW_MS))),
            act => panic!("{act:?}"),
        }
    }

    /// Expects an answer.
    pub fn replies(step: Step) -> Reply {
        match step {
            Step::Reply(reply) => reply,
            Step::Ask(operations, _) => panic!("asks {operations:?}"),
            Step::Wait(_) | Step::Start(_) => panic!("waits"),
        }
    }

    /// Expects a question, and answers it with these outcomes.
    pub fn feed(step: Step, outcomes: impl IntoIterator<Item = Outcome>) -> Step {
        let (_, then) = asks_many(step);
        then.run(outcomes.into_iter().collect::<Outcomes>(), NOW_MS)
    }
}
