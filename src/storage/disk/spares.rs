//! Segments made ahead: blank volumes beside the clerk's diary, so that beginning a new one costs no errand.
//!
//! # Contract
//! - Their numbers rise in the order in which they are taken, whoever made them.
//! - [`Spares::take`] waits for the disk only when more than [`AHEAD`] were taken since [`Spares::fill`] last ended.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use parking_lot::Mutex;

use super::FULL_TABLES_MAX;
use super::log::Spare;

/// So many are made ahead: no more tables can be filled while one is written out.
const AHEAD: usize = FULL_TABLES_MAX;

/// The segments that are ready.
pub(super) struct Spares {
    folder: PathBuf,
    ready: Mutex<VecDeque<Spare>>,
    /// The highest number there is. Held while segments are made.
    newest: Mutex<u64>,
}

impl Spares {
    /// None are ready; `newest` is the number of the newest segment.
    pub(super) fn new(folder: PathBuf, newest: u64) -> Spares {
        Spares { folder, ready: Mutex::default(), newest: Mutex::new(newest) }
    }

    /// Makes those that are missing.
    pub(super) fn fill(&self) {
        let mut newest = self.newest.lock();
        let missing = AHEAD.saturating_sub(self.ready.lock().len());
        // Who finds none makes its own, and tells why it cannot.
        if let Ok(made) = Spare::make(&self.folder, *newest + 1, missing) {
            *newest = made.last().map_or(*newest, Spare::number);
            self.ready.lock().extend(made);
        }
    }

    /// The next segment.
    pub(super) fn take(&self) -> io::Result<Spare> {
        if let Some(spare) = self.ready.lock().pop_front() {
            return Ok(spare);
        }
        let mut newest = self.newest.lock();
        // Somebody may just have made some.
        if let Some(spare) = self.ready.lock().pop_front() {
            return Ok(spare);
        }
        let spare = Spare::make_one(&self.folder, *newest + 1)?;
        *newest = spare.number();
        Ok(spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_whoever_makes_them() {
        let folder = tempfile::tempdir().unwrap();
        let spares = Spares::new(folder.path().to_owned(), 7);
        let take = |count: usize| (0..count).map(|_| spares.take().unwrap().number()).collect::<Vec<_>>();
        assert_eq!(take(2), [8, 9]);
        spares.fill();
        spares.fill();
        assert_eq!(take(AHEAD + 1), (10..).take(AHEAD + 1).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), AHEAD + 3);
        std::fs::remove_dir_all(folder.path()).unwrap();
        assert!(spares.take().is_err());
    }
}
