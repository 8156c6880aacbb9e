//! The store against a plain map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::batch::{Batch, Edit, Keyed};
use super::engine::Space;
use super::memory::MemoryEngine;
use super::store::{Fsync, Store};
use super::store_tests::{attended, heard, store, submit};

/// A batch that is being made, and its notes for the model.
type Open = (Batch, Vec<(u8, Option<u8>)>);

/// One step of the model test; the first number chooses one of three open batches.
#[derive(Clone, Debug)]
enum Step {
    Edit(usize, u8, Option<u8>),
    Keep(usize, u8),
    Note(usize, u8, Option<u8>),
    Submit(usize, bool),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (batch, key, value) = (0..3usize, 0..5u8, proptest::option::of(any::<u8>()));
    let step = prop_oneof![
        4 => (batch.clone(), key.clone(), value.clone()).prop_map(|(b, k, v)| Step::Edit(b, k, v)),
        1 => (batch.clone(), key.clone()).prop_map(|(b, k)| Step::Keep(b, k)),
        1 => (batch.clone(), key, value).prop_map(|(b, k, v)| Step::Note(b, k, v)),
        2 => (batch, any::<bool>()).prop_map(|(b, sync)| Step::Submit(b, sync)),
        1 => Just(Step::Settle),
    ];
    proptest::collection::vec(step, 1..60)
}

fn content(store: &Store, space: Space) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut seen = BTreeMap::new();
    store
        .scan(space, b"", None, &mut |key, value| {
            seen.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    seen
}

fn set(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: u8, value: Option<u8>) {
    match value {
        Some(value) => drop(map.insert(vec![key], vec![value])),
        None => drop(map.remove(&vec![key])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_store_is_a_map(steps in steps(), inline: bool, with_attendant: bool) {
        let engine = Arc::new(MemoryEngine::with_crashes());
        let store = store(engine.clone(), Fsync::No, inline);
        let _attendant = with_attendant.then(|| attended(&store));
        let (mut objects, mut hints) = (BTreeMap::new(), BTreeMap::new());
        let mut batches: [Open; 3] = Default::default();
        let one = |byte: u8| Bytes::from(vec![byte]);
        for step in steps {
            match step {
                Step::Edit(b, key, value) => {
                    let old = store.edit(&mut batches[b].0, &[key], |old| {
                        (old, value.map_or(Edit::Remove, |value| Edit::Put(Keyed::copied([key], [value]))))
                    });
                    prop_assert_eq!(old.unwrap().map(|old| old.to_vec()), objects.get(&vec![key]).cloned());
                    set(&mut objects, key, value);
                }
                Step::Keep(b, key) => {
                    let old = store.edit(&mut batches[b].0, &[key], |old| (old, Edit::Keep)).unwrap();
                    prop_assert_eq!(old.map(|old| old.to_vec()), objects.get(&vec![key]).cloned());
                }
                Step::Note(b, key, value) => {
                    store.put_other(&mut batches[b].0, Space::Hints, one(key), value.map(one));
                    batches[b].1.push((key, value));
                }
                Step::Submit(b, sync) => {
                    let (batch, notes) = std::mem::take(&mut batches[b]);
                    let result = heard(&submit(&store, batch, sync));
                    prop_assert!(result.unwrap().durable || !sync);
                    notes.into_iter().for_each(|(key, value)| set(&mut hints, key, value));
                    prop_assert_eq!(content(&store, Space::Hints), hints.clone());
                    prop_assert_eq!(store.stats().hints, hints.len() as u64);
                }
                Step::Settle => prop_assert_eq!(store.settle(), Ok(())),
            }
        }
        for (batch, _) in batches {
            heard(&submit(&store, batch, false)).unwrap();
        }
        prop_assert_eq!(content(&store, Space::Objects), objects.clone());
        prop_assert_eq!(store.stats().uncommitted_keys, 0);
        store.stop();
        engine.crash(0);
        prop_assert_eq!(content(&store, Space::Objects), objects);
    }
}
