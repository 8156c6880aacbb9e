//! Copies of a past that may be forgotten, and forgetting it (DESIGN "Settling").

use super::{key, put, replica, replica_over, value, values};
use crate::causality::{Actor, Dot, Hlc, NodeTag};
use crate::key::{Slots, StorageKey};
use crate::merkle::tree::Run;
use crate::message::data::{Answer, Refusal, Request};
use crate::message::operation::{Basis, Put};
use crate::object::retire::Below;
use crate::object::{Object, Sibling};
use crate::policy::{Conflict, Policy};
use crate::replica::Replica;
use crate::replica::clock::wall_ms;
use crate::replica::past::Reaped;
use crate::replica::serve::OldCopy;
use crate::replica::write::NotStored;
use crate::storage::batch::Batch;
use crate::storage::engine::{Engine, Space, Write};
use crate::storage::memory::MemoryEngine;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

const FLOOR: Hlc = Hlc(100);
const HOME: NodeTag = NodeTag(5);

pub(super) fn sibling(node: u64, hlc: u64, text: Option<&'static str>) -> Sibling {
    let dot = Dot { hlc: Hlc(hlc), actor: Actor { node: NodeTag(node), birth: Hlc(1) } };
    Sibling::new(dot, NodeTag(node), text.map(|text| Bytes::from_static(text.as_bytes())), None)
}

pub(super) fn written(siblings: impl IntoIterator<Item = Sibling>) -> Object {
    let mut object = Object::default();
    siblings.into_iter().for_each(|sibling| object.overwrite(sibling));
    object
}

pub(super) fn merge(replica: &Arc<Replica>, object: &Object, floor: Hlc, home: Option<NodeTag>) -> Result<(), Refusal> {
    let mut batch = Batch::new();
    let merged = replica.merge(&mut batch, &key(), object.clone(), floor, Conflict::Siblings, home);
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    merged
}

pub(super) fn with_floor() -> Arc<Replica> {
    let replica = replica();
    replica.raise_floor(FLOOR);
    replica
}

fn lies_here(replica: &Replica) -> bool {
    replica.store().get(key().as_bytes()).unwrap().is_some()
}

fn delete(replica: &Arc<Replica>) {
    put(replica, &Put { value: None, ..value("", Basis::Local) }).unwrap();
}

/// A pass over the key's leaf with all stamps up to `floor` settled.
pub(super) fn reap(replica: &Arc<Replica>, floor: Hlc, may: bool) -> Reaped {
    let below = Below { floor, drift_ms_max: 500, is_member: &|_| true, ids_from: Hlc(0) };
    let (batch, reaped) = replica.reap(0, &[Run::leaf_of(key().token())], &below, &|_| may).unwrap();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    reaped
}

fn marked(replica: &Replica) -> bool {
    replica.past.leaves(0).contains(&Run::leaf_of(key().token()))
}

fn sums(replica: &Replica) -> (u64, (u64, u64), i64) {
    let count = replica.count(Slots::ALL, 0).unwrap();
    (count, replica.keyspace(0), replica.past.tombstones())
}

#[test]
fn a_home_refuses_what_may_be_forgotten_and_changes_nothing() {
    let replica = with_floor();
    let old = written([sibling(2, 100, Some("old"))]);
    assert_eq!(merge(&replica, &old, Hlc(99), None), Err(Refusal::Old));
    assert!(!lies_here(&replica) && sums(&replica) == (0, (0, 0), 0));
    // One sibling is enough: none of the copy is taken.
    let mut both = old.clone();
    both.put(&Default::default(), sibling(3, 101, Some("new")), Conflict::Siblings);
    assert_eq!(merge(&replica, &both, Hlc(0), None), Err(Refusal::Old));
    assert!(!lies_here(&replica));
    assert_eq!(merge(&replica, &written([sibling(3, 101, Some("new"))]), Hlc(0), None), Ok(()));
    assert_eq!(values(&replica.read(&key()).unwrap()), ["new"]);
}

