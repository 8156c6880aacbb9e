use super::*;
use crate::command::arguments::target::trial::{NOW_MS, after_get, object, one, replies, target, writes};
use crate::message::operation::Act;
use crate::object::Object;

const LIMIT: u64 = 1000;

fn restore_of(words: &[&[u8]]) -> Step {
    let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
    settle(restore_at(target(), &words, NOW_MS, LIMIT))
}

fn parcel() -> Vec<u8> {
    payload::pack(b"v")
}

#[test]
fn without_replace_it_looks_first_and_what_is_there_speaks_before_the_parcel() {
    let busy = Reply::error("BUSYKEY Target key name already exists.");
    assert_eq!(replies(after_get(restore_of(&[b"restore", b"k", b"-1", b"nonsense"]), one("w"))), busy);
    let deleted = object(&[(1, None, None)]);
    let (put, reply) = writes(after_get(restore_of(&[b"restore", b"k", b"5", &parcel()]), deleted.clone()));
    assert_eq!((put.value, put.expiry, reply), (Some("v".into()), Some(NOW_MS + 5), Reply::Ok));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == deleted));
}

#[test]
fn with_replace_it_writes_without_looking() {
    let (put, _) = writes(restore_of(&[b"restore", b"k", b"0", &parcel(), b"replace"]));
    assert!(put.expiry.is_none() && matches!(put.basis, Basis::Local));
}

#[test]
fn a_lifetime_that_is_over_leaves_nothing() {
    let past = [b"restore", &b"k"[..], b"1", &parcel(), b"absttl"];
    assert_eq!(replies(after_get(restore_of(&past), Object::default())), Reply::Ok);
    let replacing: Vec<&[u8]> = past.into_iter().chain([&b"replace"[..]]).collect();
    let (put, reply) = writes(after_get(restore_of(&replacing), one("w")));
    assert_eq!((put.value, reply), (None, Reply::Ok));
    assert_eq!(replies(after_get(restore_of(&replacing), Object::default())), Reply::Ok);
}

#[test]
fn wrong_parcels_and_lifetimes_change_nothing() {
    let refused = |words: &[&[u8]]| match replies(after_get(restore_of(words), Object::default())) {
        Reply::Error(line) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&[b"restore", b"k", b"-1", b""]), "ERR Invalid TTL value, must be >= 0");
    let footer = "ERR DUMP payload version or checksum are wrong";
    assert_eq!(refused(&[b"restore", b"k", b"0", b"nonsense"]), footer);
    let long = payload::pack(&[b'x'; LIMIT as usize + 1]);
    assert_eq!(refused(&[b"restore", b"k", b"0", &long]), "ERR Bad data format");
}

#[test]
fn wrong_options_ask_nothing() {
    let refused = |words: &[&[u8]]| {
        let all: Vec<&[u8]> = [&b"restore"[..], b"k", b"0", b""].iter().chain(words).copied().collect();
        replies(restore_of(&all))
    };
    assert_eq!(refused(&[b"idletime"]), syntax_error());
    assert_eq!(refused(&[b"idletime", b"1", b"freq", b"1"]), syntax_error());
    assert_eq!(refused(&[b"freq", b"256"]), Reply::error("ERR Invalid FREQ value, must be >= 0 and <= 255"));
    assert_eq!(refused(&[b"idletime", b"-1"]), Reply::error("ERR Invalid IDLETIME value, must be >= 0"));
}

#[test]
fn a_dump_that_is_restored_is_written_as_it_was() {
    let step = restore_of(&[b"restore", b"k", b"0", &payload::pack(b"12345"), b"replace"]);
    let Step::Ask(operations, _) = step else { panic!("answered") };
    assert!(matches!(&operations[0].act, Act::Put(put) if put.value.as_deref() == Some(b"12345")));
}
