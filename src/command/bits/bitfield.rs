//! BITFIELD: a list of errands on the integers within one value.
//!
//! Contract: all errands are read before anything is asked; they are done in order on one reading of the value, which is
//! then written once. A list that only gets writes nothing. Forms and errors are Redis 7.0's.

use super::field::{Kind, Overflow};
use super::{bitmap, offset};
use crate::command::Asked;
use crate::command::arguments::target::{Target, settle};
use crate::command::arguments::{integer, is, syntax_error};
use crate::command::step::Step;
use crate::command::substrings::{replace, value_bytes_max};
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `BITFIELD key [GET kind offset | [OVERFLOW WRAP|SAT|FAIL] SET kind offset value | INCRBY kind offset increment …]`
pub fn bitfield(asked: &mut Asked, words: &[Bytes]) -> Step {
    let limit = value_bytes_max(asked);
    settle(Target::named(asked, &words[1]).and_then(|target| bitfield_at(target, errands(&words[2..], limit)?)))
}

/// `BITFIELD_RO key [GET kind offset …]`
pub fn bitfield_ro(asked: &mut Asked, words: &[Bytes]) -> Step {
    let limit = value_bytes_max(asked);
    settle(Target::named(asked, &words[1]).and_then(|target| bitfield_ro_at(target, errands(&words[2..], limit)?)))
}

