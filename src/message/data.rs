//! The data plane: what a coordinator asks of replicas, many keys in one frame.
//!
//! ```text
//! request   0 (data), 0 (replicate), then until the end:
//!             u8 0 read    key piece, digest of what the asker has (16)
//!             u8 1 write   key piece, object piece, flag sync, u64 home (0: the receiver is a home itself),
//!                          u64 the floor of the complete home it was read at, when it was read (0: read elsewhere)
//! answers   one for each request, in order:
//!             u8 0 same    what the asker has
//!             u8 1 object  piece (an empty object when the replica holds nothing)
//!             u8 2 applied flag durable
//!             u8 3 refused u8 why
//! ```

use super::data_plane::{DATA, Question};
use crate::causality::{Hlc, NodeTag};
use crate::codec::{Damaged, Reader, put_bytes, put_flag, put_u8, put_u64};
use crate::key::StorageKey;
use crate::object::Object;
use crate::object::digest::Digest;
use bytes::Bytes;

const READ: u8 = 0;
const WRITE: u8 = 1;

const SAME: u8 = 0;
const OBJECT: u8 = 1;
const APPLIED: u8 = 2;
const REFUSED: u8 = 3;

/// One thing asked of a replica.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// What do you hold, if it is not this?
    Read {
        /// The key.
        key: StorageKey,
        /// The digest of what the asker has.
        known: Digest,
    },
    /// Merge this into what you hold.
    Write {
        /// The key.
        key: StorageKey,
        /// The object's bytes; decoded where it is merged.
        object: Bytes,
        /// Answer only when it is fsynced.
        sync: bool,
        /// The home this copy is meant for, when the receiver is only its fallback (§4.6).
        home: Option<NodeTag>,
        /// What the copy's source knew to be settled when it was read there ([`crate::settling`]); zero: the source is no
        /// complete home, or does not say.
        floor: Hlc,
    },
}

/// A frame of requests under construction.
#[derive(Debug)]
pub struct Requests {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests { bytes: vec![DATA, Question::Replicate as u8], count: 0 }
    }
}

impl Requests {
    /// Appends a read.
    pub fn read(&mut self, key: &StorageKey, known: Digest) {
        put_u8(&mut self.bytes, READ);
        put_bytes(&mut self.bytes, key.as_bytes());
        self.bytes.extend_from_slice(&known.0.to_le_bytes());
        self.count += 1;
    }

    /// Appends a write; `object` is the object's bytes, `floor` that of [`Request::Write`].
    pub fn write(&mut self, key: &StorageKey, object: &[u8], sync: bool, home: Option<NodeTag>, floor: Hlc) {
        put_u8(&mut self.bytes, WRITE);
        put_bytes(&mut self.bytes, key.as_bytes());
        put_bytes(&mut self.bytes, object);
        put_flag(&mut self.bytes, sync);
        put_u64(&mut self.bytes, home.map_or(0, |home| home.0));
        put_u64(&mut self.bytes, floor.0);
        self.count += 1;
    }

    /// How many requests there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads the requests of a body, its first two bytes taken off.
pub fn read_requests(body: &Bytes) -> Result<Vec<Request>, Damaged> {
    let mut reader = Reader::over(body);
    let mut requests = Vec::new();
    while reader.remaining() > 0 {
        let kind = reader.u8()?;
        let key = read_key(&mut reader)?;
        requests.push(match kind {
            READ => Request::Read { key, known: Digest(u128::from_le_bytes(reader.array()?)) },
            WRITE => {
                let object = reader.shared()?;
                let sync = reader.flag()?;
                let home = reader.u64()?;
                let floor = Hlc(reader.u64()?);
                Request::Write { key, object, sync, home: (home != 0).then_some(NodeTag(home)), floor }
            }
            _ => return Err(Damaged::Malformed("kind of request")),
        });
    }
    Ok(requests)
}

/// Reads a storage key piece.
pub(super) fn read_key(reader: &mut Reader<'_>) -> Result<StorageKey, Damaged> {
    StorageKey::from_bytes(reader.shared()?).ok_or(Damaged::Malformed("storage key"))
}

/// What a replica answers to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The replica holds what the asker has.
    Same,
    /// What the replica holds.
    Object(Object),
    /// The write is merged and has left the process; `durable`: it is fsynced.
    Applied {
        /// Whether it is fsynced.
        durable: bool,
    },
    /// Nothing was read or written.
    Refused(Refusal),
}

