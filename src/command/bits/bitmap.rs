//! What a row of bits can tell, and how it is changed. Bit 0 is the highest bit of the first byte; beyond the end all
//! bits are clear. Pure functions of bytes.

use crate::command::arguments::{is, syntax_error};
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::ops::Range;

/// How several rows become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// Set where all are.
    And,
    /// Set where any is.
    Or,
    /// Set where an odd number is.
    Xor,
    /// Set where the only one is not.
    Not,
}

impl Join {
    /// The operation that BITOP's words name.
    pub fn named(words: &[Bytes]) -> Result<Join, Reply> {
        let names = [("AND", Join::And), ("OR", Join::Or), ("XOR", Join::Xor), ("NOT", Join::Not)];
        let join = names.iter().find(|(name, _)| is(&words[1], name)).map(|(_, join)| *join);
        match join.ok_or_else(syntax_error)? {
            Join::Not if words.len() != 4 => {
                Err(Reply::error("ERR BITOP NOT must be called with a single source key."))
            }
            join => Ok(join),
        }
    }

    /// The row made of these: as long as the longest, the shorter ones filled with clear bits.
    pub fn of(self, rows: &[Bytes]) -> Vec<u8> {
        let longest = rows.iter().map(Bytes::len).max().unwrap_or(0);
        let mut rows = rows.iter();
        let mut joined = rows.next().map(|row| row.to_vec()).unwrap_or_default();
        joined.resize(longest, 0);
        for row in rows {
            let (within, beyond) = joined.split_at_mut(row.len());
            match self {
                Join::And => {
                    within.iter_mut().zip(row).for_each(|(byte, other)| *byte &= other);
                    beyond.fill(0);
                }
                Join::Or => within.iter_mut().zip(row).for_each(|(byte, other)| *byte |= other),
                Join::Xor => within.iter_mut().zip(row).for_each(|(byte, other)| *byte ^= other),
                Join::Not => {}
            }
        }
        if self == Join::Not {
            joined.iter_mut().for_each(|byte| *byte = !*byte);
        }
        joined
    }
}

/// The mask of a bit in its byte.
fn mask(at: u64) -> u8 {
    0x80 >> (at % 8)
}

/// One bit.
pub fn bit(row: &[u8], at: u64) -> bool {
    usize::try_from(at / 8).ok().and_then(|byte| row.get(byte)).is_some_and(|byte| byte & mask(at) != 0)
}

/// The row with one bit as it should be; longer, where it must be.
pub fn with_bit(row: &[u8], at: u64, on: bool) -> Vec<u8> {
    let mut new = grown(row, at);
    let byte = &mut new[(at / 8) as usize];
    *byte = if on { *byte | mask(at) } else { *byte & !mask(at) };
    new
}

/// A copy of the row that reaches at least to bit `at`.
pub fn grown(row: &[u8], at: u64) -> Vec<u8> {
    let bytes = row.len().max((at / 8) as usize + 1);
    let mut new = Vec::with_capacity(bytes);
    new.extend_from_slice(row);
    new.resize(bytes, 0);
    new
}

/// How many of the bits in a range within the row are set.
pub fn count(row: &[u8], bits: Range<u64>) -> u64 {
    pieces(row, bits).map(|piece| u64::from(piece.word(row, false).count_ones())).sum()
}

/// The first bit in a range within the row that is as wanted.
pub fn first(row: &[u8], bits: Range<u64>, wanted: bool) -> Option<u64> {
    pieces(row, bits).find_map(|piece| {
        let zeros = piece.word(row, !wanted).leading_zeros();
        (zeros < u64::BITS).then(|| piece.from / 64 * 64 + u64::from(zeros))
    })
}

/// The part of a range of bits that lies in one run of eight bytes.
struct Piece {
    from: u64,
    to: u64,
}

fn pieces(row: &[u8], bits: Range<u64>) -> impl Iterator<Item = Piece> {
    let mut from = bits.start;
    let end = bits.end.min(row.len() as u64 * 8);
    std::iter::from_fn(move || {
        (from < end).then(|| {
            let piece = Piece { from, to: end.min((from / 64 + 1) * 64) };
            from = piece.to;
            piece
        })
    })
}

impl Piece {
    /// The piece's bits (or, inverted, their opposites) at their places in a word whose highest bit is the first of the
    /// eight bytes; clear elsewhere.
    fn word(&self, row: &[u8], inverted: bool) -> u64 {
        let begin = (self.from / 64 * 8) as usize;
        let bytes = &row[begin..row.len().min(begin + 8)];
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        let word = u64::from_be_bytes(all) ^ if inverted { u64::MAX } else { 0 };
        let (skipped, kept) = (self.from % 64, self.to - self.from);
        word & (u64::MAX << (64 - kept) >> skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn naive(row: &[u8]) -> Vec<bool> {
        row.iter().flat_map(|byte| (0..8).map(move |at| byte >> (7 - at) & 1 == 1)).collect()
    }

    fn row() -> impl Strategy<Value = Vec<u8>> {
        vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..40)
    }

    proptest! {
        #[test]
        fn counting_and_finding_agree_with_looking_at_each(row in row(), from in 0u64..400, length in 0u64..400, wanted: bool) {
            let bits = from..from + length;
            let lamps = naive(&row);
            let within = |at: &usize| bits.contains(&(*at as u64));
            let set = (0..lamps.len()).filter(within).filter(|at| lamps[*at]).count();
            prop_assert_eq!(count(&row, bits.clone()), set as u64);
            let found = (0..lamps.len()).filter(within).find(|at| lamps[*at] == wanted);
            prop_assert_eq!(first(&row, bits.clone(), wanted), found.map(|at| at as u64));
        }

        #[test]
        fn one_bit_changes_and_the_rest_stays(row in row(), at in 0u64..400, on: bool) {
            let new = with_bit(&row, at, on);
            prop_assert_eq!(new.len(), row.len().max(at as usize / 8 + 1));
            for place in 0..new.len() as u64 * 8 {
                prop_assert_eq!(bit(&new, place), if place == at { on } else { bit(&row, place) });
            }
            prop_assert_eq!(naive(&row), (0..row.len() as u64 * 8).map(|at| bit(&row, at)).collect::<Vec<_>>());
        }

        #[test]
        fn joining_is_done_bit_by_bit(rows in vec(row(), 1..4)) {
            let rows: Vec<Bytes> = rows.into_iter().map(Bytes::from).collect();
            let longest = rows.iter().map(Bytes::len).max().unwrap();
            let rule = |join: Join, set: usize| match join {
                Join::And => set == rows.len(),
                Join::Or => set > 0,
                Join::Xor | Join::Not => set % 2 == 1,
            };
            for join in [Join::And, Join::Or, Join::Xor] {
                let joined = join.of(&rows);
                prop_assert_eq!(joined.len(), longest);
                for at in 0..longest as u64 * 8 {
                    let set = rows.iter().filter(|row| bit(row, at)).count();
                    prop_assert_eq!(bit(&joined, at), rule(join, set), "{:?} {}", join, at);
                }
            }
            let not = Join::Not.of(&rows[..1]);
            prop_assert!(not.iter().zip(&rows[0]).all(|(new, old)| *new == !old) && not.len() == rows[0].len());
        }
    }
}
