//! The object's bytes, the same on disk and between nodes.
//!
//! ```text
//! 0     format version, 1
//! list  context entries, sorted by actor, 24 bytes each: node tag u64, birth u64, HLC u64
//! list  siblings, sorted by dot, each:
//!         u32   which context entry holds its actor
//!         u64   the dot's HLC
//!         u8    flags: 1 has a value, 2 has its own register HLC, 4 expires, 8 has its own minter, 16 counter, 32 increments
//!         u64   (flag 2) the expiry register's HLC; without: the dot's
//!         u64   (flag 4) absolute Unix milliseconds
//!         u64   (flag 8) the minter's tag; without: the actor's node
//!         list  (flag 32) increments of 32 bytes: node tag u64, birth u64, HLC u64, sum i64
//!         piece (flag 1) the value
//! ```
//! Integers, lists and pieces are those of `codec`. Sealing is the carrier's job: a record's CRC on disk, a frame's on
//! the wire.

use super::{Object, Sibling};
use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use crate::codec::{Damaged, Reader, put_bytes, put_count, put_i64, put_u8, put_u32, put_u64};
use bytes::Bytes;

const VERSION: u8 = 1;

const VALUE: u8 = 1;
const REGISTER: u8 = 2;
const EXPIRES: u8 = 4;
const MINTER: u8 = 8;
const COUNTER: u8 = 16;
const INCREMENTS: u8 = 32;

const ENTRY_BYTES: usize = 24;
const SIBLING_BYTES_MIN: usize = 13;
const INCREMENT_BYTES: usize = 32;

impl Object {
    /// Appends the object's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_u8(out, VERSION);
        put_count(out, self.context.entries().len());
        for (actor, hlc) in self.context.entries() {
            put_actor(out, actor);
            put_u64(out, hlc.0);
        }
        put_count(out, self.siblings.len());
        self.siblings.iter().for_each(|sibling| sibling.encode(&self.context, out));
    }

    /// A guess at the encoded length, for reserving room.
    pub fn encoded_bytes(&self) -> usize {
        let values: usize = self.siblings.iter().map(|s| 32 + s.value.as_ref().map_or(0, Bytes::len)).sum();
        9 + self.context.entries().len() * ENTRY_BYTES + values
    }

    /// Reads an object; its values are slices of `bytes`.
    pub fn decode(bytes: &Bytes) -> Result<Object, Damaged> {
        Object::read_last(Reader::over(bytes))
    }

    /// Reads an object that must be all that is left.
    pub(super) fn read_last(mut reader: Reader<'_>) -> Result<Object, Damaged> {
        let object = Object::read(&mut reader)?;
        reader.finish()?;
        Ok(object)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Object, Damaged> {
        if reader.u8()? != VERSION {
            return Err(Damaged::Malformed("version of an object"));
        }
        let entries = reader.count(ENTRY_BYTES)?;
        let context = (0..entries).map(|_| Ok((read_actor(reader)?, Hlc(reader.u64()?)))).collect::<Result<_, _>>()?;
        let count = reader.count(SIBLING_BYTES_MIN)?;
        let mut siblings: Vec<Sibling> = Vec::with_capacity(count);
        for _ in 0..count {
            let sibling = Sibling::read(&context, reader)?;
            if siblings.last().is_some_and(|last| last.dot >= sibling.dot) || !context.covers(&sibling.dot) {
                return Err(Damaged::Malformed("order of siblings"));
            }
            siblings.push(sibling);
        }
        Ok(Object { context, siblings })
    }
}

impl Sibling {
    fn encode(&self, context: &Context, out: &mut Vec<u8>) {
        let at = context.entries().binary_search_by_key(&self.dot.actor, |entry| entry.0);
        // The context covers every sibling's dot, so its actor is there.
        put_u32(out, at.unwrap_or(usize::MAX) as u32);
        put_u64(out, self.dot.hlc.0);
        let own_register = self.expiry.0 != self.dot.hlc;
        let own_minter = self.minter != self.dot.actor.node;
        let flag = |bit: u8, on: bool| if on { bit } else { 0 };
        put_u8(
            out,
            flag(VALUE, self.value.is_some())
                | flag(REGISTER, own_register)
                | flag(EXPIRES, self.expiry.1.is_some())
                | flag(MINTER, own_minter)
                | flag(COUNTER, self.counter)
                | flag(INCREMENTS, !self.increments.is_empty()),
        );
        if own_register {
            put_u64(out, self.expiry.0.0);
        }
        if let Some(at) = self.expiry.1 {
            put_u64(out, at);
        }
        if own_minter {
            put_u64(out, self.minter.0);
        }
        if !self.increments.is_empty() {
            put_count(out, self.increments.len());
            for (actor, hlc, sum) in &self.increments {
                put_actor(out, actor);
                put_u64(out, hlc.0);
                put_i64(out, *sum);
            }
        }
        if let Some(value) = &self.value {
            put_bytes(out, value);
        }
    }

    fn read(context: &Context, reader: &mut Reader<'_>) -> Result<Sibling, Damaged> {
        let at = reader.u32()? as usize;
        let (actor, _) = context.entries().get(at).ok_or(Damaged::Malformed("sibling without its actor"))?;
        let dot = Dot { hlc: Hlc(reader.u64()?), actor: *actor };
        let flags = reader.u8()?;
        let register = if flags & REGISTER != 0 { Hlc(reader.u64()?) } else { dot.hlc };
        let expires = if flags & EXPIRES != 0 { Some(reader.u64()?) } else { None };
        let minter = if flags & MINTER != 0 { NodeTag(reader.u64()?) } else { actor.node };
        let increments = if flags & INCREMENTS != 0 {
            let count = reader.count(INCREMENT_BYTES)?;
            let read = |_| Ok((read_actor(reader)?, Hlc(reader.u64()?), reader.i64()?));
            (0..count).map(read).collect::<Result<_, _>>()?
        } else {
            Vec::new()
        };
        let value = if flags & VALUE != 0 { Some(reader.shared()?) } else { None };
        Ok(Sibling { dot, minter, value, expiry: (register, expires), increments, counter: flags & COUNTER != 0 })
    }
}

fn put_actor(out: &mut Vec<u8>, actor: &Actor) {
    put_u64(out, actor.node.0);
    put_u64(out, actor.birth.0);
}

fn read_actor(reader: &mut Reader<'_>) -> Result<Actor, Damaged> {
    Ok(Actor { node: NodeTag(reader.u64()?), birth: Hlc(reader.u64()?) })
}
