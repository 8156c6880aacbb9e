//! The seating plan: the balanced ranks of every partition's list, and how a join or a leave changes it.
//!
//! A row is a partition, its seats are ranks. See the module above for the picture and the three kinds of stages.
//!
//! # Invariants, after every step of the replay
//! - A row holds `width` = min([`RANKS`], present members) distinct present nodes.
//! - The first min(`width`, zones) seats of a row lie in distinct zones.

use super::shares::{UNIT, shares};
use super::{RANKS, RingMember};
use std::collections::BTreeMap;
use std::ops::Range;

/// A seat nobody sits in; only inside a step.
pub(super) const VACANT: u32 = u32::MAX;

/// What the replay knows about a node.
struct Node {
    zone: u32,
    weight: u64,
    seed: u64,
    is_present: bool,
}

/// The seating plan after some part of history. Nodes are numbered by order of joining.
pub(super) struct Seats {
    nodes: Vec<Node>,
    present: Vec<u32>,
    zone_count: usize,
    width: usize,
    rows: Vec<[u32; RANKS]>,
    /// The rows as they were before the current step.
    former: Vec<[u32; RANKS]>,
}

/// One prefix of all rows that is to be balanced, and which moves are allowed.
pub(super) struct Stage {
    /// Loads are counted over the first `prefix` seats of each row.
    pub(super) prefix: usize,
    /// The seats whose occupant may change, below `prefix`.
    pub(super) seats: Range<usize>,
    /// Whether only the occupant of the row's next seat may come in (by swapping), or anyone outside the prefix.
    pub(super) next_only: bool,
    /// Load minus share of each node, in [`UNIT`]s; kept up to date by [`Seats::seat`].
    pub(super) excess: Vec<i64>,
    /// The same for each shorter prefix that the moves touch: the entry for prefix n is at n − 1.
    inner: Vec<Vec<i64>>,
}

impl Stage {
    /// Whether `node` is above its share in every shorter prefix that `seat` counts for.
    pub(super) fn is_rich(&self, node: u32, seat: usize) -> bool {
        self.inner.iter().skip(seat).all(|excess| excess[node as usize] > 0)
    }

    /// Whether `node` is below its share in every prefix that `seat` counts for.
    pub(super) fn is_poor(&self, node: u32, seat: usize) -> bool {
        self.inner.iter().skip(seat).chain([&self.excess]).all(|excess| excess[node as usize] < 0)
    }

    /// The sum of a node's excesses in the prefixes that `seat` counts for.
    pub(super) fn wealth(&self, node: u32, seat: usize) -> i64 {
        self.inner.iter().skip(seat).chain([&self.excess]).map(|excess| excess[node as usize]).sum()
    }
}

/// A number drawn for a node and a partition: uniform, and the same on every machine.
pub(super) fn draw(seed: u64, row: usize) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&(row as u64).to_le_bytes(), seed)
}

impl Seats {
    /// An empty plan; `history` says who may come.
    pub(super) fn new(history: &[&RingMember], row_count: usize) -> Seats {
        let mut zones = BTreeMap::new();
        let mut node = |(number, member): (usize, &&RingMember)| {
            let own = zones.len() as u32;
            let key = if member.zone.is_empty() { Err(number) } else { Ok(member.zone.clone()) };
            let zone = *zones.entry(key).or_insert(own);
            let seed = xxhash_rust::xxh3::xxh3_64(&member.id.0);
            Node { zone, weight: u64::from(member.weight.max(1)), seed, is_present: false }
        };
        let nodes = history.iter().enumerate().map(&mut node).collect();
        let rows = vec![[VACANT; RANKS]; row_count];
        Seats { nodes, present: Vec::new(), zone_count: 0, width: 0, former: rows.clone(), rows }
    }

