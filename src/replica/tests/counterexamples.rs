//! How half-right rules lose or revive data, history by history. Each test is one rule of DESIGN "The object" and "Settling",
//! and the history that punishes whoever leaves it out; the rows stand in the order of the list they were collected in.

use super::settling::{merge, reap, sibling, with_floor, written};
use super::{key, put, replica, replica_over, value, values};
use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use crate::key::StorageKey;
use crate::message::data::Refusal;
use crate::message::operation::{Basis, Put};
use crate::message::settling::{Report, Stage};
use crate::object::Object;
use crate::object::retire::Below;
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::replica::clock::wall_ms;
use crate::settling::{Facts, Settling, Wanted};
use crate::storage::memory::MemoryEngine;
use std::collections::BTreeSet;
use std::sync::Arc;

const A: NodeTag = NodeTag(1);
const B: NodeTag = NodeTag(3);
const C: NodeTag = NodeTag(5);

fn held(replica: &Replica) -> Object {
    replica.read(&key()).unwrap()
}

fn facts(tag: u64) -> Facts {
    Facts { tag, others: BTreeSet::from([B, C]), closed: true, drained: true, due: true, ..Facts::default() }
}

fn report(tag: u64, stage: Stage, word: u64) -> Report {
    Report { tag, stage, word: Hlc(word), floor: Hlc(0) }
}

/// A, in a cluster of A, B and C whose clocks all stood at 10 at the last round. Nothing has gone wrong.
fn settled() -> Settling {
    let mut a = Settling::new(A);
    let all = facts(7);
    for other in [B, C] {
        a.heard(other, report(7, Stage::Compared, 10));
    }
    a.step(all.clone());
    a.drawn(Hlc(10));
    finish(&mut a, &all, &[]);
    assert_eq!(a.mark().0, Hlc(10));
    a
}

/// Does what is wanted, until nothing more happens, but for what these members refuse.
fn finish(a: &mut Settling, all: &Facts, refuse: &[NodeTag]) {
    let all = Facts { due: false, ..all.clone() };
    for _ in 0..8 {
        a.step(all.clone());
        match a.wanted() {
            Wanted::Compare(ticket, nodes) => {
                nodes.into_iter().filter(|node| !refuse.contains(node)).for_each(|node| a.compared(ticket, node));
            }
            Wanted::Sync(ticket, nodes) => {
                nodes.into_iter().filter(|node| !refuse.contains(node)).for_each(|node| a.synced(ticket, node));
            }
            Wanted::Draw | Wanted::Nothing => {}
        }
    }
}

fn word(a: &Settling) -> Hlc {
    a.report(Hlc(0)).word
}

#[test]
fn the_actor_goes_with_the_record() {
    // F writes v1, hands it off and lets go of it; then F writes v2 without having seen v1.
    let (f, home) = (replica(), replica());
    put(&f, &value("v1", Basis::Nothing)).unwrap();
    merge(&home, &held(&f), Hlc(1), None).unwrap();
    put(&f, &Put { value: None, ..value("", Basis::Local) }).unwrap();
    let floor = held(&f).highest();
    assert_eq!(reap(&f, floor, true).records, 1);
    put(&f, &value("v2", Basis::Nothing)).unwrap();
    merge(&home, &held(&f), Hlc(1), None).unwrap();
    assert_eq!(values(&held(&home)), ["v1", "v2"], "v2 covers nothing that F forgot");
}

#[test]
fn the_actor_of_increments_goes_with_the_record() {
    // F counted 3, handed that off and forgot it; then F counts 1 under a new birth.
    let counted = |birth: u64, hlc: u64, sum: i64| {
        let mut counter = sibling(2, 5, Some("0"));
        counter.increments.push((Actor { node: NodeTag(9), birth: Hlc(birth) }, Hlc(hlc), sum));
        written([counter])
    };
    let sums = |object: &Object| object.siblings[0].increments.iter().map(|(.., sum)| sum).sum::<i64>();
    assert_eq!(sums(&counted(1, 6, 3).merge(counted(8, 9, 1), Conflict::Siblings)), 4);
    assert_eq!(
        sums(&counted(1, 6, 3).merge(counted(1, 9, 1), Conflict::Siblings)),
        1,
        "what an outlived name would do"
    );
}

