//! The book-keeper: turns a group of submissions into one entry of the ledger.
//!
//! # Contract
//! - For each touched key the *newest* value on the board is written, whoever pinned it. Hence per key the order of
//!   commits is the order of edits, however batches interleave; and a batch that only looked at an uncommitted value
//!   completes after that value is in the engine, even when the batch that made it was not submitted yet.
//! - A group that fails takes its slips off the board, and with it fails every batch that was begun before: what those
//!   were built on may be gone.
//! - Every synced commit also writes [`BATCH_KEY`](super::mark::BATCH_KEY): its number and a running checksum. After a sync the same goes to the mark
//!   beside the engine, so that an engine that forgot something is found out.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::world::Instant;

use super::core::Core;
use super::engine::{Space, Write};
use super::error::StorageError;
use super::mark::BatchMark;
use super::overlay::Place;
use super::queue::Submission;
use super::recovery::Recovery;
use super::store::{Committed, Done, Fsync};

const SECOND: Duration = Duration::from_secs(1);

/// With a sync every second: how often the engine may write ahead what that will cover.
const SYNC_AHEAD_EVERY: Duration = Duration::from_millis(250);

/// The book-keeper's own notes.
pub(super) struct Committer {
    last: BatchMark,
    group: u64,
    dirty: bool,
    synced_at: Instant,
    synced_ahead_at: Instant,
    sync_failed: bool,
    unmarked: Option<BatchMark>,
    mark_synced_at: Instant,
    looked_at: Option<Instant>,
    writes: Vec<Write>,
    versions: Vec<u64>,
    places: HashMap<(Space, Bytes), usize>,
    recovery: Recovery,
}

/// What to tell the submitters, once all locks are released.
pub(super) type Outcomes = Vec<(Done, Result<Committed, StorageError>)>;

impl Committer {
    /// Goes on after batch `last`.
    pub(super) fn new(last: BatchMark) -> Committer {
        let now = Instant::now();
        Committer {
            last,
            group: 0,
            dirty: false,
            synced_at: now,
            synced_ahead_at: now,
            sync_failed: false,
            unmarked: None,
            mark_synced_at: now,
            looked_at: None,
            writes: Vec::new(),
            versions: Vec::new(),
            places: HashMap::new(),
            recovery: Recovery::new(last),
        }
    }

    /// Commits a group as one engine batch and says what to tell its submitters.
    pub(super) fn commit(&mut self, core: &Core, group: &mut Vec<Submission>, outcomes: &mut Outcomes) {
        self.gather(core, group);
        let sync = core.fsync() == Fsync::Always || group.iter().any(|submission| submission.sync);
        let failures = core.counters.failures.load(Ordering::Acquire);
        let result = self.write(core, sync);
        if result.is_err() && !self.writes.is_empty() {
            // Before the slips are off: who no longer finds one there must find this.
            core.counters.losses.fetch_add(1, Ordering::Release);
        }
        for (write, version) in self.writes.iter().zip(&self.versions) {
            if result.is_ok() {
                core.cache.put(&write.key, write.value.as_ref());
            }
            core.overlay.remove(&write.key, *version);
        }
        // After the slips are off: a batch begun before this line may have seen them, a later one cannot.
        if let Err(error) = &result
            && !self.writes.is_empty()
            && core.counters.failures.fetch_add(1, Ordering::Release) == 0
        {
            tracing::error!(%error, "a commit failed, the first in this life; its writers were told, as later ones will be");
        }
        self.writes.clear();
        self.versions.clear();
        let committed = Committed { durable: !self.dirty, number: self.last.number };
        core.counters.submissions.fetch_add(group.len() as u64, Ordering::Relaxed);
        for submission in group.drain(..) {
            let parts = submission.parts;
            core.counters.queued_bytes.fetch_sub(parts.bytes, Ordering::AcqRel);
            core.others.arrived(&parts.others);
            let overtaken = parts.failures_seen.is_some_and(|seen| seen != failures);
            let verdict = match (&result, parts.refused) {
                (_, Some(refused)) => Err(refused),
                (Err(error), None) => Err(error.clone()),
                (Ok(()), None) if overtaken => Err(StorageError::Overtaken),
                (Ok(()), None) => Ok(committed),
            };
            outcomes.push((submission.done, verdict));
        }
    }

