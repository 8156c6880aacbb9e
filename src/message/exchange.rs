//! Comparing two homes: sums of runs of tokens, then the keys of the leaves that differ ([`crate::merkle`]).
//!
//! ```text
//! request   0 (data), 4 (exchange), u8 database, flag repairing, then
//!             u8 0 sums   u8 bits, list of u32 indexes
//!             u8 1 keys   after piece (a storage key; empty: from the start), list of u32 leaves
//! sums      u8 standing, u16 databases held, list of sums (24 bytes each)
//! keys      flag more, list of: key piece, digest (16), u32 bytes of its object
//! ```

use super::data::read_key;
use super::data_plane::{DATA, Question};
use crate::codec::{Damaged, Reader, put_bytes, put_count, put_flag, put_u8, put_u16, put_u32};
use crate::key::{DATABASES, StorageKey};
use crate::merkle::exchange::{Entry, LEAVES_MAX, Listing, SUMS_MAX};
use crate::merkle::sum::{SUM_BYTES, Sum};
use crate::merkle::tree::{LEAF_BITS, Run};
use crate::object::digest::Digest;
use bytes::Bytes;

const SUMS: u8 = 0;
const KEYS: u8 = 1;

/// An entry's bytes at least: an empty piece, digest, length.
const ENTRY_BYTES_MIN: usize = 24;

/// One question about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// The database.
    pub database: u8,
    /// Whether the asker has found differences and repairs them, which only one may at a time. No: if it did, it has
    /// come to the end.
    pub repairing: bool,
    /// What is asked.
    pub asked: Asked,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The sums of runs; at most [`SUMS_MAX`].
    Sums(Vec<Run>),
    /// The keys of leaves.
    Keys {
        /// The leaves; at most [`LEAVES_MAX`].
        leaves: Vec<u32>,
        /// Only keys after this one.
        after: Option<StorageKey>,
    },
}

impl ExchangeRequest {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = vec![DATA, Question::Exchange as u8, self.database];
        put_flag(&mut out, self.repairing);
        match self.asked {
            Asked::Sums(runs) => {
                put_u8(&mut out, SUMS);
                put_u8(&mut out, runs.first().map_or(0, |run| run.bits));
                put_count(&mut out, runs.len());
                runs.iter().for_each(|run| put_u32(&mut out, run.index));
            }
            Asked::Keys { leaves, after } => {
                put_u8(&mut out, KEYS);
                put_bytes(&mut out, after.as_ref().map_or(&[][..], StorageKey::as_bytes));
                put_count(&mut out, leaves.len());
                leaves.iter().for_each(|leaf| put_u32(&mut out, *leaf));
            }
        }
        out
    }

    /// Reads a body, its first two bytes taken off.
    pub fn read(body: &Bytes) -> Result<ExchangeRequest, Damaged> {
        let mut reader = Reader::over(body);
        let database = reader.u8()?;
        if database >= DATABASES {
            return Err(Damaged::Malformed("database"));
        }
        let repairing = reader.flag()?;
        let asked = match reader.u8()? {
            SUMS => {
                let bits = reader.u8()?;
                Asked::Sums(read_runs(&mut reader, bits, SUMS_MAX)?)
            }
            KEYS => {
                let after = reader.shared()?;
                let after = match after.is_empty() {
                    true => None,
                    false => Some(StorageKey::from_bytes(after).ok_or(Damaged::Malformed("storage key"))?),
                };
                let leaves = read_runs(&mut reader, LEAF_BITS, LEAVES_MAX)?;
                Asked::Keys { leaves: leaves.into_iter().map(|leaf| leaf.index).collect(), after }
            }
            _ => return Err(Damaged::Malformed("kind of question")),
        };
        reader.finish()?;
        Ok(ExchangeRequest { database, repairing, asked })
    }
}

fn read_runs(reader: &mut Reader<'_>, bits: u8, most: usize) -> Result<Vec<Run>, Damaged> {
    let count = reader.count(4)?;
    if count > most {
        return Err(Damaged::Malformed("number of runs"));
    }
    let run = |_| Run::new(bits, reader.u32()?).ok_or(Damaged::Malformed("run of tokens"));
    (0..count).map(run).collect()
}

