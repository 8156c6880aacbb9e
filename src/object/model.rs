//! The laws of objects, held against a naive model that keeps full causal histories.
//!
//! The model is slow and obvious: a replica is the *set of all writes it has heard of*, each with the set of writes its
//! writer had seen. What it shows is every write that no other write in the set had seen. An [`Object`] must show the
//! same, with a few bytes. And it remembers each single addition to a number with the write it was made to; what an object
//! shows as a number must be their sum.

use super::counter::Increment;
use super::{Object, Sibling};
use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use crate::policy::Conflict;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const REPLICAS: usize = 3;

/// A step of a history on a few replicas of one key.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A plain SET at a replica: has seen all that the replica holds.
    Overwrite { at: usize, tombstone: bool },
    /// A DYN.SET at a replica, with the context read at another one earlier (or none at all).
    Put { at: usize, read: Option<usize>, tombstone: bool },
    /// One replica's state reaches another, now or late (an old state).
    Send { from: usize, to: usize, age: usize },
    /// EXPIRE at a replica.
    Expire { at: usize, when: u64 },
    /// INCRBY at a replica that has read another one.
    Increment { at: usize, read: usize, by: i64 },
    /// A replica falls back to an old state of its own; the names under which it wrote are void.
    Crash { at: usize, age: usize },
    /// A replica hands its record to another and forgets it.
    HandOff { at: usize, to: usize },
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step =
        prop_oneof![
            (0..REPLICAS, any::<bool>()).prop_map(|(at, tombstone)| Step::Overwrite { at, tombstone }),
            (0..REPLICAS, proptest::option::of(0..REPLICAS), any::<bool>())
                .prop_map(|(at, read, tombstone)| Step::Put { at, read, tombstone }),
            (0..REPLICAS, 0..REPLICAS, 0usize..4).prop_map(|(from, to, age)| Step::Send { from, to, age }),
            (0..REPLICAS, 1u64..100).prop_map(|(at, when)| Step::Expire { at, when }),
            (0..REPLICAS, 0..REPLICAS, -5i64..9).prop_map(|(at, read, by)| Step::Increment { at, read, by }),
            (0..REPLICAS, 0..REPLICAS, -5i64..9).prop_map(|(at, read, by)| Step::Increment { at, read, by }),
            (0..REPLICAS, 0usize..3).prop_map(|(at, age)| Step::Crash { at, age }),
            (0..REPLICAS, 0..REPLICAS).prop_map(|(at, to)| Step::HandOff { at, to }),
        ];
    proptest::collection::vec(step, 1..40)
}

/// A naive replica: every write heard of, with all its writer had seen (itself excluded).
type History = BTreeMap<Dot, BTreeSet<Dot>>;

fn shown(history: &History) -> BTreeSet<Dot> {
    let seen_by_another: BTreeSet<Dot> = history.values().flatten().copied().collect();
    history.keys().filter(|dot| !seen_by_another.contains(dot)).copied().collect()
}

/// What a write wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tombstone,
    Number(i64),
    Counter,
}

#[derive(Clone)]
pub(crate) struct Replica {
    pub(crate) object: Object,
    history: History,
    kinds: BTreeMap<Dot, Kind>,
    /// Each addition, by its stamp: to which write, and how much.
    added: BTreeMap<Hlc, (Dot, i64)>,
    birth: Hlc,
}

impl Default for Replica {
    fn default() -> Replica {
        Replica {
            object: Object::default(),
            history: History::new(),
            kinds: BTreeMap::new(),
            added: BTreeMap::new(),
            birth: Hlc(1),
        }
    }
}

impl Replica {
    /// Writes that are shown and have a value, the latest last.
    fn values(&self) -> Vec<Dot> {
        shown(&self.history).into_iter().filter(|dot| self.kinds[dot] != Kind::Tombstone).collect()
    }

    fn added_to(&self, dot: &Dot) -> i64 {
        self.added.values().filter(|(to, _)| to == dot).map(|(_, by)| by).sum()
    }

    /// Hears of all that another one has heard of.
    fn learn(&mut self, other: Replica) {
        self.history.extend(other.history);
        self.kinds.extend(other.kinds);
        self.added.extend(other.added);
    }

    /// What GET must show.
    fn number(&self) -> Option<i64> {
        let values = self.values();
        let last = values.last()?;
        Some(match self.kinds[last] {
            Kind::Number(base) => base + self.added_to(last),
            _ => values.iter().filter(|dot| self.kinds[*dot] == Kind::Counter).map(|dot| self.added_to(dot)).sum(),
        })
    }
}

