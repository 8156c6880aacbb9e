//! Reading this node's copies in key order, a page at a time, for a home that fills up.

use super::Replica;
use crate::key::StorageKey;
use crate::message::fill::{PAGE_BYTES, Page};
use crate::object::record::{Record, object_bytes};
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use bytes::Bytes;
use std::ops::ControlFlow;

impl Replica {
    /// The records from `from` (included) to `to` (excluded), until the page is full. Of a damaged one only the key: the other
    /// homes have it, but nobody may take it for forgotten.
    pub fn page(&self, from: &[u8], to: Option<&[u8]>) -> Result<Page, StorageError> {
        self.store.settle()?;
        let (mut page, mut bytes) = (Page { floor: self.floor(), ..Page::default() }, 0);
        self.store.scan(Space::Objects, from, to, &mut |key, value| {
            if bytes >= PAGE_BYTES {
                page.more = true;
                return ControlFlow::Break(());
            }
            let record = Bytes::copy_from_slice(value);
            let key = StorageKey::from_bytes(Bytes::copy_from_slice(key));
            if let Some(key) = key {
                bytes += key.as_bytes().len() + record.len();
                let object = Record::decode(&record).map_or(Bytes::new(), |_| object_bytes(&record));
                page.objects.push((key, object));
            }
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }
}
