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

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::world::Instant;

use super::core::Core;
use super::engine::{Space, Write};
use super::errand::{Errand, Returned};
use super::error::StorageError;
use super::mark::BatchMark;
use super::overlay::{Place, Slip};
use super::queue::Submission;
use super::recovery::Recovery;
use super::store::{Committed, Done, Fsync};

const SECOND: Duration = Duration::from_secs(1);

/// With a sync every second: commits wait for one that takes longer than this, so that no more is at stake (as in Redis).
const SYNC_PATIENCE: Duration = Duration::from_secs(2);

/// The book-keeper's own notes.
pub(super) struct Committer {
    last: BatchMark,
    group: u64,
    dirty: bool,
    synced_at: Instant,
    sync_failed: bool,
    /// What has been synced since the mark was written.
    unmarked: Option<BatchMark>,
    /// What is under way, and when the last one was begun.
    errand: Option<Errand>,
    errand_at: Option<Instant>,
    writes: Vec<Write>,
    slips: Vec<Slip>,
    places: HashMap<(Space, Bytes), usize>,
    recovery: Recovery,
}

/// What to tell a submitter, once all locks are released.
pub(super) type Outcome = (Done, Result<Committed, StorageError>);

impl Committer {
    /// Goes on after batch `last`.
    pub(super) fn new(last: BatchMark) -> Committer {
        let now = Instant::now();
        Committer {
            last,
            group: 0,
            dirty: false,
            synced_at: now,
            sync_failed: false,
            unmarked: None,
            errand: None,
            errand_at: None,
            writes: Vec::new(),
            slips: Vec::new(),
            places: HashMap::new(),
            recovery: Recovery::new(last),
        }
    }

