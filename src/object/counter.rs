//! Counters: numbers that several nodes add to at the same time, and nothing added is lost.
//!
//! Each clerk keeps a tally sheet of their own pinned to the page: "so much have I added, as of this stamp". Nobody writes
//! on another's sheet, of two copies of one sheet the later counts, and the number on the page is what is printed there
//! plus all the sheets. If two clerks start a new page for the same tally, both pages count.
//!
//! # Contract
//! - [`Object::increment`] adds to the sibling that GET shows, as an entry of its actor inside it; it makes no dot, so it
//!   never makes a sibling of it. Where there is nothing to add to it starts a *counter sibling* (base 0), whose dot is
//!   the stamp.
//! - What is shown ([`Object::shown_value`], [`Object::shown_values`]) is a sibling's base and everything that was added to
//!   it; the live counter siblings of one object are shown as one number, their sum. Whoever shows a value shows this one:
//!   [`Sibling::value`](super::Sibling) alone is only the base.
//! - Whatever replaces a sibling takes what was added to it along, concurrent additions included.
//! - Several actors may together go beyond 64 bits. The true sum is shown, and additions that lead back are taken.
//!
//! # Invariants
//! - An entry belongs to an actor; only the node whose record names that actor changes it, and its stamp rises.
//! - An entry stays as long as its sibling: there is no moment at which two homes could both fold one into the base.

use super::{Object, Sibling};
use crate::causality::{Actor, Dot, Hlc, NodeTag};
use crate::codec::integer::parse_integer;
use crate::policy::Conflict;
use bytes::Bytes;
use smallvec::SmallVec;

/// What a counter sibling starts from.
const BASE: &[u8] = b"0";

/// Amounts to be added one after the other.
pub type Amounts = SmallVec<[i64; 1]>;

/// For each amount the number after it; none: that would not fit 64 bits, and the amount was not added.
pub type Numbers = SmallVec<[Option<i64>; 1]>;

/// Who adds what, when.
#[derive(Clone, Copy, Debug)]
pub struct Increment<'a> {
    /// One after the other.
    pub amounts: &'a [i64],
    /// In whose name.
    pub actor: Actor,
    /// Which node mints the dot, should one be needed.
    pub minter: NodeTag,
    /// Above [`Object::highest`].
    pub stamp: Hlc,
    /// The time, in Unix milliseconds: what has expired is not added to.
    pub now_ms: u64,
}

/// Where something was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sibling.
    pub sibling: Dot,
    /// Whose entry.
    pub actor: Actor,
    /// Its stamp.
    pub hlc: Hlc,
}

/// Why nothing was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAdded {
    /// What GET shows is no 64-bit integer.
    NotInteger,
    /// No amount could be added without leaving 64 bits.
    Overflow,
    /// The actor's own sum would leave 64 bits, the number would not: add under a new name.
    ActorFull,
}

impl Object {
    /// The bytes GET shows.
    pub fn shown_value(&self, now_ms: u64) -> Option<Bytes> {
        self.shown(now_ms).and_then(|sibling| self.value_of(sibling, now_ms))
    }

    /// Every value that none of the others replaces, in the order of their dots; counter siblings as one, at the place of
    /// the last.
    pub fn shown_values(&self, now_ms: u64) -> impl Iterator<Item = Bytes> {
        self.shown_siblings(now_ms).map(|(_, value)| value)
    }

    /// The siblings of [`Object::shown_values`], each with its value.
    pub fn shown_siblings(&self, now_ms: u64) -> impl Iterator<Item = (&Sibling, Bytes)> {
        let last_counter = self.live(now_ms).filter(|sibling| sibling.counter).last().map(|sibling| sibling.dot);
        let shown = move |sibling: &&Sibling| !sibling.counter || Some(sibling.dot) == last_counter;
        self.live(now_ms).filter(shown).filter_map(move |sibling| Some((sibling, self.value_of(sibling, now_ms)?)))
    }

    fn value_of(&self, sibling: &Sibling, now_ms: u64) -> Option<Bytes> {
        if !sibling.counter && sibling.increments.is_empty() {
            return sibling.value.clone();
        }
        let Some(number) = self.number_of(sibling, now_ms) else { return sibling.value.clone() };
        Some(Bytes::copy_from_slice(itoa::Buffer::new().format(number).as_bytes()))
    }

