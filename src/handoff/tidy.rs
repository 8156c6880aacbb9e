//! Keeping the shelf of parcels for others bounded, and finding what lost its slip (§4.6).
//!
//! A neighbour is away for very long, and the shelf with their parcels is full. No parcel is thrown away, for it may be the
//! only one; only the slips with their name are, after writing on the door: "there are parcels without slips in this house".
//! Once they are back and the shelf is nearly empty, you go through the whole house, and write new slips.
//!
//! ```text
//!             too many bytes, or too old: the mark is made durable, then hints go
//!   [ hinted ] ------------------------------------------------------------------> [ marked ]
//!       ^                                                                              |
//!       +------------------------------------------------------------------------------+
//!         the home can be reached and has taken most of the rest: every stray copy is hinted anew, then the mark goes
//! ```
//!
//! # Contract
//! - State and time in, one [`Errand`] out; the next one only after [`Tidy::ended`]. Errands of one node never overlap, so a
//!   mark never goes while hints are being dropped.
//! - A shelf over its bytes is trimmed at once; one whose home cannot be reached is looked through for old hints eight times
//!   in [`Bounds::ttl_ms`]. A home that can be reached loses no hint for its age: it is about to be delivered.
//! - An errand that failed is tried again after a pause; the one that has waited longest goes first.
//!
//! # What it refuses to do
//! It never lets an object go, and no client waits for it or fails by it.

use crate::causality::NodeTag;
use std::collections::BTreeMap;

/// The least and the longest time between two looks for old hints, in milliseconds.
const LOOKS_MS: (u64, u64) = (250, 600_000);

/// How long an errand that failed, or was of no use, rests, in milliseconds.
const PAUSE_MS: u64 = 2000;

/// How much may lie on a shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How old a hint may become, in milliseconds.
    pub ttl_ms: u64,
    /// Bytes of copies kept for one home.
    pub bytes_max: u64,
}

impl Bounds {
    /// What is left of a shelf that was trimmed for its bytes.
    pub fn bytes_trimmed(&self) -> u64 {
        self.bytes_max - self.bytes_max / 8
    }

    /// Whether so little lies there that stray copies may be added.
    pub fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max / 2
    }
}

/// What lies there for one home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shelf {
    /// The home.
    pub home: NodeTag,
    /// Bytes of copies, about.
    pub bytes: u64,
    /// Nothing more is noted for it.
    pub full: bool,
    /// Some copies for it may have no hint.
    pub marked: bool,
    /// Whether it seems to answer.
    pub reachable: bool,
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Count what lies there for this home; mark it and drop hints if that is too much, or too old.
    Trim(NodeTag),
    /// Hint every stray copy for this home anew, then take its mark away.
    Seek(NodeTag),
}

/// When an errand to a home was last tried.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    trim_ms: Option<u64>,
    seek_ms: Option<u64>,
}

/// The machine. See the module.
#[derive(Clone, Debug, Default)]
pub struct Tidy {
    tried: BTreeMap<NodeTag, Tried>,
    under_way: bool,
}

impl Tidy {
    /// What to do now.
    pub fn next(&mut self, now_ms: u64, bounds: Bounds, shelves: &[Shelf]) -> Option<Errand> {
        if self.under_way {
            return None;
        }
        self.tried.retain(|home, _| shelves.iter().any(|shelf| shelf.home == *home));
        let due = shelves.iter().filter_map(|shelf| self.due(now_ms, bounds, shelf));
        let (_, errand) = due.min_by_key(|(since, _)| *since)?;
        self.under_way = true;
        match errand {
            Errand::Trim(home) => self.tried.entry(home).or_default().trim_ms = Some(now_ms),
            Errand::Seek(home) => self.tried.entry(home).or_default().seek_ms = Some(now_ms),
        }
        Some(errand)
    }

    /// The errand has ended, well or not.
    pub fn ended(&mut self) {
        self.under_way = false;
    }

