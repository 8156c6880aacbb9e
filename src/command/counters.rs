//! Counters: INCR and its kin.
//!
//! Whoever says "one more" need not know how many there were. So these commands never look first and write then: the
//! coordinator reads and adds in one go, and clients at many nodes who add to one number at the same time all count
//! ([`crate::object::counter`]). Only INCRBYFLOAT looks first: a floating-point sum depends on the order, so it is written as
//! it was read.
//!
//! # Contract
//! - Replies and errors are those of Redis 7. A wrong form asks nothing.
//! - The number answered is the one after the addition as its coordinator sees it; two nodes may answer the same one.
//! - Nothing here is ever repeated once it may have counted; a client that repeats a command counts twice.

use crate::command::Asked;
use crate::command::arguments::integer;
use crate::command::arguments::target::{Target, put, settle};
use crate::command::failure;
use crate::command::long_double::LongDouble;
use crate::command::step::{Outcomes, Step, Then};
use crate::message::operation::{Act, Basis, Failure, Outcome};
use crate::resp::reply::Reply;
use bytes::Bytes;
use smallvec::smallvec;

/// `INCR key`: the number after it.
pub fn incr(asked: &mut Asked, words: &[Bytes]) -> Step {
    add(asked, &words[1], 1)
}

/// `DECR key`: the number after it.
pub fn decr(asked: &mut Asked, words: &[Bytes]) -> Step {
    add(asked, &words[1], -1)
}

/// `INCRBY key increment`: the number after it.
pub fn incrby(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(integer(&words[2]).map(|amount| add(asked, &words[1], amount)))
}

/// `DECRBY key decrement`: the number after it.
pub fn decrby(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(decrement(&words[2]).map(|amount| add(asked, &words[1], amount)))
}

/// `INCRBYFLOAT key increment`: the number after it, as text. The key keeps its expiry.
pub fn incrbyfloat(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).map(|target| add_float(target, words[2].clone())))
}

fn decrement(word: &[u8]) -> Result<i64, Reply> {
    integer(word)?.checked_neg().ok_or_else(|| Reply::error("ERR decrement would overflow"))
}

fn add(asked: &mut Asked, key: &Bytes, amount: i64) -> Step {
    match asked.operation(key, Act::Increment(smallvec![amount])) {
        Ok(operation) => Step::Ask(smallvec![operation], Then::Plain(counted)),
        Err(reply) => Step::Reply(reply),
    }
}

fn counted(mut outcomes: Outcomes, _now_ms: u64) -> Step {
    Step::Reply(match outcomes.pop() {
        Some(Outcome::Counted(counted)) => match counted.numbers.first() {
            Some(Some(number)) => Reply::Integer(*number),
            Some(None) => failure::reply(Failure::Overflow),
            None => failure::out_of_step(),
        },
        Some(Outcome::Failed(failure)) => failure::reply(failure),
        _ => failure::out_of_step(),
    })
}

fn add_float(target: Target, amount: Bytes) -> Step {
    let writer = target.clone();
    target.get(move |object, now_ms| {
        let held = object.shown_value(now_ms);
        let number =
            |text: &[u8]| LongDouble::parse(text).ok_or_else(|| Reply::error("ERR value is not a valid float"));
        let before = held.as_ref().map_or_else(|| number(b"0"), |held| number(held))?;
        let after = before.plus(number(&amount)?);
        let after = after.ok_or_else(|| Reply::error("ERR increment would produce NaN or Infinity"))?;
        let text = Bytes::from(after.text());
        let expiry = object.shown(now_ms).and_then(|sibling| sibling.expiry.1);
        Ok(writer.change(put(Some(text.clone()), expiry, Basis::seen(object)), Reply::Bulk(text)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Context;
    use crate::command::arguments::target::trial::{NOW_MS, after_get, dot, object, one, replies, target, writes};
    use crate::message::operation::Counted;
    use crate::object::Object;
    use crate::object::counter::Entry;

    fn told(number: Option<i64>) -> Reply {
        let entry = Entry { sibling: dot(1, 1), actor: dot(1, 1).actor, hlc: dot(1, 2).hlc };
        let numbers = smallvec![number];
        replies(counted(smallvec![Outcome::Counted(Box::new(Counted { numbers, context: Context::new(), entry }))], 0))
    }

    #[test]
    fn the_number_after_it_is_answered() {
        assert_eq!(told(Some(-7)), Reply::Integer(-7));
        assert_eq!(told(None), Reply::error("ERR increment or decrement would overflow"));
        let failed = |failure| replies(counted(smallvec![Outcome::Failed(failure)], 0));
        assert_eq!(failed(Failure::NotInteger), Reply::error("ERR value is not an integer or out of range"));
        assert_eq!(failed(Failure::Overflow), Reply::error("ERR increment or decrement would overflow"));
        let unsure = Failure::WriteUnsure { acknowledged: 1, needed: 2 };
        assert_eq!(failed(unsure.clone()), failure::reply(unsure));
    }

    #[test]
    fn the_least_number_cannot_be_turned_round() {
        assert_eq!(decrement(b"5"), Ok(-5));
        assert_eq!(decrement(b"-9223372036854775807"), Ok(i64::MAX));
        assert_eq!(decrement(b"-9223372036854775808"), Err(Reply::error("ERR decrement would overflow")));
        assert_eq!(decrement(b"x"), Err(Reply::error("ERR value is not an integer or out of range")));
    }

    fn float(held: Object, amount: &str) -> Step {
        after_get(add_float(target(), Bytes::copy_from_slice(amount.as_bytes())), held)
    }

    #[test]
    fn a_float_is_written_as_it_was_read_and_keeps_its_expiry() {
        let (put, reply) = writes(float(object(&[(1, Some("10.5"), Some(NOW_MS + 5))]), "0.1"));
        assert_eq!((put.value, put.expiry), (Some(Bytes::from("10.6")), Some(NOW_MS + 5)));
        assert!(matches!(put.basis, Basis::Seen(_)));
        assert_eq!(reply, Reply::Bulk(Bytes::from("10.6")));
        let (put, _) = writes(float(Object::default(), "3"));
        assert_eq!((put.value, put.expiry), (Some(Bytes::from("3")), None));
    }

    #[test]
    fn what_is_no_float_is_not_written() {
        let no_float = Reply::error("ERR value is not a valid float");
        for (held, amount) in [("abc", "1"), ("1", "abc"), ("", "1"), ("1", " 1")] {
            assert_eq!(replies(float(one(held), amount)), no_float, "{held} {amount}");
        }
        let endless = Reply::error("ERR increment would produce NaN or Infinity");
        assert_eq!(replies(float(one("1"), "inf")), endless);
    }
}
