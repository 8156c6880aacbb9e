//! Walks over histories of real objects, held against merging everything by hand.

use super::cover::Cover;
use super::list::{Filling, LOOKED_BYTES, PAGE_BYTES, PAGE_KEYS, TOKEN_BYTES, is_of};
use super::merge::{Found, Given, Merged, merge};
use super::*;
use crate::key::{Partitions, Slots, StorageKey};
use crate::message::keys::{KeysPage, Listed, State};
use crate::object::Object;
use crate::object::digest::Digest;
use crate::object::model::{run, steps};
use crate::policy::Conflict;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const LINE: u64 = 7;
/// Histories set expiries below 100.
const NOW_MS: u64 = 50;

type Home = BTreeMap<StorageKey, Object>;

/// A key at a place of our choosing.
fn key(token: u64, database: u8, name: &str) -> StorageKey {
    let head = [&token.to_be_bytes()[..], &[database], &(name.len() as u16).to_be_bytes(), name.as_bytes()];
    StorageKey::from_bytes(Bytes::from(head.concat())).unwrap()
}

/// A page of a home, made as a replica makes it.
fn page(home: &Home, database: u8, from: &Position, keys_max: u32) -> KeysPage {
    let mut filling = Filling::new(keys_max);
    let mut until = None;
    for (key, object) in home.range(StorageKey::clone(&first_from(from))..) {
        if let Some(end) = filling.ends_before(key.as_bytes(), 100) {
            until = Some(end.as_bytes().clone());
            break;
        }
        if is_of(key.as_bytes(), database) {
            filling.add(Listed { key: key.clone(), state: Some(State::of(key, object)) });
        }
    }
    KeysPage { flush_line: LINE, until, keys: filling.into_keys() }
}

/// The least storage key that does not sort before a position.
fn first_from(from: &Position) -> StorageKey {
    match from.as_token() {
        Some(token) => key(token, 0, ""),
        None => StorageKey::from_bytes(from.as_bytes().clone()).unwrap(),
    }
}

fn given(page: KeysPage) -> Given {
    Given { page, lent: false }
}

fn merged_object(homes: &[&Home], key: &StorageKey) -> Object {
    let copies = homes.iter().filter_map(|home| home.get(key).cloned());
    copies.fold(Object::default(), |merged, copy| merged.merge(copy, Conflict::Siblings))
}

/// Three homes with some keys of a few tokens, each key with a history of its own, of which a home may lack all.
fn homes() -> impl Strategy<Value = [Home; 3]> {
    let entry = (0u64..8, 0u8..2, 0u32..4, steps(), proptest::collection::vec(0u8..5, 3));
    proptest::collection::vec(entry, 0..25).prop_map(|entries| {
        let mut homes = [Home::new(), Home::new(), Home::new()];
        for (token, database, name, steps, kept) in entries {
            let key = key((token << 48) | (token % 3), database, &name.to_string());
            for ((home, states), kept) in homes.iter_mut().zip(run(&steps, Conflict::Siblings)).zip(kept) {
                let object = states.last().map(|state| state.object.clone()).unwrap_or_default();
                home.remove(&key);
                if kept > 0 && !object.is_empty() {
                    home.insert(key.clone(), object);
                }
            }
        }
        homes
    })
}