/// Runs a history; returns all states each replica ever had, the last one last.
pub(crate) fn run(steps: &[Step], conflict: Conflict) -> Vec<Vec<Replica>> {
    let mut states: Vec<Vec<Replica>> = vec![vec![Replica::default()]; REPLICAS];
    let mut clock = 0u64;
    for step in steps {
        let latest = |replica: usize| states[replica].last().cloned().unwrap_or_default();
        clock += 10;
        let (at, next) = match *step {
            Step::Overwrite { at, tombstone } => (at, write(latest(at), at, None, &mut clock, tombstone, conflict)),
            Step::Put { at, read, tombstone } => {
                let reader = read.map(latest).unwrap_or_default();
                (at, write(latest(at), at, Some(reader), &mut clock, tombstone, conflict))
            }
            Step::Send { from, to, age } => {
                let old = states[from].iter().rev().nth(age).cloned().unwrap_or_default();
                (to, receive(latest(to), old, conflict))
            }
            Step::Expire { at, when } => {
                let mut replica = latest(at);
                let stamp = Hlc(replica.object.highest().0.max(clock) + 1);
                replica.object.expire(0, stamp, Some(when));
                (at, replica)
            }
            Step::Increment { at, read, by } => (at, increment(latest(at), at, latest(read), &mut clock, by, conflict)),
            Step::Crash { at, age } => {
                let old = states[at].iter().rev().nth(age).cloned().unwrap_or_default();
                (at, Replica { birth: Hlc(clock), ..old })
            }
            Step::HandOff { at, to } if at != to => {
                let taken = receive(latest(to), latest(at), conflict);
                states[to].push(taken);
                (at, Replica { birth: Hlc(clock), ..Replica::default() })
            }
            Step::HandOff { at, .. } => (at, latest(at)),
        };
        states[at].push(next);
    }
    states
}

fn write(
    mut replica: Replica,
    at: usize,
    reader: Option<Replica>,
    clock: &mut u64,
    tombstone: bool,
    conflict: Conflict,
) -> Replica {
    let seen = reader.as_ref().map_or_else(Context::new, |reader| reader.object.context.clone());
    let above = replica.object.highest().max(seen.highest());
    *clock = (*clock).max(above.0) + 1;
    let actor = Actor { node: NodeTag(at as u64), birth: replica.birth };
    let dot = Dot { hlc: Hlc(*clock), actor };
    replica.kinds.insert(dot, if tombstone { Kind::Tombstone } else { Kind::Number(*clock as i64) });
    let value = (!tombstone).then(|| Bytes::from(clock.to_string()));
    let sibling = Sibling::new(dot, actor.node, value, None);
    match reader {
        None => {
            let all = replica.history.keys().copied().collect();
            replica.object.overwrite(sibling);
            replica.history.insert(dot, all);
        }
        Some(reader) => {
            replica.object.put(&seen, sibling, conflict);
            replica.history.insert(dot, reader.history.keys().copied().collect());
            // The coordinator learns what its writer had seen.
            replica.learn(reader);
        }
    }
    replica
}

fn receive(mut replica: Replica, other: Replica, conflict: Conflict) -> Replica {
    replica.object = replica.object.merge(other.object.clone(), conflict);
    replica.learn(other);
    replica
}

/// Adds to what is there together with what was read.
fn increment(replica: Replica, at: usize, read: Replica, clock: &mut u64, by: i64, conflict: Conflict) -> Replica {
    let mut replica = receive(replica, read, conflict);
    *clock = (*clock).max(replica.object.highest().0) + 1;
    let (stamp, node) = (Hlc(*clock), NodeTag(at as u64));
    let actor = Actor { node, birth: replica.birth };
    let amounts = [by];
    let increment = Increment { amounts: &amounts, actor, minter: node, stamp, now_ms: 0 };
    replica.object.increment(&increment, conflict, |_| false).expect("small numbers");
    let to = replica.values().last().copied().unwrap_or_else(|| {
        let (counter, all) = (Dot { hlc: stamp, actor }, replica.history.keys().copied().collect());
        replica.history.insert(counter, all);
        replica.kinds.insert(counter, Kind::Counter);
        counter
    });
    replica.added.insert(stamp, (to, by));
    replica
}

fn dots(object: &Object) -> BTreeSet<Dot> {
    object.siblings.iter().map(|sibling| sibling.dot).collect()
}

