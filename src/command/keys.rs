//! Keys: deleting them, counting them, asking what they are.
//!
//! A librarian who is told to throw books away first looks which of them are on the shelf, throws those away, and
//! reports how many. Books that are not there cost nothing, and naming one twice does not make it two.
//!
//! # Contract
//! - DEL and UNLINK read at R first and write a tombstone only for keys that hold a live value; each key counts once.
//! - EXISTS and TOUCH count every mention of a key that holds a live value.
//! - One key that cannot be read fails the command, and then nothing was deleted.

use crate::command::Asked;
use crate::command::arguments::target::{Target, acknowledged, as_read, got, got_one, put, settle};
use crate::command::step::{Operations, Outcomes, Step, Then};
use crate::message::operation::{Act, Basis};
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;
use smallvec::smallvec;
use std::collections::HashSet;

/// `DEL key [key …]`: how many keys were deleted.
pub fn del(asked: &mut Asked, words: &[Bytes]) -> Step {
    let targets: Result<Vec<Target>, Reply> = distinct(&words[1..]).map(|key| Target::named(asked, key)).collect();
    settle(targets.map(del_at))
}

/// The keys, each at its first mention.
fn distinct(keys: &[Bytes]) -> impl Iterator<Item = &Bytes> {
    let mut named = HashSet::with_capacity(keys.len());
    keys.iter().filter(move |key| named.insert(*key))
}

/// `UNLINK key [key …]`: as [`del`]; the bytes always go in the background.
pub fn unlink(asked: &mut Asked, words: &[Bytes]) -> Step {
    del(asked, words)
}

/// `EXISTS key [key …]`: how many of the named keys hold a value; a key named twice counts twice.
pub fn exists(asked: &mut Asked, words: &[Bytes]) -> Step {
    let operations: Result<Operations, Reply> = words[1..].iter().map(|key| asked.operation(key, Act::Get)).collect();
    match operations {
        Ok(operations) => Step::Ask(operations, Then::Plain(count_live)),
        Err(reply) => Step::Reply(reply),
    }
}

/// `TOUCH key [key …]`: as [`exists`]; nothing is evicted by age here, so there is no age to renew.
pub fn touch(asked: &mut Asked, words: &[Bytes]) -> Step {
    exists(asked, words)
}

/// `TYPE key`: `string`, or `none`.
pub fn type_of(asked: &mut Asked, words: &[Bytes]) -> Step {
    match asked.operation(&words[1], Act::Get) {
        Ok(operation) => Step::Ask(smallvec![operation], Then::Plain(name_type)),
        Err(reply) => Step::Reply(reply),
    }
}

fn name_type(outcomes: Outcomes, now_ms: u64) -> Step {
    settle(
        got_one(outcomes)
            .map(|object| Step::Reply(Reply::Simple(if object.shown(now_ms).is_some() { "string" } else { "none" }))),
    )
}

fn count_live(outcomes: Outcomes, now_ms: u64) -> Step {
    let objects: Result<Vec<Object>, Reply> = outcomes.into_iter().map(got).collect();
    settle(objects.map(|objects| {
        let live = objects.iter().filter(|object| object.shown(now_ms).is_some()).count();
        Step::Reply(Reply::Integer(live as i64))
    }))
}

/// Reads every key, then deletes those that are live.
fn del_at(targets: Vec<Target>) -> Step {
    let gets = targets.iter().map(|target| target.clone().operation(Act::Get)).collect();
    let then = move |outcomes: Outcomes, now_ms| {
        let objects: Result<Vec<Object>, Reply> = outcomes.into_iter().map(got).collect();
        settle(objects.map(|objects| del_live(targets, objects, now_ms)))
    };
    Step::Ask(gets, Then::With(Box::new(then)))
}

fn del_live(targets: Vec<Target>, objects: Vec<Object>, now_ms: u64) -> Step {
    let alone = targets.len() == 1;
    let live = targets.into_iter().zip(objects).filter(|(_, object)| object.shown(now_ms).is_some());
    let puts: Operations = live
        .map(|(target, object)| {
            target.operation(put(None, None, if alone { Basis::seen(object) } else { as_read(object) }))
        })
        .collect();
    if puts.is_empty() {
        return Step::Reply(Reply::Integer(0));
    }
    Step::Ask(puts, Then::Plain(count_deleted))
}

