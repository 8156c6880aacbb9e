//! Strings: the commands that read and write one value, or several keys' values.
//!
//! Two kinds of clerks work here. One writes what you say without looking (`SET key value`): one round. The other first
//! looks what is there and then decides (`SET … NX`, `GETSET`, `GETEX` …): a read at R, then a write that holds only if
//! nothing new arrived in between; otherwise the runner starts the command again.
//!
//! # Contract
//! - Options, their order, errors and nil replies are those of Redis 7. A wrong form asks nothing.
//! - A write without conditions has [`Basis::Local`]: it replaces everything its coordinator holds. One with conditions
//!   has [`Basis::Seen`].
//! - What looks at the key holds for one coordinator; two coordinators may each grant an `NX` (DESIGN §7). Nothing here is
//!   a lock across a partition of the network.

use crate::command::Asked;
use crate::command::arguments::target::{Target, acknowledged, as_read, got, got_one, put, settle, written_one};
use crate::command::arguments::{Form, Lifetime, is, syntax_error, wrong_number_of_arguments};
use crate::command::failure;
use crate::command::step::{Operations, Outcomes, Step, Then};
use crate::message::operation::{Act, Basis, Operation, Outcome};
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;
use smallvec::smallvec;
use std::collections::HashMap;

/// `GET key`: the value, or nil.
pub fn get(asked: &mut Asked, words: &[Bytes]) -> Step {
    ask(asked.operation(&words[1], Act::Get), |outcomes, now_ms| {
        settle(got_one(outcomes).map(|object| Step::Reply(value_or_null(&object, now_ms))))
    })
}

/// `STRLEN key`: the value's length in bytes; 0 without one.
pub fn strlen(asked: &mut Asked, words: &[Bytes]) -> Step {
    ask(asked.operation(&words[1], Act::Get), |outcomes, now_ms| {
        settle(got_one(outcomes).map(|object| {
            let bytes = object.shown_value(now_ms).map_or(0, |value| value.len());
            Step::Reply(Reply::Integer(bytes as i64))
        }))
    })
}

/// `MGET key [key …]`: each value or nil, in order. One key that cannot be read fails the command: half an answer would
/// look like missing keys.
pub fn mget(asked: &mut Asked, words: &[Bytes]) -> Step {
    let operations: Result<Operations, Reply> = words[1..].iter().map(|key| asked.operation(key, Act::Get)).collect();
    match operations {
        Ok(operations) => Step::Ask(operations, Then::Plain(mget_answer)),
        Err(reply) => Step::Reply(reply),
    }
}

fn mget_answer(outcomes: Outcomes, now_ms: u64) -> Step {
    let values: Result<Vec<Reply>, Reply> =
        outcomes.into_iter().map(|outcome| got(outcome).map(|object| value_or_null(&object, now_ms))).collect();
    settle(values.map(|values| Step::Reply(Reply::Array(values))))
}

/// `SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL]`.
pub fn set(asked: &mut Asked, words: &[Bytes]) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).and_then(|target| set_at(target, words, now_ms)))
}

/// `SETNX key value`: 1 when the key was absent and is written, 0 otherwise.
pub fn setnx(asked: &mut Asked, words: &[Bytes]) -> Step {
    let value = words[2].clone();
    settle(Target::named(asked, &words[1]).map(|target| setnx_at(target, value)))
}

/// `SETEX key seconds value`.
pub fn setex(asked: &mut Asked, words: &[Bytes]) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).and_then(|target| set_until(target, words, Form::Ex, "setex", now_ms)))
}

/// `PSETEX key milliseconds value`.
pub fn psetex(asked: &mut Asked, words: &[Bytes]) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).and_then(|target| set_until(target, words, Form::Px, "psetex", now_ms)))
}

/// `GETSET key value`: the old value or nil; the new one does not expire.
pub fn getset(asked: &mut Asked, words: &[Bytes]) -> Step {
    let value = words[2].clone();
    settle(Target::named(asked, &words[1]).map(|target| getset_at(target, value)))
}

/// `GETDEL key`: the value or nil; a value is deleted.
pub fn getdel(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).map(getdel_at))
}

/// `GETEX key [EX s|PX ms|EXAT s|PXAT ms|PERSIST]`: the value or nil, and a new expiry for it.
pub fn getex(asked: &mut Asked, words: &[Bytes]) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).and_then(|target| getex_at(target, words, now_ms)))
}

/// `MSET key value [key value …]`: OK once every key is acknowledged. Each key is written by itself: when one fails the
/// others stay written, and the error says how many. A key named twice gets its last value.
pub fn mset(asked: &mut Asked, words: &[Bytes]) -> Step {
    if words.len().is_multiple_of(2) {
        return Step::Reply(wrong_number_of_arguments("mset"));
    }
    let puts = last_values(&words[1..])
        .into_iter()
        .map(|(key, value)| asked.operation(key, put(Some(value.clone()), None, Basis::Local)));
    match puts.collect::<Result<Operations, Reply>>() {
        Ok(puts) => Step::Ask(puts, Then::Plain(mset_answer)),
        Err(reply) => Step::Reply(reply),
    }
}

