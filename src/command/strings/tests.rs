//! The option matrices of the string commands: feed outcomes, expect the next step, and reject the others.

use super::*;
use crate::causality::Context;
use crate::command::arguments::target::trial::{
    NOW_MS, after_get, asks, asks_many, feed, object, one, replies, target, target_named, words, writes,
};
use crate::command::failure;
use crate::message::operation::{Failure, Outcome, Put};

const UNSURE: Failure = Failure::WriteUnsure { acknowledged: 1, needed: 2 };

fn bulk(text: &str) -> Reply {
    Reply::Bulk(Bytes::copy_from_slice(text.as_bytes()))
}

fn set_step(text: &str) -> Step {
    settle(set_at(target(), &words(text), NOW_MS))
}

fn getex_step(text: &str) -> Step {
    settle(getex_at(target(), &words(text), NOW_MS))
}

fn seen(put: &Put) -> bool {
    matches!(put.basis, Basis::Seen(_))
}

#[test]
fn plain_set_is_one_round_without_memory() {
    for (text, expiry) in [
        ("set k v", None),
        ("set k v ex 10", Some(NOW_MS + 10_000)),
        ("set k v PX 7 px 8", Some(NOW_MS + 8)),
        ("set k v exat 1900000000", Some(1_900_000_000_000)),
        ("set k v pxat 1", Some(1)),
    ] {
        let (operation, then) = asks(set_step(text));
        let Act::Put(put) = operation.act else { panic!("{text}") };
        assert_eq!((put.value, put.expiry, put.id), (Some(Bytes::from("v")), expiry, None), "{text}");
        assert!(matches!(put.basis, Basis::Local), "{text}");
        assert!(matches!(then, Then::Plain(_)), "{text}");
        assert_eq!(replies(then.run(smallvec![Outcome::Written(Context::new())], NOW_MS)), Reply::Ok);
    }
}

#[test]
fn set_refuses_wrong_forms_before_it_asks_anything() {
    for text in [
        "nx xx",
        "xx nx",
        "ex",
        "ex 1 px 1",
        "keepttl ex 1",
        "px 1 keepttl",
        "persist",
        "foo",
        "ex 10 foo",
        "get px",
        "exat 1 ex 1",
        "nx get xx",
    ] {
        assert_eq!(replies(set_step(&format!("set k v {text}"))), syntax_error(), "{text}");
    }
    for text in ["ex abc", "px 1.5", "ex +1", "px get"] {
        let refused = Reply::error("ERR value is not an integer or out of range");
        assert_eq!(replies(set_step(&format!("set k v {text}"))), refused, "{text}");
    }
    for text in ["ex 0", "px -1", "ex 9223372036854775807 nx", "get exat -1"] {
        let refused = Reply::error("ERR invalid expire time in 'set' command");
        assert_eq!(replies(set_step(&format!("set k v {text}"))), refused, "{text}");
    }
}

#[test]
fn set_with_conditions_on_an_absent_key() {
    for (text, written) in [
        ("nx", Some(Reply::Ok)),
        ("xx", None),
        ("get", Some(Reply::Null)),
        ("nx get", Some(Reply::Null)),
        ("GET NX nx", Some(Reply::Null)),
        ("get xx", None),
        ("keepttl", Some(Reply::Ok)),
        ("xx keepttl", None),
    ] {
        for absent in [Object::default(), object(&[(1, None, None)]), object(&[(1, Some("old"), Some(NOW_MS))])] {
            let step = after_get(set_step(&format!("set k v {text}")), absent);
            match &written {
                Some(reply) => {
                    let (put, replied) = writes(step);
                    assert_eq!((&replied, put.expiry, seen(&put)), (reply, None, true), "{text}");
                }
                None => assert_eq!(replies(step), Reply::Null, "{text}"),
            }
        }
    }
}

#[test]
fn set_with_conditions_on_a_present_key() {
    for (text, written, reply) in [
        ("nx", false, Reply::Null),
        ("xx", true, Reply::Ok),
        ("get", true, bulk("old")),
        ("nx get", false, bulk("old")),
        ("xx get", true, bulk("old")),
        ("keepttl", true, Reply::Ok),
    ] {
        let step = after_get(set_step(&format!("set k v {text}")), one("old"));
        if written {
            let (put, replied) = writes(step);
            assert_eq!((replied, put.value), (reply, Some(Bytes::from("v"))), "{text}");
            assert!(matches!(&put.basis, Basis::Seen(object) if **object == one("old")), "{text}");
        } else {
            assert_eq!(replies(step), reply, "{text}");
        }
    }
}

