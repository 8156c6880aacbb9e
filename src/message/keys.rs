//! Which keys a node holds, without their values: pages in the order of storage, and counts.
//!
//! A census taker does not ask what is written in people's books; the names at the door, and whether anybody still lives
//! there, are enough. Those who moved out are told, too: the next house may not have heard of it.
//!
//! ```text
//! keys     0 (data), 8 (keys), u8 database, from piece (where to begin; empty: at the start), u32 keys at most, slots
//!   answer refused: nothing. Else: u64 digest of the database's flush line there, until piece (where the page ends, itself
//!          not included; empty: at the end of what was asked), then until the end: key piece, u8 state
//!            0 damaged
//!            1 no value              digest (16)
//!            2 lives for ever        digest (16)
//!            3 lives until           digest (16), u64 Unix ms
//! count    0 (data), 2 (count), u8 database, slots
//!   answer refused: nothing. Else for each run a u64
//! slots    list of: u16 first, u16 last; in order, without overlap
//! ```

use super::data::read_key;
use super::data_plane::{DATA, Question};
use crate::codec::{Damaged, Reader, put_bytes, put_count, put_u8, put_u16, put_u32, put_u64};
use crate::key::{DATABASES, SLOTS, Slots, StorageKey};
use crate::object::Object;
use crate::object::digest::Digest;
use bytes::Bytes;

const DAMAGED: u8 = 0;
const VOID: u8 = 1;
const LASTING: u8 = 2;
const PASSING: u8 = 3;

/// A run's bytes.
const SLOTS_BYTES: usize = 4;

/// Asks for a page of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysRequest {
    /// The database.
    pub database: u8,
    /// The first bytes, in the order of storage keys, that are asked for.
    pub from: Bytes,
    /// How many keys are wanted. The keys of one token come together, so it may be some more.
    pub keys_max: u32,
    /// Where to look.
    pub slots: Vec<Slots>,
}

/// A page of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysPage {
    /// The digest of the flush line that was applied.
    pub flush_line: u64,
    /// Everything asked for that lies before this is told; none: everything is.
    pub until: Option<Bytes>,
    /// The keys, in order. Those of which only tombstones are left, or nothing but a context, are among them.
    pub keys: Vec<Listed>,
}

/// What a node holds of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The key.
    pub key: StorageKey,
    /// How it stands; none: the record is damaged.
    pub state: Option<State>,
}

/// How a key stands at one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The object's.
    pub digest: Digest,
    /// Unix milliseconds until which it shows a value: 0 when it has none, `u64::MAX` when one lives for ever.
    pub until_ms: u64,
}

impl State {
    /// How an object stands.
    pub fn of(key: &StorageKey, object: &Object) -> State {
        State { digest: object.digest(key), until_ms: State::until_ms_of(object) }
    }

    /// Until when an object shows a value; see [`State::until_ms`].
    pub fn until_ms_of(object: &Object) -> u64 {
        let values = object.siblings.iter().filter(|sibling| sibling.value.is_some());
        values.map(|sibling| sibling.expiry.1.unwrap_or(u64::MAX)).max().unwrap_or(0)
    }

    /// Whether a reader at `now_ms` sees a value.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.until_ms > now_ms
    }
}

impl KeysRequest {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = vec![DATA, Question::Keys as u8, self.database];
        put_bytes(&mut out, &self.from);
        put_u32(&mut out, self.keys_max);
        put_slots(&mut out, &self.slots);
        out
    }

    /// Reads a body, its first two bytes taken off.
    pub fn read(body: &Bytes) -> Result<KeysRequest, Damaged> {
        let mut reader = Reader::over(body);
        let database = read_database(&mut reader)?;
        let (from, keys_max) = (reader.shared()?, reader.u32()?);
        let slots = read_slots(&mut reader)?;
        reader.finish()?;
        Ok(KeysRequest { database, from, keys_max, slots })
    }
}

impl KeysPage {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.keys.iter().map(Listed::bytes).sum::<usize>());
        put_u64(&mut out, self.flush_line);
        put_bytes(&mut out, self.until.as_deref().unwrap_or_default());
        for listed in &self.keys {
            put_bytes(&mut out, listed.key.as_bytes());
            let Some(State { digest, until_ms }) = listed.state else {
                put_u8(&mut out, DAMAGED);
                continue;
            };
            put_u8(
                &mut out,
                if until_ms == 0 {
                    VOID
                } else if until_ms == u64::MAX {
                    LASTING
                } else {
                    PASSING
                },
            );
            out.extend_from_slice(&digest.0.to_le_bytes());
            if until_ms != 0 && until_ms != u64::MAX {
                put_u64(&mut out, until_ms);
            }
        }
        out
    }

    /// Reads a body; none: the node refused.
    pub fn read(body: &Bytes) -> Result<Option<KeysPage>, Damaged> {
        if body.is_empty() {
            return Ok(None);
        }
        let mut reader = Reader::over(body);
        let flush_line = reader.u64()?;
        let until = Some(reader.shared()?).filter(|until| !until.is_empty());
        let mut keys: Vec<Listed> = Vec::with_capacity(reader.remaining() / 48);
        while reader.remaining() > 0 {
            let key = read_key(&mut reader)?;
            let state = read_state(&mut reader)?;
            let in_order = keys.last().is_none_or(|last| last.key < key);
            if !in_order || until.as_ref().is_some_and(|until| key.as_bytes() >= &until[..]) {
                return Err(Damaged::Malformed("order of keys"));
            }
            keys.push(Listed { key, state });
        }
        Ok(Some(KeysPage { flush_line, until, keys }))
    }
}

impl Listed {
    /// Its bytes in a page.
    pub fn bytes(&self) -> usize {
        self.key.as_bytes().len() + 29
    }
}

