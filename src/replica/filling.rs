//! Copies that were lost on disk, and whether they have been taken from the other homes.
//!
//! # Contract
//! - From a loss until it is made good this node answers no reads that count; it takes in writes all the same.
//! - What was filled up after one loss says nothing about a later one.

use super::{Refusal, Replica};
use crate::key::StorageKey;
use crate::object::Object;
use crate::storage::recovery::Reopened;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Losses found in this life.
#[derive(Default)]
pub(super) struct Filling {
    /// How many.
    found: AtomicU64,
    /// The number of the last one that was made good.
    made_good: AtomicU64,
    again: Notify,
}

impl Replica {
    /// What this node may answer of a key to a read that counts: nothing while it is filling up.
    pub fn read_as_home(&self, key: &StorageKey) -> Result<Object, Refusal> {
        if self.is_filling() { Err(Refusal::Filling) } else { self.read(key) }
    }

    /// The same for a look in passing; none: it must not be read, or cannot. Who goes on then reads it again, and hears why.
    pub fn glance_as_home(&self, key: &StorageKey) -> Option<Object> {
        if self.is_filling() { None } else { self.copy_of(key).ok() }
    }

    /// Whether copies were lost on disk and are being taken from the other homes.
    pub fn is_filling(&self) -> bool {
        self.filling.found.load(Ordering::Acquire) != self.filling.made_good.load(Ordering::Acquire)
    }

    /// Copies were lost: no reads are answered until [`Replica::filled`].
    pub fn start_filling(&self) {
        self.filling.found.fetch_add(1, Ordering::AcqRel);
        self.filling.again.notify_one();
    }

    /// How many losses were found in this life.
    pub fn losses_found(&self) -> u64 {
        self.filling.found.load(Ordering::Acquire)
    }

    /// All copies have been taken from the other homes since loss number `loss`; false: more were lost meanwhile.
    pub fn filled(&self, loss: u64) -> bool {
        self.filling.made_good.store(loss, Ordering::Release);
        !self.is_filling()
    }

    /// Waits until copies are lost that are not made good.
    pub async fn lost(&self) {
        while !self.is_filling() {
            self.filling.again.notified().await;
        }
    }

    /// From now on it is taken into account when the store's engine is opened again after a disk error: names given before
    /// are void, since a write that failed may be there all the same; sums are counted anew; and what was lost is filled up.
    pub fn watch_reopening(self: &Arc<Self>) {
        let replica = Arc::downgrade(self);
        self.store.on_reopened(Box::new(move |Reopened { lost }| {
            let Some(replica) = replica.upgrade() else { return };
            replica.births_valid_from.fetch_max(replica.clock.last().0 + 1, Ordering::AcqRel);
            replica.trees.doubt_all();
            // What was swept away last may be back.
            replica.flushes.sweep_again(u16::MAX);
            if lost {
                replica.start_filling();
            }
        }));
    }
}
