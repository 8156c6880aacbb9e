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

/// How many ranks move as little as possible: the N of nearly every database.
const ANCHOR: usize = 3;

/// How often [`Seats::reconcile`] tries.
const RECONCILE_ROUNDS: usize = 8;

/// A seat nobody sits in; only inside a step.
const VACANT: u32 = u32::MAX;

/// What does not change about a node while history is replayed.
struct Node {
    zone: u32,
    weight: u64,
    seed: u64,
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
    fn is_rich(&self, node: u32, seat: usize) -> bool {
        self.inner.iter().skip(seat).all(|excess| excess[node as usize] > 0)
    }

    /// Whether `node` is below its share in every prefix that `seat` counts for.
    fn is_poor(&self, node: u32, seat: usize) -> bool {
        self.inner.iter().skip(seat).chain([&self.excess]).all(|excess| excess[node as usize] < 0)
    }

    /// The sum of a node's excesses in the prefixes that `seat` counts for.
    fn wealth(&self, node: u32, seat: usize) -> i64 {
        self.inner.iter().skip(seat).chain([&self.excess]).map(|excess| excess[node as usize]).sum()
    }
}

/// Which swaps are considered, pickiest first.
#[derive(Clone, Copy)]
enum Choice {
    Ranked,
    Free,
    Any,
}

/// A number drawn for a node and a partition: uniform, and the same on every machine.
pub(super) fn draw(seed: u64, row: usize) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(&(row as u64).to_le_bytes(), seed)
}

/// Plays `history` (sorted by order of joining) for `row_count` partitions.
pub(super) fn replay(history: &[&RingMember], row_count: usize) -> Seats {
    let mut zones = BTreeMap::new();
    let mut nodes = Vec::with_capacity(history.len());
    let mut steps = Vec::with_capacity(2 * history.len());
    for (number, member) in history.iter().enumerate() {
        let own = zones.len() as u32;
        let key = if member.zone.is_empty() { Err(number) } else { Ok(member.zone.as_str()) };
        let zone = *zones.entry(key).or_insert(own);
        let seed = xxhash_rust::xxh3::xxh3_64(&member.id.0);
        nodes.push(Node { zone, weight: u64::from(member.weight.max(1)), seed });
        if member.left.is_none_or(|left| left > member.joined) {
            steps.push((member.joined, false, number as u32));
            steps.extend(member.left.map(|left| (left, true, number as u32)));
        }
    }
    steps.sort_unstable();
    let rows = vec![[VACANT; RANKS]; row_count];
    let mut seats = Seats { nodes, present: Vec::new(), zone_count: 0, width: 0, former: rows.clone(), rows };
    for (_, leaves, node) in steps {
        seats.former.copy_from_slice(&seats.rows);
        if leaves { seats.leave(node) } else { seats.join(node) }
    }
    seats
}

