use super::*;
use crate::causality::Hlc;
use crate::command::arguments::target::trial::{NOW_MS, object, one, target_named};
use crate::message::operation::Failure;
use crate::session::clients::Clients;

fn session() -> Session {
    Session::new(Clients::new().enter(1, "a:1".into(), "b:2".into(), 3).unwrap(), true)
}

fn watched(key: &str, object: &Object) -> Watched {
    let key = target_named(key).key().clone();
    Watched { mark: Mark::of(&key, object, NOW_MS, Hlc(0)), key, index: 0, place: place(), r: None }
}

/// What index 0 means where nothing was ever swapped.
fn place() -> Place {
    Places::default().of(0)
}

fn error(reply: Reply) -> String {
    match reply {
        Reply::Error(line) => line,
        other => panic!("{other:?}"),
    }
}

fn refused(session: &Session) -> String {
    error(to_compare(session, |_| None).unwrap_err())
}

fn too_few() -> Outcome {
    Outcome::Failed(Failure::ReadShort { answered: 1, needed: 2 })
}

#[test]
fn exec_looks_at_what_is_watched_and_watches_it_no_longer() {
    let mut session = session();
    session.watches.add([watched("k", &one("v"))]);
    assert_eq!(refused(&session), "ERR EXEC without MULTI");
    assert_eq!(session.watches.len(), 1, "a transaction to come depends on it");
    session.begin_transaction();
    assert_eq!(to_compare(&session, |_| None).unwrap().len(), 1);
    assert!(session.watches.is_empty());
    assert!(to_compare(&session, |_| None).unwrap().is_empty());
}

#[test]
fn a_spoilt_transaction_a_failed_watch_and_foreign_keys_run_nothing_and_leave_nothing_watched() {
    let mut session = session();
    session.begin_transaction();
    let watch = |session: &Session| {
        session.watches.add([watched("k", &one("v"))]);
        session.watches.fail();
    };
    watch(&session);
    let moved = Reply::error("MOVED 1 a:1");
    assert_eq!(to_compare(&session, |_| Some(moved.clone())).unwrap_err(), moved, "before the WATCH is looked at");
    assert!(session.watches.is_empty() && !session.watches.has_failed());
    watch(&session);
    let unsure = refused(&session);
    assert!(unsure.starts_with("EXECABORT Transaction discarded because a WATCH before it failed"), "{unsure}");
    assert!(session.watches.is_empty() && !session.watches.has_failed());
    session.transaction.as_mut().unwrap().spoil();
    watch(&session);
    assert_eq!(refused(&session), "EXECABORT Transaction discarded because of previous errors.");
    assert!(session.watches.is_empty() && !session.watches.has_failed());
}

#[test]
fn untouched_keys_let_the_queue_run_and_are_what_exec_saw() {
    let outcomes = vec![Outcome::Got(one("v")), Outcome::Got(Object::default())];
    let (reply, seen) = verdict(vec![watched("k", &one("v")), watched("l", &Object::default())], outcomes, NOW_MS);
    assert_eq!((reply, seen.len()), (GO, 2));
    assert_eq!(seen[0].object, one("v"));
}

#[test]
fn one_touched_key_is_nil_whatever_became_of_the_others() {
    let touched = || Outcome::Got(object(&[(1, Some("v"), None), (2, Some("w"), None)]));
    let same = || Outcome::Got(one("v"));
    for outcomes in
        [vec![touched(), same()], vec![same(), touched()], vec![touched(), too_few()], vec![too_few(), touched()]]
    {
        let all = vec![watched("k", &one("v")), watched("l", &one("v"))];
        assert_eq!(verdict(all, outcomes, NOW_MS).0, Reply::NullArray);
    }
}

#[test]
fn a_key_that_cannot_be_read_discards_the_transaction() {
    let all = vec![watched("k", &one("v")), watched("l", &one("v"))];
    let line = error(verdict(all, vec![too_few(), Outcome::Got(one("v"))], NOW_MS).0);
    let told = "EXECABORT Transaction discarded because a watched key could not be read: NOREPLICAS ";
    assert!(line.starts_with(told), "{line}");
}

#[test]
fn marks_bear_the_index_and_the_r_they_were_read_with_and_one_failure_is_enough() {
    let look = |key| Operation { r: Some(3), ..target_named(key).operation(Act::Get) };
    let mark = |key: &StorageKey, object: &Object| Mark::of(key, object, NOW_MS, Hlc(7));
    let read = marks(vec![look("k")], vec![Outcome::Got(one("v"))], (2, place()), mark).unwrap();
    let key = target_named("k").key().clone();
    assert_eq!((read[0].r, read[0].index, &read[0].mark), (Some(3), 2, &mark(&key, &one("v"))));
    let outcomes = vec![Outcome::Got(one("v")), too_few()];
    let line = error(marks(vec![look("k"), look("l")], outcomes, (0, place()), mark).unwrap_err());
    assert!(line.starts_with("NOREPLICAS "), "{line}");
}
