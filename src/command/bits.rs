//! Bits: a string as a row of lamps.
//!
//! Lamp 0 is the highest bit of the first byte, and the row goes on in the dark for ever: a lamp beyond the end is off, and
//! lighting one makes the row as long as it must be. What a row of lamps can tell is in [`bitmap`] and [`field`]; here
//! are only the errands: fetch the row, ask or change it, put it back.
//!
//! # Contract
//! - What changes a value reads at R, then writes the whole value with [`Basis::Seen`], keeping its expiry; BITOP's result
//!   has none. See [`super::substrings`] for what that means across coordinators.
//! - What is set to what it was is written all the same: the reply is then acknowledged W times like any other.
//! - Offsets, ranges, errors, and which error comes first are Redis 7.0's: BITCOUNT and BITPOS do not read their range when
//!   the key is missing.

pub mod bitfield;
pub mod bitmap;
pub mod field;

use crate::command::Asked;
use crate::command::arguments::target::{Target, got, put, settle};
use crate::command::arguments::{integer, is, parse_integer, syntax_error};
use crate::command::step::{Operations, Outcomes, Step, Then};
use crate::command::substrings::{range, replace, value_bytes_max};
use crate::message::operation::{Act, Basis};
use crate::object::Object;
use crate::resp::reply::Reply;
use bitmap::Join;
use bytes::Bytes;
use std::ops::Range;

/// `SETBIT key offset value`: the bit as it was before.
pub fn setbit(asked: &mut Asked, words: &[Bytes]) -> Step {
    let limit = value_bytes_max(asked);
    settle(Target::named(asked, &words[1]).and_then(|target| setbit_at(target, words, limit)))
}

/// `GETBIT key offset`: the bit, 0 beyond the end.
pub fn getbit(asked: &mut Asked, words: &[Bytes]) -> Step {
    let limit = value_bytes_max(asked);
    settle(Target::named(asked, &words[1]).and_then(|target| getbit_at(target, words, limit)))
}

/// `BITCOUNT key [start end [BYTE|BIT]]`: how many bits are set.
pub fn bitcount(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).map(|target| bitcount_at(target, words[2..].to_vec())))
}

/// `BITPOS key bit [start [end [BYTE|BIT]]]`: where the first such bit is; -1: nowhere. Without an end the row goes on
/// in the dark, so a clear bit is always found.
pub fn bitpos(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).and_then(|target| bitpos_at(target, words)))
}

/// `BITOP AND|OR|XOR|NOT destkey key [key …]`: the length of the result, which replaces `destkey`; without any bytes,
/// `destkey` is deleted.
pub fn bitop(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Join::named(words).and_then(|join| {
        let targets: Result<Vec<Target>, Reply> = words[2..].iter().map(|key| Target::named(asked, key)).collect();
        targets.map(|targets| bitop_at(join, targets))
    }))
}

/// Reads the offset of a bit. `width`: what `#n` counts in, where that may stand.
pub fn offset(word: &[u8], width: Option<u8>, limit: u64) -> Result<u64, Reply> {
    let (digits, scale) = match (word, width) {
        ([b'#', digits @ ..], Some(width)) => (digits, u64::from(width)),
        _ => (word, 1),
    };
    let bits = parse_integer(digits).and_then(|number| u64::try_from(number).ok());
    let bits = bits.and_then(|number| number.checked_mul(scale)).filter(|bits| bits / 8 < limit);
    bits.ok_or_else(|| Reply::error("ERR bit offset is not an integer or out of range"))
}

fn setbit_at(target: Target, words: &[Bytes], limit: u64) -> Result<Step, Reply> {
    let at = offset(&words[2], None, limit)?;
    let on = match parse_integer(&words[3]) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Reply::error("ERR bit is not an integer or out of range")),
    };
    let writer = target.clone();
    Ok(target.get(move |object, now_ms| {
        let old = object.shown_value(now_ms).unwrap_or_default();
        let was = bitmap::bit(&old, at);
        let value = bitmap::with_bit(&old, at, on);
        Ok(replace(writer, object, now_ms, value, Reply::Integer(was.into())))
    }))
}

fn getbit_at(target: Target, words: &[Bytes], limit: u64) -> Result<Step, Reply> {
    let at = offset(&words[2], None, limit)?;
    Ok(target.get(move |object, now_ms| {
        let value = object.shown_value(now_ms).unwrap_or_default();
        Ok(Step::Reply(Reply::Integer(bitmap::bit(&value, at).into())))
    }))
}

