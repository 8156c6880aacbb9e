//! A short name for what an object holds, so that two replicas can say "same" without sending it.

use super::Object;
use crate::key::StorageKey;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_128;

/// A 128-bit hash of key, dots, expiries and increments. Not of the context: contexts shrink at different times on
/// different nodes. Two objects with one digest hold the same siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl Object {
    /// The digest of this object under its key. An object without siblings, present or absent, has the digest zero.
    pub fn digest(&self, key: &StorageKey) -> Digest {
        if self.siblings.is_empty() {
            return Digest(0);
        }
        // One pass over a small buffer costs a third of feeding a streaming hasher.
        let mut bytes: SmallVec<[u8; 256]> = SmallVec::new();
        let mut word = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
        for sibling in &self.siblings {
            word(sibling.dot.actor.node.0);
            word(sibling.dot.actor.birth.0);
            word(sibling.dot.hlc.0);
            word(sibling.expiry.0.0);
            word(sibling.expiry.1.map_or(0, |at| at.wrapping_add(1)));
            word(sibling.increments.len() as u64);
            for (actor, hlc, sum) in &sibling.increments {
                word(actor.node.0);
                word(actor.birth.0);
                word(hlc.0);
                word(*sum as u64);
            }
        }
        bytes.extend_from_slice(key.as_bytes());
        Digest(xxh3_128(&bytes))
    }
}
