use super::*;
use crate::command::arguments::target::trial::{
    NOW_MS, after_get, feed, object, one, replies, target, target_named, words, writes,
};
use crate::message::operation::Outcome;

const LIMIT: u64 = 512 << 20;

fn setbit_of(text: &str) -> Step {
    settle(setbit_at(target(), &words(text), LIMIT))
}

fn count(text: &str, old: Object) -> Reply {
    replies(after_get(bitcount_at(target(), words(text)[2..].to_vec()), old))
}

fn position(text: &str, old: Object) -> Reply {
    replies(after_get(settle(bitpos_at(target(), &words(text))), old))
}

#[test]
fn setbit_tells_what_was_keeps_the_expiry_and_writes_what_it_saw() {
    let before = object(&[(1, Some("a"), Some(NOW_MS + 5))]);
    let (put, reply) = writes(after_get(setbit_of("setbit k 1 0"), before.clone()));
    assert_eq!((put.value.unwrap(), put.expiry, reply), ("!".into(), Some(NOW_MS + 5), Reply::Integer(1)));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == before));
    let (put, reply) = writes(after_get(setbit_of("setbit k 15 1"), Object::default()));
    assert_eq!((put.value.unwrap(), reply), (Bytes::from_static(b"\0\x01"), Reply::Integer(0)));
}

#[test]
fn a_bit_that_already_is_so_is_written_all_the_same() {
    assert_eq!(writes(after_get(setbit_of("setbit k 1 1"), one("a"))).0.value.unwrap(), "a");
}

#[test]
fn wrong_offsets_and_bits_ask_nothing() {
    let wrong_offset = Reply::error("ERR bit offset is not an integer or out of range");
    for text in ["setbit k -1 1", "setbit k x 9", "setbit k #1 1", "setbit k 4294967296 1"] {
        assert_eq!(replies(setbit_of(text)), wrong_offset, "{text}");
    }
    assert_eq!(replies(setbit_of("setbit k 0 2")), Reply::error("ERR bit is not an integer or out of range"));
    assert_eq!(replies(settle(getbit_at(target(), &words("getbit k x"), LIMIT))), wrong_offset);
    let step = settle(getbit_at(target(), &words("getbit k 4294967295"), LIMIT));
    assert_eq!(replies(after_get(step, one("a"))), Reply::Integer(0));
}

#[test]
fn bits_are_counted_in_bytes_or_in_bits() {
    for (text, bits) in [
        ("bitcount k", 26),
        ("bitcount k 0 0", 4),
        ("bitcount k 1 1 byte", 6),
        ("bitcount k 5 30 BIT", 17),
        ("bitcount k -2 -3 nonsense", 0),
    ] {
        assert_eq!(count(text, one("foobar")), Reply::Integer(bits), "{text}");
    }
    assert_eq!(count("bitcount k x y", Object::default()), Reply::Integer(0));
    assert_eq!(count("bitcount k 0", one("a")), syntax_error());
    assert_eq!(count("bitcount k 0 1 word", one("a")), syntax_error());
}

#[test]
fn a_clear_bit_is_found_beyond_the_end_only_without_an_end() {
    let full = || object(&[(1, Some("\u{7f}"), None)]);
    assert_eq!(position("bitpos k 0", full()), Reply::Integer(0));
    assert_eq!(position("bitpos k 0 0 -1 BIT", full()), Reply::Integer(0));
    assert_eq!(position("bitpos k 0 1 7 BIT", full()), Reply::Integer(-1));
    assert_eq!(position("bitpos k 1 0 0 BIT", full()), Reply::Integer(-1));
    assert_eq!(position("bitpos k 0 5", full()), Reply::Integer(-1));
    assert_eq!(position("bitpos k 0", Object::default()), Reply::Integer(0));
    assert_eq!(position("bitpos k 1 x", Object::default()), Reply::Integer(-1));
    let refused = replies(settle(bitpos_at(target(), &words("bitpos k 2"))));
    assert_eq!(refused, Reply::error("ERR The bit argument must be 1 or 0."));
    assert_eq!(position("bitpos k 0", one("")), Reply::Integer(-1));
}

#[test]
fn a_joined_row_replaces_what_was_at_its_place_and_has_no_expiry() {
    let there = object(&[(1, Some("old"), Some(NOW_MS + 5))]);
    let step = |objects: Vec<Object>| {
        let targets = ["dest", "a", "b"].map(target_named).to_vec();
        feed(bitop_at(Join::Or, targets), objects.into_iter().map(Outcome::Got))
    };
    let (put, reply) = writes(step(vec![there.clone(), one("a"), one("bc")]));
    assert_eq!((put.value.unwrap(), put.expiry, reply), ("cc".into(), None, Reply::Integer(2)));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == there));
    let nothing = Object::default;
    let (put, reply) = writes(step(vec![there, nothing(), nothing()]));
    assert_eq!((put.value, reply), (None, Reply::Integer(0)));
    assert_eq!(replies(step(vec![nothing(), nothing(), nothing()])), Reply::Integer(0));
}

#[test]
fn not_takes_one_source() {
    assert_eq!(Join::named(&words("bitop NAND d a")), Err(syntax_error()));
    let refused = Reply::error("ERR BITOP NOT must be called with a single source key.");
    assert_eq!(Join::named(&words("bitop not d a b")), Err(refused));
    assert_eq!(Join::named(&words("bitop not d a")), Ok(Join::Not));
}