    /// The occupants of a row, first rank first.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.rows[row][..self.width]
    }

    /// How many seats a row has.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Number of partitions.
    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The present nodes, in order of joining.
    pub(super) fn present(&self) -> &[u32] {
        &self.present
    }

    /// How many zones the present nodes lie in.
    pub(super) fn zone_count(&self) -> usize {
        self.zone_count
    }

    /// A node's zone.
    pub(super) fn zone(&self, node: u32) -> u32 {
        self.nodes[node as usize].zone
    }

    /// A node's weight, at least 1.
    pub(super) fn weight(&self, node: u32) -> u64 {
        self.nodes[node as usize].weight
    }

    /// What a node's lots are drawn with.
    pub(super) fn seed(&self, node: u32) -> u64 {
        self.nodes[node as usize].seed
    }

    /// Begins a step: a node joins. While rows are short it gets the last seat of each.
    pub(super) fn add(&mut self, node: u32) {
        self.former.copy_from_slice(&self.rows);
        self.present.push(node);
        self.nodes[node as usize].is_present = true;
        self.count_zones();
        if self.width < RANKS {
            self.rows.iter_mut().for_each(|row| row[self.width] = node);
            self.width += 1;
        }
    }

    /// Begins a step: a node leaves; its seats are vacant, or go when rows get shorter.
    pub(super) fn remove(&mut self, node: u32) {
        self.former.copy_from_slice(&self.rows);
        self.present.retain(|&other| other != node);
        self.nodes[node as usize].is_present = false;
        self.count_zones();
        for row in &mut self.rows {
            if let Some(seat) = row[..self.width].iter().position(|&occupant| occupant == node) {
                row[seat] = VACANT;
                if self.present.len() < self.width {
                    row[seat..self.width].rotate_left(1);
                }
            }
        }
        self.width = self.width.min(self.present.len());
    }

    fn count_zones(&mut self) {
        let mut zones: Vec<u32> = self.present.iter().map(|&node| self.zone(node)).collect();
        zones.sort_unstable();
        zones.dedup();
        self.zone_count = zones.len();
    }

    /// Counts loads and shares for a prefix.
    pub(super) fn stage(&self, prefix: usize, seats: Range<usize>, next_only: bool) -> Stage {
        let facts: Vec<(u32, u64)> = self.present.iter().map(|&node| (self.zone(node), self.weight(node))).collect();
        let excess = |prefix: usize| {
            let mut excess = vec![0; self.nodes.len()];
            for (&node, share) in self.present.iter().zip(shares(prefix, self.rows.len(), &facts)) {
                excess[node as usize] = -share;
            }
            for &node in self.rows.iter().flat_map(|row| &row[..prefix]).filter(|&&node| node != VACANT) {
                excess[node as usize] += UNIT;
            }
            excess
        };
        let inner = if seats.len() > 1 { (1..prefix).map(excess).collect() } else { Vec::new() };
        Stage { prefix, seats, next_only, excess: excess(prefix), inner }
    }

    /// Whether `node` may take that seat: it is not in the prefix yet, and its zone is in none of the other seats that
    /// must be spread.
    pub(super) fn may_enter(&self, stage: &Stage, row: usize, seat: usize, node: u32) -> bool {
        let prefix = &self.rows[row][..stage.prefix];
        if seat >= self.zone_count {
            return !prefix.contains(&node);
        }
        let zone = self.zone(node);
        let clashes = |(place, &other): (usize, &u32)| {
            let spread = place != seat && place < self.zone_count && other != VACANT;
            other == node || spread && self.zone(other) == zone
        };
        !prefix.iter().enumerate().any(clashes)
    }

    /// Whether replacing one node by another in a row's prefix moves no data beyond what this step moves already: the
    /// one that leaves only came in this step, or the one that enters was there before it.
    pub(super) fn is_free(&self, stage: &Stage, row: usize, leaves: u32, enters: u32) -> bool {
        let former = &self.former[row][..stage.prefix];
        !former.contains(&leaves) || former.contains(&enters)
    }

    /// All that could replace a node in a row's prefix for free, and perhaps some that are gone.
    pub(super) fn free_entrants(&self, stage: &Stage, row: usize, leaves: u32) -> &[u32] {
        let former = &self.former[row][..stage.prefix];
        if former.contains(&leaves) { former } else { &self.present }
    }

    /// Whether a node is a member now.
    pub(super) fn is_present(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| node.is_present)
    }

    /// Whether a row's prefix has changed in this step: only there can a move be free.
    pub(super) fn has_changed(&self, stage: &Stage, row: usize) -> bool {
        self.former[row][..stage.prefix] != self.rows[row][..stage.prefix]
    }

    /// Puts `node` in a seat. Whoever sat there takes the newcomer's former seat in that row, if it had one.
    pub(super) fn seat(&mut self, stage: &mut Stage, row: usize, seat: usize, node: u32) {
        let places = &mut self.rows[row][..self.width];
        let former = places[seat];
        if let Some(later) = places.iter().position(|&other| other == node) {
            places.swap(seat, later);
        } else {
            places[seat] = node;
        }
        for excess in stage.inner.iter_mut().skip(seat).chain([&mut stage.excess]) {
            if former != VACANT {
                excess[former as usize] -= UNIT;
            }
            excess[node as usize] += UNIT;
        }
    }
}
