//! What an engine must do: a ledger of three books, with entries in key order.
//!
//! # Contract
//! - A [`commit`](Engine::commit) is atomic over all spaces. After `Ok` it has left user space (it survives the death of
//!   the process); with `sync` it has been fsynced (it survives the death of the machine). A key that occurs twice in
//!   one commit ends as its last write says.
//! - What is not synced may be lost in the order it was written, last first, and never with gaps.
//! - A [`scan`](Engine::scan) sees one moment. Its visitor must not call the engine: collect, then act.
//! - Keys have 1 to [`KEY_BYTES_MAX`] bytes; anything else is an error and nothing is written.
//! - Every call may block on the disk; `commit` and `sync` for as long as a second.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::error::StorageError;

/// The longest key an engine holds, in bytes.
pub const KEY_BYTES_MAX: usize = 65_535;

/// The books of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Storage key → object.
    Objects,
    /// Home node ‖ storage key → nothing.
    Hints,
    /// The node's own notes. The key [`BATCH_KEY`](super::mark::BATCH_KEY) is the store's.
    Meta,
}

impl Space {
    /// All of them, in the order of [`Space::index`].
    pub const ALL: [Space; 3] = [Space::Objects, Space::Hints, Space::Meta];

    /// The space's place in [`Space::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The space's name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Space::Objects => "objects",
            Space::Hints => "hints",
            Space::Meta => "meta",
        }
    }
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which book.
    pub space: Space,
    /// The key.
    pub key: Bytes,
    /// The new value; none removes the key.
    pub value: Option<Bytes>,
}

/// Who looks at a scan's keys and values, and says when it has seen enough.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Who looks through an engine that was opened again, before anybody else; an error refuses it.
pub type Admit<'a> = dyn FnMut(&dyn Engine) -> Result<(), StorageError> + 'a;

/// A ledger. See the module for its contract.
pub trait Engine: Send + Sync + 'static {
    /// The value of a key, as of the last commit.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError>;

    /// Makes all changes at once; with `sync`, durably.
    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError>;

    /// Whether a small commit without `sync` would take microseconds now, as far as the engine knows: it has to wait for
    /// nothing and to put nothing away.
    fn is_at_leisure(&self) -> bool {
        true
    }

    /// Makes everything committed so far durable. Commits go on meanwhile, as far as the engine can.
    fn sync(&self) -> Result<(), StorageError>;

    /// Shows keys and values from `from` (included) to `to` (excluded; none: to the end) in key order until the visitor
    /// breaks off.
    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError>;

    /// Roughly how many bytes the engine takes up where it keeps things. May wait for a running commit.
    fn disk_bytes(&self) -> u64;

    /// Whether [`Engine::reopen`] can help after a commit that failed.
    fn can_reopen(&self) -> bool {
        false
    }

    /// Closes and opens again an engine of which a commit failed. May take seconds; reads fail meanwhile.
    fn reopen(&self, _admit: &mut Admit<'_>) -> Result<(), StorageError> {
        Err(StorageError::Poisoned)
    }
}

/// Whether a key has a length every engine takes.
pub fn check_key(key: &[u8]) -> Result<(), StorageError> {
    match key.len() {
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(StorageError::KeyLength { bytes }),
    }
}