#[test]
fn keepttl_keeps_and_every_other_set_forgets() {
    let expiring = object(&[(1, Some("old"), Some(NOW_MS + 5))]);
    for (text, expiry) in [
        ("keepttl", Some(NOW_MS + 5)),
        ("xx keepttl get", Some(NOW_MS + 5)),
        ("xx", None),
        ("get", None),
        ("xx px 9", Some(NOW_MS + 9)),
    ] {
        let (put, _) = writes(after_get(set_step(&format!("set k v {text}")), expiring.clone()));
        assert_eq!(put.expiry, expiry, "{text}");
    }
}

#[test]
fn failures_end_the_command() {
    let too_few = Failure::NoReplicas { reachable: 1, needed: 2 };
    let read_failed = feed(set_step("set k v nx"), [Outcome::Failed(too_few.clone())]);
    assert_eq!(replies(read_failed), failure::reply_to_read(too_few.clone()));
    let write_failed = feed(after_get(set_step("set k v nx get"), Object::default()), [Outcome::Failed(UNSURE)]);
    assert_eq!(replies(write_failed), failure::reply(UNSURE));
    assert_eq!(replies(feed(set_step("set k v"), [Outcome::Failed(too_few.clone())])), failure::reply(too_few));
    assert_eq!(replies(feed(set_step("set k v"), [Outcome::Raced])), failure::out_of_step());
    assert_eq!(replies(feed(set_step("set k v"), [])), failure::out_of_step());
}

#[test]
fn setnx_getset_and_getdel() {
    let value = || Bytes::from("v");
    let (put, reply) = writes(after_get(setnx_at(target(), value()), Object::default()));
    assert_eq!((reply, seen(&put)), (Reply::Integer(1), true));
    assert_eq!(replies(after_get(setnx_at(target(), value()), one("old"))), Reply::Integer(0));

    let expiring = object(&[(1, Some("old"), Some(NOW_MS + 5))]);
    let (put, reply) = writes(after_get(getset_at(target(), value()), expiring));
    assert_eq!((reply, put.value.clone(), put.expiry, seen(&put)), (bulk("old"), Some(value()), None, true));
    assert_eq!(writes(after_get(getset_at(target(), value()), Object::default())).1, Reply::Null);

    let (put, reply) = writes(after_get(getdel_at(target()), one("old")));
    assert_eq!((reply, put.value.clone(), seen(&put)), (bulk("old"), None, true));
    assert_eq!(replies(after_get(getdel_at(target()), object(&[(1, None, None)]))), Reply::Null);
}

#[test]
fn setex_and_psetex_write_without_looking() {
    let step = |text: &str, form| settle(set_until(target(), &words(text), form, "setex", NOW_MS));
    for (form, expiry) in [(Form::Ex, NOW_MS + 7_000), (Form::Px, NOW_MS + 7)] {
        let (put, reply) = writes(step("setex k 7 v", form));
        assert_eq!((reply, put.value, put.expiry), (Reply::Ok, Some(Bytes::from("v")), Some(expiry)));
        assert!(matches!(put.basis, Basis::Local));
    }
    assert_eq!(replies(step("setex k 0 v", Form::Ex)), Reply::error("ERR invalid expire time in 'setex' command"));
    assert_eq!(replies(step("setex k v v", Form::Ex)), Reply::error("ERR value is not an integer or out of range"));
}

#[test]
fn getex_without_a_key_is_nil_before_its_amount_is_read() {
    for text in ["getex k", "getex k ex 0", "getex k ex abc", "getex k persist"] {
        assert_eq!(replies(after_get(getex_step(text), Object::default())), Reply::Null, "{text}");
    }
    for text in ["keepttl", "nx", "persist ex 1", "ex 1 persist", "px", "px 1 px", "ex 1 px 1"] {
        assert_eq!(replies(getex_step(&format!("getex k {text}"))), syntax_error(), "{text}");
    }
    let refused = Reply::error("ERR invalid expire time in 'getex' command");
    assert_eq!(replies(after_get(getex_step("getex k ex 0"), one("old"))), refused);
}

#[test]
fn getex_sets_keeps_removes_or_passes_an_expiry() {
    let expiring = object(&[(1, Some("old"), Some(NOW_MS + 5))]);
    for (text, at) in [
        ("ex 10", Some(NOW_MS + 10_000)),
        ("px 10", Some(NOW_MS + 10)),
        ("exat 1900000000", Some(1_900_000_000_000)),
        ("persist", None),
    ] {
        let step = after_get(getex_step(&format!("getex k {text}")), expiring.clone());
        let (operation, then) = asks(step);
        assert!(matches!(operation.act, Act::Expire { at: set, .. } if set == at), "{text}");
        assert_eq!(replies(then.run(smallvec![Outcome::Written(Context::new())], NOW_MS)), bulk("old"));
    }
    assert_eq!(replies(after_get(getex_step("getex k"), expiring.clone())), bulk("old"));
    assert_eq!(replies(after_get(getex_step("getex k persist"), one("old"))), bulk("old"));
    let (put, reply) = writes(after_get(getex_step("getex k pxat 1"), expiring));
    assert_eq!((reply, put.value), (bulk("old"), None));
}

