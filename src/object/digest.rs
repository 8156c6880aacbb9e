//! A short name for what an object holds, so that two replicas can say "same" without sending it.

use super::Object;
use crate::key::StorageKey;
use bytes::BufMut;
use xxhash_rust::xxh3::xxh3_128;

/// What a sibling adds to what is hashed, without its increments, and each of those.
const SIBLING_BYTES: usize = 6 * size_of::<u64>();
const INCREMENT_BYTES: usize = 4 * size_of::<u64>();

/// As much as is hashed of nearly every object.
const BYTES_TYPICAL: usize = 192;

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
        // One pass over a small piece costs a third of feeding a streaming hasher.
        let key = key.as_bytes();
        let increments: usize = self.siblings.iter().map(|sibling| sibling.increments.len()).sum();
        let bytes = self.siblings.len() * SIBLING_BYTES + increments * INCREMENT_BYTES + key.len();
        let (mut here, mut apart) = ([0; BYTES_TYPICAL], Vec::new());
        let whole = match here.get_mut(..bytes) {
            Some(whole) => whole,
            None => {
                apart.resize(bytes, 0);
                &mut apart[..]
            }
        };
        let mut rest = &mut *whole;
        for sibling in &self.siblings {
            let words = [
                sibling.dot.actor.node.0,
                sibling.dot.actor.birth.0,
                sibling.dot.hlc.0,
                sibling.expiry.0.0,
                sibling.expiry.1.map_or(0, |at| at.wrapping_add(1)),
                sibling.increments.len() as u64,
            ];
            rest.put_slice(words.map(u64::to_le_bytes).as_flattened());
            for (actor, hlc, sum) in &sibling.increments {
                let words = [actor.node.0, actor.birth.0, hlc.0, *sum as u64];
                rest.put_slice(words.map(u64::to_le_bytes).as_flattened());
            }
        }
        rest.put_slice(key);
        Digest(xxh3_128(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Actor, Dot, Hlc, NodeTag};
    use crate::object::Sibling;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn actor(node: u64) -> Actor {
        Actor { node: NodeTag(node), birth: Hlc(node + 1) }
    }

    /// Expiries, and how many increments each sibling has.
    fn object(siblings: &[(Option<u64>, u8)]) -> Object {
        let sibling = |(at, (expiry, increments)): (u64, &(Option<u64>, u8))| {
            let dot = Dot { hlc: Hlc(100 + at), actor: actor(at) };
            let mut sibling = Sibling::new(dot, NodeTag(at), Some(Bytes::from_static(b"v")), *expiry);
            let increment = |of: u8| (actor(u64::from(of) + 7), Hlc(u64::from(of) + 9), -i64::from(of));
            sibling.increments.extend((0..*increments).map(increment));
            sibling
        };
        Object { siblings: (0..).zip(siblings).map(sibling).collect(), ..Object::default() }
    }

    proptest! {
        /// Peers compare digests: what is hashed must stay what it is.
        #[test]
        fn all_words_of_all_siblings_and_then_the_key_are_hashed(
            siblings in proptest::collection::vec((any::<Option<u64>>(), 0u8..4), 1..8),
            key in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let (key, object) = (StorageKey::new(1, &key).unwrap(), object(&siblings));
            let mut words = Vec::new();
            for sibling in &object.siblings {
                let Dot { hlc, actor } = sibling.dot;
                words.extend([actor.node.0, actor.birth.0, hlc.0, sibling.expiry.0.0]);
                words.extend([sibling.expiry.1.map_or(0, |at| at.wrapping_add(1)), sibling.increments.len() as u64]);
                for (actor, hlc, sum) in &sibling.increments {
                    words.extend([actor.node.0, actor.birth.0, hlc.0, *sum as u64]);
                }
            }
            let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
            bytes.extend_from_slice(key.as_bytes());
            prop_assert_eq!(object.digest(&key), Digest(xxh3_128(&bytes)));
        }
    }
}
