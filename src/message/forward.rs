//! Operations handed to another coordinator: a node that is no home of a key forwards them, once (§4.5).
//!
//! ```text
//! request   0 (data), 1 (forward), then until the end, for each operation:
//!             key piece, u8 R, u8 W (0: the database's), u8 act:
//!               0 get
//!               1 put     u8 flags (1 value, 2 expiry, 4 id), [value piece], [u64 Unix ms], [id piece],
//!                         u8 basis: 0 local, 1 given (context as object piece), 2 nothing, 3 seen (object piece)
//!               2 expire  flag, [u64 Unix ms], object piece
//!               3 increment   list of i64
//! answers   one for each operation, in order:
//!             0 got object piece · 1 written object piece (its context) · 2 raced · 3 failed piece (postcard) ·
//!             4 counted object piece (its context), list of numbers (flag, [i64]), then the entry: sibling's actor, u64
//!               HLC, actor, u64 HLC; an actor is node tag u64, birth u64
//! ```
//! A context travels as an object without siblings.

use super::data::read_key;
use super::data_plane::{DATA, Question};
use super::operation::{Act, Basis, Counted, Failure, Operation, Outcome, Put};
use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use crate::codec::{Damaged, Reader, put_bytes, put_count, put_flag, put_i64, put_u8, put_u64};
use crate::object::Object;
use crate::object::counter::{Amounts, Entry, Numbers};
use bytes::Bytes;

const VALUE: u8 = 1;
const EXPIRY: u8 = 2;
const ID: u8 = 4;

const AMOUNT_BYTES: usize = 8;
const NUMBER_BYTES_MIN: usize = 1;

/// The body that forwards these operations.
pub fn request_body<'a>(operations: impl Iterator<Item = &'a Operation>) -> Vec<u8> {
    let mut out = vec![DATA, Question::Forward as u8];
    operations.for_each(|operation| put_operation(&mut out, operation));
    out
}

/// Reads the operations of a body, its first two bytes taken off.
pub fn read_request(body: &Bytes) -> Result<Vec<Operation>, Damaged> {
    let mut reader = Reader::over(body);
    let mut operations = Vec::new();
    while reader.remaining() > 0 {
        operations.push(read_operation(&mut reader)?);
    }
    Ok(operations)
}

/// The body that answers.
pub fn answer_body(outcomes: &[Outcome]) -> Vec<u8> {
    let mut out = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Got(object) => {
                put_u8(&mut out, 0);
                put_object(&mut out, object);
            }
            Outcome::Written(context) => {
                put_u8(&mut out, 1);
                put_context(&mut out, context);
            }
            Outcome::Counted(counted) => {
                put_u8(&mut out, 4);
                put_counted(&mut out, counted);
            }
            Outcome::Raced => put_u8(&mut out, 2),
            Outcome::Failed(failure) => {
                put_u8(&mut out, 3);
                put_bytes(&mut out, &postcard::to_allocvec(failure).unwrap_or_default());
            }
        }
    }
    out
}

/// Reads exactly `count` outcomes.
pub fn read_answer(body: &Bytes, count: usize) -> Result<Vec<Outcome>, Damaged> {
    let mut reader = Reader::over(body);
    let outcomes = (0..count).map(|_| read_outcome(&mut reader)).collect::<Result<_, _>>()?;
    reader.finish()?;
    Ok(outcomes)
}

fn read_outcome(reader: &mut Reader<'_>) -> Result<Outcome, Damaged> {
    Ok(match reader.u8()? {
        0 => Outcome::Got(read_object(reader)?),
        1 => Outcome::Written(read_object(reader)?.context),
        2 => Outcome::Raced,
        3 => {
            let failure = postcard::from_bytes::<Failure>(reader.bytes()?);
            Outcome::Failed(failure.map_err(|_| Damaged::Malformed("failure"))?)
        }
        4 => Outcome::Counted(Box::new(read_counted(reader)?)),
        _ => return Err(Damaged::Malformed("kind of outcome")),
    })
}

