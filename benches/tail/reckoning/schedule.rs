//! When each request is due: at fixed times, whatever became of those before it.

use std::time::Duration;

/// A timetable of requests, numbered from 0, the first one due at once.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Requests in a second.
    per_second: u64,
}

impl Schedule {
    /// So many requests in a second, at least one.
    pub fn new(per_second: u64) -> Schedule {
        Schedule { per_second: per_second.max(1) }
    }

    /// When a request is due, from the beginning.
    pub fn due(self, request: u64) -> Duration {
        let ns = u128::from(request) * 1_000_000_000 / u128::from(self.per_second);
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// How many requests are due by then.
    pub fn due_by(self, elapsed: Duration) -> u64 {
        // The last one due is that which, rounded down to a nanosecond, is not after `elapsed`.
        let requests = ((elapsed.as_nanos() + 1) * u128::from(self.per_second)).div_ceil(1_000_000_000);
        u64::try_from(requests).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_due_at_even_distances() {
        let schedule = Schedule::new(4);
        let due: Vec<u128> = (0..6).map(|request| schedule.due(request).as_millis()).collect();
        assert_eq!(due, [0, 250, 500, 750, 1000, 1250]);
        assert_eq!(schedule.due_by(Duration::from_millis(749)), 3);
        assert_eq!(schedule.due_by(Duration::from_millis(750)), 4);
    }

    proptest! {
        #[test]
        fn what_is_due_by_a_moment_is_what_was_due_before_it(per_second in 1u64..200_000, ns in 0u64..200_000_000_000) {
            let (schedule, now) = (Schedule::new(per_second), Duration::from_nanos(ns));
            let count = schedule.due_by(now);
            prop_assert!(count > 0 && schedule.due(count - 1) <= now);
            prop_assert!(schedule.due(count) > now);
        }
    }
}