/// Whether the sender can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// It can.
    Open = 0,
    /// It has lost copies and is being filled up: its sums say nothing.
    Filling = 1,
    /// It is being repaired by another, or repairs another, or sweeps away what was flushed: ask again soon.
    Busy = 2,
}

/// The answer to [`Asked::Sums`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Whether the sender can be compared with; if not, there are no sums.
    pub standing: Standing,
    /// The databases it holds anything of: bit 0 is database 0.
    pub databases: u16,
    /// The sums, as many as asked, in that order.
    pub sums: Vec<Sum>,
}

impl Sums {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(7 + self.sums.len() * SUM_BYTES);
        put_u8(&mut out, self.standing as u8);
        put_u16(&mut out, self.databases);
        put_count(&mut out, self.sums.len());
        self.sums.iter().for_each(|sum| sum.encode(&mut out));
        out
    }

    /// Reads a body.
    pub fn read(body: &Bytes) -> Result<Sums, Damaged> {
        let mut reader = Reader::over(body);
        let standing = match reader.u8()? {
            0 => Standing::Open,
            1 => Standing::Filling,
            2 => Standing::Busy,
            _ => return Err(Damaged::Malformed("standing")),
        };
        let databases = reader.u16()?;
        let count = reader.count(SUM_BYTES)?;
        let sums = (0..count).map(|_| Sum::read(&mut reader)).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Sums { standing, databases, sums })
    }
}

/// The body that answers [`Asked::Keys`].
pub fn listing_body(listing: &Listing) -> Vec<u8> {
    let mut out = Vec::new();
    put_flag(&mut out, listing.more);
    put_count(&mut out, listing.entries.len());
    for entry in &listing.entries {
        put_bytes(&mut out, entry.key.as_bytes());
        out.extend_from_slice(&entry.digest.0.to_le_bytes());
        put_u32(&mut out, entry.bytes);
    }
    out
}

/// Reads the answer to [`Asked::Keys`].
pub fn read_listing(body: &Bytes) -> Result<Listing, Damaged> {
    let mut reader = Reader::over(body);
    let more = reader.flag()?;
    let count = reader.count(ENTRY_BYTES_MIN)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let key = read_key(&mut reader)?;
        let digest = Digest(u128::from_le_bytes(reader.array()?));
        entries.push(Entry { key, digest, bytes: reader.u32()? });
    }
    reader.finish()?;
    Ok(Listing { entries, more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn questions_and_answers_come_back_as_they_went() {
        let key = StorageKey::new(2, b"key").unwrap();
        let runs = [3, 255].into_iter().map(|index| Run::new(8, index).unwrap()).collect();
        for asked in [
            Asked::Sums(runs),
            Asked::Keys { leaves: vec![1, 2, 262_143], after: Some(key.clone()) },
            Asked::Keys { leaves: vec![], after: None },
        ] {
            let request = ExchangeRequest { database: 15, repairing: true, asked };
            let body = Bytes::from(request.clone().into_body());
            assert_eq!(body[..2], [DATA, Question::Exchange as u8]);
            assert_eq!(ExchangeRequest::read(&body.slice(2..)), Ok(request));
        }
        for standing in [Standing::Open, Standing::Filling, Standing::Busy] {
            let sums = vec![Sum::of(Digest(u128::MAX - 7)), Sum::default()];
            let sums = Sums { standing, databases: 5, sums };
            assert_eq!(Sums::read(&Bytes::from(sums.clone().into_body())), Ok(sums));
        }
        let listing = Listing { entries: vec![Entry { key, digest: Digest(1 << 90), bytes: 7 }], more: true };
        assert_eq!(read_listing(&Bytes::from(listing_body(&listing))), Ok(listing));
    }

    #[test]
    fn questions_beyond_the_tree_are_refused() {
        let refused = |database, bits, index| {
            let asked = Asked::Sums(vec![Run { bits, index }]);
            let body = Bytes::from(ExchangeRequest { database, repairing: false, asked }.into_body());
            ExchangeRequest::read(&body.slice(2..)).is_err()
        };
        assert!(!refused(0, 8, 255));
        assert!(refused(16, 8, 255));
        assert!(refused(0, 8, 256));
        assert!(refused(0, LEAF_BITS + 1, 0));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(bytes);
            let _ = (ExchangeRequest::read(&body), Sums::read(&body), read_listing(&body));
        }
    }
}
