//! The page number and the running total at the foot of each page of the ledger.
//!
//! Every engine commit that is synced carries one, and a copy lies beside the engine: a ledger that lost a page it had
//! synced, or whose last page was replaced, then betrays itself.

use super::engine::{Space, Write};
use bytes::Bytes;

/// So much is gathered before it is added to the checksum: many small pieces cost twice what a large one does.
const GATHERED_BYTES_MAX: usize = 1000;

/// What goes before a write's key and value: its space, and how long these are.
const HEAD_BYTES: usize = 7;

/// The key in [`Space::Meta`] under which every synced commit leaves its number and checksum.
pub const BATCH_KEY: Bytes = Bytes::from_static(b"batch");

/// Whether an engine that ends with one batch lacks something that the other says was synced, or nobody can tell.
pub(super) fn is_truncated(engine: Option<BatchMark>, mark: Option<BatchMark>) -> bool {
    match (engine, mark) {
        (Some(engine), Some(mark)) => engine.number < mark.number || (engine.number == mark.number && engine != mark),
        _ => true,
    }
}

/// The last batch of an engine: its number, and a checksum over it and all batches before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchMark {
    /// The batch's number; the first has 1.
    pub number: u64,
    /// The running CRC32.
    pub checksum: u32,
}

impl BatchMark {
    /// The mark of the batch that follows.
    pub fn next(&self, writes: &[Write]) -> BatchMark {
        let number = self.number + 1;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.checksum.to_be_bytes());
        hasher.update(&number.to_be_bytes());
        let mut gathered = Vec::with_capacity(GATHERED_BYTES_MAX + HEAD_BYTES);
        for write in writes {
            let value_bytes = write.value.as_ref().map_or(u32::MAX, |value| value.len() as u32);
            let mut head = [0; HEAD_BYTES];
            head[0] = write.space.index() as u8;
            head[1..3].copy_from_slice(&(write.key.len() as u16).to_be_bytes());
            head[3..].copy_from_slice(&value_bytes.to_be_bytes());
            gathered.extend_from_slice(&head);
            for piece in [&write.key[..], write.value.as_deref().unwrap_or_default()] {
                if gathered.len() + piece.len() <= GATHERED_BYTES_MAX {
                    gathered.extend_from_slice(piece);
                } else {
                    hasher.update(&gathered);
                    gathered.clear();
                    hasher.update(piece);
                }
            }
        }
        hasher.update(&gathered);
        BatchMark { number, checksum: hasher.finalize() }
    }

    /// The engine's own copy of it.
    pub fn write(&self) -> Write {
        Write { space: Space::Meta, key: BATCH_KEY, value: Some(Bytes::copy_from_slice(&self.encode())) }
    }

    /// Number (big-endian u64), then checksum (big-endian u32).
    pub fn encode(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.checksum.to_be_bytes());
        bytes
    }

    /// The reverse; none for any other length.
    pub fn decode(bytes: &[u8]) -> Option<BatchMark> {
        let (number, checksum) = bytes.split_first_chunk::<8>()?;
        Some(BatchMark { number: u64::from_be_bytes(*number), checksum: u32::from_be_bytes(checksum.try_into().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_mark_depends_on_everything_before() {
        let write = |value: &'static str| Write {
            space: super::super::engine::Space::Objects,
            key: "k".into(),
            value: Some(value.into()),
        };
        let (one, other) = (BatchMark::default().next(&[write("a")]), BatchMark::default().next(&[write("b")]));
        assert_eq!((one.number, other.number), (1, 1));
        assert_ne!(one.checksum, other.checksum);
        assert_ne!(one.next(&[write("c")]).checksum, other.next(&[write("c")]).checksum);
        assert_eq!(BatchMark::decode(&one.encode()), Some(one));
        assert_eq!(BatchMark::decode(&one.encode()[1..]), None);
    }

    #[test]
    fn gathering_changes_no_checksum() {
        let sizes =
            [0, 1, GATHERED_BYTES_MAX - 1, GATHERED_BYTES_MAX, GATHERED_BYTES_MAX + 1, 3, 900, 900, 900, 900, 900];
        let value = |(at, size): (usize, &usize)| (at != 5).then(|| Bytes::from(vec![at as u8; *size]));
        let values = || sizes.iter().enumerate().map(value);
        let write = |value| Write { space: Space::Objects, key: "k".into(), value };
        let mut whole = [9u32.to_be_bytes().as_slice(), &8u64.to_be_bytes()].concat();
        for value in values() {
            let bytes = value.as_ref().map_or(u32::MAX, |value| value.len() as u32);
            whole.extend([Space::Objects.index() as u8, 0, 1]);
            whole.extend(bytes.to_be_bytes());
            whole.extend([&b"k"[..], value.as_deref().unwrap_or_default()].concat());
        }
        let writes: Vec<Write> = values().map(write).collect();
        let next = BatchMark { number: 7, checksum: 9 }.next(&writes);
        assert_eq!(next, BatchMark { number: 8, checksum: crc32fast::hash(&whole) });
    }
}
