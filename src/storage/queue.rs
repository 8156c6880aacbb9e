//! The tray between those who submit and those who commit.
//!
//! # Contract
//! - Submissions leave in the order they came. Whoever takes them commits them before anybody else takes any.
//! - One that is to be committed by the thread wakes it only when it sleeps, so that a busy store pays a lock and no system
//!   call. Of *light* ones it is not told: whoever brings one sees to it that somebody comes.
//! - After [`close`](Queue::close) nothing comes in any more. The tray's size is bounded by those who submit: they wait for
//!   [`Store::flushed`](super::store::Store::flushed).

use crate::world::Instant;

use parking_lot::{Condvar, Mutex};

use super::batch::Parts;
use super::store::Done;

/// More than this, together, is no light work: it takes two milliseconds.
const LIGHT_BYTES_MAX: u64 = 1 << 20;

/// A batch on its way.
pub(super) struct Submission {
    pub parts: Parts,
    pub sync: bool,
    pub done: Done,
}

impl Submission {
    /// To commit it takes microseconds, as far as it depends on the submission: nothing is forced to disk, and nothing looked
    /// up in the engine, as for a hint. One without changes is not: its submitter may block until it is told.
    pub(super) fn is_light(&self) -> bool {
        let Parts { touched, others, bytes, .. } = &self.parts;
        !self.sync && !touched.is_empty() && others.is_empty() && *bytes <= LIGHT_BYTES_MAX
    }
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
    waiting_bytes: u64,
    /// Something that waits is for the thread.
    heavy: bool,
    asleep: bool,
    nudged: bool,
    closed: bool,
}

impl State {
    fn put(&mut self, submission: Submission) -> Option<Submission> {
        if self.closed {
            return Some(submission);
        }
        self.waiting_bytes += submission.parts.bytes;
        self.waiting.push(submission);
        None
    }

    fn take(&mut self, taken: &mut Vec<Submission>) {
        std::mem::swap(taken, &mut self.waiting);
        (self.waiting_bytes, self.heavy) = (0, false);
    }
}

impl Queue {
    /// Puts a submission in for the commit thread; gives it back when the queue is closed.
    pub(super) fn push(&self, submission: Submission) -> Option<Submission> {
        let mut state = self.state.lock();
        let refused = state.put(submission);
        state.heavy = true;
        self.rouse(state);
        refused
    }

    /// As [`Queue::push`], but nobody is told.
    pub(super) fn push_light(&self, submission: Submission) -> Option<Submission> {
        self.state.lock().put(submission)
    }

    /// Makes the commit thread look round.
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

    /// Sleeps until there is something for the thread to see to, at the longest `until`.
    pub(super) fn wait(&self, until: Option<Instant>) {
        let mut state = self.state.lock();
        if !state.heavy && !state.nudged && !state.closed {
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
    }

    /// Takes everything into the empty `taken`. Returns false when nothing will ever come again.
    pub(super) fn take(&self, taken: &mut Vec<Submission>) -> bool {
        let mut state = self.state.lock();
        state.take(taken);
        !(state.closed && taken.is_empty())
    }

    /// Takes everything into the empty `taken`, if all of it together is light. Returns false when it is not.
    pub(super) fn take_light(&self, taken: &mut Vec<Submission>) -> bool {
        let mut state = self.state.lock();
        if state.heavy || state.waiting_bytes > LIGHT_BYTES_MAX {
            return false;
        }
        state.take(taken);
        true
    }

    fn rouse(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: u64) -> Submission {
        Submission { parts: Parts { bytes, ..Parts::default() }, sync: false, done: Box::new(|_| ()) }
    }

    #[test]
    fn light_work_is_taken_as_such_only_together_and_alone() {
        let (queue, mut taken) = (Queue::default(), Vec::new());
        let sizes = |taken: &mut Vec<Submission>| taken.drain(..).map(|one| one.parts.bytes).collect::<Vec<_>>();
        queue.push_light(bytes(1));
        queue.push_light(bytes(LIGHT_BYTES_MAX - 1));
        assert!(queue.take_light(&mut taken));
        assert_eq!(sizes(&mut taken), [1, LIGHT_BYTES_MAX - 1]);

        queue.push_light(bytes(2));
        queue.push_light(bytes(LIGHT_BYTES_MAX - 1));
        assert!(!queue.take_light(&mut taken) && taken.is_empty(), "too much");
        assert!(queue.take(&mut taken));
        assert_eq!(sizes(&mut taken), [2, LIGHT_BYTES_MAX - 1]);

        queue.push_light(bytes(3));
        queue.push(bytes(4));
        queue.push_light(bytes(5));
        assert!(!queue.take_light(&mut taken) && taken.is_empty(), "one of them is for the thread");
        assert!(queue.take(&mut taken));
        assert_eq!(sizes(&mut taken), [3, 4, 5]);
        assert!(queue.take_light(&mut taken) && taken.is_empty());

        queue.close();
        assert!(queue.push(bytes(6)).is_some() && queue.push_light(bytes(6)).is_some());
        assert!(!queue.take(&mut taken));
    }
}
