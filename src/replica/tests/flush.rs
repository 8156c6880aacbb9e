//! What was flushed is seen by nobody, counted by nobody, and swept away, however it comes or came here.

use super::{ME, key, put, replica, replica_over, value, values};
use crate::causality::{Actor, Dot, Hlc, NodeTag};
use crate::key::{Slots, StorageKey};
use crate::merkle::tree::Run;
use crate::message::operation::Basis;
use crate::object::flush::{FlushLine, FlushLines};
use crate::object::{Object, Sibling};
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::replica::clock::wall_ms;
use crate::replica::write::NotStored;
use crate::storage::batch::{Batch, Keyed};
use crate::storage::memory::MemoryEngine;
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::{Arc, Barrier};

fn minted(node: u64, hlc: u64) -> Object {
    let dot = Dot { hlc: Hlc(hlc), actor: Actor { node: NodeTag(node), birth: Hlc(1) } };
    let mut object = Object::default();
    object.overwrite(Sibling::new(dot, NodeTag(node), Some(Bytes::from(format!("{node}:{hlc}"))), None));
    object
}

fn take_in(replica: &Arc<Replica>, key: &StorageKey, object: Object, conflict: Conflict) {
    let mut batch = Batch::new();
    replica.merge(&mut batch, key, object, Hlc(0), conflict, None).unwrap();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
}

fn lines(database: u8, entries: &[(u64, u64)]) -> FlushLines {
    FlushLines::from([(database, entries.iter().map(|(node, hlc)| (NodeTag(*node), Hlc(*hlc))).collect())])
}

/// The line that a flush of database 0 draws on a node alone.
fn flush_now(replica: &Replica) -> FlushLines {
    let reached = replica.reached(1);
    let own = [(ME, reached.own)];
    FlushLines::from([(0, own.into_iter().chain(reached.seen.iter().map(|(_, node, hlc)| (*node, *hlc))).collect())])
}

fn count(replica: &Replica, database: u8) -> u64 {
    replica.count(Slots::ALL, database).unwrap()
}

fn sweep(replica: &Arc<Replica>) {
    let mut sweep = replica.begin_sweep();
    loop {
        let mut batch = Batch::new();
        let more = replica.sweep_page(&mut sweep, &mut batch).unwrap();
        replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
        if more.is_none() {
            break;
        }
    }
    replica.end_sweep(&sweep);
}

#[test]
fn a_flush_is_felt_before_any_record_was_touched() {
    let replica = replica();
    let context = put(&replica, &value("mine", Basis::Local)).unwrap();
    take_in(&replica, &key(), minted(9, 77), Conflict::Siblings);
    let other = StorageKey::new(1, b"key").unwrap();
    take_in(&replica, &other, minted(9, 78), Conflict::Siblings);
    assert_eq!((count(&replica, 0), count(&replica, 1)), (1, 1));

    let flushed = flush_now(&replica);
    assert_eq!(flushed[&0].of(NodeTag(9)), Hlc(77), "what was seen of another node, in this database");
    replica.draw_lines(&flushed);
    assert!(replica.is_sweeping());
    let object = replica.read(&key()).unwrap();
    assert!(object.siblings.is_empty() && object.context.descends(&context));
    assert_eq!((count(&replica, 0), count(&replica, 1)), (0, 1), "one database is flushed");
    assert_eq!(values(&replica.read(&other).unwrap()), ["9:78"]);

    put(&replica, &value("later", Basis::Local)).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["later"]);
    assert_eq!(count(&replica, 0), 1);
    sweep(&replica);
    assert!(!replica.is_sweeping());
    assert_eq!((count(&replica, 0), replica.keyspace(0), replica.keyspace(1)), (1, (1, 0), (1, 0)));
    assert_eq!(values(&replica.read(&key()).unwrap()), ["later"]);
}

#[test]
fn an_old_copy_that_comes_later_brings_nothing_back_and_a_newer_one_lives() {
    let replica = replica();
    replica.draw_lines(&lines(0, &[(9, 50)]));
    take_in(&replica, &key(), minted(9, 50), Conflict::Siblings);
    let object = replica.read(&key()).unwrap();
    assert!(object.siblings.is_empty() && !object.context.is_empty(), "what it had replaced stays replaced");
    assert_eq!((count(&replica, 0), replica.keyspace(0)), (0, (0, 0)));
    take_in(&replica, &key(), minted(9, 51), Conflict::Siblings);
    take_in(&replica, &key(), minted(8, 2), Conflict::Siblings);
    assert_eq!(values(&replica.read(&key()).unwrap()), ["8:2", "9:51"], "other nodes' clocks do not matter");
}

#[test]
fn where_only_the_newest_is_kept_a_dead_value_does_not_outlast_a_living_one() {
    // The living one was written after the flush, by a node whose clock is behind.
    let after_merge = replica();
    take_in(&after_merge, &key(), minted(9, 100), Conflict::Newest);
    after_merge.draw_lines(&lines(0, &[(9, 100)]));
    take_in(&after_merge, &key(), minted(8, 5), Conflict::Newest);
    assert_eq!(values(&after_merge.read(&key()).unwrap()), ["8:5"]);
    take_in(&after_merge, &key(), minted(9, 100), Conflict::Newest);
    assert_eq!(values(&after_merge.read(&key()).unwrap()), ["8:5"]);
}

