//! The board with the slips: what was changed and is not yet in the ledger.
//!
//! # Contract
//! - Whoever changes a key holds its [`lock`](Overlay::lock) from reading to [`put`](Overlay::put); locks are striped, so
//!   two keys may share one. Readers and the committer never take it.
//! - An entry stays until the committer has written exactly its version; a newer version stays on.
//!
//! # Invariant
//! An entry is absent only if the engine holds that key's newest value (or its commit failed, and was counted).

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

/// Enough that a handful of threads rarely meet.
const STRIPES: usize = 512;

/// All entries.
pub(super) struct Overlay {
    stripes: Box<[Stripe]>,
}

#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    changing: Mutex<()>,
    slips: Mutex<Slips>,
}

#[derive(Default)]
struct Slips {
    entries: HashMap<Bytes, Entry>,
    last_version: u64,
}

struct Entry {
    version: u64,
    value: Option<Bytes>,
    taken: Place,
}

/// Where the committer put an entry: which group, and which place in its list of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The group's number; zero: in none.
    pub group: u64,
    /// The index in the group's writes.
    pub index: usize,
}

/// An entry as the committer takes it.
pub(super) struct Taken {
    /// The place in the group's writes: the offered one, or the one the key already has there.
    pub index: usize,
    /// The version, for [`Overlay::remove`].
    pub version: u64,
    /// The value to write; none removes the key.
    pub value: Option<Bytes>,
}

impl Overlay {
    pub(super) fn new() -> Overlay {
        Overlay { stripes: (0..STRIPES).map(|_| Stripe::default()).collect() }
    }

    fn stripe(&self, key: &[u8]) -> &Stripe {
        &self.stripes[xxhash_rust::xxh3::xxh3_64(key) as usize % STRIPES]
    }

    /// The right to change a key.
    pub(super) fn lock(&self, key: &[u8]) -> MutexGuard<'_, ()> {
        self.stripe(key).changing.lock()
    }

    /// The newest uncommitted value: `Some(None)` is an uncommitted removal.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.stripe(key).slips.lock().entries.get(key).map(|entry| entry.value.clone())
    }

    /// As [`Overlay::get`]; without an entry, a sign for [`Overlay::unchanged`].
    pub(super) fn look(&self, key: &[u8]) -> Result<Option<Bytes>, u64> {
        let slips = self.stripe(key).slips.lock();
        slips.entries.get(key).map(|entry| entry.value.clone()).ok_or(slips.last_version)
    }

    /// Does something unless a key of the stripe was changed since [`Overlay::look`] gave the sign; nobody changes one
    /// meanwhile.
    pub(super) fn unchanged(&self, key: &[u8], sign: u64, then: impl FnOnce()) {
        let slips = self.stripe(key).slips.lock();
        if slips.last_version == sign {
            then();
        }
    }

    /// Pins a new value. The caller holds the key's lock.
    pub(super) fn put(&self, key: Bytes, value: Option<Bytes>) {
        let mut slips = self.stripe(&key).slips.lock();
        slips.last_version += 1;
        let version = slips.last_version;
        let entry = slips.entries.entry(key).or_insert(Entry { version, value: None, taken: Place::default() });
        entry.version = version;
        entry.value = value;
    }

    /// Takes an entry for writing, without removing it; `offered` is its place unless this group has the key already.
    pub(super) fn take(&self, key: &[u8], offered: Place) -> Option<Taken> {
        let mut slips = self.stripe(key).slips.lock();
        let entry = slips.entries.get_mut(key)?;
        if entry.taken.group != offered.group {
            entry.taken = offered;
        }
        Some(Taken { index: entry.taken.index, version: entry.version, value: entry.value.clone() })
    }

    /// Removes an entry if nothing newer has replaced it.
    pub(super) fn remove(&self, key: &[u8], version: u64) {
        let mut slips = self.stripe(key).slips.lock();
        if slips.entries.get(key).is_some_and(|entry| entry.version == version) {
            slips.entries.remove(key);
        }
    }

    /// The keys of all entries. Looks at every stripe; whoever changes a key afterwards does so after this look.
    pub(super) fn keys(&self) -> Vec<Bytes> {
        self.stripes.iter().flat_map(|stripe| stripe.slips.lock().entries.keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// How many entries there are. Looks at every stripe.
    pub(super) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.slips.lock().entries.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_outlives_the_commit_of_an_older_one() {
        let overlay = Overlay::new();
        let value = |text: &'static str| Some(Bytes::from(text));
        overlay.put("k".into(), value("old"));
        let taken = overlay.take(b"k", Place { group: 1, index: 3 }).unwrap();
        assert_eq!((taken.index, taken.value), (3, value("old")));
        overlay.put("k".into(), value("new"));
        overlay.remove(b"k", taken.version);
        assert_eq!(overlay.get(b"k"), Some(value("new")));

        let again = overlay.take(b"k", Place { group: 1, index: 9 }).unwrap();
        assert_eq!((again.index, again.value), (3, value("new")));
        let next_group = overlay.take(b"k", Place { group: 2, index: 0 }).unwrap();
        assert_eq!(next_group.index, 0);
        assert_eq!(overlay.keys(), ["k"]);
        overlay.remove(b"k", again.version);
        assert_eq!((overlay.get(b"k"), overlay.len()), (None, 0));
    }
}
