//! What the book-keeper has somebody else do: to carry the pages to the vault takes long, and the ledger is to be written on
//! meanwhile.
//!
//! # Contract
//! - One errand at a time. It forces to disk what was committed before it began, then notes the mark beside the engine and
//!   makes that durable, too, and looks at the disk.
//! - [`Errands::returned`] tells once how it went; the commit thread is woken for that.
//! - Without a thread ([`Errands::run`]) an errand is done by whoever hands it out, before that returns.

use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::{Condvar, Mutex};

use crate::world::Instant;

use super::core::Core;
use super::error::StorageError;
use super::mark::BatchMark;

/// What is to be done, beside a look at the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errand {
    /// The last batch, whose mark is the last thing in the engine; none: nothing is to be synced.
    pub sync: Option<BatchMark>,
    pub begun: Instant,
}

/// How a sync went.
pub(super) struct Returned {
    pub errand: Errand,
    pub synced: Result<(), StorageError>,
}

/// Between who hands out and who does.
#[derive(Default)]
pub(super) struct Errands {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// There is a thread.
    manned: bool,
    closed: bool,
    wanted: Option<Errand>,
    returned: Option<Returned>,
}

impl Errands {
    /// Hands an errand out. The one before must have returned.
    pub(super) fn hand_out(&self, core: &Core, errand: Errand) {
        let mut state = self.state.lock();
        if state.manned {
            state.wanted = Some(errand);
            drop(state);
            self.changed.notify_all();
        } else {
            drop(state);
            let returned = core.run_errand(errand);
            self.state.lock().returned = Some(returned);
        }
    }

    /// How the errand went, when it has ended; once.
    pub(super) fn returned(&self) -> Option<Returned> {
        self.state.lock().returned.take()
    }

    /// Waits for the errand that is under way.
    pub(super) fn wait(&self) -> Returned {
        let mut state = self.state.lock();
        loop {
            if let Some(returned) = state.returned.take() {
                return returned;
            }
            self.changed.wait(&mut state);
        }
    }

    /// The thread's life. Ends after [`Errands::close`], or with [`Manned`].
    pub(super) fn run(&self, core: &Core) {
        while let Some(errand) = self.next() {
            let returned = catch_unwind(AssertUnwindSafe(|| core.run_errand(errand)));
            let returned = returned.unwrap_or(Returned { errand, synced: Err(StorageError::Poisoned) });
            self.state.lock().returned = Some(returned);
            self.changed.notify_all();
            core.queue.nudge();
        }
    }

    fn next(&self) -> Option<Errand> {
        let mut state = self.state.lock();
        loop {
            if let Some(errand) = state.wanted.take() {
                return Some(errand);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// The thread is to go; later errands are done by whoever hands them out.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.manned = false;
        drop(state);
        self.changed.notify_all();
    }
}

/// As long as this is there, errands are for the thread that calls [`Errands::run`].
pub(super) struct Manned<'a>(&'a Errands);

impl Manned<'_> {
    pub(super) fn begin(errands: &Errands) -> Manned<'_> {
        errands.state.lock().manned = true;
        Manned(errands)
    }
}

impl Drop for Manned<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
