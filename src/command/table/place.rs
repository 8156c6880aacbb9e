//! Where a command's keys are among its words.

/// Keys that are alike: where they are among the words, and what is done with them.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    /// The first key's place; the name is at 0.
    pub first: i32,
    /// The last key's place; negative: counted from the end.
    pub last: i32,
    /// From one key to the next.
    pub step: i32,
    /// Redis's words for what is done with them.
    pub access: &'static [&'static str],
    /// Why that is so, where it surprises.
    pub note: Option<&'static str>,
}

impl Keys {
    /// The places of these keys among so many words.
    pub fn places(self, words: usize) -> impl Iterator<Item = usize> {
        let last = if self.last < 0 { words as i64 + i64::from(self.last) } else { i64::from(self.last) };
        let last = last.min(words as i64 - 1);
        (i64::from(self.first)..=last).step_by(self.step.max(1) as usize).map(|place| place as usize)
    }

    /// First, last and step over all keys of a command, as clients older than key specifications read it; zeros: none.
    pub fn range(all: &[Option<Keys>]) -> (i32, i32, i32) {
        let mut known = all.iter().flatten();
        let Some(first) = known.next() else { return (0, 0, 0) };
        (first.first, known.last().unwrap_or(first).last, first.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(first: i32, last: i32) -> Keys {
        Keys { first, last, step: 1, access: &[], note: None }
    }

    #[test]
    fn two_kinds_of_keys_make_one_range() {
        assert_eq!(Keys::range(&[None, None]), (0, 0, 0));
        assert_eq!(Keys::range(&[Some(keys(1, 1)), None]), (1, 1, 1));
        assert_eq!(Keys::range(&[Some(keys(1, 1)), Some(keys(2, 2))]), (1, 2, 1));
        assert_eq!(Keys::range(&[Some(keys(2, 2)), Some(keys(3, -1))]), (2, -1, 1));
    }

    #[test]
    fn places_stop_where_the_words_do() {
        assert_eq!(keys(2, -1).places(5).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!(keys(1, 2).places(2).collect::<Vec<_>>(), [1]);
        assert_eq!(keys(2, -1).places(2).count(), 0);
    }
}
