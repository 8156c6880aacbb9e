//! Adding up what nodes keep count of, stretch by stretch.
//!
//! Several offices are asked how many houses their stretch of the street has. Where all name one number, that is it. Where they
//! do not, somebody walks down the stretch and counts, unless that would take all day; then the greatest number counts, for an
//! office that has lost a page knows of fewer houses, never of more.
//!
//! Contract: what is to be walked through in all holds at most [`WALKED_MAX`] keys, going by the greatest numbers named.

/// How many keys one count looks at because nodes disagree.
pub const WALKED_MAX: u64 = 50_000;

/// What the nodes that were asked about one stretch keep count of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    least: Option<u64>,
    greatest: u64,
}

impl Tally {
    /// One more node has named its number.
    pub fn add(&mut self, count: u64) {
        self.least = Some(self.least.map_or(count, |least| least.min(count)));
        self.greatest = self.greatest.max(count);
    }

    fn is_agreed(&self) -> bool {
        self.least == Some(self.greatest)
    }
}

/// What all tallies come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Keys of the stretches that are not walked through.
    pub known: u64,
    /// The stretches to be walked through, by their places among the tallies.
    pub to_walk: Vec<usize>,
}

/// Adds tallies up.
pub fn add_up(tallies: &[Tally]) -> Sum {
    let (mut sum, mut walked) = (Sum::default(), 0);
    for (at, tally) in tallies.iter().enumerate() {
        if tally.is_agreed() || walked + tally.greatest > WALKED_MAX {
            sum.known += tally.greatest;
        } else {
            walked += tally.greatest;
            sum.to_walk.push(at);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(counts: &[u64]) -> Tally {
        let mut tally = Tally::default();
        counts.iter().for_each(|count| tally.add(*count));
        tally
    }

    #[test]
    fn what_all_agree_on_is_known_and_the_rest_is_walked_through() {
        let sum = add_up(&[tally(&[3, 3]), tally(&[4, 5]), tally(&[0, 0]), tally(&[6, 2, 6])]);
        assert_eq!(sum, Sum { known: 3, to_walk: vec![1, 3] });
        assert_eq!(add_up(&[tally(&[9])]), Sum { known: 9, to_walk: vec![] }, "one answer agrees with itself");
    }

    #[test]
    fn no_more_is_walked_through_than_may_be_and_then_the_greatest_number_counts() {
        let half = WALKED_MAX / 2;
        let sum = add_up(&[tally(&[half, 0]), tally(&[1, half + 1]), tally(&[half, 7]), tally(&[1, 0])]);
        assert_eq!(sum, Sum { known: half + 2, to_walk: vec![0, 2] });
    }
}
