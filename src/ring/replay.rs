//! Playing the history: what each join and each leave changes in the seating plan.
//!
//! A step settles one prefix of all rows after the other, the anchor first; see the module above for the picture. In
//! each, wrong seats are filled, a joiner takes its share, and what is left uneven is evened out.

use super::RingMember;
use super::seats::{Seats, Stage, VACANT, draw};
use super::shares::UNIT;
use std::ops::Range;

/// How many ranks move as little as possible: the N of nearly every database.
const ANCHOR: usize = 3;

/// How often [`Seats::reconcile`] tries.
const RECONCILE_ROUNDS: usize = 8;

/// Which swaps are considered, pickiest first.
#[derive(Clone, Copy)]
enum Choice {
    Ranked,
    Free,
    Any,
}

/// Plays `history` (sorted by order of joining) for `row_count` partitions.
pub(super) fn replay(history: &[&RingMember], row_count: usize) -> Seats {
    let mut steps = Vec::with_capacity(2 * history.len());
    for (number, member) in history.iter().enumerate() {
        if member.left.is_none_or(|left| left > member.joined) {
            steps.push((member.joined, false, number as u32));
            steps.extend(member.left.map(|left| (left, true, number as u32)));
        }
    }
    steps.sort_unstable();
    let mut seats = Seats::new(history, row_count);
    for (_, leaves, node) in steps {
        if leaves {
            seats.remove(node);
            seats.settle(None);
        } else {
            seats.add(node);
            seats.settle(Some(node));
        }
    }
    seats
}

impl Seats {
    /// Restores the invariants and the balance after a change of members.
    fn settle(&mut self, joiner: Option<u32>) {
        // With two zones the first two ranks decide which nodes may be doubled up in the third: they go first.
        let anchor = if self.zone_count() == 2 { 2 } else { ANCHOR }.min(self.width());
        if anchor == 0 {
            return;
        }
        let turns = joiner.map(|node| (node, self.turns(node)));
        self.settle_outside(anchor, 0..anchor, turns.as_ref());
        if anchor < ANCHOR.min(self.width()) {
            self.settle_outside(ANCHOR, anchor..ANCHOR, turns.as_ref());
            self.reconcile(anchor);
        }
        for prefix in (1..anchor).rev() {
            let mut stage = self.stage(prefix, 0..prefix, true);
            self.swap_inside(&mut stage, joiner);
            self.even_out(&mut stage);
        }
        for prefix in ANCHOR + 1..=self.width() {
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
            (0..self.row_count()).map(|row| (draw(self.seed(joiner), row), row as u32)).collect();
        rows.sort_unstable();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// Gives every vacant seat, and every seat whose occupant's zone is already in the row, to whoever has least.
    fn fill(&mut self, stage: &mut Stage) {
        for row in 0..self.row_count() {
            for seat in stage.seats.clone() {
                if self.is_sound(stage, row, seat) {
                    continue;
                }
                let fit = self.present().iter().filter(|&&node| self.may_enter(stage, row, seat, node));
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
        let places = self.row(row);
        let before = places[..seat].iter().filter(|&&other| other != VACANT);
        places[seat] != VACANT
            && (stage.prefix > self.zone_count()
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
                let occupant = |seat: usize| self.row(row)[seat];
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
        for _ in 0..self.row_count() {
            let Some(&choice) = choices.peek().filter(|_| self.worst(stage, &[]).is_some()) else { return };
            let mut swapped = false;
            for row in 0..self.row_count() {
                let enters = self.row(row)[stage.prefix];
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
        let excess = |seat: usize| stage.excess[self.row(row)[seat] as usize];
        let (enters, incoming) = (self.row(row)[stage.prefix], excess(stage.prefix));
        let helps = |&seat: &usize| {
            let leaves = self.row(row)[seat];
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
