//! The store's counters: written by the commit thread, read by anyone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a store has done and is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes submitted and not yet committed.
    pub queued_bytes: u64,
    /// Keys changed and not yet committed.
    pub uncommitted_keys: u64,
    /// Batches handed in.
    pub submissions: u64,
    /// Engine commits.
    pub commits: u64,
    /// Keys written by them.
    pub writes: u64,
    /// Keys in the last commit.
    pub commit_keys_last: u64,
    /// Keys in the largest commit.
    pub commit_keys_most: u64,
    /// Groups that failed.
    pub failures: u64,
    /// Fsyncs.
    pub syncs: u64,
    /// Fsyncs of every second that failed.
    pub sync_failures: u64,
    /// How long the last one took, the write before it included, in microseconds.
    pub sync_last_us: u64,
    /// The number of the last engine batch.
    pub number: u64,
    /// The number of the last one that is fsynced.
    pub durable_number: u64,
    /// What the engine took up on disk when last looked at.
    pub disk_bytes: u64,
    /// Hints the engine holds.
    pub hints: u64,
    /// Free bytes on the disk when last looked at; `u64::MAX`: nobody can tell.
    pub free_bytes: u64,
    /// Edits are refused for want of space.
    pub disk_full: bool,
    /// Edits are refused since the engine failed.
    pub broken: bool,
    /// Times the engine was opened again after a disk error.
    pub recoveries: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub queued_bytes: AtomicU64,
    pub submissions: AtomicU64,
    /// Groups that failed, counted before their slips come off the board.
    pub losses: AtomicU64,
    pub failures: AtomicU64,
    pub sync_failures: AtomicU64,
    pub durable_number: AtomicU64,
    commits: AtomicU64,
    writes: AtomicU64,
    commit_keys_last: AtomicU64,
    commit_keys_most: AtomicU64,
    syncs: AtomicU64,
    sync_last_us: AtomicU64,
    /// The longest since somebody took it.
    pub sync_most_us: AtomicU64,
    number: AtomicU64,
    disk_bytes: AtomicU64,
    hints: AtomicU64,
    recoveries: AtomicU64,
}

impl Counters {
    /// Counters of a store whose engine ended with batch `number`, which is durable (recovery saw to it), and holds so
    /// many hints.
    pub(super) fn starting_at(number: u64, hints: u64) -> Counters {
        Counters {
            number: AtomicU64::new(number),
            durable_number: AtomicU64::new(number),
            hints: AtomicU64::new(hints),
            ..Counters::default()
        }
    }

    /// All but what lies outside the counters.
    pub(super) fn read(&self) -> StoreStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        StoreStats {
            queued_bytes: read(&self.queued_bytes),
            submissions: read(&self.submissions),
            commits: read(&self.commits),
            writes: read(&self.writes),
            commit_keys_last: read(&self.commit_keys_last),
            commit_keys_most: read(&self.commit_keys_most),
            failures: read(&self.failures),
            syncs: read(&self.syncs),
            sync_failures: read(&self.sync_failures),
            sync_last_us: read(&self.sync_last_us),
            number: read(&self.number),
            durable_number: read(&self.durable_number),
            disk_bytes: read(&self.disk_bytes),
            hints: read(&self.hints),
            recoveries: read(&self.recoveries),
            ..StoreStats::default()
        }
    }

    pub(super) fn note_disk_bytes(&self, bytes: u64) {
        self.disk_bytes.store(bytes, Ordering::Release);
    }

    /// Hints came and went; both at once, so that a reader sees no number in between.
    pub(super) fn hints_changed(&self, added: u64, removed: u64) {
        self.hints.fetch_add(added.wrapping_sub(removed), Ordering::AcqRel);
    }

    /// The engine was opened again and holds so many hints.
    pub(super) fn hints_are(&self, hints: u64) {
        self.hints.store(hints, Ordering::Release);
    }

    pub(super) fn recovered(&self) {
        self.recoveries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn committed(&self, number: u64, keys: u64) {
        self.number.store(number, Ordering::Release);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(keys, Ordering::Relaxed);
        self.commit_keys_last.store(keys, Ordering::Relaxed);
        self.commit_keys_most.fetch_max(keys, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, number: u64, took: Duration) {
        self.durable_number.fetch_max(number, Ordering::Release);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_last_us.store(took.as_micros() as u64, Ordering::Relaxed);
        self.sync_most_us.fetch_max(took.as_micros() as u64, Ordering::Relaxed);
    }
}
