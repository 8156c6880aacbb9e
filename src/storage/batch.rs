//! A batch: the slips one caller hands in together.
//!
//! # Contract
//! - [`Store::edit`](super::store::Store::edit) and its like add to a batch; [`Store::submit`](super::store::Store::submit)
//!   hands it in. Changed objects are visible from the edit on.
//! - A batch is committed in one piece, with one exception: when another batch touches one of its keys before it is
//!   submitted, that key's newest value may be committed with the other batch already.
//! - A batch that is dropped is committed all the same, since others may have read its values; nobody is told.

use std::sync::Arc;

use bytes::Bytes;

use super::core::Core;
use super::engine::{Space, Write, check_key};
use super::error::StorageError;
use super::overlay::Key;

/// What an edit does to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Leaves it as it is. The batch still completes only after the value that was seen is committed.
    Keep,
    /// Replaces it.
    Put(Keyed),
    /// Removes it.
    Remove,
}

/// A record behind its key, in one piece of memory: they are kept, and let go of, together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed {
    whole: Bytes,
    key_bytes: usize,
}

impl Keyed {
    /// Takes a piece whose first `key_bytes` are the key. Panics if it has no more than that.
    pub fn new(whole: Bytes, key_bytes: usize) -> Keyed {
        assert!(key_bytes < whole.len(), "a record behind a key");
        Keyed { whole, key_bytes }
    }

    /// A copy of both.
    #[cfg(test)]
    pub(crate) fn copied(key: impl AsRef<[u8]>, record: impl AsRef<[u8]>) -> Keyed {
        Keyed::new([key.as_ref(), record.as_ref()].concat().into(), key.as_ref().len())
    }

    /// The key.
    pub fn key(&self) -> Bytes {
        self.whole.slice(..self.key_bytes)
    }

    /// The record.
    pub fn record(&self) -> Bytes {
        self.whole.slice(self.key_bytes..)
    }
}

/// Changes that belong together. See the module.
#[derive(Default)]
pub struct Batch {
    pub(super) core: Option<Arc<Core>>,
    pub(super) parts: Parts,
}

/// What a batch is made of.
#[derive(Default)]
pub(super) struct Parts {
    /// Keys of objects that were changed, or seen uncommitted.
    pub touched: Vec<Key>,
    /// Changes to the other spaces.
    pub others: Vec<Write>,
    /// The size of all this, for back-pressure.
    pub bytes: u64,
    /// The store's count of failed groups before the first edit.
    pub failures_seen: Option<u64>,
    /// It makes room: the floor of free space does not hold for it.
    pub makes_room: bool,
    /// A change that cannot be made: the whole batch is refused.
    pub refused: Option<StorageError>,
}

/// What a change costs beside its key and value.
const OVERHEAD_BYTES: u64 = 96;

impl Batch {
    /// An empty one.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// An empty one for removals, which go on below the floor of free space: they are what makes room.
    pub fn making_room() -> Batch {
        let mut batch = Batch::default();
        batch.parts.makes_room = true;
        batch
    }

    /// Whether submitting it would write nothing and wait for nothing.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.others.is_empty() && self.refused.is_none()
    }

    pub(super) fn touch(&mut self, key: Key, value_bytes: usize) {
        self.bytes += OVERHEAD_BYTES + (key.bytes.len() + value_bytes) as u64;
        self.touched.push(key);
    }

    /// Gives whether the change can be made.
    pub(super) fn put_other(&mut self, space: Space, key: Bytes, value: Option<Bytes>) -> bool {
        if let Err(error) = check_key(&key) {
            self.refused = Some(error);
            return false;
        }
        self.bytes += OVERHEAD_BYTES + (key.len() + value.as_ref().map_or(0, Bytes::len)) as u64;
        self.others.push(Write { space, key, value });
        true
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let parts = std::mem::take(&mut self.parts);
        if let Some(core) = self.core.take().filter(|_| !parts.is_empty()) {
            core.submit(parts, false, Box::new(|_| ()));
        }
    }
}
