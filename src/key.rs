//! Where a key lives.
//!
//! Think of a street with 16384 houses: Redis Cluster already numbered them, and every client library knows how to find
//! the house of a key. We keep that numbering (a *slot*), order the keys inside a house by a hash, and call the
//! resulting 64-bit position the key's *token*. A *partition* is a run of neighbouring houses: the unit that is placed,
//! moved and compared between nodes (§6.2, strategy 3).
//!
//! # Contract
//! Everything here is a pure function of the key's bytes and, for partitions, of Q. Nothing here may ever change once
//! data exists: tokens are the order in which keys lie on disk.
//!
//! # Storage key, byte by byte
//! ```text
//! 0..8    token, big-endian
//! 8       stored database ([`databases`])
//! 9..11   length of the key, big-endian u16
//! 11..    the key, then (later) a sub-key: a hash field or set member is its own object under its parent's token
//! ```

pub mod databases;

use bytes::Bytes;

/// Number of slots, as in Redis Cluster.
pub const SLOTS: u16 = 16384;

/// The longest key in bytes. fjall holds keys of up to 65,535 bytes; the rest is room for our prefixes and a sub-key.
pub const KEY_BYTES_MAX: usize = 32 * 1024;

/// Number of databases (Redis's `databases`).
pub const DATABASES: u8 = 16;

const HEADER_BYTES: usize = 11;

/// The slot of a key: CRC16 of the key, or of its `{hash tag}`, modulo 16384. Exactly Redis Cluster's.
pub fn slot(key: &[u8]) -> u16 {
    redis_protocol::redis_keyslot(key)
}

/// The position of a key on the ring: its slot in the high 14 bits, then 50 bits of a hash of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The bits of a token below its slot.
    pub const SLOT_SHIFT: u32 = 50;

    /// The first token of a slot.
    pub fn first_of(slot: u16) -> Token {
        Token(u64::from(slot) << Token::SLOT_SHIFT)
    }

    /// The token of a user's key.
    pub fn of(key: &[u8]) -> Token {
        let hash = xxhash_rust::xxh3::xxh3_64(key);
        Token((u64::from(slot(key)) << Token::SLOT_SHIFT) | (hash >> 14))
    }

    /// The slot this token lies in.
    pub fn slot(self) -> u16 {
        (self.0 >> Token::SLOT_SHIFT) as u16
    }
}

/// A run of slots, both ends included; `first` is not above `last`, `last` is below [`SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slots {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Slots {
    /// All there are.
    pub const ALL: Slots = Slots { first: 0, last: SLOTS - 1 };

    /// The storage keys of these slots: from the first (included) to the second (excluded; none: to the end).
    pub fn range(self) -> ([u8; 8], Option<[u8; 8]>) {
        let edge = |slot: u16| Token::first_of(slot).0.to_be_bytes();
        (edge(self.first), (self.last + 1 < SLOTS).then(|| edge(self.last + 1)))
    }
}

/// How many partitions there are: a power of two between 1 and 16384, fixed at the cluster's birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions {
    bits: u8,
}

/// A partition's number, below [`Partitions::count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

impl Partitions {
    /// `count` must be a power of two of at most 16384; anything else is `None`.
    pub fn new(count: u32) -> Option<Partitions> {
        (count.is_power_of_two() && count <= u32::from(SLOTS))
            .then(|| Partitions { bits: count.trailing_zeros() as u8 })
    }

    /// Q.
    pub fn count(self) -> u32 {
        1 << self.bits
    }

    /// How many slots each partition has.
    pub fn slots_each(self) -> u16 {
        (u32::from(SLOTS) / self.count()) as u16
    }

    /// The partition a token lies in.
    pub fn of(self, token: Token) -> Partition {
        if self.bits == 0 { Partition(0) } else { Partition((token.0 >> (64 - u32::from(self.bits))) as u16) }
    }

    /// The slots of a partition: first and last, both included.
    pub fn slots(self, partition: Partition) -> (u16, u16) {
        let run = self.slots_each();
        (partition.0 * run, partition.0 * run + (run - 1))
    }

