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
    /// The sound records from `from` (included) to `to` (excluded), until the page is full. Damaged ones are left out: the
    /// other homes have them.
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
            if let (Some(key), Ok(_)) = (key, Record::decode(&record)) {
                bytes += key.as_bytes().len() + record.len();
                page.objects.push((key, object_bytes(&record)));
            }
            ControlFlow::Continue(())
        })?;
        Ok(page)
    }
}
