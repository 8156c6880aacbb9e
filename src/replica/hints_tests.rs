//! What is kept, found, and let go of, and what is not.

use super::Replica;
use super::hints::Kept;
use super::tests::{key, put, replica_over, value};
use crate::causality::{Hlc, NodeTag};
use crate::handoff::ALL_HOMES;
use crate::key::StorageKey;
use crate::message::operation::Basis;
use crate::object::Object;
use crate::object::record::Record;
use crate::policy::Conflict;
use crate::replica::clock::{NodeClock, wall_ms};
use crate::storage::batch::Batch;
use crate::storage::engine::{Engine, Space, Write};
use crate::storage::error::StorageError;
use crate::storage::mark::BatchMark;
use crate::storage::memory::MemoryEngine;
use crate::storage::store::{Store, StoreSettings};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const A: NodeTag = NodeTag(9);
const B: NodeTag = NodeTag(u64::MAX);

fn replica() -> (Arc<MemoryEngine>, Arc<Replica>) {
    let engine = Arc::new(MemoryEngine::new());
    (engine.clone(), replica_over(engine, Hlc(0)))
}

fn keep(replica: &Arc<Replica>, key: &StorageKey, text: &'static str, home: NodeTag) {
    let mut batch = Batch::new();
    let blind = value(text, Basis::Nothing);
    replica.put(&mut batch, key, &blind, Conflict::Siblings, Some(home), wall_ms()).unwrap();
    // A chance for others to come in between.
    std::thread::yield_now();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
}

fn kept(replica: &Replica, home: NodeTag) -> Vec<Kept> {
    replica.kept_for(home, None, 100, 1 << 20).unwrap().kept
}

fn give_back(replica: &Arc<Replica>, kept: &Kept, is_home: bool) -> bool {
    replica.give_back(kept, |_| is_home, Box::new(|result| assert!(result.is_ok()))).unwrap()
}

fn hints(replica: &Replica) -> u64 {
    replica.store().stats().hints
}

fn holds(replica: &Replica) -> bool {
    replica.store().get(key().as_bytes()).unwrap().is_some()
}

#[test]
fn hint_record_and_actor_go_together() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    keep(&replica, &key(), "two", A);
    assert_eq!((hints(&replica), replica.keyspace(0)), (1, (1, 0)), "hints of one key merge");
    let before = replica.read(&key()).unwrap();
    let page = kept(&replica, A);
    assert_eq!(page.len(), 1);
    assert!(give_back(&replica, &page[0], false));
    assert_eq!((hints(&replica), replica.keyspace(0), holds(&replica)), (0, (0, 0), false));
    // facts: an actor that outlives the record would make the next version cover what was handed off.
    keep(&replica, &key(), "three", A);
    let after = replica.read(&key()).unwrap();
    assert!(after.siblings.iter().all(|new| before.siblings.iter().all(|old| new.dot.actor != old.dot.actor)));
    let merged = before.merge(after, Conflict::Siblings);
    assert_eq!(merged.siblings.len(), 3, "nothing that was handed off is covered");
}

#[test]
fn a_home_keeps_the_object_and_lets_go_of_the_hint() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    assert!(give_back(&replica, &kept(&replica, A)[0], true));
    assert_eq!((hints(&replica), holds(&replica)), (0, true));
}

#[test]
fn what_was_written_after_the_reading_stays_with_its_hint() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    let page = kept(&replica, A);
    put(&replica, &value("two", Basis::Local)).unwrap();
    assert!(!give_back(&replica, &page[0], false));
    assert_eq!((hints(&replica), holds(&replica)), (1, true));
    assert!(give_back(&replica, &kept(&replica, A)[0], false));
    assert!(!holds(&replica));
}

#[test]
fn the_record_goes_with_the_last_hint_only() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    keep(&replica, &key(), "two", B);
    keep(&replica, &key(), "three", ALL_HOMES);
    for (home, left) in [(A, 2), (ALL_HOMES, 1), (B, 0)] {
        assert!(give_back(&replica, &kept(&replica, home)[0], false));
        assert_eq!((hints(&replica), holds(&replica)), (left, left > 0));
    }
}

#[test]
fn a_hint_on_its_way_keeps_the_record() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    let object = replica.read(&key()).unwrap();
    // A second coordinator sends the same object for another home; its batch is not submitted yet.
    let mut batch = Batch::new();
    replica.merge(&mut batch, &key(), object, Hlc(0), Conflict::Siblings, Some(B)).unwrap();
    assert!(give_back(&replica, &kept(&replica, A)[0], false));
    assert!(holds(&replica));
    replica.submit(batch, false, Box::new(|_| {}));
    assert_eq!((hints(&replica), kept(&replica, B).len()), (1, 1));
}

#[test]
fn of_two_last_hints_that_go_at_one_moment_one_takes_the_record_along() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    keep(&replica, &key(), "two", B);
    let (a, b) = (kept(&replica, A).remove(0), kept(&replica, B).remove(0));
    // A delivery to A has let go of its hint, for B's sake without the record, and is not committed yet.
    let mut batch = Batch::new();
    let name = [&A.0.to_be_bytes()[..], key().as_bytes()].concat();
    replica.store().put_other(&mut batch, Space::Hints, name.into(), None);
    assert!(!give_back(&replica, &b, false), "whether it is the last is not known yet");
    replica.submit(batch, false, Box::new(|_| {}));
    assert!(give_back(&replica, &b, false));
    assert_eq!((hints(&replica), holds(&replica)), (0, false), "a copy without a hint is let go of by nobody");
    assert!(!give_back(&replica, &a, false), "what A had read is no more");
}

