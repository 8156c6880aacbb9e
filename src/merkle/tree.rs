//! The tree: one database's copies on one node, added up by token.
//!
//! Only the leaves and the sums of slots are kept: a run's sum is what its parts add up to, so there is no inner node to
//! bring up to date, and Q may be anything.
//!
//! # Invariants
//! - A leaf is the sum of what was put in and not taken out again, in any order, from any thread.
//! - `total` of a slot is the sum of its leaves; both change under the slot's lock.

use super::sum::{SUM_BYTES, Sum};
use crate::codec::{Damaged, Reader, put_u16, put_u32};
use crate::key::{SLOTS, Token};
use crate::object::digest::Digest;
use parking_lot::Mutex;

/// How many of a token's first bits name its leaf.
pub const LEAF_BITS: u8 = 18;

/// How many of a token's first bits name its slot.
const SLOT_BITS: u8 = 14;

/// Leaves in a slot.
const SLOT_LEAVES: usize = 1 << (LEAF_BITS - SLOT_BITS);

/// A node of the tree: the tokens whose first `bits` bits are `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// How many bits, at most [`LEAF_BITS`].
    pub bits: u8,
    /// Their value, below 2^bits.
    pub index: u32,
}

impl Run {
    /// A run; none for more bits than a leaf has, or an index beyond them.
    pub fn new(bits: u8, index: u32) -> Option<Run> {
        (bits <= LEAF_BITS && index < 1 << bits).then_some(Run { bits, index })
    }

    /// The leaf a token lies in.
    pub fn leaf_of(token: Token) -> u32 {
        (token.0 >> (64 - u32::from(LEAF_BITS))) as u32
    }

    /// The storage keys of `count` neighbouring leaves: from the first (included) to the second (excluded; none: to the
    /// end).
    pub fn range_of_leaves(first: u32, count: u32) -> ([u8; 8], Option<[u8; 8]>) {
        let edge = |leaf: u32| (u64::from(leaf) << (64 - u32::from(LEAF_BITS))).to_be_bytes();
        let next = first + count;
        (edge(first), (next < 1 << LEAF_BITS).then(|| edge(next)))
    }
}

#[derive(Clone, Default)]
struct Slot {
    total: Sum,
    leaves: [Sum; SLOT_LEAVES],
    /// How often anything changed here; wraps.
    changes: u32,
}

/// One database's tree; 7 MiB, whatever it holds.
pub struct Tree {
    slots: Box<[Mutex<Slot>]>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { slots: (0..SLOTS).map(|_| Mutex::default()).collect() }
    }
}

impl Tree {
    /// A key's object changes from one digest to another; the digest zero stands for an absent one.
    pub fn change(&self, token: Token, before: Digest, after: Digest) {
        if before == after {
            return;
        }
        let mut slot = self.slots[usize::from(token.slot())].lock();
        let slot = &mut *slot;
        for sum in [&mut slot.total, &mut slot.leaves[Run::leaf_of(token) as usize % SLOT_LEAVES]] {
            sum.take_away(Sum::of(before));
            sum.add(Sum::of(after));
        }
        slot.changes = slot.changes.wrapping_add(1);
    }

    /// The sum of a run.
    pub fn sum(&self, run: Run) -> Sum {
        let mut sum = Sum::default();
        let index = run.index as usize;
        if run.bits <= SLOT_BITS {
            let slots = 1 << (SLOT_BITS - run.bits);
            self.slots[index * slots..(index + 1) * slots].iter().for_each(|slot| sum.add(slot.lock().total));
        } else {
            let leaves = 1 << (LEAF_BITS - run.bits);
            let first = index * leaves;
            let slot = self.slots[first / SLOT_LEAVES].lock();
            slot.leaves[first % SLOT_LEAVES..][..leaves].iter().for_each(|leaf| sum.add(*leaf));
        }
        sum
    }

    /// How often the neighbourhood of a leaf has changed: for [`Tree::correct`].
    pub fn changes(&self, leaf: u32) -> u32 {
        self.slots[leaf as usize / SLOT_LEAVES].lock().changes
    }

    /// Sets a leaf to what was counted, unless its neighbourhood has changed since [`Tree::changes`]. Whether it was set.
    pub fn correct(&self, leaf: u32, changes: u32, counted: Sum) -> bool {
        let mut slot = self.slots[leaf as usize / SLOT_LEAVES].lock();
        if slot.changes != changes {
            return false;
        }
        let wrong = std::mem::replace(&mut slot.leaves[leaf as usize % SLOT_LEAVES], counted);
        slot.total.take_away(wrong);
        slot.total.add(counted);
        true
    }

    /// The leaves that hold something, ascending.
    pub fn leaves_held(&self) -> Vec<u32> {
        let held = |(number, slot): (usize, &Mutex<Slot>)| {
            let leaves = slot.lock().leaves;
            let held = move |place: &usize| leaves[*place] != Sum::default();
            (0..SLOT_LEAVES).filter(held).map(move |place| (number * SLOT_LEAVES + place) as u32)
        };
        self.slots.iter().enumerate().flat_map(held).collect()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.slots.iter().for_each(|slot| *slot.lock() = Slot::default());
    }

    /// Appends the slots that hold something: how many u32, then for each its number u16 and its leaves' sums.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let held: Vec<(u16, Slot)> = (0..SLOTS)
            .map(|number| (number, self.slots[usize::from(number)].lock().clone()))
            .filter(|(_, slot)| slot.leaves.iter().any(|leaf| *leaf != Sum::default()))
            .collect();
        put_u32(out, held.len() as u32);
        for (number, slot) in held {
            put_u16(out, number);
            slot.leaves.iter().for_each(|leaf| leaf.encode(out));
        }
    }

    /// Takes a tree.
    pub fn read(reader: &mut Reader<'_>) -> Result<Tree, Damaged> {
        let mut tree = Tree::default();
        for _ in 0..reader.count(2 + SLOT_LEAVES * SUM_BYTES)? {
            let number = usize::from(reader.u16()?);
            let slot = tree.slots.get_mut(number).ok_or(Damaged::Malformed("number of a slot"))?.get_mut();
            *slot = Slot::default();
            for leaf in &mut slot.leaves {
                *leaf = Sum::read(reader)?;
                slot.total.add(*leaf);
            }
        }
        Ok(tree)
    }
}