#[test]
fn mget_answers_all_or_fails() {
    let outcomes = || vec![Outcome::Got(one("a")), Outcome::Got(Object::default()), Outcome::Got(one("a"))];
    let answer = mget_answer(outcomes().into(), NOW_MS);
    assert_eq!(replies(answer), Reply::Array(vec![bulk("a"), Reply::Null, bulk("a")]));
    let short = Failure::ReadShort { answered: 1, needed: 2 };
    let mut failing = outcomes();
    failing[1] = Outcome::Failed(short.clone());
    assert_eq!(replies(mget_answer(failing.into(), NOW_MS)), failure::reply_to_read(short));
}

#[test]
fn mset_is_ok_only_when_every_key_is() {
    let written = || Outcome::Written(Context::new());
    assert_eq!(replies(mset_answer(smallvec![written(), written()], NOW_MS)), Reply::Ok);
    let Reply::Error(line) = replies(mset_answer(smallvec![written(), Outcome::Failed(UNSURE)], NOW_MS)) else {
        panic!("no error")
    };
    assert!(line.starts_with("NOQUORUM ") && line.contains("1 of 2 keys of this command were acknowledged"), "{line}");
}

#[test]
fn mset_writes_a_key_named_twice_once_with_its_last_value() {
    let words = words("a 1 b 2 a 3");
    let pairs = last_values(&words);
    assert_eq!(pairs, [(&words[0], &words[5]), (&words[2], &words[3])]);
}

fn msetnx_of(pairs: &[(&str, &str)], got: impl IntoIterator<Item = Object>) -> Step {
    let pairs = pairs.iter().map(|(key, value)| (target_named(key), Bytes::copy_from_slice(value.as_bytes())));
    feed(msetnx_at(pairs.collect()), got.into_iter().map(Outcome::Got))
}

#[test]
fn msetnx_writes_nothing_when_one_key_has_a_value() {
    let step = msetnx_of(&[("a", "1"), ("b", "2")], [Object::default(), one("v")]);
    assert_eq!(replies(step), Reply::Integer(0));
}

#[test]
fn msetnx_writes_the_first_key_as_it_was_seen_and_then_the_others() {
    let deleted = object(&[(1, None, None)]);
    let step =
        msetnx_of(&[("a", "1"), ("b", "2"), ("c", "3")], [Object::default(), deleted.clone(), Object::default()]);
    let (first, then) = asks(step);
    assert_eq!(first.key.user_key(), b"a");
    assert!(matches!(&first.act, Act::Put(put) if seen(put)), "{first:?}");
    let (others, then) = asks_many(then.run(smallvec![Outcome::Written(Context::new())], NOW_MS));
    assert_eq!(others.iter().map(|other| other.key.user_key()).collect::<Vec<_>>(), [b"b", b"c"]);
    assert!(matches!(&others[0].act, Act::Put(put) if matches!(&put.basis, Basis::Given(c) if **c == deleted.context)));
    let written = || Outcome::Written(Context::new());
    assert_eq!(replies(then.run(smallvec![written(), written()], NOW_MS)), Reply::Integer(1));
}

#[test]
fn msetnx_of_one_key_is_done_with_it_and_tells_of_a_failure() {
    assert_eq!(writes(msetnx_of(&[("a", "1")], [Object::default()])).1, Reply::Integer(1));
    let refused = Failure::NoReplicas { reachable: 1, needed: 2 };
    let step = msetnx_of(&[("a", "1"), ("b", "2")], [Object::default(), Object::default()]);
    assert_eq!(replies(feed(step, [Outcome::Failed(refused.clone())])), failure::reply(refused.clone()));
    let step = msetnx_of(&[("a", "1"), ("b", "2")], [Object::default(), Object::default()]);
    let step = feed(step, [Outcome::Written(Context::new())]);
    let Reply::Error(line) = replies(feed(step, [Outcome::Failed(refused)])) else { panic!("no error") };
    assert!(line.starts_with("NOQUORUM ") && line.contains("1 of 2 keys of this command were acknowledged"), "{line}");
}
