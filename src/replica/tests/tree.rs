//! The trees beside the records: the same after any history, a restart, and damage.

use super::super::write::NotStored;
use super::{key, put, replica, replica_over, value};
use crate::causality::Hlc;
use crate::key::StorageKey;
use crate::merkle::exchange::LISTED_KEYS_MAX;
use crate::merkle::sum::Sum;
use crate::merkle::tree::{LEAF_BITS, Run};
use crate::message::operation::{Basis, Put};
use crate::object::Object;
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::replica::clock::wall_ms;
use crate::storage::batch::Batch;
use crate::storage::engine::{Engine, Space, Write};
use crate::storage::memory::MemoryEngine;
use bytes::Bytes;
use std::sync::Arc;

const WHOLE: Run = Run { bits: 0, index: 0 };

fn sum(replica: &Replica, database: u8) -> Sum {
    replica.trees.sums(database, &[WHOLE])[0]
}

fn merge(replica: &Arc<Replica>, key: &StorageKey, object: Object) {
    let mut batch = Batch::new();
    replica.merge(&mut batch, key, object, Hlc(0), Conflict::Siblings, None).unwrap();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
}

fn put_at(replica: &Arc<Replica>, key: &StorageKey, put: &Put) -> Result<(), NotStored> {
    let mut batch = Batch::new();
    let stored = replica.put(&mut batch, key, put, Conflict::Siblings, None, wall_ms());
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    stored.map(drop)
}

#[test]
fn homes_that_hold_the_same_add_up_to_the_same_however_they_came_to_it() {
    let engine = Arc::new(MemoryEngine::new());
    let (source, target) = (replica_over(engine.clone(), Hlc(0)), replica());
    for number in 0..100 {
        let key = StorageKey::new(number % 3, format!("key-{}", number / 3).as_bytes()).unwrap();
        let basis = if number % 5 == 0 { Basis::Nothing } else { Basis::Local };
        put_at(&source, &key, &value("first", basis)).unwrap();
        put_at(&source, &key, &Put { value: None, ..value("", Basis::Local) }).unwrap();
        put_at(&source, &key, &value("last", Basis::Nothing)).unwrap();
        merge(&target, &key, source.read(&key).unwrap());
    }
    assert_eq!((source.trees.held(), target.trees.held()), (0b111, 0b111));
    let again = replica_over(engine, Hlc(0));
    again.count_all().unwrap();
    again.count_all().unwrap();
    let restored = replica();
    restored.trees_restored(&source.trees_saved(7), 7).unwrap();
    for database in 0..4 {
        assert_eq!(sum(&source, database).count, if database < 3 { 33 + u64::from(database == 0) } else { 0 });
        for other in [&target, &again, &restored] {
            assert_eq!(sum(other, database), sum(&source, database), "database {database}");
        }
    }
}

#[test]
fn trees_of_another_life_or_damaged_ones_are_not_taken() {
    let source = replica();
    put(&source, &value("a", Basis::Local)).unwrap();
    let saved = source.trees_saved(7);
    let fresh = replica();
    assert!(fresh.trees_restored(&saved, 8).is_err());
    assert!(fresh.trees_restored(&saved[..saved.len() - 1], 7).is_err());
    assert!(fresh.trees_restored(&[], 7).is_err());
    assert_eq!(fresh.trees.held(), 0);
    assert!(fresh.trees_restored(&saved, 7).is_ok());
}

#[test]
fn a_record_that_became_damaged_is_absent_once_its_leaf_is_counted_anew() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    put(&replica, &value("a", Basis::Local)).unwrap();
    let (whole, sound) = (replica.read(&key()).unwrap(), sum(&replica, 0));
    let damaged = Write {
        space: Space::Objects,
        key: Bytes::copy_from_slice(key().as_bytes()),
        value: Some(Bytes::from_static(b"not a record")),
    };
    engine.commit(&[damaged], false).unwrap();
    assert!(replica.read(&key()).is_err());
    replica.recount(replica.trees.take_doubts()).unwrap();
    assert_eq!(sum(&replica, 0), Sum::default());
    assert_eq!(replica.trees.take_doubts(), [], "it is settled");
    merge(&replica, &key(), whole);
    assert_eq!(sum(&replica, 0), sound);
    let doubts = replica.trees.take_doubts();
    put(&replica, &value("b", Basis::Local)).unwrap();
    let newer = sum(&replica, 0);
    replica.recount(doubts).unwrap();
    assert_eq!(sum(&replica, 0), newer, "who counts while another writes corrects nothing");
    assert_eq!(replica.trees.take_doubts().len(), 1, "the doubt stays");
}

#[test]
fn writes_that_a_failed_commit_lost_are_no_longer_added_up() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    put(&replica, &value("a", Basis::Local)).unwrap();
    let stored = sum(&replica, 0);
    engine.refuse_writes(true);
    for database in [0, 1] {
        let lost = StorageKey::new(database, b"lost").unwrap();
        let mut batch = Batch::new();
        replica.put(&mut batch, &lost, &value("b", Basis::Local), Conflict::Siblings, None, wall_ms()).unwrap();
        replica.submit(batch, false, Box::new(|result| assert!(result.is_err())));
    }
    engine.refuse_writes(false);
    assert_ne!((sum(&replica, 0), sum(&replica, 1)), (stored, Sum::default()));
    replica.recount(replica.trees.take_doubts()).unwrap();
    assert_eq!((sum(&replica, 0), sum(&replica, 1)), (stored, Sum::default()));
    assert_eq!(replica.trees.take_doubts(), []);
}

#[test]
fn listings_are_bounded_and_go_on_where_they_ended() {
    let replica = replica();
    let count = LISTED_KEYS_MAX + 100;
    let mut leaves = Vec::new();
    for number in 0..count {
        let key = StorageKey::new(0, format!("key-{number}").as_bytes()).unwrap();
        put_at(&replica, &key, &value("a", Basis::Local)).unwrap();
        if number < 50 {
            let beside = StorageKey::new(1, key.user_key()).unwrap();
            put_at(&replica, &beside, &value("a", Basis::Local)).unwrap();
        }
        leaves.push(Run::leaf_of(key.token()));
    }
    leaves.sort_unstable();
    leaves.dedup();
    let (mut found, mut listings, mut after) = (0, 0, None);
    loop {
        let listing = replica.list(0, &leaves, after.as_ref()).unwrap();
        assert!(listing.entries.len() <= LISTED_KEYS_MAX && listing.entries.is_sorted_by(|a, b| a.key < b.key));
        assert!(listing.entries.iter().all(|entry| entry.key.database() == 0 && Some(&entry.key) > after.as_ref()));
        listings += 1;
        found += listing.entries.len();
        after = listing.entries.last().map(|entry| entry.key.clone());
        if !listing.more {
            break;
        }
    }
    assert_eq!((found, listings), (count, 2));
    let everything: Vec<u32> = (0..1 << LEAF_BITS).collect();
    let first = replica.list(1, &everything, None).unwrap();
    assert_eq!((first.entries.len(), first.more), (50, false));
    assert_eq!(replica.list(1, &[], None).unwrap().entries, []);
}