#[test]
fn facts_old_copies_are_recognised_by_the_senders_floor_not_its_clock() {
    // Read at a clock of 1000 before a delete was applied; the sender had settled less than this home.
    let fast = written([sibling(2, 50, Some("x"))]);
    assert_eq!(merge(&with_floor(), &fast, Hlc(99), None), Err(Refusal::Old));
    for floor in [FLOOR, Hlc(101)] {
        let replica = with_floor();
        assert_eq!(merge(&replica, &fast, floor, None), Ok(()));
        assert_eq!(
            values(&replica.read(&key()).unwrap()),
            ["x"],
            "a complete home that has settled as much still has it"
        );
    }
}

#[test]
fn a_fallback_keeps_what_a_home_would_ask_about() {
    let replica = with_floor();
    assert_eq!(merge(&replica, &written([sibling(2, 50, Some("kept"))]), Hlc(0), Some(HOME)), Ok(()));
    assert_eq!(values(&replica.read(&key()).unwrap()), ["kept"]);
}

#[test]
fn an_old_copy_of_what_is_known_is_merged_as_ever() {
    let replica = with_floor();
    let (old, now) = (sibling(2, 50, Some("old")), sibling(3, 60, Some("now")));
    merge(&replica, &written([old.clone(), now.clone()]), FLOOR, None).unwrap();
    assert_eq!(merge(&replica, &written([old]), Hlc(0), None), Ok(()), "covered");
    assert_eq!(merge(&replica, &written([now]), Hlc(0), None), Ok(()), "held");
    assert_eq!(values(&replica.read(&key()).unwrap()), ["now"]);
}

#[test]
fn an_old_copy_does_not_replace_a_damaged_record() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    replica.raise_floor(FLOOR);
    let damaged = Write {
        space: Space::Objects,
        key: Bytes::copy_from_slice(key().as_bytes()),
        value: Some(Bytes::from_static(b"not a record")),
    };
    engine.commit(&[damaged], false).unwrap();
    let copy = written([sibling(2, 50, Some("x"))]);
    assert_eq!(merge(&replica, &copy, Hlc(0), None), Err(Refusal::Old));
    assert_eq!(replica.read(&key()), Err(Refusal::Damaged));
    assert_eq!(merge(&replica, &copy, FLOOR, None), Ok(()));
    assert_eq!(replica.read(&key()).unwrap(), copy);
}

#[test]
fn who_lost_copies_takes_in_those_of_complete_homes_only() {
    let replica = replica();
    replica.floors_unknown();
    let copy = written([sibling(2, 50, Some("x"))]);
    assert_eq!(merge(&replica, &copy, Hlc(0), None), Err(Refusal::Filling));
    assert!(!lies_here(&replica));
    assert_eq!(merge(&replica, &copy, Hlc(1), None), Ok(()));
    let later = written([sibling(3, 60, Some("y"))]);
    assert_eq!(merge(&replica, &later, Hlc(0), None), Err(Refusal::Filling));
    replica.floors_known();
    assert_eq!(merge(&replica, &later, Hlc(0), None), Ok(()));
    assert_eq!(values(&replica.read(&key()).unwrap()), ["x", "y"]);
}

#[test]
fn a_decision_made_on_what_was_forgotten_since_writes_nothing() {
    let seen = written([sibling(2, 100, Some("gone"))]);
    let on_seen = value("after", Basis::seen(seen));
    let replica = with_floor();
    assert_eq!(put(&replica, &on_seen), Err(NotStored::Raced));
    assert!(!lies_here(&replica));
    let lower = super::replica();
    lower.raise_floor(Hlc(99));
    put(&lower, &on_seen).unwrap();
    assert_eq!(values(&lower.read(&key()).unwrap()), ["after"]);
}

