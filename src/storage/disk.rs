//! The engine on disk: a log, tables in memory, and fjall's sorted tables.
//!
//! A clerk enters each commit in a diary and on an index card, and says "done". Whenever the card box is full, a colleague
//! copies it, in order, into a new volume on the shelf; then those pages of the diary may go. The clerk never waits for the
//! shelf, and who looks something up asks the cards first.
//!
//! The diary is the [`log`], the box a [`table`], the shelf fjall ([`FjallTables`]), the colleague the [`flusher`].
//!
//! # Why fjall's own journal and memory tables are not used
//! fjall keeps a space's lock while it forces its manifest to disk (10 to 40 ms), unlinks tables and frees a full table in
//! memory, and its journal's while that is synced; every commit would wait for those. Here commits need neither, and cost
//! half: there is no second copy into a journal, and a key that is overwritten meanwhile never reaches a table. Tables come to
//! fjall by its ingestion, already in order.
//!
//! # Contract
//! As [`engine`](super::engine) says; moreover
//! - what is not in fjall's tables yet is in the log, in the order of commits: [`Space::Meta`] holds, beside what callers put
//!   there, how far the tables go ([`FLUSHED_KEY`]), and is ingested last;
//! - at most [`FULL_TABLES_MAX`] full tables wait; a commit that would fill another waits for the shelf. That bounds memory and
//!   log to `(FULL_TABLES_MAX + 1) × memtable_bytes`, and one commit. Before it comes to that, commits [`pace`] themselves;
//! - after any write or flush that fails nothing more is written until the engine is opened again; reads go on.

mod flusher;
mod janitor;
mod log;
mod merge;
mod pace;
mod spares;
mod table;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::engine::{Engine, Space, Visit, Write, check_key};
use super::error::StorageError;
use super::fjall::FjallTables;
use flusher::{Flusher, Shelf};
use janitor::Janitor;
use log::{Log, Segment, Unsynced};
use table::Table;

const MIB: u64 = 1 << 20;

/// How many full tables may wait to be written out.
const FULL_TABLES_MAX: usize = 3;

/// The key in [`Space::Meta`] under which fjall's tables say up to which record of the log they go.
const FLUSHED_KEY: Bytes = Bytes::from_static(b"flushed");

/// How much memory the engine may use.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    /// Bytes for cached blocks.
    pub cache_bytes: u64,
    /// Bytes of log after which a table in memory is written out. Up to four of them are in memory.
    pub memtable_bytes: u64,
    /// Threads that compact. At least one.
    pub worker_threads: usize,
}

impl Default for DiskSettings {
    fn default() -> DiskSettings {
        DiskSettings { cache_bytes: 64 * MIB, memtable_bytes: 32 * MIB, worker_threads: 1 }
    }
}

impl DiskSettings {
    /// Tables up to a quarter larger or smaller, by a node's number: nodes that hold the same copies fill theirs at one
    /// pace, and would else all be busy with writing them out at one moment.
    pub fn staggered(self, node: u8) -> DiskSettings {
        DiskSettings { memtable_bytes: self.memtable_bytes * (48 + u64::from(node) % 33) / 64, ..self }
    }
}

/// See the module.
pub struct DiskEngine {
    /// Ends first: it uses the shelf.
    _flusher: Flusher,
    _janitor: Janitor,
    shelf: Arc<Shelf>,
    log: Mutex<Log>,
    /// Held while segments are forced to disk: the system tells of an error once, and not to whom.
    forcing: Mutex<()>,
    memtable_bytes: u64,
}

/// A table in memory, and the segments of the log it was made from.
#[derive(Default)]
struct LoggedTable {
    table: Table,
    segments: Vec<u64>,
}

impl DiskEngine {
    /// Opens or creates the engine in `folder`. May take a second: it reads the log.
    pub fn open(folder: &Path, settings: &DiskSettings) -> Result<DiskEngine, OpenFailed> {
        let tables = FjallTables::open(folder, settings.cache_bytes, settings.worker_threads)?;
        let log_folder = log_folder(folder);
        std::fs::create_dir_all(&log_folder)?;
        let flushed = flushed(&tables)?;
        let found = log::replay(&log_folder, flushed)?;
        let unsynced = found
            .segments
            .iter()
            .map(|segment| log::reopened(&log_folder, segment.number))
            .collect::<Result<_, _>>()?;
        let (full, mut filling) = read_back(found.segments, flushed, settings.memtable_bytes);
        let log = Log::open(&log_folder, found.next_number, found.next_sequence, unsynced)?;
        filling.segments.push(log.number());
        let shelf = Arc::new(Shelf::new(tables, log_folder, filling, full, settings.memtable_bytes));
        Ok(DiskEngine {
            _flusher: Flusher::start(shelf.clone())?,
            _janitor: Janitor::start(shelf.clone())?,
            shelf,
            log: Mutex::new(log),
            forcing: Mutex::new(()),
            memtable_bytes: settings.memtable_bytes,
        })
    }