    /// Commits a group as one engine batch and says what to tell its submitters.
    pub(super) fn commit(&mut self, core: &Core, group: &mut Vec<Submission>, outcomes: &mut VecDeque<Outcome>) {
        self.gather(core, group);
        let sync = core.fsync() == Fsync::Always || group.iter().any(|submission| submission.sync);
        let failures = core.counters.failures.load(Ordering::Acquire);
        let result = self.write(core, sync);
        if result.is_err() && !self.writes.is_empty() {
            // Before the slips are off: who no longer finds one there must find this.
            core.counters.losses.fetch_add(1, Ordering::Release);
        }
        for (write, slip) in self.writes.iter().zip(&self.slips) {
            if result.is_err() {
                core.cache.put(&write.key, None);
            }
            core.overlay.remove(&write.key, *slip);
        }
        // After the slips are off: a batch begun before this line may have seen them, a later one cannot.
        if let Err(error) = &result
            && !self.writes.is_empty()
            && core.counters.failures.fetch_add(1, Ordering::Release) == 0
        {
            tracing::error!(%error, "a commit failed, the first in this life; its writers were told, as later ones will be");
        }
        self.writes.clear();
        self.slips.clear();
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
            outcomes.push_back((submission.done, verdict));
        }
    }

    /// Collects the group's writes: objects first (their slips alongside), then the rest; each key once.
    fn gather(&mut self, core: &Core, group: &[Submission]) {
        self.group += 1;
        // A refused batch's objects are on the board and must come off it like any others.
        for key in group.iter().flat_map(|submission| &submission.parts.touched) {
            let offered = Place { group: self.group, index: self.writes.len() };
            let Some(taken) = core.overlay.take(key, offered) else { continue };
            if taken.index == self.writes.len() {
                self.writes.push(Write { space: Space::Objects, key: key.bytes.clone(), value: taken.value });
                self.slips.push(taken.slip);
            } else {
                self.writes[taken.index].value = taken.value;
                self.slips[taken.index] = taken.slip;
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
            self.synced(core, next, begun);
            self.unmarked = Some(next);
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
        self.synced(core, self.last, begun);
        self.unmarked = Some(self.last);
        Ok(())
    }

    /// Everything up to `mark` is synced.
    fn synced(&mut self, core: &Core, mark: BatchMark, begun: Instant) {
        if mark == self.last {
            self.dirty = false;
        }
        self.sync_failed = false;
        self.synced_at = begun;
        self.recovery.synced(mark);
        core.counters.synced(mark.number, begun.elapsed());
        core.synced.notify_waiters();
    }

    /// What is due beside committing: the sync of every second, the mark, a look at the disk. Cheap when nothing is.
    pub(super) fn upkeep(&mut self, core: &Core) {
        let now = Instant::now();
        self.take_back(core);
        if self.errand.is_some_and(|errand| errand.sync.is_some() && now - errand.begun >= SYNC_PATIENCE) {
            self.end_errand(core);
        }
        if self.errand.is_some() {
            return;
        }
        self.recover(core, now);
        self.write_mark(core);
        let sync = !core.broken.load(Ordering::Relaxed) && self.sync_due_at(core.fsync()).is_some_and(|due| due <= now);
        if sync || self.errand_at.is_none_or(|begun| now - begun >= SECOND) {
            self.begin_errand(core, sync, now);
            self.take_back(core);
        }
    }

    fn begin_errand(&mut self, core: &Core, sync: bool, now: Instant) {
        self.errand_at = Some(now);
        let mut errand = Errand { sync: None, begun: now };
        if sync {
            self.synced_at = now;
            match core.engine.commit(&[self.last.write()], false) {
                Ok(()) => errand.sync = Some(self.last),
                Err(error) => self.sync_failed(core, &error),
            }
        }
        self.errand = Some(errand);
        core.errands.hand_out(core, errand);
    }

    /// Hears how the errand went, if it has ended.
    fn take_back(&mut self, core: &Core) {
        if let Some(returned) = core.errands.returned() {
            self.errand_ended(core, returned);
        }
    }

    /// Waits until no errand is under way.
    pub(super) fn end_errand(&mut self, core: &Core) {
        if self.errand.is_some() {
            self.errand_ended(core, core.errands.wait());
        }
    }

    fn errand_ended(&mut self, core: &Core, Returned { errand, synced }: Returned) {
        self.errand = None;
        match (errand.sync, synced) {
            (Some(mark), Ok(())) => self.synced(core, mark, errand.begun),
            (Some(_), Err(error)) => self.sync_failed(core, &error),
            (None, _) => {}
        }
    }

    fn sync_failed(&mut self, core: &Core, error: &StorageError) {
        self.recovery.broke(core, &[self.last.write()], error);
        core.counters.sync_failures.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.sync_failed, true) {
            tracing::error!(%error, "a sync in the background failed; it is tried again every second");
        }
    }

    /// Opens a broken engine again when that is due, and proves by a sync that it takes writes.
    fn recover(&mut self, core: &Core, now: Instant) {
        let Some(found) = self.recovery.try_again(core, self.last, now) else { return };
        self.last = found;
        match core.engine.commit(&[found.write()], true) {
            Ok(()) => {
                self.synced(core, found, now);
                self.unmarked = Some(found);
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

    /// The mark follows a sync at once; an errand makes it durable. A mark that lags is safe.
    pub(super) fn write_mark(&mut self, core: &Core) {
        let Some(home) = &core.home else { return };
        if let Some(mark) = self.unmarked.take()
            && let Err(error) = home.write_mark(mark)
        {
            tracing::warn!(%error, "the mark could not be written; the next sync writes it again");
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

    /// Nothing is under way that a commit might have to wait for: pages that are being forced to disk, for instance.
    pub(super) fn is_undisturbed(&self) -> bool {
        self.errand.is_none_or(|errand| errand.sync.is_none())
    }

    /// When [`Committer::upkeep`] must be called at the latest; none: not before the next commit, or the end of the errand.
    pub(super) fn wake_at(&self, core: &Core) -> Option<Instant> {
        if self.errand.is_some() {
            return None;
        }
        let look = core.home.as_ref().map(|_| self.errand_at.map_or_else(Instant::now, |begun| begun + SECOND));
        let sync = self.sync_due_at(core.fsync()).filter(|_| !core.broken.load(Ordering::Relaxed));
        [sync, look, self.recovery.due()].into_iter().flatten().min()
    }
}