/// `MSETNX key value [key value …]`: 1 when none of the keys had a value and all are written; 0, and nothing is, otherwise.
pub fn msetnx(asked: &mut Asked, words: &[Bytes]) -> Step {
    if words.len().is_multiple_of(2) {
        return Step::Reply(wrong_number_of_arguments("msetnx"));
    }
    let named = |(key, value): (&Bytes, &Bytes)| Ok((Target::named(asked, key)?, value.clone()));
    let pairs: Result<Vec<(Target, Bytes)>, Reply> = last_values(&words[1..]).into_iter().map(named).collect();
    settle(pairs.map(msetnx_at))
}

/// Reads every key, then writes all or none.
fn msetnx_at(pairs: Vec<(Target, Bytes)>) -> Step {
    let gets = pairs.iter().map(|(target, _)| target.clone().operation(Act::Get)).collect();
    let then = move |outcomes: Outcomes, now_ms| {
        let objects: Result<Vec<Object>, Reply> = outcomes.into_iter().map(got).collect();
        settle(objects.map(|objects| match objects.iter().any(|object| object.shown(now_ms).is_some()) {
            true => Step::Reply(Reply::Integer(0)),
            false => msetnx_all(pairs, objects),
        }))
    };
    Step::Ask(gets, Then::With(Box::new(then)))
}

/// Writes the first key only if it still is as it was read, so that of two coordinated here at once one starts again and
/// finds it; then the others as they were read: see [`as_read`].
fn msetnx_all(pairs: Vec<(Target, Bytes)>, objects: Vec<Object>) -> Step {
    let mut pairs = pairs.into_iter().zip(objects);
    let Some(((target, value), object)) = pairs.next() else { return Step::Reply(failure::out_of_step()) };
    let first = target.operation(put(Some(value), None, Basis::seen(object)));
    let others: Operations =
        pairs.map(|((target, value), object)| target.operation(put(Some(value), None, as_read(object)))).collect();
    let then = move |outcomes: Outcomes, _| match outcomes.first() {
        Some(Outcome::Written(_)) if !others.is_empty() => msetnx_others(outcomes, others),
        _ => settle(written_one(outcomes).map(|_| Step::Reply(Reply::Integer(1)))),
    };
    Step::Ask(smallvec![first], Then::With(Box::new(then)))
}

fn msetnx_others(mut all: Outcomes, others: Operations) -> Step {
    let then = move |outcomes: Outcomes, _| {
        all.extend(outcomes);
        Step::Reply(acknowledged(all).map_or_else(|error| error, |_| Reply::Integer(1)))
    };
    Step::Ask(others, Then::With(Box::new(then)))
}

fn mset_answer(outcomes: Outcomes, _now_ms: u64) -> Step {
    Step::Reply(acknowledged(outcomes).map_or_else(|error| error, |_| Reply::Ok))
}

/// The pairs of key and value, each key once with its last value, at the place of its first.
fn last_values(pairs: &[Bytes]) -> Vec<(&Bytes, &Bytes)> {
    let mut places: HashMap<&Bytes, usize> = HashMap::with_capacity(pairs.len() / 2);
    let mut distinct: Vec<(&Bytes, &Bytes)> = Vec::with_capacity(pairs.len() / 2);
    for pair in pairs.chunks_exact(2) {
        let (key, value) = (&pair[0], &pair[1]);
        match places.get(key) {
            Some(place) => distinct[*place].1 = value,
            None => {
                places.insert(key, distinct.len());
                distinct.push((key, value));
            }
        }
    }
    distinct
}

fn ask(operation: Result<Operation, Reply>, then: fn(Outcomes, u64) -> Step) -> Step {
    match operation {
        Ok(operation) => Step::Ask(smallvec![operation], Then::Plain(then)),
        Err(reply) => Step::Reply(reply),
    }
}

fn value_or_null(object: &Object, now_ms: u64) -> Reply {
    object.shown_value(now_ms).map_or(Reply::Null, Reply::Bulk)
}

/// Writes without looking: one round, and nothing to remember.
fn write(target: Target, value: Bytes, expiry: Option<u64>) -> Step {
    Step::Ask(smallvec![target.operation(put(Some(value), expiry, Basis::Local))], Then::Plain(ok))
}

/// Answers OK to a write that was acknowledged.
fn ok(outcomes: Outcomes, _now_ms: u64) -> Step {
    settle(written_one(outcomes).map(|_| Step::Reply(Reply::Ok)))
}

/// When SET writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Condition {
    #[default]
    None,
    IfAbsent,
    IfPresent,
}

