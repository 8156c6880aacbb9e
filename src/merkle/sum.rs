//! A number for a set of objects: equal sets have equal sums, different ones have different sums, as far as a hash of 128
//! bits can tell.

use crate::codec::{Damaged, Reader, put_u64};
use crate::object::digest::Digest;

/// The bytes of an encoded sum.
pub const SUM_BYTES: usize = 24;

/// The wrapping sum of the digests of some objects, and how many there are. An object's digest covers its key, so it is
/// the hash of (key, object). Kept as three words: 24 bytes in a leaf instead of 32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    high: u64,
    low: u64,
    /// How many objects.
    pub count: u64,
}

impl Sum {
    /// The sum of one object; of none for the digest zero, which stands for an absent one.
    pub fn of(digest: Digest) -> Sum {
        Sum { high: (digest.0 >> 64) as u64, low: digest.0 as u64, count: u64::from(digest != Digest(0)) }
    }

    /// Adds what another sum holds.
    pub fn add(&mut self, other: Sum) {
        *self = Sum::from_hash(self.hash().wrapping_add(other.hash()), self.count.wrapping_add(other.count));
    }

    /// Takes away what another sum holds.
    pub fn take_away(&mut self, other: Sum) {
        *self = Sum::from_hash(self.hash().wrapping_sub(other.hash()), self.count.wrapping_sub(other.count));
    }

    /// Appends the sum: high and low half of the hash, count, each u64.
    pub fn encode(&self, out: &mut Vec<u8>) {
        [self.high, self.low, self.count].into_iter().for_each(|word| put_u64(out, word));
    }

    /// Takes a sum.
    pub fn read(reader: &mut Reader<'_>) -> Result<Sum, Damaged> {
        Ok(Sum { high: reader.u64()?, low: reader.u64()?, count: reader.u64()? })
    }

    fn from_hash(hash: u128, count: u64) -> Sum {
        Sum { high: (hash >> 64) as u64, low: hash as u64, count }
    }

    fn hash(&self) -> u128 {
        (u128::from(self.high) << 64) | u128::from(self.low)
    }
}
