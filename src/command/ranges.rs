//! Which node answers first for which slots.
//!
//! Picture a map of postal districts, drawn anew from the list of who is at home: each district is given to the first of
//! its owners who opens the door, and neighbouring districts of one owner are drawn as one.
//!
//! # Contract
//! - Every slot belongs to exactly one range; ranges are in order, and neighbours have different owners.
//! - The owner is the first *reachable* node of the partition's preference list; where none is, the first home. Nodes that
//!   see the same members reachable draw the same map.

use crate::key::Partition;
use crate::membership::view::View;

/// A run of slots with one node that answers for them first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last slot, included.
    pub last: u16,
    /// The node's place in the view.
    pub node: usize,
}

/// All ranges of a view.
pub fn slot_ranges(view: &View) -> Vec<SlotRange> {
    let partitions = view.ring.partitions();
    let reachable: Vec<bool> =
        view.nodes.iter().enumerate().map(|(at, node)| at == view.me || node.is_reachable()).collect();
    let owners = (0..partitions.count() as u16).map(|number| {
        let (first, last) = partitions.slots(Partition(number));
        SlotRange { first, last, node: owner(view.ring.preference(Partition(number)), &reachable, view.me) }
    });
    merged(owners)
}

/// The first reachable node of a preference list; else its first; else (an empty list) this node.
fn owner(preference: &[u16], reachable: &[bool], me: usize) -> usize {
    let places = || preference.iter().map(|place| usize::from(*place));
    places().find(|place| reachable.get(*place) == Some(&true)).or_else(|| places().next()).unwrap_or(me)
}

/// Draws neighbouring ranges of one node as one.
fn merged(ranges: impl Iterator<Item = SlotRange>) -> Vec<SlotRange> {
    let mut merged: Vec<SlotRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(before) if before.node == range.node => before.last = range.last,
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reachable_owner_answers() {
        assert_eq!(owner(&[2, 0, 1], &[true, true, true], 1), 2);
        assert_eq!(owner(&[2, 0, 1], &[true, true, false], 1), 0);
        assert_eq!(owner(&[2, 0], &[false, true, false], 1), 2);
        assert_eq!(owner(&[], &[true], 0), 0);
    }

    #[test]
    fn neighbours_of_one_owner_become_one_range() {
        let range = |first, last, node| SlotRange { first, last, node };
        let drawn = merged([range(0, 3, 1), range(4, 7, 1), range(8, 11, 0), range(12, 15, 1)].into_iter());
        assert_eq!(drawn, [range(0, 7, 1), range(8, 11, 0), range(12, 15, 1)]);
    }
}
