//! What the door asks of a coordinator, and what it gets back. Also what a node that is no home of a key forwards, once,
//! to one that is.

use crate::causality::Context;
use crate::key::StorageKey;
use crate::object::Object;
use crate::object::counter::{Amounts, Entry, Numbers};
use bytes::Bytes;

/// One thing to do with one key.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The key, with its database.
    pub key: StorageKey,
    /// What to do.
    pub act: Act,
    /// R for this operation; none: the database's.
    pub r: Option<u8>,
    /// W for this operation; none: the database's.
    pub w: Option<u8>,
}

/// What to do with a key.
#[derive(Clone, Debug)]
pub enum Act {
    /// Read at R: [`Outcome::Got`].
    Get,
    /// Write at W: [`Outcome::Written`].
    Put(Put),
    /// Set the expiry register of every live sibling of `seen`, at W: [`Outcome::Written`].
    Expire {
        /// Absolute Unix milliseconds; none: the key no longer expires.
        at: Option<u64>,
        /// What the command read just before (it gets at R first).
        seen: Box<Object>,
    },
    /// Read at R, then add these amounts to the number that is there, at W: [`Outcome::Counted`].
    Increment(Amounts),
}

/// A write. Small, for operations are moved about by the batch: what few writes have lies apart.
#[derive(Clone, Debug)]
pub struct Put {
    /// The new value; none: a delete, which leaves a tombstone.
    pub value: Option<Bytes>,
    /// Absolute Unix milliseconds at which the new value expires.
    pub expiry: Option<u64>,
    /// What the write has seen, and so replaces.
    pub basis: Basis,
    /// A retried request's name (`ID`): the same id never makes a second sibling.
    pub id: Option<Box<Bytes>>,
}

/// What a write has seen.
#[derive(Clone, Debug)]
pub enum Basis {
    /// Everything its coordinator holds: plain SET.
    Local,
    /// What the client's context names.
    Given(Box<Context>),
    /// Nothing: the value becomes a new sibling.
    Nothing,
    /// What a command read just before it decided to write (DEL, SET NX, GETSET …). If the coordinator holds anything
    /// that reading did not show, nothing is written and the outcome is [`Outcome::Raced`]: read again, decide again.
    Seen(Box<Object>),
}

impl Basis {
    /// [`Basis::Given`].
    pub fn given(context: Context) -> Basis {
        Basis::Given(Box::new(context))
    }

    /// [`Basis::Seen`].
    pub fn seen(object: Object) -> Basis {
        Basis::Seen(Box::new(object))
    }
}

/// What became of an operation.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The merge of what R replicas hold; an empty object when none holds anything.
    Got(Object),
    /// Acknowledged W times. The context covers the write and everything its coordinator had seen.
    Written(Context),
    /// Added and acknowledged W times.
    Counted(Box<Counted>),
    /// See [`Basis::Seen`]. Nothing was written.
    Raced,
    /// Not done, or not known to be done: the failure says which.
    Failed(Failure),
}

/// What an [`Act::Increment`] came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// The number after each amount.
    pub numbers: Numbers,
    /// Covers everything the coordinator had seen.
    pub context: Context,
    /// Where it was added: who holds this holds the write.
    pub entry: Entry,
}

/// Why an operation failed, and whether state changed. The door turns it into Redis's words.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Failure {
    /// Too few replicas can be reached; nothing was applied anywhere.
    NoReplicas {
        /// How many can be reached.
        reachable: u8,
        /// How many are needed.
        needed: u8,
    },
    /// A write was applied at `acknowledged` replicas, fewer than needed. It may still take effect.
    WriteUnsure {
        /// Replicas known to have applied it.
        acknowledged: u8,
        /// How many are needed.
        needed: u8,
    },
    /// A read was answered by `answered` replicas, fewer than needed. Reading changes nothing.
    ReadShort {
        /// Replicas that answered.
        answered: u8,
        /// How many are needed.
        needed: u8,
    },
    /// The forwarded request got no answer: a write may or may not have taken effect.
    ForwardLost,
    /// The key holds too many siblings for another; nothing was applied.
    SiblingsFull {
        /// `max-siblings`.
        limit: u32,
    },
    /// The client's context lies more than a day ahead of the clock; nothing was applied.
    ContextFromFuture,
    /// This node's clock lease could not be renewed (its disk does not answer); nothing was applied.
    ClockSpent,
    /// This node's record of the key is damaged and no other replica could mend it; nothing was applied.
    Damaged,
    /// This node's storage refuses writes; nothing was applied here.
    Storage(String),
    /// The key's context would have more entries than one may have; nothing was applied.
    ContextFull {
        /// The most entries.
        limit: u32,
    },
    /// Forwarded to a node that does not coordinate it, because it has only just started; nothing was applied.
    NotHome,
    /// What is there is no 64-bit integer; nothing was added.
    NotInteger,
    /// The number would not fit 64 bits any more; nothing was added.
    Overflow,
}
