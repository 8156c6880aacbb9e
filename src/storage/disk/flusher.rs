//! Writes full tables out, one after the other, and says what is in memory meanwhile.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use super::log::{self, Unsynced};
use super::pace::{PACED_FROM, Pace};
use super::spares::Spares;
use super::table::{Key, Part, Table};
use super::{FULL_TABLES_MAX, LoggedTable};
use crate::storage::engine::{Space, Write};
use crate::storage::error::StorageError;
use crate::storage::fjall::{FjallTables, Snapshot};

/// With so many runs of tables that compaction has not come to, no more are added: each makes every read slower.
const RUNS_MAX: usize = 16;

/// How often it is looked whether there are fewer.
const RUNS_PAUSE: Duration = Duration::from_millis(20);

/// What the engine has beside the log, shared with those who work behind its back.
pub(super) struct Shelf {
    pub(super) tables: FjallTables,
    log_folder: PathBuf,
    memory: RwLock<InMemory>,
    /// Guards nothing but the waiting: for room, and for something to write out.
    waiting: Mutex<()>,
    changed: Condvar,
    pub(super) spares: Spares,
    pace: Mutex<Pace>,
    opened: Instant,
    thrown_away: Mutex<Vec<Unsynced>>,
    failed: AtomicBool,
    closing: AtomicBool,
    log_bytes: AtomicU64,
}

/// Tables in memory.
struct InMemory {
    filling: Table,
    /// Segments of the log with something of `filling`, the last of them the newest there is.
    segments: Vec<u64>,
    /// Oldest first.
    full: VecDeque<Arc<LoggedTable>>,
}

/// A range as it was at one moment.
pub(super) struct Moment {
    /// Of the tables in memory, newest first.
    pub(super) in_memory: Vec<Part>,
    pub(super) tables: Snapshot,
}

impl Shelf {
    pub(super) fn new(
        tables: FjallTables,
        log_folder: PathBuf,
        filling: LoggedTable,
        full: Vec<Arc<LoggedTable>>,
        memtable_bytes: u64,
    ) -> Shelf {
        let LoggedTable { table, segments } = filling;
        let spares = Spares::new(log_folder.clone(), segments.last().copied().unwrap_or_default());
        let shelf = Shelf {
            tables,
            log_folder,
            memory: RwLock::new(InMemory { filling: table, segments, full: full.into() }),
            waiting: Mutex::new(()),
            changed: Condvar::new(),
            spares,
            pace: Mutex::new(Pace::new(memtable_bytes)),
            opened: Instant::now(),
            thrown_away: Mutex::default(),
            failed: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            log_bytes: AtomicU64::new(0),
        };
        shelf.count_log_bytes();
        shelf
    }

    /// What a key has in memory; `Some(None)`: it is removed.
    pub(super) fn in_memory(&self, space: Space, key: &[u8]) -> Option<Option<Bytes>> {
        let key = Key::new(Bytes::copy_from_slice(key));
        let memory = self.memory.read();
        let full = || memory.full.iter().rev().find_map(|full| full.table.get(space, &key));
        memory.filling.get(space, &key).or_else(full)
    }

    /// What there is now from `from` (included) to `to` (excluded; none: to the end).
    pub(super) fn moment(&self, space: Space, from: &[u8], to: Option<&[u8]>) -> Moment {
        let memory = self.memory.read();
        let newest_first = std::iter::once(&memory.filling).chain(memory.full.iter().rev().map(|full| &full.table));
        // Under the lock: what leaves memory is in the tables before it does.
        Moment {
            in_memory: newest_first.map(|table| table.part(space, from, to)).collect(),
            tables: self.tables.snapshot(),
        }
    }

    /// How many tables wait to be written out.
    #[cfg(test)]
    pub(super) fn full_tables(&self) -> usize {
        self.memory.read().full.len()
    }

    /// Makes the changes of one commit, at once.
    pub(super) fn apply(&self, writes: impl Iterator<Item = Write>) {
        let mut memory = self.memory.write();
        writes.for_each(|write| memory.filling.apply(write));
    }

    /// The oldest segment of the log that is needed.
    pub(super) fn needed_from(&self) -> u64 {
        let memory = self.memory.read();
        let oldest = memory.full.front().map_or(&memory.segments, |full| &full.segments);
        oldest.first().copied().unwrap_or_default()
    }

    /// Waits until another full table may be put away.
    pub(super) fn wait_for_room(&self) -> Result<(), StorageError> {
        let mut waiting = self.waiting.lock();
        loop {
            self.check()?;
            if self.memory.read().full.len() < FULL_TABLES_MAX {
                return Ok(());
            }
            self.changed.wait(&mut waiting);
        }
    }

