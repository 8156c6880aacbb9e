//! The time this node goes by: its own clock, held near the middle of the members' clocks.
//!
//! Everyone wears a watch and glances at the others' now and then. Who notices that theirs is an hour off does not wait for
//! the watchmaker: they go by the others' until it is put right, and say so.
//!
//! # Contract
//! - [`ClusterTime::now_ms`] is the wall clock, but never further than half of `max-clock-drift-ms` from the cluster's time
//!   as [`Clocks`] knows it, so the times of two nodes differ by no more than the whole (and by what reading a clock over the
//!   network is wrong). While that is not known (fewer than three members; not heard from enough), it is the wall clock.
//! - Between two readings of the others' clocks time goes by the steady clock, so a wall clock that is set to another time
//!   while the node runs changes it by no more than that half, and at once.
//! - A member whose clock is further off than the bound is named in the log when that begins and when it ends.
//!
//! # What it refuses to do
//! It does not set the system's clock, and a reading that took long is not counted: it says little about what the time is.

use crate::causality::NodeId;
use crate::gossip::clocks::{Clocks, Middle};
use crate::world::{Instant, wall_ms};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A reading that took longer is not counted, in milliseconds.
const READING_MS_MAX: u64 = 250;

/// A clock that is further off than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongClock {
    /// Whose.
    pub member: NodeId,
    /// How far it is ahead of the cluster's time in milliseconds; negative: behind.
    pub ahead_ms: i64,
}

/// See the module. Shared by all that ask for the time.
#[derive(Debug)]
pub struct ClusterTime {
    origin: Instant,
    /// The ends of the middle, read without a lock; no bounds while it is not known.
    low: AtomicI64,
    high: AtomicI64,
    drift_ms_max: AtomicU64,
    drift_ms_seen: AtomicU64,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    clocks: Clocks,
    /// Whose clocks the log has called wrong.
    named: BTreeSet<NodeId>,
    /// Whether the log has called this node's own clock wrong.
    named_own: bool,
}

impl ClusterTime {
    /// The wall clock, until other clocks are known.
    pub fn new(drift_ms_max: u64) -> ClusterTime {
        ClusterTime {
            origin: Instant::now(),
            low: AtomicI64::new(i64::MIN),
            high: AtomicI64::new(i64::MAX),
            drift_ms_max: AtomicU64::new(drift_ms_max),
            drift_ms_seen: AtomicU64::new(0),
            book: Mutex::default(),
        }
    }

