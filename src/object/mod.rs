//! The object (being built): siblings under one context.

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
    /// The value; none: a tombstone.
    pub value: Option<Bytes>,
    /// The expiry register: when it was set, and the absolute Unix milliseconds, or none.
    pub expiry: (Hlc, Option<u64>),
    /// Increments: for each actor when it last counted, and its sum. Sorted by actor.
    pub increments: Vec<(Actor, Hlc, i64)>,
    /// Whether this is a counter sibling: base 0, and counter siblings of one object add up.
    pub counter: bool,
}

impl Sibling {
    /// Whether a reader at `now_ms` sees it: it has a value, and that has not expired.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.value.is_some() && self.expiry.1.is_none_or(|at| at > now_ms)
    }
}

impl Object {
    /// The siblings a reader at `now_ms` sees, sorted by dot.
    pub fn live(&self, now_ms: u64) -> impl Iterator<Item = &Sibling> {
        self.siblings.iter().filter(move |sibling| sibling.is_live(now_ms))
    }

    /// The sibling GET shows: the live one with the greatest (HLC, actor), the same on every node.
    pub fn shown(&self, now_ms: u64) -> Option<&Sibling> {
        self.live(now_ms).last()
    }

    /// The bytes GET shows.
    pub fn shown_value(&self, now_ms: u64) -> Option<Bytes> {
        self.shown(now_ms).and_then(|sibling| sibling.value.clone())
    }
}