fn count_deleted(outcomes: Outcomes, _now_ms: u64) -> Step {
    Step::Reply(acknowledged(outcomes).map_or_else(|error| error, |deleted| Reply::Integer(deleted as i64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Context;
    use crate::command::arguments::target::trial::{
        NOW_MS, after_get, asks_many, feed, object, one, replies, target_named, words, writes,
    };
    use crate::command::failure;
    use crate::message::operation::{Failure, Outcome};

    fn del_of(keys: &[&str]) -> Step {
        del_at(keys.iter().map(|key| target_named(key)).collect())
    }

    #[test]
    fn one_key_is_deleted_only_as_it_was_seen() {
        let (put, reply) = writes(after_get(del_of(&["a"]), one("v")));
        assert_eq!((reply, put.value), (Reply::Integer(1), None));
        assert!(matches!(put.basis, Basis::Seen(object) if *object == one("v")));
    }

    #[test]
    fn keys_that_hold_nothing_are_not_written() {
        for absent in [Object::default(), object(&[(1, None, None)]), object(&[(1, Some("v"), Some(NOW_MS))])] {
            assert_eq!(replies(after_get(del_of(&["a"]), absent)), Reply::Integer(0));
        }
    }

    #[test]
    fn a_key_named_twice_is_one_key() {
        let words = words("b a b a");
        assert!(distinct(&words).eq([&words[0], &words[1]]));
    }

    #[test]
    fn several_keys_are_deleted_as_they_were_read_and_only_live_ones_count() {
        let got = [Outcome::Got(one("v")), Outcome::Got(Object::default()), Outcome::Got(one("w"))];
        let (puts, then) = asks_many(feed(del_of(&["a", "b", "c"]), got));
        let keys: Vec<&[u8]> = puts.iter().map(|put| put.key.user_key()).collect();
        assert_eq!(keys, [b"a", b"c"]);
        for operation in &puts {
            let Act::Put(put) = &operation.act else { panic!("{operation:?}") };
            assert!(
                put.value.is_none() && matches!(&put.basis, Basis::Given(context) if **context == one("v").context)
            );
        }
        let written = || Outcome::Written(Context::new());
        assert_eq!(replies(then.run(smallvec![written(), written()], NOW_MS)), Reply::Integer(2));
    }

    #[test]
    fn a_key_that_cannot_be_read_stops_the_whole_command() {
        let short = Failure::ReadShort { answered: 1, needed: 2 };
        let step = feed(del_of(&["a", "b"]), [Outcome::Got(one("v")), Outcome::Failed(short.clone())]);
        assert_eq!(replies(step), failure::reply_to_read(short));
    }

    #[test]
    fn a_delete_in_doubt_is_no_count() {
        let unsure = Failure::WriteUnsure { acknowledged: 1, needed: 2 };
        let step = feed(del_of(&["a", "b"]), [Outcome::Got(one("v")), Outcome::Got(one("v"))]);
        let answer = replies(feed(step, [Outcome::Written(Context::new()), Outcome::Failed(unsure)]));
        assert!(matches!(answer, Reply::Error(line) if line.starts_with("NOQUORUM ") && line.contains("1 of 2 keys")));
    }

    #[test]
    fn every_mention_of_a_live_key_counts_for_exists() {
        let outcomes: Outcomes =
            smallvec![Outcome::Got(one("v")), Outcome::Got(Object::default()), Outcome::Got(one("v"))];
        assert_eq!(replies(count_live(outcomes, NOW_MS)), Reply::Integer(2));
    }

    #[test]
    fn types_are_string_or_none() {
        assert_eq!(replies(name_type(smallvec![Outcome::Got(one("v"))], NOW_MS)), Reply::Simple("string"));
        assert_eq!(replies(name_type(smallvec![Outcome::Got(Object::default())], NOW_MS)), Reply::Simple("none"));
    }
}
