//! Which database an index means: SELECT's numbers are signs at the doors, and signs can be swapped.
//!
//! Sixteen rooms have their numbers cast in the floor; the signs beside their doors can be taken off and hung elsewhere.
//! Visitors go by the signs. Shelves, house rules and what was thrown out belong to the room, and stay where they are.
//!
//! # Contract
//! - An *index* is what a client names (SELECT, `COPY … DB`, INFO's `db3`); a *stored* database is what lies in a
//!   [`StorageKey`](super::StorageKey), has a policy and a flush line. [`Databases`] is a permutation: each index means one
//!   stored database, and no two the same.
//! - It is one word, so that it can be looked at, copied and shown to everyone without a lock: four bits for each index.
//!
//! How all nodes come to the same one is [`crate::gossip::swaps`]'s.

use super::DATABASES;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

const BITS: u32 = 4;
const MASK: u64 = (1 << BITS) - 1;

/// Which stored database each index means.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Databases(u64);

/// A word that would give two indexes one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two indexes mean one database")]
pub struct NoPermutation;

impl Databases {
    /// The stored database behind an index below [`DATABASES`].
    pub fn stored(self, index: u8) -> u8 {
        (self.0 >> shift(index) & MASK) as u8
    }

    /// From now on each of two indexes means what the other did.
    pub fn swap(&mut self, first: u8, second: u8) {
        let differ = self.stored(first) ^ self.stored(second);
        self.0 ^= u64::from(differ) << shift(first);
        if first != second {
            self.0 ^= u64::from(differ) << shift(second);
        }
    }
}

impl From<Databases> for u64 {
    /// The whole in one word.
    fn from(databases: Databases) -> u64 {
        databases.0
    }
}

impl TryFrom<u64> for Databases {
    type Error = NoPermutation;

    fn try_from(word: u64) -> Result<Databases, NoPermutation> {
        let read = Databases(word);
        let meant = (0..DATABASES).fold(0u16, |meant, index| meant | 1 << read.stored(index));
        if meant == u16::MAX { Ok(read) } else { Err(NoPermutation) }
    }
}

/// [`Databases`] that one sets and all may look at.
#[derive(Debug)]
pub struct Shown(AtomicU64);

impl Shown {
    /// Shows these from now on.
    pub fn set(&self, databases: Databases) {
        self.0.store(databases.0, Ordering::Relaxed);
    }

    /// What is shown.
    pub fn get(&self) -> Databases {
        Databases(self.0.load(Ordering::Relaxed))
    }
}

impl Default for Shown {
    fn default() -> Shown {
        Shown(AtomicU64::new(Databases::default().0))
    }
}

impl Default for Databases {
    /// Each index means the stored database of its own number.
    fn default() -> Databases {
        Databases((0..DATABASES).fold(0, |word, index| word | u64::from(index) << shift(index)))
    }
}

impl std::fmt::Debug for Databases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries((0..DATABASES).map(|index| self.stored(index))).finish()
    }
}

fn shift(index: u8) -> u32 {
    u32::from(index % DATABASES) * BITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn swapping_is_swapping_in_a_list(swaps in proptest::collection::vec((0..DATABASES, 0..DATABASES), 0..40)) {
            let mut databases = Databases::default();
            let mut list: Vec<u8> = (0..DATABASES).collect();
            for (first, second) in swaps {
                databases.swap(first, second);
                list.swap(first.into(), second.into());
            }
            for (index, stored) in list.iter().enumerate() {
                prop_assert_eq!(databases.stored(index as u8), *stored);
            }
            prop_assert_eq!(Databases::try_from(u64::from(databases)), Ok(databases));
        }

        #[test]
        fn a_word_is_read_only_if_it_is_a_permutation(word: u64) {
            let meant: std::collections::BTreeSet<u64> = (0..16).map(|index| word >> (index * 4) & 15).collect();
            prop_assert_eq!(Databases::try_from(word).is_ok(), meant.len() == 16);
        }
    }

    #[test]
    fn to_begin_with_an_index_means_the_database_of_its_number() {
        assert!((0..DATABASES).all(|index| Databases::default().stored(index) == index));
        assert_eq!(Databases::try_from(0), Err(NoPermutation));
        assert_eq!(Shown::default().get(), Databases::default());
    }
}
