//! Who keeps what: partition → ordered owners, a pure function of the member list (§6.2 strategy 3, §4.2, §4.3).
//!
//! Picture a theatre with Q boxes and a company of ushers. Every box has a list of ushers who answer for it: first,
//! second, third, and so on. When a new usher comes, each colleague hands over a few lines, just enough that all carry
//! the same load again, and nobody swaps lines with anybody else. When one goes, only that usher's lines are given
//! out. Ushers who share a staircase (a *zone*) are never on one list's first lines together while there are other
//! staircases: if a staircase burns, the others still know the box.
//!
//! The paper's strategy 3 says only "Q/S partitions per node" and lets nodes steal from each other at random; two
//! nodes that heard of two joins in different orders would then disagree. Here the ring is computed, never negotiated:
//! whoever holds the same members holds the same ring.
//!
//! # How it is computed
//! Members carry the order in which they joined and left, and a member that left is never forgotten, so the list holds
//! the whole history. [`Ring::new`] replays it (`replay`): each join and each leave changes as little as it can.
//! Only the first [`RANKS`] ranks of a list are replayed. A step works on one *prefix* of all lists at a time:
//!
//! 1. the *anchor*, the first three ranks (N = 3 is what databases use; two ranks when there are just two zones): the
//!    joiner takes seats from whoever has too many until it has its share, or the leaver's seats go to whoever has too
//!    few; what remains uneven is evened by shortest augmenting paths (`balance`), a flow problem solved exactly;
//! 2. *inwards*, two ranks, then one: only the order inside a list changes, so for N = 3 no data moves;
//! 3. *outwards*, four ranks, then five: only the last seat of a list changes.
//!
//! What is even is fixed by `shares`: loads proportional to weight, as far as zones allow. Everyone else follows in
//! the order of a weighted hash, unseen zones first (`fallback`): the load of a failed node spreads over all.
//!
//! # Laws (the tests hold them)
//! Let S be the present members, Z their zones (a node without a zone is its own), and the *share* of a node at n the
//! part of n·Q homes its weight earns, where no node and, for n ≤ Z, no zone can hold more than Q.
//!
//! - **Order.** Each preference list names every present member once. The order of the input does not matter.
//! - **Zones.** The first min(n, Z) entries lie in distinct zones, for every n.
//! - **Balance.** See [`Ring::homes`].
//! - **Movement.** See [`Ring::new`].
//!
//! # What it refuses to do
//! It does not know who is up: a node that is down keeps its seats (§4.8.1). It does not plan transfers. It keeps no
//! state: a ring is thrown away and computed anew when the members change. And it knows history only from the list:
//! **changing the zone, weight or `joined` of an entry rewrites the past** and may move half of all homes. To change
//! them, let the node leave and join under a new id; one that left does not come back under its old one.
//!
//! # Cost
//! Each step of history is about Q times the number of ranks: 0.1 ms for 3 members and Q = 256, some 40 to 80 ms for
//! 100 members and Q = 1024 (zones and mixed weights cost most), on one core. Every past member costs two steps more.

mod balance;
mod fallback;
mod replay;
mod seats;
mod shares;
#[cfg(test)]
mod tests;

use crate::causality::NodeId;
use crate::key::{Partition, Partitions};

/// How many ranks of a preference list are balanced by replay; later ones follow a weighted hash.
pub const RANKS: usize = 5;

/// What the ring needs to know of one member, past or present.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingMember {
    /// The node's name for life; at most one entry may carry it.
    pub id: NodeId,
    /// What it shares with others that fail together: a rack, a data centre. Empty: a zone of its own.
    pub zone: String,
    /// How much it carries compared with others; 0 counts as 1.
    pub weight: u32,
    /// Order of joining; ties are broken by id.
    pub joined: u64,
    /// Order of leaving, on the same scale; none while it is a member. A member that left before it joined never took
    /// part.
    pub left: Option<u64>,
}

/// Partition → preference list, for one list of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    partitions: Partitions,
    members: Vec<NodeId>,
    /// The preference lists of all partitions, one after the other, each as long as `members`.
    lists: Vec<u16>,
}

impl Ring {
    /// Replays the history that `members` holds, past members included. At most 65,535 may be present.
    ///
    /// For N = 3, compared with the ring before a join, the joiner gets its share; compared with the ring before a
    /// leave, the leaver's homes are given out. Beyond that, where nobody has a zone (or all the same) and weights are
    /// equal, a join moves nothing and a leave one home at most. With zones or unequal weights a join moves at most a
    /// quarter of the share plus 8 homes between others (over random histories: 0.1 % of the shares), a leave at most as
    /// many as the leaver held plus 8 (3 %; most when a zone vanishes). For other N swaps of ranks add to this: 12 % of
    /// the joiner's share for N = 1, 1 % for the others, over the same histories.
    pub fn new(members: &[RingMember], partitions: Partitions) -> Ring {
        let mut history: Vec<&RingMember> = members.iter().collect();
        history.sort_unstable_by_key(|member| (member.joined, member.id));
        let mut present: Vec<usize> = (0..history.len()).filter(|&node| history[node].left.is_none()).collect();
        present.sort_unstable_by_key(|&node| history[node].id);

        let mut index_of = vec![u16::MAX; history.len()];
        for (index, &node) in present.iter().enumerate() {
            index_of[node] = index as u16;
        }
        let seats = replay::replay(&history, partitions.count() as usize);
        let mut lists = Vec::with_capacity(partitions.count() as usize * present.len());
        for row in 0..partitions.count() as usize {
            fallback::complete(&seats, row, &mut |node| lists.push(index_of[node as usize]));
        }
        Ring { partitions, members: present.iter().map(|&node| history[node].id).collect(), lists }
    }

    /// The present members, sorted by id; the indexes in preference lists refer to this.
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// All present members as indexes into [`Ring::members`], in the order in which they answer for a partition: for a
    /// database with N = n the first n are its homes, the rest its fallbacks. Empty for a ring without members and for
    /// a partition beyond Q.
    pub fn preference(&self, partition: Partition) -> &[u16] {
        let start = usize::from(partition.0) * self.members.len();
        self.lists.get(start..start + self.members.len()).unwrap_or(&[])
    }

    /// The first `n` of [`Ring::preference`], or all when there are fewer members.
    ///
    /// Over all partitions each node is home for its share (see the module), rounded up or down, for n = 1 and n = 3,
    /// and less than two off for n = 2, whatever the zones and weights. For n = 4 and 5 the same is aimed at: equal
    /// weights are seldom more than one off, unequal ones may be where heavy nodes would have to be everywhere. Beyond
    /// [`RANKS`] it is left to chance.
    pub fn homes(&self, partition: Partition, n: usize) -> &[u16] {
        let list = self.preference(partition);
        &list[..n.min(list.len())]
    }

    /// Q.
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }
}
