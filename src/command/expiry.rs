//! Expiry: when a key goes by itself.
//!
//! A milk carton carries a date. Reading the date changes nothing; writing a new one over it changes only the date, not
//! the milk: the key keeps its value and its place in causal history. A date that has passed already means throwing the
//! carton away now.
//!
//! # Contract
//! - Every command here reads at R first. A new date goes onto every live sibling ([`Act::Expire`]); a date in the past
//!   is a delete. The dates that commands show and compare are those of the sibling GET shows.
//! - Replies, conditions (NX XX GT LT) and overflow errors are those of Redis 7. A wrong form asks nothing.

use crate::command::Asked;
use crate::command::arguments::target::{Target, put, settle};
use crate::command::arguments::{Form, integer, invalid_expire_time, is};
use crate::command::step::Step;
use crate::message::operation::{Act, Basis};
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `TTL key`: seconds left, rounded; -1: does not expire; -2: no such key.
pub fn ttl(asked: &mut Asked, words: &[Bytes]) -> Step {
    show(asked, words, |at, now_ms| seconds(at.saturating_sub(now_ms)))
}

/// `PTTL key`: as [`ttl`], in milliseconds.
pub fn pttl(asked: &mut Asked, words: &[Bytes]) -> Step {
    show(asked, words, |at, now_ms| at.saturating_sub(now_ms))
}

/// `EXPIRETIME key`: the Unix second at which it expires; -1: does not; -2: no such key.
pub fn expiretime(asked: &mut Asked, words: &[Bytes]) -> Step {
    show(asked, words, |at, _| seconds(at))
}

/// `PEXPIRETIME key`: as [`expiretime`], in milliseconds.
pub fn pexpiretime(asked: &mut Asked, words: &[Bytes]) -> Step {
    show(asked, words, |at, _| at)
}

/// `EXPIRE key seconds [NX|XX|GT|LT]`: 1 when set, 0 when there is no key or the condition does not hold.
pub fn expire(asked: &mut Asked, words: &[Bytes]) -> Step {
    change(asked, words, Form::Ex, "expire")
}

/// `PEXPIRE key milliseconds [NX|XX|GT|LT]`.
pub fn pexpire(asked: &mut Asked, words: &[Bytes]) -> Step {
    change(asked, words, Form::Px, "pexpire")
}

/// `EXPIREAT key unix-seconds [NX|XX|GT|LT]`.
pub fn expireat(asked: &mut Asked, words: &[Bytes]) -> Step {
    change(asked, words, Form::ExAt, "expireat")
}

/// `PEXPIREAT key unix-milliseconds [NX|XX|GT|LT]`.
pub fn pexpireat(asked: &mut Asked, words: &[Bytes]) -> Step {
    change(asked, words, Form::PxAt, "pexpireat")
}

/// `PERSIST key`: 1 when the key no longer expires, 0 when there is none or it did not.
pub fn persist(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(Target::named(asked, &words[1]).map(persist_at))
}

/// Redis rounds to the nearest second.
fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}

fn show(asked: &mut Asked, words: &[Bytes], number: fn(u64, u64) -> u64) -> Step {
    settle(Target::named(asked, &words[1]).map(|target| show_at(target, number)))
}

fn show_at(target: Target, number: fn(u64, u64) -> u64) -> Step {
    target.get(move |object, now_ms| {
        let shown = object.shown(now_ms).map(|sibling| sibling.expiry.1);
        Ok(Step::Reply(Reply::Integer(match shown {
            None => -2,
            Some(None) => -1,
            Some(Some(at)) => i64::try_from(number(at, now_ms)).unwrap_or(i64::MAX),
        })))
    })
}

fn change(asked: &mut Asked, words: &[Bytes], form: Form, command: &'static str) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).and_then(|target| change_at(target, words, form, command, now_ms)))
}

