//! Which keys lie here: a page of them, for whoever walks through all ([`crate::walk`]).
//!
//! # Contract
//! - What is committed is told, so everything this node has acknowledged is. Deleted keys are told as long as anything
//!   of them is recorded here: another node may not know that they are gone.
//! - A node that has lost copies tells nothing.

use super::Replica;
use crate::message::keys::{KeysPage, KeysRequest, Listed, State};
use crate::object::record::Record;
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use crate::walk::list::{Filling, is_of, key_of};
use bytes::Bytes;
use std::ops::ControlFlow;

impl Replica {
    /// The keys of a database from a place on, until the page is full; none: this node is filling up. Reads the disk.
    pub fn keys(&self, request: &KeysRequest) -> Result<Option<KeysPage>, StorageError> {
        if self.is_filling() {
            return Ok(None);
        }
        // Before any record: what is flushed after this makes the asker look closer.
        let flush_line = self.flush_line(request.database);
        let mut filling = Filling::new(request.keys_max);
        let mut until = None;
        for slots in &request.slots {
            let (first, to) = slots.range();
            let from = request.from.as_ref().max(&first[..]);
            self.store.scan(Space::Objects, from, to.as_ref().map(|to| to.as_slice()), &mut |key, value| {
                if let Some(end) = filling.ends_before(key, value.len()) {
                    until = Some(end.as_bytes().clone());
                    return ControlFlow::Break(());
                }
                if is_of(key, request.database) {
                    self.listed(key, value).into_iter().for_each(|listed| filling.add(listed));
                }
                ControlFlow::Continue(())
            })?;
            if until.is_some() {
                break;
            }
        }
        Ok(Some(KeysPage { flush_line, until, keys: filling.into_keys() }))
    }

    fn listed(&self, key: &[u8], value: &[u8]) -> Option<Listed> {
        let key = key_of(key)?;
        let state = match Record::decode(&Bytes::copy_from_slice(value)) {
            Ok(mut record) => {
                self.bury_dead(key.database(), &mut record.object);
                Some(State::of(&key, &record.object))
            }
            Err(damage) => {
                self.note_damage(&key, &damage);
                None
            }
        };
        Some(Listed { key, state })
    }
}
