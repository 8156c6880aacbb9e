//! Counting without looking: right at every moment, and looking only where something lapsed.

use super::{replica_over, value};
use crate::causality::Hlc;
use crate::key::{Slots, StorageKey};
use crate::message::operation::{Basis, Put};
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::replica::clock::wall_ms;
use crate::storage::batch::Batch;
use crate::storage::engine::{Engine, Space, Write};
use crate::storage::memory::MemoryEngine;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Some tags, so that several keys share a slot.
fn key(number: u8) -> StorageKey {
    StorageKey::new(0, format!("{{{}}}:{number}", number % 3).as_bytes()).unwrap()
}

fn put(replica: &Arc<Replica>, key: &StorageKey, expiry: Option<u64>, delete: bool) {
    let put = Put { expiry, ..value("v", Basis::Local) };
    let put = if delete { Put { value: None, expiry: None, ..put } } else { put };
    let mut batch = Batch::new();
    assert!(replica.put(&mut batch, key, &put, Conflict::Siblings, None, wall_ms()).is_ok());
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
}

fn count(replica: &Replica, now_ms: u64) -> u64 {
    replica.count_at(Slots::ALL, 0, now_ms).unwrap()
}

#[test]
fn the_slot_with_which_so_many_keys_are_reached_is_told() {
    let replica = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    assert_eq!(replica.slot_after(0, 0, 16), 16383, "where nothing is, everything must be asked about");
    (0..6).for_each(|number| put(&replica, &key(number), None, false));
    let mut slots = [0, 1, 2].map(|tag| key(tag).token().slot());
    slots.sort_unstable();
    assert_eq!([1, 2, 3, 4, 5, 6].map(|keys| replica.slot_after(0, 0, keys)), slots.map(|slot| [slot; 2]).concat()[..]);
    assert_eq!(replica.slot_after(0, 0, 7), 16383);
    assert_eq!(replica.slot_after(0, slots[0] + 1, 1), slots[1], "what lies before does not count");
    assert_eq!(replica.slot_after(1, 0, 1), 16383, "nor do other databases");
}

/// Takes a record away behind the counters' back: whoever looks counts one less.
fn steal(engine: &MemoryEngine, replica: &Replica, key: &StorageKey) {
    replica.store().settle().unwrap();
    let gone = Write { space: Space::Objects, key: Bytes::copy_from_slice(key.as_bytes()), value: None };
    engine.commit(&[gone], false).unwrap();
}

#[test]
fn nobody_looks_before_something_lapses_nor_twice_for_what_has() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    let soon = wall_ms() + 1_000_000;
    put(&replica, &key(0), Some(soon), false);
    put(&replica, &key(3), Some(soon + 50), false);
    put(&replica, &key(6), None, false);
    put(&replica, &key(1), Some(soon + 90), false);
    steal(&engine, &replica, &key(1));
    assert_eq!(count(&replica, soon - 1), 4, "nothing has lapsed: nobody finds out what is missing");
    assert_eq!(count(&replica, soon), 3, "one has lapsed in another slot");
    steal(&engine, &replica, &key(6));
    assert_eq!(count(&replica, soon + 49), 3, "that it has is known");
    assert_eq!(count(&replica, soon + 50), 1, "now all of that slot are looked at");
    assert_eq!(count(&replica, soon + 90), 1, "the other slot is; this one's number is kept again, theft or no theft");
}

#[test]
fn what_a_clean_stop_saved_is_looked_at_once() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine.clone(), Hlc(0));
    let soon = wall_ms() + 1_000_000;
    put(&replica, &key(0), Some(soon), false);
    put(&replica, &key(1), None, false);
    replica.store().settle().unwrap();
    let again = replica_over(engine.clone(), Hlc(0));
    again.counts_restored(&replica.counts_saved()).unwrap();
    assert_eq!((again.keyspace(0), again.keyspace(1)), ((2, 1), (0, 0)));
    assert_eq!(count(&again, soon - 1), 2);
    steal(&engine, &again, &key(0));
    assert_eq!(count(&again, soon - 1), 2, "it is known by now when the first one lapses");
    assert_eq!(count(&again, soon), 1);
}

proptest! {
    /// Whatever is written, deleted, and given a life, and however time passes in between.
    #[test]
    fn the_count_is_that_of_the_keys_that_live(
        steps in proptest::collection::vec((0u8..8, 0u8..4, 1u64..40, 0u64..20, any::<bool>()), 1..60),
    ) {
        let replica = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
        let mut now_ms = wall_ms() + 1_000_000;
        let mut naive: BTreeMap<u8, u64> = BTreeMap::new();
        for (number, kind, life, passes, counted) in steps {
            let expiry = (kind > 1).then_some(now_ms + life);
            put(&replica, &key(number), expiry, kind == 0);
            naive.remove(&number);
            if kind > 0 {
                naive.insert(number, expiry.unwrap_or(u64::MAX));
            }
            now_ms += passes;
            if counted {
                let live = naive.values().filter(|until| **until > now_ms).count() as u64;
                prop_assert_eq!(count(&replica, now_ms), live);
            }
        }
    }
}
