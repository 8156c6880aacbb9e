//! A disk as a crash leaves it: what was not synced may be gone, and sometimes what was synced as well.

use bytes::Bytes;
use dynamis::storage::engine::{Engine, Space, Visit, Write};
use dynamis::storage::error::StorageError;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Mutex;

/// How many commits can be taken back at most.
const LOG_COMMITS: usize = 400;

/// An engine that outlives its node. Commits go in order; a crash takes the last ones back, never with gaps.
#[derive(Default)]
pub struct Disk(Mutex<State>);

#[derive(Default)]
struct State {
    spaces: [BTreeMap<Bytes, Bytes>; 3],
    /// What undoes each of the last commits, and whether it has been synced.
    log: VecDeque<(Vec<Write>, bool)>,
}

impl State {
    /// Makes one change and gives what undoes it.
    fn apply(&mut self, write: &Write) -> Write {
        let space = &mut self.spaces[write.space.index()];
        let old = match &write.value {
            Some(value) => space.insert(Bytes::copy_from_slice(&write.key), Bytes::copy_from_slice(value)),
            None => space.remove(&write.key),
        };
        Write { space: write.space, key: write.key.clone(), value: old }
    }

    fn take_back(&mut self) {
        let (undo, _) = self.log.pop_back().unwrap_or_default();
        undo.iter().rev().for_each(|write| drop(self.apply(write)));
    }

    fn sync(&mut self) {
        self.log.iter_mut().for_each(|(_, synced)| *synced = true);
    }
}

impl Disk {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no engine call panics")
    }

    /// How many commits are not synced.
    pub fn unsynced(&self) -> usize {
        self.state().log.iter().filter(|(_, synced)| !synced).count()
    }

    /// Loses the last `commits` that were not synced.
    pub fn lose_unsynced(&self, commits: usize) {
        let mut state = self.state();
        for _ in 0..commits {
            if state.log.back().is_none_or(|(_, synced)| *synced) {
                break;
            }
            state.take_back();
        }
        // What is left is on the platter now.
        state.sync();
    }

    /// Loses the last commits whether they were synced or not, and says nothing.
    pub fn truncate(&self, commits: usize) {
        let mut state = self.state();
        for _ in 0..commits.min(state.log.len()) {
            state.take_back();
        }
        state.sync();
    }

    /// Loses everything.
    pub fn wipe(&self) {
        *self.state() = State::default();
    }
}

impl Engine for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        Ok(self.state().spaces[space.index()].get(key).cloned())
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        let mut state = self.state();
        let undo = writes.iter().map(|write| state.apply(write)).collect();
        state.log.push_back((undo, false));
        if sync {
            state.sync();
        }
        while state.log.len() > LOG_COMMITS && state.log.front().is_some_and(|(_, synced)| *synced) {
            state.log.pop_front();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.state().sync();
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        for (key, value) in self.state().spaces[space.index()].range::<[u8], _>(bounds) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