    /// Collects the group's writes: objects first (their versions alongside), then the rest; each key once.
    fn gather(&mut self, core: &Core, group: &[Submission]) {
        self.group += 1;
        // A refused batch's objects are on the board and must come off it like any others.
        for key in group.iter().flat_map(|submission| &submission.parts.touched) {
            let offered = Place { group: self.group, index: self.writes.len() };
            let Some(taken) = core.overlay.take(key, offered) else { continue };
            if taken.index == self.writes.len() {
                self.writes.push(Write { space: Space::Objects, key: key.clone(), value: taken.value });
                self.versions.push(taken.version);
            } else {
                self.writes[taken.index].value = taken.value;
                self.versions[taken.index] = taken.version;
            }
        }
        let sound = group.iter().map(|submission| &submission.parts).filter(|parts| parts.refused.is_none());
        for other in sound.flat_map(|parts| &parts.others) {
            let place = *self.places.entry((other.space, other.key.clone())).or_insert(self.writes.len());
            if place == self.writes.len() {
                self.writes.push(other.clone());
            } else {
                self.writes[place].value.clone_from(&other.value);
            }
        }
        self.places.clear();
    }

    fn write(&mut self, core: &Core, sync: bool) -> Result<(), StorageError> {
        if self.writes.is_empty() {
            return if sync { self.sync(core) } else { Ok(()) };
        }
        let next = self.last.next(&self.writes);
        let count = self.writes.len() as u64;
        let (added, removed) = self.hints_changed(core);
        let begun = Instant::now();
        // The mark beside the engine only ever names a synced batch, so only those carry theirs.
        if sync {
            self.writes.push(next.write());
        }
        if core.broken.load(Ordering::Relaxed) {
            return Err(StorageError::Poisoned);
        }
        if let Err(error) = core.engine.commit(&self.writes, sync) {
            self.recovery.broke(core, &self.writes, &error);
            return Err(error);
        }
        self.recovery.committed(self.writes.last());
        core.counters.hints_changed(added, removed);
        self.last = next;
        self.dirty = true;
        core.counters.committed(next.number, count);
        if sync {
            self.synced(core, begun);
        }
        Ok(())
    }

    /// How many hints these writes add and remove. A hint that cannot be looked up counts as unchanged.
    fn hints_changed(&self, core: &Core) -> (u64, u64) {
        let hints = self.writes.iter().filter(|write| write.space == Space::Hints);
        hints.fold((0, 0), |(added, removed), write| {
            let here = core.engine.get(Space::Hints, &write.key).map(|value| value.is_some());
            match (here, write.value.is_some()) {
                (Ok(false), true) => (added + 1, removed),
                (Ok(true), false) => (added, removed + 1),
                _ => (added, removed),
            }
        })
    }

    /// Makes everything committed durable, if there is anything that is not.
    pub(super) fn sync(&mut self, core: &Core) -> Result<(), StorageError> {
        if !self.dirty {
            return Ok(());
        }
        if core.broken.load(Ordering::Relaxed) {
            return Err(StorageError::Poisoned);
        }
        let begun = Instant::now();
        // A failed attempt counts as well: once a second is often enough to try.
        self.synced_at = begun;
        self.sync_failed = true;
        let mark = [self.last.write()];
        core.engine.commit(&mark, true).inspect_err(|error| self.recovery.broke(core, &mark, error))?;
        self.synced(core, begun);
        Ok(())
    }

    fn synced(&mut self, core: &Core, begun: Instant) {
        self.dirty = false;
        self.synced_at = Instant::now();
        self.sync_failed = false;
        self.unmarked = Some(self.last);
        self.recovery.synced(self.last);
        core.counters.synced(self.last.number, self.synced_at - begun);
        core.synced.notify_waiters();
    }