impl Seats {
    /// The occupants of a row, first rank first.
    pub(super) fn row(&self, row: usize) -> &[u32] {
        &self.rows[row][..self.width]
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

    fn join(&mut self, node: u32) {
        self.present.push(node);
        self.count_zones();
        if self.width < RANKS {
            self.rows.iter_mut().for_each(|row| row[self.width] = node);
            self.width += 1;
        }
        self.settle(Some(node));
    }

    fn leave(&mut self, node: u32) {
        self.present.retain(|&other| other != node);
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
        self.settle(None);
    }

    fn count_zones(&mut self) {
        let mut zones: Vec<u32> = self.present.iter().map(|&node| self.zone(node)).collect();
        zones.sort_unstable();
        zones.dedup();
        self.zone_count = zones.len();
    }

    /// Restores the invariants and the balance after a change of members.
    fn settle(&mut self, joiner: Option<u32>) {
        // With two zones the first two ranks decide which nodes may be doubled up in the third: they go first.
        let anchor = if self.zone_count == 2 { 2 } else { ANCHOR }.min(self.width);
        if anchor == 0 {
            return;
        }
        let turns = joiner.map(|node| (node, self.turns(node)));
        self.settle_outside(anchor, 0..anchor, turns.as_ref());
        if anchor < ANCHOR.min(self.width) {
            self.settle_outside(ANCHOR, anchor..ANCHOR, turns.as_ref());
            self.reconcile(anchor);
        }
        for prefix in (1..anchor).rev() {
            let mut stage = self.stage(prefix, 0..prefix, true);
            self.swap_inside(&mut stage, joiner);
            self.even_out(&mut stage);
        }
        for prefix in ANCHOR + 1..=self.width {
            self.settle_outside(prefix, prefix - 1..prefix, turns.as_ref());
        }
    }

    /// With two zones, third seats may not suffice to even out three ranks: who shares a row with whom matters then.
    /// All three seats are evened out together, then the first two again, until both are even. A few rounds do.
    fn reconcile(&mut self, anchor: usize) {
        for _ in 0..RECONCILE_ROUNDS {
            let mut whole = self.stage(ANCHOR, 0..ANCHOR, false);
            if self.worst(&whole, &[]).is_none() {
                return;
            }
            self.even_out(&mut whole);
            for next_only in [true, false] {
                let mut stage = self.stage(anchor, 0..anchor, next_only);
                self.even_out(&mut stage);
            }
            let mut third = self.stage(ANCHOR, anchor..ANCHOR, false);
            self.even_out(&mut third);
        }
    }

    fn settle_outside(&mut self, prefix: usize, seats: Range<usize>, turns: Option<&(u32, Vec<u32>)>) {
        let mut stage = self.stage(prefix, seats, false);
        self.fill(&mut stage);
        if let Some((joiner, rows)) = turns {
            self.take_share(&mut stage, *joiner, rows);
        }
        self.even_out(&mut stage);
    }

    /// The order in which a joiner asks rows for a seat: drawn by lot.
    fn turns(&self, joiner: u32) -> Vec<u32> {
        let mut rows: Vec<(u64, u32)> =
            (0..self.rows.len()).map(|row| (draw(self.seed(joiner), row), row as u32)).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn stage(&self, prefix: usize, seats: Range<usize>, next_only: bool) -> Stage {
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

    /// Gives every vacant seat, and every seat whose occupant's zone is already in the row, to whoever has least.
    fn fill(&mut self, stage: &mut Stage) {
        for row in 0..self.rows.len() {
            for seat in stage.seats.clone() {
                if self.is_sound(stage, row, seat) {
                    continue;
                }
                let fit = self.present.iter().filter(|&&node| self.may_enter(stage, row, seat, node));
                let least = fit.min_by_key(|&&node| {
                    (stage.excess[node as usize] >= 0, stage.wealth(node, seat), draw(self.seed(node), row))
                });
                if let Some(&node) = least {
                    self.seat(stage, row, seat, node);
                }
            }
        }
    }

    fn is_sound(&self, stage: &Stage, row: usize, seat: usize) -> bool {
        let places = &self.rows[row];
        let before = places[..seat].iter().filter(|&&other| other != VACANT);
        places[seat] != VACANT
            && (stage.prefix > self.zone_count
                || before.map(|&other| self.zone(other)).all(|zone| zone != self.zone(places[seat])))
    }

    /// The joiner takes seats until it has its share: first from nodes that have at least one too many, and there
    /// first at ranks where it takes no more than its share and they are left with no less than theirs; then from
    /// nodes above their share.
    fn take_share(&mut self, stage: &mut Stage, joiner: u32, turns: &[u32]) {
        for (least, enough, ranked) in [(UNIT, 0, true), (UNIT, 0, false), (1, 1 - UNIT, false)] {
            for &row in turns {
                if stage.excess[joiner as usize] >= enough {
                    break;
                }
                let row = row as usize;
                let occupant = |seat: usize| self.rows[row][seat];
                let victims = stage.seats.clone().filter(|&seat| {
                    stage.excess[occupant(seat) as usize] >= least
                        && (!ranked || stage.is_poor(joiner, seat) && stage.is_rich(occupant(seat), seat))
                        && self.may_enter(stage, row, seat, joiner)
                });
                if let Some(seat) = victims.max_by_key(|&seat| (stage.excess[occupant(seat) as usize], seat)) {
                    self.seat(stage, row, seat, joiner);
                }
            }
        }
    }

    /// Swaps seats with the next one wherever that helps a node that is out of balance, until it no longer does: first
    /// for the joiner, at ranks where it helps the shorter prefixes too; then where it brings no home that was not one
    /// before; then anywhere.
    fn swap_inside(&mut self, stage: &mut Stage, joiner: Option<u32>) {
        let mut choices = [Choice::Ranked, Choice::Free, Choice::Any].into_iter().peekable();
        for _ in 0..self.rows.len() {
            let Some(&choice) = choices.peek().filter(|_| self.worst(stage, &[]).is_some()) else { return };
            let mut swapped = false;
            for row in 0..self.rows.len() {
                let enters = self.rows[row][stage.prefix];
                let is_candidate = match choice {
                    Choice::Ranked => joiner == Some(enters),
                    Choice::Free => self.has_changed(stage, row),
                    Choice::Any => true,
                };
                let swap = if is_candidate { self.best_swap(stage, row, choice) } else { None };
                if let Some(seat) = swap {
                    self.seat(stage, row, seat, enters);
                    swapped = true;
                }
            }
            if !swapped {
                choices.next();
            }
        }
    }

    /// The seat that it helps most to swap with the next one.
    fn best_swap(&self, stage: &Stage, row: usize, choice: Choice) -> Option<usize> {
        let excess = |seat: usize| stage.excess[self.rows[row][seat] as usize];
        let (enters, incoming) = (self.rows[row][stage.prefix], excess(stage.prefix));
        let helps = |&seat: &usize| {
            let leaves = self.rows[row][seat];
            excess(seat) - incoming > UNIT
                && (excess(seat) >= UNIT || incoming <= -UNIT)
                && match choice {
                    Choice::Ranked => stage.is_poor(enters, seat) && stage.is_rich(leaves, seat),
                    Choice::Free => self.is_free(stage, row, leaves, enters),
                    Choice::Any => true,
                }
        };
        stage.seats.clone().filter(helps).max_by_key(|&seat| (excess(seat), seat))
    }
}