fn change_at(target: Target, words: &[Bytes], form: Form, command: &'static str, now_ms: u64) -> Result<Step, Reply> {
    let conditions = Conditions::read(&words[3..])?;
    let at = form.absolute_ms(integer(&words[2])?, now_ms).ok_or_else(|| invalid_expire_time(command))?;
    let writer = target.clone();
    Ok(target.get(move |object, now_ms| {
        let Some(shown) = object.shown(now_ms) else { return Ok(Step::Reply(Reply::Integer(0))) };
        if !conditions.hold(at, shown.expiry.1) {
            return Ok(Step::Reply(Reply::Integer(0)));
        }
        let future = u64::try_from(at).ok().filter(|at| *at > now_ms);
        let act = match future {
            Some(at) => Act::Expire { at: Some(at), seen: Box::new(object) },
            None => put(None, None, Basis::seen(object)),
        };
        Ok(writer.change(act, Reply::Integer(1)))
    }))
}

fn persist_at(target: Target) -> Step {
    let writer = target.clone();
    target.get(move |object, now_ms| {
        if !expires(&object, now_ms) {
            return Ok(Step::Reply(Reply::Integer(0)));
        }
        Ok(writer.change(Act::Expire { at: None, seen: Box::new(object) }, Reply::Integer(1)))
    })
}

/// Whether any live sibling expires.
fn expires(object: &Object, now_ms: u64) -> bool {
    object.live(now_ms).any(|sibling| sibling.expiry.1.is_some())
}

/// When a new expiry is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Conditions {
    /// NX: only where there is none.
    absent: bool,
    /// XX: only where there is one.
    present: bool,
    /// GT: only to a later one; none at all is the latest.
    later: bool,
    /// LT: only to an earlier one.
    earlier: bool,
}

