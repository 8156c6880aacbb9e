//! Which node cluster clients are sent to, slot by slot.
//!
//! Picture a map of postal districts, drawn anew from the list of who is at home: each district names the first of its
//! owners who opens the door as its postman, the other owners who do as his stand-ins, and neighbouring districts with the
//! same names on them are drawn as one.
//!
//! # Contract
//! A pure function of the ring, of how many homes a key has, and of who is *in service* (can be reached, is not suspected,
//! and does not stop): nodes that agree on these draw the same map.
//!
//! # Invariants
//! - Every slot lies in exactly one [`Range`]; ranges are in order, and neighbours have different owners.
//! - Every owner is in service, and a home. Where no home is in service the first fallback that is owns the slot alone; where
//!   nobody is, the first home.
//!
//! It refuses to know addresses, and to decide who can be reached.

use crate::key::{Partition, SLOTS};
use crate::ring::Ring;
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// The owners of a range, by their places in the ring's members: the master, then its replicas in ascending order.
pub type Owners = SmallVec<[u16; 4]>;

/// A run of slots with the same owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first slot.
    pub first: u16,
    /// The last slot, included.
    pub last: u16,
    /// Who answers for it; never empty.
    pub owners: Owners,
}

/// The map. See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    ranges: Vec<Range>,
    slots_per_partition: u16,
    /// For each partition the place of its range.
    ranges_of: Vec<u16>,
}

impl Listing {
    /// Draws the map of a ring of at least one member, whose keys have `homes` homes. `in_service`: for each member of the
    /// ring, whether cluster clients are to be sent to it.
    pub fn new(ring: &Ring, homes: usize, in_service: &[bool]) -> Listing {
        let partitions = ring.partitions();
        let mut listing = Listing {
            ranges: Vec::new(),
            slots_per_partition: (u32::from(SLOTS) / partitions.count()) as u16,
            ranges_of: Vec::with_capacity(partitions.count() as usize),
        };
        for partition in (0..partitions.count() as u16).map(Partition) {
            let owners = owners(ring.preference(partition), homes, in_service);
            let (first, last) = partitions.slots(partition);
            match listing.ranges.last_mut().filter(|before| before.owners == owners) {
                Some(before) => before.last = last,
                None => listing.ranges.push(Range { first, last, owners }),
            }
            listing.ranges_of.push((listing.ranges.len() - 1) as u16);
        }
        listing
    }

    /// All ranges, in order.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// All ranges, in order, as libraries are to hear of them that take a node for a replica when they hear of it first as
    /// one (redis-py): a node that is master of anything is named as a replica only behind the first range it is master of.
    pub fn introduced(&self) -> Vec<Range> {
        let masters: BTreeSet<u16> = self.ranges.iter().map(|range| range.owners[0]).collect();
        let (mut known, mut told): (BTreeSet<u16>, Vec<Range>) = Default::default();
        for range in &self.ranges {
            known.insert(range.owners[0]);
            let mut owners = range.owners.clone();
            owners.retain(|owner| known.contains(owner) || !masters.contains(owner));
            match told.last_mut().filter(|before| before.owners == owners) {
                Some(before) => before.last = range.last,
                None => told.push(Range { owners, ..*range }),
            }
        }
        told
    }

    /// Who answers for a slot below [`SLOTS`]: the master first.
    pub fn owners(&self, slot: u16) -> &[u16] {
        &self.ranges[usize::from(self.ranges_of[usize::from(slot / self.slots_per_partition)])].owners
    }

    /// The runs of slots that a node is master of: first and last, in order, as long as can be.
    pub fn led_by(&self, node: usize) -> Vec<(u16, u16)> {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for range in self.ranges.iter().filter(|range| usize::from(range.owners[0]) == node) {
            match runs.last_mut().filter(|run| run.1 + 1 == range.first) {
                Some(run) => run.1 = range.last,
                None => runs.push((range.first, range.last)),
            }
        }
        runs
    }
}

