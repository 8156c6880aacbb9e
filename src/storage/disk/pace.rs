//! How fast commits may come while full tables wait to be written out: the more wait, the slower. Without it they would come
//! at full speed until there is no room, and then one of them would wait for a whole table.
//!
//! # Contract
//! Plain: times go in, pauses come out. Nobody is held up while fewer than [`PACED_FROM`] tables wait, or before one has ever been
//! written out.

use std::time::Duration;

/// With so many full tables commits begin to pause.
pub(super) const PACED_FROM: usize = 2;

/// How much may come, in percent of what goes out, with [`PACED_FROM`] full tables and more.
const PERCENT: [u64; 2] = [100, 40];

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// The pace. All times are times since one fixed moment.
#[derive(Debug)]
pub(super) struct Pace {
    /// About how large a table is.
    table_bytes: u64,
    /// How long it took to write one out; zero: nobody knows yet.
    took: Duration,
    /// Since when there is a table to be written out.
    begun: Option<Duration>,
    /// When the next commit may come.
    next: Duration,
}

impl Pace {
    /// The pace of tables of about so many bytes.
    pub(super) fn new(table_bytes: u64) -> Pace {
        Pace { table_bytes, took: Duration::ZERO, begun: None, next: Duration::ZERO }
    }

    /// There is a table to be written out, if that was not known yet.
    pub(super) fn begin(&mut self, now: Duration) {
        self.begun.get_or_insert(now);
    }

    /// It is. A slower one counts at once, a faster one by and by.
    pub(super) fn wrote_out(&mut self, now: Duration) {
        let took = now.saturating_sub(self.begun.take().unwrap_or(now)).max(Duration::from_micros(1));
        self.took = took.max((self.took * 3 + took) / 4);
    }

    /// How long a commit of so many bytes pauses.
    pub(super) fn pause(&mut self, bytes: u64, full_tables: usize, now: Duration) -> Duration {
        let Some(step) = full_tables.checked_sub(PACED_FROM).filter(|_| !self.took.is_zero()) else {
            return Duration::ZERO;
        };
        let percent = PERCENT[step.min(PERCENT.len() - 1)];
        // One that takes longer than those before is known to be slow before it has ended.
        let took = self.begun.map_or(self.took, |begun| self.took.max(now.saturating_sub(begun)));
        let worth_us = took.as_micros() * u128::from(bytes) * 100 / u128::from(self.table_bytes.max(1) * percent);
        let pause = self.next.saturating_sub(now).min(PAUSE_MAX);
        self.next = now + pause + Duration::from_micros(worth_us as u64).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::FULL_TABLES_MAX;

    const MIB: u64 = 1 << 20;
    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn nobody_pauses_while_tables_go_out_as_fast_as_they_fill() {
        let mut pace = Pace::new(64 * MIB);
        assert_eq!(pace.pause(MIB, 4, MS(0)), MS(0), "nothing is known yet");
        pace.begin(MS(0));
        pace.wrote_out(MS(640));
        for full_tables in [0, 1] {
            assert_eq!(pace.pause(64 * MIB, full_tables, MS(0)), MS(0));
        }
        // 100 MiB/s go out; a commit of 1 MiB each 10 ms is no more than that.
        for commit in 0..100 {
            assert_eq!(pace.pause(MIB, 2, MS(commit * 10)), MS(0));
        }
    }

    #[test]
    fn a_slow_table_counts_before_it_has_ended() {
        let mut pace = Pace::new(64 * MIB);
        pace.begin(MS(0));
        pace.wrote_out(MS(640));
        let second = |pace: &mut Pace, now| {
            pace.pause(MIB, 2, now);
            pace.pause(MIB, 2, now)
        };
        assert_eq!(second(&mut pace, MS(1000)), MS(10));
        pace.begin(MS(1000));
        assert_eq!(second(&mut pace, MS(2280)), MS(20));
        pace.wrote_out(MS(2280));
        assert_eq!(second(&mut pace, MS(3000)), MS(20));
        pace.begin(MS(3000));
        pace.wrote_out(MS(3640));
        assert_eq!(second(&mut pace, MS(4000)).as_micros(), 17_500);
    }

    /// Commits of half a MiB at 400 MiB/s against 100 MiB/s that go out: none finds all places taken.
    #[test]
    fn the_queue_is_never_full_however_fast_commits_would_come() {
        let (mut pace, mut now, mut worst) = (Pace::new(64 * MIB), MS(0), MS(0));
        let (mut filling, mut full, mut ends) = (0, 0, MS(0));
        pace.begin(MS(0));
        pace.wrote_out(MS(640));
        for _ in 0..20_000 {
            let pause = pace.pause(MIB / 2, full, now);
            worst = worst.max(pause);
            now += pause + Duration::from_micros(1250);
            filling += MIB / 2;
            while full > 0 && now >= ends {
                pace.wrote_out(ends);
                full -= 1;
                if full > 0 {
                    pace.begin(ends);
                    ends += MS(640);
                }
            }
            if filling >= 64 * MIB {
                if full == 0 {
                    pace.begin(now);
                    ends = now + MS(640);
                }
                (filling, full) = (0, full + 1);
            }
            assert!(full < FULL_TABLES_MAX, "at {now:?}");
        }
        assert!(worst < MS(12), "{worst:?}");
        let mib_per_s = 10_000_000 / now.as_millis();
        assert!((95..=105).contains(&mib_per_s), "{mib_per_s}");
    }
}
