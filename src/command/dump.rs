//! DUMP and RESTORE: a value as a parcel that Redis can open, and the reverse.
//!
//! Contract: the parcel is Redis's own ([`payload`]); any Redis from 7.0 on opens what DUMP gives, RESTORE opens the strings
//! of any Redis up to 7.0. DUMP takes the value GET shows, without its siblings and its expiry. RESTORE without REPLACE
//! looks first, like SETNX; with it, it writes like SET. IDLETIME and FREQ are read and mean nothing: nothing is evicted
//! here. Replies, errors and their order are Redis 7.0's.

pub mod lzf;
pub mod payload;

use crate::command::Asked;
use crate::command::arguments::target::{Target, put, settle};
use crate::command::arguments::{Form, integer, is, syntax_error};
use crate::command::step::Step;
use crate::command::substrings::value_bytes_max;
use crate::message::operation::Basis;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `DUMP key`: the value in Redis's format, or nil.
pub fn dump(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).map(|target| {
        target.get(|object, now_ms| {
            let parcel = object.shown_value(now_ms).map(|value| payload::pack(&value));
            Ok(Step::Reply(parcel.map_or(Reply::Null, |bytes| Reply::Bulk(bytes.into()))))
        })
    }))
}

/// `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
pub fn restore(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (now_ms, limit) = (asked.now_ms, value_bytes_max(asked));
    settle(Target::named(asked, &words[1]).and_then(|target| restore_at(target, words, now_ms, limit)))
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Options {
    replaces: bool,
    absolute: bool,
    idle: bool,
    frequency: bool,
}

impl Options {
    fn read(words: &[Bytes]) -> Result<Options, Reply> {
        let (mut options, mut at) = (Options::default(), 0);
        while let Some(word) = words.get(at) {
            let number = words.get(at + 1);
            match (word, number) {
                (word, _) if is(word, "REPLACE") => options.replaces = true,
                (word, _) if is(word, "ABSTTL") => options.absolute = true,
                (word, Some(number)) if is(word, "IDLETIME") && !options.frequency => {
                    if integer(number)? < 0 {
                        return Err(Reply::error("ERR Invalid IDLETIME value, must be >= 0"));
                    }
                    (options.idle, at) = (true, at + 1);
                }
                (word, Some(number)) if is(word, "FREQ") && !options.idle => {
                    if !(0..=255).contains(&integer(number)?) {
                        return Err(Reply::error("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                    }
                    (options.frequency, at) = (true, at + 1);
                }
                _ => return Err(syntax_error()),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// What a RESTORE is to put down.
struct Parcel {
    value: Bytes,
    /// Absolute Unix milliseconds.
    expiry: Option<u64>,
}

impl Parcel {
    fn open(words: &[Bytes], absolute: bool, now_ms: u64, limit: u64) -> Result<Parcel, Reply> {
        let amount = integer(&words[2])?;
        if amount < 0 {
            return Err(Reply::error("ERR Invalid TTL value, must be >= 0"));
        }
        let value = payload::open(&words[3], limit).map_err(|error| Reply::error(format!("ERR {error}")))?;
        let form = if absolute { Form::PxAt } else { Form::Px };
        // So far ahead that it does not fit is never.
        let expiry = form.absolute_ms(amount, now_ms).filter(|_| amount > 0).and_then(|at| u64::try_from(at).ok());
        Ok(Parcel { value, expiry })
    }

    fn is_past(&self, now_ms: u64) -> bool {
        self.expiry.is_some_and(|at| at <= now_ms)
    }
}

fn restore_at(target: Target, words: &[Bytes], now_ms: u64, limit: u64) -> Result<Step, Reply> {
    let options = Options::read(&words[4..])?;
    let writer = target.clone();
    if !options.replaces {
        let words = words.to_vec();
        return Ok(target.get(move |object, looked_ms| {
            if object.shown(looked_ms).is_some() {
                return Err(Reply::error("BUSYKEY Target key name already exists."));
            }
            let parcel = Parcel::open(&words, options.absolute, now_ms, limit)?;
            if parcel.is_past(looked_ms) {
                return Ok(Step::Reply(Reply::Ok));
            }
            Ok(writer.change(put(Some(parcel.value), parcel.expiry, Basis::seen(object)), Reply::Ok))
        }));
    }
    let parcel = Parcel::open(words, options.absolute, now_ms, limit)?;
    if !parcel.is_past(now_ms) {
        return Ok(writer.change(put(Some(parcel.value), parcel.expiry, Basis::Local), Reply::Ok));
    }
    Ok(target.get(move |object, now_ms| match object.shown(now_ms) {
        Some(_) => Ok(writer.change(put(None, None, Basis::seen(object)), Reply::Ok)),
        None => Ok(Step::Reply(Reply::Ok)),
    }))
}

#[cfg(test)]
mod tests;
