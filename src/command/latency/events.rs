//! What took long, by event: Redis's latency monitor.
//!
//! Contract: of each event the last [`SAMPLES_MAX`] samples are kept, one for each second, the longest of it; and the longest
//! ever, until it is forgotten. A plain struct: seconds come from outside.

use std::collections::{BTreeMap, VecDeque};

/// How many samples of an event are kept.
pub const SAMPLES_MAX: usize = 160;

/// The longest of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Unix seconds.
    pub at_s: u64,
    /// Milliseconds.
    pub took_ms: u64,
}

#[derive(Debug, Default)]
struct Series {
    samples: VecDeque<Sample>,
    most_ms: u64,
}

/// All events.
#[derive(Debug, Default)]
pub struct Events(BTreeMap<&'static str, Series>);

impl Events {
    /// An event took so long.
    pub fn add(&mut self, event: &'static str, at_s: u64, took_ms: u64) {
        let series = self.0.entry(event).or_default();
        series.most_ms = series.most_ms.max(took_ms);
        match series.samples.back_mut() {
            Some(last) if last.at_s == at_s => last.took_ms = last.took_ms.max(took_ms),
            _ => {
                if series.samples.len() == SAMPLES_MAX {
                    series.samples.pop_front();
                }
                series.samples.push_back(Sample { at_s, took_ms });
            }
        }
    }

    /// Of each event: its name, when it was last, how long that took, and the longest ever.
    pub fn latest(&self) -> impl Iterator<Item = (&'static str, u64, u64, u64)> {
        self.0.iter().filter_map(|(event, series)| {
            let last = series.samples.back()?;
            Some((*event, last.at_s, last.took_ms, series.most_ms))
        })
    }

    /// The samples of an event, oldest first; none of an event that never was.
    pub fn history(&self, event: &str) -> impl Iterator<Item = &Sample> {
        self.0.get(event).into_iter().flat_map(|series| &series.samples)
    }

    /// The longest ever of an event.
    pub fn most_ms(&self, event: &str) -> Option<u64> {
        self.0.get(event).map(|series| series.most_ms)
    }

    /// Forgets an event; false: there was none.
    pub fn forget(&mut self, event: &str) -> bool {
        self.0.remove(event).is_some()
    }

    /// Forgets all; how many there were.
    pub fn forget_all(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample_and_the_last_are_kept() {
        let mut events = Events::default();
        for (at_s, took_ms) in [(5, 10), (5, 30), (5, 20), (6, 7)] {
            events.add("command", at_s, took_ms);
        }
        let history: Vec<_> = events.history("command").copied().collect();
        assert_eq!(history, [Sample { at_s: 5, took_ms: 30 }, Sample { at_s: 6, took_ms: 7 }]);
        assert_eq!(events.latest().collect::<Vec<_>>(), [("command", 6, 7, 30)]);
        (0..1000).for_each(|at_s| events.add("command", 10 + at_s, 1));
        assert_eq!(events.history("command").count(), SAMPLES_MAX);
        assert_eq!((events.most_ms("command"), events.most_ms("other")), (Some(30), None));
        events.add("other", 1, 1);
        assert!(events.forget("other") && !events.forget("other"));
        assert_eq!((events.forget_all(), events.forget_all()), (1, 0));
    }
}
