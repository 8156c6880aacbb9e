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

/// The laws that hold for every ring.
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

/// A history: each entry is a join (zone, weight) or, where there is someone to leave, a leave (of which node).
fn histories() -> impl Strategy<Value = Vec<(bool, u64, u32)>> {
    (0u64..=5, 1u32..=5).prop_flat_map(|(zones, heaviest)| {
        proptest::collection::vec((proptest::bool::weighted(0.3), 0..=zones, 1..=heaviest), 1..24)
    })
}

/// The member list after each step of a history, and who joined or left.
fn unfold(history: &[(bool, u64, u32)]) -> Vec<(Vec<RingMember>, NodeId, bool)> {
    let mut members: Vec<RingMember> = Vec::new();
    let mut steps = Vec::new();
    for (step, &(leaves, pick, weight)) in history.iter().enumerate() {
        let present: Vec<usize> = (0..members.len()).filter(|&index| members[index].left.is_none()).collect();
        let leaves = leaves && present.len() > 1;
        if leaves {
            let index = present[(pick as usize * 7 + step) % present.len()];
            members[index].left = Some(step as u64);
            steps.push((members.clone(), members[index].id, true));
        } else {
            members.push(member(step as u64, pick, weight));
            steps.push((members.clone(), id(step as u64), false));
        }
    }
    steps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_ring_of_every_history_is_fair_and_spread(history in histories(), bits in 0u32..=8) {
        for (members, ..) in unfold(&history) {
            check(&ring(&members, 1 << bits), &members);
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(history in histories(), seed in any::<u64>()) {
        let Some((members, ..)) = unfold(&history).pop() else { return Ok(()) };
        let mut shuffled = members.clone();
        shuffled.sort_by_key(|member| xxhash_rust::xxh3::xxh3_64_with_seed(&member.id.0, seed));
        prop_assert_eq!(ring(&members, 64), ring(&shuffled, 64));
    }

    #[test]
    fn each_step_moves_little(history in histories(), bits in 0u32..=8) {
        let steps = unfold(&history);
        for (before, (members, who, leaves)) in steps.iter().zip(&steps[1..]).map(|(before, step)| (&before.0, step)) {
            let (old, new) = (ring(before, 1 << bits), ring(members, 1 << bits));
            let (own, others) = moved(&old, &new, 3, *who);
            if *leaves {
                let held = loads(&old, 3)[who];
                prop_assert!(own == 0 && others <= 2 * held + 8, "{others} moved for {held} held");
            } else {
                let held = loads(&new, 3)[who];
                prop_assert!(own == held && others <= held / 4 + 8, "{others} moved elsewhere for {held} of the joiner");
            }
        }
    }
}

/// Joins `size` nodes, then lets every third leave; sums what was due to move and what moved besides, for joins and for
/// leaves.
fn total_movement(size: u64, zone_count: u64, n: usize) -> [(i64, i64); 2] {
    let zone = |number: u64| if zone_count == 0 { 0 } else { 1 + number % zone_count };
    let mut members: Vec<RingMember> = Vec::new();
    let mut old = ring(&members, 256);
    let mut totals = [(0, 0); 2];
    for step in 0..size + size / 3 {
        let leaves = step >= size;
        let who = if leaves { 3 * (step - size) } else { step };
        let due;
        if leaves {
            members[who as usize].left = Some(step);
            due = loads(&old, n)[&id(who)];
        } else {
            members.push(member(who, zone(who), 1));
            due = 0;
        }
        let new = ring(&members, 256);
        let (own, others) = moved(&old, &new, n, id(who));
        totals[usize::from(leaves)].0 += due + own;
        totals[usize::from(leaves)].1 += others - due;
        old = new;
    }
    totals
}

#[test]
fn without_zones_three_or_more_homes_move_exactly_what_is_due() {
    for n in [3, 4, 5] {
        let [joins, leaves] = total_movement(15, 0, n);
        assert!(joins.0 > 1500 && leaves.0 > 250, "{joins:?} {leaves:?}");
        assert_eq!((joins.1, leaves.1), (0, 0), "n {n}");
    }
}

#[test]
fn with_zones_or_fewer_homes_little_else_moves() {
    for (zone_count, n) in [(3, 3), (4, 3), (2, 3), (0, 2), (0, 1)] {
        let [joins, leaves] = total_movement(12, zone_count, n);
        assert!(joins.1 * 7 <= joins.0 && leaves.1 * 5 <= leaves.0, "{zone_count} {n} {joins:?} {leaves:?}");
    }
}

#[test]
fn a_ring_of_many_partitions_is_fair() {
    let members: Vec<RingMember> = (0..5).map(|number| member(number, 0, 1 + number as u32 % 2)).collect();
    check(&ring(&members, 4096), &members);
}

#[test]
fn extreme_weights_are_carried_as_far_as_zones_allow() {
    for zone_count in 1..=4 {
        let weights = [u32::MAX, 1, 1_000_000, 3, u32::MAX, 0, 77];
        let members: Vec<RingMember> =
            weights.iter().zip(0..).map(|(&weight, n)| member(n, 1 + n % zone_count, weight.max(1))).collect();
        check(&ring(&members, 256), &members);
    }
}

/// Nodes of two versions of this program must compute the same ring: if this test fails, data would be sought in vain.
#[test]
fn the_ring_of_given_members_never_changes() {
    let four: Vec<RingMember> = (0..4).map(|number| member(number, 0, 1)).collect();
    let ring = ring(&four, 8);
    let lists: Vec<&[u16]> = partitions(&ring).map(|partition| ring.preference(partition)).collect();
    let expected = [
        [2, 0, 3, 1],
        [0, 1, 3, 2],
        [2, 1, 0, 3],
        [1, 3, 0, 2],
        [1, 3, 2, 0],
        [3, 0, 2, 1],
        [0, 2, 1, 3],
        [3, 2, 1, 0],
    ];
    assert_eq!(lists, expected);
}

#[test]
fn nobody_and_nowhere_have_no_homes() {
    let empty = ring(&[], 4);
    assert!(empty.members().is_empty() && empty.homes(Partition(0), 3).is_empty());
    let one = ring(&[member(1, 0, 0)], 4);
    assert_eq!((one.homes(Partition(3), 3), one.homes(Partition(4), 3)), (&[0][..], &[][..]));
}

#[test]
fn who_left_before_joining_never_took_part() {
    let mut members: Vec<RingMember> = (0..6).map(|number| member(number, 0, 1)).collect();
    let without = ring(&members, 64);
    members.push(RingMember { joined: 3, left: Some(2), ..member(9, 0, 1) });
    assert_eq!(ring(&members, 64), without);
}

#[test]
fn the_load_of_a_failed_node_spreads_over_all() {
    let members: Vec<RingMember> = (0..12).map(|number| member(number, 0, 1 + 2 * u32::from(number == 0))).collect();
    let ring = ring(&members, 1024);
    for n in [3, 8] {
        let failed = 5;
        let lists = partitions(&ring).map(|partition| ring.preference(partition));
        let mut stand_ins: BTreeMap<u16, u32> = BTreeMap::new();
        for list in lists.filter(|list| list[..n].contains(&failed)) {
            *stand_ins.entry(list[n]).or_default() += 1;
        }
        let most = stand_ins.values().max().copied().unwrap_or(0);
        assert!(stand_ins.len() >= 10 && most <= 250, "{stand_ins:?}");
    }
}

#[test]
fn heavier_nodes_draw_better_lots() {
    let members: Vec<RingMember> = (0..30).map(|number| member(number, 0, 1 + 2 * u32::from(number >= 15))).collect();
    let ring = ring(&members, 1024);
    let is_heavy = |node: &&u16| members[15..].iter().any(|member| member.id == ring.members()[usize::from(**node)]);
    let sixth: Vec<u16> = partitions(&ring).map(|partition| ring.preference(partition)[5]).collect();
    let heavy = sixth.iter().filter(is_heavy).count();
    // Three quarters of the weight is heavy, a little less of what five homes have left over.
    assert!((620..820).contains(&heavy), "{heavy}");
}
