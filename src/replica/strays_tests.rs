//! Hints that are dropped, copies that stay, and how they are found again.

use super::Replica;
use super::strays::Wanted;
use super::tests::{key, put_for, replica_over};
use crate::causality::{Hlc, NodeTag};
use crate::handoff::ALL_HOMES;
use crate::handoff::tidy::Bounds;
use crate::key::StorageKey;
use crate::replica::clock::wall_ms;
use crate::storage::memory::MemoryEngine;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const A: NodeTag = NodeTag(9);
const B: NodeTag = NodeTag(10);
const KEYS: u32 = 40;

fn keys() -> impl Iterator<Item = StorageKey> {
    (0..KEYS).map(|at| StorageKey::new(0, format!("key{at}").as_bytes()).unwrap())
}

fn replica() -> (Arc<MemoryEngine>, Arc<Replica>) {
    let engine = Arc::new(MemoryEngine::new());
    (engine.clone(), replica_over(engine, Hlc(0)))
}

fn bounds(replica: &Replica, ttl_ms: u64, bytes_max: u64) {
    replica.set_hint_bounds(Bounds { ttl_ms, bytes_max });
}

fn hinted(replica: &Replica, home: NodeTag) -> usize {
    replica.kept_for(home, None, 1000, 1 << 30).unwrap().kept.len()
}

fn give_all_back(replica: &Arc<Replica>, home: NodeTag, wants: impl Fn(NodeTag) -> bool) {
    for kept in replica.kept_for(home, None, 1000, 1 << 30).unwrap().kept {
        let stays = |marked: &[NodeTag]| marked.iter().any(|marked| *marked != home && wants(*marked));
        assert!(replica.give_back(&kept, stays, Box::new(|result| assert!(result.is_ok()))).unwrap());
    }
}

fn copies(replica: &Replica) -> usize {
    keys().filter(|key| replica.store().get(key.as_bytes()).unwrap().is_some()).count()
}

#[test]
fn over_the_bound_hints_go_and_copies_stay_and_are_hinted_anew() {
    let (_, replica) = replica();
    keys().for_each(|key| put_for(&replica, &key, A));
    let bytes = replica.hinted_bytes(A);
    bounds(&replica, u64::MAX, bytes / 2);
    let dropped = replica.trim(A, wall_ms()).unwrap();
    assert_eq!(replica.stats.hints_dropped.load(Ordering::Relaxed), dropped);
    let left = hinted(&replica, A);
    assert!((10..20).contains(&left), "{left}");
    assert_eq!((replica.marked_homes(), copies(&replica)), (vec![A], KEYS as usize));
    // Nothing more is noted, and nobody is refused.
    put_for(&replica, &key(), A);
    assert_eq!(hinted(&replica, A), left);
    assert!(replica.store().get(key().as_bytes()).unwrap().is_some());
    replica.open_shelf(A).unwrap();
    // No more than there is room for; what was given makes room.
    let (mut after, mut pages) = (None, 0);
    loop {
        let sought = replica.hint_strays(after.as_ref(), wall_ms(), |_| Wanted::By(A)).unwrap();
        assert!(replica.hinted_bytes(A) <= bytes / 2, "nothing would be trimmed");
        give_all_back(&replica, A, |_| false);
        replica.recount_hints(A, wall_ms()).unwrap();
        (after, pages) = (sought.last, pages + 1);
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 1);
    replica.unmark(A).unwrap();
    assert_eq!((copies(&replica), replica.marked_homes()), (0, vec![]));
}

#[test]
fn old_hints_go_and_new_ones_stay() {
    let (_, replica) = replica();
    bounds(&replica, 60_000, u64::MAX);
    keys().for_each(|key| put_for(&replica, &key, A));
    let now_ms = wall_ms();
    assert_eq!(replica.trim(A, now_ms + 1000), Ok(0));
    assert!(replica.marked_homes().is_empty());
    assert_eq!(replica.trim(A, now_ms + 120_000), Ok(u64::from(KEYS)));
    assert_eq!((hinted(&replica, A), replica.hinted_bytes(A), copies(&replica)), (0, 0, KEYS as usize));
    put_for(&replica, &key(), A);
    assert_eq!(hinted(&replica, A), 1, "it is too old, not too much");
}

#[test]
fn what_a_marked_home_may_want_is_not_let_go_of_for_another() {
    let (_, replica) = replica();
    keys().for_each(|key| {
        put_for(&replica, &key, A);
        put_for(&replica, &key, B);
    });
    bounds(&replica, 0, u64::MAX);
    assert_eq!(replica.trim(B, wall_ms() + 1000), Ok(u64::from(KEYS)));
    give_all_back(&replica, A, |home| home == B);
    assert_eq!((hinted(&replica, A), copies(&replica)), (0, KEYS as usize), "B has not got them");
    replica.open_shelf(B).unwrap();
    replica.hint_strays(None, wall_ms(), |_| Wanted::By(B)).unwrap();
    replica.unmark(B).unwrap();
    give_all_back(&replica, B, |_| true);
    assert_eq!(copies(&replica), 0);
}

#[test]
fn a_mark_outlives_its_maker_and_copies_hinted_for_somebody_are_left_alone() {
    let (engine, first) = replica();
    keys().for_each(|key| put_for(&first, &key, A));
    bounds(&first, 0, u64::MAX);
    first.trim(A, wall_ms() + 1000).unwrap();
    put_for(&first, &key(), B);
    first.store().settle().unwrap();
    let second = replica_over(engine, Hlc(0));
    second.find_hints(wall_ms()).unwrap();
    assert_eq!((second.marked_homes(), second.hinted_homes()), (vec![A], vec![A, B]));
    assert!(second.hinted_bytes(B) > 0, "counted at start");
    let mut after = None;
    second.open_shelf(A).unwrap();
    loop {
        let sought = second.hint_strays(after.as_ref(), wall_ms(), |_| Wanted::Unhinted(ALL_HOMES)).unwrap();
        after = sought.last;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((hinted(&second, ALL_HOMES), hinted(&second, B)), (KEYS as usize, 1));
}