    /// Forces segments to disk.
    fn force(&self, segments: &[Unsynced]) -> Result<(), StorageError> {
        let _alone = self.forcing.lock();
        self.shelf.check()?;
        log::sync(segments).map_err(|error| self.shelf.fail(&error))
    }

    /// Puts the full table away and begins another; waits while too many wait.
    fn rotate(&self, log: &mut Log) -> Result<(), StorageError> {
        self.shelf.wait_for_room()?;
        let last = log.next_sequence() - 1;
        let spare = self.shelf.spares.take().map_err(|error| self.shelf.fail(&error))?;
        let dropped = log.rotate(spare, self.shelf.needed_from()).map_err(|error| self.shelf.fail(&error))?;
        self.shelf.throw_away(dropped);
        self.shelf.put_away(last, log.number());
        Ok(())
    }
}

/// The tables that a log makes: full ones, and one that may be filled further. Its first record comes after `flushed`.
fn read_back(segments: Vec<Segment>, flushed: u64, memtable_bytes: u64) -> (Vec<Arc<LoggedTable>>, LoggedTable) {
    let (mut full, mut filling) = (Vec::new(), LoggedTable::default());
    let (mut last, mut bytes) = (flushed, 0);
    for segment in segments {
        last += segment.commits.len() as u64;
        bytes += segment.bytes;
        segment.commits.into_iter().flatten().for_each(|write| filling.table.apply(write));
        filling.segments.push(segment.number);
        if bytes >= memtable_bytes {
            full.push(std::mem::take(&mut filling).ended(last));
            bytes = 0;
        }
    }
    (full, filling)
}

impl LoggedTable {
    /// Nothing comes after record `last` of the log.
    fn ended(mut self, last: u64) -> Arc<LoggedTable> {
        let flushed = Bytes::copy_from_slice(&last.to_be_bytes());
        self.table.apply(Write { space: Space::Meta, key: FLUSHED_KEY, value: Some(flushed) });
        Arc::new(self)
    }
}

/// Up to which record of the log fjall's tables go.
fn flushed(tables: &FjallTables) -> Result<u64, OpenFailed> {
    let Some(bytes) = tables.get(Space::Meta, &FLUSHED_KEY)? else { return Ok(0) };
    let bytes = <[u8; 8]>::try_from(&bytes[..]).map_err(|_| OpenFailed::Damaged)?;
    Ok(u64::from_be_bytes(bytes))
}

impl Engine for DiskEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        match self.shelf.in_memory(space, key) {
            Some(value) => Ok(value),
            None => self.shelf.tables.get(space, key),
        }
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        writes.iter().try_for_each(|write| check_key(&write.key))?;
        let mut log = self.log.lock();
        self.shelf.check()?;
        if log.bytes() >= self.memtable_bytes {
            self.rotate(&mut log)?;
        }
        let record = log::encode(log.next_sequence(), writes);
        self.shelf.keep_pace(record.len() as u64);
        log.append(&record).map_err(|error| self.shelf.fail(&error))?;
        self.shelf.note_log_bytes(record.len() as u64);
        if sync {
            self.force(&log.unsynced())?;
            self.shelf.throw_away(log.all_synced());
        }
        self.shelf.apply(log::parts(&record, writes));
        Ok(())
    }

    fn is_at_leisure(&self) -> bool {
        let has_room = self.log.try_lock().is_some_and(|log| log.bytes() < self.memtable_bytes);
        has_room && !self.shelf.is_pacing()
    }

    fn sync(&self) -> Result<(), StorageError> {
        let segments = self.log.lock().unsynced();
        self.force(&segments)?;
        self.log.lock().synced(&segments);
        Ok(())
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let moment = self.shelf.moment(space, from, to);
        merge::visit(moment.in_memory.iter().map(merge::layer).collect(), moment.tables.range(space, from, to), visit)
    }

    fn disk_bytes(&self) -> u64 {
        self.shelf.disk_bytes()
    }
}

/// Why the engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenFailed {
    /// fjall cannot open its tables.
    #[error("{0}")]
    Fjall(#[from] ::fjall::Error),
    /// The log cannot be read or written.
    #[error("its log: {0}")]
    Log(#[from] std::io::Error),
    /// What the tables say of the log is none of ours.
    #[error("its tables do not say how far they go")]
    Damaged,
    /// The tables cannot be read.
    #[error("{0}")]
    Storage(#[from] StorageError),
}

/// The folder of the log, of an engine in `folder`.
pub(super) fn log_folder(folder: &Path) -> std::path::PathBuf {
    folder.join("log")
}

#[cfg(test)]
#[path = "disk/tests.rs"]
mod tests;
