//! Evening out by chains of moves.
//!
//! Someone has a book too many and someone else one too few, but they do not share a shelf. So the first gives a book
//! to a neighbour, who gives one to the next, until it reaches the one in need. The shortest such chain is found by
//! breadth-first search; chains are augmenting paths of a flow problem (rows → zones of a row → nodes), so when no
//! chain exists, no seating that these moves can reach is more even.
//!
//! # Limits
//! Every chain makes the sum of squared excesses smaller, or its start is given up; the number of chains is bounded
//! besides.

use super::seats::{Seats, Stage};
use super::shares::UNIT;
use std::collections::VecDeque;

/// How many nodes a search for a free chain looks behind: past that, moving a little more data is cheaper.
const FREE_SEARCH_MAX: usize = 12;

/// In `row`, the node in `seat` makes room for `enters`.
#[derive(Clone, Copy)]
struct Move {
    row: usize,
    seat: usize,
    leaves: u32,
    enters: u32,
}

/// The rows in which moves are looked for, and where each node sits in them.
struct Reach {
    /// Whether only moves count that move no further data.
    free_only: bool,
    rows: Vec<u32>,
    rows_of: Vec<Vec<u32>>,
}

impl Reach {
    fn new(seats: &Seats, stage: &Stage, free_only: bool) -> Reach {
        let in_reach = |row: &u32| !free_only || seats.has_changed(stage, *row as usize);
        let rows: Vec<u32> = (0..seats.row_count() as u32).filter(in_reach).collect();
        let mut rows_of = vec![Vec::new(); stage.excess.len()];
        for &row in &rows {
            for &node in seats.row(row as usize) {
                // A seat behind the prefix may be vacant still.
                if let Some(rows) = rows_of.get_mut(node as usize) {
                    rows.push(row);
                }
            }
        }
        Reach { free_only, rows, rows_of }
    }
}

impl Seats {
    /// Moves nodes along shortest chains until every load is within one of its share, or no chain helps. Chains that
    /// move no further data come first.
    pub(super) fn even_out(&mut self, stage: &mut Stage) {
        for free_only in [true, false] {
            if self.worst(stage, &[]).is_some() {
                let mut reach = Reach::new(self, stage, free_only);
                self.even_out_within(stage, &mut reach);
            }
        }
    }

    /// The most uneven node, of those at least one away from their share. `except` is indexed by node, or empty.
    pub(super) fn worst(&self, stage: &Stage, except: &[bool]) -> Option<u32> {
        let distance = |node: u32| stage.excess[node as usize].abs();
        let is_excepted = |node: u32| except.get(node as usize).is_some_and(|&is_in| is_in);
        let uneven = self.present().iter().copied().filter(|&node| distance(node) >= UNIT && !is_excepted(node));
        uneven.max_by_key(|&node| (distance(node), node))
    }

    fn even_out_within(&mut self, stage: &mut Stage, reach: &mut Reach) {
        let mut hopeless = vec![false; stage.excess.len()];
        for _ in 0..self.row_count() * (stage.prefix + 1) + self.present().len() {
            let Some(node) = self.worst(stage, &hopeless) else { return };
            let Some(chain) = self.chain(stage, reach, node) else {
                hopeless[node as usize] = true;
                continue;
            };
            for step in chain {
                self.make(stage, reach, step);
            }
        }
    }

    /// Makes a move, unless an earlier one of the same chain got in its way.
    fn make(&mut self, stage: &mut Stage, reach: &mut Reach, step: Move) {
        let Move { row, seat, leaves, enters } = step;
        if self.row(row)[seat] != leaves || !self.may_enter(stage, row, seat, enters) {
            return;
        }
        if !self.row(row).contains(&enters) {
            reach.rows_of[enters as usize].push(row as u32);
            reach.rows_of[leaves as usize].retain(|&other| other != row as u32);
        }
        self.seat(stage, row, seat, enters);
    }

    /// The shortest chain from a node with too many to one below its share, or from one above its share to a node with
    /// too few; failing that, the chain that helps most.
    fn chain(&self, stage: &Stage, reach: &Reach, start: u32) -> Option<Vec<Move>> {
        let sheds = stage.excess[start as usize] > 0;
        let need = |node: u32| if sheds { stage.excess[node as usize] } else { -stage.excess[node as usize] };
        let mut came: Vec<Option<Move>> = vec![None; stage.excess.len()];
        let mut queue = VecDeque::from([start]);
        let mut best = start;
        let steps_max = if reach.free_only { FREE_SEARCH_MAX } else { self.present().len() };
        for _ in 0..steps_max {
            let Some(node) = queue.pop_front().filter(|_| need(best) >= 0) else { break };
            let mut visit = |step: Move| {
                let other = if sheds { step.enters } else { step.leaves };
                let known = other == start || came[other as usize].is_some();
                if known
                    || !self.may_enter(stage, step.row, step.seat, step.enters)
                    || reach.free_only && !self.is_free(stage, step.row, step.leaves, step.enters)
                {
                    return false;
                }
                came[other as usize] = Some(step);
                queue.push_back(other);
                if need(other) < need(best) {
                    best = other;
                }
                need(other) < 0
            };
            if sheds {
                self.leaving(stage, reach, node, &mut visit)
            } else {
                self.entering(stage, reach, node, &mut visit)
            }
        }
        if need(start) - need(best) <= UNIT {
            return None;
        }
        let mut chain = Vec::new();
        while let Some(step) = came[best as usize] {
            chain.push(step);
            best = if sheds { step.leaves } else { step.enters };
        }
        Some(chain)
    }

    /// Shows `visit` what may be moves by which `node` leaves a seat, until it has seen enough.
    fn leaving(&self, stage: &Stage, reach: &Reach, node: u32, visit: &mut impl FnMut(Move) -> bool) {
        for row in reach.rows_of[node as usize].iter().map(|&row| row as usize) {
            let places = self.row(row);
            let Some(seat) = stage.seats.clone().find(|&seat| places[seat] == node) else { continue };
            let entrants = if stage.next_only {
                &places[stage.prefix..=stage.prefix]
            } else if reach.free_only {
                self.free_entrants(stage, row, node)
            } else {
                self.present()
            };
            if entrants
                .iter()
                .filter(|&&enters| self.is_present(enters))
                .any(|&enters| visit(Move { row, seat, leaves: node, enters }))
            {
                return;
            }
        }
    }

    /// Shows `visit` what may be moves by which `node` enters a seat, until it has seen enough.
    fn entering(&self, stage: &Stage, reach: &Reach, node: u32, visit: &mut impl FnMut(Move) -> bool) {
        let rows = if stage.next_only { &reach.rows_of[node as usize] } else { &reach.rows };
        for row in rows.iter().map(|&row| row as usize) {
            let places = self.row(row);
            if stage.next_only && places[stage.prefix] != node {
                continue;
            }
            if stage.seats.clone().any(|seat| visit(Move { row, seat, leaves: places[seat], enters: node })) {
                return;
            }
        }
    }
}
