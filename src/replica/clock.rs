//! The node's clock: the pure hybrid clock with the wall clock in its hand.

use crate::causality::clock::LeaseSpent;
use crate::causality::{Hlc, HybridClock};
use parking_lot::Mutex;

pub use crate::world::wall_ms;

/// How far ahead of use the clock's lease is persisted, in milliseconds. After an unclean stop stamps start there.
pub const LEASE_AHEAD_MS: u64 = 4_000;

/// No stamp is further ahead of the wall clock than this, in milliseconds: neither a client's context nor another node's
/// clock pulls this one beyond.
pub const FUTURE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// How often the lease is renewed, in milliseconds.
pub const LEASE_RENEW_MS: u64 = 1_000;

/// The node's hybrid clock.
#[derive(Debug)]
pub struct NodeClock(Mutex<HybridClock>);

impl NodeClock {
    /// A clock that stamps above `start` and below `lease`, and follows others at most `drift_ms_max` ahead.
    pub fn new(start: Hlc, lease: Hlc, drift_ms_max: u64) -> NodeClock {
        NodeClock(Mutex::new(HybridClock::new(start, lease, drift_ms_max)))
    }

    /// A stamp above everything stamped before and above `above`.
    pub fn stamp(&self, now_ms: u64, above: Hlc) -> Result<Hlc, LeaseSpent> {
        self.0.lock().stamp(now_ms, above)
    }

    /// Takes notice of an HLC that came from elsewhere; says so in the log when it is too far ahead, at first and then
    /// at every thousandth.
    pub fn hear(&self, now_ms: u64, heard: Hlc) {
        let mut clock = self.0.lock();
        if heard > clock.last() && clock.hear(now_ms, heard) && clock.drifts() % 1000 == 1 {
            let ahead_ms = heard.ms().saturating_sub(now_ms);
            tracing::warn!(
                ahead_ms,
                "another node's clock is further ahead than max-clock-drift-ms; it is not followed"
            );
        }
    }

    /// The last stamp.
    pub fn last(&self) -> Hlc {
        self.0.lock().last()
    }

    /// The lease to persist next: ahead of the wall clock, of the last stamp, and of a stamp that was refused because an
    /// object or a context was ahead of the lease in force. Never below that one, for stamps up to it may be given.
    pub fn next_lease(&self) -> Hlc {
        let (clock, now_ms) = (self.0.lock(), wall_ms());
        let wanted_ms = clock.wanted().ms().min(now_ms + FUTURE_MS_MAX);
        Hlc::from_ms(now_ms.max(clock.last().ms()).max(wanted_ms) + LEASE_AHEAD_MS).max(clock.lease())
    }

    /// The lease has been persisted.
    pub fn extend(&self, lease: Hlc) {
        self.0.lock().extend(lease);
    }

    /// Sets `max-clock-drift-ms`.
    pub fn set_drift_ms_max(&self, drift_ms_max: u64) {
        self.0.lock().set_drift_ms_max(drift_ms_max);
    }

    /// The furthest any heard HLC was ahead of the wall clock, in milliseconds.
    pub fn drift_ms_seen(&self) -> u64 {
        self.0.lock().drift_ms_seen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