/// Whether a range counts bits, not bytes.
fn counts_bits(unit: &[u8]) -> Result<bool, Reply> {
    match unit {
        unit if is(unit, "BIT") => Ok(true),
        unit if is(unit, "BYTE") => Ok(false),
        _ => Err(syntax_error()),
    }
}

/// The bits a range names: `start` and `end` count bytes, or bits. None: the range is empty.
fn bits_of(start: i64, end: i64, in_bits: bool, bytes: usize) -> Option<Range<u64>> {
    let scale = if in_bits { 1 } else { 8 };
    range(start, end, bytes as u64 * 8 / scale).map(|(from, to)| from * scale..to * scale)
}

fn bitcount_at(target: Target, words: Vec<Bytes>) -> Step {
    target.get(move |object, now_ms| {
        let Some(value) = object.shown_value(now_ms) else { return Ok(Step::Reply(Reply::Integer(0))) };
        let counted = match &words[..] {
            [] => Some(0..value.len() as u64 * 8),
            [start, end, unit @ ..] if unit.len() <= 1 => {
                let (start, end) = (integer(start)?, integer(end)?);
                // Redis looks at the unit only after it has seen that the range may hold something.
                let is_empty = start < 0 && end < 0 && start > end;
                let in_bits = !is_empty && unit.first().map_or(Ok(false), |unit| counts_bits(unit))?;
                bits_of(start, end, in_bits, value.len())
            }
            _ => return Err(syntax_error()),
        };
        let count = counted.map_or(0, |bits| bitmap::count(&value, bits));
        Ok(Step::Reply(Reply::Integer(count as i64)))
    })
}

fn bitpos_at(target: Target, words: &[Bytes]) -> Result<Step, Reply> {
    let wanted = match integer(&words[2])? {
        0 => false,
        1 => true,
        _ => return Err(Reply::error("ERR The bit argument must be 1 or 0.")),
    };
    let words = words[3..].to_vec();
    Ok(target.get(move |object, now_ms| {
        let Some(value) = object.shown_value(now_ms) else {
            return Ok(Step::Reply(Reply::Integer(if wanted { -1 } else { 0 })));
        };
        let searched = match &words[..] {
            [] => bits_of(0, -1, false, value.len()),
            [start] => bits_of(integer(start)?, -1, false, value.len()),
            [start, end, unit @ ..] if unit.len() <= 1 => {
                let start = integer(start)?;
                let in_bits = unit.first().map_or(Ok(false), |unit| counts_bits(unit))?;
                bits_of(start, integer(end)?, in_bits, value.len())
            }
            _ => return Err(syntax_error()),
        };
        // Beyond the last byte all is clear; a range without an end reaches there, if it begins in the value at all.
        let beyond = (!wanted && words.len() < 2).then_some(value.len() as u64 * 8);
        let found = searched.and_then(|bits| bitmap::first(&value, bits, wanted).or(beyond));
        Ok(Step::Reply(Reply::Integer(found.map_or(-1, |at| at as i64))))
    }))
}

/// Reads the destination and every source, then writes the destination.
fn bitop_at(join: Join, targets: Vec<Target>) -> Step {
    let reads: Operations = targets.iter().map(|target| target.clone().operation(Act::Get)).collect();
    let writer = targets[0].clone();
    let then = move |outcomes: Outcomes, now_ms| {
        let objects: Result<Vec<Object>, Reply> = outcomes.into_iter().map(got).collect();
        settle(objects.map(|mut objects| {
            let values: Vec<Bytes> =
                objects[1..].iter().map(|object| object.shown_value(now_ms).unwrap_or_default()).collect();
            keep(writer, objects.swap_remove(0), join.of(&values), now_ms)
        }))
    };
    Step::Ask(reads, Then::With(Box::new(then)))
}

/// Writes a result where `there` is; nothing is kept as nothing.
fn keep(writer: Target, there: Object, result: Vec<u8>, now_ms: u64) -> Step {
    let reply = Reply::Integer(result.len() as i64);
    if !result.is_empty() {
        return writer.change(put(Some(result.into()), None, Basis::seen(there)), reply);
    }
    match there.shown(now_ms) {
        Some(_) => writer.change(put(None, None, Basis::seen(there)), reply),
        None => Step::Reply(reply),
    }
}

#[cfg(test)]
mod tests;
