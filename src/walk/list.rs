//! Where a page of keys ends.
//!
//! Contract: a page ends between two tokens as soon as it holds as many keys as were asked for, [`PAGE_BYTES`] of them, or
//! as much as [`LOOKED_BYTES`] was looked through for it. Only where the keys of one token alone are too much for a frame
//! does it end among them. It always holds, or has passed by, at least one key.

use super::Position;
use crate::key::StorageKey;
use crate::message::keys::Listed;
use bytes::Bytes;

/// The most keys a page is asked for.
pub const PAGE_KEYS: u32 = 4096;

/// Bytes of keys after which a page ends.
pub const PAGE_BYTES: usize = 512 << 10;

/// Bytes of keys after which a page ends among the keys of one token.
pub const TOKEN_BYTES: usize = 4 << 20;

/// Bytes of records after which a page ends, whatever was found: other databases' records lie between the keys.
pub const LOOKED_BYTES: usize = 16 << 20;

/// What a record costs beside its bytes.
const RECORD_BYTES: usize = 256;

/// A page being filled, in the order of storage.
#[derive(Debug)]
pub struct Filling {
    keys_max: usize,
    keys: Vec<Listed>,
    bytes: usize,
    looked: usize,
    last: Option<[u8; 8]>,
}

impl Filling {
    /// An empty page for so many keys.
    pub fn new(keys_max: u32) -> Filling {
        let keys_max = keys_max.clamp(1, PAGE_KEYS) as usize;
        Filling { keys_max, keys: Vec::new(), bytes: 0, looked: 0, last: None }
    }

    /// Looks at the next record, of whatever database; `record` is its length. Where the page ends, if it does before it.
    pub fn ends_before(&mut self, key: &[u8], record: usize) -> Option<Position> {
        let token: [u8; 8] = key.first_chunk().copied().unwrap_or_default();
        let same_token = self.last.is_none_or(|last| last == token);
        let full = self.keys.len() >= self.keys_max || self.bytes >= PAGE_BYTES || self.looked >= LOOKED_BYTES;
        if full && !same_token {
            return Some(Position::token(u64::from_be_bytes(token)));
        }
        if self.bytes >= TOKEN_BYTES {
            return Some(Position::before(Bytes::copy_from_slice(key)));
        }
        self.last = Some(token);
        self.looked += key.len() + record + RECORD_BYTES;
        None
    }

    /// Adds the record that was looked at.
    pub fn add(&mut self, listed: Listed) {
        self.bytes += listed.bytes();
        self.keys.push(listed);
    }

    /// The keys.
    pub fn into_keys(self) -> Vec<Listed> {
        self.keys
    }
}

/// Whether a record's key belongs to a database.
pub fn is_of(key: &[u8], database: u8) -> bool {
    key.get(8) == Some(&database)
}

/// A record's key.
pub fn key_of(key: &[u8]) -> Option<StorageKey> {
    StorageKey::from_bytes(Bytes::copy_from_slice(key))
}
