//! The object: what a replica holds of one key (§4.4).
//!
//! Two people write on the same page of two copies of a notebook. When the copies meet, nobody tears out a line: both
//! stand side by side, as *siblings*, until someone who has read both writes what shall hold. The notebook also
//! remembers what it has already seen and settled, in its *context*, so that an old copy can never bring a settled line
//! back.
//!
//! # Contract
//! - [`merge`](Object::merge) is idempotent, commutative and associative; it loses nothing that was not overwritten by a
//!   write that had seen it.
//! - [`put`](Object::put) is not a merge: it drops what the writer had seen and keeps everything else.
//! - Objects travel and lie whole ([`encode`]): replicate states, not deltas.
//!
//! # Invariants
//! - The context covers every sibling's dot. Siblings are sorted by dot, no dot twice.
//! - Every stamp in an object (dots, expiry registers, increments) is above every HLC in the object it was made from.
//!
//! # What it refuses to do
//! No clock and no node of its own: dots come from outside. It never drops anything because of time; whoever reads
//! decides what has expired.

pub mod counter;
pub mod digest;
pub mod encode;
pub mod flush;
pub mod mark;
mod merge;
mod put;
pub mod retire;
pub mod record;
pub mod request;

#[cfg(test)]
pub(crate) mod model;

use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use bytes::Bytes;

/// A key's replica: its siblings and what they have seen. The context covers every sibling's dot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Everything this replica has seen of the key.
    pub context: Context,
    /// The values of which none has seen the others, sorted by dot.
    pub siblings: Vec<Sibling>,
}

/// One value of a key, or the tombstone a delete left.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// The write that made it.
    pub dot: Dot,
    /// The node that minted the dot (the actor's node, but for writes with an `ID`).
    pub minter: NodeTag,
    /// The value as it was written, without what was added to it ([`counter`]); none: a tombstone.
    pub value: Option<Bytes>,
    /// The expiry register: when it was set, and the absolute Unix milliseconds, or none.
    pub expiry: (Hlc, Option<u64>),
    /// Increments: for each actor when it last counted, and its sum. Sorted by actor.
    pub increments: Vec<(Actor, Hlc, i64)>,
    /// Whether this is a counter sibling: base 0, and counter siblings of one object add up.
    pub counter: bool,
}

impl Sibling {
    /// A sibling just written: its expiry register is set by its own dot, nothing was counted.
    pub fn new(dot: Dot, minter: NodeTag, value: Option<Bytes>, expiry: Option<u64>) -> Sibling {
        Sibling { dot, minter, value, expiry: (dot.hlc, expiry), increments: Vec::new(), counter: false }
    }

    /// Whether a reader at `now_ms` sees it: it has a value, and that has not expired.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expiry.1.is_none_or(|at| at > now_ms)
    }

    /// The highest HLC in it.
    fn highest(&self) -> Hlc {
        let counted = self.increments.iter().map(|(_, hlc, _)| *hlc).max().unwrap_or_default();
        self.dot.hlc.max(self.expiry.0).max(counted)
    }
}

impl Object {
    /// Whether nothing was ever seen of the key.
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty() && self.context.is_empty()
    }

    /// The siblings a reader at `now_ms` sees, sorted by dot.
    pub fn live(&self, now_ms: u64) -> impl Iterator<Item = &Sibling> {
        self.siblings.iter().filter(move |sibling| sibling.is_live(now_ms))
    }

    /// The sibling GET shows: the live one with the greatest (HLC, actor), the same on every node.
    pub fn shown(&self, now_ms: u64) -> Option<&Sibling> {
        self.live(now_ms).last()
    }

    /// The highest HLC in the object: a new stamp must be above it.
    pub fn highest(&self) -> Hlc {
        self.siblings.iter().map(Sibling::highest).fold(self.context.highest(), Hlc::max)
    }

    /// The node that gave the highest stamp in the object, as far as the object names it.
    pub fn latest_writer(&self) -> Option<NodeTag> {
        let seen = self.context.entries().iter().map(|(actor, hlc)| (*hlc, actor.node));
        let written = self.siblings.iter().map(|sibling| (sibling.dot.hlc.max(sibling.expiry.0), sibling.minter));
        let counted = self.siblings.iter().flat_map(|sibling| &sibling.increments);
        let counted = counted.map(|(actor, hlc, _)| (*hlc, actor.node));
        // A dot is in the context, too, there perhaps under a request's name: the sibling's word counts.
        seen.chain(counted).chain(written).max_by_key(|(hlc, _)| *hlc).map(|(_, writer)| writer)
    }

    /// Whether any sibling has a value: what DBSIZE counts, expired ones apart.
    pub fn has_value(&self) -> bool {
        self.siblings.iter().any(|sibling| sibling.value.is_some())
    }

    /// Whether any value will expire.
    pub fn has_expiry(&self) -> bool {
        self.siblings.iter().any(|sibling| sibling.value.is_some() && sibling.expiry.1.is_some())
    }
}
