//! A command as a small machine: it answers, or it says what it must know or change first, and how it goes on.
//!
//! A waiter takes the order, asks the kitchen, and only then answers the guest. A handler here never waits itself: it
//! returns a [`Step`]. That keeps handlers pure and lets the connection put the operations of many commands into one
//! round to the coordinator.

use crate::message::operation::{Operation, Outcome};
use crate::resp::reply::Reply;
use smallvec::SmallVec;
use std::future::Future;
use std::pin::Pin;

/// The operations of one step; most commands have one.
pub type Operations = SmallVec<[Operation; 1]>;

/// What became of them, in the same order.
pub type Outcomes = SmallVec<[Outcome; 1]>;

/// What a command does next.
pub enum Step {
    /// It is done.
    Reply(Reply),
    /// Run these operations, then go on with their outcomes. An [`Outcome::Raced`] reaches no [`Then`] but
    /// [`Then::Committed`]: the runner starts the whole command again instead.
    Ask(Operations, Then),
    /// Something of the whole cluster or of time (WAIT, DBSIZE, DYN.EXPLAIN …). Runs after all earlier commands of the
    /// connection have been answered; nothing later is started meanwhile.
    Wait(Waiting),
    /// As [`Step::Wait`], but what comes later is started as soon as this has begun: its reply comes when it may
    /// (PUBLISH: what was sent is on its way in order, and who received it is known a little later).
    Start(Box<dyn FnOnce() -> Waiting + Send>),
}

/// A reply to come.
pub type Waiting = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// How a command goes on. The number is the coordinator's wall clock in Unix milliseconds, one reading for the round.
pub enum Then {
    /// Without anything to remember: no allocation on the hot path.
    Plain(fn(Outcomes, u64) -> Step),
    /// With what the command remembers.
    With(Box<dyn FnOnce(Outcomes, u64) -> Step + Send>),
    /// With what the command remembers, and with every outcome, [`Outcome::Raced`] included: it has changed something
    /// already, so it must not begin again, and says itself how it goes on.
    Committed(Box<dyn FnOnce(Outcomes, u64) -> Step + Send>),
}

impl Then {
    /// Goes on.
    pub fn run(self, outcomes: Outcomes, now_ms: u64) -> Step {
        match self {
            Then::Plain(then) => then(outcomes, now_ms),
            Then::With(then) | Then::Committed(then) => then(outcomes, now_ms),
        }
    }
}
