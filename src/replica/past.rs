//! Where something may be forgotten some day, and forgetting it: the reaper's hands (DESIGN "Settling").
//!
//! The gravedigger does not walk through every house each morning; a mark on the garden gate says where somebody has died.
//! One bit for each leaf: a tombstone, a value that expires, or a long context lies, or lay, somewhere behind it.
//!
//! # Contract
//! - A leaf whose bit is not set holds nothing that could be forgotten. After a start all leaves are marked.
//! - What is forgotten is decided by [`Object::retire`]; the record, counters and trees change in one step under the key's
//!   lock. With a record goes the actor under which this node wrote the key.

use super::Replica;
use super::write::keyed;
use crate::causality::{Dot, Hlc};
use crate::key::{DATABASES, StorageKey};
use crate::merkle::tree::{LEAF_BITS, Run};
use crate::object::Object;
use crate::object::record::Record;
use crate::object::retire::Below;
use crate::storage::batch::{Batch, Edit};
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

const WORDS: usize = (1 << LEAF_BITS) / 64;

/// So many records of a leaf are changed at once.
const REAPED_MAX: usize = 512;

/// The marks on the gates.
#[derive(Debug, Default)]
pub struct Past {
    databases: [OnceLock<Box<[AtomicU64]>>; DATABASES as usize],
    /// See [`Past::ripe_from`]. Zero after a start: nobody knows.
    ripe_from: AtomicU64,
    tombstones: AtomicI64,
    resting: AtomicBool,
}

impl Past {
    /// An object that has a past was stored.
    pub(super) fn note(&self, key: &StorageKey, object: &Object, drift_ms_max: u64) {
        self.mark(key.database(), Run::leaf_of(key.token()));
        self.expect(object.ripe_from(drift_ms_max));
    }

    /// Something may be forgotten at this floor.
    fn expect(&self, ripe_from: Hlc) {
        if ripe_from.0 < self.ripe_from.load(Ordering::Relaxed) {
            self.ripe_from.fetch_min(ripe_from.0, Ordering::AcqRel);
        }
    }

    /// As [`Past::expect`], for an object of which what could be forgotten has been.
    fn expect_after(&self, below: &Below<'_>, object: &Object) {
        object.ripe_after(below.floor, below.drift_ms_max).into_iter().for_each(|ripe_from| self.expect(ripe_from));
    }

    /// The lowest floor at which the reaper may find something that it could not forget when it last passed.
    pub fn ripe_from(&self) -> Hlc {
        Hlc(self.ripe_from.load(Ordering::Acquire))
    }

    /// The reaper begins to look at all marked leaves: from now on only what it leaves, and what is stored, counts.
    pub fn begin_pass(&self) {
        self.ripe_from.store(u64::MAX, Ordering::Release);
    }

