//! How large the largest record is that was ever seen here: what one answer may weigh.
//!
//! # Contract
//! - [`Largest::bytes`] is at least the size of every record written or read in this life, and of those of earlier lives that
//!   were written more than a second before they ended. It never sinks, so one large record long ago counts.
//! - Records up to [`USUAL_BYTES`] are not told apart: a store of small records writes nothing down.

use std::sync::atomic::{AtomicU64, Ordering};

use super::home::Home;

/// Sizes up to this do not matter.
pub(super) const USUAL_BYTES: u64 = 64 << 10;

const FILE: &str = "largest";

#[derive(Debug)]
pub(super) struct Largest {
    bytes: AtomicU64,
    saved: AtomicU64,
}

impl Largest {
    /// Goes on with what the home remembers. What cannot be read there is learnt anew.
    pub(super) fn open(home: Option<&Home>) -> Largest {
        let saved = home.and_then(|home| home.read_sealed(FILE).ok().flatten());
        let bytes = saved.and_then(|saved| saved.try_into().ok()).map_or(USUAL_BYTES, u64::from_le_bytes);
        Largest { bytes: AtomicU64::new(bytes), saved: AtomicU64::new(bytes) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self, bytes: usize) {
        if bytes as u64 > self.bytes() {
            self.bytes.fetch_max(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Writes it down when it has outgrown what is: each doubling once. Blocks for some fsyncs then.
    pub(super) fn save(&self, home: &Home) {
        let bytes = self.bytes();
        if bytes <= self.saved.load(Ordering::Relaxed) {
            return;
        }
        let rounded = bytes.checked_next_power_of_two().unwrap_or(bytes);
        match home.write_sealed(FILE, &rounded.to_le_bytes()) {
            Ok(()) => self.saved.store(rounded, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(%error, "the size of the largest record could not be written down; it is tried again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_sinks_and_outlasts_a_life() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "test", None).unwrap();
        let largest = Largest::open(Some(&home));
        largest.note(100);
        largest.save(&home);
        assert_eq!((largest.bytes(), home.read_sealed(FILE).unwrap()), (USUAL_BYTES, None));
        largest.note(3 << 20);
        largest.note(1 << 20);
        assert_eq!(largest.bytes(), 3 << 20);
        largest.save(&home);
        assert_eq!(Largest::open(Some(&home)).bytes(), 4 << 20);
        assert_eq!(Largest::open(None).bytes(), USUAL_BYTES);
    }
}
