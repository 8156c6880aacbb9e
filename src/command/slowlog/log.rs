//! The slow log itself: a bounded list, newest first.
//!
//! Contract: ids rise by one with each entry and are never used twice, whatever is forgotten. A plain struct.

use bytes::Bytes;
use std::collections::VecDeque;

/// What is kept of a slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slow {
    /// When it was answered, in Unix seconds.
    pub at_s: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Its words, shortened.
    pub words: Vec<Bytes>,
    /// The client's address.
    pub address: String,
    /// The client's name.
    pub name: Bytes,
}

/// The log.
#[derive(Debug, Default)]
pub struct SlowLog {
    /// Newest first.
    entries: VecDeque<Slow>,
    /// How many there ever were.
    count: u64,
}

impl SlowLog {
    /// Notes an entry, and forgets the oldest above `most`.
    pub fn note(&mut self, slow: Slow, most: u64) {
        self.entries.push_front(slow);
        self.count += 1;
        self.entries.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }

    /// The entries with their ids, newest first.
    pub fn newest(&self) -> impl Iterator<Item = (u64, &Slow)> {
        self.entries.iter().enumerate().map(|(at, slow)| (self.count - 1 - at as u64, slow))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all; ids go on.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow(took_us: u64) -> Slow {
        Slow { at_s: 0, took_us, words: Vec::new(), address: String::new(), name: Bytes::new() }
    }

    #[test]
    fn the_newest_stay_and_ids_go_on() {
        let mut log = SlowLog::default();
        (0..5).for_each(|took| log.note(slow(took), 3));
        let seen = |log: &SlowLog| log.newest().map(|(id, slow)| (id, slow.took_us)).collect::<Vec<_>>();
        assert_eq!(seen(&log), [(4, 4), (3, 3), (2, 2)]);
        log.note(slow(9), 1);
        assert_eq!(seen(&log), [(5, 9)]);
        log.clear();
        assert!(log.is_empty());
        log.note(slow(1), 0);
        assert_eq!(log.len(), 0);
        log.note(slow(1), 1);
        assert_eq!(seen(&log), [(7, 1)]);
    }
}
