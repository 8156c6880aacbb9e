//! The conversation against two plain maps.

use super::exchange::{Effect, Entry, Event, Exchange, LEAVES_MAX, LISTED_KEYS_MAX, Listing, SUMS_MAX};
use super::sum::{SUM_BYTES, Sum};
use super::tree::{LEAF_BITS, Run, Tree};
use crate::codec::Reader;
use crate::key::{Partition, Partitions, StorageKey};
use crate::object::digest::Digest;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A node: keys with versions, and the tree beside them. Merging keeps the greater version.
#[derive(Default)]
struct House {
    held: BTreeMap<StorageKey, u64>,
    tree: Tree,
}

fn key(number: u32) -> StorageKey {
    StorageKey::new(0, format!("key-{number}").as_bytes()).unwrap()
}

fn digest(key: &StorageKey, version: u64) -> Digest {
    Digest(xxhash_rust::xxh3::xxh3_128(&[key.as_bytes(), &version.to_le_bytes()].concat()))
}

impl House {
    fn put(&mut self, key: &StorageKey, version: u64) {
        let before = self.held.insert(key.clone(), version).map_or(Digest(0), |old| digest(key, old));
        self.tree.change(key.token(), before, digest(key, version));
    }

    fn sums(&self, bits: u8, indexes: &[u32]) -> Vec<Sum> {
        indexes.iter().map(|index| self.tree.sum(Run::new(bits, *index).unwrap())).collect()
    }

    /// A listing of at most `most` keys.
    fn list(&self, leaves: &[u32], after: Option<&StorageKey>, most: usize) -> Listing {
        let inside = |key: &&StorageKey| leaves.contains(&Run::leaf_of(key.token()));
        let keys: Vec<_> = self.held.keys().filter(|key| after.is_none_or(|a| *key > a)).filter(inside).collect();
        let more = keys.len() > most;
        let entry = |key: &StorageKey| Entry { key: key.clone(), digest: digest(key, self.held[key]), bytes: 10 };
        Listing { entries: keys.into_iter().take(most).map(entry).collect(), more }
    }
}

/// What a conversation cost.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cost {
    bytes: usize,
    asks: usize,
    listed: usize,
    repaired: usize,
    recounted: Vec<u32>,
}

/// Runs a conversation about everything to its end; `meanwhile` happens at each wait.
fn run(here: &mut House, there: &mut House, most: usize, mut meanwhile: impl FnMut(&mut House, &mut House)) -> Cost {
    let mut cost = Cost::default();
    let mut exchange = Exchange::new(0, 8, &(0..256).collect::<Vec<_>>());
    let mut effect = exchange.start();
    for _ in 0..100_000 {
        let event = match effect {
            Effect::Compare { bits, indexes } => {
                assert!(indexes.len() <= SUMS_MAX && indexes.is_sorted() && bits <= LEAF_BITS);
                cost.asks += 1;
                cost.bytes += indexes.len() * (4 + SUM_BYTES);
                Event::Compared { mine: here.sums(bits, &indexes), theirs: there.sums(bits, &indexes) }
            }
            Effect::Wait => {
                meanwhile(here, there);
                Event::Passed
            }
            Effect::List { leaves, after } => {
                assert!(leaves.len() <= LEAVES_MAX && leaves.is_sorted());
                let [mine, theirs] = [&*here, &*there].map(|house| house.list(&leaves, after.as_ref(), most));
                cost.listed += theirs.entries.len();
                cost.bytes += theirs.entries.len() * 40 + leaves.len() * 4;
                Event::Listed { mine, theirs }
            }
            Effect::Repair(keys) => {
                for key in &keys {
                    let versions = [&*here, &*there].map(|house| house.held.get(key).copied());
                    assert_ne!(versions[0], versions[1], "only what differs is repaired");
                    let newest = versions.into_iter().flatten().max().unwrap();
                    here.put(key, newest);
                    there.put(key, newest);
                }
                cost.repaired += keys.len();
                cost.bytes += keys.len() * 100;
                Event::Passed
            }
            Effect::Recount(leaves) => {
                cost.recounted.extend(leaves);
                Event::Passed
            }
            Effect::Done => return cost,
        };
        effect = exchange.handle(event);
    }
    panic!("the conversation has no end");
}

/// Two houses that hold the same keys.
fn twins(keys: u32) -> (House, House) {
    let mut houses = (House::default(), House::default());
    for number in 0..keys {
        houses.0.put(&key(number), 1);
        houses.1.put(&key(number), 1);
    }
    houses
}

#[test]
fn equal_homes_say_their_roots_and_no_more() {
    let (mut here, mut there) = twins(5000);
    let cost = run(&mut here, &mut there, LISTED_KEYS_MAX, |_, _| panic!("nothing to wait for"));
    assert_eq!(cost, Cost { bytes: 256 * (4 + SUM_BYTES), asks: 1, ..Cost::default() });
}

#[test]
fn what_travels_grows_with_the_difference_not_with_the_data() {
    for (keys, changed) in [(1000, 10), (20_000, 10), (20_000, 100)] {
        let (mut here, mut there) = twins(keys);
        (0..changed).for_each(|number| there.put(&key(number * 7), 2));
        let cost = run(&mut here, &mut there, LISTED_KEYS_MAX, |_, _| ());
        assert_eq!(here.held, there.held);
        assert_eq!(cost.repaired, changed as usize);
        assert!(cost.bytes < 8_000 + changed as usize * 2_500, "{keys} keys, {changed} changed: {cost:?}");
        assert!(cost.listed <= changed as usize * 8, "{cost:?}");
        assert_eq!(cost.recounted, [0; 0]);
    }
}

