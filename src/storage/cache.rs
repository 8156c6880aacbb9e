//! Records that were read or written lately, in front of the engine: a read-merge-write reads each record first.
//!
//! # Invariant
//! What is cached is what the engine holds, or an entry of the overlay hides it. Whoever changes a record caches it just
//! before the overlay gets its entry, all under the stripe's lock, and while old and new are at hand; the committer forgets
//! what it could not write before it takes the entry away; a reader caches what it has read from the engine only if nobody
//! has changed a key of the stripe meanwhile ([`Overlay::unchanged`](super::overlay::Overlay::unchanged)).

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// What an entry costs beside its key and record.
const OVERHEAD_BYTES: u64 = 96;

/// A typical record, for sizing the table.
const RECORD_BYTES_TYPICAL: u64 = 256;

/// Bounded in bytes; a bound of zero caches nothing.
pub(super) struct RecordCache(Option<Cache<Bytes, Bytes, ByBytes>>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Bytes, Bytes> for ByBytes {
    fn weight(&self, key: &Bytes, record: &Bytes) -> u64 {
        key.len() as u64 + record.len() as u64 + OVERHEAD_BYTES
    }
}

impl RecordCache {
    pub(super) fn new(bytes_max: u64) -> RecordCache {
        let entries = usize::try_from(bytes_max / RECORD_BYTES_TYPICAL).unwrap_or(usize::MAX);
        RecordCache((bytes_max > 0).then(|| Cache::with_weighter(entries, bytes_max, ByBytes)))
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.as_ref()?.get(key)
    }

    /// Caches a record; none forgets the key.
    pub(super) fn put(&self, key: &Bytes, record: Option<&Bytes>) {
        let Some(cache) = &self.0 else { return };
        match record {
            Some(record) => cache.insert(key.clone(), record.clone()),
            None => drop(cache.remove(key.as_ref())),
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(Cache::clear);
    }

    /// Whether anything is ever cached.
    pub(super) fn is_on(&self) -> bool {
        self.0.is_some()
    }
}
