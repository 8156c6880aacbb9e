//! What happened before what (§4.4).
//!
//! Every write event gets a name that is never used again, a *dot*: who wrote, and that writer's clock. What a reader
//! has seen is a *context*: for each writer, the highest clock. A context covers a dot when it names the dot's writer
//! with a clock at least as high. That is all there is to it; the rest of Dynamo is bookkeeping around these two.
//!
//! # Contract
//! - [`Hlc`] is 48 bits of Unix milliseconds, then 16 bits of counter. [`clock::HybridClock`] stamps strictly rising
//!   values on one node, across restarts too.
//! - [`Actor`] names a (node, birth) under which one node writes one key; see DESIGN "An actor never outlives what it wrote".
//! - [`Context`] is a version vector; its text form is opaque to clients, versioned and checked ([`token`]).

pub mod clock;
pub mod context;
pub mod token;
#[cfg(test)]
pub(crate) mod lattice;

pub use clock::{Hlc, HybridClock};
pub use context::Context;

use serde::{Deserialize, Serialize};

/// A node's name for life: 160 random bits, printed as 40 hex digits, as Redis Cluster does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    /// The first 64 bits: the node's name inside actors and hints. Membership refuses two nodes with one tag.
    pub fn tag(&self) -> NodeTag {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        NodeTag(u64::from_be_bytes(head))
    }

    /// Reads 40 hex digits.
    pub fn parse(text: &str) -> Option<NodeId> {
        let mut bytes = [0; 20];
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(NodeId(bytes))
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// The first 64 bits of a [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeTag(pub u64);

impl std::fmt::Display for NodeTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The name under which one node writes one key: the node and the HLC at which it took up that key. With a request
/// `ID` it is a hash of database, key and id instead, the same on every coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The node's tag, or the first half of the request id's hash.
    pub node: NodeTag,
    /// When the node took up the key, or the second half of the hash.
    pub birth: Hlc,
}

/// The name of one write event. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// The time comes first: of two dots the later is the greater, and the actor breaks ties (what GET shows).
    pub hlc: Hlc,
    /// Who wrote.
    pub actor: Actor,
}
