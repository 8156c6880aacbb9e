//! The engine on disk: fjall, a log-structured tree.
//!
//! New entries go to a journal, so that they survive, and to a table in memory, so that they are found; full tables are
//! sorted out to disk behind everybody's back.
//!
//! # Choices
//! - Memtables of about 16 MiB, of another size on each node, and a journal of 128 MiB at most: a rotation stalls the writer, and start-up replays the journal.
//! - Keys and values go in and come out as copies: fjall would else keep whole network buffers, or callers whole blocks.
//! - What fjall throws away is dropped, and the journal written out ahead of a sync, on a thread of ours ([`janitor`]).
//! - Scans read from a snapshot, since a plain range of fjall's is not isolated.
//! - Not used: key-value separation, FIFO compaction, `clear` (each has an open defect).
//!
//! # What it refuses to do
//! Recover what does not open: the caller sets the folder aside. After a failed write fjall takes no more
//! ([`StorageError::Poisoned`]) until it is opened again; reads go on.

mod janitor;

use std::ops::Bound;
use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};
use bytes::Bytes;

use super::engine::{Engine, Space, Visit, Write, check_key};
use super::error::StorageError;
use janitor::Janitor;

const MIB: u64 = 1 << 20;

/// How much memory and journal fjall may use.
#[derive(Clone, Debug)]
pub struct FjallSettings {
    /// Bytes for cached blocks.
    pub cache_bytes: u64,
    /// Bytes of a table in memory before it is written out; there may be five of them in each space.
    pub memtable_bytes: u64,
    /// Bytes of journal before fjall makes room. At least 64 MiB; less counts as that.
    pub journal_bytes_max: u64,
    /// Threads that flush and compact. At least one.
    pub worker_threads: usize,
}

impl Default for FjallSettings {
    fn default() -> FjallSettings {
        FjallSettings {
            cache_bytes: 64 * MIB,
            memtable_bytes: 16 * MIB,
            journal_bytes_max: 128 * MIB,
            worker_threads: 1,
        }
    }
}

impl FjallSettings {
    /// Memtables up to a quarter larger or smaller, by a node's number: nodes that hold the same copies fill theirs at one
    /// pace, and would else all stall at one moment, with nobody left to answer at W.
    pub fn staggered(self, node: u8) -> FjallSettings {
        FjallSettings { memtable_bytes: self.memtable_bytes * (48 + u64::from(node) % 33) / 64, ..self }
    }
}

/// The engine on disk. See the module.
pub struct FjallEngine {
    /// Let go of first: it holds on to the spaces.
    janitor: Janitor,
    database: Database,
    spaces: [Keyspace; 3],
}

impl FjallEngine {
    /// Opens or creates the database in `folder`. May take seconds: it replays the journal.
    pub fn open(folder: &Path, settings: &FjallSettings) -> Result<FjallEngine, ::fjall::Error> {
        let database = Database::builder(folder)
            .cache_size(settings.cache_bytes)
            .max_journaling_size(settings.journal_bytes_max.max(64 * MIB))
            .worker_threads(settings.worker_threads.max(1))
            .open()?;
        let keyspace = |space: Space| {
            database
                .keyspace(space.name(), || KeyspaceCreateOptions::default().max_memtable_size(settings.memtable_bytes))
        };
        let spaces = [keyspace(Space::Objects)?, keyspace(Space::Hints)?, keyspace(Space::Meta)?];
        let janitor = Janitor::start(folder, &spaces)?;
        Ok(FjallEngine { janitor, database, spaces })
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space.index()]
    }
}

impl Engine for FjallEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        let found = self.space(space).get(key).map_err(read_error)?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), writes.len()).durability(Some(mode));
        for write in writes {
            check_key(&write.key)?;
            match &write.value {
                Some(value) => batch.insert(self.space(write.space), &write.key[..], &value[..]),
                None => batch.remove(self.space(write.space), &write.key[..]),
            }
        }
        batch.commit().map_err(write_error)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.database.persist(PersistMode::SyncData).map_err(write_error)
    }

    fn sync_ahead(&self) {
        self.janitor.sync_ahead();
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let snapshot = self.database.snapshot();
        for guard in snapshot.range::<&[u8], _>(self.space(space), bounds) {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }
}

fn read_error(error: ::fjall::Error) -> StorageError {
    StorageError::Read { why: error.to_string() }
}

fn write_error(error: ::fjall::Error) -> StorageError {
    match error {
        ::fjall::Error::Poisoned => StorageError::Poisoned,
        other => StorageError::Write { why: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::ControlFlow;

    fn write(space: Space, key: &'static str, value: Option<&'static str>) -> Write {
        Write { space, key: Bytes::from(key), value: value.map(Bytes::from) }
    }

    fn listing(engine: &dyn Engine, space: Space, from: &str, to: Option<&str>) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        engine
            .scan(space, from.as_bytes(), to.map(str::as_bytes), &mut |key, value| {
                seen.push((text(key), text(value)));
                ControlFlow::Continue(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn spaces_are_apart_the_last_write_of_a_key_wins_and_scans_keep_their_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(folder.path(), &FjallSettings::default()).unwrap();
        let writes = [
            write(Space::Objects, "a", Some("1")),
            write(Space::Objects, "b", Some("2")),
            write(Space::Hints, "a", Some("h")),
            write(Space::Objects, "c", Some("3")),
            write(Space::Objects, "a", Some("4")),
            write(Space::Objects, "b", None),
        ];
        engine.commit(&writes, true).unwrap();
        assert_eq!(listing(&engine, Space::Objects, "", None), [("a".into(), "4".into()), ("c".into(), "3".into())]);
        assert_eq!(listing(&engine, Space::Objects, "a", Some("c")), [("a".into(), "4".into())]);
        assert_eq!(listing(&engine, Space::Objects, "c", Some("a")), []);
        assert_eq!(engine.get(Space::Hints, b"a").unwrap().as_deref(), Some(&b"h"[..]));
        assert_eq!(engine.get(Space::Meta, b"a").unwrap(), None);
        assert!(engine.disk_bytes() > 0);
    }

    #[test]
    fn nodes_memtables_differ_by_a_quarter_at_most() {
        let sizes: std::collections::BTreeSet<u64> =
            (0..=255).map(|node| FjallSettings::default().staggered(node).memtable_bytes).collect();
        assert_eq!((sizes.first(), sizes.last(), sizes.len()), (Some(&(12 * MIB)), Some(&(20 * MIB)), 33));
    }

    #[test]
    fn a_key_no_engine_holds_is_an_error_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let engine = FjallEngine::open(folder.path(), &FjallSettings::default()).unwrap();
        let writes = [write(Space::Objects, "a", Some("1")), write(Space::Objects, "", Some("2"))];
        assert_eq!(engine.commit(&writes, false), Err(StorageError::KeyLength { bytes: 0 }));
        assert_eq!(engine.get(Space::Objects, b"a").unwrap(), None);
    }
}
