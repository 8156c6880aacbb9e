//! Getting back to work after a disk error, without a human.
//!
//! The pen broke in the middle of a line. The book-keeper writes nothing more, waits until there is ink again, takes the
//! ledger to the binder's, and then looks whether the last line that was signed for is still in it.
//!
//! # Contract
//! - From the first commit or sync that fails on, nothing is written; edits are refused, reads go on. Once the disk has
//!   room the engine is opened again, with pauses that double while that fails.
//! - The reopened engine is looked through before anybody reads from it: its number must not lie below the last one that
//!   was synced, and it must hold the last write that was acknowledged (an engine loses the last first, never with gaps).
//!   If not, copies were lost: that is noted on disk, and whoever asked for it is told ([`Reopened`]), before anybody reads.
//! - It takes writes again when one sync has succeeded.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::world::Instant;

use super::core::Core;
use super::engine::{Engine, Space, Write};
use super::error::StorageError;
use super::mark::{BATCH_KEY, BatchMark, is_truncated};
use super::reopen::count_hints;

/// The engine is not opened again before so much is free, whatever the floor: replaying writes tables.
const FREE_BYTES_MIN: u64 = 8 << 20;

/// The first and the longest pause before the next try.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// An engine was opened again after a disk error; nobody reads from it yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reopened {
    /// It lacks something that was acknowledged.
    pub lost: bool,
}

/// Who is told, on the commit thread; must not call the store.
pub type OnReopened = Box<dyn Fn(Reopened) + Send + Sync>;

/// What is known of the engine's content, and when it is opened again.
pub(super) struct Recovery {
    /// The last batch that was synced.
    synced: BatchMark,
    /// The last write of the last group that was committed.
    last_write: Option<Write>,
    /// The group that failed: it may be there all the same.
    failed: Vec<Write>,
    due: Option<Instant>,
    pause: Duration,
}

impl Recovery {
    /// The engine ended with this batch, synced.
    pub(super) fn new(synced: BatchMark) -> Recovery {
        Recovery { synced, last_write: None, failed: Vec::new(), due: None, pause: PAUSES.0 }
    }

    /// A group was committed.
    pub(super) fn committed(&mut self, last_write: Option<&Write>) {
        self.last_write = last_write.cloned();
    }

    /// Everything up to this batch was synced.
    pub(super) fn synced(&mut self, mark: BatchMark) {
        // A sync that was overtaken by another says less.
        if mark.number >= self.synced.number {
            self.synced = mark;
        }
    }

    /// A commit of these writes failed: nothing more is written until the engine was opened again.
    pub(super) fn broke(&mut self, core: &Core, writes: &[Write], error: &StorageError) {
        if !core.engine.can_reopen() || core.broken.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::error!(%error, "the storage engine failed; writes are refused until it could be opened again, reads go on");
        self.failed = writes.to_vec();
        self.pause = PAUSES.0;
        self.due = Some(Instant::now() + self.pause);
    }

    /// When the next try is due; none: nothing is broken.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Opens the engine again if that is due and there is room: the batch it goes on after.
    pub(super) fn try_again(&mut self, core: &Core, last: BatchMark, now: Instant) -> Option<BatchMark> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        core.look_at_disk();
        if !core.has_room(FREE_BYTES_MIN) {
            self.due = Some(now + PAUSES.0);
            return None;
        }
        let mut found = last;
        let reopened = core.engine.reopen(&mut |engine| {
            let seen = self.look_through(core, engine)?;
            found = if seen.number > last.number { seen } else { last };
            Ok(())
        });
        match reopened {
            Ok(()) => Some(found),
            Err(error) => {
                self.failed_again(&error);
                None
            }
        }
    }

    /// It was opened, but takes no writes; or it could not be opened.
    pub(super) fn failed_again(&mut self, error: &StorageError) {
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.due = Some(Instant::now() + self.pause);
        tracing::warn!(%error, pause_ms = self.pause.as_millis() as u64, "the storage engine fails still; it is tried again");
    }

    /// It takes writes again.
    pub(super) fn ended(&mut self, core: &Core) {
        self.due = None;
        self.failed.clear();
        core.broken.store(false, Ordering::Release);
        core.counters.recovered();
        tracing::warn!("the storage engine was opened again and takes writes");
    }

    /// Whether all is there; gives the last batch found. Nobody reads from the engine yet.
    fn look_through(&self, core: &Core, engine: &dyn Engine) -> Result<BatchMark, StorageError> {
        let mark = engine.get(Space::Meta, &BATCH_KEY)?;
        let mark = mark.map_or(Some(BatchMark::default()), |bytes| BatchMark::decode(&bytes));
        let lost = is_truncated(mark, Some(self.synced)) || !self.holds_last_write(engine)?;
        if lost {
            tracing::error!("the storage engine forgot writes when it was opened again; check this disk");
            if let Some(home) = &core.home {
                home.note_loss().map_err(|error| StorageError::Reopen { why: error.to_string() })?;
            }
        }
        core.counters.hints_are(count_hints(engine)?);
        // What failed may be there all the same, and so be newer than what was read before.
        core.cache.clear();
        if let Some(told) = core.on_reopened.get() {
            told(Reopened { lost });
        }
        Ok(mark.unwrap_or_default())
    }

    fn holds_last_write(&self, engine: &dyn Engine) -> Result<bool, StorageError> {
        let Some(last) = &self.last_write else { return Ok(true) };
        let found = engine.get(last.space, &last.key)?;
        let failed = self.failed.iter().filter(|write| write.space == last.space && write.key == last.key);
        Ok(std::iter::once(last).chain(failed).any(|write| write.value == found))
    }
}
