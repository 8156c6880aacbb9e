//! What the store, its commit thread and its batches share: the way from a submission to the engine.
//!
//! # Contract
//! - One at a time takes submissions from the queue, commits all he took, and puts the outcomes among those to be told,
//!   holding the committer all the while: so commits and outcomes keep the order of submission.
//! - One at a time tells outcomes ([`Core::tell`]), holding nothing that a commit needs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::attendant::Attendant;
use super::batch::Parts;
use super::cache::RecordCache;
use super::commit::{Committer, Outcome};
use super::engine::{Engine, Space};
use super::errand::{Errand, Errands, Manned, Returned};
use super::error::StorageError;
use super::home::Home;
use super::largest::Largest;
use super::mark::BatchMark;
use super::others::OthersUnderWay;
use super::overlay::Overlay;
use super::queue::{Queue, Submission};
use super::recovery::OnReopened;
use super::stats::Counters;
use super::store::{Done, Fsync, StoreSettings};

/// No group is larger than this and one submission, so that one commit does not fill a memtable.
const GROUP_BYTES_MAX: u64 = 8 << 20;

/// What the store shares with its commit thread and with batches.
pub(super) struct Core {
    pub engine: Arc<dyn Engine>,
    pub home: Option<Arc<Home>>,
    pub overlay: Overlay,
    pub others: OthersUnderWay,
    pub cache: RecordCache,
    pub largest: Largest,
    pub counters: Counters,
    pub synced: Notify,
    pub disk_full: AtomicBool,
    /// The engine failed and has not been opened again.
    pub broken: AtomicBool,
    pub free_bytes: AtomicU64,
    free_bytes_min: AtomicU64,
    pub on_reopened: OnceLock<OnReopened>,
    pub queue: Queue,
    pub attendant: Attendant,
    pub errands: Errands,
    pub room: Notify,
    pub settings: StoreSettings,
    fsync: AtomicU8,
    pub committer: Mutex<Committer>,
    outcomes: Mutex<VecDeque<Outcome>>,
    /// Held by who tells; empty otherwise.
    telling: Mutex<VecDeque<Outcome>>,
    clean_stop: AtomicBool,
    finished: AtomicBool,
}