/// The owners of a partition with this preference list.
fn owners(preference: &[u16], homes: usize, in_service: &[bool]) -> Owners {
    let serves = |node: &&u16| in_service.get(usize::from(**node)) == Some(&true);
    let mut owners: Owners = preference.iter().take(homes.max(1)).filter(serves).copied().collect();
    if owners.is_empty() {
        owners.extend(preference.iter().find(serves).or(preference.first()).copied());
    }
    // The order of the replicas means nothing to clients, and equal lists can be drawn as one range.
    if let Some((_, replicas)) = owners.split_first_mut() {
        replicas.sort_unstable();
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::NodeId;
    use crate::key::Partitions;
    use crate::ring::RingMember;
    use proptest::prelude::*;

    fn ring(members: u8, partitions: u32) -> Ring {
        let member = |n: u8| RingMember {
            id: NodeId([n; 20]),
            zone: String::new(),
            weight: 1,
            joined: u64::from(n),
            left: None,
        };
        let members: Vec<RingMember> = (1..=members).map(member).collect();
        Ring::new(&members, Partitions::new(partitions).unwrap())
    }

    #[test]
    fn the_first_home_in_service_is_master_and_the_others_are_replicas() {
        let all = [true; 4];
        assert_eq!(owners(&[2, 3, 1, 0], 3, &all)[..], [2, 1, 3]);
        assert_eq!(owners(&[2, 3, 1, 0], 3, &[true, true, false, true])[..], [3, 1]);
        assert_eq!(owners(&[2, 3, 1, 0], 3, &[true, false, false, false])[..], [0], "a fallback stands in");
        assert_eq!(owners(&[2, 3, 1, 0], 3, &[false; 4])[..], [2], "somebody must be named");
    }

    #[test]
    fn neighbouring_partitions_with_the_same_owners_are_one_range() {
        let alone = Listing::new(&ring(1, 256), 3, &[true]);
        assert_eq!(alone.ranges(), [Range { first: 0, last: 16383, owners: Owners::from_slice(&[0]) }]);
        let three = Listing::new(&ring(3, 256), 3, &[true; 3]);
        assert!(three.ranges().len() < 256, "{}", three.ranges().len());
        let two = Listing::new(&ring(3, 256), 3, &[true, false, true]);
        assert!(two.ranges().len() < three.ranges().len(), "fewer owners, longer ranges");
    }

    #[test]
    fn a_node_that_stops_leaves_its_slots_to_more_than_one() {
        let ring = ring(5, 256);
        let before = Listing::new(&ring, 3, &[true; 5]);
        let after = Listing::new(&ring, 3, &[true, true, false, true, true]);
        let heirs: std::collections::BTreeSet<u16> =
            (0..SLOTS).filter(|slot| before.owners(*slot)[0] == 2).map(|slot| after.owners(slot)[0]).collect();
        assert!(heirs.len() > 1, "{heirs:?}");
        assert!(after.led_by(2).is_empty());
    }

    proptest! {
        #[test]
        fn every_slot_is_owned_as_its_preference_list_says(
            (members, service) in (1u8..7).prop_flat_map(|members| {
                (Just(members), proptest::collection::vec(any::<bool>(), usize::from(members)))
            }),
            bits in 0u32..=9,
            homes in 1usize..5,
        ) {
            let ring = ring(members, 1 << bits);
            let listing = Listing::new(&ring, homes, &service);
            let mut next = 0u32;
            for range in listing.ranges() {
                prop_assert_eq!(u32::from(range.first), next, "no gap, no overlap");
                next = u32::from(range.last) + 1;
            }
            prop_assert_eq!(next, u32::from(SLOTS));
            prop_assert!(listing.ranges().windows(2).all(|pair| pair[0].owners != pair[1].owners));
            let partitions = ring.partitions();
            for number in 0..partitions.count() as u16 {
                let list = ring.preference(Partition(number));
                let serving = |most: usize| -> Vec<u16> {
                    list.iter().take(most).copied().filter(|node| service[usize::from(*node)]).collect()
                };
                let expected = match (serving(homes), serving(list.len()).first()) {
                    (homes, _) if !homes.is_empty() => homes,
                    (_, Some(fallback)) => vec![*fallback],
                    (_, None) => vec![list[0]],
                };
                let (first, last) = partitions.slots(Partition(number));
                for slot in [first, last] {
                    let owners = listing.owners(slot);
                    prop_assert_eq!(owners[0], expected[0]);
                    let (mut found, mut wanted) = (owners.to_vec(), expected.clone());
                    found.sort_unstable();
                    wanted.sort_unstable();
                    prop_assert_eq!(found, wanted);
                }
            }
            let told = listing.introduced();
            let mut known = std::collections::BTreeSet::new();
            let (mut next, mut all) = (0u32, 0);
            for range in &told {
                prop_assert_eq!(u32::from(range.first), next, "no gap, no overlap");
                next = u32::from(range.last) + 1;
                known.insert(range.owners[0]);
                let leads = |node: &u16| !listing.led_by(usize::from(*node)).is_empty();
                prop_assert!(range.owners.iter().all(|node| known.contains(node) || !leads(node)));
                for slot in [range.first, range.last] {
                    prop_assert_eq!(range.owners[0], listing.owners(slot)[0], "masters stay");
                    prop_assert!(range.owners.iter().all(|node| listing.owners(slot).contains(node)));
                }
                all += usize::from(range.owners.len() == listing.owners(range.first).len());
            }
            prop_assert_eq!(next, u32::from(SLOTS));
            prop_assert!(told.windows(2).all(|pair| pair[0].owners != pair[1].owners));
            prop_assert!(all > 0 || listing.ranges().len() <= usize::from(members), "named in full once introduced");
            let mut led: Vec<(u16, u16, usize)> = Vec::new();
            for node in 0..usize::from(members) {
                let runs = listing.led_by(node);
                prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "as long as can be");
                led.extend(runs.into_iter().map(|(first, last)| (first, last, node)));
            }
            led.sort_unstable();
            prop_assert!(led.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "each slot has one master");
            let led_by = |slot: u16| usize::from(listing.owners(slot)[0]);
            let right = |&(first, last, node): &(u16, u16, usize)| led_by(first) == node && led_by(last) == node;
            prop_assert!(led.iter().all(right));
        }
    }
}