#[test]
fn nothing_goes_after_the_stop() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    let page = kept(&replica, A);
    replica.stop_giving_back();
    assert_eq!(replica.give_back(&page[0], |_| false, Box::new(drop)), Err(StorageError::Stopped));
    assert_eq!((hints(&replica), holds(&replica)), (1, true));
}

#[test]
fn a_hint_without_an_object_just_goes() {
    let (engine, replica) = replica();
    keep(&replica, &key(), "one", A);
    let gone = Write { space: Space::Objects, key: Bytes::copy_from_slice(key().as_bytes()), value: None };
    engine.commit(&[gone], false).unwrap();
    let page = kept(&replica, A);
    assert_eq!(page[0].object(), None);
    assert!(give_back(&replica, &page[0], false));
    assert_eq!(hints(&replica), 0);
}

#[test]
fn a_damaged_record_is_neither_given_nor_let_go_of() {
    let (engine, replica) = replica();
    keep(&replica, &key(), "one", A);
    let torn = Write {
        space: Space::Objects,
        key: Bytes::copy_from_slice(key().as_bytes()),
        value: Some(Bytes::from_static(b"not a record")),
    };
    engine.commit(&[torn], false).unwrap();
    let page = replica.kept_for(A, None, 10, 1000).unwrap();
    assert_eq!((page.kept.len(), page.damaged, page.last), (0, true, None));
    assert_eq!(hints(&replica), 1);
}

#[test]
fn pages_are_bounded_and_another_life_finds_them_again() {
    let (engine, first) = replica();
    for at in 0..10 {
        keep(&first, &StorageKey::new(0, format!("key {at}").as_bytes()).unwrap(), "value", A);
    }
    keep(&first, &key(), "value", B);
    let replica = replica_over(engine, Hlc(u64::MAX));
    assert_eq!((hints(&replica), replica.hinted_homes()), (11, vec![]));
    replica.find_hints(wall_ms()).unwrap();
    assert_eq!(replica.hinted_homes(), [A, B]);
    for (keys_max, bytes_max) in [(3, 1 << 20), (100, 50), (1, 1)] {
        let (mut after, mut found) = (None, Vec::new());
        loop {
            let page = replica.kept_for(A, after.as_ref(), keys_max, bytes_max).unwrap();
            assert!(page.kept.len() <= keys_max);
            found.extend(page.kept);
            after = page.last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), 10);
        assert!(found.is_sorted_by_key(|kept| kept.key.clone()));
        assert!(found.iter().all(|kept| kept.object().is_some_and(|object| object.len() > 10)));
    }
    let record = replica.store().get(key().as_bytes()).unwrap().unwrap();
    assert_eq!(Record::decode(&record).unwrap().object, replica.read(&key()).unwrap());
}

#[test]
fn a_write_with_a_hint_and_a_delivery_wait_for_each_other() {
    let (_, replica) = replica();
    keep(&replica, &key(), "one", A);
    let page = kept(&replica, A);
    let held = replica.hints.hold(&key(), Some(B));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| keep(&replica, &key(), "two", A));
        let delivery = scope.spawn(|| give_back(&replica, &page[0], false));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!writer.is_finished() && !delivery.is_finished());
        // Whoever notes nothing waits for nobody.
        put(&replica, &value("three", Basis::Local)).unwrap();
        drop(held);
        writer.join().unwrap();
        assert!(!delivery.join().unwrap(), "the object is another now");
    });
    assert_eq!(hints(&replica), 1);
}

/// Writers note hints while somebody delivers them: what was written is, in the end, with the home or still kept for it;
/// no object stays without its hint.
#[test]
fn deliveries_and_writes_that_cross_lose_nothing() {
    const KEYS: usize = 3;
    const WRITES: usize = 300;
    let store =
        Store::new(Arc::new(MemoryEngine::new()), StoreSettings::default(), None, BatchMark::default()).unwrap();
    let clock = NodeClock::new(Hlc::from_ms(wall_ms()), Hlc(u64::MAX), 500);
    let replica = Arc::new(Replica::new(Arc::new(store), NodeTag(7), clock, Hlc(0), 10_000));
    let keys: Vec<StorageKey> = (0..KEYS).map(|at| StorageKey::new(0, &[at as u8]).unwrap()).collect();
    let stop = AtomicBool::new(false);
    let mut home: BTreeMap<StorageKey, Object> = BTreeMap::new();
    let mut deliver = |replica: &Arc<Replica>| {
        replica.store().settle().unwrap();
        for kept in kept(replica, A) {
            let Some(object) = kept.object() else {
                give_back(replica, &kept, false);
                continue;
            };
            let merged = home.remove(&kept.key).unwrap_or_default();
            home.insert(kept.key.clone(), merged.merge(Object::decode(&object).unwrap(), Conflict::Siblings));
            give_back(replica, &kept, false);
        }
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for at in 0..WRITES {
                        keep(&replica, &keys[at % KEYS], "value", A);
                    }
                })
            })
            .collect();
        let delivering = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                deliver(&replica);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        delivering.join().unwrap();
    });
    replica.store().settle().unwrap();
    let objects: Vec<bool> = keys.iter().map(|key| replica.store().get(key.as_bytes()).unwrap().is_some()).collect();
    let hinted: Vec<bool> = keys.iter().map(|key| kept(&replica, A).iter().any(|kept| kept.key == *key)).collect();
    assert!(objects.iter().zip(&hinted).all(|(object, hinted)| !object || *hinted), "{objects:?} {hinted:?}");
    deliver(&replica);
    replica.store().settle().unwrap();
    let written: usize = home.values().map(|object| object.siblings.len()).sum();
    assert_eq!((written, hints(&replica), replica.keyspace(0)), (2 * WRITES, 0, (0, 0)));
    assert!(keys.iter().all(|key| replica.store().get(key.as_bytes()).unwrap().is_none()));
}
