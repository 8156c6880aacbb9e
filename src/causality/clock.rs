//! The hybrid logical clock: a wall clock that never goes back and never says the same thing twice.
//!
//! A clerk stamps letters with the time on the wall. When two letters come in one tick, or the wall clock was set back,
//! or a letter arrives stamped later than the wall says, the clerk stamps "a little after the last one" instead.
//!
//! # Invariants
//! - Stamps of one [`HybridClock`] rise strictly; a stamp is above every HLC it is told to be above, and moves the clock.
//! - Merely *hearing* an HLC pulls the clock at most `drift_ms_max` past the wall clock.
//! - Nothing is stamped at or above the *lease*: the value persisted ahead of use. After a restart the clock starts at
//!   the lease, so no stamp is ever given twice. Renewing the lease is the driver's job.

use serde::{Deserialize, Serialize};

/// 48 bits of Unix milliseconds, then 16 bits of counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The first HLC of a millisecond.
    pub fn from_ms(ms: u64) -> Hlc {
        Hlc(ms << 16)
    }

    /// The milliseconds part.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }
}

/// The clock of one node. See the module for its invariants.
#[derive(Debug)]
pub struct HybridClock {
    last: Hlc,
    lease: Hlc,
    wanted: Hlc,
    drift_ms_max: u64,
    drift_ms_seen: u64,
    drifts: u64,
    ended: bool,
}

/// A stamp would reach the lease: the driver has not persisted far enough ahead. Nothing was stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the clock's lease is used up")]
pub struct LeaseSpent;

impl HybridClock {
    /// A clock that stamps above `start` (the persisted lease of the last life, or zero) and below `lease`.
    pub fn new(start: Hlc, lease: Hlc, drift_ms_max: u64) -> HybridClock {
        HybridClock { last: start, lease, wanted: Hlc(0), drift_ms_max, drift_ms_seen: 0, drifts: 0, ended: false }
    }

    /// A new stamp: above `above`, above every earlier stamp, and not before `now_ms`.
    pub fn stamp(&mut self, now_ms: u64, above: Hlc) -> Result<Hlc, LeaseSpent> {
        let next = self.last.max(above).0.checked_add(1).ok_or(LeaseSpent)?;
        let next = Hlc(next).max(Hlc::from_ms(now_ms));
        if next >= self.lease {
            self.wanted = self.wanted.max(next);
            return Err(LeaseSpent);
        }
        self.last = next;
        Ok(next)
    }

    /// Takes notice of another node's HLC. Further ahead of the wall clock than the drift allows: counted, and followed
    /// only as far as allowed. Returns whether it was too far ahead.
    pub fn hear(&mut self, now_ms: u64, heard: Hlc) -> bool {
        let bound = Hlc::from_ms(now_ms + self.drift_ms_max);
        let ahead_ms = heard.ms().saturating_sub(now_ms);
        self.drift_ms_seen = self.drift_ms_seen.max(ahead_ms);
        if !self.ended {
            self.last = self.last.max(heard.min(bound));
        }
        let too_far = heard > bound;
        self.drifts += u64::from(too_far);
        too_far
    }

    /// Goes on to the wall clock, as far as the lease allows: every later stamp is above what this returns.
    pub fn advance(&mut self, now_ms: u64) -> Hlc {
        let leased = Hlc(self.lease.0.saturating_sub(1));
        self.last = self.last.max(Hlc::from_ms(now_ms).min(leased));
        self.last
    }

    /// Stamps nothing at or below this from now on.
    pub fn raise(&mut self, above: Hlc) {
        if !self.ended {
            self.last = self.last.max(above);
        }
    }

    /// Stops for good: no stamp is given any more, and what [`HybridClock::last`] and [`HybridClock::advance`] return stays
    /// as it is. Gives the lease to persist: with it the next life goes on here, and not where this one might have gone.
    pub fn end(&mut self) -> Hlc {
        self.ended = true;
        self.lease = Hlc(self.last.0.saturating_add(1));
        self.lease
    }

    /// The last stamp given or heard.
    pub fn last(&self) -> Hlc {
        self.last
    }

    /// The lease in force.
    pub fn lease(&self) -> Hlc {
        self.lease
    }

    /// The highest stamp that was refused because it would have reached the lease: a later lease should be above it.
    pub fn wanted(&self) -> Hlc {
        self.wanted
    }

    /// The driver has persisted a later lease.
    pub fn extend(&mut self, lease: Hlc) {
        if !self.ended {
            self.lease = self.lease.max(lease);
        }
    }