    /// The number a live sibling stands for; none: it is none.
    fn number_of(&self, sibling: &Sibling, now_ms: u64) -> Option<i128> {
        match sibling.counter {
            true => Some(self.live(now_ms).filter(|sibling| sibling.counter).map(Sibling::added).sum()),
            false => sibling.value.as_deref().and_then(parse_integer).map(|base| i128::from(base) + sibling.added()),
        }
    }

    /// Adds to what GET shows. A *doubtful* sibling, of which one cannot tell whether it is already forgotten elsewhere, is
    /// neither added to nor replaced.
    pub fn increment(
        &mut self,
        increment: &Increment<'_>,
        conflict: Conflict,
        doubtful: impl Fn(&Sibling) -> bool,
    ) -> Result<(Numbers, Entry), NotAdded> {
        debug_assert!(increment.stamp > self.highest());
        let now_ms = increment.now_ms;
        let entered = self.siblings.iter().rposition(|sibling| sibling.is_live(now_ms) && !doubtful(sibling));
        let before = match entered {
            Some(at) => self.number_of(&self.siblings[at], now_ms).ok_or(NotAdded::NotInteger)?,
            None => self.live(now_ms).filter(|sibling| sibling.counter).map(Sibling::added).sum(),
        };
        let (numbers, after) = add_up(before, increment.amounts);
        if numbers.iter().all(Option::is_none) {
            return Err(NotAdded::Overflow);
        }
        let sum = i64::try_from(after - before).map_err(|_| NotAdded::Overflow)?;
        let dot = match entered {
            Some(at) => {
                self.siblings[at].add(increment, sum)?;
                self.siblings[at].dot
            }
            None => self.start_counter(increment, sum, conflict, doubtful),
        };
        Ok((numbers, Entry { sibling: dot, actor: increment.actor, hlc: increment.stamp }))
    }

    fn start_counter(
        &mut self,
        increment: &Increment<'_>,
        sum: i64,
        conflict: Conflict,
        doubtful: impl Fn(&Sibling) -> bool,
    ) -> Dot {
        let dot = Dot { hlc: increment.stamp, actor: increment.actor };
        let mut counter = Sibling::new(dot, increment.minter, Some(Bytes::from_static(BASE)), None);
        counter.counter = true;
        counter.increments.push((increment.actor, increment.stamp, sum));
        self.siblings.retain(|old| doubtful(old));
        self.context.add(dot);
        self.siblings.push(counter);
        self.settle(conflict);
        dot
    }

    /// Whether what was added there is here, or the sibling it was added to has been replaced.
    pub fn has_entry(&self, entry: &Entry) -> bool {
        match self.siblings.iter().find(|sibling| sibling.dot == entry.sibling) {
            Some(sibling) => {
                sibling.increments.iter().any(|(actor, hlc, _)| *actor == entry.actor && *hlc >= entry.hlc)
            }
            None => self.context.covers(&entry.sibling),
        }
    }
}

impl Sibling {
    /// What was added to it, by all.
    pub fn added(&self) -> i128 {
        self.increments.iter().map(|(_, _, sum)| i128::from(*sum)).sum()
    }

    fn add(&mut self, increment: &Increment<'_>, sum: i64) -> Result<(), NotAdded> {
        match self.increments.binary_search_by_key(&increment.actor, |entry| entry.0) {
            Ok(at) => {
                let entry = &mut self.increments[at];
                let sum = entry.2.checked_add(sum).ok_or(NotAdded::ActorFull)?;
                *entry = (increment.actor, increment.stamp, sum);
            }
            Err(at) => self.increments.insert(at, (increment.actor, increment.stamp, sum)),
        }
        Ok(())
    }
}

/// The number after each amount, and after all.
fn add_up(before: i128, amounts: &[i64]) -> (Numbers, i128) {
    let mut number = before;
    let add = |amount: &i64| {
        let next = i64::try_from(number + i128::from(*amount)).ok();
        number = next.map_or(number, i128::from);
        next
    };
    (amounts.iter().map(add).collect(), number)
}

#[cfg(test)]
mod tests;
