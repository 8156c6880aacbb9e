//! How many keys there are, by slot and database, kept beside the writes so that DBSIZE need not count.
//!
//! A key counts while any sibling has a value. One that has expired still counts here until it is overwritten; where a
//! partition holds keys that expire, [`super::Replica::count`] looks at each.

use super::Replica;
use crate::codec::{self, Damaged, Reader, put_i64};
use crate::key::{DATABASES, SLOTS, Slots, StorageKey};
use crate::object::Object;
use crate::object::record::Record;
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use crate::walk::cover::Cover;
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};

/// Keys of one slot in one database.
#[derive(Debug, Default)]
struct Cell {
    keys: AtomicI64,
    expires: AtomicI64,
}

/// The counters: one cell for each slot and database, whatever the partitions are; 4 MiB.
#[derive(Debug)]
pub struct Counts {
    cells: Vec<Cell>,
}

impl Default for Counts {
    fn default() -> Counts {
        let cells = (0..usize::from(SLOTS) * usize::from(DATABASES)).map(|_| Cell::default()).collect();
        Counts { cells }
    }
}

impl Counts {
    /// A record changes from one object to another.
    pub(super) fn change(&self, key: &StorageKey, before: (bool, bool), after: (bool, bool)) {
        if before != after {
            let cell = self.cell(key.token().slot(), key.database());
            cell.keys.fetch_add(i64::from(after.0) - i64::from(before.0), Ordering::Relaxed);
            cell.expires.fetch_add(i64::from(after.1) - i64::from(before.1), Ordering::Relaxed);
        }
    }

    fn clear(&self) {
        for cell in &self.cells {
            cell.keys.store(0, Ordering::Relaxed);
            cell.expires.store(0, Ordering::Relaxed);
        }
    }

    fn cell(&self, slot: u16, database: u8) -> &Cell {
        &self.cells[usize::from(slot) * usize::from(DATABASES) + usize::from(database)]
    }
}

/// What an object adds to its cell: a key, an expiring key.
pub(super) fn weight(object: &Object) -> (bool, bool) {
    (object.has_value(), object.has_expiry())
}

impl Replica {
    /// Counts all records and adds them up once, at start after an unclean stop. Reads the whole store.
    pub fn count_all(&self) -> Result<(), StorageError> {
        self.counts.clear();
        self.trees.clear();
        self.flushes.seen.clear();
        self.past.set_tombstones(0);
        self.store.scan(Space::Objects, &[], None, &mut |key, value| {
            if let Some((key, object)) = decode(key, value) {
                self.counts.change(&key, (false, false), weight(&object));
                self.trees.change(&key, &Object::default(), &object);
                self.flushes.seen.note(key.database(), &object, self.tag);
                self.past.change(&Object::default(), &object);
            }
            ControlFlow::Continue(())
        })
    }

    /// The counters as bytes, for a file written at a clean stop: pairs of keys and expires as i64, by slot, then
    /// database; the tombstones, i64.
    pub fn counts_saved(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for cell in &self.counts.cells {
            put_i64(&mut out, cell.keys.load(Ordering::Relaxed));
            put_i64(&mut out, cell.expires.load(Ordering::Relaxed));
        }
        put_i64(&mut out, self.past.tombstones());
        out
    }

    /// Takes the counters of a clean stop. A damaged or foreign file is an error: count instead.
    pub fn counts_restored(&self, saved: &[u8]) -> Result<(), Damaged> {
        let mut reader = Reader::new(saved);
        if saved.len() != self.counts.cells.len() * 16 + 8 {
            return Err(codec::Damaged::Malformed("number of slots"));
        }
        for cell in &self.counts.cells {
            cell.keys.store(reader.i64()?, Ordering::Relaxed);
            cell.expires.store(reader.i64()?, Ordering::Relaxed);
        }
        self.past.set_tombstones(reader.i64()?);
        reader.finish()
    }