fn merged(a: &Object, b: &Object, conflict: Conflict) -> Object {
    a.clone().merge(b.clone(), conflict)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_object_shows_what_full_histories_show(steps in steps()) {
        for replica in run(&steps, Conflict::Siblings).into_iter().flatten() {
            prop_assert_eq!(dots(&replica.object), shown(&replica.history));
            let number = replica.number().map(|number| Bytes::from(number.to_string()));
            prop_assert_eq!(replica.object.shown_value(0), number);
            for sibling in &replica.object.siblings {
                prop_assert_eq!(sibling.added(), i128::from(replica.added_to(&sibling.dot)));
                prop_assert_eq!(sibling.counter, replica.kinds[&sibling.dot] == Kind::Counter);
            }
        }
    }

    #[test]
    fn merge_is_idempotent_commutative_and_associative(steps in steps(), newest in any::<bool>()) {
        let conflict = if newest { Conflict::Newest } else { Conflict::Siblings };
        let states = run(&steps, conflict);
        let objects: Vec<&Object> = states.iter().flat_map(|all| all.iter().rev().take(3)).map(|state| &state.object).collect();
        for a in &objects {
            prop_assert_eq!(&merged(a, a, conflict), *a);
            for b in &objects {
                let ab = merged(a, b, conflict);
                prop_assert_eq!(&ab, &merged(b, a, conflict));
                for c in &objects {
                    prop_assert_eq!(merged(&ab, c, conflict), merged(a, &merged(b, c, conflict), conflict));
                }
            }
        }
    }

    #[test]
    fn newest_keeps_the_greatest_dot_ever_written_last(steps in steps()) {
        let states = run(&steps, Conflict::Newest);
        let all = states.iter().filter_map(|states| states.last());
        let whole = all.fold(Object::default(), |whole, state| merged(&whole, &state.object, Conflict::Newest));
        prop_assert!(whole.siblings.len() <= 1);
        prop_assert_eq!(whole.siblings.is_empty(), whole.context.is_empty());
    }

    #[test]
    fn the_context_covers_every_sibling_and_stamps_rise(steps in steps()) {
        for replica in run(&steps, Conflict::Siblings).into_iter().flatten() {
            let object = &replica.object;
            prop_assert!(object.siblings.iter().all(|sibling| object.context.covers(&sibling.dot)));
            prop_assert!(object.siblings.is_sorted_by_key(|sibling| sibling.dot));
        }
    }

    #[test]
    fn an_object_comes_back_as_it_was_written(steps in steps()) {
        for replica in run(&steps, Conflict::Siblings).into_iter().flatten() {
            let mut bytes = Vec::new();
            replica.object.encode(&mut bytes);
            prop_assert_eq!(Object::decode(&Bytes::from(bytes)).unwrap(), replica.object.clone());
            let record = super::record::Record { birth: Some(Hlc(7)), object: replica.object };
            prop_assert_eq!(super::record::Record::decode(&record.encode()).unwrap(), record);
        }
    }

    #[test]
    fn a_changed_record_is_noticed(steps in steps(), at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let states = run(&steps, Conflict::Siblings);
        let object = states[0].last().unwrap().object.clone();
        let bytes = super::record::Record { birth: None, object }.encode();
        let mut changed = bytes.to_vec();
        changed[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(super::record::Record::decode(&Bytes::from(changed)).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Object::decode(&Bytes::from(bytes));
    }
}

fn actor(node: u64) -> Actor {
    Actor { node: NodeTag(node), birth: Hlc(1) }
}

fn value(node: u64, hlc: u64) -> Sibling {
    Sibling::new(Dot { hlc: Hlc(hlc), actor: actor(node) }, NodeTag(node), Some(Bytes::from_static(b"v")), None)
}

#[test]
fn a_put_is_not_a_merge() {
    // A client whose context knows nothing of A:5 writes through A: A:5 must stay, though A:9 is higher.
    let mut object = Object::default();
    object.overwrite(value(1, 5));
    object.put(&Context::new(), value(1, 9), Conflict::Siblings);
    assert_eq!(object.siblings.len(), 2);
}

#[test]
fn increments_of_concurrent_coordinators_all_count() {
    let mut a = Object::default();
    a.overwrite(value(1, 5));
    let mut b = a.clone();
    a.siblings[0].increments = vec![(actor(1), Hlc(6), 3), (actor(3), Hlc(2), 1)];
    b.siblings[0].increments = vec![(actor(2), Hlc(6), 4), (actor(3), Hlc(4), 2)];
    let both = merged(&a, &b, Conflict::Siblings);
    let expected = vec![(actor(1), Hlc(6), 3), (actor(2), Hlc(6), 4), (actor(3), Hlc(4), 2)];
    assert_eq!(both.siblings[0].increments, expected);
    assert_eq!(both, merged(&b, &a, Conflict::Siblings));
}

#[test]
fn a_value_beside_a_concurrent_delete_stays_visible() {
    let mut base = Object::default();
    base.overwrite(value(1, 5));
    let (mut written, mut deleted) = (base.clone(), base);
    written.overwrite(value(1, 7));
    let tombstone = Sibling::new(Dot { hlc: Hlc(9), actor: actor(2) }, NodeTag(2), None, None);
    deleted.overwrite(tombstone);
    let both = merged(&written, &deleted, Conflict::Siblings);
    assert_eq!(both.shown(0).map(|sibling| sibling.dot.hlc), Some(Hlc(7)));
}

#[test]
fn expiry_is_absolute_and_the_newest_setting_wins() {
    let mut a = Object::default();
    a.overwrite(value(1, 5));
    let mut b = a.clone();
    a.expire(0, Hlc(8), Some(1000));
    b.expire(0, Hlc(9), None);
    let both = merged(&a, &b, Conflict::Siblings);
    assert!(both.shown(2000).is_some());
    assert!(merged(&a, &both, Conflict::Siblings) == both);
    assert!(a.shown(999).is_some() && a.shown(1000).is_none());
}

#[test]
fn settling_two_newest_replicas_never_empties_them() {
    // facts: with `newest`, stamps not above everything in the object answered would make this merge empty.
    let mut a = Object::default();
    a.overwrite(value(2, 12));
    let mut b = a.clone();
    a.put(&Context::new(), value(3, 13), Conflict::Newest);
    b.put(&Context::new(), value(1, 14), Conflict::Newest);
    assert_eq!(merged(&a, &b, Conflict::Newest).siblings.len(), 1);
}