    /// Gives up what the lease in force has beyond `lease`: no stamp reaches it from now on. Nothing changes when that is
    /// no less, or not above the last stamp. It may be persisted afterwards.
    pub fn shorten(&mut self, lease: Hlc) {
        if lease > self.last {
            self.lease = self.lease.min(lease);
        }
    }

    /// The drift bound.
    pub fn drift_ms_max(&self) -> u64 {
        self.drift_ms_max
    }

    /// Allows a changed drift bound.
    pub fn set_drift_ms_max(&mut self, drift_ms_max: u64) {
        self.drift_ms_max = drift_ms_max;
    }

    /// The furthest any heard HLC was ahead of the wall clock, in milliseconds.
    pub fn drift_ms_seen(&self) -> u64 {
        self.drift_ms_seen
    }

    /// How often a heard HLC was further ahead than allowed.
    pub fn drifts(&self) -> u64 {
        self.drifts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_is_stamped_at_the_lease() {
        let mut clock = HybridClock::new(Hlc(0), Hlc(12), 500);
        assert_eq!(clock.stamp(0, Hlc(10)), Ok(Hlc(11)));
        assert_eq!(clock.stamp(0, Hlc(0)), Err(LeaseSpent));
        clock.extend(Hlc(13));
        assert_eq!(clock.stamp(0, Hlc(0)), Ok(Hlc(12)));
    }

    #[test]
    fn above_the_last_hlc_of_all_there_is_no_stamp() {
        let mut clock = HybridClock::new(Hlc(0), Hlc(u64::MAX), 500);
        assert_eq!(clock.stamp(0, Hlc(u64::MAX)), Err(LeaseSpent));
        assert_eq!(clock.stamp(0, Hlc(0)), Ok(Hlc(1)), "and the clock has not moved");
    }

    #[test]
    fn what_an_advance_returns_is_below_every_later_stamp_and_above_every_earlier_one() {
        let mut clock = HybridClock::new(Hlc(0), Hlc::from_ms(50), 500);
        let before = clock.stamp(10, Hlc(0)).unwrap();
        let reading = clock.advance(20);
        assert!(before < reading && reading == Hlc::from_ms(20));
        assert!(clock.stamp(5, Hlc(0)).unwrap() > reading);
        assert_eq!(clock.advance(90), Hlc(Hlc::from_ms(50).0 - 1), "no further than the lease");
        clock.raise(Hlc::from_ms(70));
        assert_eq!(clock.stamp(90, Hlc(0)), Err(LeaseSpent));
    }

    #[test]
    fn a_clock_that_has_ended_says_nothing_new_and_the_next_life_goes_on_there() {
        let mut clock = HybridClock::new(Hlc(0), Hlc::from_ms(4000), 500);
        let last = clock.stamp(10, Hlc(0)).unwrap();
        let lease = clock.end();
        assert!(last < lease && lease < Hlc::from_ms(11));
        clock.extend(Hlc::from_ms(9000));
        clock.hear(300, Hlc::from_ms(200));
        clock.raise(Hlc::from_ms(300));
        assert_eq!(clock.stamp(20, Hlc(0)), Err(LeaseSpent));
        assert_eq!((clock.last(), clock.advance(20)), (last, last), "what is told of it holds for the next life, too");
        let mut next = HybridClock::new(lease, Hlc::from_ms(4000), 500);
        assert!(next.stamp(5, Hlc(0)).is_ok_and(|stamp| stamp > lease && stamp < Hlc::from_ms(11)));
    }

    #[test]
    fn hearing_follows_only_as_far_as_the_drift_allows() {
        let mut clock = HybridClock::new(Hlc(0), Hlc(u64::MAX), 500);
        assert!(!clock.hear(1000, Hlc::from_ms(1400)));
        assert_eq!(clock.last(), Hlc::from_ms(1400));
        assert!(clock.hear(1000, Hlc::from_ms(9000)));
        assert_eq!(clock.last(), Hlc::from_ms(1500));
        assert_eq!(clock.drift_ms_seen(), 8000);
    }

    proptest! {
        #[test]
        fn stamps_rise_whatever_the_wall_clock_does(
            steps in proptest::collection::vec((0u64..5000, 0u64..(5000 << 16), any::<bool>()), 1..60)
        ) {
            let mut clock = HybridClock::new(Hlc(0), Hlc(u64::MAX), 500);
            let mut last = Hlc(0);
            for (now_ms, other, hear) in steps {
                if hear {
                    clock.hear(now_ms, Hlc(other));
                } else {
                    let stamp = clock.stamp(now_ms, Hlc(other)).unwrap();
                    prop_assert!(stamp > last && stamp > Hlc(other) && stamp.ms() >= now_ms);
                    last = stamp;
                }
            }
        }
    }
}