    /// How many live keys of a database lie in some slots here. Looks at each when some expire, or what was flushed has
    /// not been swept away yet: reads the disk.
    pub fn count(&self, slots: Slots, database: u8) -> Result<u64, StorageError> {
        let cells = || (slots.first..=slots.last).map(|slot| self.counts.cell(slot, database));
        if !self.flushes.is_pending(database) && cells().all(|cell| cell.expires.load(Ordering::Relaxed) == 0) {
            return Ok(cells().map(|cell| cell.keys.load(Ordering::Relaxed).max(0) as u64).sum());
        }
        let (from, to) = slots.range();
        let (now_ms, mut live) = (self.clock.now_ms(), 0);
        self.store.scan(Space::Objects, &from, to.as_ref().map(|to| to.as_slice()), &mut |key, value| {
            let object = decode(key, value).filter(|(key, _)| key.database() == database);
            live += u64::from(object.is_some_and(|(_, mut object)| {
                self.flushes.bury(database, &mut object);
                object.shown(now_ms).is_some()
            }));
            ControlFlow::Continue(())
        })?;
        Ok(live)
    }

    /// The slot, among those covered, of a key kept here; `dice` says which. None: no key is kept here.
    pub fn slot_of_key(&self, database: u8, cover: &Cover, dice: u64) -> Option<u16> {
        let slots = || cover.runs().iter().flat_map(|run| run.first..=run.last);
        let keys = |slot: u16| self.counts.cell(slot, database).keys.load(Ordering::Relaxed).max(0) as u64;
        let mut left = dice.checked_rem(slots().map(keys).sum())?;
        slots().find(|slot| {
            let here = keys(*slot);
            let found = left < here;
            left = left.saturating_sub(here);
            found
        })
    }

    /// How many live keys of a database lie in a slot here, as [`Replica::count`].
    pub fn count_slot(&self, slot: u16, database: u8) -> Result<u64, StorageError> {
        self.store.settle()?;
        self.count(Slots { first: slot, last: slot }, database)
    }

    /// Up to `most` live keys of a database that lie in a slot here. Reads the disk.
    pub fn keys_of_slot(&self, slot: u16, database: u8, most: usize) -> Result<Vec<Bytes>, StorageError> {
        self.store.settle()?;
        let (from, to) = Slots { first: slot, last: slot }.range();
        let (now_ms, mut keys) = (self.clock.now_ms(), Vec::new());
        self.store.scan(Space::Objects, &from, to.as_ref().map(|to| to.as_slice()), &mut |key, value| {
            if keys.len() >= most {
                return ControlFlow::Break(());
            }
            if let Some((key, mut object)) = decode(key, value).filter(|(key, _)| key.database() == database) {
                self.flushes.bury(database, &mut object);
                if object.shown(now_ms).is_some() {
                    keys.push(Bytes::copy_from_slice(key.user_key()));
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(keys)
    }

    /// Whether this node holds any record at all, deletes included.
    pub fn holds_data(&self) -> bool {
        self.counts.cells.iter().any(|cell| cell.keys.load(Ordering::Relaxed) > 0)
    }

    /// Keys and expiring keys of a database on this node, all its partitions together; expired ones included, and flushed
    /// ones until they are swept away.
    pub fn keyspace(&self, database: u8) -> (u64, u64) {
        let cells = self.counts.cells.iter().skip(database.into()).step_by(DATABASES.into());
        let sum = |total: (i64, i64), cell: &Cell| {
            (total.0 + cell.keys.load(Ordering::Relaxed), total.1 + cell.expires.load(Ordering::Relaxed))
        };
        let (keys, expires) = cells.fold((0, 0), sum);
        (keys.max(0) as u64, expires.max(0) as u64)
    }
}

fn decode(key: &[u8], value: &[u8]) -> Option<(StorageKey, Object)> {
    let key = StorageKey::from_bytes(Bytes::copy_from_slice(key))?;
    let record = Record::decode(&Bytes::copy_from_slice(value)).ok()?;
    Some((key, record.object))
}
