//! SWAPDB: how all nodes come to hang the signs of the databases alike ([`crate::key::databases`]).
//!
//! Two caretakers of two houses, who cannot reach each other, are each told to swap two signs, and both say that it is done.
//! When they meet they neither undo the other's work nor forget their own: they lay all the orders they know of in one row,
//! by the time on them, and do them all again from the bare walls. So will everyone else, and everyone ends with the same
//! signs. The row must not grow for ever: orders so old that nobody can come with an older one are glued to the wall.
//!
//! # Contract
//! - A [`Swaps`] is a *base* and the swaps since, each under its *stamp*: (HLC, node). [`Swaps::places`] is the base with the
//!   swaps applied in the order of their stamps. So every swap that was answered OK is in effect exactly once, and all nodes
//!   that know the same swaps have the same databases behind the same indexes.
//! - [`Swaps::join`] is idempotent, commutative and associative. A swap is stamped above every swap its node has seen, so
//!   those made one after the other take effect in that order.
//! - [`Swaps::tend`] keeps it small: each member *promises* now and then that every later swap of its is above what it has seen
//!   so far (and a swap promises that by itself). What lies below every member's promise is put into the base.
//!
//! # Why that loses nothing
//! States travel whole, and a node's only grows. So whoever knows a member's promise knows all swaps that member had made by
//! then, and the later ones are above it. One who joined by a member that had promised has seen as much as that one; had it
//! joined before, the promise would have brought word of it, and it would be waited for. Hence below the least promise no swap is missing,
//! nor ever will be; two bases of one cluster that go equally far are the same, and of two the one that goes further has all
//! that the other has.
//!
//! # What it refuses to do
//! It keeps at most [`SWAPS_MAX`] swaps for the sake of members that say nothing; after that nobody swaps until they are heard
//! of again. It drops a swap that comes with a stamp below the base: only a member that was told to leave, or was set back to
//! an old copy of its disk, can bring one.

use crate::causality::{Hlc, NodeTag};
use crate::key::DATABASES;
use crate::key::databases::Databases;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many swaps may wait for members that have not promised to come with none before them.
pub const SWAPS_MAX: usize = 1000;

/// After how many swaps that it has seen a member promises again: each promise travels to all.
pub const PROMISE_EVERY: usize = 64;

/// The highest stamp: there is always room above it.
const HLC_MAX: Hlc = Hlc(u64::MAX / 2);

/// When a swap was made, and by whom.
type Stamp = (Hlc, NodeTag);

/// What an index means, and how often it was named in a swap. A client that finds the same place twice has looked at one
/// database all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The stored database.
    pub stored: u8,
    /// How many swaps have named the index.
    pub named: u32,
}

/// What all indexes mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Places {
    databases: Databases,
    named: [u32; DATABASES as usize],
}

/// The swaps of a cluster, as one node knows them. See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swaps {
    /// All swaps up to here are in the base, whoever made them.
    folded: Hlc,
    base: Places,
    /// The swaps above.
    since: BTreeMap<Stamp, (u8, u8)>,
    /// Every later swap of that node's is above.
    promises: BTreeMap<NodeTag, Hlc>,
}

/// So many swaps wait for members that have not been heard of that no more are taken. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Full {
    /// The members that are waited for.
    pub behind: Vec<NodeTag>,
}

impl Places {
    /// Which stored database each index means.
    pub fn databases(&self) -> Databases {
        self.databases
    }

    /// What an index below [`DATABASES`] means.
    pub fn of(&self, index: u8) -> Place {
        Place { stored: self.databases.stored(index), named: self.named[usize::from(index % DATABASES)] }
    }

    fn swap(&mut self, (first, second): (u8, u8)) {
        self.databases.swap(first, second);
        for index in [first, second] {
            let named = &mut self.named[usize::from(index % DATABASES)];
            *named = named.wrapping_add(1);
        }
    }
}

impl Swaps {
    /// What the indexes mean, with every swap known here in effect.
    pub fn places(&self) -> Places {
        let mut places = self.base;
        self.since.values().for_each(|swapped| places.swap(*swapped));
        places
    }

