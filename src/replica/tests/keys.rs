//! Listing keys: what is told of each, where a page ends, and who tells nothing.

use super::{replica_over, value};
use crate::causality::Hlc;
use crate::key::{Slots, StorageKey};
use crate::message::keys::{KeysPage, KeysRequest, State};
use crate::message::operation::{Basis, Put};
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::replica::clock::wall_ms;
use crate::storage::batch::Batch;
use crate::storage::engine::{Engine, Space, Write};
use crate::storage::memory::MemoryEngine;
use crate::walk::Position;
use bytes::Bytes;
use std::sync::Arc;

fn put_in(replica: &Arc<Replica>, database: u8, name: &str, put: &Put) -> StorageKey {
    let key = StorageKey::new(database, name.as_bytes()).unwrap();
    let mut batch = Batch::new();
    assert!(replica.put(&mut batch, &key, put, Conflict::Siblings, None, wall_ms()).is_ok());
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    key
}

fn page(replica: &Replica, database: u8, from: &Position, slots: &[Slots], keys_max: u32) -> KeysPage {
    let request = KeysRequest { database, from: from.as_bytes().clone(), keys_max, slots: slots.to_vec() };
    replica.keys(&request).unwrap().expect("it has lost nothing")
}

#[test]
fn every_record_of_the_database_is_told_as_it_stands() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    let soon = wall_ms() + 60_000;
    let lasting = put_in(&replica, 1, "lasting", &value("v", Basis::Local));
    let passing = put_in(&replica, 1, "passing", &Put { expiry: Some(soon), ..value("v", Basis::Local) });
    let deleted = put_in(&replica, 1, "deleted", &Put { value: None, ..value("", Basis::Local) });
    let damaged = put_in(&replica, 1, "damaged", &value("v", Basis::Local));
    let broken = Write {
        space: Space::Objects,
        key: Bytes::copy_from_slice(damaged.as_bytes()),
        value: Some(Bytes::from_static(b"broken")),
    };
    replica.store().settle().unwrap();
    engine.commit(&[broken], false).unwrap();
    put_in(&replica, 0, "lasting", &value("elsewhere", Basis::Local));

    let page = page(&replica, 1, &Position::token(0), &[Slots::ALL], 100);
    assert_eq!(page.until, None);
    let told = |key: &StorageKey| page.keys.iter().find(|listed| listed.key == *key).expect("it is told").state;
    let state = |key: &StorageKey| Some(State::of(key, &replica.read(key).unwrap()));
    assert_eq!(page.keys.len(), 4);
    for (key, until_ms) in [(&lasting, u64::MAX), (&passing, soon), (&deleted, 0)] {
        assert_eq!((told(key), told(key).map(|state| state.until_ms)), (state(key), Some(until_ms)));
    }
    assert_eq!(told(&damaged), None);
}

#[test]
fn pages_go_on_where_the_last_one_ended_and_keep_to_the_slots() {
    let replica = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    let mut all: Vec<StorageKey> =
        (0..60).map(|number| put_in(&replica, 0, &format!("key:{number}"), &value("v", Basis::Local))).collect();
    all.sort();
    replica.store().settle().unwrap();
    let slots = [Slots { first: 100, last: 5000 }, Slots { first: 9000, last: 16383 }];
    let is_asked = |key: &&StorageKey| slots.iter().any(|run| (run.first..=run.last).contains(&key.token().slot()));
    let expected: Vec<&StorageKey> = all.iter().filter(is_asked).collect();
    assert!(expected.len() > 10 && expected.len() < 60);
    let (mut from, mut told) = (Position::token(0), Vec::new());
    loop {
        let page = page(&replica, 0, &from, &slots, 7);
        told.extend(page.keys.into_iter().map(|listed| listed.key));
        let Some(until) = page.until else { break };
        from = Position::before(until);
    }
    assert!(told.iter().eq(expected));
}

#[test]
fn who_has_lost_copies_tells_nothing() {
    let replica = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    replica.start_filling();
    let from = Position::token(0).as_bytes().clone();
    let request = KeysRequest { database: 0, from, keys_max: 10, slots: vec![Slots::ALL] };
    assert_eq!(replica.keys(&request).unwrap(), None);
    assert!(replica.filled(replica.losses_found()));
    assert_eq!(replica.keys(&request).unwrap(), Some(KeysPage::default()));
}

#[test]
fn a_slot_is_found_by_the_weight_of_its_keys() {
    let replica = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    let all = crate::walk::cover::Cover::all();
    assert_eq!(replica.slot_of_key(0, &all, 3), None);
    let one = put_in(&replica, 0, "{a}1", &value("v", Basis::Local)).token().slot();
    put_in(&replica, 0, "{a}2", &value("v", Basis::Local));
    let other = put_in(&replica, 0, "{b}", &value("v", Basis::Local)).token().slot();
    let of_one = (0..3).filter(|dice| replica.slot_of_key(0, &all, *dice) == Some(one)).count();
    let of_other = (0..3).filter(|dice| replica.slot_of_key(0, &all, 3 + dice) == Some(other)).count();
    assert_eq!((of_one, of_other), (2, 1));
    assert_eq!(
        replica.slot_of_key(0, &crate::walk::cover::Cover::of([Slots { first: other, last: other }]), 7),
        Some(other)
    );
}
