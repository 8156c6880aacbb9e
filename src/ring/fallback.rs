//! Who stands in when the homes are away.
//!
//! After the balanced ranks come all other members, in an order drawn by lot for each partition, with more lots for
//! heavier nodes (weighted rendezvous hashing). So the partitions of one failed node do not all fall on the same
//! neighbour, and a join or leave never reorders the others. Zones not yet in the list come first: a database with
//! more homes than balanced ranks is spread too.

use super::seats::{Seats, draw};

/// Hands the preference list of partition `row` to `push`, every present node once.
pub(super) fn complete(seats: &Seats, row: usize, push: &mut impl FnMut(u32)) {
    let seated = seats.row(row);
    seated.iter().for_each(|&node| push(node));
    let absent = seats.present().iter().filter(|node| !seated.contains(node));
    let mut rest: Vec<(u64, u32)> = absent.map(|&node| (lot(seats, node, row), node)).collect();
    rest.sort_unstable();

    let mut seen: Vec<u32> = seated.iter().map(|&node| seats.zone(node)).collect();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() < seats.zone_count() {
        rest.retain(|&(_, node)| match seen.binary_search(&seats.zone(node)) {
            Ok(_) => true,
            Err(place) => {
                seen.insert(place, seats.zone(node));
                push(node);
                false
            }
        });
    }
    rest.iter().for_each(|&(_, node)| push(node));
}

/// A node's lot for a partition: the least comes first. About -log2(uniform) / weight, whose minimum falls on each node
/// with a chance proportional to its weight; the logarithm is cut to whole bits and a straight line between them, so
/// that it is integer arithmetic, the same on every machine.
fn lot(seats: &Seats, node: u32, row: usize) -> u64 {
    let uniform = draw(seats.seed(node), row);
    let bits = uniform.leading_zeros().min(62);
    let fraction = (uniform << bits) << 1;
    (((u64::from(bits) + 1) << 57) - (fraction >> 7)) / seats.weight(node)
}
