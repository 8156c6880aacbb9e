//! Parts of a string: reading a piece of it, writing over a piece, adding to its end.
//!
//! Somebody adds a line to a letter. There is no pen that writes into the letters lying in three houses at once: the
//! clerk fetches the letter, writes a new one with the line in it, and files that in place of the letter that was read.
//!
//! # Contract
//! - APPEND and SETRANGE read at R, then write the whole new value with [`Basis::Seen`]: what arrived meanwhile at their
//!   coordinator makes them start again. Through two coordinators at once, both results are kept as siblings.
//! - Both keep the expiry of the value they change.
//! - Indexes, replies and errors are Redis 7's; a value never grows beyond `proto-max-bulk-len`.

use crate::command::Asked;
use crate::command::arguments::integer;
use crate::command::arguments::target::{Target, put, settle};
use crate::command::step::Step;
use crate::message::operation::Basis;
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `APPEND key value`: the length after it.
pub fn append(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (limit, tail) = (value_bytes_max(asked), words[2].clone());
    settle(Target::named(asked, &words[1]).map(|target| append_at(target, tail, limit)))
}

/// `GETRANGE key start end`: the bytes between two indexes, both included; negative ones count from the end.
pub fn getrange(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).and_then(|target| getrange_at(target, words)))
}

/// `SUBSTR key start end`: the old name of [`getrange`].
pub fn substr(asked: &mut Asked, words: &[Bytes]) -> Step {
    getrange(asked, words)
}

/// `SETRANGE key offset value`: the length after it. A gap is filled with zeros.
pub fn setrange(asked: &mut Asked, words: &[Bytes]) -> Step {
    let limit = value_bytes_max(asked);
    settle(Target::named(asked, &words[1]).and_then(|target| setrange_at(target, words, limit)))
}

/// The longest value a command may make, in bytes: `proto-max-bulk-len`.
pub fn value_bytes_max(asked: &Asked) -> u64 {
    asked.server.config.load().proto_max_bulk_len
}

/// Writes a value made from the one that was read, in its place and with its expiry, then answers `reply`.
pub fn replace(writer: Target, object: Object, now_ms: u64, value: Vec<u8>, reply: Reply) -> Step {
    let expiry = object.shown(now_ms).and_then(|sibling| sibling.expiry.1);
    writer.change(put(Some(value.into()), expiry, Basis::seen(object)), reply)
}

fn append_at(target: Target, tail: Bytes, limit: u64) -> Step {
    let writer = target.clone();
    target.get(move |object, now_ms| {
        let old = object.shown_value(now_ms);
        // Redis, too, checks the length only of a value that was there: the tail alone has come through the door.
        if let Some(old) = &old {
            check_length(old.len() as u64, tail.len(), limit)?;
        }
        let value = [&old.unwrap_or_default()[..], &tail[..]].concat();
        let reply = Reply::Integer(value.len() as i64);
        Ok(replace(writer, object, now_ms, value, reply))
    })
}

fn setrange_at(target: Target, words: &[Bytes], limit: u64) -> Result<Step, Reply> {
    let offset = u64::try_from(integer(&words[2])?).map_err(|_negative| Reply::error("ERR offset is out of range"))?;
    let (writer, patch) = (target.clone(), words[3].clone());
    Ok(target.get(move |object, now_ms| {
        let old = object.shown_value(now_ms).unwrap_or_default();
        if patch.is_empty() {
            return Ok(Step::Reply(Reply::Integer(old.len() as i64)));
        }
        check_length(offset, patch.len(), limit)?;
        let value = patched(&old, offset as usize, &patch);
        let reply = Reply::Integer(value.len() as i64);
        Ok(replace(writer, object, now_ms, value, reply))
    }))
}

fn getrange_at(target: Target, words: &[Bytes]) -> Result<Step, Reply> {
    let (start, end) = (integer(&words[2])?, integer(&words[3])?);
    Ok(target.get(move |object, now_ms| {
        let value = object.shown_value(now_ms).unwrap_or_default();
        let piece = range(start, end, value.len() as u64);
        let bytes = piece.map_or(Bytes::new(), |(from, to)| value.slice(from as usize..to as usize));
        Ok(Step::Reply(Reply::Bulk(bytes)))
    }))
}

fn check_length(kept: u64, added: usize, limit: u64) -> Result<(), Reply> {
    match kept.checked_add(added as u64) {
        Some(bytes) if bytes <= limit => Ok(()),
        _ => Err(Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")),
    }
}

/// `old` with `patch` written over it from `offset` on.
fn patched(old: &[u8], offset: usize, patch: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(old.len().max(offset + patch.len()));
    value.extend_from_slice(old);
    value.resize(old.len().max(offset + patch.len()), 0);
    value[offset..offset + patch.len()].copy_from_slice(patch);
    value
}

/// The places `start` to `end` name in something of that length, as from and up to; none: an empty range. Both are
/// included, negative ones count from the end, and what lies outside is cut off.
pub fn range(start: i64, end: i64, length: u64) -> Option<(u64, u64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let place = |index: i64| match index {
        0.. => index as u64,
        _ => length.saturating_sub(index.unsigned_abs()),
    };
    let (from, last) = (place(start), place(end).min(length.checked_sub(1)?));
    (from <= last).then_some((from, last + 1))
}

#[cfg(test)]
mod tests;
