//! The chart of the longest common subsequence: for each pair of prefixes, how long theirs is.
//!
//! # Contract
//! - Which of several longest ones is found, and in which order its matches are told (from the end), is what Redis does:
//!   on a tie the second string is shortened first.
//! - Memory: two rows of lengths, and one bit a cell for the way back.

/// A drawn chart.
pub struct Chart<'a> {
    a: &'a [u8],
    b: &'a [u8],
    /// For each cell, row by row of `a`: whether the way back shortens `a`, where the characters differ.
    shortens_a: Vec<u64>,
    /// The length of the longest common subsequence.
    pub length: usize,
}

/// A run of characters that both strings have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where it begins in the first string.
    pub a: usize,
    /// Where it begins in the second string.
    pub b: usize,
    /// How long it is.
    pub bytes: usize,
}

/// How long the longest common subsequence is; needs no way back.
pub fn length(a: &[u8], b: &[u8]) -> usize {
    fill(a, b, |_| {})
}

/// Fills the chart row by row; `shortens_a` is called with each cell from which the way back shortens the first string.
fn fill(a: &[u8], b: &[u8], mut shortens_a: impl FnMut(usize)) -> usize {
    let mut above = vec![0u32; b.len() + 1];
    for (row, in_a) in a.iter().enumerate() {
        let (mut left, mut diagonal) = (0, 0);
        for (column, in_b) in b.iter().enumerate() {
            let up = above[column + 1];
            let here = if in_a == in_b {
                diagonal + 1
            } else if up > left {
                shortens_a(row * b.len() + column);
                up
            } else {
                left
            };
            (diagonal, left) = (up, here);
            above[column + 1] = here;
        }
    }
    above[b.len()] as usize
}

impl<'a> Chart<'a> {
    /// Draws the chart of two strings; takes a step for each pair of their characters.
    pub fn draw(a: &'a [u8], b: &'a [u8]) -> Chart<'a> {
        let mut bits = vec![0u64; (a.len() * b.len()).div_ceil(64)];
        let length = fill(a, b, |cell| bits[cell / 64] |= 1 << (cell % 64));
        Chart { a, b, shortens_a: bits, length }
    }

    /// The runs that make up the longest common subsequence, the last one first.
    pub fn matches(&self) -> impl Iterator<Item = Match> {
        let (mut row, mut column) = (self.a.len(), self.b.len());
        std::iter::from_fn(move || {
            let mut bytes = 0;
            while row > 0 && column > 0 {
                if self.a[row - 1] == self.b[column - 1] {
                    (row, column, bytes) = (row - 1, column - 1, bytes + 1);
                } else if bytes > 0 {
                    break;
                } else if self.shortens_a((row - 1) * self.b.len() + column - 1) {
                    row -= 1;
                } else {
                    column -= 1;
                }
            }
            (bytes > 0).then_some(Match { a: row, b: column, bytes })
        })
    }

    /// The longest common subsequence itself.
    pub fn common(&self) -> Vec<u8> {
        let mut runs: Vec<Match> = self.matches().collect();
        runs.reverse();
        runs.iter().flat_map(|run| &self.a[run.a..run.a + run.bytes]).copied().collect()
    }

    fn shortens_a(&self, cell: usize) -> bool {
        self.shortens_a[cell / 64] & (1 << (cell % 64)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All subsequences of `a`, tried one by one.
    fn longest_by_trying(a: &[u8], b: &[u8]) -> usize {
        let is_in = |mask: u32| {
            let mut rest = b.iter();
            (0..a.len()).filter(|at| mask & (1 << at) != 0).all(|at| rest.any(|byte| *byte == a[at]))
        };
        (0..1u32 << a.len()).filter(|mask| is_in(*mask)).map(u32::count_ones).max().unwrap_or(0) as usize
    }

    proptest! {
        #[test]
        fn it_is_the_longest_and_lies_in_both(
            a in proptest::collection::vec(0u8..4, 0..9), b in proptest::collection::vec(0u8..4, 0..9)
        ) {
            let chart = Chart::draw(&a, &b);
            prop_assert_eq!(chart.length, longest_by_trying(&a, &b));
            prop_assert_eq!(length(&a, &b), chart.length);
            prop_assert_eq!(chart.common().len(), chart.length);
            let (mut before_a, mut before_b) = (a.len(), b.len());
            for run in chart.matches() {
                prop_assert_eq!(&a[run.a..run.a + run.bytes], &b[run.b..run.b + run.bytes]);
                prop_assert!(run.a + run.bytes <= before_a && run.b + run.bytes <= before_b);
                (before_a, before_b) = (run.a, run.b);
            }
        }
    }

    #[test]
    fn nothing_has_nothing_in_common() {
        assert_eq!(Chart::draw(b"", b"abc").common(), b"");
        assert_eq!(Chart::draw(b"abc", b"def").matches().count(), 0);
    }
}
