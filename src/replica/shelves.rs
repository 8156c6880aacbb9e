//! How much lies here for each home, and for which homes copies may lie here without a hint.
//!
//! # Contract
//! - [`Shelves::take_in`] costs a read lock and an addition: it is part of every write that notes a hint.
//! - Bytes are about right: a copy that is written again counts again until the shelf is counted ([`Shelves::counted`]).
//! - A home is marked, durably, before the first hint for it is dropped or not noted; see [`crate::handoff::tidy`].
//!
//! ```text
//! hint's value   u64 Unix ms when it was last noted, u32 bytes of the object then (both little-endian);
//!                nothing (older versions): noted just now, of no size
//! mark           in Meta, "strays:" ‖ home tag (8 bytes, big-endian) → nothing
//! ```

use crate::causality::NodeTag;
use crate::handoff::tidy::Bounds;
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Before the tag in a mark's name.
pub(super) const MARK: &[u8] = b"strays:";

/// What stands on a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slip {
    pub noted_ms: u64,
    pub bytes: u32,
}

impl Slip {
    pub fn encode(self) -> Bytes {
        Bytes::from([&self.noted_ms.to_le_bytes()[..], &self.bytes.to_le_bytes()].concat())
    }

    pub fn decode(value: &[u8], now_ms: u64) -> Slip {
        let noted_ms = value.first_chunk().map_or(now_ms, |ms| u64::from_le_bytes(*ms));
        let bytes = value.get(8..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Slip { noted_ms, bytes }
    }
}

/// What lies here for one home.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    bytes: AtomicU64,
    full: AtomicBool,
}

/// The shelves. Homes: at most as many as there ever were members.
#[derive(Debug)]
pub(super) struct Shelves {
    by_home: RwLock<BTreeMap<NodeTag, Arc<Shelf>>>,
    marked: RwLock<BTreeSet<NodeTag>>,
    ttl_ms: AtomicU64,
    bytes_max: AtomicU64,
}

impl Default for Shelves {
    /// Unbounded.
    fn default() -> Shelves {
        Shelves {
            by_home: RwLock::default(),
            marked: RwLock::default(),
            ttl_ms: AtomicU64::new(u64::MAX),
            bytes_max: AtomicU64::new(u64::MAX),
        }
    }
}

impl Shelves {
    /// A hint is to be noted. False: its home's shelf is full, and marked.
    pub fn take_in(&self, home: NodeTag, bytes: usize) -> bool {
        // Let go of the lock before the other one is asked for.
        let known = self.by_home.read().get(&home).cloned();
        let shelf = known.unwrap_or_else(|| self.shelf(home));
        if shelf.full.load(Ordering::Acquire) {
            return false;
        }
        shelf.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        true
    }

    /// A hint was taken away.
    pub fn took_out(&self, home: NodeTag, bytes: usize) {
        if let Some(shelf) = self.by_home.read().get(&home) {
            let less = |now: u64| Some(now.saturating_sub(bytes as u64));
            // It always changes something.
            let _ = shelf.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// The hints of a home were counted.
    pub fn counted(&self, home: NodeTag, bytes: u64) {
        self.shelf(home).bytes.store(bytes, Ordering::Relaxed);
    }

    /// Nothing is noted for a home any more, or something is again. Mark it before.
    pub fn set_full(&self, home: NodeTag, full: bool) {
        self.shelf(home).full.store(full, Ordering::Release);
    }

    pub fn is_full(&self, home: NodeTag) -> bool {
        self.by_home.read().get(&home).is_some_and(|shelf| shelf.full.load(Ordering::Acquire))
    }

    pub fn bytes(&self, home: NodeTag) -> u64 {
        self.by_home.read().get(&home).map_or(0, |shelf| shelf.bytes.load(Ordering::Relaxed))
    }

    pub fn homes(&self) -> Vec<NodeTag> {
        self.by_home.read().keys().copied().collect()
    }

    /// There may be hints for a home, or copies that want one.
    pub fn add(&self, home: NodeTag) {
        drop(self.shelf(home));
    }

    pub fn mark(&self, home: NodeTag, marked: bool) {
        let mut all = self.marked.write();
        if marked {
            all.insert(home)
        } else {
            all.remove(&home)
        };
    }

    pub fn is_marked(&self, home: NodeTag) -> bool {
        self.marked.read().contains(&home)
    }

    pub fn marked(&self) -> Vec<NodeTag> {
        self.marked.read().iter().copied().collect()
    }

    pub fn set_bounds(&self, bounds: Bounds) {
        self.ttl_ms.store(bounds.ttl_ms, Ordering::Relaxed);
        self.bytes_max.store(bounds.bytes_max, Ordering::Relaxed);
    }

    pub fn bounds(&self) -> Bounds {
        Bounds { ttl_ms: self.ttl_ms.load(Ordering::Relaxed), bytes_max: self.bytes_max.load(Ordering::Relaxed) }
    }

    fn shelf(&self, home: NodeTag) -> Arc<Shelf> {
        self.by_home.write().entry(home).or_default().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_come_back_and_older_ones_count_as_new() {
        let slip = Slip { noted_ms: 1 << 40, bytes: 77 };
        assert_eq!(Slip::decode(&slip.encode(), 5), slip);
        assert_eq!(Slip::decode(&[], 5), Slip { noted_ms: 5, bytes: 0 });
    }

    #[test]
    fn a_full_shelf_takes_nothing_in() {
        let (shelves, home) = (Shelves::default(), NodeTag(3));
        assert!(shelves.take_in(home, 10) && shelves.take_in(home, 5));
        shelves.took_out(home, 3);
        assert_eq!((shelves.bytes(home), shelves.homes()), (12, vec![home]));
        shelves.set_full(home, true);
        assert!(!shelves.take_in(home, 10));
        assert_eq!(shelves.bytes(home), 12);
        shelves.took_out(home, 100);
        assert_eq!(shelves.bytes(home), 0);
    }
}
