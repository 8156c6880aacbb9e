use super::*;
use crate::command::arguments::target::trial::{
    NOW_MS, asks, asks_many, feed, object, one, replies, target_named, words, writes,
};
use crate::message::operation::{Failure, Put};

const REFUSED: Failure = Failure::NoReplicas { reachable: 1, needed: 2 };
const UNSURE: Failure = Failure::WriteUnsure { acknowledged: 1, needed: 2 };

fn transfer(moves: bool, replaces: bool) -> Transfer {
    Transfer { moves, replaces, answers: Answers { missing: Reply::Null, done: Reply::Ok } }
}

fn begun(transfer: Transfer, old: Object, new: Object) -> Step {
    feed(transfer.begin(target_named("old"), target_named("new")), [Outcome::Got(old), Outcome::Got(new)])
}

fn written(hlc: u64) -> Outcome {
    Outcome::Written(object(&[(hlc, None, None)]).context)
}

/// Expects a put, and goes on with this outcome.
fn after_put(step: Step, outcome: Outcome) -> (Vec<u8>, Put, Step) {
    let (operation, then) = asks(step);
    let key = operation.key.user_key().to_vec();
    let Act::Put(put) = operation.act else { panic!("{:?}", operation.act) };
    (key, put, then.run(smallvec![outcome], NOW_MS))
}

fn line(step: Step) -> String {
    match replies(step) {
        Reply::Error(line) => line,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_new_key_is_written_before_the_old_one_goes_each_as_it_was_seen() {
    let old = object(&[(1, Some("v"), Some(NOW_MS + 5))]);
    let (key, put, step) = after_put(begun(transfer(true, true), old.clone(), one("w")), written(7));
    assert_eq!((&key[..], put.value, put.expiry), (&b"new"[..], Some("v".into()), Some(NOW_MS + 5)));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == one("w")));
    let (key, put, step) = after_put(step, written(8));
    assert_eq!((&key[..], put.value), (&b"old"[..], None));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == old));
    assert_eq!(replies(step), Reply::Ok);
}

#[test]
fn all_siblings_are_carried_in_order_and_nothing_that_is_not_live() {
    let five = object(&[
        (1, Some("a"), None),
        (2, None, None),
        (3, Some("gone"), Some(NOW_MS)),
        (4, Some("b"), Some(NOW_MS + 9)),
        (5, Some("c"), None),
    ]);
    let (_, first, step) = after_put(begun(transfer(false, true), five, Object::default()), written(7));
    assert_eq!(first.value, Some("a".into()));
    let (others, then) = asks_many(step);
    let beside: Vec<_> = others
        .iter()
        .map(|operation| match &operation.act {
            Act::Put(Put { value, expiry, basis: Basis::Nothing, .. }) => (value.clone().unwrap(), *expiry),
            act => panic!("{act:?}"),
        })
        .collect();
    assert_eq!(beside, [("b".into(), Some(NOW_MS + 9)), ("c".into(), None)]);
    assert_eq!(replies(then.run(smallvec![written(8), written(9)], NOW_MS)), Reply::Ok);
}

#[test]
fn a_key_without_a_value_and_one_in_the_way_stop_it() {
    let deleted = object(&[(1, None, None)]);
    assert_eq!(replies(begun(transfer(true, true), deleted.clone(), one("w"))), Reply::Null);
    assert_eq!(replies(begun(transfer(true, false), one("v"), one("w"))), Reply::Integer(0));
    assert_eq!(writes(begun(transfer(false, false), one("v"), deleted)).1, Reply::Ok);
}

#[test]
fn a_key_given_its_own_name_is_only_looked_for() {
    let step = |replaces, old| feed(transfer(true, replaces).onto_itself(target_named("k")), [Outcome::Got(old)]);
    assert_eq!(replies(step(true, one("v"))), Reply::Ok);
    assert_eq!(replies(step(false, one("v"))), Reply::Integer(0));
    assert_eq!(replies(step(true, Object::default())), Reply::Null);
}