    /// A leaf may hold something to be forgotten.
    pub fn mark(&self, database: u8, leaf: u32) {
        let words =
            self.databases[usize::from(database)].get_or_init(|| (0..WORDS).map(|_| AtomicU64::new(0)).collect());
        let (word, bit) = (&words[leaf as usize / 64], 1 << (leaf % 64));
        // Nearly always it is marked already: do not take the line away from other cores.
        if word.load(Ordering::Relaxed) & bit == 0 {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    fn unmark(&self, database: u8, leaf: u32) {
        if let Some(words) = self.databases[usize::from(database)].get() {
            words[leaf as usize / 64].fetch_and(!(1 << (leaf % 64)), Ordering::AcqRel);
        }
    }

    /// The marked leaves of a database, ascending.
    pub fn leaves(&self, database: u8) -> Vec<u32> {
        let words = self.databases.get(usize::from(database)).and_then(OnceLock::get);
        let bits = |(at, word): (usize, &AtomicU64)| {
            let bits = word.load(Ordering::Acquire);
            (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| (at * 64 + bit) as u32)
        };
        words.into_iter().flat_map(|words| words.iter().enumerate().flat_map(bits)).collect()
    }

    /// Whether any leaf is marked.
    pub fn is_any(&self) -> bool {
        let marked = |words: &[AtomicU64]| words.iter().any(|word| word.load(Ordering::Acquire) != 0);
        self.databases.iter().filter_map(OnceLock::get).any(|words| marked(words))
    }

    /// A record changes from one object to another.
    pub(super) fn change(&self, before: &Object, after: &Object) {
        let change = i64::from(is_tombstone(after)) - i64::from(is_tombstone(before));
        if change != 0 {
            self.tombstones.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Lets the reaper rest, or wakes it.
    pub fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    /// Whether the reaper is to rest.
    pub fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    /// Keys that are deleted, and remembered as such.
    pub fn tombstones(&self) -> i64 {
        self.tombstones.load(Ordering::Relaxed)
    }

    pub(super) fn set_tombstones(&self, tombstones: i64) {
        self.tombstones.store(tombstones, Ordering::Relaxed);
    }
}

fn is_tombstone(object: &Object) -> bool {
    !object.siblings.is_empty() && !object.has_value()
}

/// What came of one leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Records changed or deleted.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
}

impl Replica {
    /// Marks every leaf that holds anything: after a start nobody knows which.
    pub fn mark_all_past(&self) {
        for (database, leaf) in self.trees.leaves_held() {
            self.past.mark(database, leaf);
        }
    }

    /// Forgets what is settled in some marked leaves, of the keys that `may` be reaped: those this node is a complete home of. A
    /// mark goes unless something is left to be forgotten later. Reads the disk.
    pub fn reap(
        &self,
        database: u8,
        leaves: &[u32],
        below: &Below<'_>,
        may: &dyn Fn(&StorageKey) -> bool,
    ) -> Result<(Batch, Reaped), StorageError> {
        leaves.iter().for_each(|leaf| self.past.unmark(database, *leaf));
        // Only now: who marks a leaf after this is found next time, and what was marked before is on the disk.
        let settled = self.store.settle();
        let (mut batch, mut reaped) = (Batch::new(), Reaped::default());
        let mut failed = settled.err();
        for leaf in leaves {
            let found = match failed {
                None => self.reap_leaf(&mut batch, &mut reaped, (database, *leaf), below, may),
                Some(_) => Ok(true),
            };
            if found.as_ref().copied().unwrap_or(true) {
                self.past.mark(database, *leaf);
            }
            failed = failed.or(found.err());
        }
        failed.map_or(Ok((batch, reaped)), Err)
    }

    /// Whether something is left to be forgotten later.
    fn reap_leaf(
        &self,
        batch: &mut Batch,
        reaped: &mut Reaped,
        (database, leaf): (u8, u32),
        below: &Below<'_>,
        may: &dyn Fn(&StorageKey) -> bool,
    ) -> Result<bool, StorageError> {
        let (mut ripe, mut left) = (Vec::new(), false);
        let (from, to) = Run::range_of_leaves(leaf, 1);
        self.store.scan(Space::Objects, &from, to.as_ref().map(|to| to.as_slice()), &mut |key, value| {
            reaped.bytes += (key.len() + value.len()) as u64;
            let key = StorageKey::from_bytes(Bytes::copy_from_slice(key)).filter(|key| key.database() == database);
            let Some(key) = key else { return ControlFlow::Continue(()) };
            // A damaged record is for exchange to mend.
            let Ok(record) = Record::decode(&Bytes::copy_from_slice(value)) else { return ControlFlow::Continue(()) };
            if record.object.has_past() {
                let is_ripe = may(&key) && record.object.clone().retire(below);
                left |= !is_ripe;
                if is_ripe {
                    ripe.push(key);
                } else {
                    self.past.expect_after(below, &record.object);
                }
            }
            if ripe.len() < REAPED_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if ripe.len() == REAPED_MAX {
            left = true;
            self.past.expect(below.floor);
        }
        for key in ripe {
            let (changed, has_past) = self.retire(batch, &key, below)?;
            reaped.records += u64::from(changed);
            left |= has_past;
        }
        Ok(left)
    }

    /// The keys in a range with siblings that are settled below `floor` and `may` go. Reads the disk.
    pub fn settled(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
        floor: Hlc,
        may: &dyn Fn(&StorageKey, &Dot) -> bool,
    ) -> Result<Vec<StorageKey>, StorageError> {
        self.store.settle()?;
        let mut keys = Vec::new();
        self.store.scan(Space::Objects, from, to, &mut |key, value| {
            let key = StorageKey::from_bytes(Bytes::copy_from_slice(key));
            let record = Record::decode(&Bytes::copy_from_slice(value));
            if let (Some(key), Ok(mut record)) = (key, record)
                && record.object.drop_settled(floor, |dot| may(&key, dot)) > 0
            {
                keys.push(key);
            }
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// Takes those siblings out of these records, forgotten by every other home; a record of which nothing unsettled is left
    /// goes whole. How many siblings there were; they are gone from the disk when this returns.
    pub fn forget_settled(
        &self,
        keys: Vec<StorageKey>,
        floor: Hlc,
        may: &dyn Fn(&StorageKey, &Dot) -> bool,
    ) -> Result<u64, StorageError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let (mut batch, mut forgotten) = (Batch::making_room(), 0);
        for key in keys {
            forgotten += self.store.edit(&mut batch, key.as_bytes(), |old| {
                let Some(Ok(mut record)) = old.as_ref().map(Record::decode) else { return (0, Edit::Keep) };
                let before = record.object.clone();
                let dropped = record.object.drop_settled(floor, |dot| may(&key, dot));
                if dropped == 0 {
                    return (0, Edit::Keep);
                }
                let goes = record.object.siblings.is_empty() && record.object.is_settled(floor);
                if goes {
                    record.object = Object::default();
                }
                self.note_change(&key, &before, &record.object);
                (dropped as u64, if goes { Edit::Remove } else { Edit::Put(keyed(&key, &record)) })
            })?;
        }
        self.stats.resurrections_refused.fetch_add(forgotten, Ordering::Relaxed);
        // Submits it. Once this node is filled up, nobody looks for them again: they must not come back with a crash.
        drop(batch);
        self.store.sync()?;
        Ok(forgotten)
    }

    /// Whether the record changed, and whether there is still something to be forgotten later.
    fn retire(&self, batch: &mut Batch, key: &StorageKey, below: &Below<'_>) -> Result<(bool, bool), StorageError> {
        self.store.edit(batch, key.as_bytes(), |old| {
            let Some(Ok(mut record)) = old.as_ref().map(Record::decode) else { return ((false, false), Edit::Keep) };
            let before = record.object.clone();
            if !record.object.retire(below) {
                return ((false, true), Edit::Keep);
            }
            self.note_change(key, &before, &record.object);
            if before.has_value() && !record.object.has_value() {
                self.stats.expired.fetch_add(1, Ordering::Relaxed);
            }
            if record.object.is_empty() {
                self.stats.tombstones_reaped.fetch_add(1, Ordering::Relaxed);
                return ((true, false), Edit::Remove);
            }
            let has_past = record.object.has_past();
            if has_past {
                self.past.expect_after(below, &record.object);
            }
            ((true, has_past), Edit::Put(keyed(key, &record)))
        })
    }
}
