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

/// In `row`, the node in `seat` makes room for `enters`.
#[derive(Clone, Copy)]
struct Move {
    row: usize,
    seat: usize,
    leaves: u32,
    enters: u32,
}

impl Seats {
    /// Moves nodes along shortest chains until every load is within one of its share, or no chain helps.
    pub(super) fn even_out(&mut self, stage: &mut Stage) {
        let mut hopeless = Vec::new();
        for _ in 0..self.row_count() * (stage.prefix + 1) + self.present().len() {
            let uneven = self.present().iter().filter(|&&node| stage.excess[node as usize].abs() >= UNIT);
            let worst = uneven
                .filter(|node| !hopeless.contains(*node))
                .max_by_key(|&&node| (stage.excess[node as usize].abs(), node));
            let Some(&node) = worst else { return };
            let Some(chain) = self.chain(stage, node) else {
                hopeless.push(node);
                continue;
            };
            for step in chain {
                if self.row(step.row)[step.seat] == step.leaves
                    && self.may_enter(stage, step.row, step.seat, step.enters)
                {
                    self.seat(stage, step.row, step.seat, step.enters);
                }
            }
        }
    }

    /// The shortest chain from a node with too many to one below its share, or from one above its share to a node with
    /// too few; failing that, the chain that helps most.
    fn chain(&self, stage: &Stage, start: u32) -> Option<Vec<Move>> {
        let sheds = stage.excess[start as usize] > 0;
        let sign = if sheds { 1 } else { -1 };
        let need = |node: u32| sign * stage.excess[node as usize];
        let mut came: Vec<Option<Move>> = vec![None; stage.excess.len()];
        let mut queue = VecDeque::from([start]);
        let mut best = start;
        'search: while let Some(node) = queue.pop_front() {
            for step in self.moves(stage, node, sheds) {
                let other = if sheds { step.enters } else { step.leaves };
                if other == start || came[other as usize].is_some() {
                    continue;
                }
                came[other as usize] = Some(step);
                if need(other) < need(best) {
                    best = other;
                }
                if need(other) < 0 {
                    best = other;
                    break 'search;
                }
                queue.push_back(other);
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

    /// All moves by which `node` leaves a seat (`sheds`), or enters one.
    fn moves<'a>(&'a self, stage: &'a Stage, node: u32, sheds: bool) -> impl Iterator<Item = Move> + 'a {
        let seats = move |row: usize| {
            stage.seats.clone().filter(move |&seat| !sheds || self.row(row)[seat] == node).map(move |seat| (row, seat))
        };
        (0..self.row_count()).flat_map(seats).flat_map(move |(row, seat)| {
            let entrants: &[u32] = match (stage.next_only, sheds) {
                (true, true) => &self.row(row)[stage.prefix..=stage.prefix],
                (true, false) if self.row(row)[stage.prefix] != node => &[],
                (false, true) => self.present(),
                (_, false) => {
                    let place = self.present().partition_point(|&other| other < node);
                    &self.present()[place..=place]
                }
            };
            let leaves = self.row(row)[seat];
            let fit = entrants.iter().filter(move |&&enters| self.may_enter(stage, row, seat, enters));
            fit.map(move |&enters| Move { row, seat, leaves, enters })
        })
    }
}
