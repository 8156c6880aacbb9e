//! The name of a retried request.

use crate::causality::{Actor, Hlc, NodeTag};
use crate::key::StorageKey;

/// The actor of a write with an `ID`: the same on every coordinator, so that a retried request replaces itself.
pub fn request_actor(key: &StorageKey, id: &[u8]) -> Actor {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    hash.update(&(id.len() as u64).to_le_bytes());
    hash.update(id);
    hash.update(key.as_bytes());
    let hash = hash.digest128();
    Actor { node: NodeTag((hash >> 64) as u64), birth: Hlc(hash as u64 | 1) }
}
