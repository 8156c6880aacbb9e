//! What was flushed, as the copies of this node feel it: dead siblings are not read, not merged, not counted, and in the
//! end not kept ([`crate::object::flush`] says which are dead).
//!
//! A note on the wall says up to which number everything is void. Whoever takes a page out reads past the void lines, and
//! whoever writes on a page strikes them out; meanwhile somebody goes through all the pages once.
//!
//! # Contract
//! - [`Replica::draw_lines`] puts new lines up. From then on no reading, no put and no merge here shows or takes in a dead
//!   sibling, and [`Replica::count`](super::Replica::count) does not count one.
//! - Records written before may hold dead siblings until the sweep ([`Replica::sweep_page`]) has passed; counters and
//!   trees say what the *records* hold. While a sweep is pending, counting looks at every key and nothing is compared with
//!   other homes.
//! - A command pays two atomic reads while nothing is flushed, one comparison for each sibling afterwards; only siblings
//!   below the highest line are looked up.
//!
//! # Why no dead sibling outlives the sweep
//! A writer who had not seen the lines may still be at work when they are put up. It looks at their version before and
//! after it changed the record: if the version rose, it buries the dead itself. If not, the change was visible before the
//! lines were, and the sweep, which begins later, finds it: among the uncommitted records or in the store.

use super::Replica;
use super::seen::Seen;
use super::write::keyed;
use crate::causality::{Hlc, NodeTag};
use crate::codec::{Damaged, Reader, put_count, put_u8, put_u64};
use crate::key::{DATABASES, StorageKey};
use crate::message::control::Reached;
use crate::object::Object;
use crate::object::flush::{FlushLine, FlushLines};
use crate::object::record::Record;
use crate::storage::batch::Batch;
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// Records looked at before a sweep's page ends.
const PAGE_KEYS: usize = 1024;

/// Bytes of records looked at before a sweep's page ends.
const PAGE_BYTES: usize = 1 << 20;

/// An entry of the saved list: database, minter, HLC.
const SAVED_ENTRY_BYTES: usize = 17;

const VERSION: u8 = 1;

/// The lines in force, and how far they have been carried out.
pub(super) struct Flushes {
    /// The highest HLC of each database's line; zero: none.
    highest: [AtomicU64; DATABASES as usize],
    /// The highest HLC of this node in any line.
    own: AtomicU64,
    lines: ArcSwap<FlushLines>,
    /// Rises whenever lines were put up.
    version: AtomicU64,
    /// For each database the digest of the line no record falls under any more; whoever changes what is pending holds it.
    swept: Mutex<[u64; DATABASES as usize]>,
    /// Databases whose records may hold dead siblings; bit 0 is database 0.
    pending: watch::Sender<u16>,
    pub(super) seen: Seen,
}

impl Default for Flushes {
    fn default() -> Flushes {
        Flushes {
            highest: Default::default(),
            own: AtomicU64::new(0),
            lines: ArcSwap::default(),
            version: AtomicU64::new(0),
            swept: Mutex::default(),
            pending: watch::Sender::new(0),
            seen: Seen::default(),
        }
    }
}

impl Flushes {
    /// Drops the dead siblings of an object. Whether there were any.
    pub(super) fn bury(&self, database: u8, object: &mut Object) -> bool {
        !self.spare(database, object) && self.lines.load().get(&database).is_some_and(|line| object.flush(line))
    }

    /// As [`Flushes::bury`]; gives the object as it was, if that was different.
    pub(super) fn bury_keeping(&self, database: u8, object: &mut Object) -> Option<Object> {
        if self.spare(database, object) {
            return None;
        }
        let before = object.clone();
        self.bury(database, object).then_some(before)
    }

    /// Whether no line can strike out anything of it: nearly always nothing was flushed, or long ago.
    fn spare(&self, database: u8, object: &Object) -> bool {
        let highest = self.highest[usize::from(database)].load(Ordering::Relaxed);
        highest == 0 || object.siblings.iter().all(|sibling| sibling.dot.hlc.0 > highest)
    }

    /// What this node writes must be stamped above this. Its own clock is, unless it was wound back from outside.
    pub(super) fn own(&self) -> Hlc {
        Hlc(self.own.load(Ordering::Relaxed))
    }

    /// The version of the lines: whoever finds the same one before and after a change made it under these lines.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether records of a database may still hold dead siblings.
    pub(super) fn is_pending(&self, database: u8) -> bool {
        *self.pending.borrow() >> database & 1 == 1
    }

