//! Flush lines: which values a FLUSHDB or FLUSHALL has struck out (§2 of the design, "FLUSHDB/FLUSHALL").
//!
//! Every clerk numbers what they write, and the numbers only rise. "Burn all we had until now" is then one short note:
//! for each clerk a number; whatever they wrote up to there is dead, wherever a copy of it turns up, however late.
//!
//! # Contract
//! - A sibling is dead if the line names the node that minted its dot, with an HLC at least the dot's.
//! - Lines only rise and are joined by maximum, so it does not matter in which order, or how often, they arrive.
//! - [`Object::flush`] keeps the context: what a dead sibling had replaced stays replaced. Flush what is merged *before*
//!   merging it: a dead value must not outlast a living one where only the newest is kept.

use super::{Object, Sibling};
use crate::causality::{Hlc, NodeTag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One database's flush line: for each node, up to which HLC everything it minted there is dead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlushLine(BTreeMap<NodeTag, Hlc>);

/// The flush line of each database that has one.
pub type FlushLines = BTreeMap<u8, FlushLine>;

impl FlushLine {
    /// Everything `minter` minted up to `up_to` is dead. Whether that is news.
    pub fn raise(&mut self, minter: NodeTag, up_to: Hlc) -> bool {
        let news = up_to > self.of(minter);
        if news {
            self.0.insert(minter, up_to);
        }
        news
    }

    /// Takes over whatever the other line strikes out beyond this one. Whether that is anything.
    pub fn join(&mut self, other: &FlushLine) -> bool {
        other.0.iter().fold(false, |news, (minter, up_to)| self.raise(*minter, *up_to) || news)
    }

    /// Up to where a node's dots are dead; zero: none is.
    pub fn of(&self, minter: NodeTag) -> Hlc {
        self.0.get(&minter).copied().unwrap_or_default()
    }

    /// The highest HLC of all: nothing above it is dead.
    pub fn highest(&self) -> Hlc {
        self.0.values().copied().max().unwrap_or_default()
    }

    /// How many nodes it names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it strikes out nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it strikes out this sibling.
    pub fn kills(&self, sibling: &Sibling) -> bool {
        self.0.get(&sibling.minter).is_some_and(|up_to| sibling.dot.hlc <= *up_to)
    }

    /// A short name for it: two lines with one name strike out the same.
    pub fn digest(&self) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        for (minter, up_to) in &self.0 {
            hash.update(&minter.0.to_be_bytes());
            hash.update(&up_to.0.to_be_bytes());
        }
        hash.digest()
    }
}

impl FromIterator<(NodeTag, Hlc)> for FlushLine {
    fn from_iter<I: IntoIterator<Item = (NodeTag, Hlc)>>(entries: I) -> FlushLine {
        let mut line = FlushLine::default();
        for (minter, up_to) in entries {
            line.raise(minter, up_to);
        }
        line
    }
}

impl Object {
    /// Drops the dead siblings; the context stays. Whether there were any.
    pub fn flush(&mut self, line: &FlushLine) -> bool {
        let before = self.siblings.len();
        self.siblings.retain(|sibling| !line.kills(sibling));
        self.siblings.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::lattice;
    use crate::object::model::{run, steps};
    use crate::policy::Conflict;
    use proptest::prelude::*;

    fn lines() -> impl Strategy<Value = FlushLine> {
        proptest::collection::vec((0u64..4, 0u64..300), 0..5).prop_map(line)
    }

    fn line(entries: Vec<(u64, u64)>) -> FlushLine {
        entries.into_iter().map(|(minter, up_to)| (NodeTag(minter), Hlc(up_to))).collect()
    }

    fn flushed(object: &Object, line: &FlushLine) -> Object {
        let mut object = object.clone();
        object.flush(line);
        object
    }

    proptest! {
        #[test]
        fn lines_are_joined_by_maximum(a in lines(), b in lines(), c in lines()) {
            let ab = lattice::check(&a, &b, &c, FlushLine::join);
            prop_assert!(ab.highest() == a.highest().max(b.highest()));
            prop_assert_eq!(a.digest() == b.digest(), a == b);
        }

        /// The model remembers every flush by itself: a value is dead if any one of them strikes it out.
        #[test]
        fn a_value_is_dead_once_any_flush_has_struck_it_out(
            steps in steps(),
            flushes in proptest::collection::vec(proptest::collection::vec((0u64..3, 0u64..300), 0..4), 0..4),
        ) {
            let all = flushes.iter().fold(FlushLine::default(), |all, entries| lattice::join(&all, &line(entries.clone()), FlushLine::join));
            for state in run(&steps, Conflict::Siblings).into_iter().flatten() {
                let struck_out = |sibling: &Sibling| {
                    flushes.iter().flatten().any(|(minter, up_to)| {
                        sibling.minter == NodeTag(*minter) && sibling.dot.hlc.0 <= *up_to && *up_to > 0
                    })
                };
                let living: Vec<Sibling> =
                    state.object.siblings.iter().filter(|sibling| !struck_out(sibling)).cloned().collect();
                let mut object = state.object.clone();
                prop_assert_eq!(object.flush(&all), living.len() < state.object.siblings.len());
                prop_assert_eq!(&object.siblings, &living);
                prop_assert_eq!(&object.context, &state.object.context);
                let highest_kept = object.siblings.iter().all(|sibling| !all.kills(sibling));
                prop_assert!(highest_kept && !object.flush(&all));
            }
        }

        /// It does not matter which of the replicas learns of a flush first.
        #[test]
        fn flushing_before_a_merge_or_after_it_ends_the_same(steps in steps(), line in lines()) {
            let states = run(&steps, Conflict::Siblings);
            let last: Vec<&Object> = states.iter().filter_map(|states| states.last()).map(|state| &state.object).collect();
            for (a, b) in last.iter().zip(last.iter().rev()) {
                let merge = |a: Object, b: Object| a.merge(b, Conflict::Siblings);
                let both = merge(flushed(a, &line), flushed(b, &line));
                prop_assert_eq!(&flushed(&merge((*a).clone(), (*b).clone()), &line), &both);
                prop_assert_eq!(&flushed(&merge(flushed(a, &line), (*b).clone()), &line), &both);
            }
        }
    }
}