    /// What a shelf needs now, and since when it was not tried.
    fn due(&self, now_ms: u64, bounds: Bounds, shelf: &Shelf) -> Option<(Option<u64>, Errand)> {
        let tried = self.tried.get(&shelf.home).copied().unwrap_or_default();
        let rested = |last: Option<u64>, pause_ms: u64| last.is_none_or(|last| now_ms >= last.saturating_add(pause_ms));
        let over = shelf.bytes > bounds.bytes_max && !shelf.full;
        let look_ms = (bounds.ttl_ms / 8).clamp(LOOKS_MS.0, LOOKS_MS.1);
        if over && rested(tried.trim_ms, LOOKS_MS.0) {
            return Some((tried.trim_ms, Errand::Trim(shelf.home)));
        }
        if shelf.marked && shelf.reachable && bounds.has_room(shelf.bytes) && rested(tried.seek_ms, PAUSE_MS) {
            return Some((tried.seek_ms, Errand::Seek(shelf.home)));
        }
        let old = shelf.bytes > 0 && !shelf.reachable && rested(tried.trim_ms, look_ms);
        old.then_some((tried.trim_ms, Errand::Trim(shelf.home)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { ttl_ms: 80_000, bytes_max: 1000 };
    const A: NodeTag = NodeTag(1);
    const B: NodeTag = NodeTag(2);

    fn away(home: NodeTag, bytes: u64) -> Shelf {
        Shelf { home, bytes, full: false, marked: false, reachable: false }
    }

    #[test]
    fn too_much_is_trimmed_at_once_and_what_is_old_eight_times_in_its_life() {
        let mut tidy = Tidy::default();
        assert_eq!(tidy.next(0, BOUNDS, &[away(A, 0)]), None);
        assert_eq!(tidy.next(0, BOUNDS, &[away(A, 10)]), Some(Errand::Trim(A)));
        assert_eq!(tidy.next(0, BOUNDS, &[away(A, 10)]), None, "one at a time");
        tidy.ended();
        assert_eq!(tidy.next(9999, BOUNDS, &[away(A, 10)]), None);
        assert_eq!(tidy.next(9999, BOUNDS, &[away(A, 1001)]), Some(Errand::Trim(A)));
        tidy.ended();
        let full = Shelf { full: true, marked: true, ..away(A, 1001) };
        assert_eq!(tidy.next(10_300, BOUNDS, &[full]), None, "it is known to be full");
        assert_eq!(tidy.next(20_000, BOUNDS, &[full]), Some(Errand::Trim(A)), "for its age");
        tidy.ended();
        let back = Shelf { reachable: true, ..away(A, 900) };
        assert_eq!(tidy.next(90_000, BOUNDS, &[back]), None, "what is about to be delivered does not age");
    }

    #[test]
    fn strays_are_sought_when_their_home_is_back_and_has_taken_most_of_the_rest() {
        let mut tidy = Tidy::default();
        let marked = |bytes, reachable| Shelf { full: true, marked: true, reachable, ..away(A, bytes) };
        assert_eq!(tidy.next(0, BOUNDS, &[marked(0, false)]), None);
        assert_eq!(tidy.next(0, BOUNDS, &[marked(501, true)]), None);
        assert_eq!(tidy.next(0, BOUNDS, &[marked(500, true)]), Some(Errand::Seek(A)));
        tidy.ended();
        assert_eq!(tidy.next(1999, BOUNDS, &[marked(0, true)]), None, "a search that found no end rests");
        assert_eq!(tidy.next(2000, BOUNDS, &[marked(0, true)]), Some(Errand::Seek(A)));
    }

    proptest! {
        #[test]
        fn nobody_waits_for_ever(bytes in proptest::collection::vec(0u64..2000, 2..20), back in any::<bool>()) {
            let mut tidy = Tidy::default();
            let mut seen = std::collections::BTreeSet::new();
            for (at, bytes) in bytes.iter().cycle().take(40).enumerate() {
                let shelves = [away(B, *bytes), Shelf { marked: true, full: true, reachable: back, ..away(A, 100) }];
                if let Some(errand) = tidy.next(at as u64 * 10_000, BOUNDS, &shelves) {
                    seen.insert(format!("{errand:?}"));
                    prop_assert_ne!(errand, if back { Errand::Trim(A) } else { Errand::Seek(A) });
                    tidy.ended();
                }
            }
            let wanted = format!("{:?}", if back { Errand::Seek(A) } else { Errand::Trim(A) });
            prop_assert!(seen.contains(&wanted), "{:?}", seen);
        }
    }
}
