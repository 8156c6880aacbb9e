//! Carries out what fjall throws away, and writes ahead what it is about to sync, so that nobody waits for either.
//!
//! A shop empties its bins and pays its bills while the till is closed for a moment; with many customers that moment is
//! a queue. A janitor takes the bins out by the back door, and has most bills paid before anybody closes the till.
//!
//! fjall frees a table in memory (some 100,000 entries, 100 ms on a busy machine) and unlinks tables on disk (10 to 80 ms
//! each where the file system discards blocks) while it holds the lock every read and write of a space needs: whoever drops
//! the last reference pays, and that is its worker, under that lock. And whoever syncs the journal, the worker before it
//! writes a table out or a commit, holds the journal's lock meanwhile, as long as there is something to write.
//!
//! # Contract
//! - The janitor holds on to what a space is made of until fjall has let go of it, and drops it on its own thread. What lives
//!   shorter than [`ROUND`] escapes it, and is dropped as before.
//! - After [`Janitor::sync_ahead`] the journal is written out by its own file handle, under no lock. That promises nothing:
//!   the sync that counts still comes, and finds little left to do.

use std::any::Any;
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ::fjall::{AbstractTree, Keyspace};

/// How often it looks round.
const ROUND: Duration = Duration::from_millis(50);

/// The thread, for as long as the engine is open.
pub(super) struct Janitor {
    wanted: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    /// Begins work on a database in `folder`.
    pub(super) fn start(folder: &Path, spaces: &[Keyspace]) -> std::io::Result<Janitor> {
        let (wanted, asked) = sync_channel(1);
        let mut bins: Vec<Bin> = spaces.iter().cloned().map(Bin::new).collect();
        let mut journal = Journal { folder: folder.to_path_buf(), active: None };
        let thread = std::thread::Builder::new().name("janitor".into()).spawn(move || {
            loop {
                match asked.recv_timeout(ROUND) {
                    Ok(()) => journal.write_out(),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                bins.iter_mut().for_each(Bin::empty);
            }
        })?;
        Ok(Janitor { wanted: Some(wanted), thread: Some(thread) })
    }

    /// Asks for the journal to be written out soon. Never waits; asking again meanwhile is free.
    pub(super) fn sync_ahead(&self) {
        if let Some(wanted) = &self.wanted {
            match wanted.try_send(()) {
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a space was made of and may be about to throw away.
struct Bin {
    space: Keyspace,
    /// Each table in memory seen, until only the janitor holds it.
    memtables: VecDeque<Arc<dyn Any + Send + Sync>>,
    /// Each state of the space seen, oldest first, with the numbers that tell it from others.
    states: VecDeque<((u64, u64), Box<dyn Any + Send>)>,
}

impl Bin {
    fn new(space: Keyspace) -> Bin {
        Bin { space, memtables: VecDeque::new(), states: VecDeque::new() }
    }

    fn empty(&mut self) {
        let tree = &self.space.tree;
        let (version, memtable) = (tree.current_version(), tree.active_memtable());
        let state = (version.id(), memtable.id());
        let last = self.states.back().map(|(state, _)| *state);
        if last != Some(state) {
            if last.is_none_or(|(_, memtable)| memtable != state.1) {
                self.memtables.push_back(memtable);
            }
            self.states.push_back((state, Box::new(version)));
        }
        // fjall remembers its last states, as many as its free list says and the one that holds. Those seen here are some
        // of all there were: one that is followed by as many as fjall remembers is none of these.
        let remembered = tree.version_free_list_len() + 1;
        while self.states.len() > remembered {
            self.states.pop_front();
        }
        self.memtables.retain(|memtable| Arc::strong_count(memtable) > 1);
    }
}

/// The journal's newest file.
struct Journal {
    folder: PathBuf,
    active: Option<(u64, File)>,
}

impl Journal {
    /// Writes out what lies in the operating system's hands. Errors are the real sync's to tell.
    fn write_out(&mut self) {
        let Some(number) = self.newest() else { return };
        if self.active.as_ref().is_none_or(|(active, _)| *active != number) {
            let opened = File::options().write(true).open(self.folder.join(format!("{number}.jnl")));
            self.active = opened.ok().map(|file| (number, file));
        }
        if let Some((_, file)) = &self.active {
            let _ = file.sync_data();
        }
    }

    fn newest(&self) -> Option<u64> {
        let entries = std::fs::read_dir(&self.folder).ok()?;
        let number = |name: &str| name.strip_suffix(".jnl").and_then(|number| number.parse().ok());
        entries.flatten().filter_map(|entry| entry.file_name().to_str().and_then(number)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::engine::{Engine, Space, Write};
    use crate::storage::fjall::{FjallEngine, FjallSettings};
    use bytes::Bytes;

    fn fill(engine: &FjallEngine, from: u32) {
        let write = |number: u32| Write {
            space: Space::Objects,
            key: Bytes::copy_from_slice(&number.to_be_bytes()),
            value: Some(Bytes::from(vec![7; 1000])),
        };
        let writes: Vec<Write> = (from..from + 100).map(write).collect();
        engine.commit(&writes, false).unwrap();
    }

    #[test]
    fn a_table_stays_until_fjall_has_let_go_of_it_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(folder.path(), &FjallSettings::default()).unwrap();
        let space = engine.space(Space::Objects).clone();
        let mut bin = Bin::new(space.clone());
        fill(&engine, 0);
        bin.empty();
        let first = Arc::downgrade(&space.tree.active_memtable());
        for round in 1..8 {
            space.rotate_memtable_and_wait().unwrap();
            fill(&engine, round * 100);
            bin.empty();
            assert!(bin.states.len() <= space.tree.version_free_list_len() + 1);
        }
        assert!(first.upgrade().is_none(), "the janitor drops what fjall has forgotten");
    }

    #[test]
    fn fjall_is_never_the_last_to_hold_what_it_throws_away() {
        let folder = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(folder.path(), &FjallSettings::default()).unwrap();
        let space = engine.space(Space::Objects).clone();
        let mut bin = Bin::new(space.clone());
        fill(&engine, 0);
        bin.empty();
        let first = Arc::downgrade(&space.tree.active_memtable());
        // Rotations without a round of the janitor's: fjall lets go, the janitor does not.
        for round in 1..8 {
            space.rotate_memtable_and_wait().unwrap();
            fill(&engine, round * 100);
        }
        assert_eq!(first.strong_count(), 1, "only the janitor holds it");
        bin.empty();
        assert_eq!(first.strong_count(), 0);
    }

    #[test]
    fn the_newest_journal_is_written_out() {
        let folder = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(folder.path(), &FjallSettings::default()).unwrap();
        fill(&engine, 0);
        let mut journal = Journal { folder: folder.path().to_path_buf(), active: None };
        let newest = journal.newest().unwrap();
        std::fs::write(folder.path().join("x.jnl"), b"").unwrap();
        journal.write_out();
        assert_eq!(journal.active.as_ref().map(|(number, _)| *number), Some(newest));
        std::fs::write(folder.path().join(format!("{}.jnl", newest + 1)), b"").unwrap();
        journal.write_out();
        assert_eq!(journal.active.as_ref().map(|(number, _)| *number), Some(newest + 1));
    }
}
