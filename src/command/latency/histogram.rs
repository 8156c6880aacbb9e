//! How long a command takes: a count for each range of times.
//!
//! Contract: counting is one relaxed addition, whatever the number of runs. Times below 16 µs are counted exactly, longer
//! ones within a sixteenth; what takes longer than 18 hours counts as that.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Ranges in each doubling, as a power of two.
const FINENESS: u32 = 4;

/// Ranges in each doubling.
const PER_DOUBLING: usize = 1 << FINENESS;

/// Doublings above the first ranges.
const DOUBLINGS: usize = 32;

/// All ranges.
const RANGES: usize = PER_DOUBLING * (1 + DOUBLINGS);

/// Counts by range.
#[derive(Debug)]
pub struct Histogram([AtomicU64; RANGES]);

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram([const { AtomicU64::new(0) }; RANGES])
    }
}

/// The range a time falls into.
fn range(us: u64) -> usize {
    let doubling = us.checked_ilog2().map_or(0, |power| (power + 1).saturating_sub(FINENESS));
    let doubling = doubling.max(1);
    let place = (us >> (doubling - 1)) as usize % PER_DOUBLING;
    let above = if us < PER_DOUBLING as u64 { 0 } else { doubling as usize };
    (above * PER_DOUBLING + place).min(RANGES - 1)
}

/// The shortest time of a range.
fn shortest_us(range: usize) -> u64 {
    match range / PER_DOUBLING {
        0 => range as u64,
        doubling => ((PER_DOUBLING + range % PER_DOUBLING) as u64) << (doubling - 1),
    }
}

impl Histogram {
    /// So many runs took so long each.
    pub fn add(&self, us: u64, runs: u64) {
        self.0[range(us)].fetch_add(runs, Relaxed);
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.0.iter().for_each(|count| count.store(0, Relaxed));
    }

    fn counts(&self) -> impl Iterator<Item = (usize, u64)> {
        self.0.iter().enumerate().map(|(range, count)| (range, count.load(Relaxed))).filter(|(_, count)| *count > 0)
    }

    /// The time within which so many percent of the runs came, at most a sixteenth too long. None: nothing ran.
    pub fn percentile_us(&self, percent: f64) -> Option<u64> {
        let total: u64 = self.counts().map(|(_, count)| count).sum();
        let wanted = ((total as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts().find(|(_, count)| {
            seen += count;
            seen >= wanted
        });
        found.map(|(range, _)| if range + 1 < RANGES { shortest_us(range + 1) - 1 } else { shortest_us(range) })
    }

    /// Redis's form: bounds in microseconds that double, each with how many runs took no longer. Bounds that add nothing are
    /// left out.
    pub fn by_doubling(&self) -> Vec<(u64, u64)> {
        let mut bounds: Vec<(u64, u64)> = Vec::new();
        let (mut exponent, mut seen) = (0, 0);
        for (range, count) in self.counts() {
            seen += count;
            while bound_us(exponent) < shortest_us(range) {
                exponent += 1;
            }
            match bounds.last_mut() {
                Some(last) if last.0 == bound_us(exponent) => last.1 = seen,
                _ => bounds.push((bound_us(exponent), seen)),
            }
        }
        bounds
    }
}

/// Redis's bounds: powers of two of 1.024 µs, and up to a 128th more, in whole microseconds.
fn bound_us(exponent: u32) -> u64 {
    let nanoseconds = (1024_u64 << exponent) + (8 << exponent) - 1;
    nanoseconds / 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_are_redis_s() {
        let bounds: Vec<u64> = (0..12).map(bound_us).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 33, 66, 132, 264, 528, 1056, 2113]);
        let times = Histogram::default();
        let runs = [(0, 1), (1, 1), (3, 2), (16, 1), (30, 1), (33, 1), (1_000_000, 3)];
        runs.into_iter().for_each(|(us, runs)| times.add(us, runs));
        assert_eq!(times.by_doubling(), [(1, 2), (4, 4), (16, 5), (33, 7), (1_082_130, 10)]);
        times.clear();
        assert!(times.by_doubling().is_empty());
        assert_eq!(times.percentile_us(50.0), None);
    }

    #[test]
    fn percentiles_are_those_of_the_runs() {
        let times = Histogram::default();
        (1..=10).for_each(|us| times.add(us, 1));
        let percentiles = [0.0, 50.0, 90.0, 99.9, 100.0].map(|percent| times.percentile_us(percent).unwrap());
        assert_eq!(percentiles, [1, 5, 9, 10, 10]);
        times.add(u64::MAX, 1);
        assert!(times.percentile_us(100.0).unwrap() > 18 * 3_600 * 1_000_000);
    }

    proptest! {
        #[test]
        fn a_range_holds_the_times_between_its_ends(us in 0_u64..1 << 35) {
            let range = range(us);
            prop_assert!(shortest_us(range) <= us);
            prop_assert!(us < shortest_us(range + 1));
            prop_assert!(shortest_us(range + 1) - shortest_us(range) <= (us / 16).max(1));
        }
    }
}