proptest! {
    /// Every key of which the merge of the copies asked shows a value is told exactly once, in order; no other is.
    #[test]
    fn a_walk_tells_what_merging_all_copies_would_show(
        homes in homes(),
        asked in 1usize..=3,
        limits in proptest::collection::vec(1u32..6, 1..10),
        database in 0u8..2,
    ) {
        let asked: Vec<&Home> = homes.iter().take(asked).collect();
        let all: BTreeSet<&StorageKey> = asked.iter().flat_map(|home| home.keys()).collect();
        let of_database = all.into_iter().filter(|key| key.database() == database);
        let live: Vec<StorageKey> =
            of_database.filter(|key| merged_object(&asked, key).shown(NOW_MS).is_some()).cloned().collect();
        let mut limits = limits.iter().cycle();
        let (mut from, mut told) = (Position::token(0), Vec::new());
        loop {
            let pages = asked.iter().map(|home| given(page(home, database, &from, *limits.next().unwrap())));
            let Merged { until, keys, looked } = merge(pages.collect(), LINE, NOW_MS);
            prop_assert!(looked >= keys.len());
            for (key, found) in keys {
                let lives = merged_object(&asked, &key).shown(NOW_MS).is_some();
                prop_assert!(lives || found == Found::Unsure, "{:?} is dead", key);
                if lives {
                    told.push(key);
                }
            }
            let Some(until) = until else { break };
            prop_assert!(until > from && until.as_token().is_some_and(|token| token > 0), "a cursor parts no token");
            from = until;
        }
        prop_assert_eq!(told, live);
    }

    #[test]
    fn covers_tile_what_they_were_made_of(
        runs in proptest::collection::vec((0u16..64, 0u16..20), 0..8),
        bits in 0u32..=14,
        from in 0u16..80,
        parts in 1u32..6,
    ) {
        // Some overlap, some are neighbours.
        let runs = runs.into_iter().map(|(first, more)| Slots { first: first * 200, last: first * 200 + 49 + more * 150 });
        let runs: Vec<Slots> = runs.collect();
        let naive: BTreeSet<u16> = runs.iter().flat_map(|run| run.first..=run.last).collect();
        let cover = Cover::of(runs);
        let slots = |runs: &[Slots]| runs.iter().flat_map(|run| run.first..=run.last).collect::<Vec<u16>>();
        prop_assert_eq!(slots(cover.runs()), naive.iter().copied().collect::<Vec<_>>());
        prop_assert!(cover.runs().windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        prop_assert_eq!(cover.count() as usize, naive.len());
        prop_assert_eq!(cover.nth(cover.count()), None);
        prop_assert_eq!(cover.nth(cover.count() / 2), naive.iter().nth(naive.len() / 2).copied());

        let partitions = Partitions::new(1 << bits).unwrap();
        let from = from * 200;
        let position = Position::token((u64::from(from) << 50) | 5);
        prop_assert_eq!(position.slot(), from);
        let ahead: Vec<_> = cover.ahead(&position, partitions).collect();
        for stretch in &ahead {
            let whole = partitions.run(stretch.partition);
            prop_assert!(whole.first <= stretch.slots.first && stretch.slots.last <= whole.last);
        }
        let stretches: Vec<Slots> = ahead.iter().map(|stretch| stretch.slots).collect();
        prop_assert_eq!(slots(&stretches), naive.iter().copied().filter(|slot| *slot >= from).collect::<Vec<_>>());

        let split = cover.split(parts);
        let together: Vec<Slots> = split.iter().flat_map(|part| part.runs().to_vec()).collect();
        prop_assert_eq!(slots(&together), slots(cover.runs()));
        let sizes = split.iter().map(Cover::count);
        prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1 || cover.count() < parts);
    }
}

fn listed(name: &str, digest: u128, until_ms: u64) -> Listed {
    Listed { key: key(9, 0, name), state: Some(State { digest: Digest(digest), until_ms }) }
}

fn whole(keys: Vec<Listed>) -> KeysPage {
    KeysPage { flush_line: LINE, until: None, keys }
}

fn found(pages: Vec<Given>) -> Vec<Found> {
    merge(pages, LINE, NOW_MS).keys.into_iter().map(|(_, found)| found).collect()
}

#[test]
fn what_one_home_lacks_the_other_tells_and_what_differs_is_to_be_read() {
    let live = || whole(vec![listed("a", 1, u64::MAX)]);
    let deleted = || whole(vec![listed("a", 2, 0)]);
    let expired = || whole(vec![listed("a", 3, NOW_MS)]);
    assert_eq!(found(vec![given(live()), given(live())]), [Found::Live]);
    assert_eq!(found(vec![given(live()), given(whole(vec![]))]), [Found::Live], "absence covers nothing");
    assert_eq!(found(vec![given(live()), given(deleted())]), [Found::Unsure]);
    assert_eq!(found(vec![given(deleted()), given(expired())]), []);
    assert_eq!(found(vec![given(whole(vec![listed("a", 1, NOW_MS + 1)]))]), [Found::Live]);
    let damaged = || whole(vec![Listed { key: key(9, 0, "a"), state: None }]);
    assert_eq!(found(vec![given(damaged()), given(live())]), [Found::Unsure]);
}

