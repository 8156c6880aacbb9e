//! Filling up a home that lost its copies: pages of another home's objects, in key order.
//!
//! ```text
//! request   0 (data), 3 (fill), partition u16, after piece (a storage key; empty: from the start)
//! answer    flag filling, flag more, floor u64, then until the end: key piece, object piece
//! ```

use super::data::read_key;
use super::data_plane::{DATA, Question};
use crate::causality::Hlc;
use crate::codec::{Damaged, Reader, put_bytes, put_flag, put_u16, put_u64};
use crate::key::StorageKey;
use bytes::Bytes;

/// Bytes of keys and objects after which a page ends.
pub const PAGE_BYTES: usize = 1 << 20;

/// Asks for a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillRequest {
    /// The partition.
    pub partition: u16,
    /// The last key of the page before.
    pub after: Option<StorageKey>,
}

impl FillRequest {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = vec![DATA, Question::Fill as u8];
        put_u16(&mut out, self.partition);
        put_bytes(&mut out, self.after.as_ref().map_or(&[][..], StorageKey::as_bytes));
        out
    }

    /// Reads a body, its first two bytes taken off.
    pub fn read(body: &Bytes) -> Result<FillRequest, Damaged> {
        let mut reader = Reader::over(body);
        let partition = reader.u16()?;
        let after = reader.shared()?;
        reader.finish()?;
        let after = match after.is_empty() {
            true => None,
            false => Some(StorageKey::from_bytes(after).ok_or(Damaged::Malformed("storage key"))?),
        };
        Ok(FillRequest { partition, after })
    }
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Whether the sender has lost copies itself: this is not all it should hold.
    pub filling: bool,
    /// Whether there are more after it.
    pub more: bool,
    /// The sender's floor, from before it looked.
    pub floor: Hlc,
    /// Keys and the bytes of their objects; none: a damaged record.
    pub objects: Vec<(StorageKey, Bytes)>,
}

impl Page {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PAGE_BYTES);
        put_flag(&mut out, self.filling);
        put_flag(&mut out, self.more);
        put_u64(&mut out, self.floor.0);
        for (key, object) in &self.objects {
            put_bytes(&mut out, key.as_bytes());
            put_bytes(&mut out, object);
        }
        out
    }

    /// Reads a body.
    pub fn read(body: &Bytes) -> Result<Page, Damaged> {
        let mut reader = Reader::over(body);
        let filling = reader.flag()?;
        let more = reader.flag()?;
        let floor = Hlc(reader.u64()?);
        let mut objects = Vec::new();
        while reader.remaining() > 0 {
            objects.push((read_key(&mut reader)?, reader.shared()?));
        }
        Ok(Page { filling, more, floor, objects })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pages_and_requests_come_back_as_they_went() {
        let key = StorageKey::new(2, b"key").unwrap();
        for after in [None, Some(key.clone())] {
            let request = FillRequest { partition: 7, after };
            let body = Bytes::from(request.clone().into_body());
            assert_eq!(FillRequest::read(&body.slice(2..)), Ok(request));
        }
        let page =
            Page { filling: false, more: true, floor: Hlc(9), objects: vec![(key, Bytes::from_static(b"object"))] };
        assert_eq!(Page::read(&Bytes::from(page.clone().into_body())), Ok(page));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let body = Bytes::from(bytes);
            let _ = (FillRequest::read(&body), Page::read(&body));
        }
    }
}