    /// The run of slots of a partition.
    pub fn run(self, partition: Partition) -> Slots {
        let (first, last) = self.slots(partition);
        Slots { first, last }
    }

    /// The storage keys of a partition: from the first (included) to the second (excluded; none: to the end).
    pub fn range(self, partition: Partition) -> ([u8; 8], Option<[u8; 8]>) {
        let edge = |n: u32| (u64::from(n) << (63 - self.bits) << 1).to_be_bytes();
        let next = u32::from(partition.0) + 1;
        (edge(partition.0.into()), (next < self.count()).then(|| edge(next)))
    }
}

/// A key as it lies in storage and travels between nodes: token, database, key. See the module's layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageKey(Bytes);

/// A user's key is longer than [`KEY_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key is longer than {KEY_BYTES_MAX} bytes")]
pub struct KeyTooLong;

impl StorageKey {
    /// The storage key of a user's key in a stored database.
    pub fn new(database: u8, key: &[u8]) -> Result<StorageKey, KeyTooLong> {
        if key.len() > KEY_BYTES_MAX {
            return Err(KeyTooLong);
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES + key.len());
        bytes.extend_from_slice(&Token::of(key).0.to_be_bytes());
        bytes.push(database);
        bytes.extend_from_slice(&(key.len() as u16).to_be_bytes());
        bytes.extend_from_slice(key);
        Ok(StorageKey(Bytes::from(bytes)))
    }

    /// Takes bytes that came from storage or a peer; `None` when their shape is not that of a storage key.
    pub fn from_bytes(bytes: Bytes) -> Option<StorageKey> {
        let length = usize::from(u16::from_be_bytes([*bytes.get(9)?, *bytes.get(10)?]));
        (bytes.len() >= HEADER_BYTES + length && bytes[8] < DATABASES && length <= KEY_BYTES_MAX)
            .then_some(StorageKey(bytes))
    }

    /// The whole, as stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key's position.
    pub fn token(&self) -> Token {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        Token(u64::from_be_bytes(head))
    }

    /// The stored database.
    pub fn database(&self) -> u8 {
        self.0[8]
    }

    /// The user's key.
    pub fn user_key(&self) -> &[u8] {
        let length = usize::from(u16::from_be_bytes([self.0[9], self.0[10]]));
        &self.0[HEADER_BYTES..HEADER_BYTES + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{foo}.bar"), 12182);
        assert_eq!(slot(b"123456789"), 12739);
    }

    proptest! {
        #[test]
        fn a_key_lies_in_the_range_of_its_partition(key in proptest::collection::vec(any::<u8>(), 0..40), bits in 0u32..=14) {
            let partitions = Partitions::new(1 << bits).unwrap();
            let stored = StorageKey::new(3, &key).unwrap();
            let partition = partitions.of(stored.token());
            let (from, to) = partitions.range(partition);
            prop_assert!(stored.as_bytes() >= &from[..]);
            prop_assert!(to.is_none_or(|to| stored.as_bytes() < &to[..]));
            let (first, last) = partitions.slots(partition);
            prop_assert!((first..=last).contains(&slot(&key)));
            prop_assert_eq!(partitions.run(partition).range(), (from, to));
            prop_assert_eq!(stored.user_key(), &key[..]);
            prop_assert_eq!(stored.database(), 3);
            prop_assert_eq!(StorageKey::from_bytes(Bytes::copy_from_slice(stored.as_bytes())), Some(stored));
        }

        #[test]
        fn ranges_tile_the_token_space(bits in 0u32..=14) {
            let partitions = Partitions::new(1 << bits).unwrap();
            let mut expected = Some([0; 8]);
            for n in 0..partitions.count() {
                let (from, to) = partitions.range(Partition(n as u16));
                prop_assert_eq!(Some(from), expected);
                expected = to;
            }
            prop_assert_eq!(expected, None);
        }
    }
}