    /// Takes over whatever `other` knows beyond this. Whether that is anything.
    pub fn join(&mut self, other: &Swaps) -> bool {
        let mut joined = self.clone();
        (joined.folded, joined.base) = (self.folded, self.base).max((other.folded, other.base));
        for (stamp, swapped) in &other.since {
            let known = joined.since.entry(*stamp).or_insert(*swapped);
            *known = (*known).max(*swapped);
        }
        joined.since.retain(|(hlc, _), _| *hlc > joined.folded);
        for (node, promise) in &other.promises {
            let known = joined.promises.entry(*node).or_default();
            *known = (*known).max(*promise);
        }
        let changed = joined != *self;
        *self = joined;
        changed
    }

    /// Swaps what two indexes below [`DATABASES`] mean, in the name of a node. Two that are one change nothing.
    pub fn swap(
        &mut self,
        (first, second): (u8, u8),
        now_ms: u64,
        by: NodeTag,
        members: impl Iterator<Item = NodeTag>,
    ) -> Result<(), Full> {
        if first == second {
            return Ok(());
        }
        if self.since.len() >= SWAPS_MAX {
            return Err(Full { behind: self.behind(members) });
        }
        let above = Hlc(self.newest().0 + 1);
        self.since.insert((above.max(Hlc::from_ms(now_ms)).min(HLC_MAX), by), (first, second));
        Ok(())
    }

    /// Promises in the name of `me`, if `often` swaps have come since it last did, and puts into the base what all `members`
    /// have promised to come with nothing before.
    pub fn tend(&mut self, me: NodeTag, members: impl Iterator<Item = NodeTag>, often: usize) {
        if self.since.is_empty() {
            return;
        }
        let mut promised = self.promised();
        let own = promised.get(&me).copied().unwrap_or_default();
        if self.since.keys().filter(|(hlc, _)| *hlc > own).count() >= often {
            let newest = self.newest();
            self.promises.insert(me, newest);
            promised.insert(me, newest);
        }
        let floor = members.map(|member| promised.get(&member).copied().unwrap_or_default()).min();
        self.fold(floor.unwrap_or_default());
    }

    /// Whether nothing was ever swapped.
    pub fn is_empty(&self) -> bool {
        *self == Swaps::default()
    }

    /// What no node that keeps the rules could have written, if anything.
    pub fn check(&self) -> Result<(), &'static str> {
        let indexes = |(first, second): &(u8, u8)| first.max(second) < &DATABASES && first != second;
        let stamps = self.since.keys().map(|(hlc, _)| *hlc);
        if !self.since.values().all(indexes) || stamps.clone().any(|hlc| hlc <= self.folded) {
            return Err("a swap of databases is impossible");
        }
        if stamps.chain(self.promises.values().copied()).chain([self.folded]).any(|hlc| hlc > HLC_MAX) {
            return Err("the stamp of a swap of databases is impossible");
        }
        Ok(())
    }

    /// The members of which the least is known.
    fn behind(&self, members: impl Iterator<Item = NodeTag>) -> Vec<NodeTag> {
        let promised = self.promised();
        let known: Vec<(Hlc, NodeTag)> =
            members.map(|member| (promised.get(&member).copied().unwrap_or_default(), member)).collect();
        let least = known.iter().map(|(promise, _)| *promise).min();
        known.into_iter().filter(|(promise, _)| Some(*promise) == least).map(|(_, member)| member).collect()
    }

    /// Above what every later swap of each node is.
    fn promised(&self) -> BTreeMap<NodeTag, Hlc> {
        let mut promised = self.promises.clone();
        for (hlc, by) in self.since.keys() {
            let promise = promised.entry(*by).or_default();
            *promise = (*promise).max(*hlc);
        }
        promised
    }

    /// The highest HLC that anything here is about.
    fn newest(&self) -> Hlc {
        let last = self.since.keys().next_back().map_or(self.folded, |(hlc, _)| *hlc);
        self.promises.values().copied().fold(last.max(self.folded), Hlc::max)
    }

    /// Puts all swaps up to `floor` into the base.
    fn fold(&mut self, floor: Hlc) {
        let above = self.since.split_off(&(Hlc(floor.0 + 1), NodeTag(0)));
        let below = std::mem::replace(&mut self.since, above);
        if !below.is_empty() {
            below.into_values().for_each(|swapped| self.base.swap(swapped));
            self.folded = floor;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