    /// The table that was filled goes up to record `last`; another is begun, with segment `number` of the log.
    pub(super) fn put_away(&self, last: u64, number: u64) {
        let mut memory = self.memory.write();
        let segments = std::mem::replace(&mut memory.segments, vec![number]);
        let table = std::mem::take(&mut memory.filling);
        memory.full.push_back(LoggedTable { table, segments }.ended(last));
        drop(memory);
        self.wake();
    }

    /// Pauses a commit of so many bytes while full tables wait.
    pub(super) fn keep_pace(&self, bytes: u64) {
        let full_tables = self.memory.read().full.len();
        let pause = self.pace.lock().pause(bytes, full_tables, self.opened.elapsed());
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }

    /// So many full tables wait that commits may have to pause.
    pub(super) fn is_pacing(&self) -> bool {
        self.memory.read().full.len() >= PACED_FROM
    }

    /// Has segments closed, here and soon.
    pub(super) fn throw_away(&self, segments: Vec<Unsynced>) {
        self.thrown_away.lock().extend(segments);
    }

    /// Refuses when something has failed before.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        if self.failed.load(Ordering::Acquire) { Err(StorageError::Poisoned) } else { Ok(()) }
    }

    /// Something failed: nothing is written from now on.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) -> StorageError {
        self.failed.store(true, Ordering::Release);
        self.wake();
        StorageError::Write { why: error.to_string() }
    }

    pub(super) fn note_log_bytes(&self, bytes: u64) {
        self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.tables.disk_bytes() + self.log_bytes.load(Ordering::Relaxed)
    }

    fn count_log_bytes(&self) {
        let files = std::fs::read_dir(&self.log_folder).into_iter().flatten().flatten();
        let bytes = files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
        self.log_bytes.store(bytes, Ordering::Relaxed);
    }

    fn wake(&self) {
        drop(self.waiting.lock());
        self.changed.notify_all();
    }

    /// The oldest full table, when there is one; none: it is time to go.
    fn next_full(&self) -> Option<Arc<LoggedTable>> {
        let mut waiting = self.waiting.lock();
        loop {
            if self.closing.load(Ordering::Acquire) {
                return None;
            }
            let crowded = Space::ALL.iter().any(|space| self.tables.runs(*space) > RUNS_MAX);
            let oldest = self.memory.read().full.front().cloned();
            if oldest.is_some() {
                // Waiting for compaction is part of how long it takes.
                self.pace.lock().begin(self.opened.elapsed());
            }
            match (oldest, crowded) {
                (Some(full), false) => return Some(full),
                (Some(_), true) => drop(self.changed.wait_for(&mut waiting, RUNS_PAUSE)),
                (None, _) => self.changed.wait(&mut waiting),
            }
        }
    }

    /// Writes a table out, then forgets it and its part of the log.
    fn write_out(&self, full: &LoggedTable) -> Result<(), String> {
        for space in Space::ALL {
            let all = full.table.part(space, &[], None);
            self.tables.ingest(space, all.entries()).map_err(|error| error.to_string())?;
        }
        let forgotten = self.memory.write().full.pop_front();
        drop(forgotten);
        self.wake();
        log::delete(&self.log_folder, &full.segments).map_err(|error| error.to_string())?;
        self.count_log_bytes();
        Ok(())
    }
}

/// The thread that writes tables out, for as long as the engine is open.
pub(super) struct Flusher {
    shelf: Arc<Shelf>,
    thread: Option<JoinHandle<()>>,
}

impl Flusher {
    pub(super) fn start(shelf: Arc<Shelf>) -> std::io::Result<Flusher> {
        let works_for = shelf.clone();
        let thread = std::thread::Builder::new().name("flush".into()).spawn(move || run(&works_for))?;
        Ok(Flusher { shelf, thread: Some(thread) })
    }
}

impl Drop for Flusher {
    /// A table that is being written out is finished; others stay in the log.
    fn drop(&mut self) {
        self.shelf.closing.store(true, Ordering::Release);
        self.shelf.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(shelf: &Shelf) {
    loop {
        let thrown_away = std::mem::take(&mut *shelf.thrown_away.lock());
        drop(thrown_away);
        shelf.spares.fill();
        let Some(full) = shelf.next_full() else { return };
        let written = catch_unwind(AssertUnwindSafe(|| shelf.write_out(&full)));
        if let Err(why) = written.unwrap_or_else(|_| Err("fjall panicked".to_owned())) {
            tracing::error!(why, "a table could not be written out; its content stays in the log");
            shelf.fail(&why);
            return;
        }
        shelf.pace.lock().wrote_out(shelf.opened.elapsed());
    }
}