#[test]
fn a_loan_or_a_copy_under_another_flush_line_counts_only_beside_a_sure_one() {
    let live = || whole(vec![listed("a", 1, u64::MAX)]);
    let loan = || Given { page: live(), lent: true };
    let unflushed = || given(KeysPage { flush_line: LINE + 1, ..live() });
    for doubtful in [&loan as &dyn Fn() -> Given, &unflushed] {
        assert_eq!(found(vec![doubtful(), given(whole(vec![]))]), [Found::Unsure]);
        assert_eq!(found(vec![doubtful(), given(live())]), [Found::Live]);
    }
}

#[test]
fn only_what_all_pages_have_told_counts() {
    let keys = || vec![listed("a", 1, u64::MAX), listed("b", 1, u64::MAX), listed("c", 1, u64::MAX)];
    let end = key(9, 0, "c").as_bytes().to_vec();
    let shorter = KeysPage { until: Some(end.clone().into()), keys: keys()[..1].to_vec(), ..whole(vec![]) };
    let merged = merge(vec![given(whole(keys())), given(shorter)], LINE, NOW_MS);
    assert_eq!(merged.until, Some(Position::before(end.into())));
    assert_eq!((merged.keys.len(), merged.looked), (2, 2), "the shorter page says that it lacks b, and nothing of c");
}

#[test]
fn a_page_ends_between_tokens_and_only_if_it_must_among_the_keys_of_one() {
    let fill = |name_bytes: usize, keys: usize, keys_max: u32| {
        let mut filling = Filling::new(keys_max);
        for number in 0..keys {
            let key = key(3, 0, &format!("{number:0name_bytes$}"));
            if let Some(end) = filling.ends_before(key.as_bytes(), 0) {
                return (Some(end), filling.into_keys().len());
            }
            filling.add(Listed { key, state: None });
        }
        let end = filling.ends_before(key(4, 0, "").as_bytes(), 0);
        (end, filling.into_keys().len())
    };
    assert_eq!(fill(4, 1, 1), (Some(Position::token(4)), 1));
    assert_eq!(fill(4, 9, 5), (Some(Position::token(4)), 9), "the keys of one token come together");
    assert_eq!(fill(4, 9, 10), (None, 9));
    assert_eq!(fill(4, PAGE_KEYS as usize, u32::MAX), (Some(Position::token(4)), PAGE_KEYS as usize));
    let (end, keys) = fill(30_000, 200, 10);
    assert_eq!(keys, TOKEN_BYTES.div_ceil(30_000 + 11 + 29));
    assert_eq!(end.unwrap().as_token(), None);
}

#[test]
fn a_page_ends_when_its_names_are_long_or_when_much_was_looked_through() {
    let (mut filling, name) = (Filling::new(u32::MAX), "n".repeat(30_000));
    let end = (0..100).find_map(|token| {
        let key = key(token, 0, &name);
        let end = filling.ends_before(key.as_bytes(), 0);
        if end.is_none() {
            filling.add(Listed { key, state: None });
        }
        end
    });
    let keys = PAGE_BYTES.div_ceil(30_000 + 11 + 29);
    assert_eq!((end, filling.into_keys().len()), (Some(Position::token(keys as u64)), keys));

    let mut filling = Filling::new(u32::MAX);
    let record = LOOKED_BYTES / 16;
    let end = (0..100).find_map(|token| filling.ends_before(key(token, 1, "").as_bytes(), record));
    assert_eq!(end, Some(Position::token(16)), "though nothing was found");
}
