use super::*;
use crate::command::arguments::target::trial::{NOW_MS, after_get, object, one, replies, target, words, writes};
use proptest::prelude::*;

const LIMIT: u64 = 20;

fn too_long() -> Reply {
    Reply::error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
}

fn setrange_of(text: &str) -> Step {
    settle(setrange_at(target(), &words(text), LIMIT))
}

#[test]
fn append_adds_to_what_get_shows_and_keeps_its_expiry() {
    let two = object(&[(1, Some("old"), None), (2, Some("new"), Some(NOW_MS + 5))]);
    let (put, reply) = writes(after_get(append_at(target(), "!".into(), LIMIT), two.clone()));
    assert_eq!((put.value.unwrap(), put.expiry, reply), ("new!".into(), Some(NOW_MS + 5), Reply::Integer(4)));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == two));
}

#[test]
fn an_expired_value_is_nothing_to_append_to() {
    let gone = object(&[(1, Some("old"), Some(NOW_MS))]);
    let (put, reply) = writes(after_get(append_at(target(), "x".into(), LIMIT), gone));
    assert_eq!((put.value.unwrap(), put.expiry, reply), ("x".into(), None, Reply::Integer(1)));
}

#[test]
fn no_value_grows_beyond_the_limit() {
    let append = |old: Object| after_get(append_at(target(), "0123456789".into(), LIMIT), old);
    assert_eq!(writes(append(one("0123456789"))).1, Reply::Integer(20));
    assert_eq!(replies(append(one("0123456789a"))), too_long());
    assert_eq!(writes(after_get(setrange_of("setrange k 19 x"), one("a"))).1, Reply::Integer(20));
    assert_eq!(replies(after_get(setrange_of("setrange k 20 x"), one("a"))), too_long());
    let far = format!("setrange k {} x", i64::MAX);
    assert_eq!(replies(after_get(setrange_of(&far), Object::default())), too_long());
}

#[test]
fn setrange_writes_over_fills_gaps_and_keeps_the_expiry() {
    let before = object(&[(1, Some("hello"), Some(NOW_MS + 5))]);
    let (put, reply) = writes(after_get(setrange_of("setrange k 1 EY"), before));
    assert_eq!((put.value.unwrap(), put.expiry, reply), ("hEYlo".into(), Some(NOW_MS + 5), Reply::Integer(5)));
    let (put, reply) = writes(after_get(setrange_of("setrange k 3 x"), one("a")));
    assert_eq!((put.value.unwrap(), reply), (Bytes::from_static(b"a\0\0x"), Reply::Integer(4)));
}

#[test]
fn setting_nothing_writes_nothing() {
    let nothing = vec!["setrange".into(), "k".into(), "9".into(), Bytes::new()];
    let step = |old: Object| after_get(settle(setrange_at(target(), &nothing, LIMIT)), old);
    assert_eq!(replies(step(one("abc"))), Reply::Integer(3));
    assert_eq!(replies(step(Object::default())), Reply::Integer(0));
}

#[test]
fn a_wrong_offset_asks_nothing() {
    assert_eq!(replies(setrange_of("setrange k -1 x")), Reply::error("ERR offset is out of range"));
    let not_a_number = Reply::error("ERR value is not an integer or out of range");
    assert_eq!(replies(setrange_of("setrange k one x")), not_a_number);
    assert_eq!(replies(settle(getrange_at(target(), &words("getrange k 0 x")))), not_a_number);
}

#[test]
fn getrange_of_a_missing_key_is_empty() {
    let piece = |text, old| replies(after_get(settle(getrange_at(target(), &words(text))), old));
    assert_eq!(piece("getrange k 0 -1", Object::default()), Reply::Bulk(Bytes::new()));
    assert_eq!(piece("getrange k 1 -2", one("hello")), Reply::Bulk("ell".into()));
}

proptest! {
    #[test]
    fn a_range_is_the_indexes_between_both(start in -9i64..9, end in -9i64..9, length in 0i64..7) {
        let naive: Vec<i64> = (0..length)
            .filter(|at| {
                let from = if start < 0 { start + length } else { start };
                let to = if end < 0 { (end + length).max(0) } else { end };
                (from..=to).contains(at) && !(start < 0 && end < 0 && start > end)
            })
            .collect();
        let named = range(start, end, length as u64).map_or(vec![], |(from, to)| (from as i64..to as i64).collect());
        prop_assert_eq!(named, naive);
    }

    #[test]
    fn any_range_lies_inside(start: i64, end: i64, length: u64) {
        if let Some((from, to)) = range(start, end, length) {
            prop_assert!(from < to && to <= length);
        }
    }

    #[test]
    fn a_patch_is_where_it_was_put_and_the_rest_is_as_it_was(
        old in proptest::collection::vec(1u8.., 0..9), offset in 0usize..12, patch in proptest::collection::vec(any::<u8>(), 1..5)
    ) {
        let new = patched(&old, offset, &patch);
        prop_assert_eq!(new.len(), old.len().max(offset + patch.len()));
        for (at, byte) in new.iter().enumerate() {
            let expected = match at.checked_sub(offset).and_then(|at| patch.get(at)) {
                Some(byte) => *byte,
                None => old.get(at).copied().unwrap_or(0),
            };
            prop_assert_eq!(*byte, expected);
        }
    }
}
