//! The tray between those who submit and the one who commits.
//!
//! # Contract
//! Submissions leave in the order they came. A push wakes the commit thread only when it sleeps, so that a busy store
//! pays a lock and no system call. After [`close`](Queue::close) nothing comes in any more. Its size is bounded by those
//! who submit: they wait for [`Store::flushed`](super::store::Store::flushed).

use crate::world::Instant;

use parking_lot::{Condvar, Mutex};

use super::batch::Parts;
use super::store::Done;

/// A batch on its way.
pub(super) struct Submission {
    pub parts: Parts,
    pub sync: bool,
    pub done: Done,
}

/// The tray.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Submission>,
    asleep: bool,
    nudged: bool,
    closed: bool,
}

impl Queue {
    /// Puts a submission in; gives it back when the queue is closed.
    pub(super) fn push(&self, submission: Submission) -> Option<Submission> {
        let mut state = self.state.lock();
        if state.closed {
            return Some(submission);
        }
        state.waiting.push(submission);
        self.rouse(state);
        None
    }

    /// Makes the commit thread look round although nothing was submitted.
    pub(super) fn nudge(&self) {
        let mut state = self.state.lock();
        state.nudged = true;
        self.rouse(state);
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.rouse(state);
    }

    /// Whether nothing is let in any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes everything into the empty `taken`, sleeping while there is nothing, at the longest `until`. Returns false
    /// when nothing will ever come again.
    pub(super) fn take(&self, taken: &mut Vec<Submission>, until: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        if state.waiting.is_empty() && !state.nudged && !state.closed {
            state.asleep = true;
            match until {
                #[cfg(not(feature = "simulation"))]
                Some(until) => drop(self.wake.wait_until(&mut state, until)),
                #[cfg(feature = "simulation")]
                Some(until) => drop(self.wake.wait_until(&mut state, until.into_std())),
                None => self.wake.wait(&mut state),
            }
            state.asleep = false;
        }
        state.nudged = false;
        std::mem::swap(taken, &mut state.waiting);
        !(state.closed && taken.is_empty())
    }

    /// What waits, now.
    #[cfg(feature = "simulation")]
    pub(super) fn take_waiting(&self) -> Vec<Submission> {
        std::mem::take(&mut self.state.lock().waiting)
    }

    fn rouse(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }
}
