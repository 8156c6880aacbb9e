//! The node's clock: the pure hybrid clock with the wall clock in its hand.

use super::time::ClusterTime;
use crate::causality::clock::LeaseSpent;
use crate::causality::{Hlc, HybridClock, NodeId};
use crate::gossip::clocks::MEMBERS_LEAST;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::timeout;

pub use crate::world::wall_ms;

/// How far ahead of use the clock's lease is persisted, in milliseconds. After an unclean stop stamps start there; after a
/// clean one they go on where they were.
pub const LEASE_AHEAD_MS: u64 = 4_000;

/// No stamp is further ahead of the wall clock than this, in milliseconds: neither a client's context nor another node's
/// clock pulls this one beyond.
pub const FUTURE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// How often the lease is renewed, in milliseconds.
pub const LEASE_RENEW_MS: u64 = 1_000;

/// The node's hybrid clock.
#[derive(Debug)]
pub struct NodeClock {
    stamps: Mutex<HybridClock>,
    /// The time it goes by.
    pub time: ClusterTime,
    /// Whether stamps are, or will be, refused until the lease has been renewed.
    lacking: AtomicBool,
    /// Wakes whoever renews the lease.
    wanted: Notify,
    /// Wakes whoever waits for that.
    renewed: Notify,
}

impl NodeClock {
    /// A clock that stamps above `start` and below `lease`, and follows others at most `drift_ms_max` ahead.
    pub fn new(start: Hlc, lease: Hlc, drift_ms_max: u64) -> NodeClock {
        let stamps = Mutex::new(HybridClock::new(start, lease, drift_ms_max));
        NodeClock {
            stamps,
            time: ClusterTime::new(drift_ms_max),
            lacking: AtomicBool::new(false),
            wanted: Notify::new(),
            renewed: Notify::new(),
        }
    }

    /// A stamp above everything stamped before and above `above`. Refused for want of a lease: one is asked for.
    pub fn stamp(&self, now_ms: u64, above: Hlc) -> Result<Hlc, LeaseSpent> {
        let stamped = self.stamps.lock().stamp(now_ms, above);
        if stamped.is_err() && above.ms() <= now_ms + FUTURE_MS_MAX {
            self.want_lease();
        }
        stamped
    }

    /// A member, asked `took_ms` ago, has answered what its wall clock shows.
    pub fn told(&self, member: NodeId, their_wall_ms: u64, took_ms: u64) {
        self.time.told(member, their_wall_ms, took_ms);
        if Hlc::from_ms(self.now_ms()) >= self.stamps.lock().lease() {
            // The lease was taken by a clock that turns out to be slow.
            self.want_lease();
        }
    }

    fn want_lease(&self) {
        self.lacking.store(true, Ordering::Release);
        self.wanted.notify_one();
    }

    /// Returns when the lease should be renewed at once.
    pub async fn lease_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits while stamps would be refused for want of a lease, as long as renewing one may take. Otherwise costs nothing.
    pub async fn leased(&self) {
        if self.lacking.load(Ordering::Acquire) {
            let renewed = self.renewed.notified();
            if self.lacking.load(Ordering::Acquire) {
                // In vain: then the write is refused with the reason.
                drop(timeout(Duration::from_millis(LEASE_RENEW_MS), renewed).await);
            }
        }
    }

