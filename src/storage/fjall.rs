//! The sorted tables on disk: fjall, a log-structured tree.
//!
//! Shelves of volumes in order, which a librarian merges behind everybody's back.
//!
//! # Contract
//! - [`FjallTables::ingest`] adds entries in key order, newer than all there are, durably; they are seen together.
//! - A [`Snapshot`] shows one moment, as long as it lives.
//! - A [`FjallTables::get`] takes no lock. fjall holds a space's lock while it forces a list of tables to disk (10 to 60 ms,
//!   after each ingestion and compaction), and its own reading would wait for that; so a list of tables is kept at hand
//!   ([`Shown`]), exchanged when an ingestion is done, and soon after a compaction, which changes nothing that is read.
//! - What compaction throws away is dropped on a thread of ours ([`Bin`]): whoever drops the last reference unlinks tables on
//!   disk (10 to 80 ms each where the file system discards blocks), and that would be fjall's worker, under the lock that
//!   every read needs.
//!
//! # Not used
//! fjall's journal and tables in memory ([`disk`](super::disk) says why; what an older release left there is still read),
//! key-value separation, FIFO compaction, `clear` (each has an open defect), and plain ranges, which are not isolated.
//!
//! # What it refuses to do
//! Recover what does not open: the caller sets the folder aside.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use ::fjall::{AbstractTree, Database, Keyspace, KeyspaceCreateOptions, Readable, UserKey, UserValue};
use arc_swap::ArcSwap;
use bytes::Bytes;
use lsm_tree::SeqNo;
use lsm_tree::table::filter::standard_bloom;

use super::engine::Space;
use super::error::StorageError;

/// The tables of all spaces. See the module.
pub(super) struct FjallTables {
    database: Database,
    spaces: [Keyspace; 3],
    shown: [Arc<Shown>; 3],
}

/// All tables at one moment.
pub(super) struct Snapshot {
    snapshot: ::fjall::Snapshot,
    spaces: [Keyspace; 3],
}

impl FjallTables {
    /// Opens or creates the database in `folder`. May take seconds.
    pub(super) fn open(folder: &Path, cache_bytes: u64, worker_threads: usize) -> Result<FjallTables, ::fjall::Error> {
        let database =
            Database::builder(folder).cache_size(cache_bytes).worker_threads(worker_threads.max(1)).open()?;
        let keyspace = |space: Space| database.keyspace(space.name(), KeyspaceCreateOptions::default);
        let spaces = [keyspace(Space::Objects)?, keyspace(Space::Hints)?, keyspace(Space::Meta)?];
        let shown = Space::ALL.map(|space| Arc::new(Shown::new(&spaces[space.index()])));
        Ok(FjallTables { database, spaces, shown })
    }

    fn space(&self, space: Space) -> &Keyspace {
        &self.spaces[space.index()]
    }

    /// The value of a key.
    pub(super) fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.shown[space.index()].get(key)
    }

    /// All tables, as they are now.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { snapshot: self.database.snapshot(), spaces: self.spaces.clone() }
    }

    /// Adds entries, in key order, each key once; none removes a key. Blocks until they are on disk.
    pub(super) fn ingest<'a>(
        &self,
        space: Space,
        entries: impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)>,
    ) -> Result<(), ::fjall::Error> {
        let mut entries = entries.peekable();
        if entries.peek().is_none() {
            return Ok(());
        }
        let mut ingestion = self.space(space).start_ingestion()?;
        for (key, value) in entries {
            match value {
                Some(value) => ingestion.write(&key[..], &value[..])?,
                None => ingestion.write_tombstone(&key[..])?,
            }
        }
        ingestion.finish()?;
        self.shown[space.index()].renew(self.space(space));
        Ok(())
    }

    /// How many runs of tables a read may have to look through, beside those in their final order.
    pub(super) fn runs(&self, space: Space) -> usize {
        self.space(space).tree.l0_run_count()
    }

    /// What the tables take up on disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_default()
    }

    /// One for what each space is about to throw away.
    pub(super) fn bins(&self) -> Vec<Bin> {
        self.spaces
            .iter()
            .cloned()
            .zip(self.shown.iter().cloned())
            .map(|(space, shown)| Bin::new(space, shown))
            .collect()
    }
}

impl Snapshot {
    /// Entries from `from` (included) to `to` (excluded; none: to the end), in key order.
    pub(super) fn range(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(UserKey, UserValue), StorageError>> + use<> {
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let entries = self.snapshot.range::<&[u8], _>(&self.spaces[space.index()], bounds);
        entries.map(|entry| entry.into_inner().map_err(read_error))
    }
}

/// Finds the value of a key.
type Lookup = dyn Fn(&[u8]) -> Result<Option<Bytes>, ::fjall::Error> + Send + Sync;

/// The tables of a space as readers see them: all that were ingested, and as they lay before a compaction or after it.
struct Shown {
    lookup: ArcSwap<Box<Lookup>>,
}

impl Shown {
    fn new(space: &Keyspace) -> Shown {
        Shown { lookup: ArcSwap::from_pointee(lookup(space)) }
    }