/// One thing to do with one field.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Errand {
    kind: Kind,
    at: u64,
    act: FieldAct,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum FieldAct {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

fn errands(words: &[Bytes], limit: u64) -> Result<Vec<Errand>, Reply> {
    let (mut errands, mut overflow, mut at) = (Vec::new(), Overflow::default(), 0);
    while let Some(word) = words.get(at) {
        let left = words.len() - at - 1;
        if is(word, "OVERFLOW") && left >= 1 {
            overflow = overflow_named(&words[at + 1])?;
            at += 2;
            continue;
        }
        let make: Option<fn(i64, Overflow) -> FieldAct> = match word {
            word if is(word, "GET") && left >= 2 => None,
            word if is(word, "SET") && left >= 3 => Some(FieldAct::Set),
            word if is(word, "INCRBY") && left >= 3 => Some(FieldAct::Add),
            _ => return Err(syntax_error()),
        };
        let kind = Kind::named(&words[at + 1]).ok_or_else(|| {
            let example = "Use something like i16 u8. Note that u64 is not supported but i64 is.";
            Reply::error(format!("ERR Invalid bitfield type. {example}"))
        })?;
        let place = offset(&words[at + 2], Some(kind.bits), limit)?;
        let act = match make {
            None => FieldAct::Get,
            Some(make) => make(integer(&words[at + 3])?, overflow),
        };
        at += if make.is_some() { 4 } else { 3 };
        errands.push(Errand { kind, at: place, act });
    }
    Ok(errands)
}

fn overflow_named(word: &[u8]) -> Result<Overflow, Reply> {
    let names = [("WRAP", Overflow::Wrap), ("SAT", Overflow::Saturate), ("FAIL", Overflow::Fail)];
    let named = names.iter().find(|(name, _)| is(word, name)).map(|(_, overflow)| *overflow);
    named.ok_or_else(|| Reply::error("ERR Invalid OVERFLOW type specified"))
}

/// The last bit that a list of errands may write; none: it only gets.
fn last_written(errands: &[Errand]) -> Option<u64> {
    let written = errands.iter().filter(|errand| errand.act != FieldAct::Get);
    written.map(|errand| errand.at + u64::from(errand.kind.bits) - 1).max()
}

fn bitfield_at(target: Target, errands: Vec<Errand>) -> Result<Step, Reply> {
    let Some(last) = last_written(&errands) else { return Ok(read(target, errands)) };
    let writer = target.clone();
    Ok(target.get(move |object, now_ms| {
        // Redis makes room for all errands first, also for those that then fail.
        let mut row = bitmap::grown(&object.shown_value(now_ms).unwrap_or_default(), last);
        let replies = errands.iter().map(|errand| errand.run(&mut row)).collect();
        Ok(replace(writer, object, now_ms, row, Reply::Array(replies)))
    }))
}

fn bitfield_ro_at(target: Target, errands: Vec<Errand>) -> Result<Step, Reply> {
    match last_written(&errands) {
        Some(_) => Err(Reply::error("ERR BITFIELD_RO only supports the GET subcommand")),
        None => Ok(read(target, errands)),
    }
}

fn read(target: Target, errands: Vec<Errand>) -> Step {
    target.get(move |object, now_ms| {
        let row = object.shown_value(now_ms).unwrap_or_default();
        let replies = errands.iter().map(|errand| number(errand.kind.read(&row, errand.at))).collect();
        Ok(Step::Reply(Reply::Array(replies)))
    })
}

impl Errand {
    /// Does it: what it answers.
    fn run(&self, row: &mut [u8]) -> Reply {
        let old = self.kind.read(row, self.at);
        let (wanted, overflow) = match self.act {
            FieldAct::Get => return number(old),
            FieldAct::Set(value, overflow) => (self.kind.given(value), overflow),
            FieldAct::Add(step, overflow) => (old + i128::from(step), overflow),
        };
        let Some(new) = self.kind.fitted(wanted, overflow) else { return Reply::Null };
        self.kind.write(row, self.at, new);
        number(if matches!(self.act, FieldAct::Set(..)) { old } else { new })
    }
}

/// A field's number: at most 63 bits without, 64 with a sign, so it is an i64.
fn number(number: i128) -> Reply {
    Reply::Integer(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::{NOW_MS, after_get, object, one, replies, target, words, writes};
    use crate::message::operation::Basis;
    use crate::object::Object;

    const LIMIT: u64 = 512 << 20;

    fn step(text: &str) -> Step {
        settle(errands(&words(text), LIMIT).and_then(|errands| bitfield_at(target(), errands)))
    }

    fn numbers(reply: Reply) -> Vec<Option<i64>> {
        let Reply::Array(replies) = reply else { panic!("{reply:?}") };
        let number = |reply| match reply {
            Reply::Integer(number) => Some(number),
            Reply::Null => None,
            other => panic!("{other:?}"),
        };
        replies.into_iter().map(number).collect()
    }

    #[test]
    fn errands_are_done_in_order_on_one_reading_and_written_once() {
        let before = object(&[(1, Some("\0"), Some(NOW_MS + 9))]);
        let text = "SET u8 0 255 INCRBY u8 0 1 OVERFLOW SAT INCRBY i5 #2 100 GET i5 10 OVERFLOW FAIL SET u2 0 4";
        let (put, reply) = writes(after_get(step(text), before));
        assert_eq!(numbers(reply), [Some(0), Some(0), Some(15), Some(15), None]);
        assert_eq!((&put.value.unwrap()[..], put.expiry), (&[0, 0b0001_1110][..], Some(NOW_MS + 9)));
        assert!(matches!(put.basis, Basis::Seen(_)));
    }

    #[test]
    fn a_negative_value_for_an_unsigned_field_is_a_very_large_one() {
        let (put, reply) = writes(after_get(step("OVERFLOW SAT SET u8 0 -1"), Object::default()));
        assert_eq!((numbers(reply), put.value.unwrap()), (vec![Some(0)], Bytes::from_static(b"\xff")));
    }

    #[test]
    fn what_only_gets_writes_nothing() {
        assert_eq!(numbers(replies(after_get(step("GET u8 0 GET i8 #9"), one("a")))), [Some(97), Some(0)]);
        assert_eq!(numbers(replies(after_get(step("OVERFLOW FAIL"), one("a")))), []);
    }

    #[test]
    fn wrong_errands_ask_nothing() {
        assert_eq!(replies(step("GET u8")), syntax_error());
        assert_eq!(replies(step("OVERFLOW")), syntax_error());
        assert_eq!(replies(step("OVERFLOW x")), Reply::error("ERR Invalid OVERFLOW type specified"));
        let line = |step: Step| match replies(step) {
            Reply::Error(line) => line,
            other => panic!("{other:?}"),
        };
        assert!(line(step("GET u64 0")).starts_with("ERR Invalid bitfield type."));
        for place in ["-1", "#-1", "x", "#", "4294967296", "#9223372036854775807"] {
            assert!(line(step(&format!("GET u8 {place}"))).starts_with("ERR bit offset "), "{place}");
        }
        assert_eq!(line(step("SET u8 0 x")), "ERR value is not an integer or out of range");
        let errands = errands(&words("INCRBY u8 0 1"), LIMIT).unwrap();
        assert!(line(settle(bitfield_ro_at(target(), errands))).starts_with("ERR BITFIELD_RO only supports"));
    }
}