    /// The time, in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        // Unknown, it holds nothing: one reading is enough.
        if self.is_known() { self.held(wall_ms(), self.steady_ms()) } else { wall_ms() }
    }

    fn steady_ms(&self) -> i64 {
        i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn drift_ms_max(&self) -> i64 {
        i64::try_from(self.drift_ms_max.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
    }

    fn held(&self, wall_ms: u64, steady_ms: i64) -> u64 {
        let (low, high) = (self.low.load(Ordering::Relaxed), self.high.load(Ordering::Relaxed));
        let each_way = self.drift_ms_max() / 2;
        let least = low.saturating_add(steady_ms).saturating_sub(each_way);
        let most = high.saturating_add(steady_ms).saturating_add(each_way);
        // Not clamp: the two may be of two readings.
        let wall_ms = i64::try_from(wall_ms).unwrap_or(i64::MAX);
        u64::try_from(wall_ms.min(most).max(least)).unwrap_or(0)
    }

    /// Whether the cluster's time is known.
    pub fn is_known(&self) -> bool {
        self.low.load(Ordering::Relaxed) != i64::MIN
    }

    /// Sets `max-clock-drift-ms`.
    pub fn set_drift_ms_max(&self, drift_ms_max: u64) {
        self.drift_ms_max.store(drift_ms_max, Ordering::Relaxed);
    }

    /// The furthest any member's clock was seen from the cluster's time, in milliseconds.
    pub fn drift_ms_seen(&self) -> u64 {
        self.drift_ms_seen.load(Ordering::Relaxed)
    }

    /// What the time differs from the wall clock, in milliseconds.
    pub fn correction_ms(&self) -> i64 {
        let wall_ms = wall_ms();
        self.held(wall_ms, self.steady_ms()) as i64 - wall_ms as i64
    }

    /// The other members are these.
    pub fn follow(&self, others: impl IntoIterator<Item = NodeId>) {
        let mut book = self.book.lock();
        book.clocks.follow(others);
        self.settle(&mut book, wall_ms(), self.steady_ms());
    }

    /// A member, asked `took_ms` ago, has answered what its wall clock shows.
    pub fn told(&self, member: NodeId, their_wall_ms: u64, took_ms: u64) {
        self.note(member, their_wall_ms, took_ms, wall_ms(), self.steady_ms());
    }

    fn note(&self, member: NodeId, their_wall_ms: u64, took_ms: u64, wall_ms: u64, steady_ms: i64) {
        if took_ms > READING_MS_MAX {
            return;
        }
        let their_now_ms = i64::try_from(their_wall_ms.saturating_add(took_ms / 2)).unwrap_or(i64::MAX);
        let mut book = self.book.lock();
        book.clocks.told(member, their_now_ms.saturating_sub(steady_ms));
        self.settle(&mut book, wall_ms, steady_ms);
    }

    /// Computes the middle anew, and says in the log whose clock has become wrong, or right.
    fn settle(&self, book: &mut Book, wall_ms: u64, steady_ms: i64) {
        let own = i64::try_from(wall_ms).unwrap_or(i64::MAX).saturating_sub(steady_ms);
        let middle = book.clocks.middle(own);
        let Middle { low, high } = middle.unwrap_or(Middle { low: i64::MIN, high: i64::MAX });
        self.low.store(low, Ordering::Relaxed);
        self.high.store(high, Ordering::Relaxed);
        // Of two that differ each calls the other wrong: one of them is.
        let middle = middle.unwrap_or(Middle { low: own, high: own });
        let most = self.drift_ms_max();
        for (member, offset) in book.clocks.known() {
            let ahead_ms = middle.distance(offset);
            self.drift_ms_seen.fetch_max(ahead_ms.unsigned_abs(), Ordering::Relaxed);
            if ahead_ms.abs() > most && book.named.insert(member) {
                tracing::warn!(
                    %member,
                    ahead_ms,
                    "this member's clock is wrong by more than max-clock-drift-ms (negative: behind); it is not followed; check its NTP"
                );
            } else if ahead_ms.abs() <= most && book.named.remove(&member) {
                tracing::info!(%member, ahead_ms, "this member's clock is right again");
            }
        }
        let own_ahead_ms = middle.distance(own);
        self.drift_ms_seen.fetch_max(own_ahead_ms.unsigned_abs(), Ordering::Relaxed);
        if (own_ahead_ms.abs() > most) != book.named_own {
            book.named_own = !book.named_own;
            match book.named_own {
                true => tracing::warn!(
                    ahead_ms = own_ahead_ms,
                    "this node's own clock is wrong by more than max-clock-drift-ms (negative: behind); it goes by the other members' until that is right again; check its NTP"
                ),
                false => tracing::info!(ahead_ms = own_ahead_ms, "this node's own clock is right again"),
            }
        }
    }

    /// The other members whose clocks are further off than allowed.
    pub fn wrong_clocks(&self) -> Vec<WrongClock> {
        let own = i64::try_from(wall_ms()).unwrap_or(i64::MAX).saturating_sub(self.steady_ms());
        let (most, book) = (self.drift_ms_max(), self.book.lock());
        let middle = book.clocks.middle(own).unwrap_or(Middle { low: own, high: own });
        let wrong =
            book.clocks.known().map(|(member, offset)| WrongClock { member, ahead_ms: middle.distance(offset) });
        wrong.filter(|clock| clock.ahead_ms.abs() > most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;
    const NOW: u64 = 1_800_000_000_000;

    fn member(n: u8) -> NodeId {
        NodeId([n; 20])
    }

    fn three(own_wall_ms: u64) -> ClusterTime {
        let time = ClusterTime::new(500);
        time.follow([member(1), member(2)]);
        time.note(member(1), NOW, 0, own_wall_ms, 0);
        time.note(member(2), NOW, 0, own_wall_ms, 0);
        time
    }

    #[test]
    fn a_node_alone_or_one_of_two_goes_by_its_own_clock() {
        let time = ClusterTime::new(500);
        assert_eq!(time.held(NOW, 7), NOW);
        time.follow([member(1)]);
        time.note(member(1), NOW + HOUR, 0, NOW, 0);
        assert_eq!(time.held(NOW, 0), NOW);
        assert!(!time.is_known());
        assert_eq!(time.drift_ms_seen(), HOUR, "but it says that they differ");
    }

    #[test]
    fn a_wrong_clock_is_held_within_the_bound_and_a_right_one_left_alone() {
        assert_eq!(three(NOW + HOUR).held(NOW + HOUR, 0), NOW + 250);
        assert_eq!(three(NOW - HOUR).held(NOW - HOUR, 0), NOW - 250);
        assert_eq!(three(NOW + 200).held(NOW + 200, 0), NOW + 200);
        assert_eq!(three(NOW + HOUR).held(NOW + HOUR + 10_000, 10_000), NOW + 10_250, "and time goes on");
    }

    #[test]
    fn a_clock_set_while_the_node_runs_moves_time_by_the_bound_at_once() {
        let time = three(NOW);
        assert_eq!(time.held(NOW + 100, 100), NOW + 100);
        assert_eq!(time.held(NOW + HOUR, 200), NOW + 450);
        assert_eq!(time.held(NOW - HOUR, 300), NOW + 50);
        assert_eq!(time.held(NOW + 400, 400), NOW + 400, "and put right it is followed again");
    }

    #[test]
    fn a_reading_that_took_long_says_nothing() {
        let time = three(NOW);
        time.note(member(1), NOW - HOUR, READING_MS_MAX + 1, NOW, 0);
        assert_eq!(time.drift_ms_seen(), 0);
    }

    #[test]
    fn a_wrong_member_is_named_while_it_is_wrong() {
        let time = three(NOW);
        time.note(member(2), NOW + HOUR, 0, NOW, 0);
        assert_eq!(time.book.lock().named, BTreeSet::from([member(2)]));
        assert_eq!(time.held(NOW, 0), NOW, "nobody follows it");
        time.note(member(2), NOW + 20, 0, NOW, 0);
        assert!(time.book.lock().named.is_empty());
        assert_eq!(time.drift_ms_seen(), HOUR);
    }
}