#[test]
fn the_actor_is_void_after_an_unclean_stop() {
    // The crash forgets x's write, which another home has; x writes again.
    let (x, home) = (replica(), replica());
    put(&x, &value("before", Basis::Nothing)).unwrap();
    let first = held(&x);
    put(&x, &value("acknowledged", Basis::Nothing)).unwrap();
    merge(&home, &held(&x), Hlc(1), None).unwrap();
    let engine = Arc::new(MemoryEngine::new());
    merge(&replica_over(engine.clone(), Hlc(0)), &first, Hlc(1), None).unwrap();
    let again = replica_over(engine, Hlc(u64::MAX));
    put(&again, &value("after", Basis::Nothing)).unwrap();
    merge(&home, &held(&again), Hlc(1), None).unwrap();
    assert_eq!(values(&held(&home)), ["before", "acknowledged", "after"]);
}

#[test]
fn a_whole_object_goes_below_the_floor_before_its_context_shrinks() {
    // A's delete y:9 covers x:5 and reached A and B; the mark is 7; C still holds x:5.
    let mut a = written([sibling(2, 5, Some("x")), sibling(3, 9, None)]);
    let c = written([sibling(2, 5, Some("x"))]);
    let below = Below { floor: Hlc(7), drift_ms_max: 500, is_member: &|_| true, ids_from: Hlc(0) };
    assert!(!a.retire(&below));
    assert_eq!(c.merge(a, Conflict::Siblings).live(wall_ms()).count(), 0, "x stays deleted");
}

#[test]
fn an_old_copy_of_what_was_reaped_is_recognised() {
    let home = replica();
    let copy = written([sibling(2, 50, Some("x"))]);
    merge(&home, &copy, Hlc(1), None).unwrap();
    put(&home, &Put { value: None, ..value("", Basis::Local) }).unwrap();
    let floor = held(&home).highest();
    home.raise_floor(floor);
    assert_eq!(reap(&home, floor, true).records, 1);
    for hint in [Hlc(0), Hlc(floor.0 - 1)] {
        assert_eq!(merge(&home, &copy, hint, None), Err(Refusal::Old), "a hint, a put or a repair that was late");
    }
    assert!(held(&home).is_empty());
}

#[test]
fn only_what_is_fsynced_everywhere_is_promised() {
    // A's clock is read at 40; B has everything in memory and does not fsync.
    let mut a = settled();
    let all = facts(7);
    a.step(all.clone());
    a.drawn(Hlc(40));
    finish(&mut a, &all, &[B]);
    assert_eq!(word(&a), Hlc(10));
    finish(&mut a, &all, &[]);
    assert_eq!(word(&a), Hlc(40));
}

#[test]
fn after_an_unclean_stop_words_wait_for_a_round() {
    // B came back in a new life: until everyone has closed the old links, a frame with an old dot may still arrive.
    let mut a = settled();
    let all = Facts { closed: false, ..facts(8) };
    a.step(all.clone());
    finish(&mut a, &all, &[]);
    assert_eq!(word(&a), Hlc(10));
    let all = facts(8);
    a.step(all.clone());
    a.drawn(Hlc(50));
    finish(&mut a, &all, &[]);
    assert_eq!(word(&a), Hlc(10), "B and C have not closed theirs");
    [B, C].iter().for_each(|other| a.heard(*other, report(8, Stage::Closed, 10)));
    finish(&mut a, &all, &[]);
    assert_eq!(word(&a), Hlc(10), "B and C have not compared with each other");
    [B, C].iter().for_each(|other| a.heard(*other, report(8, Stage::Compared, 10)));
    finish(&mut a, &all, &[]);
    assert_eq!(word(&a), Hlc(50));
}