    /// Records of these databases may hold dead siblings after all; databases of which nothing was flushed do not.
    pub(super) fn sweep_again(&self, databases: u16) {
        let mut swept = self.swept.lock();
        let lines = self.lines.load_full();
        let mut again = 0;
        for database in lines.keys().filter(|database| databases >> **database & 1 == 1) {
            again |= 1 << *database;
            swept[usize::from(*database)] = 0;
        }
        self.version.fetch_add(1, Ordering::Release);
        self.pending.send_modify(|pending| *pending |= again);
    }

    fn draw(&self, lines: &FlushLines) {
        let swept = self.swept.lock();
        let old = self.lines.load_full();
        let changed = |(database, line): &(&u8, &FlushLine)| {
            old.get(*database) != Some(*line) && swept[usize::from(**database)] != line.digest()
        };
        let changed = lines.iter().filter(changed).fold(0, |mask, (database, _)| mask | 1u16 << *database);
        // Pending first: a count that finds the old lines looks at every key already.
        if changed != 0 {
            self.pending.send_modify(|pending| *pending |= changed);
        }
        self.lines.store(Arc::new(lines.clone()));
        for (database, line) in lines {
            self.highest[usize::from(*database)].fetch_max(line.highest().0, Ordering::Relaxed);
        }
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// A sweep under way.
#[derive(Debug)]
pub struct Sweep {
    version: u64,
    databases: u16,
    uncommitted: Vec<Bytes>,
    from: Option<Bytes>,
}

impl Replica {
    /// Puts up the flush lines of the cluster, which only rise. They must be saved already.
    pub fn draw_lines(&self, lines: &FlushLines) {
        if **self.flushes.lines.load() == *lines {
            return;
        }
        let own = lines.values().map(|line| line.of(self.tag)).max().unwrap_or_default();
        self.flushes.own.store(own.0, Ordering::Relaxed);
        self.flushes.draw(lines);
    }

    /// How far everyone has written in some databases (bit 0 is database 0), as far as this node knows.
    pub fn reached(&self, databases: u16) -> Reached {
        Reached { own: self.clock.last(), seen: self.flushes.seen.list(databases) }
    }

    /// Drops what was flushed from an object that came from elsewhere.
    pub fn bury_dead(&self, database: u8, object: &mut Object) {
        self.flushes.bury(database, object);
    }

    /// The digest of a database's flush line as it holds here.
    pub fn flush_line(&self, database: u8) -> u64 {
        self.flushes.lines.load().get(&database).map_or(0, FlushLine::digest)
    }

    /// Whether records here may still hold what was flushed.
    pub fn is_sweeping(&self) -> bool {
        *self.flushes.pending.borrow() != 0
    }

    /// Waits until no record of some databases holds anything that was flushed before this call.
    pub async fn swept(&self, databases: u16) {
        // The sender lives in `self`, so waiting cannot fail.
        let mut pending = self.flushes.pending.subscribe();
        drop(pending.wait_for(|pending| pending & databases == 0).await);
    }

    /// Waits until there is something to sweep.
    pub async fn to_sweep(&self) {
        let mut pending = self.flushes.pending.subscribe();
        drop(pending.wait_for(|pending| *pending != 0).await);
    }

    /// Begins a sweep of everything that was flushed until now.
    pub fn begin_sweep(&self) -> Sweep {
        let (version, databases) = (self.flushes.version(), *self.flushes.pending.borrow());
        Sweep { version, databases, uncommitted: self.store.uncommitted_keys(), from: Some(Bytes::new()) }
    }

    /// Buries the dead of the next records, in `batch`, which the caller submits. Gives how many bytes of records it has
    /// looked at; none: there are no more. Reads the disk.
    pub fn sweep_page(&self, sweep: &mut Sweep, batch: &mut Batch) -> Result<Option<usize>, StorageError> {
        let uncommitted = std::mem::take(&mut sweep.uncommitted);
        uncommitted.into_iter().filter_map(StorageKey::from_bytes).try_for_each(|key| self.bury_in(batch, &key))?;
        let Some(from) = sweep.from.clone() else { return Ok(None) };
        let (mut found, mut last, mut looked, mut bytes) = (Vec::new(), None, 0, 0);
        self.store.scan(Space::Objects, &from, None, &mut |key, value| {
            if looked >= PAGE_KEYS || bytes >= PAGE_BYTES {
                return ControlFlow::Break(());
            }
            (looked, bytes) = (looked + 1, bytes + key.len() + value.len());
            // The first key after this one: the same bytes and a zero.
            last = Some(Bytes::from([key, &[0]].concat()));
            let key = StorageKey::from_bytes(Bytes::copy_from_slice(key));
            let key = key.filter(|key| sweep.databases >> key.database() & 1 == 1);
            let record = key.as_ref().and_then(|_| Record::decode(&Bytes::copy_from_slice(value)).ok());
            if let Some((key, mut record)) = key.zip(record)
                && self.flushes.bury(key.database(), &mut record.object)
            {
                found.push(key);
            }
            ControlFlow::Continue(())
        })?;
        found.iter().try_for_each(|key| self.bury_in(batch, key))?;
        sweep.from = last;
        Ok(sweep.from.is_some().then_some(bytes))
    }

    /// Ends a sweep whose pages are all committed. What was flushed since it began stays pending.
    pub fn end_sweep(&self, sweep: &Sweep) {
        let mut swept = self.flushes.swept.lock();
        if self.flushes.version() != sweep.version {
            return;
        }
        for (database, line) in self.flushes.lines.load().iter() {
            swept[usize::from(*database)] = line.digest();
        }
        self.flushes.pending.send_modify(|pending| *pending &= !sweep.databases);
    }

    /// A record was changed by somebody who had found this version of the lines: if there are newer ones, they may have
    /// been put up too late for the change and too early for the sweep. If that cannot be done now, another sweep will.
    pub(super) fn bury_since(&self, version: u64, batch: &mut Batch, key: &StorageKey) {
        if self.flushes.version() != version && self.bury_in(batch, key).is_err() {
            self.flushes.sweep_again(1 << key.database());
        }
    }

    /// Drops the dead siblings of one record.
    fn bury_in(&self, batch: &mut Batch, key: &StorageKey) -> Result<(), StorageError> {
        self.store.update(batch, key.as_bytes(), |old| {
            let Some(Ok(record)) = old.as_ref().map(Record::decode) else { return ((), None) };
            let mut object = record.object.clone();
            if !self.flushes.bury(key.database(), &mut object) {
                return ((), None);
            }
            self.note_change(key, &record.object, &object);
            ((), Some(keyed(key, &Record { birth: record.birth, object })))
        })
    }

    /// What must be known after a clean stop of life `life`: version, life u64, for each database the digest of the line
    /// that was carried out (u64), then a list of database u8, minter u64, highest HLC seen u64.
    pub fn flushes_saved(&self, life: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_u8(&mut out, VERSION);
        put_u64(&mut out, life);
        let swept = self.flushes.swept.lock();
        for (database, digest) in swept.iter().enumerate() {
            put_u64(&mut out, if self.flushes.is_pending(database as u8) { 0 } else { *digest });
        }
        let seen = self.flushes.seen.list(u16::MAX);
        put_count(&mut out, seen.len());
        for (database, minter, hlc) in seen {
            put_u8(&mut out, database);
            put_u64(&mut out, minter.0);
            put_u64(&mut out, hlc.0);
        }
        out
    }

    /// Takes what the clean stop of life `life` saved, before the first lines are drawn. On an error nothing was taken:
    /// count, and sweep.
    pub fn flushes_restored(&self, saved: &[u8], life: u64) -> Result<(), Damaged> {
        let mut reader = Reader::new(saved);
        if reader.u8()? != VERSION || reader.u64()? != life {
            return Err(Damaged::Malformed("life that the flushes were saved in"));
        }
        let mut swept = [0; DATABASES as usize];
        for digest in &mut swept {
            *digest = reader.u64()?;
        }
        let entry = |reader: &mut Reader<'_>| Ok((reader.u8()?, NodeTag(reader.u64()?), Hlc(reader.u64()?)));
        let count = reader.count(SAVED_ENTRY_BYTES)?;
        let seen = (0..count).map(|_| entry(&mut reader)).collect::<Result<Vec<_>, Damaged>>()?;
        reader.finish()?;
        seen.into_iter().for_each(|(database, minter, hlc)| self.flushes.seen.raise(database, minter, hlc));
        *self.flushes.swept.lock() = swept;
        Ok(())
    }
}
