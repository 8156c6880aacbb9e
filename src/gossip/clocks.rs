//! Whose clock is right: the one in the middle (pitfall 24: one wrong clock decides every tie and lets everyone's data expire).
//!
//! Nobody in the village owns the true time, but everyone can look at everyone's watch. One whose watch differs from the
//! others' by an hour does not tell them that they are all wrong: they go by the watch in the middle, and so do the others.
//!
//! # Contract
//! A clock is given as its *offset*: what it shows less what the asker's own steady clock (which nobody sets) shows at that
//! moment. [`Clocks::middle`] is where the cluster's time lies, as far as it can be told: between the two offsets in the middle,
//! which are one where their number is odd. More than half of the members' clocks must be known, and there must be three
//! members at least: of two that differ nobody can say which is wrong.
//!
//! # Invariants
//! While more than half of all members' clocks lie within some bounds, so does at least one end of the middle, and with an
//! odd number of known clocks the whole of it: a minority of wrong clocks, however wrong, moves nobody out of these bounds.
//!
//! # What it refuses to do
//! It sets no clock and forgets no member's last offset while it is a member: the steady clocks of two machines part by
//! seconds in a month.

use crate::causality::NodeId;
use std::collections::BTreeMap;

/// Fewer members than this have no middle.
pub const MEMBERS_LEAST: usize = 3;

/// The other members' clocks.
#[derive(Debug, Default)]
pub struct Clocks {
    /// Offset in milliseconds; none: not told yet.
    others: BTreeMap<NodeId, Option<i64>>,
}

/// Between which offsets the cluster's time lies, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Middle {
    /// The lower of the two in the middle.
    pub low: i64,
    /// The higher.
    pub high: i64,
}

impl Middle {
    /// How far an offset lies outside, in milliseconds: negative below, positive above.
    pub fn distance(&self, offset: i64) -> i64 {
        offset.saturating_sub(offset.clamp(self.low, self.high))
    }
}

impl Clocks {
    /// The other members are these; what was told of those that stay is kept.
    pub fn follow(&mut self, others: impl IntoIterator<Item = NodeId>) {
        let mut old = std::mem::take(&mut self.others);
        self.others = others.into_iter().map(|member| (member, old.remove(&member).flatten())).collect();
    }

    /// A member's clock was read. One that is no member is not listened to.
    pub fn told(&mut self, member: NodeId, offset: i64) {
        if let Some(known) = self.others.get_mut(&member) {
            *known = Some(offset);
        }
    }

    /// The offsets that are known, this node's own apart.
    pub fn known(&self) -> impl Iterator<Item = (NodeId, i64)> {
        self.others.iter().filter_map(|(member, offset)| offset.map(|offset| (*member, offset)))
    }

    /// Where the cluster's time lies, given this node's own offset; none while that cannot be told.
    pub fn middle(&self, own: i64) -> Option<Middle> {
        let members = self.others.len() + 1;
        let mut offsets: Vec<i64> = self.known().map(|(_, offset)| offset).chain([own]).collect();
        if members < MEMBERS_LEAST || offsets.len() * 2 <= members {
            return None;
        }
        offsets.sort_unstable();
        Some(Middle { low: offsets[(offsets.len() - 1) / 2], high: offsets[offsets.len() / 2] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = 3_600_000;

    fn clocks(others: &[Option<i64>]) -> Clocks {
        let mut clocks = Clocks::default();
        clocks.follow((0..others.len()).map(|at| NodeId([at as u8; 20])));
        for (at, offset) in others.iter().enumerate().filter_map(|(at, offset)| offset.map(|offset| (at, offset))) {
            clocks.told(NodeId([at as u8; 20]), offset);
        }
        clocks
    }

    #[test]
    fn one_wrong_clock_of_three_is_corrected_and_moves_nobody() {
        let right = Some(Middle { low: 0, high: 0 });
        assert_eq!(clocks(&[Some(0), Some(0)]).middle(HOUR), right);
        assert_eq!(clocks(&[Some(0), Some(HOUR)]).middle(0), right);
        assert_eq!(clocks(&[Some(-HOUR), Some(HOUR)]).middle(0), right);
        assert_eq!(clocks(&[Some(0), Some(HOUR)]).middle(-HOUR), right);
    }

    #[test]
    fn nothing_is_said_of_two_that_differ() {
        assert_eq!(clocks(&[Some(HOUR)]).middle(0), None, "two members");
        assert_eq!(clocks(&[]).middle(0), None, "one alone");
        let half = clocks(&[Some(HOUR), None]).middle(0).unwrap();
        assert_eq!((half.distance(0), half.distance(HOUR)), (0, 0), "two of three: both may be right");
        assert_eq!(clocks(&[Some(HOUR), None, None]).middle(0), None, "two of four are no majority");
    }

    #[test]
    fn a_member_that_went_is_forgotten_and_a_stranger_not_heard() {
        let mut clocks = clocks(&[Some(0), Some(0), Some(HOUR), Some(HOUR)]);
        clocks.follow((0..2).map(|at| NodeId([at; 20])));
        clocks.told(NodeId([9; 20]), HOUR);
        assert_eq!(clocks.known().count(), 2);
        assert_eq!(clocks.middle(HOUR), Some(Middle { low: 0, high: 0 }));
    }

    #[test]
    fn distances_have_a_sign() {
        let middle = Middle { low: 10, high: 20 };
        assert_eq!([5, 10, 15, 20, 27].map(|offset| middle.distance(offset)), [-5, 0, 0, 0, 7]);
    }

    proptest! {
        #[test]
        fn a_minority_however_wrong_moves_nobody_out_of_the_majoritys_bounds(
            right in proptest::collection::vec(-200i64..200, 2..6),
            wrong in proptest::collection::vec(any::<i64>(), 0..5),
        ) {
            prop_assume!(right.len() > wrong.len() && right.len() + wrong.len() >= MEMBERS_LEAST);
            let all: Vec<i64> = right.iter().chain(&wrong).copied().collect();
            for own in 0..all.len() {
                let others: Vec<Option<i64>> =
                    all.iter().enumerate().filter(|(at, _)| *at != own).map(|(_, offset)| Some(*offset)).collect();
                let middle = clocks(&others).middle(all[own]).unwrap();
                let within = |offset: i64| (-200..200).contains(&offset);
                prop_assert!(within(middle.low) || within(middle.high));
                prop_assert!(all.len().is_multiple_of(2) || within(middle.low) && within(middle.high));
            }
        }
    }
}
