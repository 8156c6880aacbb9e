//! Who commits light work at the counter.
//!
//! When a few slips hang on the board and the ledger lies open, whoever serves enters them himself: to call the book-keeper
//! and wait for his nod takes longer than the entry. He calls him for everything else.
//!
//! The attendant is a task of the runtime that serves clients and nodes. To have a batch committed by a thread takes two
//! changes of threads, a third of what a single SET costs; a task is woken for a hundredth of that.
//!
//! # Contract
//! - It commits only what is light ([`Submission::is_light`](super::queue::Submission::is_light)), without a sync, while the
//!   engine has to wait for nothing as far as it knows ([`Engine::is_at_leisure`](super::engine::Engine::is_at_leisure)) and
//!   nothing is being forced to disk. Else it wakes the commit thread.
//! - It lets all tasks that are ready go first, so that what they submit makes one group, as in a pass of Redis' event loop.
//! - A commit that took [`SLOW`] all the same was held up by a disk: for a second all is left to the thread.
//! - Where it is not there (no runtime, or it has ended), and when it goes, the thread does everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::world::Instant;

use super::core::Core;
use super::queue::Submission;
use super::store::Fsync;

/// Longer than a commit takes, even on a busy machine.
const SLOW: Duration = Duration::from_millis(20);

/// How long the attendant stays away after a slow commit.
const REST: Duration = Duration::from_secs(1);

/// The bell on the counter.
#[derive(Default)]
pub(super) struct Attendant {
    is_there: AtomicBool,
    bell: Notify,
}

impl Attendant {
    /// Somebody listens to the bell.
    pub(super) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }
}

/// While it lives, the attendant is there.
struct Attending<'a>(&'a Core);

impl Attending<'_> {
    fn begin(core: &Core) -> Attending<'_> {
        core.attendant.is_there.store(true, Ordering::Release);
        Attending(core)
    }
}

impl Drop for Attending<'_> {
    /// What was brought up to here is the thread's.
    fn drop(&mut self) {
        self.0.attendant.is_there.store(false, Ordering::Release);
        if std::thread::panicking() {
            tracing::error!("a commit panicked; nothing is written any more until the node is started again");
            self.0.broken.store(true, Ordering::Relaxed);
        }
        self.0.queue.nudge();
    }
}

impl Core {
    /// Puts a submission in and rings; gives it back when the queue is closed.
    pub(super) fn submit_light(&self, submission: Submission) -> Option<Submission> {
        let refused = self.queue.push_light(submission);
        self.attendant.bell.notify_one();
        // Who left before the submission was in may have told the thread before that, too.
        if !self.attendant.is_there() {
            self.queue.nudge();
        }
        refused
    }

    /// The attendant's life; it ends when it is dropped.
    pub(super) async fn attend(self: Arc<Self>) {
        loop {
            self.attend_until_slow().await;
            tokio::time::sleep(REST).await;
        }
    }

    async fn attend_until_slow(&self) {
        let _there = Attending::begin(self);
        let mut group = Vec::new();
        let mut took = Duration::ZERO;
        while took < SLOW {
            self.attendant.bell.notified().await;
            tokio::task::yield_now().await;
            let begun = Instant::now();
            if !self.commit_light(&mut group) {
                self.queue.nudge();
            }
            took = begun.elapsed();
            self.tell();
        }
    }

    /// Commits what waits, if that is light work now. Returns false when there is something for the thread to see to.
    fn commit_light(&self, group: &mut Vec<Submission>) -> bool {
        let Some(mut committer) = self.committer.try_lock() else { return false };
        let may = self.fsync() != Fsync::Always && committer.is_undisturbed() && self.engine.is_at_leisure();
        if !may || !self.queue.take_light(group) {
            return false;
        }
        if group.is_empty() {
            return true;
        }
        let due = committer.wake_at(self);
        self.commit(&mut committer, group);
        // The thread sleeps until what was due before.
        committer.wake_at(self) == due
    }
}