#[test]
fn what_changed_meanwhile_is_carried_over_in_place_of_what_was_carried_before() {
    let (_, _, step) = after_put(begun(transfer(true, true), one("v"), one("w")), written(7));
    let (_, _, step) = after_put(step, Outcome::Raced);
    let (operation, then) = asks(step);
    assert!(matches!(operation.act, Act::Get) && operation.key.user_key() == b"old");
    let (key, put, step) = after_put(then.run(smallvec![Outcome::Got(one("v2"))], NOW_MS), written(8));
    assert_eq!((&key[..], put.value), (&b"new"[..], Some("v2".into())));
    assert!(matches!(put.basis, Basis::Given(seen) if *seen == object(&[(7, None, None)]).context));
    let (_, put, step) = after_put(step, written(9));
    assert!(matches!(put.basis, Basis::Seen(seen) if *seen == one("v2")));
    assert_eq!(replies(step), Reply::Ok);
}

#[test]
fn a_key_that_somebody_else_deletes_meanwhile_is_moved_all_the_same() {
    let (_, _, step) = after_put(begun(transfer(true, false), one("v"), Object::default()), written(7));
    let (_, _, step) = after_put(step, Outcome::Raced);
    assert_eq!(replies(feed(step, [Outcome::Got(Object::default())])), Reply::Ok);
}

#[test]
fn a_key_that_never_rests_is_given_up_and_stays() {
    let mut step = begun(transfer(true, true), one("v"), Object::default());
    for _ in 1..PASSES_MAX {
        let (_, _, cleared) = after_put(step, written(7));
        let (_, _, raced) = after_put(cleared, Outcome::Raced);
        step = feed(raced, [Outcome::Got(one("v"))]);
    }
    let (_, _, step) = after_put(step, written(7));
    let (_, _, step) = after_put(step, Outcome::Raced);
    assert!(line(step).starts_with("NOQUORUM the new key was written, the old one is still there: "));
}

#[test]
fn a_failure_says_how_far_it_came() {
    let begin = |old| begun(transfer(true, true), old, Object::default());
    let (_, _, step) = after_put(begin(one("v")), Outcome::Failed(REFUSED));
    assert!(line(step).starts_with("NOREPLICAS "));
    let (_, _, step) = after_put(begin(one("v")), Outcome::Failed(UNSURE));
    assert!(line(step).starts_with("NOQUORUM the new key may have been written, the old one is as it was: "));

    let two = object(&[(1, Some("a"), None), (2, Some("b"), None)]);
    let (_, _, step) = after_put(begin(two), written(7));
    let stopped = line(feed(step, [Outcome::Failed(REFUSED)]));
    assert!(stopped.starts_with("NOQUORUM the new key has not all values of the old one, which is as it was: NOREPL"));

    for failure in [REFUSED, UNSURE] {
        let (_, _, step) = after_put(begin(one("v")), written(7));
        let (_, _, step) = after_put(step, Outcome::Failed(failure));
        assert!(line(step).starts_with("NOQUORUM the new key was written, the old one may still be there: "));
    }

    let (_, _, step) = after_put(begin(one("v")), written(7));
    let (_, _, step) = after_put(step, Outcome::Raced);
    let (_, _, step) = after_put(feed(step, [Outcome::Got(one("v2"))]), Outcome::Failed(REFUSED));
    assert!(line(step).starts_with("NOQUORUM the new key was written, the old one has changed since and stays: "));
}

#[test]
fn options_of_copy() {
    let read = |text: &str| CopyOptions::read(&words(text), 3).map(|options| (options.database, options.replaces));
    assert_eq!(read("replace DB 5 db 6"), Ok((6, true)));
    assert_eq!(CopyOptions::read(&[], 3).map(|options| (options.database, options.replaces)), Ok((3, false)));
    assert_eq!(read("DB"), Err(syntax_error()));
    assert_eq!(read("DB 16"), Err(Reply::error("ERR DB index is out of range")));
    assert_eq!(read("REPLACE now"), Err(syntax_error()));
}