fn put_operation(out: &mut Vec<u8>, operation: &Operation) {
    put_bytes(out, operation.key.as_bytes());
    put_u8(out, operation.r.unwrap_or(0));
    put_u8(out, operation.w.unwrap_or(0));
    match &operation.act {
        Act::Get => put_u8(out, 0),
        Act::Put(put) => {
            put_u8(out, 1);
            put_put(out, put);
        }
        Act::Expire { at, seen } => {
            put_u8(out, 2);
            put_flag(out, at.is_some());
            at.iter().for_each(|at| put_u64(out, *at));
            put_object(out, seen);
        }
        Act::Increment(amounts) => {
            put_u8(out, 3);
            put_count(out, amounts.len());
            amounts.iter().for_each(|amount| put_i64(out, *amount));
        }
    }
}

fn put_counted(out: &mut Vec<u8>, counted: &Counted) {
    put_context(out, &counted.context);
    put_count(out, counted.numbers.len());
    for number in &counted.numbers {
        put_flag(out, number.is_some());
        number.iter().for_each(|number| put_i64(out, *number));
    }
    let Entry { sibling, actor, hlc } = counted.entry;
    for (actor, hlc) in [(sibling.actor, sibling.hlc), (actor, hlc)] {
        put_u64(out, actor.node.0);
        put_u64(out, actor.birth.0);
        put_u64(out, hlc.0);
    }
}

fn put_put(out: &mut Vec<u8>, put: &Put) {
    let flag = |bit: u8, on: bool| if on { bit } else { 0 };
    put_u8(out, flag(VALUE, put.value.is_some()) | flag(EXPIRY, put.expiry.is_some()) | flag(ID, put.id.is_some()));
    put.value.iter().for_each(|value| put_bytes(out, value));
    put.expiry.iter().for_each(|at| put_u64(out, *at));
    put.id.iter().for_each(|id| put_bytes(out, id));
    match &put.basis {
        Basis::Local => put_u8(out, 0),
        Basis::Given(context) => {
            put_u8(out, 1);
            put_context(out, context);
        }
        Basis::Nothing => put_u8(out, 2),
        Basis::Seen(object) => {
            put_u8(out, 3);
            put_object(out, object);
        }
    }
}

fn put_object(out: &mut Vec<u8>, object: &Object) {
    let mut bytes = Vec::with_capacity(object.encoded_bytes());
    object.encode(&mut bytes);
    put_bytes(out, &bytes);
}

fn put_context(out: &mut Vec<u8>, context: &Context) {
    put_object(out, &Object { context: context.clone(), siblings: Vec::new() });
}

fn read_operation(reader: &mut Reader<'_>) -> Result<Operation, Damaged> {
    let key = read_key(reader)?;
    let quorum = |byte: u8| (byte != 0).then_some(byte);
    let (r, w) = (quorum(reader.u8()?), quorum(reader.u8()?));
    let act = match reader.u8()? {
        0 => Act::Get,
        1 => Act::Put(read_put(reader)?),
        2 => {
            let at = if reader.flag()? { Some(reader.u64()?) } else { None };
            Act::Expire { at, seen: Box::new(read_object(reader)?) }
        }
        3 => {
            let count = reader.count(AMOUNT_BYTES)?;
            Act::Increment((0..count).map(|_| reader.i64()).collect::<Result<Amounts, _>>()?)
        }
        _ => return Err(Damaged::Malformed("act")),
    };
    Ok(Operation { key, act, r, w })
}

