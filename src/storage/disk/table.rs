//! A table in memory: what is logged, in key order, and not in fjall's tables yet.
//!
//! # Contract
//! - A [`Part`] copies nothing: it shares with the table what that has not changed since, a 256th of a space each time. That
//!   is how a scan sees one moment while commits go on.
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
pub(super) struct Key {
    head: u64,
    bytes: Bytes,
}

impl Key {
    pub(super) fn new(bytes: Bytes) -> Key {
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
pub(super) struct Table {
    spaces: [Vec<Arc<Shard>>; 3],
}

impl Default for Table {
    fn default() -> Table {
        Table { spaces: std::array::from_fn(|_| vec![Arc::default(); SHARDS]) }
    }
}

impl Table {
    /// Makes a change.
    pub(super) fn apply(&mut self, write: Write) {
        let key = Key::new(write.key);
        let shard = &mut self.spaces[write.space.index()][key.shard()];
        Arc::make_mut(shard).insert(key, write.value);
    }

    /// What a key has here; `Some(None)`: it is removed.
    pub(super) fn get(&self, space: Space, key: &Key) -> Option<Option<Bytes>> {
        self.spaces[space.index()][key.shard()].get(key).cloned()
    }

    /// What is there now from `from` (included) to `to` (excluded; none: to the end).
    pub(super) fn part(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Part {
        let from = Key::new(Bytes::copy_from_slice(from));
        let to = to.map(|to| Key::new(Bytes::copy_from_slice(to)));
        let shards = from.shard()..=to.as_ref().map_or(SHARDS - 1, Key::shard);
        let is_empty = to.as_ref().is_some_and(|to| *to <= from);
        let shards = if is_empty { Vec::new() } else { self.spaces[space.index()][shards].to_vec() };
        Part { shards, from, to }
    }
}

/// A range of a table as it was at one moment.
pub(super) struct Part {
    shards: Vec<Arc<Shard>>,
    from: Key,
    to: Option<Key>,
}

impl Part {
    /// Keys and what they have, in key order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        let upper = self.to.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.shards.iter().flat_map(move |shard| shard.range((Bound::Included(&self.from), upper)));
        entries.map(|(key, value)| (&key.bytes, value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map_and_a_part_stays_as_it_was(
            writes in proptest::collection::vec(
                (proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 1..12), proptest::option::of(0u8..9)), 0..60),
            cloned_at in 0usize..60,
            (from, to) in (
                proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..12),
                proptest::option::of(proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..12))),
        ) {
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            let mut moments = Vec::new();
            for (at, (key, value)) in writes.iter().enumerate() {
                if at == cloned_at {
                    moments.push((table.part(Space::Hints, &from, to.as_deref()), model.clone()));
                }
                let value = value.map(|value| Bytes::from(vec![value]));
                table.apply(Write { space: Space::Hints, key: key.clone().into(), value: value.clone() });
                model.insert(Bytes::from(key.clone()), value);
            }
            for (key, value) in &model {
                let key = Key::new(key.clone());
                prop_assert_eq!(table.get(Space::Hints, &key), Some(value.clone()));
                prop_assert_eq!(table.get(Space::Objects, &key), None);
            }
            moments.push((table.part(Space::Hints, &from, to.as_deref()), model));
            for (part, model) in moments {
                let seen: Vec<_> = part.entries().map(|(key, value)| (key.clone(), value.cloned())).collect();
                let inside = |key: &Bytes| key[..] >= from[..] && to.as_ref().is_none_or(|to| key[..] < to[..]);
                let wanted: Vec<_> = model.into_iter().filter(|(key, _)| inside(key)).collect();
                prop_assert_eq!(seen, wanted);
            }
        }
    }
}
