//! What each node deserves.
//!
//! Pour water into a row of glasses, wide ones for heavy nodes: it rises evenly in all until a glass is full, then
//! goes on rising in the others. A node cannot hold a partition twice, so its glass is full at Q; while the homes must
//! lie in distinct zones, a whole zone's glass is full at Q. Past that point (more homes than zones) every zone already
//! holds each partition once, and its nodes get more only when the water of the others has risen to their level.
//!
//! # Contract
//! [`shares`] is exact integer arithmetic, rounded down to 1/[`UNIT`] of a partition: the same on every machine.
//! Adding a node lowers the share of every other, or leaves it.

use std::collections::BTreeMap;

/// One partition, in the fixed-point numbers shares and loads are compared in.
pub(super) const UNIT: i64 = 1 << 32;

/// A glass in the pour: a node or a zone starts to fill, or is full, once each unit of weight has Q / `divisor`.
struct Edge {
    divisor: u128,
    starts: bool,
    weight: u128,
}

/// How high the water stands, in Q per unit of weight, as a fraction.
struct Level {
    over: u128,
    under: u128,
}

/// Pours until `total` times Q is in the glasses. `full` of them count as full at the start, `weight` is filling.
fn pour(total: u128, mut full: u128, mut weight: u128, mut edges: Vec<Edge>) -> Level {
    edges.sort_unstable_by_key(|edge| (std::cmp::Reverse(edge.divisor), !edge.starts));
    for edge in edges {
        if weight >= (total - full) * edge.divisor {
            break;
        }
        if edge.starts {
            full -= 1;
            weight += edge.weight;
        } else {
            full += 1;
            weight -= edge.weight;
        }
    }
    Level { over: total - full, under: weight.max(1) }
}

/// The load each node, given as (zone, weight), should carry when every one of `rows` partitions has `prefix` homes;
/// in [`UNIT`]s. Weights are at least 1.
pub(super) fn shares(prefix: usize, rows: usize, nodes: &[(u32, u64)]) -> Vec<i64> {
    let whole = (rows as u128) << 32;
    if prefix >= nodes.len() {
        return vec![whole as i64; nodes.len()];
    }
    let mut zones: BTreeMap<u32, u128> = BTreeMap::new();
    for &(zone, weight) in nodes {
        *zones.entry(zone).or_default() += u128::from(weight);
    }
    let spread = prefix <= zones.len();
    let zone_edges = zones.values().map(|&weight| Edge { divisor: weight, starts: !spread, weight });
    let level = if spread {
        pour(prefix as u128, 0, zones.values().sum(), zone_edges.collect())
    } else {
        let node_edges = nodes.iter().map(|node| Edge { divisor: node.1.into(), starts: false, weight: node.1.into() });
        pour(prefix as u128, zones.len() as u128, 0, zone_edges.chain(node_edges).collect())
    };
    let share = |&(zone, weight): &(u32, u64)| {
        let (weight, zone_weight) = (u128::from(weight), zones[&zone]);
        let zone_is_full = level.over * zone_weight >= level.under;
        let share = match (spread, zone_is_full) {
            (true, true) | (false, false) => whole * weight / zone_weight,
            (false, true) if level.over * weight >= level.under => whole,
            _ => whole * level.over * weight / level.under,
        };
        share as i64
    };
    nodes.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::{UNIT, shares};

    fn whole_shares(prefix: usize, rows: usize, nodes: &[(u32, u64)]) -> Vec<i64> {
        shares(prefix, rows, nodes).into_iter().map(|share| share / UNIT).collect()
    }

    #[test]
    fn weight_earns_its_part_until_a_node_is_full() {
        assert_eq!(whole_shares(1, 60, &[(0, 1), (1, 2), (2, 3)]), [10, 20, 30]);
        assert_eq!(whole_shares(2, 60, &[(0, 1), (1, 2), (2, 3)]), [20, 40, 60]);
        assert_eq!(whole_shares(2, 60, &[(0, 1), (1, 1), (2, 9)]), [30, 30, 60]);
        assert_eq!(whole_shares(5, 60, &[(0, 1), (1, 1), (2, 9)]), [60, 60, 60]);
    }

    #[test]
    fn a_zone_holds_a_partition_once_while_there_are_others() {
        // Zone 0 has three nodes and would earn 3/5 of two homes each; it can hold one.
        assert_eq!(whole_shares(2, 60, &[(0, 1), (0, 1), (0, 1), (1, 1), (2, 1)]), [20, 20, 20, 30, 30]);
        assert_eq!(whole_shares(3, 60, &[(0, 1), (0, 1), (0, 1), (1, 1), (2, 1)]), [20, 20, 20, 60, 60]);
    }

    #[test]
    fn past_the_zones_the_emptiest_fill_first() {
        assert_eq!(whole_shares(3, 60, &[(0, 1), (0, 1), (0, 1), (1, 1)]), [40, 40, 40, 60]);
        // Two zones of two and four: the third home goes to the four until they reach the two's 30.
        assert_eq!(whole_shares(3, 60, &[(0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (1, 1)]), [30; 6]);
        assert_eq!(whole_shares(3, 60, &[(0, 1), (0, 1), (1, 1), (1, 1), (1, 1)]), [36; 5]);
    }
}
