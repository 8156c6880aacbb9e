//! A key's record on this node: the object, and the name under which this node writes the key.
//!
//! The name (an actor's birth) lies in the record so that it is lost with the record. A node that forgot what it wrote
//! must not go on under the old name: its next write would silently cover the forgotten ones.
//!
//! ```text
//! 0     format version, 1
//! 1..9  the birth of this node's actor for the key, u64; 0: it has none
//! 9..   the object
//! end   CRC32 of all before (`codec::seal`)
//! ```

use super::Object;
use crate::causality::Hlc;
use crate::codec::compact::compact;
use crate::codec::{self, Damaged, put_u8, put_u64};
use bytes::Bytes;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 9;

/// A key's record on this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The birth of this node's actor for the key; none: it has not written it in this record's life.
    pub birth: Option<Hlc>,
    /// What the node holds.
    pub object: Object,
}

impl Record {
    /// The record's bytes, sealed. [`object_bytes`] finds the object inside them again.
    pub fn encode(&self) -> Bytes {
        self.encode_behind(&[])
    }

    /// The same bytes behind others, which the seal does not cover.
    pub fn encode_behind(&self, head: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(head.len() + HEADER_BYTES + self.object.encoded_bytes() + 4);
        out.extend_from_slice(head);
        put_u8(&mut out, VERSION);
        put_u64(&mut out, self.birth.unwrap_or_default().0);
        self.object.encode(&mut out);
        compact(codec::seal_from(out, head.len()))
    }

    /// Reads a record. A damaged one is an error: never read as absent.
    pub fn decode(bytes: &Bytes) -> Result<Record, Damaged> {
        let mut reader = codec::Reader::within(codec::unseal(bytes)?, bytes);
        if reader.u8()? != VERSION {
            return Err(Damaged::Malformed("version of a record"));
        }
        let birth = Hlc(reader.u64()?);
        let object = Object::read_last(reader)?;
        Ok(Record { birth: (birth != Hlc::default()).then_some(birth), object })
    }
}

/// The object's bytes within a record that [`Record::encode`] has just made.
pub fn object_bytes(record: &Bytes) -> Bytes {
    record.slice(HEADER_BYTES..record.len() - 4)
}
