//! Which slots this node led for a while, and leads no longer: others came back.
//!
//! Picture a clerk who minded a colleague's counter. Who came to know the clerk in those days keeps coming, and would never learn
//! that the colleague is back: so the clerk, who could serve them, sends them over. Whoever comes to the clerk for the
//! first time afterwards knows why, and is served.
//!
//! # Contract
//! - [`Handback::after`] compares two listings: what this node was master of, and another node is now, is handed back under
//!   the next number. What it leads again is not handed back any more.
//! - A connection keeps the number at which it was opened; [`Handback::is_since`] costs one comparison where nothing was handed
//!   back since.
//! - It remembers for each slot the last number only, and when those of the last ten minutes were given.

use crate::key::{SLOTS, Slots};
use crate::listing::Listing;
use std::collections::VecDeque;

/// How long a SCAN may have been under way that is told the keys of slots handed back meanwhile, whatever its connection.
const RECENT_MS: u64 = 10 * 60 * 1000;

/// A listing, and who this node is in it.
#[derive(Clone, Debug)]
pub struct Mine {
    /// The listing.
    pub listing: Listing,
    /// This node's place among the members.
    pub me: u16,
}

impl Mine {
    fn leads(&self, slot: u16) -> bool {
        self.listing.owners(slot)[0] == self.me
    }
}

/// What was handed back. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handback {
    number: u32,
    /// For each slot the number under which it was handed back, 0: it was not; empty: none was.
    last: Vec<u32>,
    /// The numbers of late, and when they were given.
    recent: VecDeque<(u32, u64)>,
}

impl Handback {
    /// What is handed back when a listing follows another.
    pub fn after(&self, before: &Mine, now: &Mine, now_ms: u64) -> Handback {
        let mut after = self.clone();
        after.forget_old(now_ms);
        let lost: Vec<u16> = (0..SLOTS).filter(|slot| before.leads(*slot) && !now.leads(*slot)).collect();
        if !lost.is_empty() {
            after.last.resize(usize::from(SLOTS), 0);
            after.number += 1;
            after.recent.push_back((after.number, now_ms));
        }
        lost.into_iter().for_each(|slot| after.last[usize::from(slot)] = after.number);
        for slot in (0..after.last.len() as u16).filter(|slot| now.leads(*slot)) {
            after.last[usize::from(slot)] = 0;
        }
        after
    }

    fn forget_old(&mut self, now_ms: u64) {
        self.recent.retain(|(_, at_ms)| at_ms + RECENT_MS > now_ms);
    }

    /// The last number: what a connection that is opened now keeps.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether a slot was handed back after this number.
    pub fn is_since(&self, slot: u16, number: u32) -> bool {
        self.number > number && self.last.get(usize::from(slot)).is_some_and(|last| *last > number)
    }

    /// What was handed back after this number, or of late.
    pub fn since_or_recent(&self, number: u32, now_ms: u64) -> impl Iterator<Item = Slots> {
        let recent = self.recent.iter().find(|(_, at_ms)| at_ms + RECENT_MS > now_ms);
        let from = recent.map_or(number, |(recent, _)| number.min(recent - 1));
        let slots = (0..SLOTS).filter(move |slot| self.is_since(*slot, from));
        slots.map(|slot| Slots { first: slot, last: slot })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::NodeId;
    use crate::key::Partitions;
    use crate::ring::{Ring, RingMember};
    use crate::walk::cover::Cover;

    /// Three nodes that each keep every slot, as the first of them sees it; `in_service` says who is listed.
    fn listing(in_service: [bool; 3]) -> Mine {
        let member = |n: u8| RingMember {
            id: NodeId([n; 20]),
            zone: String::new(),
            weight: 1,
            joined: u64::from(n),
            left: None,
        };
        let ring = Ring::new(&[1, 2, 3].map(member), Partitions::new(64).unwrap());
        Mine { listing: Listing::new(&ring, 3, &in_service), me: 0 }
    }

    const ALL: [bool; 3] = [true; 3];
    const WITHOUT_2: [bool; 3] = [true, true, false];

    fn led_by_2() -> Vec<u16> {
        let all = listing(ALL).listing;
        (0..SLOTS).filter(|slot| all.owners(*slot)[0] == 2).collect()
    }

    #[test]
    fn what_a_returned_node_leads_again_is_handed_back_to_those_who_were_there() {
        let none = Handback::default();
        let stood_in = none.after(&listing(ALL), &listing(WITHOUT_2), 0);
        assert_eq!(stood_in, none, "who begins to lead hands nothing back");
        let back = stood_in.after(&listing(WITHOUT_2), &listing(ALL), 0);
        assert_eq!((back.number(), back.number() - 1), (1, none.number()));
        let without = listing(WITHOUT_2);
        let of_zero = |slot: &u16| without.leads(*slot);
        let (handed, others): (Vec<u16>, Vec<u16>) = led_by_2().into_iter().partition(of_zero);
        assert!(!handed.is_empty() && !others.is_empty());
        assert!(handed.iter().all(|slot| back.is_since(*slot, 0) && !back.is_since(*slot, 1)));
        assert!((0..SLOTS).filter(|slot| !handed.contains(slot)).all(|slot| !back.is_since(slot, 0)));

        let again = back.after(&listing(ALL), &listing(WITHOUT_2), 0);
        assert!(handed.iter().all(|slot| !again.is_since(*slot, 0)), "it leads them again");
        let twice = again.after(&listing(WITHOUT_2), &listing(ALL), 0);
        assert!(handed.iter().all(|slot| twice.is_since(*slot, 1)));
    }

    #[test]
    fn a_scan_is_told_of_what_was_handed_back_since_it_can_have_begun() {
        let back = Handback::default().after(&listing(WITHOUT_2), &listing(ALL), 1000);
        let slots = |number, now_ms| Cover::of(back.since_or_recent(number, now_ms)).count();
        let all = slots(0, u64::MAX / 2);
        assert!(all > 0, "the connection was there");
        assert_eq!(slots(1, 1000 + RECENT_MS - 1), all, "it was not, but another may have been");
        assert_eq!(slots(1, 1000 + RECENT_MS), 0);
        assert_eq!(back.after(&listing(ALL), &listing(ALL), 1000 + RECENT_MS).recent.len(), 0);
    }
}
