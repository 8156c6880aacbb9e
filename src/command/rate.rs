//! How much is happening just now: commands and bytes per second, over the last two seconds.
//!
//! Contract: somebody calls [`Rates::sample`] every [`SAMPLE_EVERY`]; what is asked in between is the mean of the last
//! samples, as in Redis's `instantaneous_…` fields. It costs nothing on the way of a command.

use super::stats::Stats;
use crate::world::Instant;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

/// The time between two samples.
pub const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// Samples kept: the oldest and the newest are two seconds apart.
const SAMPLES: usize = 5;

/// Amounts since the start, or per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Commands run.
    pub commands: f64,
    /// Bytes read from clients.
    pub bytes_in: f64,
    /// Bytes written to clients.
    pub bytes_out: f64,
}

/// The last samples.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<(Instant, Amounts)>>);

impl Rates {
    /// Takes a sample of the counters.
    pub fn sample(&self, stats: &Stats) {
        let amounts = Amounts {
            commands: stats.commands_run.sum() as f64,
            bytes_in: stats.bytes_in.sum() as f64,
            bytes_out: stats.bytes_out.sum() as f64,
        };
        self.take(Instant::now(), amounts);
    }

    fn take(&self, now: Instant, amounts: Amounts) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now, amounts));
    }

    /// Forgets the samples: the counters start again.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// What happens in a second; nothing before there are two samples.
    pub fn per_second(&self) -> Amounts {
        let samples = self.0.lock();
        let (Some((from, before)), Some((to, after))) = (samples.front(), samples.back()) else {
            return Amounts::default();
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        let rate = |before: f64, after: f64| if seconds > 0.0 { (after - before).max(0.0) / seconds } else { 0.0 };
        Amounts {
            commands: rate(before.commands, after.commands),
            bytes_in: rate(before.bytes_in, after.bytes_in),
            bytes_out: rate(before.bytes_out, after.bytes_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_the_mean_of_the_last_two_seconds() {
        let (rates, start) = (Rates::default(), Instant::now());
        assert_eq!(rates.per_second(), Amounts::default());
        let at = |number: u32, commands: f64| {
            let amounts = Amounts { commands, bytes_in: commands * 10.0, bytes_out: 0.0 };
            rates.take(start + SAMPLE_EVERY * number, amounts);
        };
        at(0, 0.0);
        assert_eq!(rates.per_second(), Amounts::default());
        (1..=4).for_each(|number| at(number, f64::from(number) * 100.0));
        assert_eq!(rates.per_second(), Amounts { commands: 200.0, bytes_in: 2000.0, bytes_out: 0.0 });
        (5..=8).for_each(|number| at(number, 400.0));
        assert_eq!(rates.per_second(), Amounts::default(), "what is long ago no longer counts");
        at(9, 0.0);
        assert_eq!(rates.per_second().commands, 0.0, "counters that were reset count as nothing");
        rates.clear();
        assert_eq!(rates.per_second(), Amounts::default());
    }
}
