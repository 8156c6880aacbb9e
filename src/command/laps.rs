//! How long each command of a batch took, from a few readings of the clock for all of them.
//!
//! Picture a referee with one watch at a relay of many runners: the watch is read when a leg begins and when it ends, and
//! whoever ran in that leg has that time.
//!
//! # Contract
//! - The clock is read when the batch ends, and before and after each round and each wait: never for a single command.
//! - A command's time goes from the last reading before it began to the first after it was answered. So it is never too
//!   short; commands that share a round share its time, and one that is answered at once has that of what was begun with it.

use smallvec::SmallVec;
use tokio::time::Instant;

/// A moment of a batch: so many readings came before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment(u32);

/// The readings.
#[derive(Debug)]
pub struct Laps {
    started: Instant,
    readings_us: SmallVec<[u64; 8]>,
}

impl Laps {
    /// The batch begins.
    pub fn start() -> Laps {
        Laps { started: Instant::now(), readings_us: SmallVec::new() }
    }

    /// When the batch began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Reads the clock; gives the microseconds since the start.
    pub fn read(&mut self) -> u64 {
        self.note(Instant::now())
    }

    /// Somebody has read the clock just now; gives the microseconds since the start.
    pub fn note(&mut self, now: Instant) -> u64 {
        let us = now.duration_since(self.started).as_micros() as u64;
        self.readings_us.push(us);
        us
    }

    /// What happens now.
    pub fn now(&self) -> Moment {
        Moment(self.readings_us.len() as u32)
    }

    /// Microseconds from one moment to a later one, once the clock has been read after it.
    pub fn between_us(&self, began: Moment, answered: Moment) -> u64 {
        let before = began.0.checked_sub(1).and_then(|at| self.readings_us.get(at as usize)).copied().unwrap_or(0);
        let after = self.readings_us.get(answered.0 as usize).or(self.readings_us.last()).copied().unwrap_or(0);
        after.saturating_sub(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_the_time_of_the_readings_around_it() {
        let laps = Laps { started: Instant::now(), readings_us: SmallVec::from_slice(&[10, 110, 120, 500]) };
        let at = Moment;
        assert_eq!(laps.between_us(at(0), at(0)), 10, "answered at once, before the first round");
        assert_eq!(laps.between_us(at(0), at(2)), 120, "answered after the first round");
        assert_eq!(laps.between_us(at(3), at(3)), 500 - 120, "begun after the second");
        assert_eq!(laps.between_us(at(4), at(4)), 0, "nothing was read after it");
    }
}
