//! What a reader has seen: a version vector.

use super::{Actor, Dot, Hlc};

/// For each actor the highest HLC seen of it. Kept sorted by actor; no actor twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    entries: smallvec::SmallVec<[(Actor, Hlc); 2]>,
}

impl Context {
    /// Has seen nothing.
    pub fn new() -> Context {
        Context::default()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, sorted by actor.
    pub fn entries(&self) -> &[(Actor, Hlc)] {
        &self.entries
    }

    /// The highest HLC seen of an actor.
    pub fn get(&self, actor: &Actor) -> Option<Hlc> {
        self.entries.binary_search_by_key(actor, |entry| entry.0).ok().map(|at| self.entries[at].1)
    }

    /// Whether the dot's write was seen.
    pub fn covers(&self, dot: &Dot) -> bool {
        self.get(&dot.actor).is_some_and(|seen| seen >= dot.hlc)
    }

    /// Whether everything the other has seen was seen here too.
    pub fn descends(&self, other: &Context) -> bool {
        other.entries.iter().all(|(actor, hlc)| self.get(actor).is_some_and(|seen| seen >= *hlc))
    }

    /// Sees a write.
    pub fn add(&mut self, dot: Dot) {
        match self.entries.binary_search_by_key(&dot.actor, |entry| entry.0) {
            Ok(at) => self.entries[at].1 = self.entries[at].1.max(dot.hlc),
            Err(at) => self.entries.insert(at, (dot.actor, dot.hlc)),
        }
    }

    /// Sees all the other has seen: the maximum of the two.
    pub fn join(&mut self, other: &Context) {
        for (actor, hlc) in &other.entries {
            self.add(Dot { hlc: *hlc, actor: *actor });
        }
    }

    /// The highest HLC of all entries.
    pub fn highest(&self) -> Hlc {
        self.entries.iter().map(|entry| entry.1).max().unwrap_or_default()
    }
}

impl FromIterator<(Actor, Hlc)> for Context {
    fn from_iter<I: IntoIterator<Item = (Actor, Hlc)>>(entries: I) -> Context {
        let mut context = Context::new();
        entries.into_iter().for_each(|(actor, hlc)| context.add(Dot { hlc, actor }));
        context
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::NodeTag;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn contexts() -> impl Strategy<Value = Context> {
        proptest::collection::vec((0u64..4, 0u64..3, 0u64..20), 0..8).prop_map(|entries| {
            entries.into_iter().map(|(n, b, h)| (Actor { node: NodeTag(n), birth: Hlc(b) }, Hlc(h))).collect()
        })
    }

    proptest! {
        #[test]
        fn join_is_the_maximum_for_each_actor(a in contexts(), b in contexts()) {
            let mut naive: BTreeMap<Actor, Hlc> = a.entries().iter().copied().collect();
            for (actor, hlc) in b.entries() {
                let entry = naive.entry(*actor).or_default();
                *entry = (*entry).max(*hlc);
            }
            let mut joined = a.clone();
            joined.join(&b);
            prop_assert_eq!(joined.entries().to_vec(), naive.into_iter().collect::<Vec<_>>());
            prop_assert!(joined.descends(&a) && joined.descends(&b));
            prop_assert_eq!(a.descends(&b), joined == a);
        }
    }
}
