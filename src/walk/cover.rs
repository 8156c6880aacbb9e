//! Which slots a walk covers, and the stretches of it that lie ahead.
//!
//! Contract: a [`Cover`]'s runs are in order, apart from each other, and never empty. On `port` a walk covers all slots; on
//! the cluster view only those this node is listed for.

use super::Position;
use crate::key::{Partition, Partitions, Slots};

/// The slots that a walk covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover(Vec<Slots>);

/// A part of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The partition.
    pub partition: Partition,
    /// Its slots, or some of them.
    pub slots: Slots,
}

impl Cover {
    /// All slots.
    pub fn all() -> Cover {
        Cover(vec![Slots::ALL])
    }

    /// These slots, in any order; they may overlap.
    pub fn of(runs: impl IntoIterator<Item = Slots>) -> Cover {
        let mut sorted: Vec<Slots> = runs.into_iter().collect();
        sorted.sort_unstable();
        let mut cover: Vec<Slots> = Vec::with_capacity(sorted.len());
        for run in sorted {
            match cover.last_mut() {
                Some(last) if u32::from(run.first) <= u32::from(last.last) + 1 => last.last = last.last.max(run.last),
                _ => cover.push(run),
            }
        }
        Cover(cover)
    }

    /// The runs.
    pub fn runs(&self) -> &[Slots] {
        &self.0
    }

    /// How many slots there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|run| u32::from(run.last - run.first) + 1).sum()
    }

    /// The slot at this place among the covered ones.
    pub fn nth(&self, place: u32) -> Option<u16> {
        let mut left = place;
        for run in &self.0 {
            let slots = u32::from(run.last - run.first) + 1;
            if left < slots {
                return Some(run.first + left as u16);
            }
            left -= slots;
        }
        None
    }

    /// The stretches from a position on, one after the other; the first may begin before it, in its slot.
    pub fn ahead(&self, from: &Position, partitions: Partitions) -> impl Iterator<Item = Stretch> + '_ {
        let slot = from.slot();
        let runs = self.0.iter().filter(move |run| run.last >= slot);
        runs.flat_map(move |run| {
            let first = run.first.max(slot);
            let of = |slot: u16| slot / partitions.slots_each();
            (of(first)..=of(run.last)).map(move |number| {
                let whole = partitions.run(Partition(number));
                let slots = Slots { first: whole.first.max(first), last: whole.last.min(run.last) };
                Stretch { partition: Partition(number), slots }
            })
        })
    }

    /// As many covers of about the same number of slots, which together are this one.
    pub fn split(&self, parts: u32) -> Vec<Cover> {
        let all = self.count();
        let edge = |part: u32| (u64::from(all) * u64::from(part) / u64::from(parts.max(1))) as u32;
        let covers = (0..parts.max(1)).map(|part| self.part(edge(part), edge(part + 1)));
        covers.filter(|cover| !cover.0.is_empty()).collect()
    }

    /// The covered slots from one place among them up to another.
    fn part(&self, from: u32, to: u32) -> Cover {
        let mut before = 0;
        let mut part = Vec::new();
        for run in &self.0 {
            let slots = u32::from(run.last - run.first) + 1;
            let (first, end) = (from.max(before), to.min(before + slots));
            if first < end {
                let at = |place: u32| run.first + (place - before) as u16;
                part.push(Slots { first: at(first), last: at(end - 1) });
            }
            before += slots;
        }
        Cover(part)
    }
}

/// Draws neighbouring runs as one; they are in order and do not overlap.
pub fn joined(runs: impl Iterator<Item = Slots>) -> Vec<Slots> {
    Cover::of(runs).0
}
