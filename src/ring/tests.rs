//! The laws of the ring, against a naive idea of fairness.

use super::{Ring, RingMember};
use crate::causality::NodeId;
use crate::key::{Partition, Partitions};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn id(number: u64) -> NodeId {
    let mut bytes = [0; 20];
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = (number * 3 + place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    NodeId(bytes)
}

/// `zone` 0 means none.
fn member(number: u64, zone: u64, weight: u32) -> RingMember {
    let zone = if zone == 0 { String::new() } else { format!("zone-{zone}") };
    RingMember { id: id(number), zone, weight, joined: number, left: None }
}

fn ring(members: &[RingMember], count: u32) -> Ring {
    Ring::new(members, Partitions::new(count).unwrap())
}

fn partitions(ring: &Ring) -> impl Iterator<Item = Partition> + use<> {
    (0..ring.partitions().count()).map(|number| Partition(number as u16))
}

/// The present members in the order of [`Ring::members`].
fn present(members: &[RingMember]) -> Vec<&RingMember> {
    let mut present: Vec<&RingMember> = members.iter().filter(|member| member.left.is_none()).collect();
    present.sort_by_key(|member| member.id);
    present
}

/// Who fails together: the zone, or the node itself.
fn zones_of(present: &[&RingMember]) -> Vec<String> {
    present.iter().map(|m| if m.zone.is_empty() { m.id.to_string() } else { m.zone.clone() }).collect()
}

fn loads(ring: &Ring, n: usize) -> BTreeMap<NodeId, i64> {
    let mut loads: BTreeMap<NodeId, i64> = ring.members().iter().map(|&id| (id, 0)).collect();
    for home in partitions(ring).flat_map(|partition| ring.homes(partition, n)) {
        *loads.entry(ring.members()[usize::from(*home)]).or_default() += 1;
    }
    loads
}

/// The naive fairness: one level for all, in partitions per unit of weight, found by halving.
fn shares(present: &[&RingMember], n: usize, count: f64) -> Vec<f64> {
    let zones = zones_of(present);
    let mut zone_weights: BTreeMap<&str, f64> = BTreeMap::new();
    for (zone, member) in zones.iter().zip(present) {
        *zone_weights.entry(zone).or_default() += f64::from(member.weight);
    }
    let at = |level: f64| -> Vec<f64> {
        let share = |(zone, member): (&String, &&RingMember)| {
            let (weight, zone_weight) = (f64::from(member.weight), zone_weights[zone.as_str()]);
            let once = count * weight / zone_weight;
            if n <= zone_weights.len() { once.min(level * weight) } else { once.max(level * weight).min(count) }
        };
        zones.iter().zip(present).map(share).collect()
    };
    let (mut low, mut high) = (0.0, count);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        let enough = at(middle).iter().sum::<f64>() >= count * n.min(present.len()) as f64;
        if enough { high = middle } else { low = middle }
    }
    at(high)
}

/// How far the worst load is from its share.
fn unevenness(ring: &Ring, members: &[RingMember], n: usize) -> f64 {
    let shares = shares(&present(members), n, f64::from(ring.partitions().count()));
    loads(ring, n).values().zip(shares).map(|(&load, share)| (load as f64 - share).abs()).fold(0.0, f64::max)
}

fn check_lists_and_zones(ring: &Ring, members: &[RingMember]) {
    let present = present(members);
    let zones = zones_of(&present);
    let zone_count = zones.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(ring.members(), present.iter().map(|member| member.id).collect::<Vec<_>>());
    for partition in partitions(ring) {
        let list = ring.preference(partition);
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..present.len() as u16).collect::<Vec<_>>());
        let first: BTreeSet<_> = list[..zone_count].iter().map(|&home| &zones[usize::from(home)]).collect();
        assert_eq!(first.len(), zone_count, "{list:?} of {members:?}");
    }
}

/// All laws that hold for every ring. `even` tells up to which n the load of each node is its share, rounded.
fn check(ring: &Ring, members: &[RingMember]) {
    check_lists_and_zones(ring, members);
    for (n, bound) in [(1, 1.0), (2, 2.0), (3, 1.0)] {
        let worst = unevenness(ring, members, n);
        assert!(worst < bound + 1e-6, "n {n}: {worst} off, {members:?}, Q {}", ring.partitions().count());
    }
}

/// Homes that were not homes before: how many the node `who` got, and how many all others.
fn moved(before: &Ring, after: &Ring, n: usize, who: NodeId) -> (i64, i64) {
    let (mut own, mut others) = (0, 0);
    for partition in partitions(after) {
        let former: Vec<NodeId> =
            before.homes(partition, n).iter().map(|&home| before.members()[usize::from(home)]).collect();
        for &home in after.homes(partition, n) {
            let home = after.members()[usize::from(home)];
            match (former.contains(&home), home == who) {
                (true, _) => {}
                (false, true) => own += 1,
                (false, false) => others += 1,
            }
        }
    }
    (own, others)
}

fn small_rings(zone_counts: std::ops::RangeInclusive<u64>, count_bits: std::ops::RangeInclusive<u32>) {
    for (zone_count, bits) in zone_counts.flat_map(|zones| count_bits.clone().map(move |bits| (zones, bits))) {
        for heaviest in [1, 2, 5] {
            let members: Vec<RingMember> = (0..12)
                .map(|n| member(n, if zone_count == 0 { 0 } else { 1 + n % zone_count }, 1 + n as u32 * 7 % heaviest))
                .collect();
            (1..=members.len()).for_each(|size| check(&ring(&members[..size], 1 << bits), &members[..size]));
        }
    }
}

#[test]
fn all_small_rings_without_zones_or_with_one_are_fair() {
    small_rings(0..=1, 0..=6);
}

#[test]
fn all_small_rings_with_zones_are_fair_and_spread() {
    small_rings(2..=5, 0..=6);
}