    /// What is due beside committing: the sync of every second, the mark, a look at the disk. Cheap when nothing is.
    pub(super) fn upkeep(&mut self, core: &Core) {
        let now = Instant::now();
        let failed_before = self.sync_failed;
        self.recover(core, now);
        if self.dirty && core.fsync() == Fsync::EverySec && now - self.synced_ahead_at >= SYNC_AHEAD_EVERY {
            self.synced_ahead_at = now;
            core.engine.sync_ahead();
        }
        if self.sync_due_at(core.fsync()).is_some_and(|due| due <= now)
            && !core.broken.load(Ordering::Relaxed)
            && let Err(error) = self.sync(core)
        {
            core.counters.sync_failures.fetch_add(1, Ordering::Relaxed);
            if !failed_before {
                tracing::error!(%error, "a sync in the background failed; it is tried again every second");
            }
        }
        self.write_mark(core);
        if self.looked_at.is_none_or(|looked| now - looked >= SECOND) {
            self.looked_at = Some(now);
            core.look_at_disk();
        }
    }

    /// Opens a broken engine again when that is due, and proves by a sync that it takes writes.
    fn recover(&mut self, core: &Core, now: Instant) {
        let Some(found) = self.recovery.try_again(core, self.last, now) else { return };
        self.last = found;
        match core.engine.commit(&[found.write()], true) {
            Ok(()) => {
                self.synced(core, now);
                self.recovery.ended(core);
            }
            Err(error) => self.recovery.failed_again(&error),
        }
    }

    /// The last sync and the last mark, before the end; `clean` notes that it was a clean stop.
    pub(super) fn finish(&mut self, core: &Core, clean: bool) {
        if let Err(error) = self.sync(core) {
            tracing::error!(%error, "the last sync failed; this does not count as a clean stop");
            return;
        }
        let Some(home) = &core.home else { return };
        // Only what this life has synced is marked: a mark found ahead of the engine must be found again.
        let marked = self.unmarked.take().map_or(Ok(()), |mark| home.write_mark(mark));
        let synced = marked.and_then(|()| home.sync_mark());
        let noted = if clean { synced.and_then(|()| home.write_clean(self.last.number)) } else { synced };
        if let Err(error) = noted {
            tracing::warn!(%error, "the stop could not be noted; the next start counts as one after a crash");
        }
    }

    /// The mark follows a sync at once; it is itself synced once a second. A mark that lags is safe.
    pub(super) fn write_mark(&mut self, core: &Core) {
        let Some(home) = &core.home else { return };
        if let Some(mark) = self.unmarked.take()
            && let Err(error) = home.write_mark(mark)
        {
            tracing::warn!(%error, "the mark could not be written; the next sync writes it again");
        }
        let now = Instant::now();
        if home.mark_is_unsynced() && now - self.mark_synced_at >= SECOND {
            self.mark_synced_at = now;
            if let Err(error) = home.sync_mark() {
                tracing::warn!(%error, "the mark could not be synced");
            }
        }
    }

    fn sync_due_at(&self, fsync: Fsync) -> Option<Instant> {
        match fsync {
            _ if !self.dirty => None,
            Fsync::Always if !self.sync_failed => Some(self.synced_at),
            Fsync::Always | Fsync::EverySec => Some(self.synced_at + SECOND),
            Fsync::No => None,
        }
    }

    /// When [`Committer::upkeep`] must be called at the latest; none: not before the next commit.
    pub(super) fn wake_at(&self, core: &Core) -> Option<Instant> {
        let mark = core.home.as_ref().filter(|home| home.mark_is_unsynced()).map(|_| self.mark_synced_at + SECOND);
        let disk = core.home.as_ref().map(|_| self.looked_at.unwrap_or_else(Instant::now) + SECOND);
        let sync = self.sync_due_at(core.fsync()).filter(|_| !core.broken.load(Ordering::Relaxed));
        [sync, mark, disk, self.recovery.due()].into_iter().flatten().min()
    }
}
