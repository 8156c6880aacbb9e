//! The board with the slips: what was changed and is not yet in the ledger.
//!
//! # Contract
//! - Whoever changes a key holds its [`lock`](Overlay::lock) from reading to [`put`](Overlay::put); locks are striped, so
//!   two keys may share one. Readers and the committer never take it.
//! - An entry stays until the committer has written exactly its version; a newer version stays on.
//!
//! # Invariant
//! An entry is absent only if the engine holds that key's newest value (or its commit failed, and was counted).

use bytes::Bytes;
use hashbrown::HashTable;
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
    entries: HashTable<Entry>,
    last_version: u64,
}

struct Entry {
    key: Key,
    version: u64,
    value: Option<Bytes>,
    taken: Place,
}

/// A key that has an entry, with its hash, which is reckoned once for an edit and its commit.
#[derive(Clone)]
pub(super) struct Key {
    hash: u64,
    pub bytes: Bytes,
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
    /// For [`Overlay::remove`].
    pub slip: Slip,
    /// The value to write; none removes the key.
    pub value: Option<Bytes>,
}

/// Which version of which entry.
#[derive(Clone, Copy)]
pub(super) struct Slip {
    hash: u64,
    version: u64,
}

/// The right to change a key.
pub(super) struct Changing<'a> {
    stripe: &'a Stripe,
    hash: u64,
    _alone: MutexGuard<'a, ()>,
}

impl Changing<'_> {
    /// As [`Overlay::look`].
    pub(super) fn look(&self, key: &[u8]) -> Result<Option<Bytes>, u64> {
        self.stripe.slips.lock().look(self.hash, key)
    }

    /// Pins a new value, after `first` was told of it: whoever finds no entry has looked before that, or comes when the entry
    /// is gone. Gives the key as it goes with the batch.
    pub(super) fn put(self, key: Bytes, value: Option<Bytes>, first: impl FnOnce(&Bytes, Option<&Bytes>)) -> Key {
        let key = self.key(key);
        let mut slips = self.stripe.slips.lock();
        first(&key.bytes, value.as_ref());
        slips.last_version += 1;
        let version = slips.last_version;
        if let Some(entry) = slips.entries.find_mut(key.hash, |entry| entry.key.bytes == key.bytes) {
            // The old key may lie in one piece with the old value.
            entry.key.bytes = key.bytes.clone();
            entry.version = version;
            entry.value = value;
            return key;
        }
        let entry = Entry { key: key.clone(), version, value, taken: Place::default() };
        slips.entries.insert_unique(key.hash, entry, |entry| entry.key.hash);
        key
    }

    /// The key as it goes with a batch that only saw its entry.
    pub(super) fn key(&self, bytes: Bytes) -> Key {
        Key { hash: self.hash, bytes }
    }
}

impl Slips {
    fn keys(&self) -> Vec<Bytes> {
        self.entries.iter().map(|entry| entry.key.bytes.clone()).collect()
    }

    fn look(&self, hash: u64, key: &[u8]) -> Result<Option<Bytes>, u64> {
        let entry = self.entries.find(hash, |entry| entry.key.bytes == key);
        entry.map(|entry| entry.value.clone()).ok_or(self.last_version)
    }
}

fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

impl Overlay {
    pub(super) fn new() -> Overlay {
        Overlay { stripes: (0..STRIPES).map(|_| Stripe::default()).collect() }
    }

    /// The table in a stripe goes by the upper bits.
    fn stripe(&self, hash: u64) -> &Stripe {
        &self.stripes[hash as usize % STRIPES]
    }

    /// Waits for the right to change a key.
    pub(super) fn lock(&self, key: &[u8]) -> Changing<'_> {
        let hash = hash(key);
        let stripe = self.stripe(hash);
        Changing { stripe, hash, _alone: stripe.changing.lock() }
    }

    /// The newest uncommitted value (none: an uncommitted removal); without an entry, a sign for [`Overlay::unchanged`].
    pub(super) fn look(&self, key: &[u8]) -> Result<Option<Bytes>, u64> {
        let hash = hash(key);
        self.stripe(hash).slips.lock().look(hash, key)
    }

    /// Does something unless a key of the stripe was changed since [`Overlay::look`] gave the sign; nobody changes one
    /// meanwhile.
    pub(super) fn unchanged(&self, key: &[u8], sign: u64, then: impl FnOnce()) {
        let slips = self.stripe(hash(key)).slips.lock();
        if slips.last_version == sign {
            then();
        }
    }

    /// Takes an entry for writing, without removing it; `offered` is its place unless this group has the key already.
    pub(super) fn take(&self, key: &Key, offered: Place) -> Option<Taken> {
        let mut slips = self.stripe(key.hash).slips.lock();
        let entry = slips.entries.find_mut(key.hash, |entry| entry.key.bytes == key.bytes)?;
        if entry.taken.group != offered.group {
            entry.taken = offered;
        }
        let slip = Slip { hash: key.hash, version: entry.version };
        Some(Taken { index: entry.taken.index, slip, value: entry.value.clone() })
    }

    /// Removes an entry if nothing newer has replaced it.
    pub(super) fn remove(&self, key: &[u8], slip: Slip) {
        let mut slips = self.stripe(slip.hash).slips.lock();
        let entry =
            slips.entries.find_entry(slip.hash, |entry| entry.version == slip.version && entry.key.bytes == key);
        if let Ok(entry) = entry {
            entry.remove();
        }
    }

    /// The keys of all entries. Looks at every stripe; whoever changes a key afterwards does so after this look.
    pub(super) fn keys(&self) -> Vec<Bytes> {
        self.stripes.iter().flat_map(|stripe| stripe.slips.lock().keys()).collect()
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
        let put = |text| overlay.lock(b"k").put("k".into(), value(text), |_, _| ());
        let key = put("old");
        let taken = overlay.take(&key, Place { group: 1, index: 3 }).unwrap();
        assert_eq!((taken.index, taken.value), (3, value("old")));
        put("new");
        overlay.remove(b"k", taken.slip);
        assert_eq!(overlay.lock(b"k").look(b"k"), Ok(value("new")));

        let again = overlay.take(&key, Place { group: 1, index: 9 }).unwrap();
        assert_eq!((again.index, again.value), (3, value("new")));
        let next_group = overlay.take(&key, Place { group: 2, index: 0 }).unwrap();
        assert_eq!(next_group.index, 0);
        assert_eq!(overlay.keys(), ["k"]);
        overlay.remove(b"k", again.slip);
        assert_eq!((overlay.look(b"k"), overlay.len()), (Err(2), 0));
    }
}