    /// The time, in Unix milliseconds: see [`ClusterTime`].
    pub fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }

    /// Takes notice of an HLC that came from elsewhere. Whether to say in the log that it was too far ahead: yes at first,
    /// and then at every thousandth.
    pub fn hear(&self, now_ms: u64, heard: Hlc) -> bool {
        let mut clock = self.stamps.lock();
        heard > clock.last() && clock.hear(now_ms, heard) && clock.drifts() % 1000 == 1
    }

    /// Goes on to the present, unless the cluster's time is not known yet where it could be (this node's own may be wrong).
    /// Every stamp given from now on is above what this returns.
    pub fn advance(&self, members: usize) -> Hlc {
        let now_ms = if self.time.is_known() || members < MEMBERS_LEAST { self.now_ms() } else { 0 };
        self.stamps.lock().advance(now_ms)
    }

    /// Stamps nothing at or below this from now on.
    pub fn raise(&self, above: Hlc) {
        self.stamps.lock().raise(above);
    }

    /// The last stamp.
    pub fn last(&self) -> Hlc {
        self.stamps.lock().last()
    }

    /// The lease to persist next: ahead of the wall clock, of the last stamp, and of a stamp that was refused because an
    /// object or a context was ahead of the lease in force. Not below that one, for stamps up to it may be given; but a
    /// lease taken by a wrong clock, before the others' were known, is given up at once once they are known.
    pub fn next_lease(&self) -> Hlc {
        let (mut clock, now_ms) = (self.stamps.lock(), self.now_ms());
        let wanted_ms = clock.wanted().ms().min(now_ms + FUTURE_MS_MAX);
        let enough = Hlc::from_ms(now_ms.max(clock.last().ms()).max(wanted_ms) + LEASE_AHEAD_MS);
        if self.time.is_known() {
            clock.shorten(enough);
        }
        enough.max(clock.lease())
    }

    /// The lease has been persisted.
    pub fn extend(&self, lease: Hlc) {
        self.stamps.lock().extend(lease);
        self.lacking.store(false, Ordering::Release);
        self.renewed.notify_waiters();
    }

    /// Stops for good: see [`HybridClock::end`]. Gives the lease to persist.
    pub fn end(&self) -> Hlc {
        self.stamps.lock().end()
    }

    /// `max-clock-drift-ms`.
    pub fn drift_ms_max(&self) -> u64 {
        self.stamps.lock().drift_ms_max()
    }

    /// Sets `max-clock-drift-ms`.
    pub fn set_drift_ms_max(&self, drift_ms_max: u64) {
        self.stamps.lock().set_drift_ms_max(drift_ms_max);
        self.time.set_drift_ms_max(drift_ms_max);
    }

    /// The furthest any heard HLC was ahead of this node's time, or any member's clock off the cluster's, in milliseconds.
    pub fn drift_ms_seen(&self) -> u64 {
        self.stamps.lock().drift_ms_seen().max(self.time.drift_ms_seen())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_that_turns_out_to_be_slow_asks_for_a_lease_and_writes_wait_for_it() {
        let (now_ms, hour_ms) = (wall_ms(), 3_600_000);
        let clock = NodeClock::new(Hlc(0), Hlc::from_ms(now_ms + LEASE_AHEAD_MS), 500);
        clock.leased().await;
        clock.time.follow([1, 2].map(|n| NodeId([n; 20])));
        clock.told(NodeId([1; 20]), now_ms + hour_ms, 0);
        clock.told(NodeId([2; 20]), now_ms + hour_ms, 0);
        assert_eq!(clock.stamp(clock.now_ms(), Hlc(0)), Err(LeaseSpent));
        let renewing = async {
            clock.lease_wanted().await;
            clock.extend(clock.next_lease());
        };
        tokio::join!(biased; clock.leased(), renewing);
        assert!(clock.stamp(clock.now_ms(), Hlc(0)).is_ok());
    }

    #[test]
    fn a_stamp_refused_for_an_object_from_a_fast_clock_is_given_after_the_next_renewal() {
        let now_ms = wall_ms();
        let clock = NodeClock::new(Hlc(0), Hlc::from_ms(now_ms + LEASE_AHEAD_MS), 500);
        let ahead = Hlc::from_ms(now_ms + 60_000);
        assert_eq!(clock.stamp(now_ms, ahead), Err(LeaseSpent));
        clock.extend(clock.next_lease());
        assert!(clock.stamp(now_ms, ahead).is_ok_and(|stamp| stamp > ahead));
    }

    #[test]
    fn a_lease_taken_by_a_clock_that_was_an_hour_fast_is_given_up() {
        let (now_ms, hour_ms) = (wall_ms(), 3_600_000);
        let clock = NodeClock::new(Hlc(0), Hlc::from_ms(now_ms + hour_ms), 500);
        let members = [1, 2].map(|n| NodeId([n; 20]));
        clock.time.follow(members);
        members.iter().for_each(|member| clock.time.told(*member, now_ms, 0));
        let lease = clock.next_lease();
        assert!(lease < Hlc::from_ms(now_ms + hour_ms), "the next life starts here");
        assert_eq!(clock.stamp(now_ms, lease), Err(LeaseSpent), "and nothing is stamped beyond it any more");
    }

    #[test]
    fn nobody_pulls_the_lease_further_than_a_day() {
        let now_ms = wall_ms();
        let clock = NodeClock::new(Hlc(0), Hlc::from_ms(now_ms), 500);
        assert_eq!(clock.stamp(now_ms, Hlc(u64::MAX - 1)), Err(LeaseSpent));
        assert!(clock.next_lease().ms() < now_ms + FUTURE_MS_MAX + 2 * LEASE_AHEAD_MS);
    }

    #[test]
    fn a_wall_clock_set_back_does_not_lower_the_lease() {
        let lease = Hlc::from_ms(wall_ms() + 3_600_000);
        let clock = NodeClock::new(Hlc(0), lease, 500);
        assert!(clock.next_lease() >= lease);
    }
}
