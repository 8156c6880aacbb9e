//! The parts of a run, and what each came to.

use super::sample::{Outcome, Sample, microseconds};
use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest latency that is told apart: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;

/// A part of a run. Requests belong to the phase in which they were due, wherever their answers came.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What went on.
    pub name: String,
    /// From the beginning of the load.
    pub begin: Duration,
    /// Excluded.
    pub end: Duration,
    /// Large tables that nodes wrote meanwhile: memtables written out, and merges of such.
    pub tables: u64,
}

/// What a phase came to. Latencies are those of answered requests, from when they were due, in microseconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Answered requests in a second.
    pub reached: f64,
    /// Requests that failed.
    pub failed: u64,
    /// The middle one.
    pub p50_us: u64,
    /// One in a hundred took longer.
    pub p99_us: u64,
    /// One in a thousand took longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// One in a thousand was sent later than this after it was due.
    pub sent_late_p999_us: u64,
}

impl Figures {
    /// What the requests of a phase came to.
    pub fn of(phase: &Phase, samples: &[Sample]) -> Figures {
        let (mut latencies, mut lateness) = (histogram(), histogram());
        let mut failed = 0;
        let due = microseconds(phase.begin)..microseconds(phase.end);
        for sample in samples.iter().filter(|sample| due.contains(&sample.due_us)) {
            match sample.outcome {
                Outcome::Answered => latencies.saturating_record(u64::from(sample.latency_us)),
                Outcome::Failed => failed += 1,
            }
            lateness.saturating_record(u64::from(sample.sent_late_us));
        }
        let seconds = (phase.end.saturating_sub(phase.begin)).as_secs_f64();
        Figures {
            reached: if seconds > 0.0 { latencies.len() as f64 / seconds } else { 0.0 },
            failed,
            p50_us: latencies.value_at_quantile(0.5),
            p99_us: latencies.value_at_quantile(0.99),
            p999_us: latencies.value_at_quantile(0.999),
            max_us: latencies.max(),
            sent_late_p999_us: lateness.value_at_quantile(0.999),
        }
    }

    /// p99.9 over p99: how much worse the worst is than the bad.
    pub fn ratio(&self) -> f64 {
        if self.p99_us == 0 { 0.0 } else { self.p999_us as f64 / self.p99_us as f64 }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 3).expect("three digits up to ten minutes fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(due_us: u32, latency_us: u32) -> Sample {
        Sample { due_us, sent_late_us: 7, latency_us, outcome: Outcome::Answered }
    }

    fn phase(begin_s: u64, end_s: u64) -> Phase {
        let (begin, end) = (Duration::from_secs(begin_s), Duration::from_secs(end_s));
        Phase { name: "quiet".to_owned(), begin, end, tables: 0 }
    }

    #[test]
    fn a_phase_has_what_was_due_in_it_even_if_it_was_answered_later() {
        let samples =
            [answered(999_999, 1), answered(1_000_000, 5_000_000), answered(2_999_999, 10), answered(3_000_000, 1)];
        let figures = Figures::of(&phase(1, 3), &samples);
        assert_eq!((figures.reached, figures.failed, figures.p50_us), (1.0, 0, 10));
        assert!(figures.max_us.abs_diff(5_000_000) < 5_000, "{figures:?}");
    }

    #[test]
    fn one_slow_request_in_a_hundred_shows_at_the_tail_and_not_in_the_middle() {
        let samples: Vec<Sample> =
            (0..10_000).map(|at| answered(at * 100, if at % 100 == 99 { 30_000 } else { 500 })).collect();
        let figures = Figures::of(&phase(0, 1), &samples);
        assert_eq!((figures.p50_us, figures.p99_us, figures.reached), (500, 500, 10_000.0));
        assert!((55.0..65.0).contains(&figures.ratio()), "{figures:?}");
        assert_eq!(figures.sent_late_p999_us, 7);
    }

    #[test]
    fn a_failure_is_counted_and_is_no_latency() {
        let lost = Sample { outcome: Outcome::Failed, ..answered(5, 900) };
        let figures = Figures::of(&phase(0, 1), &[lost, answered(6, 100)]);
        assert_eq!((figures.failed, figures.max_us, figures.reached), (1, 100, 1.0));
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        let figures = Figures::of(&phase(0, 0), &[]);
        assert_eq!((figures.reached, figures.ratio()), (0.0, 0.0));
    }
}
