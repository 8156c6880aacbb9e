//! Merging two replicas of one key.

use super::{Object, Sibling};
use crate::causality::{Actor, Hlc};
use crate::policy::Conflict;
use std::cmp::Ordering;

impl Object {
    /// What both replicas together know. A sibling survives when both have it, or when the side that lacks it has not
    /// seen it; one that both have is merged inside. With [`Conflict::Newest`] only the sibling with the greatest dot is
    /// kept, a tombstone included: a total order is what keeps that merge associative.
    pub fn merge(self, other: Object, conflict: Conflict) -> Object {
        if other.is_empty() || self == other {
            return self;
        }
        if self.is_empty() {
            return other;
        }
        let mut siblings = Vec::with_capacity(self.siblings.len().max(other.siblings.len()));
        let mut ours = self.siblings.into_iter().peekable();
        let mut theirs = other.siblings.into_iter().peekable();
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) => our.dot.cmp(&their.dot),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let kept = match order {
                Ordering::Less => ours.next().filter(|our| !other.context.covers(&our.dot)),
                Ordering::Greater => theirs.next().filter(|their| !self.context.covers(&their.dot)),
                Ordering::Equal => ours.next().zip(theirs.next()).map(|(our, their)| our.merge(their)),
            };
            siblings.extend(kept);
        }
        let mut context = self.context;
        context.join(&other.context);
        let mut merged = Object { context, siblings };
        merged.settle(conflict);
        merged
    }

    /// Drops the siblings that the conflict rule does not keep.
    pub(super) fn settle(&mut self, conflict: Conflict) {
        if conflict == Conflict::Newest && self.siblings.len() > 1 {
            self.siblings.drain(..self.siblings.len() - 1);
        }
    }
}

impl Sibling {
    /// One sibling on two replicas: the newest entry wins in the expiry register and in each actor's increments.
    fn merge(mut self, other: Sibling) -> Sibling {
        self.expiry = self.expiry.max(other.expiry);
        self.counter |= other.counter;
        self.increments = merge_increments(self.increments, other.increments);
        self
    }
}

fn merge_increments(ours: Vec<(Actor, Hlc, i64)>, theirs: Vec<(Actor, Hlc, i64)>) -> Vec<(Actor, Hlc, i64)> {
    if theirs.is_empty() {
        return ours;
    }
    let mut all: Vec<_> = ours.into_iter().chain(theirs).collect();
    all.sort_unstable();
    // Sorted by actor, then HLC: of one actor's entries the last is the newest.
    all.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            *earlier = *later;
        }
        same
    });
    all
}