impl Core {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        settings: StoreSettings,
        home: Option<Arc<Home>>,
        last: BatchMark,
        hints: u64,
    ) -> Core {
        let core = Core {
            largest: Largest::open(home.as_deref()),
            engine,
            home,
            overlay: Overlay::new(),
            others: OthersUnderWay::default(),
            cache: RecordCache::new(settings.cache_bytes),
            counters: Counters::starting_at(last.number, hints),
            synced: Notify::new(),
            disk_full: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            free_bytes: AtomicU64::new(u64::MAX),
            free_bytes_min: AtomicU64::new(settings.free_bytes_min),
            on_reopened: OnceLock::new(),
            queue: Queue::default(),
            attendant: Attendant::default(),
            errands: Errands::default(),
            room: Notify::new(),
            fsync: AtomicU8::new(settings.fsync as u8),
            settings,
            committer: Mutex::new(Committer::new(last)),
            outcomes: Mutex::default(),
            telling: Mutex::default(),
            clean_stop: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        };
        core.look_at_disk();
        core
    }

    /// The newest record of a key, committed or not.
    pub(super) fn newest(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.overlay.look(key).or_else(|sign| self.committed(key, sign))
    }

    /// The record of a key that has no entry in the overlay, which gave this sign.
    pub(super) fn committed(&self, key: &[u8], sign: u64) -> Result<Option<Bytes>, StorageError> {
        if let Some(record) = self.cache.get(key) {
            return Ok(Some(record));
        }
        let record = self.engine.get(Space::Objects, key)?;
        self.largest.note(record.as_ref().map_or(0, Bytes::len));
        if let Some(record) = record.as_ref().filter(|_| self.cache.is_on()) {
            let key = Bytes::copy_from_slice(key);
            self.overlay.unchanged(&key, sign, || self.cache.put(&key, Some(record)));
        }
        Ok(record)
    }

    pub(super) fn set_fsync(&self, fsync: Fsync) {
        self.fsync.store(fsync as u8, Ordering::Relaxed);
        self.queue.nudge();
    }

    /// From now on edits are refused, and the end, when it comes, counts as a clean one.
    pub(super) fn announce_stop(&self) {
        self.clean_stop.store(true, Ordering::Release);
    }

    pub(super) fn fsync(&self) -> Fsync {
        match self.fsync.load(Ordering::Relaxed) {
            n if n == Fsync::Always as u8 => Fsync::Always,
            n if n == Fsync::EverySec as u8 => Fsync::EverySec,
            _ => Fsync::No,
        }
    }

    /// Sets the floor of free space; it holds once the commit thread has looked.
    pub(super) fn set_free_bytes_min(&self, bytes: u64) {
        self.free_bytes_min.store(bytes, Ordering::Relaxed);
        self.queue.nudge();
    }

    pub(super) fn check_open(&self, makes_room: bool) -> Result<(), StorageError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StorageError::Poisoned);
        }
        if self.disk_full.load(Ordering::Relaxed) && !makes_room {
            return Err(StorageError::DiskFull { free_bytes_min: self.free_bytes_min.load(Ordering::Relaxed) });
        }
        if self.clean_stop.load(Ordering::Relaxed) { Err(StorageError::Stopped) } else { Ok(()) }
    }

    pub(super) fn submit(&self, parts: Parts, sync: bool, done: Done) {
        self.counters.queued_bytes.fetch_add(parts.bytes, Ordering::AcqRel);
        let submission = Submission { parts, sync, done };
        let refused = if self.settings.inline {
            self.submit_inline(submission)
        } else if self.fsync() != Fsync::Always && submission.is_light() && self.attendant.is_there() {
            self.submit_light(submission)
        } else {
            self.queue.push(submission)
        };
        if let Some(refused) = refused {
            self.counters.queued_bytes.fetch_sub(refused.parts.bytes, Ordering::AcqRel);
            self.others.arrived(&refused.parts.others);
            (refused.done)(Err(StorageError::Stopped));
        }
    }

    fn submit_inline(&self, submission: Submission) -> Option<Submission> {
        if self.queue.is_closed() {
            return Some(submission);
        }
        let mut committer = self.committer.lock();
        self.commit(&mut committer, &mut vec![submission]);
        drop(committer);
        self.tell();
        self.committer.lock().write_mark(self);
        None
    }

    /// The commit thread's life, and that of the one who runs its errands.
    pub(super) fn run(&self) {
        std::thread::scope(|scope| {
            // Also if the committer panics: the scope waits for the helper.
            let _until_then = Manned::begin(&self.errands);
            let helper = std::thread::Builder::new().name("errand".into());
            if let Err(error) = helper.spawn_scoped(scope, || self.errands.run(self)) {
                tracing::warn!(%error, "no thread for syncing; commits wait for it instead");
                self.errands.close();
            }
            self.run_committer();
        });
    }

    fn run_committer(&self) {
        let mut taken = Vec::new();
        let mut group = Vec::new();
        loop {
            let until = self.committer.lock().wake_at(self);
            self.queue.wait(until);
            let mut committer = self.committer.lock();
            if !self.queue.take(&mut taken) {
                break;
            }
            self.commit_all(&mut committer, &mut taken, &mut group);
            drop(committer);
            self.tell();
            self.committer.lock().upkeep(self);
        }
        self.committer.lock().end_errand(self);
        self.finish();
    }

    /// See [`Errand`].
    pub(super) fn run_errand(&self, errand: Errand) -> Returned {
        let synced = errand.sync.map_or(Ok(()), |_| self.engine.sync());
        if let Some(home) = &self.home {
            if let (Some(mark), Ok(())) = (errand.sync, &synced)
                && let Err(error) = home.write_mark(mark)
            {
                tracing::warn!(%error, "the mark could not be written; the next sync writes it again");
            }
            if let Err(error) = home.sync_mark() {
                tracing::warn!(%error, "the mark could not be synced");
            }
        }
        self.look_at_disk();
        Returned { errand, synced }
    }

    /// The commit thread's life in a simulation: a task. Dropped at any moment, it leaves what a killed process leaves.
    #[cfg(feature = "simulation")]
    pub(super) async fn run_as_task(self: Arc<Self>) {
        const PAUSE_MS_MAX: u64 = 4;
        /// What waits holds those who submitted it, and they the store: a process that dies does not mind.
        struct Killed<'a>(&'a Core);
        impl Drop for Killed<'_> {
            fn drop(&mut self) {
                let mut waiting = Vec::new();
                self.0.queue.take(&mut waiting);
            }
        }
        let _killed = Killed(&self);
        while !self.queue.is_closed() {
            tokio::time::sleep(crate::world::simulation::some_time(PAUSE_MS_MAX)).await;
            self.commit_waiting();
            self.committer.lock().upkeep(&self);
        }
    }

    /// Commits what waits, on the caller's thread.
    #[cfg(feature = "simulation")]
    pub(super) fn commit_waiting(&self) {
        let mut taken = Vec::new();
        let mut committer = self.committer.lock();
        self.queue.take(&mut taken);
        self.commit_all(&mut committer, &mut taken, &mut Vec::new());
        drop(committer);
        self.tell();
    }

    /// Commits what was taken, in groups of bounded size; empties both.
    fn commit_all(&self, committer: &mut Committer, taken: &mut Vec<Submission>, group: &mut Vec<Submission>) {
        let mut bytes = 0;
        for submission in taken.drain(..) {
            bytes += submission.parts.bytes;
            group.push(submission);
            if bytes > GROUP_BYTES_MAX {
                self.commit(committer, group);
                // A group's submitters do not wait for the next one.
                self.tell();
                bytes = 0;
            }
        }
        if !group.is_empty() {
            self.commit(committer, group);
        }
    }

    /// Commits a group and empties it; [`Core::tell`] must follow.
    pub(super) fn commit(&self, committer: &mut Committer, group: &mut Vec<Submission>) {
        committer.commit(self, group, &mut self.outcomes.lock());
        self.room.notify_waiters();
    }

    /// Tells everyone whose group is committed, in the order of submission. Whoever comes while somebody tells leaves it to
    /// that one, who looks once more before he goes.
    pub(super) fn tell(&self) {
        while let Some(mut telling) = self.telling.try_lock() {
            std::mem::swap(&mut *telling, &mut *self.outcomes.lock());
            for (done, outcome) in telling.drain(..) {
                // One caller's mistake must not end the thread that everyone depends on.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| done(outcome))).is_err() {
                    tracing::error!("a completion panicked; the commit itself stands");
                }
            }
            drop(telling);
            if self.outcomes.lock().is_empty() {
                return;
            }
        }
    }

    /// The end, once.
    pub(super) fn finish(&self) {
        if self.finished.swap(true, Ordering::AcqRel) {
            return;
        }
        // Dropped without a stop: the process may as well have been killed, and in a simulation it was.
        if self.clean_stop.load(Ordering::Acquire) {
            // What is still on the board was seen, perhaps sent to other nodes, and will never be committed.
            let clean = self.counters.failures.load(Ordering::Acquire) == 0 && self.overlay.len() == 0;
            self.committer.lock().finish(self, clean);
        }
    }

    /// Notes the engine's size and whether the disk still has room.
    pub(super) fn look_at_disk(&self) {
        self.counters.note_disk_bytes(self.engine.disk_bytes());
        if let Some(home) = &self.home {
            self.largest.save(home);
        }
        let Some(free) = self.home.as_ref().and_then(|home| home.free_bytes()) else { return };
        self.free_bytes.store(free, Ordering::Relaxed);
        let floor = self.free_bytes_min.load(Ordering::Relaxed);
        let full = free < floor;
        if self.disk_full.swap(full, Ordering::Relaxed) != full {
            let news = if full { "writes are refused until there is more" } else { "writes are taken again" };
            tracing::warn!(free_bytes = free, floor_bytes = floor, "free disk space crossed the floor; {news}");
        }
    }

    /// Whether the disk has room above the floor, and at least so much; as it was when last looked at.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.free_bytes.load(Ordering::Relaxed) >= self.free_bytes_min.load(Ordering::Relaxed).max(bytes)
    }
}