#[test]
fn a_decision_made_on_what_was_flushed_meanwhile_writes_nothing() {
    let replica = replica();
    put(&replica, &value("old", Basis::Local)).unwrap();
    let seen = replica.read(&key()).unwrap();
    replica.draw_lines(&flush_now(&replica));
    assert_eq!(put(&replica, &value("new", Basis::seen(seen))), Err(NotStored::Raced));
    let seen = replica.read(&key()).unwrap();
    put(&replica, &value("new", Basis::seen(seen))).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["new"]);
}

#[test]
fn a_node_stamps_above_its_own_line() {
    let replica = replica();
    let ahead = Hlc::from_ms(wall_ms() + 60_000);
    replica.draw_lines(&lines(0, &[(ME.0, ahead.0)]));
    put(&replica, &value("a", Basis::Local)).unwrap();
    assert_eq!(values(&replica.read(&key()).unwrap()), ["a"]);
}

#[test]
fn an_uncommitted_record_is_swept_too() {
    let replica = replica();
    let mut batch = Batch::new();
    replica.merge(&mut batch, &key(), minted(9, 7), Hlc(0), Conflict::Siblings, None).unwrap();
    replica.draw_lines(&lines(0, &[(9, 7)]));
    sweep(&replica);
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    assert_eq!((replica.keyspace(0), count(&replica, 0)), ((0, 0), 0));
}

#[test]
fn a_flush_during_a_sweep_is_swept_as_well() {
    let replica = replica();
    take_in(&replica, &key(), minted(9, 7), Conflict::Siblings);
    replica.draw_lines(&lines(0, &[(8, 1)]));
    let mut first = replica.begin_sweep();
    let mut batch = Batch::new();
    while replica.sweep_page(&mut first, &mut batch).unwrap().is_some() {}
    replica.draw_lines(&lines(0, &[(8, 1), (9, 7)]));
    replica.end_sweep(&first);
    assert!(replica.is_sweeping() && replica.keyspace(0) == (1, 0));
    sweep(&replica);
    assert!(!replica.is_sweeping() && replica.keyspace(0) == (0, 0));
}

#[test]
fn what_a_lost_commit_brings_back_is_swept_again() {
    let engine = Arc::new(MemoryEngine::new());
    let replica = replica_over(engine, Hlc(0));
    replica.flushes.sweep_again(u16::MAX);
    assert!(!replica.is_sweeping(), "nothing was flushed");
    take_in(&replica, &key(), minted(9, 7), Conflict::Siblings);
    let before = replica.store().get(key().as_bytes()).unwrap();
    replica.draw_lines(&lines(0, &[(9, 7)]));
    sweep(&replica);
    let mut batch = Batch::new();
    replica
        .store()
        .update(&mut batch, key().as_bytes(), |_| ((), before.map(|record| Keyed::copied(key().as_bytes(), record))))
        .unwrap();
    replica.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    replica.count_all().unwrap();
    assert_eq!((replica.keyspace(0), replica.is_sweeping()), ((1, 0), false));
    assert!(replica.read(&key()).unwrap().siblings.is_empty(), "nobody sees it all the same");
    replica.flushes.sweep_again(u16::MAX);
    assert!(replica.is_sweeping());
    sweep(&replica);
    assert_eq!(replica.keyspace(0), (0, 0));
}

#[test]
fn what_was_seen_and_swept_outlasts_a_clean_stop_and_is_counted_anew_after_another() {
    let engine = Arc::new(MemoryEngine::new());
    let first = replica_over(engine.clone(), Hlc(0));
    take_in(&first, &key(), minted(9, 7), Conflict::Siblings);
    take_in(&first, &StorageKey::new(3, b"other").unwrap(), minted(8, 5), Conflict::Siblings);
    let flushed = lines(0, &[(9, 6)]);
    first.draw_lines(&flushed);
    let unswept = first.flushes_saved(4);
    sweep(&first);
    let saved = first.flushes_saved(4);

    let clean = replica_over(engine.clone(), Hlc(0));
    assert!(clean.flushes_restored(&saved, 5).is_err(), "another life's");
    assert!(clean.flushes_restored(&saved[..saved.len() - 1], 4).is_err());
    clean.flushes_restored(&saved, 4).unwrap();
    clean.draw_lines(&flushed);
    assert!(!clean.is_sweeping(), "that was done");
    assert_eq!(clean.reached(u16::MAX).seen, [(0, NodeTag(9), Hlc(7)), (3, NodeTag(8), Hlc(5))]);
    clean.draw_lines(&lines(0, &[(9, 7)]));
    assert!(clean.is_sweeping(), "a new line is a new sweep");

    let interrupted = replica_over(engine.clone(), Hlc(0));
    interrupted.flushes_restored(&unswept, 4).unwrap();
    interrupted.draw_lines(&flushed);
    assert!(interrupted.is_sweeping());

    let unclean = replica_over(engine, Hlc(0));
    unclean.count_all().unwrap();
    assert_eq!(unclean.reached(0b1000).seen, [(3, NodeTag(8), Hlc(5))]);
    assert_eq!(unclean.reached(1).seen, [(0, NodeTag(9), Hlc(7))]);
}