    /// Shows the tables that there are now.
    fn renew(&self, space: &Keyspace) {
        self.lookup.store(Arc::new(lookup(space)));
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        (self.lookup.load())(key).map_err(read_error)
    }
}

/// Looks through the tables that a space has now, whatever becomes of the space.
fn lookup(space: &Keyspace) -> Box<Lookup> {
    // Only an older release wrote into fjall's tables in memory; the first ingestion writes out what it left.
    if !space.tree.active_memtable().is_empty() || space.tree.sealed_memtable_count() > 0 {
        let space = space.clone();
        return Box::new(move |key| Ok(space.get(key)?.map(|value| Bytes::copy_from_slice(&value))));
    }
    let version = space.tree.current_version();
    Box::new(move |key| {
        let hash = standard_bloom::Builder::get_hash(key);
        for run in version.iter_levels().flat_map(|level| level.iter()) {
            let Some(table) = run.get_for_key(key) else { continue };
            if let Some(found) = table.get(key, SeqNo::MAX, hash)? {
                return Ok((!found.is_tombstone()).then(|| Bytes::copy_from_slice(&found.value)));
            }
        }
        Ok(None)
    })
}

/// What a space was made of and may be about to throw away.
pub(super) struct Bin {
    space: Keyspace,
    shown: Arc<Shown>,
    /// Each state of the space seen, oldest first, with its number.
    states: VecDeque<(u64, Box<dyn Any + Send>)>,
}

impl Bin {
    fn new(space: Keyspace, shown: Arc<Shown>) -> Bin {
        Bin { space, shown, states: VecDeque::new() }
    }

    /// Holds on to the present state, shows it to readers, and drops those that fjall has let go of. States that come and go between two calls
    /// escape it, and are dropped by fjall.
    pub(super) fn empty(&mut self) {
        let tree = &self.space.tree;
        let version = tree.current_version();
        if self.states.back().map(|(id, _)| *id) != Some(version.id()) {
            self.states.push_back((version.id(), Box::new(version)));
            self.shown.renew(&self.space);
        }
        // fjall remembers its last states, as many as its free list says and the one that holds. Those seen here are some
        // of all there were: one that is followed by as many as fjall remembers is none of these.
        let remembered = tree.version_free_list_len() + 1;
        while self.states.len() > remembered {
            self.states.pop_front();
        }
    }
}

fn read_error(error: ::fjall::Error) -> StorageError {
    StorageError::Read { why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingest(tables: &FjallTables, from: u32) {
        let keys: Vec<Bytes> = (from..from + 100).map(|key| Bytes::copy_from_slice(&key.to_be_bytes())).collect();
        let value = Bytes::from(vec![7; 1000]);
        tables.ingest(Space::Objects, keys.iter().map(|key| (key, Some(&value)))).unwrap();
    }

    #[test]
    fn the_newest_entry_counts_and_a_snapshot_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let tables = FjallTables::open(folder.path(), 1 << 20, 1).unwrap();
        let entry = |key: &'static str, value: Option<&'static str>| (Bytes::from(key), value.map(Bytes::from));
        let ingest = |space, entries: Vec<(Bytes, Option<Bytes>)>| {
            tables.ingest(space, entries.iter().map(|(key, value)| (key, value.as_ref()))).unwrap();
        };
        let listing = |snapshot: &Snapshot, from: &str, to: Option<&str>| -> Vec<(Vec<u8>, Vec<u8>)> {
            let entries = snapshot.range(Space::Objects, from.as_bytes(), to.map(str::as_bytes));
            entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
        };
        let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        ingest(Space::Objects, vec![entry("a", Some("1")), entry("b", Some("2")), entry("c", Some("3"))]);
        ingest(Space::Hints, vec![entry("a", Some("h"))]);
        ingest(Space::Hints, vec![]);
        let before = tables.snapshot();
        ingest(Space::Objects, vec![entry("a", Some("4")), entry("b", None)]);
        assert_eq!(listing(&before, "", Some("c")), [pair("a", "1"), pair("b", "2")]);
        assert_eq!(listing(&tables.snapshot(), "", None), [pair("a", "4"), pair("c", "3")]);
        assert_eq!(listing(&tables.snapshot(), "b", None), [pair("c", "3")]);
        assert_eq!(tables.get(Space::Hints, b"a").unwrap().as_deref(), Some(&b"h"[..]));
        assert_eq!(tables.get(Space::Objects, b"b").unwrap(), None);
        let busy = tables.space(Space::Objects).tree.get_version_history_lock();
        let (told, hear) = std::sync::mpsc::channel();
        let found = std::thread::scope(|scope| {
            scope.spawn(|| told.send(tables.get(Space::Objects, b"a").unwrap()));
            let found = hear.recv_timeout(std::time::Duration::from_secs(10));
            drop(busy);
            found
        });
        assert_eq!(found.expect("it waits while fjall holds its lock").as_deref(), Some(&b"4"[..]));
        assert!(tables.disk_bytes() > 0 && tables.runs(Space::Objects) > 0);
    }

    #[test]
    fn states_are_held_as_long_as_fjall_may_drop_them_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let tables = FjallTables::open(folder.path(), 1 << 20, 1).unwrap();
        let mut bin = tables.bins().remove(Space::Objects.index());
        for round in 0..8 {
            ingest(&tables, round * 100);
            bin.empty();
        }
        assert!(bin.states.len() > 1);
        // Compaction goes on meanwhile, and fjall forgets by itself: once it rests, the two agree.
        let begun = std::time::Instant::now();
        let agrees = |bin: &mut Bin| {
            bin.empty();
            bin.states.len() <= tables.space(Space::Objects).tree.version_free_list_len() + 1
        };
        while !agrees(&mut bin) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{} states are held", bin.states.len());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