fn read_counted(reader: &mut Reader<'_>) -> Result<Counted, Damaged> {
    let context = read_object(reader)?.context;
    let count = reader.count(NUMBER_BYTES_MIN)?;
    let number = |_| if reader.flag()? { reader.i64().map(Some) } else { Ok(None) };
    let numbers = (0..count).map(number).collect::<Result<Numbers, _>>()?;
    let mut named = || {
        let actor = Actor { node: NodeTag(reader.u64()?), birth: Hlc(reader.u64()?) };
        Ok((actor, Hlc(reader.u64()?)))
    };
    let ((of, at), (actor, hlc)) = (named()?, named()?);
    Ok(Counted { numbers, context, entry: Entry { sibling: Dot { hlc: at, actor: of }, actor, hlc } })
}

fn read_put(reader: &mut Reader<'_>) -> Result<Put, Damaged> {
    let flags = reader.u8()?;
    let value = if flags & VALUE != 0 { Some(reader.shared()?) } else { None };
    let expiry = if flags & EXPIRY != 0 { Some(reader.u64()?) } else { None };
    let id = if flags & ID != 0 { Some(Box::new(reader.shared()?)) } else { None };
    let basis = match reader.u8()? {
        0 => Basis::Local,
        1 => Basis::given(read_object(reader)?.context),
        2 => Basis::Nothing,
        3 => Basis::seen(read_object(reader)?),
        _ => return Err(Damaged::Malformed("basis")),
    };
    Ok(Put { value, expiry, basis, id })
}

fn read_object(reader: &mut Reader<'_>) -> Result<Object, Damaged> {
    Object::decode(&reader.shared()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Actor, Dot, Hlc, NodeTag};
    use crate::key::StorageKey;
    use crate::object::Sibling;
    use proptest::prelude::*;

    fn object() -> Object {
        let dot = Dot { hlc: Hlc(9), actor: Actor { node: NodeTag(3), birth: Hlc(4) } };
        let mut object = Object::default();
        object.overwrite(Sibling::new(dot, NodeTag(8), Some(Bytes::from_static(b"value")), None));
        object
    }

    fn counted() -> Counted {
        let actor = |node| Actor { node: NodeTag(node), birth: Hlc(node + 1) };
        let entry = Entry { sibling: Dot { hlc: Hlc(9), actor: actor(3) }, actor: actor(5), hlc: Hlc(11) };
        Counted { numbers: [Some(7), None, Some(i64::MAX)].into_iter().collect(), context: object().context, entry }
    }

    fn put(basis: Basis, full: bool) -> Act {
        let value = full.then(|| Bytes::from_static(b"v"));
        Act::Put(Put { value, expiry: full.then_some(5), basis, id: full.then(|| Box::new(Bytes::from_static(b"id"))) })
    }

    #[test]
    fn operations_come_back_as_they_went() {
        let acts = [
            Act::Get,
            put(Basis::Local, true),
            put(Basis::given(object().context), false),
            put(Basis::Nothing, true),
            put(Basis::seen(object()), false),
            Act::Expire { at: Some(7), seen: Box::new(object()) },
            Act::Expire { at: None, seen: Box::new(Object::default()) },
            Act::Increment([1, -2, i64::MIN].into_iter().collect()),
        ];
        let key = StorageKey::new(1, b"key").unwrap();
        let operations: Vec<Operation> =
            acts.into_iter().map(|act| Operation { key: key.clone(), act, r: None, w: Some(2) }).collect();
        let body = Bytes::from(request_body(operations.iter()));
        let read = read_request(&body.slice(2..)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{operations:?}"));
    }

    #[test]
    fn outcomes_come_back_as_they_went() {
        let outcomes = vec![
            Outcome::Got(object()),
            Outcome::Written(object().context),
            Outcome::Counted(Box::new(counted())),
            Outcome::Raced,
            Outcome::Failed(Failure::WriteUnsure { acknowledged: 1, needed: 2 }),
        ];
        let body = Bytes::from(answer_body(&outcomes));
        assert_eq!(format!("{:?}", read_answer(&body, 5).unwrap()), format!("{outcomes:?}"));
        assert!(read_answer(&body, 3).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(bytes);
            let _ = read_request(&body);
            let _ = read_answer(&body, 2);
        }
    }
}