impl Conditions {
    fn read(words: &[Bytes]) -> Result<Conditions, Reply> {
        let mut read = Conditions::default();
        for word in words {
            match word {
                word if is(word, "NX") => read.absent = true,
                word if is(word, "XX") => read.present = true,
                word if is(word, "GT") => read.later = true,
                word if is(word, "LT") => read.earlier = true,
                word => {
                    let shown = String::from_utf8_lossy(word).replace(char::is_control, " ");
                    return Err(Reply::error(format!("ERR Unsupported option {shown}")));
                }
            }
        }
        if read.absent && (read.present || read.later || read.earlier) {
            return Err(Reply::error("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if read.later && read.earlier {
            return Err(Reply::error("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(read)
    }

    fn hold(self, at: i64, current: Option<u64>) -> bool {
        let current = current.map(|current| i64::try_from(current).unwrap_or(i64::MAX));
        !(self.absent && current.is_some()
            || self.present && current.is_none()
            || self.later && current.is_none_or(|current| at <= current)
            || self.earlier && current.is_some_and(|current| at >= current))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Context;
    use crate::command::arguments::target::trial::{
        NOW_MS, after_get, asks, object, one, replies, target, words, writes,
    };
    use crate::message::operation::Outcome;
    use smallvec::smallvec;

    fn expiring(left_ms: u64) -> Object {
        object(&[(1, Some("v"), Some(NOW_MS + left_ms))])
    }

    fn expire_step(text: &str) -> Step {
        settle(change_at(target(), &words(text), Form::Ex, "expire", NOW_MS))
    }

    fn sets(step: Step) -> Option<u64> {
        let (operation, then) = asks(step);
        assert_eq!(replies(then.run(smallvec![Outcome::Written(Context::new())], NOW_MS)), Reply::Integer(1));
        match operation.act {
            Act::Expire { at, .. } => at,
            act => panic!("{act:?}"),
        }
    }

    #[test]
    fn what_is_left_is_rounded_to_seconds() {
        let left = |object| replies(after_get(show_at(target(), |at, now_ms| seconds(at - now_ms)), object));
        assert_eq!(left(Object::default()), Reply::Integer(-2));
        assert_eq!(left(object(&[(1, Some("v"), Some(NOW_MS))])), Reply::Integer(-2));
        assert_eq!(left(one("v")), Reply::Integer(-1));
        assert_eq!(left(expiring(1_499)), Reply::Integer(1));
        assert_eq!(left(expiring(1_500)), Reply::Integer(2));
        let forever = object(&[(1, Some("v"), Some(u64::MAX))]);
        assert_eq!(replies(after_get(show_at(target(), |at, _| at), forever)), Reply::Integer(i64::MAX));
    }

    #[test]
    fn the_sibling_that_get_shows_tells_the_time() {
        let siblings = object(&[(1, Some("v"), Some(NOW_MS + 9_000)), (2, Some("w"), None)]);
        assert_eq!(replies(after_get(show_at(target(), |at, _| at), siblings)), Reply::Integer(-1));
    }

    #[test]
    fn expire_sets_on_live_keys_only() {
        assert_eq!(sets(after_get(expire_step("expire k 10"), one("v"))), Some(NOW_MS + 10_000));
        assert_eq!(replies(after_get(expire_step("expire k 10"), Object::default())), Reply::Integer(0));
    }

    #[test]
    fn a_moment_that_has_passed_deletes() {
        for text in ["expire k 0", "expire k -1", "expire k -9223372036854775 lt"] {
            let (put, reply) = writes(after_get(expire_step(text), one("v")));
            assert_eq!((reply, put.value), (Reply::Integer(1), None), "{text}");
            assert!(matches!(put.basis, Basis::Seen(_)), "{text}");
        }
    }

    #[test]
    fn conditions_on_a_key_that_expires_in_ten_seconds_and_on_one_that_does_not() {
        for (text, expiring_set, lasting_set) in [
            ("20 nx", false, true),
            ("20 xx", true, false),
            ("20 gt", true, false),
            ("10 gt", false, false),
            ("5 GT", false, false),
            ("5 lt", true, true),
            ("10 lt", false, true),
            ("20 lt", false, true),
            ("5 xx lt", true, false),
            ("20 xx gt", true, false),
            ("20 nx nx", false, true),
        ] {
            for (object, set) in [(expiring(10_000), expiring_set), (one("v"), lasting_set)] {
                let step = after_get(expire_step(&format!("expire k {text}")), object);
                if set {
                    assert!(sets(step).is_some(), "{text}");
                } else {
                    assert_eq!(replies(step), Reply::Integer(0), "{text}");
                }
            }
        }
    }

    #[test]
    fn wrong_forms_ask_nothing() {
        let not_with_nx = "ERR NX and XX, GT or LT options at the same time are not compatible";
        for (text, error) in [
            ("10 nx xx", not_with_nx),
            ("10 gt nx", not_with_nx),
            ("10 nx gt lt", not_with_nx),
            ("10 gt lt", "ERR GT and LT options at the same time are not compatible"),
            ("abc foo", "ERR Unsupported option foo"),
            ("abc", "ERR value is not an integer or out of range"),
            ("9223372036854775807", "ERR invalid expire time in 'expire' command"),
            ("-9223372036854775807", "ERR invalid expire time in 'expire' command"),
            ("9223372036854775", "ERR invalid expire time in 'expire' command"),
        ] {
            assert_eq!(replies(expire_step(&format!("expire k {text}"))), Reply::error(error), "{text}");
        }
        let farthest = change_at(target(), &words("pexpireat k 9223372036854775807"), Form::PxAt, "pexpireat", NOW_MS);
        assert_eq!(sets(after_get(settle(farthest), one("v"))), Some(i64::MAX as u64));
    }

    #[test]
    fn persist_counts_only_what_expired() {
        assert_eq!(sets(after_get(persist_at(target()), expiring(5))), None);
        assert_eq!(replies(after_get(persist_at(target()), one("v"))), Reply::Integer(0));
        assert_eq!(replies(after_get(persist_at(target()), Object::default())), Reply::Integer(0));
    }
}
