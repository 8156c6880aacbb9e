//! The engine in memory: for tests, simulation, and nodes that are only a cache.
//!
//! A blackboard. With [`MemoryEngine::with_crashes`] it also remembers how to wipe off what was not yet copied to paper.
//!
//! # Contract
//! As [`engine`](super::engine) says, where "synced" means: survives [`crash`](MemoryEngine::crash). A crash undoes
//! whole commits, the last first, and keeps as many of the unsynced ones as it is told to: that is what a journal does.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::engine::{Engine, Space, Visit, Write, check_key};
use super::error::StorageError;

/// The engine in memory. See the module.
#[derive(Default)]
pub struct MemoryEngine {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    spaces: [BTreeMap<Bytes, Bytes>; 3],
    bytes: u64,
    undo: Option<VecDeque<Vec<Write>>>,
    refusing: bool,
}

impl MemoryEngine {
    /// An engine that keeps nothing but the data: it cannot [`crash`](MemoryEngine::crash).
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// An engine that remembers which commits are not synced. Without a sync now and then it grows with every commit.
    pub fn with_crashes() -> MemoryEngine {
        let state = State { undo: Some(VecDeque::new()), ..State::default() };
        MemoryEngine { state: RwLock::new(state) }
    }

    /// Loses the commits that are not synced, but for the first `kept` of them. Returns how many were lost.
    pub fn crash(&self, kept: usize) -> usize {
        let mut state = self.state.write();
        let mut lost = 0;
        while state.undo.as_ref().is_some_and(|undo| undo.len() > kept) {
            let commit = state.undo.as_mut().and_then(VecDeque::pop_back).unwrap_or_default();
            for old in commit.into_iter().rev() {
                state.apply(&old);
            }
            lost += 1;
        }
        if let Some(undo) = &mut state.undo {
            undo.clear();
        }
        lost
    }

    /// From now on every write and sync fails, as on a broken disk; or no more.
    pub fn refuse_writes(&self, refusing: bool) {
        self.state.write().refusing = refusing;
    }
}

impl State {
    /// Makes one change and returns what undoes it.
    fn apply(&mut self, write: &Write) -> Write {
        let space = &mut self.spaces[write.space.index()];
        let old = match &write.value {
            // Copies, so that a small value does not keep a whole network buffer.
            Some(value) => {
                self.bytes += (write.key.len() + value.len()) as u64;
                space.insert(Bytes::copy_from_slice(&write.key), Bytes::copy_from_slice(value))
            }
            None => space.remove(&write.key),
        };
        if let Some(old) = &old {
            self.bytes -= (write.key.len() + old.len()) as u64;
        }
        Write { space: write.space, key: write.key.clone(), value: old }
    }

    fn check_disk(&self) -> Result<(), StorageError> {
        if self.refusing { Err(StorageError::Write { why: "told to refuse".into() }) } else { Ok(()) }
    }
}

impl Engine for MemoryEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.state.read().spaces[space.index()].get(key).cloned())
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        writes.iter().try_for_each(|write| check_key(&write.key))?;
        let mut state = self.state.write();
        state.check_disk()?;
        if state.undo.is_some() {
            let undo = writes.iter().map(|write| state.apply(write)).collect();
            state.undo.iter_mut().for_each(|log| log.push_back(Vec::clone(&undo)));
        } else {
            writes.iter().for_each(|write| drop(state.apply(write)));
        }
        if sync {
            state.undo.iter_mut().for_each(VecDeque::clear);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut state = self.state.write();
        state.check_disk()?;
        state.undo.iter_mut().for_each(VecDeque::clear);
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let state = self.state.read();
        for (key, value) in state.spaces[space.index()].range::<[u8], _>(bounds) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.state.read().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ops::ControlFlow;

    fn content(engine: &MemoryEngine) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut seen = Vec::new();
        engine
            .scan(Space::Objects, b"", None, &mut |key, value| {
                seen.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            })
            .unwrap();
        seen
    }

    proptest! {
        #[test]
        fn a_crash_leaves_a_prefix_that_holds_all_that_was_synced(
            commits in proptest::collection::vec(
                (proptest::collection::vec((0u8..6, proptest::option::of(0u8..9)), 1..4), any::<bool>()), 1..20),
            kept in 0usize..6,
        ) {
            let engine = MemoryEngine::with_crashes();
            let mut states = vec![content(&engine)];
            let mut synced = 0;
            for (writes, sync) in &commits {
                let writes: Vec<Write> = writes
                    .iter()
                    .map(|(key, value)| Write {
                        space: Space::Objects,
                        key: Bytes::from(vec![*key]),
                        value: value.map(|value| Bytes::from(vec![value; usize::from(value)])),
                    })
                    .collect();
                engine.commit(&writes, *sync).unwrap();
                states.push(content(&engine));
                if *sync {
                    synced = states.len() - 1;
                }
            }
            let left = (synced + kept).min(commits.len());
            prop_assert_eq!(engine.crash(kept), commits.len() - left);
            prop_assert_eq!(&content(&engine), &states[left]);
            let bytes: usize = states[left].iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert_eq!(engine.disk_bytes(), bytes as u64);
            prop_assert_eq!(engine.crash(0), 0);
        }
    }
}
