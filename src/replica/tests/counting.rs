//! What is added here stays, whatever this node forgets.

use super::*;
use crate::causality::{Actor, Dot};
use crate::message::operation::Counted;
use crate::object::Sibling;
use crate::replica::count_up::{Addition, Reading};

fn try_add(
    replica: &Arc<Replica>,
    amounts: &[i64],
    reading: Reading,
    home: Option<NodeTag>,
) -> Result<Counted, NotStored> {
    let mut batch = Batch::new();
    let addition = Addition { amounts, reading };
    let stored = replica.increment(&mut batch, &key(), addition, Conflict::Siblings, home, wall_ms());
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    stored.map(|stored| *stored.counted.unwrap())
}

fn add(replica: &Arc<Replica>, amount: i64) -> i64 {
    try_add(replica, &[amount], Reading::default(), None).unwrap().numbers[0].unwrap()
}

fn shown(object: &Object) -> Bytes {
    object.shown_value(wall_ms()).unwrap()
}

fn read(replica: &Arc<Replica>) -> Object {
    replica.read(&key()).unwrap()
}

/// A reading of complete homes.
fn shown_by_homes(object: &Object) -> Reading {
    Reading { object: object.clone(), floor: Hlc(1), of_home: true }
}

#[test]
fn one_life_adds_to_one_entry() {
    let replica = replica();
    assert_eq!([add(&replica, 3), add(&replica, 4)], [3, 7]);
    let object = read(&replica);
    assert_eq!((object.siblings.len(), object.siblings[0].increments.len()), (1, 1));
    assert_eq!(shown(&object), "7");
}

/// facts: an actor is void after an unclean stop, the same for increments.
#[test]
fn what_an_unclean_stop_forgot_keeps_counting_on_other_replicas() {
    let engine = Arc::new(MemoryEngine::new());
    let first = replica_over(engine.clone(), Hlc(0));
    add(&first, 1);
    let forgotten = engine_state(&engine);
    add(&first, 1);
    let acknowledged_elsewhere = read(&first);
    let unclean = replica_over(forgotten, first.clock.last());
    add(&unclean, 5);
    let whole = read(&unclean).merge(acknowledged_elsewhere, Conflict::Siblings);
    assert_eq!(shown(&whole), "7");
}

/// A new engine that holds what this one does now.
fn engine_state(engine: &Arc<MemoryEngine>) -> Arc<MemoryEngine> {
    let copy = MemoryEngine::new();
    let record = engine.get(Space::Objects, key().as_bytes()).unwrap();
    let write = Write { space: Space::Objects, key: Bytes::copy_from_slice(key().as_bytes()), value: record };
    copy.commit(&[write], true).unwrap();
    Arc::new(copy)
}

/// facts: F's entry (F → 6, sum 3) handed off and forgotten; then (F → 9, sum 1).
#[test]
fn what_was_handed_off_and_forgotten_keeps_counting() {
    let fallback = replica();
    let home = NodeTag(42);
    try_add(&fallback, &[3], Reading::default(), Some(home)).unwrap();
    let handed_off = read(&fallback);
    fallback.store().settle().unwrap();
    for kept in fallback.kept_for(home, None, 10, 1 << 20).unwrap().kept {
        assert!(fallback.give_back(&kept, |_| false, Box::new(|result| assert!(result.is_ok()))).unwrap());
    }
    assert!(read(&fallback).is_empty());
    try_add(&fallback, &[1], shown_by_homes(&handed_off), Some(home)).unwrap();
    assert_eq!(shown(&handed_off.merge(read(&fallback), Conflict::Siblings)), "4");
}

#[test]
fn what_others_hold_is_taken_in_and_added_to() {
    let (here, there) = (replica(), replica_over(Arc::new(MemoryEngine::new()), Hlc(0)));
    put(&there, &value("40", Basis::Local)).unwrap();
    let counted = try_add(&here, &[2], shown_by_homes(&read(&there)), None).unwrap();
    assert_eq!(counted.numbers.as_slice(), [Some(42)]);
    assert_eq!(read(&here).siblings.len(), 1, "no sibling of what was read, but an entry in it");
    assert!(read(&here).has_entry(&counted.entry) && !read(&there).has_entry(&counted.entry));
}

#[test]
fn what_is_no_number_stays_as_it_is() {
    let replica = replica();
    put(&replica, &value("v", Basis::Local)).unwrap();
    let before = read(&replica);
    let refused = try_add(&replica, &[1], Reading::default(), None);
    assert_eq!(refused, Err(NotStored::Failed(Failure::NotInteger)));
    assert_eq!(read(&replica), before);
}