/// A writer that had not seen the line when it began, and a sweep that passed its record by before it was written: the
/// record keeps nothing dead all the same. Values are large so that the writer takes its time.
#[test]
fn a_record_that_is_written_during_a_flush_keeps_nothing_dead() {
    let replica = replica();
    for turn in 1..=60u64 {
        let key = StorageKey::new(0, &turn.to_be_bytes()).unwrap();
        let mut copy = minted(9, turn);
        copy.siblings[0].value = Some(Bytes::from(vec![0; 2 << 20]));
        let started = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                started.wait();
                take_in(&replica, &key, copy, Conflict::Siblings);
            });
            started.wait();
            // Now a little sooner, now a little later.
            (0..turn * 20).for_each(|_| std::hint::spin_loop());
            replica.draw_lines(&lines(0, &[(9, turn)]));
            sweep(&replica);
        });
        assert_eq!((replica.is_sweeping(), replica.keyspace(0)), (false, (0, 0)), "turn {turn}");
    }
}

/// What happens to a few keys of one node.
#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    TakeIn(u8, u64, u64),
    Flush(Vec<(u64, u64)>),
    FlushAll,
    Sweep,
    Page,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0u8..4).prop_map(Step::Put),
        1 => (0u8..4).prop_map(Step::Delete),
        4 => (0u8..4, 10u64..13, 1u64..60).prop_map(|(key, node, hlc)| Step::TakeIn(key, node, hlc)),
        2 => proptest::collection::btree_map(10u64..13, 1u64..60, 1..3).prop_map(|line| Step::Flush(line.into_iter().collect())),
        1 => Just(Step::FlushAll),
        1 => Just(Step::Sweep),
        1 => Just(Step::Page),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Beside the node runs a naive one that never stores what is dead: it applies every flush to every key at once. Both
    /// show the same at any time, and hold, count and add up to the same once swept.
    #[test]
    fn a_lazy_flush_is_one_that_touches_every_record_at_once(steps in steps()) {
        let replica = replica();
        let mut naive: Vec<Object> = vec![Object::default(); 4];
        let mut drawn = FlushLine::default();
        let name = |at: u8| StorageKey::new(0, &[at]).unwrap();
        for step in steps {
            match step {
                Step::Put(at) | Step::Delete(at) => {
                    let mut write = value("v", Basis::Local);
                    if matches!(step, Step::Delete(_)) {
                        write.value = None;
                    }
                    let mut batch = Batch::new();
                    replica.put(&mut batch, &name(at), &write, Conflict::Siblings, None, wall_ms()).unwrap();
                    replica.submit(batch, false, Box::new(|_| {}));
                    // Its dot cannot be foretold; what it does can: all that was shown is replaced by one sibling.
                    let new = replica.read(&name(at)).unwrap();
                    prop_assert!(new.siblings.len() == 1 && new.context.descends(&naive[usize::from(at)].context));
                    naive[usize::from(at)] = new;
                }
                Step::TakeIn(at, node, hlc) => {
                    take_in(&replica, &name(at), minted(node, hlc), Conflict::Siblings);
                    let mut taken = minted(node, hlc);
                    taken.flush(&drawn);
                    let old = std::mem::take(&mut naive[usize::from(at)]);
                    naive[usize::from(at)] = old.merge(taken, Conflict::Siblings);
                }
                Step::Flush(_) | Step::FlushAll => {
                    if let Step::Flush(entries) = step {
                        drawn.join(&entries.into_iter().map(|(node, hlc)| (NodeTag(node), Hlc(hlc))).collect());
                    } else {
                        drawn.join(&flush_now(&replica)[&0]);
                    }
                    for object in &mut naive {
                        object.flush(&drawn);
                    }
                    replica.draw_lines(&FlushLines::from([(0, drawn.clone())]));
                }
                Step::Sweep => sweep(&replica),
                Step::Page => {
                    let mut batch = Batch::new();
                    replica.sweep_page(&mut replica.begin_sweep(), &mut batch).unwrap();
                }
            }
            for (at, object) in naive.iter().enumerate() {
                prop_assert_eq!(&replica.read(&name(at as u8)).unwrap(), object);
            }
            prop_assert_eq!(count(&replica, 0), naive.iter().filter(|object| object.has_value()).count() as u64);
        }
        sweep(&replica);
        let held = naive.iter().filter(|object| object.has_value()).count() as u64;
        prop_assert_eq!(replica.keyspace(0), (held, 0));
        let again = super::replica();
        for (at, object) in naive.into_iter().enumerate() {
            take_in(&again, &name(at as u8), object, Conflict::Siblings);
        }
        let whole = [Run { bits: 0, index: 0 }];
        prop_assert_eq!(replica.trees.sums(0, &whole), again.trees.sums(0, &whole));
    }
}