#[test]
fn a_write_on_its_way_costs_no_listing() {
    let (mut here, mut there) = twins(100);
    here.put(&key(3), 2);
    let cost = run(&mut here, &mut there, LISTED_KEYS_MAX, |_, there| there.put(&key(3), 2));
    assert_eq!((cost.listed, cost.repaired), (0, 0), "{cost:?}");
}

#[test]
fn a_leaf_that_is_wrong_about_its_keys_is_counted_anew() {
    let (mut here, mut there) = twins(100);
    here.tree.change(key(3).token(), Digest(0), Digest(77));
    let leaf = Run::leaf_of(key(3).token());
    let cost = run(&mut here, &mut there, LISTED_KEYS_MAX, |_, _| ());
    assert_eq!((cost.repaired, cost.recounted), (0, vec![leaf]));
    let changes = here.tree.changes(leaf);
    here.put(&key(3), 1);
    here.tree.change(key(3).token(), Digest(0), Digest(78));
    assert!(!here.tree.correct(leaf, changes, Sum::default()), "it changed since");
    assert!(here.tree.correct(leaf, here.tree.changes(leaf), there.tree.sum(Run { bits: LEAF_BITS, index: leaf })));
    let whole = Run { bits: 0, index: 0 };
    assert_eq!(here.tree.sum(whole), there.tree.sum(whole));
}

#[test]
fn answers_that_do_not_fit_the_question_end_it() {
    let ask = || {
        let mut exchange = Exchange::new(0, 8, &[1, 2]);
        exchange.start();
        exchange
    };
    let sums = |count| vec![Sum::default(); count];
    assert_eq!(ask().handle(Event::Compared { mine: sums(2), theirs: sums(1) }), Effect::Done);
    assert_eq!(ask().handle(Event::Passed), Effect::Done);
    assert_eq!(Exchange::new(0, 8, &[]).start(), Effect::Done);
}

#[test]
fn leaves_tile_the_tokens_and_partitions_are_runs() {
    let partitions = Partitions::new(256).unwrap();
    let stored = key(5);
    let leaf = Run::leaf_of(stored.token());
    let (from, to) = Run::range_of_leaves(leaf, 1);
    assert!(stored.as_bytes() >= &from[..] && stored.as_bytes() < &to.unwrap()[..]);
    assert_eq!(Run::range_of_leaves(0, 1 << LEAF_BITS), ([0; 8], None));
    assert_eq!(Partition((leaf >> 10) as u16), partitions.of(stored.token()));
    assert_eq!(Run::new(LEAF_BITS + 1, 0), None);
    assert_eq!(Run::new(8, 256), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_homes_become_equal(
        writes in proptest::collection::vec((0u32..400, 1u64..4, 0u8..3), 0..300),
        most in 1usize..50,
    ) {
        let (mut here, mut there) = (House::default(), House::default());
        for (number, version, side) in writes {
            if side != 1 { here.put(&key(number), version) }
            if side != 0 { there.put(&key(number), version) }
        }
        let keys: BTreeSet<&StorageKey> = here.held.keys().chain(there.held.keys()).collect();
        let newest: BTreeMap<StorageKey, u64> = keys
            .into_iter()
            .map(|key| (key.clone(), here.held.get(key).max(there.held.get(key)).copied().unwrap()))
            .collect();
        run(&mut here, &mut there, most, |_, _| ());
        prop_assert_eq!(&here.held, &newest);
        prop_assert_eq!(&there.held, &newest);
    }

    #[test]
    fn a_tree_is_what_its_keys_add_up_to_and_survives_a_stop(
        changes in proptest::collection::vec((0u32..60, 0u64..4), 0..200), bits in 0u8..=LEAF_BITS,
    ) {
        let (tree, mut naive) = (Tree::default(), BTreeMap::new());
        let of = |key: &StorageKey, version: u64| if version == 0 { Digest(0) } else { digest(key, version) };
        for (number, version) in changes {
            let key = key(number);
            let before = naive.insert(key.clone(), version).unwrap_or(0);
            tree.change(key.token(), of(&key, before), of(&key, version));
        }
        let mut saved = Vec::new();
        tree.encode(&mut saved);
        let mut reader = Reader::new(&saved);
        let restored = Tree::read(&mut reader).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        for index in naive.keys().map(|key| (key.token().0 >> 32 >> (32 - bits)) as u32) {
            let mut sum = Sum::default();
            let inside = naive.iter().filter(|(key, _)| (key.token().0 >> 32 >> (32 - bits)) as u32 == index);
            inside.for_each(|(key, version)| sum.add(Sum::of(of(key, *version))));
            prop_assert_eq!(tree.sum(Run { bits, index }), sum);
            prop_assert_eq!(restored.sum(Run { bits, index }), sum);
        }
    }

    #[test]
    fn arbitrary_bytes_are_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..900)) {
        let _ = Tree::read(&mut Reader::new(&bytes));
    }
}