/// What stands behind SET's value.
#[derive(Debug, Default)]
struct SetOptions {
    condition: Condition,
    get: bool,
    lifetime: Lifetime,
}

impl SetOptions {
    fn read(words: &[Bytes]) -> Result<SetOptions, Reply> {
        let (mut options, mut at) = (SetOptions::default(), 0);
        while let Some(word) = words.get(at) {
            if is(word, "NX") && options.condition != Condition::IfPresent {
                options.condition = Condition::IfAbsent;
                at += 1;
            } else if is(word, "XX") && options.condition != Condition::IfAbsent {
                options.condition = Condition::IfPresent;
                at += 1;
            } else if is(word, "GET") {
                options.get = true;
                at += 1;
            } else {
                at += options.lifetime.take(words, at).ok_or_else(syntax_error)?;
            }
        }
        if options.lifetime == Lifetime::Persist { Err(syntax_error()) } else { Ok(options) }
    }

    /// Whether what is there changes what SET does or answers.
    fn looks(&self) -> bool {
        self.condition != Condition::None || self.get || self.lifetime == Lifetime::Keep
    }
}

fn set_at(target: Target, words: &[Bytes], now_ms: u64) -> Result<Step, Reply> {
    let options = SetOptions::read(&words[3..])?;
    let expiry = options.lifetime.moment(now_ms, "set")?;
    let value = words[2].clone();
    if !options.looks() {
        return Ok(write(target, value, expiry));
    }
    let writer = target.clone();
    Ok(target.get(move |object, now_ms| {
        let shown = object.shown(now_ms);
        let old = value_or_null(&object, now_ms);
        let refused = match options.condition {
            Condition::None => false,
            Condition::IfAbsent => shown.is_some(),
            Condition::IfPresent => shown.is_none(),
        };
        if refused {
            return Ok(Step::Reply(if options.get { old } else { Reply::Null }));
        }
        let kept = shown.and_then(|sibling| sibling.expiry.1);
        let expiry = if options.lifetime == Lifetime::Keep { kept } else { expiry };
        let reply = if options.get { old } else { Reply::Ok };
        Ok(writer.change(put(Some(value), expiry, Basis::seen(object)), reply))
    }))
}

fn setnx_at(target: Target, value: Bytes) -> Step {
    let writer = target.clone();
    target.get(move |object, now_ms| {
        if object.shown(now_ms).is_some() {
            return Ok(Step::Reply(Reply::Integer(0)));
        }
        Ok(writer.change(put(Some(value), None, Basis::seen(object)), Reply::Integer(1)))
    })
}

fn set_until(target: Target, words: &[Bytes], form: Form, command: &str, now_ms: u64) -> Result<Step, Reply> {
    let expiry = form.moment(&words[2], now_ms, command)?;
    Ok(write(target, words[3].clone(), Some(expiry)))
}

fn getset_at(target: Target, value: Bytes) -> Step {
    let writer = target.clone();
    target.get(move |object, now_ms| {
        let old = value_or_null(&object, now_ms);
        Ok(writer.change(put(Some(value), None, Basis::seen(object)), old))
    })
}

fn getdel_at(target: Target) -> Step {
    let writer = target.clone();
    target.get(move |object, now_ms| match object.shown_value(now_ms) {
        Some(value) => Ok(writer.change(put(None, None, Basis::seen(object)), Reply::Bulk(value))),
        None => Ok(Step::Reply(Reply::Null)),
    })
}

fn getex_at(target: Target, words: &[Bytes], asked_ms: u64) -> Result<Step, Reply> {
    let (mut lifetime, mut at) = (Lifetime::default(), 2);
    while at < words.len() {
        at += lifetime.take(words, at).ok_or_else(syntax_error)?;
    }
    if lifetime == Lifetime::Keep {
        return Err(syntax_error());
    }
    let writer = target.clone();
    Ok(target.get(move |object, now_ms| {
        let Some(value) = object.shown_value(now_ms) else { return Ok(Step::Reply(Reply::Null)) };
        let reply = Reply::Bulk(value);
        // Redis, too, looks the key up before it looks at the amount: a missing key is nil, whatever the amount.
        let moment = lifetime.moment(asked_ms, "getex")?;
        let expires = object.live(now_ms).any(|sibling| sibling.expiry.1.is_some());
        Ok(match moment {
            Some(at) if at <= now_ms => writer.change(put(None, None, Basis::seen(object)), reply),
            Some(at) => writer.change(Act::Expire { at: Some(at), seen: Box::new(object) }, reply),
            None if lifetime == Lifetime::Persist && expires => {
                writer.change(Act::Expire { at: None, seen: Box::new(object) }, reply)
            }
            None => Step::Reply(reply),
        })
    }))
}

#[cfg(test)]
mod tests;