#[test]
fn a_tombstone_that_another_home_has_not_forgotten_yet_is_no_race() {
    let seen = written([sibling(2, 100, None)]);
    let replica = with_floor();
    put(&replica, &value("after", Basis::seen(seen.clone()))).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["after"]);
    assert_eq!(values(&replica.read(&key()).unwrap().merge(seen, Conflict::Siblings)), ["after"]);
    // Nor is a value that has expired meanwhile.
    let mut expired = sibling(2, 100, Some("expired"));
    expired.expiry = (Hlc(100), Some(5));
    let replica = with_floor();
    put(&replica, &value("after", Basis::seen(written([expired])))).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["after"]);
}

#[test]
fn facts_the_actor_goes_with_the_record_that_is_reaped() {
    let replica = replica();
    let before = put(&replica, &value("a", Basis::Local)).unwrap();
    delete(&replica);
    assert_eq!((sums(&replica), marked(&replica)), ((0, (0, 0), 1), true));
    let floor = replica.read(&key()).unwrap().highest();
    assert_eq!(reap(&replica, floor, true).records, 1);
    assert!(!lies_here(&replica) && !marked(&replica));
    assert_eq!(sums(&replica), (0, (0, 0), 0));
    assert_eq!(replica.stats.tombstones_reaped.load(std::sync::atomic::Ordering::Relaxed), 1);
    let after = put(&replica, &value("b", Basis::Local)).unwrap();
    assert_eq!(after.entries().len(), 1);
    assert_ne!(after.entries()[0].0, before.entries()[0].0, "the name is a new one");
    assert_eq!(sums(&replica), (1, (1, 0), 0));
}

#[test]
fn what_is_not_settled_or_not_at_home_stays_and_is_looked_at_again() {
    let replica = replica();
    delete(&replica);
    let highest = replica.read(&key()).unwrap().highest();
    assert_eq!(reap(&replica, Hlc(highest.0 - 1), true).records, 0);
    assert!(lies_here(&replica) && marked(&replica));
    assert_eq!(reap(&replica, highest, false).records, 0);
    assert!(lies_here(&replica) && marked(&replica));
    assert_eq!(sums(&replica).2, 1);
    assert_eq!(reap(&replica, highest, true).records, 1);
    assert!(!lies_here(&replica));
}

#[test]
fn an_expired_value_goes_only_when_the_floor_is_past_its_expiry_and_the_drift() {
    let replica = replica();
    let at = wall_ms() + 60_000;
    put(&replica, &Put { expiry: Some(at), ..value("a", Basis::Local) }).unwrap();
    assert_eq!(reap(&replica, Hlc::from_ms(at + 500), true).records, 0);
    assert!(lies_here(&replica) && marked(&replica));
    assert_eq!(reap(&replica, Hlc::from_ms(at + 501), true).records, 1);
    assert!(!lies_here(&replica) && !marked(&replica));
}

#[test]
fn a_settled_tombstone_of_a_peer_is_not_stored_where_it_was_forgotten() {
    let replica = with_floor();
    let tombstone = written([sibling(2, 100, None)]);
    assert_eq!(merge(&replica, &tombstone, FLOOR, None), Ok(()));
    assert!(!lies_here(&replica) && sums(&replica).2 == 0);
    assert_eq!(merge(&replica, &written([sibling(2, 101, None)]), FLOOR, None), Ok(()));
    assert!(lies_here(&replica), "it is not settled yet");
    assert_eq!(sums(&replica).2, 1);
}