#[test]
fn a_name_whose_sum_is_full_is_followed_by_a_new_one() {
    let replica = replica();
    add(&replica, i64::MAX);
    let other = Actor { node: NodeTag(9), birth: Hlc(1) };
    let mut theirs = read(&replica);
    let later = Hlc(theirs.highest().0 + 1);
    theirs.siblings[0].increments.push((other, later, -i64::MAX));
    assert_eq!(try_add(&replica, &[5], shown_by_homes(&theirs), None).unwrap().numbers[0], Some(5));
    assert_eq!(add(&replica, 1), 6);
    assert_eq!(read(&replica).siblings[0].increments.len(), 3);
}

fn settled_counter(hlc: u64) -> Object {
    let actor = Actor { node: NodeTag(9), birth: Hlc(1) };
    let mut counter = Sibling::new(Dot { hlc: Hlc(hlc), actor }, NodeTag(9), Some(Bytes::from_static(b"0")), None);
    counter.counter = true;
    counter.increments.push((actor, Hlc(hlc), 3));
    let mut object = Object::default();
    object.overwrite(counter);
    object
}

/// What is added to a forgotten sibling would be acknowledged and dropped with it.
#[test]
fn a_fallback_does_not_add_to_what_may_be_forgotten_at_the_homes() {
    let fallback = replica();
    fallback.raise_floor(Hlc(100));
    let old = settled_counter(5);
    let on_loan = Reading { object: old.clone(), floor: Hlc(0), of_home: false };
    let counted = try_add(&fallback, &[1], on_loan, Some(NodeTag(42))).unwrap();
    assert!(counted.entry.sibling.hlc > Hlc(100) && counted.numbers[0] == Some(4));
    let counted = try_add(&fallback, &[1], shown_by_homes(&old), Some(NodeTag(42))).unwrap();
    assert!(counted.numbers[0] == Some(5));
    let fresh = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    fresh.raise_floor(Hlc(100));
    let counted = try_add(&fresh, &[1], shown_by_homes(&old), Some(NodeTag(42))).unwrap();
    assert_eq!(counted.entry.sibling.hlc, Hlc(5), "a home has just shown it");
}

#[test]
fn a_home_whose_floor_rose_meanwhile_reads_again() {
    let home = replica();
    home.raise_floor(Hlc(100));
    let refused = try_add(&home, &[1], shown_by_homes(&settled_counter(5)), None);
    assert_eq!(refused, Err(NotStored::Raced));
    assert!(read(&home).is_empty());
    let now = Reading { floor: Hlc(100), ..shown_by_homes(&settled_counter(5)) };
    assert_eq!(try_add(&home, &[1], now, None).unwrap().numbers[0], Some(4));
}

/// A node that has lost copies does not know what was forgotten: of what R replicas hold together, it adds to nothing when a
/// copy on loan may be in it.
#[test]
fn who_lost_copies_adds_to_no_sibling_that_may_be_on_loan() {
    let fallback = replica();
    fallback.floors_unknown();
    let on_loan = Reading { floor: Hlc(0), ..shown_by_homes(&settled_counter(5)) };
    let counted = try_add(&fallback, &[1], on_loan, Some(NodeTag(42))).unwrap();
    assert!(counted.entry.sibling.hlc > Hlc(5), "it begins anew");
    let fresh = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    fresh.floors_unknown();
    let counted = try_add(&fresh, &[1], shown_by_homes(&settled_counter(5)), Some(NodeTag(42))).unwrap();
    assert_eq!(counted.entry.sibling.hlc, Hlc(5), "homes alone have shown it");
}

#[test]
fn a_tombstone_that_only_this_home_has_forgotten_holds_up_no_adding() {
    let home = replica();
    home.raise_floor(Hlc(100));
    let mut deleted = settled_counter(4);
    let actor = Actor { node: NodeTag(9), birth: Hlc(1) };
    deleted.overwrite(Sibling::new(Dot { hlc: Hlc(5), actor }, NodeTag(9), None, None));
    assert_eq!(try_add(&home, &[1], shown_by_homes(&deleted), None).unwrap().numbers[0], Some(1));
}

#[test]
fn what_was_flushed_is_not_added_to() {
    let replica = replica();
    add(&replica, 3);
    let line = [(ME, replica.clock.last())].into_iter().collect();
    let lines = [(0, line)].into_iter().collect();
    let before = read(&replica);
    replica.draw_lines(&lines);
    assert_eq!(try_add(&replica, &[1], shown_by_homes(&before), None).unwrap().numbers[0], Some(1));
    assert_eq!(shown(&read(&replica)), "1");
    let fresh = replica_over(Arc::new(MemoryEngine::new()), Hlc(0));
    fresh.draw_lines(&lines);
    assert_eq!(
        try_add(&fresh, &[1], shown_by_homes(&before), None).unwrap().numbers[0],
        Some(1),
        "nor where it never was"
    );
}
