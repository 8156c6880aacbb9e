//! How many keys there are, by slot and database, kept beside the writes so that DBSIZE need not count.
//!
//! A key counts while any sibling has a value. One that has expired still counts until it is overwritten or forgotten, so
//! where some have since the last look, [`super::Replica::count`] looks at the keys of those slots, and of no others.

use super::Replica;
use super::cells::{Cell, Found, Weight};
use crate::codec::{self, Damaged, Reader, put_i64};
use crate::key::{DATABASES, SLOTS, Slots, StorageKey};
use crate::object::Object;
use crate::object::record::Record;
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use crate::walk::cover::Cover;
use bytes::Bytes;
use std::collections::HashSet;
use std::ops::ControlFlow;

impl Replica {
    /// Counts all records and adds them up once, at start after an unclean stop. Reads the whole store.
    pub fn count_all(&self) -> Result<(), StorageError> {
        self.counts.clear();
        self.trees.clear();
        self.flushes.seen.clear();
        self.past.set_tombstones(0);
        self.store.scan(Space::Objects, &[], None, &mut |key, value| {
            if let Some((key, object)) = decode(key, value) {
                self.counts.change(&key, Weight::default(), Weight::of(&object));
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
        for slot in 0..SLOTS {
            for database in 0..DATABASES {
                let cell = self.counts.cell(slot, database);
                put_i64(&mut out, cell.map_or(0, Cell::keys) as i64);
                put_i64(&mut out, cell.map_or(0, Cell::expires) as i64);
            }
        }
        put_i64(&mut out, self.past.tombstones());
        out
    }

    /// Takes the counters of a clean stop. A damaged or foreign file is an error: count instead.
    pub fn counts_restored(&self, saved: &[u8]) -> Result<(), Damaged> {
        let mut reader = Reader::new(saved);
        if saved.len() != usize::from(SLOTS) * usize::from(DATABASES) * 16 + 8 {
            return Err(codec::Damaged::Malformed("number of slots"));
        }
        for slot in 0..SLOTS {
            for database in 0..DATABASES {
                let (keys, expires) = (reader.i64()?, reader.i64()?);
                if keys > 0 || self.counts.cell(slot, database).is_some() {
                    self.counts.made(database)[usize::from(slot)].restore(keys, expires);
                }
            }
        }
        self.past.set_tombstones(reader.i64()?);
        reader.finish()
    }

    /// How many live keys of a database lie in some slots here. Looks at those of slots where some have expired lately, and at
    /// all as long as what was flushed is not swept away yet: reads the disk.
    pub fn count(&self, slots: Slots, database: u8) -> Result<u64, StorageError> {
        self.count_at(slots, database, self.clock.now_ms())
    }

    /// [`Replica::count`] at some moment.
    pub(super) fn count_at(&self, slots: Slots, database: u8, now_ms: u64) -> Result<u64, StorageError> {
        if self.flushes.is_pending(database) {
            return self.look(slots, database, now_ms);
        }
        let cells = self.counts.cells(database);
        let live = |slot: u16| cells.get(usize::from(slot)).map_or(Some(0), |cell| cell.live(now_ms));
        let (mut total, mut slot) = (0, slots.first);
        while slot <= slots.last {
            let Some(count) = live(slot) else {
                let last = (slot..=slots.last).take_while(|slot| live(*slot).is_none()).last().unwrap_or(slot);
                total += self.look(Slots { first: slot, last }, database, now_ms)?;
                slot = last + 1;
                continue;
            };
            total += count;
            slot += 1;
        }
        Ok(total)
    }

    /// Counts the live keys of some slots one by one, and writes down what that says about the next time.
    fn look(&self, slots: Slots, database: u8, now_ms: u64) -> Result<u64, StorageError> {
        let begun: Vec<_> =
            (slots.first..=slots.last).map(|slot| self.counts.cell(slot, database).map(Cell::begin)).collect();
        let is_flushing = self.flushes.is_pending(database);
        // Changed, and not to be seen yet.
        let uncommitted: HashSet<u16> = self.store.uncommitted_keys().into_iter().filter_map(slot_of).collect();
        let mut found = vec![Found::default(); begun.len()];
        let (from, to) = slots.range();
        self.store.scan(Space::Objects, &from, to.as_ref().map(|to| to.as_slice()), &mut |key, value| {
            if let Some((key, mut object)) = decode(key, value).filter(|(key, _)| key.database() == database) {
                self.flushes.bury(database, &mut object);
                found[usize::from(key.token().slot() - slots.first)].add(&object, now_ms);
            }
            ControlFlow::Continue(())
        })?;
        for ((slot, begun), found) in (slots.first..=slots.last).zip(begun).zip(&found) {
            if let (Some(cell), Some(begun)) = (self.counts.cell(slot, database), begun)
                && !is_flushing
                && !uncommitted.contains(&slot)
            {
                cell.looked(begun, *found);
            }
        }
        Ok(found.iter().map(|found| found.live).sum())
    }

    /// The slot, among those covered, of a key kept here; `dice` says which. None: no key is kept here.
    pub fn slot_of_key(&self, database: u8, cover: &Cover, dice: u64) -> Option<u16> {
        let slots = || cover.runs().iter().flat_map(|run| run.first..=run.last);
        let keys = |slot: u16| self.counts.cell(slot, database).map_or(0, Cell::keys);
        let mut left = dice.checked_rem(slots().map(keys).sum())?;
        slots().find(|slot| {
            let here = keys(*slot);
            let found = left < here;
            left = left.saturating_sub(here);
            found
        })
    }

    /// The slot with which those from `from` on hold so many keys here; the last there is when they hold fewer.
    pub fn slot_after(&self, database: u8, from: u16, keys: u64) -> u16 {
        let mut left = keys;
        let cells = self.counts.cells(database).iter().skip(usize::from(from));
        let found = (from..SLOTS).zip(cells).find(|(_, cell)| {
            left = left.saturating_sub(cell.keys());
            left == 0
        });
        found.map_or(SLOTS - 1, |(slot, _)| slot)
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
        (0..DATABASES).any(|database| self.counts.cells(database).iter().any(|cell| cell.keys() > 0))
    }

    /// Keys and expiring keys of a database on this node, all its partitions together; expired ones included, and flushed
    /// ones until they are swept away.
    pub fn keyspace(&self, database: u8) -> (u64, u64) {
        let cells = self.counts.cells(database);
        (cells.iter().map(Cell::keys).sum(), cells.iter().map(Cell::expires).sum())
    }
}

fn slot_of(key: Bytes) -> Option<u16> {
    StorageKey::from_bytes(key).map(|key| key.token().slot())
}

fn decode(key: &[u8], value: &[u8]) -> Option<(StorageKey, Object)> {
    let key = StorageKey::from_bytes(Bytes::copy_from_slice(key))?;
    let record = Record::decode(&Bytes::copy_from_slice(value)).ok()?;
    Some((key, record.object))
}
