//! Copies kept for homes that were away (§4.6): noted beside the object, found again, and let go of.
//!
//! A slip on the shelf says whose parcel this is; the parcel itself lies with all the others. When its owner has signed
//! for it, slip and parcel go together, unless somebody has put something into the parcel meanwhile.
//!
//! ```text
//! hint   home tag (8 bytes, big-endian) ‖ storage key → when it was noted, and for how much (see `shelves`)
//! ```
//!
//! # Contract
//! - A hint goes only while the object is, byte for byte, the one its home has acknowledged. With the last hint of a key
//!   the whole record goes, in the same commit, unless this node is a home itself; the actor goes with it. Which is the last
//!   is decided when no other hint of the key is on its way to or from the disk.
//! - A write that notes a hint and a delivery that takes one away never overlap on a key, and reach the store in the order
//!   in which they changed the object. So no hint is lost to a delivery that did not see it.
//! - Where there are too many hints, they are not noted any more, or dropped; then the home is marked before. See `strays`.

use super::Replica;
use super::shelves::{Shelves, Slip};
use crate::causality::NodeTag;
use crate::handoff::ALL_HOMES;
use crate::handoff::tidy::{Bounds, Shelf};
use crate::key::StorageKey;
use crate::object::Object;
use crate::object::record::{Record, object_bytes};
use crate::storage::batch::{Batch, Edit};
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use crate::storage::store::Done;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Enough that a handful of threads rarely meet.
const STRIPES: usize = 128;
const TAG_BYTES: usize = 8;

/// Who is noting or taking away hints, and for which homes there may be any.
pub(super) struct Hints {
    stripes: Box<[Mutex<()>]>,
    /// For whom hints were found or noted in this life.
    pub(super) shelves: Shelves,
    /// Nothing is let go of any more.
    closed: AtomicBool,
    /// What earlier lives kept is known.
    found: AtomicBool,
}

impl Default for Hints {
    fn default() -> Hints {
        Hints {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            shelves: Shelves::default(),
            closed: AtomicBool::new(false),
            found: AtomicBool::new(false),
        }
    }
}

impl Hints {
    pub(super) fn lock(&self, key: &StorageKey) -> MutexGuard<'_, ()> {
        self.stripes[key.token().0 as usize % STRIPES].lock()
    }

    /// Held from before a change until its hint is in the batch; nothing to hold when the change notes none.
    pub(super) fn hold(&self, key: &StorageKey, home: Option<NodeTag>) -> Option<MutexGuard<'_, ()>> {
        home.map(|_| self.lock(key))
    }
}

/// A copy kept for a home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The home; [`ALL_HOMES`]: every home of the key.
    pub home: NodeTag,
    /// The key.
    pub key: StorageKey,
    /// The record as it is now; none: there is nothing any more.
    record: Option<Bytes>,
}

impl Kept {
    /// A copy of a key, as its record is now.
    pub fn new(home: NodeTag, key: StorageKey, record: Option<Bytes>) -> Kept {
        Kept { home, key, record }
    }

    /// How many bytes it is to carry.
    pub fn bytes(&self) -> u64 {
        (self.key.as_bytes().len() + self.record.as_ref().map_or(0, Bytes::len)) as u64
    }

    /// The object's bytes; none: there is nothing any more.
    pub fn object(&self) -> Option<Bytes> {
        self.record.as_ref().map(object_bytes)
    }
}

/// Some copies kept for one home, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptPage {
    /// The copies whose records are sound.
    pub kept: Vec<Kept>,
    /// Whether hints were left out because they or their records are damaged.
    pub damaged: bool,
    /// The name of the last hint looked at, when there are more.
    pub last: Option<Bytes>,
}

impl Replica {
    /// Remembers beside the object, of so many bytes, for whom it is held.
    pub(super) fn note_hint(
        &self,
        batch: &mut Batch,
        key: &StorageKey,
        home: Option<NodeTag>,
        bytes: usize,
        now_ms: u64,
    ) {
        let Some(home) = home else { return };
        #[cfg(feature = "simulation")]
        if super::rehearsed::forgets_hints() {
            return;
        }
        self.stats.hints_taken.fetch_add(1, Ordering::Relaxed);
        if !self.hints.shelves.take_in(home, bytes) {
            self.stats.hints_dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let slip = Slip { noted_ms: now_ms, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) };
        self.store.put_other(batch, Space::Hints, name(home, key), Some(slip.encode()));
    }