#[test]
fn an_expired_value_that_was_reaped_here_is_not_taken_from_a_peer_that_has_yet_to() {
    let floor = Hlc::from_ms(1000 + 501);
    let expiring = |expiry_ms| Sibling { expiry: (Hlc(90), Some(expiry_ms)), ..sibling(2, 90, Some("gone")) };
    let at_floor = || {
        let replica = replica();
        replica.raise_floor(floor);
        replica
    };
    let replica = at_floor();
    assert_eq!(merge(&replica, &written([expiring(1000)]), floor, None), Ok(()));
    assert!(!lies_here(&replica));
    // What it has, it keeps, until it reaps.
    let holder = super::replica();
    merge(&holder, &written([expiring(1000)]), Hlc(0), None).unwrap();
    holder.raise_floor(floor);
    merge(&holder, &written([expiring(1000)]), floor, None).unwrap();
    assert!(lies_here(&holder));
    // Beside another value it goes alone, and does not count as unseen.
    let mut beside = written([expiring(1000)]);
    beside.put(&Default::default(), sibling(3, 95, Some("stays")), Conflict::Siblings);
    assert_eq!(merge(&replica, &beside, floor, None), Ok(()));
    assert_eq!(replica.read(&key()).unwrap().siblings.len(), 1);
    // A millisecond later, or with a life made longer above the floor: the peer may be right.
    for taken in [expiring(1001), Sibling { expiry: (Hlc(floor.0 + 1), Some(1000)), ..expiring(0) }] {
        let replica = at_floor();
        merge(&replica, &written([taken]), floor, None).unwrap();
        assert!(lies_here(&replica));
    }
}

#[test]
fn a_frame_hands_out_the_copies_that_are_still_to_be_judged() {
    let replica = with_floor();
    let (new, old) = (written([sibling(3, 101, Some("new"))]), written([sibling(2, 50, Some("old"))]));
    let other = StorageKey::new(0, b"other").unwrap();
    let write = |key: &StorageKey, object: &Object, sync: bool| {
        let mut bytes = Vec::new();
        object.encode(&mut bytes);
        Request::Write { key: key.clone(), object: bytes.into(), sync, home: None, floor: Hlc(0) }
    };
    let heard = Arc::new(Mutex::new(None));
    let told = heard.clone();
    let requests = vec![write(&other, &new, false), write(&key(), &old, true)];
    replica.serve(requests, &[Policy::default(); 16], move |answers, old| *told.lock().unwrap() = Some((answers, old)));
    let (answers, copies) = heard.lock().unwrap().take().unwrap();
    assert!(matches!(answers[..], [Answer::Applied { .. }, Answer::Refused(Refusal::Old)]));
    assert_eq!(copies, [OldCopy { at: 1, key: key(), object: old, sync: true }]);
    assert!(!lies_here(&replica));
}

#[test]
fn what_is_settled_and_held_by_nobody_else_goes_and_nothing_above_the_floor_does() {
    let replica = with_floor();
    merge(&replica, &written([sibling(1, 90, Some("settled"))]), Hlc(0), None).unwrap_err();
    let young = written([sibling(1, FLOOR.0 + 5, Some("young"))]);
    merge(&replica, &young, FLOOR, None).unwrap();
    let all = |floor| replica.settled(&[], None, floor, &|_, _| true).unwrap();
    assert_eq!(all(FLOOR), []);
    // Another home's floor may be higher than the one here.
    let higher = Hlc(FLOOR.0 + 10);
    assert_eq!(all(higher), [key()]);
    assert_eq!(replica.settled(&[], None, higher, &|_, _| false).unwrap(), [], "another home has it");
    let forget = |floor| replica.forget_settled(vec![key()], floor, &|_, _| true).unwrap();
    assert_eq!(forget(FLOOR), 0, "it has changed since");
    assert!(lies_here(&replica));
    assert_eq!(forget(higher), 1);
    assert!(!lies_here(&replica));
    assert_eq!(sums(&replica), (0, (0, 0), 0));
}

#[test]
fn what_was_forgotten_for_others_does_not_come_back_with_a_crash() {
    let engine = Arc::new(MemoryEngine::with_crashes());
    let replica = replica_over(engine.clone(), Hlc(0));
    merge(&replica, &written([sibling(1, 90, Some("settled"))]), FLOOR, None).unwrap();
    replica.store().sync().unwrap();
    assert_eq!(replica.forget_settled(vec![key()], FLOOR, &|_, _| true).unwrap(), 1);
    engine.crash(0);
    assert!(!lies_here(&replica_over(engine, Hlc(0))), "the loss is forgotten: nobody would look for it again");
}
