//! The node's clock: the pure hybrid clock with the wall clock in its hand.

use crate::causality::clock::LeaseSpent;
use crate::causality::{Hlc, HybridClock};
use parking_lot::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// How far ahead of use the clock's lease is persisted, in milliseconds. After an unclean stop stamps start there.
pub const LEASE_AHEAD_MS: u64 = 4_000;

/// How often the lease is renewed, in milliseconds.
pub const LEASE_RENEW_MS: u64 = 1_000;

/// The wall clock, in Unix milliseconds.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

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

    /// The lease to persist next.
    pub fn next_lease(&self) -> Hlc {
        Hlc::from_ms(wall_ms().max(self.last().ms()) + LEASE_AHEAD_MS)
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