/// Why a replica refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Its record of the key is damaged.
    Damaged = 0,
    /// Its storage failed; the write may be there all the same.
    Storage = 1,
    /// It could not read the request.
    Malformed = 2,
    /// It lost copies on disk and is filling up from the other homes: it answers no reads.
    Filling = 3,
    /// Its storage takes no writes now, or could not be read; nothing was changed.
    Unwritable = 4,
    /// The copy may be older than something that was forgotten, and not every other home could be asked: nothing was
    /// stored ([`crate::settling`]).
    Old = 5,
}

impl Answer {
    /// Appends the answer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Answer::Same => put_u8(out, SAME),
            Answer::Object(object) => {
                put_u8(out, OBJECT);
                let mut bytes = Vec::with_capacity(object.encoded_bytes());
                object.encode(&mut bytes);
                put_bytes(out, &bytes);
            }
            Answer::Applied { durable } => {
                put_u8(out, APPLIED);
                put_flag(out, *durable);
            }
            Answer::Refused(refusal) => {
                put_u8(out, REFUSED);
                put_u8(out, *refusal as u8);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Answer, Damaged> {
        Ok(match reader.u8()? {
            SAME => Answer::Same,
            OBJECT => Answer::Object(Object::decode(&reader.shared()?)?),
            APPLIED => Answer::Applied { durable: reader.flag()? },
            REFUSED => Answer::Refused(match reader.u8()? {
                0 => Refusal::Damaged,
                1 => Refusal::Storage,
                3 => Refusal::Filling,
                4 => Refusal::Unwritable,
                5 => Refusal::Old,
                _ => Refusal::Malformed,
            }),
            _ => return Err(Damaged::Malformed("kind of answer")),
        })
    }
}

/// The body of these answers.
pub fn answers_body(answers: &[Answer]) -> Vec<u8> {
    let mut body = Vec::new();
    answers.iter().for_each(|answer| answer.encode(&mut body));
    body
}

/// Reads a body of exactly `count` answers.
pub fn read_answers(body: &Bytes, count: usize) -> Result<Vec<Answer>, Damaged> {
    let mut reader = Reader::over(body);
    let answers = (0..count).map(|_| Answer::read(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Actor, Dot};
    use crate::object::Sibling;
    use proptest::prelude::*;

    fn object() -> Object {
        let dot = Dot { hlc: Hlc(9), actor: Actor { node: NodeTag(3), birth: Hlc(4) } };
        let mut object = Object::default();
        object.overwrite(Sibling::new(dot, NodeTag(3), Some(Bytes::from_static(b"value")), Some(77)));
        object
    }

    #[test]
    fn a_frame_of_requests_comes_back_as_it_went() {
        let key = StorageKey::new(2, b"key").unwrap();
        let mut bytes = Vec::new();
        object().encode(&mut bytes);
        let mut requests = Requests::default();
        requests.read(&key, Digest(12));
        requests.write(&key, &bytes, true, Some(NodeTag(5)), Hlc(0));
        requests.write(&key, &bytes, false, None, Hlc(77));
        let body = Bytes::from(requests.into_body());
        assert_eq!(&body[..2], &[DATA, Question::Replicate as u8]);
        let object = Bytes::from(bytes);
        let expected = vec![
            Request::Read { key: key.clone(), known: Digest(12) },
            Request::Write {
                key: key.clone(),
                object: object.clone(),
                sync: true,
                home: Some(NodeTag(5)),
                floor: Hlc(0),
            },
            Request::Write { key, object, sync: false, home: None, floor: Hlc(77) },
        ];
        assert_eq!(read_requests(&body.slice(2..)), Ok(expected));
    }

    #[test]
    fn answers_come_back_and_must_be_as_many_as_asked() {
        let answers = vec![
            Answer::Same,
            Answer::Object(object()),
            Answer::Object(Object::default()),
            Answer::Applied { durable: true },
            Answer::Refused(Refusal::Storage),
            Answer::Refused(Refusal::Unwritable),
        ];
        let mut bytes = Vec::new();
        answers.iter().for_each(|answer| answer.encode(&mut bytes));
        let body = Bytes::from(bytes);
        assert_eq!(read_answers(&body, 6), Ok(answers));
        assert!(read_answers(&body, 5).is_err());
        assert!(read_answers(&body, 7).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..5) {
            let body = Bytes::from(bytes);
            let _ = read_requests(&body);
            let _ = read_answers(&body, count);
        }
    }
}
