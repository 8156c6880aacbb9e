//! A table in memory: what is logged, in key order, and not in fjall's tables yet.
//!
//! # Contract
//! - A clone costs some hundred counts and copies nothing: the two share what neither has changed since, a 256th of a space
//!   each time. That is how a scan sees one moment while commits go on.
//! - A key may be there without a value: it is removed, whatever older tables hold.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::storage::engine::{Space, Write};

/// One for each first byte of a key.
const SHARDS: usize = 256;

/// A key, and its first eight bytes as a number: most comparisons need no more, and those lie in the tree itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    head: u64,
    bytes: Bytes,
}

impl Key {
    fn new(bytes: Bytes) -> Key {
        let mut head = [0; 8];
        let known = bytes.len().min(8);
        head[..known].copy_from_slice(&bytes[..known]);
        Key { head: u64::from_be_bytes(head), bytes }
    }

    fn shard(&self) -> usize {
        (self.head >> 56) as usize
    }
}

type Shard = BTreeMap<Key, Option<Bytes>>;

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Table {
    spaces: [Shards; 3],
}

#[derive(Clone)]
struct Shards(Vec<Arc<Shard>>);

impl Default for Shards {
    fn default() -> Shards {
        Shards(vec![Arc::default(); SHARDS])
    }
}

impl Table {
    /// Makes a change.
    pub(super) fn apply(&mut self, write: Write) {
        let key = Key::new(write.key);
        let shard = &mut self.spaces[write.space.index()].0[key.shard()];
        Arc::make_mut(shard).insert(key, write.value);
    }

    /// What a key has here; `Some(None)`: it is removed.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Option<Option<Bytes>> {
        let key = Key::new(Bytes::copy_from_slice(key));
        self.spaces[space.index()].0[key.shard()].get(&key).cloned()
    }

    /// Keys and what they have, from `from` (included) to `to` (excluded; none: to the end), in key order.
    pub(super) fn range<'a>(
        &'a self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> + use<'a> {
        let from = Key::new(Bytes::copy_from_slice(from));
        let to = to.map(|to| Key::new(Bytes::copy_from_slice(to)));
        let shards = from.shard()..=to.as_ref().map_or(SHARDS - 1, Key::shard);
        let empty = to.as_ref().is_some_and(|to| *to <= from);
        let shards = if empty { &[][..] } else { &self.spaces[space.index()].0[shards] };
        let upper = to.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = shards.iter().flat_map(move |shard| shard.range((Bound::Included(from.clone()), upper.clone())));
        entries.map(|(key, value)| (&key.bytes, value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map_and_a_clone_stays_as_it_was(
            writes in proptest::collection::vec(
                (proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 1..12), proptest::option::of(0u8..9)), 0..60),
            cloned_at in 0usize..60,
            (from, to) in (
                proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..12),
                proptest::option::of(proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..12))),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            let mut moment = None;
            for (at, (key, value)) in writes.iter().enumerate() {
                if at == cloned_at {
                    moment = Some((table.clone(), model.clone()));
                }
                let value = value.map(|value| Bytes::from(vec![value]));
                table.apply(Write { space: Space::Hints, key: key.clone().into(), value: value.clone() });
                model.insert(Bytes::from(key.clone()), value);
            }
            for (table, model) in [(table, model)].into_iter().chain(moment) {
                let seen: Vec<_> = table.range(Space::Hints, &from, to.as_deref()).map(|(k, v)| (k.clone(), v.cloned())).collect();
                let inside = |key: &Bytes| key[..] >= from[..] && to.as_ref().is_none_or(|to| key[..] < to[..]);
                let wanted: Vec<_> = model.clone().into_iter().filter(|(key, _)| inside(key)).collect();
                prop_assert_eq!(seen, wanted);
                for (key, value) in model {
                    prop_assert_eq!(table.get(Space::Hints, &key), Some(value));
                    prop_assert_eq!(table.get(Space::Objects, &key), None);
                }
            }
        }
    }
}