    /// Finds the homes for which earlier lives kept copies, and counts these. Reads the disk.
    pub fn find_hints(&self, now_ms: u64) -> Result<(), StorageError> {
        self.find_marks()?;
        let mut from = Some(0u64);
        while let Some(tag) = from {
            let mut found = None;
            self.store.scan(Space::Hints, &tag.to_be_bytes(), None, &mut |name, _| {
                found = Some(home_of(name));
                ControlFlow::Break(())
            })?;
            let Some(home) = found else { break };
            self.recount_hints(home, now_ms)?;
            from = home.0.checked_add(1);
        }
        self.hints.found.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether copies may be kept here for others, with a hint or without.
    pub fn keeps_copies(&self) -> bool {
        let all_known = self.hints.found.load(Ordering::Acquire);
        !all_known || self.store.stats().hints > 0 || !self.hints.shelves.marked().is_empty()
    }

    /// The homes for which there may be hints.
    pub fn hinted_homes(&self) -> Vec<NodeTag> {
        self.hints.shelves.homes()
    }

    /// What lies here for each home. `reachable` tells whether one seems to answer.
    pub fn shelves(&self, reachable: impl Fn(NodeTag) -> bool) -> Vec<Shelf> {
        let shelves = &self.hints.shelves;
        let shelf = |home| Shelf {
            home,
            bytes: shelves.bytes(home),
            full: shelves.is_full(home),
            marked: shelves.is_marked(home),
            reachable: reachable(home),
        };
        shelves.homes().into_iter().map(shelf).collect()
    }

    /// Bytes of the copies kept for a home, about.
    pub fn hinted_bytes(&self, home: NodeTag) -> u64 {
        self.hints.shelves.bytes(home)
    }

    /// Bytes of all copies kept for others, about; one kept for two counts twice.
    pub fn hints_bytes(&self) -> u64 {
        self.hinted_homes().into_iter().map(|home| self.hinted_bytes(home)).sum()
    }

    /// How much may be kept.
    pub fn hint_bounds(&self) -> Bounds {
        self.hints.shelves.bounds()
    }

    /// Sets `hint-ttl-ms` and `hint-bytes-max`.
    pub fn set_hint_bounds(&self, bounds: Bounds) {
        self.hints.shelves.set_bounds(bounds);
    }

    /// The copies kept for a home, after the hint named `after`: at most so many, and no more once they have so many bytes.
    /// Reads the disk.
    pub fn kept_for(
        &self,
        home: NodeTag,
        after: Option<&Bytes>,
        keys_max: usize,
        bytes_max: usize,
    ) -> Result<KeptPage, StorageError> {
        let names = self.hint_page(home, after, keys_max, 0)?;
        let mut page = KeptPage::default();
        let (mut bytes, mut looked) = (0, 0);
        for (name, _) in &names {
            if bytes >= bytes_max {
                break;
            }
            looked += 1;
            let Some(key) = StorageKey::from_bytes(name.slice(TAG_BYTES..)) else {
                tracing::error!(name = %name.escape_ascii(), "a hint names no key; it is left where it is");
                page.damaged = true;
                continue;
            };
            let record = self.store.get(key.as_bytes())?;
            if let Some(Err(damage)) = record.as_ref().map(Record::decode) {
                self.note_damage(&key, &damage);
                page.damaged = true;
                continue;
            }
            bytes += key.as_bytes().len() + record.as_ref().map_or(0, Bytes::len);
            page.kept.push(Kept::new(home, key, record));
        }
        if looked < names.len() || names.len() == keys_max {
            page.last = looked.checked_sub(1).map(|last| names[last].0.clone());
        }
        Ok(page)
    }

    /// The names of hints for a home after the one named `after`, and what stands on them.
    pub(super) fn hint_page(
        &self,
        home: NodeTag,
        after: Option<&Bytes>,
        keys_max: usize,
        now_ms: u64,
    ) -> Result<Vec<(Bytes, Slip)>, StorageError> {
        let from = match after {
            // The first name after it: the same bytes and a zero.
            Some(after) => [&after[..], &[0]].concat(),
            None => home.0.to_be_bytes().to_vec(),
        };
        let to = home.0.checked_add(1).map(u64::to_be_bytes);
        let mut names = Vec::new();
        self.store.scan(Space::Hints, &from, to.as_ref().map(|to| &to[..]), &mut |name, value| {
            if names.len() < keys_max {
                names.push((Bytes::copy_from_slice(name), Slip::decode(value, now_ms)));
            }
            if names.len() < keys_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(names)
    }

    /// Lets go of a hint whose home has the copy on its disk, if the object is still that copy. The object stays when
    /// `stays` says so, asked with the homes that are marked: this node is a home of the key itself, or one of those may want
    /// it. Gives whether the hint went; then `done` is told when that is committed. May read the disk.
    pub fn give_back(
        self: &Arc<Self>,
        kept: &Kept,
        stays: impl Fn(&[NodeTag]) -> bool,
        done: Done,
    ) -> Result<bool, StorageError> {
        let held = self.hints.lock(&kept.key);
        if self.hints.closed.load(Ordering::Acquire) {
            return Err(StorageError::Stopped);
        }
        let keeps = match stays(&self.hints.shelves.marked()) {
            true => true,
            false => match self.is_hinted(&kept.key, |home| home != kept.home)? {
                Some(keeps) => keeps,
                // Were both of two last hints to go at one moment, each for the other's sake without the record, nobody would
                // ever let go of that.
                None => return Ok(false),
            },
        };
        let mut batch = Batch::making_room();
        let same = self.store.edit(&mut batch, kept.key.as_bytes(), |now| {
            let same = now == kept.record;
            let Some(record) = now.filter(|_| same && !keeps) else { return (same, Edit::Keep) };
            if let Ok(record) = Record::decode(&record) {
                self.note_change(&kept.key, &record.object, &Object::default());
                self.stats.copies_given_back.fetch_add(1, Ordering::Relaxed);
            }
            (same, Edit::Remove)
        })?;
        if same {
            self.store.put_other(&mut batch, Space::Hints, name(kept.home, &kept.key), None);
            self.hints.shelves.took_out(kept.home, kept.record.as_ref().map_or(0, Bytes::len));
            self.stats.hints_delivered.fetch_add(u64::from(kept.record.is_some()), Ordering::Relaxed);
        }
        self.submit(batch, false, done);
        drop(held);
        Ok(same)
    }

    /// Lets go of nothing from now on: whatever counts the keys after this counts them right. Waits for deletions that
    /// have begun.
    pub fn stop_giving_back(&self) {
        self.hints.closed.store(true, Ordering::Release);
        self.hints.stripes.iter().for_each(|stripe| drop(stripe.lock()));
    }

    /// Whether there is a hint for one of these homes; none: one is just being noted or let go of.
    pub(super) fn is_hinted(
        &self,
        key: &StorageKey,
        of: impl Fn(NodeTag) -> bool,
    ) -> Result<Option<bool>, StorageError> {
        let mut sure = true;
        for home in self.hinted_homes().into_iter().filter(|home| of(*home)) {
            match self.store.holds_other(Space::Hints, &name(home, key))? {
                Some(true) => return Ok(Some(true)),
                Some(false) => {}
                None => sure = false,
            }
        }
        Ok(sure.then_some(false))
    }
}

fn name(home: NodeTag, key: &StorageKey) -> Bytes {
    let mut name = Vec::with_capacity(TAG_BYTES + key.as_bytes().len());
    name.extend_from_slice(&home.0.to_be_bytes());
    name.extend_from_slice(key.as_bytes());
    Bytes::from(name)
}

fn home_of(name: &[u8]) -> NodeTag {
    name.first_chunk().map_or(ALL_HOMES, |tag| NodeTag(u64::from_be_bytes(*tag)))
}