fn read_state(reader: &mut Reader<'_>) -> Result<Option<State>, Damaged> {
    let kind = reader.u8()?;
    if kind == DAMAGED {
        return Ok(None);
    }
    let digest = Digest(u128::from_le_bytes(reader.array()?));
    let until_ms = match kind {
        VOID => 0,
        LASTING => u64::MAX,
        PASSING => reader.u64()?,
        _ => return Err(Damaged::Malformed("state of a key")),
    };
    Ok(Some(State { digest, until_ms }))
}

/// How many keys of a database a node holds in some runs of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The database.
    pub database: u8,
    /// Where to count.
    pub slots: Vec<Slots>,
}

impl Count {
    /// The body.
    pub fn into_body(self) -> Vec<u8> {
        let mut out = vec![DATA, Question::Count as u8, self.database];
        put_slots(&mut out, &self.slots);
        out
    }

    /// Reads a body, its first two bytes taken off.
    pub fn read(body: &Bytes) -> Result<Count, Damaged> {
        let mut reader = Reader::over(body);
        let database = read_database(&mut reader)?;
        let slots = read_slots(&mut reader)?;
        reader.finish()?;
        Ok(Count { database, slots })
    }
}

/// The body of the counts of so many runs.
pub fn counts_body(counts: &[u64]) -> Vec<u8> {
    counts.iter().flat_map(|count| count.to_le_bytes()).collect()
}

/// Reads the counts of `runs` runs; none: the node refused.
pub fn read_counts(body: &Bytes, runs: usize) -> Result<Option<Vec<u64>>, Damaged> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::over(body);
    let counts = (0..runs).map(|_| reader.u64()).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(Some(counts))
}

fn read_database(reader: &mut Reader<'_>) -> Result<u8, Damaged> {
    let database = reader.u8()?;
    if database < DATABASES { Ok(database) } else { Err(Damaged::Malformed("database")) }
}

fn put_slots(out: &mut Vec<u8>, slots: &[Slots]) {
    put_count(out, slots.len());
    for run in slots {
        put_u16(out, run.first);
        put_u16(out, run.last);
    }
}

fn read_slots(reader: &mut Reader<'_>) -> Result<Vec<Slots>, Damaged> {
    let runs = reader.count(SLOTS_BYTES)?;
    let mut slots: Vec<Slots> = Vec::with_capacity(runs);
    for _ in 0..runs {
        let run = Slots { first: reader.u16()?, last: reader.u16()? };
        let after = slots.last().is_none_or(|before| before.last < run.first);
        if !after || run.first > run.last || run.last >= SLOTS {
            return Err(Damaged::Malformed("run of slots"));
        }
        slots.push(run);
    }
    Ok(slots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listed(key: &str, state: Option<(u128, u64)>) -> Listed {
        let state = state.map(|(digest, until_ms)| State { digest: Digest(digest), until_ms });
        Listed { key: StorageKey::new(2, key.as_bytes()).unwrap(), state }
    }

    fn page(until: Option<&'static [u8]>) -> KeysPage {
        let mut keys = vec![
            listed("a", Some((1, 0))),
            listed("b", Some((2, u64::MAX))),
            listed("c", Some((3, 77))),
            listed("d", None),
        ];
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        KeysPage { flush_line: 9, until: until.map(Bytes::from_static), keys }
    }

    #[test]
    fn requests_and_pages_come_back_as_they_went() {
        let slots = vec![Slots { first: 0, last: 0 }, Slots { first: 3, last: SLOTS - 1 }];
        let request =
            KeysRequest { database: 3, from: Bytes::from_static(b"from"), keys_max: 10, slots: slots.clone() };
        assert_eq!(KeysRequest::read(&Bytes::from(request.clone().into_body()).slice(2..)), Ok(request));
        let count = Count { database: 15, slots };
        assert_eq!(Count::read(&Bytes::from(count.clone().into_body()).slice(2..)), Ok(count));
        for until in [None, Some(&[255; 9][..])] {
            assert_eq!(KeysPage::read(&Bytes::from(page(until).into_body())), Ok(Some(page(until))));
        }
        assert_eq!(KeysPage::read(&Bytes::new()), Ok(None));
        let counts = Bytes::from(counts_body(&[7, u64::MAX]));
        assert_eq!(read_counts(&counts, 2), Ok(Some(vec![7, u64::MAX])));
        assert!(read_counts(&counts, 1).is_err() && read_counts(&counts, 3).is_err());
        assert_eq!(read_counts(&Bytes::new(), 3), Ok(None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let count = |database, slots: &[(u16, u16)]| {
            let slots = slots.iter().map(|&(first, last)| Slots { first, last }).collect();
            Count::read(&Bytes::from(Count { database, slots }.into_body()).slice(2..))
        };
        assert!(count(DATABASES - 1, &[(3, 5), (6, 6)]).is_ok());
        assert!(count(DATABASES, &[(3, 5)]).is_err());
        for wrong in [&[(3, 5), (5, 6)][..], &[(6, 6), (3, 5)], &[(5, 3)], &[(3, SLOTS)]] {
            assert!(count(0, wrong).is_err(), "{wrong:?}");
        }
        let mut unordered = page(None);
        unordered.keys.swap(0, 1);
        assert!(KeysPage::read(&Bytes::from(unordered.into_body())).is_err());
        assert!(KeysPage::read(&Bytes::from(page(Some(b"\0")).into_body())).is_err(), "keys beyond the page's end");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), runs in 0usize..4) {
            let body = Bytes::from(bytes);
            let _ = (KeysRequest::read(&body), KeysPage::read(&body), Count::read(&body), read_counts(&body, runs));
        }
    }
}