#[test]
fn a_stamp_is_above_everything_in_the_object_it_answers() {
    // Where only the newest is kept, a stamp below the greatest entry of the context would let two homes empty each other.
    let home = replica();
    let ahead = Hlc::from_ms(wall_ms() + 200);
    let mut object = written([sibling(2, 5, Some("x"))]);
    object.context = [(Actor { node: A, birth: Hlc(1) }, ahead), (Actor { node: NodeTag(2), birth: Hlc(1) }, Hlc(5))]
        .into_iter()
        .collect::<Context>();
    merge(&home, &object, Hlc(1), None).unwrap();
    put(&home, &value("y", Basis::Local)).unwrap();
    let after = held(&home);
    assert!(after.siblings[0].dot.hlc > ahead);
    let merged = after.clone().merge(object, Conflict::Newest);
    assert_eq!(values(&merged), ["y"]);
    assert_eq!(values(&merged.merge(after, Conflict::Newest)), ["y"]);
}

#[test]
fn a_stamp_moves_the_nodes_clock() {
    let home = replica();
    let ahead = Hlc::from_ms(wall_ms() + 200);
    merge(&home, &written([sibling(2, ahead.0, Some("x"))]), Hlc(1), None).unwrap();
    put(&home, &value("y", Basis::Local)).unwrap();
    let stamped = held(&home).siblings[0].dot.hlc;
    assert!(stamped > ahead && home.clock.last() >= stamped, "the next key's dot is another");
}

#[test]
fn a_put_is_no_merge() {
    // The home holds A:5; a client writes with a context that knows nothing of it.
    let home = replica();
    merge(&home, &written([sibling(1, 5, Some("unseen"))]), Hlc(1), None).unwrap();
    let seen = Basis::given([(Actor { node: C, birth: Hlc(1) }, Hlc(3))].into_iter().collect());
    put(&home, &value("new", seen)).unwrap();
    assert_eq!(values(&held(&home)), ["unseen", "new"]);
}

#[test]
fn a_flush_speaks_for_past_and_away_members() {
    // The key was last written by a node that is gone; this home has its copy.
    let home = replica();
    merge(&home, &written([sibling(77, 50, Some("x"))]), Hlc(1), None).unwrap();
    let reached = home.reached(1);
    assert!(reached.seen.contains(&(0, NodeTag(77), Hlc(50))), "{:?}", reached.seen);
}

#[test]
fn who_is_not_counted_by_all_holds_the_mark_and_knows_no_floor() {
    // A newcomer that some do not count yet: the mark must not rise past its first dots.
    let mut newcomer = Settling::new(A);
    newcomer.step(facts(9));
    newcomer.heard(B, Report { floor: Hlc(30), ..report(9, Stage::Restless, 30) });
    newcomer.heard(C, Report { floor: Hlc(40), ..report(8, Stage::Compared, 40) });
    assert_eq!(newcomer.floor_of_all(), None, "C does not count it");
    newcomer.heard(C, Report { floor: Hlc(40), ..report(9, Stage::Restless, 40) });
    assert_eq!(newcomer.floor_of_all(), Some(Hlc(40)), "its stamps begin above this");
    let mut c = settled();
    c.step(Facts { others: BTreeSet::from([B, C, NodeTag(9)]), ..facts(10) });
    assert_eq!(c.mark(), (Hlc(0), NodeTag(9)));
}

#[test]
fn an_old_copy_is_recognised_by_its_senders_floor_and_not_by_its_clock() {
    // Read at 1000, before the sender applied the tombstone 500; the receiver's floor is 600.
    let home = replica();
    home.raise_floor(Hlc(600));
    assert_eq!(merge(&home, &written([sibling(2, 400, Some("x"))]), Hlc(599), None), Err(Refusal::Old));
    assert!(held(&home).is_empty());
}

#[test]
fn absence_covers_nothing() {
    // A complete home has silently lost a record: "a key I lack is settled" would delete it everywhere.
    let home = with_floor();
    let good = written([sibling(2, 50, Some("x"))]);
    assert_eq!(merge(&home, &good, home.floor(), None), Ok(()), "a peer that has settled as much still has it");
    assert_eq!(values(&held(&home)), ["x"]);
    assert_eq!(values(&Object::default().merge(good, Conflict::Siblings)), ["x"]);
}

