//! Walking through all keys: SCAN, KEYS, RANDOMKEY, DBSIZE (§4.5, §6.2).
//!
//! A census taker walks down the street from number 0 to 16383. Every house's register is kept at several offices; for
//! each stretch the census taker asks as many of them as a reader asks (R), lays their lists side by side and goes by
//! what they say together: a name that one office has lost still stands in the other's list, and one that is struck out
//! anywhere is looked into. When the day ends, the house number on the last page is all there is to remember: tomorrow
//! anybody can go on from there, at any office.
//!
//! # Contract
//! - Keys lie in the order of their tokens, on every node. A walk's *cursor* is a token: everything before it has been told. It
//!   depends on nothing that changes: not on nodes, not on partitions' homes, not on what is written meanwhile.
//! - The keys of one token are told together, so a cursor never parts them; nor is a cursor ever 0 on the way.
//! - One office's list may end earlier than another's: only what all who were asked have told counts ([`merge`]).
//! - A key is live if the merge of the R copies shows a value. Lists tell enough to see that for keys on which the copies
//!   agree; the others are to be read, each at R, like any key ([`merge::Found::Unsure`]).
//! - Hence SCAN's promise: a key that is there from start to end is told, as surely as reading it would have found it.
//!
//! # What it refuses to do
//! It asks nobody, and knows no nodes, disks or clock. It remembers nothing between two calls: no snapshot, no session.

pub mod cover;
pub mod list;
pub mod merge;
pub mod survey;
pub mod tally;
#[cfg(test)]
mod tests;

use bytes::Bytes;

/// A place in the order of storage keys: everything that sorts before it has been told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(Bytes);

impl Position {
    /// Before the first key of a token.
    pub fn token(token: u64) -> Position {
        Position(Bytes::copy_from_slice(&token.to_be_bytes()))
    }

    /// Before these bytes, the first of a storage key.
    pub fn before(bytes: Bytes) -> Position {
        Position(bytes)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The token before whose first key this is; none: it lies among the keys of one token.
    pub fn as_token(&self) -> Option<u64> {
        self.0.as_ref().try_into().ok().map(u64::from_be_bytes)
    }

    /// The slot it lies in.
    pub fn slot(&self) -> u16 {
        let head = self.0.first_chunk().map_or(0, |head| u16::from_be_bytes(*head));
        head >> 2
    }
}