#[test]
fn what_a_loss_has_uncovered_goes_although_the_others_hold_the_key() {
    // Five wrote x to y, each over the last; all of it is settled, and B has forgotten who wrote before y. A's disk silently
    // loses everything after x.
    let (a, b) = (with_floor(), with_floor());
    merge(&a, &written([sibling(2, 50, Some("x"))]), a.floor(), None).unwrap();
    let overwritten = (3..6).map(|node| sibling(node, 50 + node, Some("between")));
    let all = [sibling(2, 50, Some("x"))].into_iter().chain(overwritten).chain([sibling(6, 80, Some("y"))]);
    merge(&b, &written(all), b.floor(), None).unwrap();
    assert_eq!(reap(&b, b.floor(), true).records, 1);
    merge(&a, &held(&b), a.floor(), None).unwrap();
    assert_eq!(values(&held(&a)), ["x", "y"], "nothing covers x any more");
    let given = held(&b);
    let may = |_: &StorageKey, dot: &Dot| !given.siblings.iter().any(|sibling| sibling.dot == *dot);
    let keys = a.settled(&[], None, a.floor(), &may).unwrap();
    assert_eq!(a.forget_settled(keys, a.floor(), &may).unwrap(), 1);
    assert_eq!(values(&held(&a)), ["y"]);
    // A is complete again: its copies are trusted.
    merge(&b, &held(&a), a.floor_borne(), None).unwrap();
    assert_eq!(values(&held(&b)), ["y"], "x stays overwritten");
}

#[test]
fn nothing_of_a_doubtful_copy_is_taken_before_all_homes_were_asked() {
    // Taking the context and not the sibling would drop good copies at the next comparison.
    let home = with_floor();
    let doubtful = written([sibling(2, 50, Some("x")), sibling(2, 200, Some("y"))]);
    let mut doubtful = doubtful.merge(written([sibling(4, 60, Some("z"))]), Conflict::Siblings);
    assert_eq!(merge(&home, &doubtful, Hlc(0), None), Err(Refusal::Old));
    assert!(held(&home).is_empty(), "neither siblings nor context");
    // When all were asked and none had it, the sibling goes and what is new stays.
    assert_eq!(doubtful.drop_forgotten(home.floor(), &held(&home)), 1);
    assert_eq!(merge(&home, &doubtful, home.floor(), None), Ok(()));
    assert_eq!(values(&held(&home)), ["y"]);
}

#[test]
fn a_hold_ends_by_a_comparison_that_began_after_the_miss_and_reached_its_end() {
    let mut a = settled();
    let all = facts(7);
    a.step(all.clone());
    a.drawn(Hlc(40));
    a.step(Facts { missed: BTreeSet::from([B]), ..all.clone() });
    let Wanted::Compare(ticket, nodes) = a.wanted() else { panic!("{:?}", a.wanted()) };
    assert_eq!(nodes, BTreeSet::from([B]));
    a.compared(ticket - 1, B);
    finish(&mut a, &all, &[B]);
    assert_eq!(word(&a), Hlc(10), "an exchange that had begun before proves nothing");
    finish(&mut a, &all, &[]);
    assert_eq!(word(&a), Hlc(40));
}

#[test]
fn an_acknowledgement_needs_the_dot_in_the_record_or_covered() {
    let home = with_floor();
    let late = written([sibling(2, 50, Some("x"))]);
    assert_eq!(merge(&home, &late, Hlc(0), None), Err(Refusal::Old), "ignored is not acknowledged");
    let covered = written([sibling(2, 150, Some("y"))]);
    merge(&home, &covered, Hlc(0), None).unwrap();
    assert_eq!(merge(&home, &late, Hlc(0), None), Ok(()), "covered is");
    assert!(held(&home).context.covers(&Dot { actor: Actor { node: NodeTag(2), birth: Hlc(1) }, hlc: Hlc(50) }));
}
