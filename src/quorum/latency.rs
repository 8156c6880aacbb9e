//! How soon a peer answers, of late: whom to ask first, and when to stop waiting for one and ask another (§6.1).
//!
//! You know which neighbour comes to the door quickly. You remember it roughly, and the last times better than the old
//! ones; and once you have waited longer than the next neighbour nearly ever takes, you knock there as well.
//!
//! # Contract
//! - One measurement for a frame, however many requests are in it. [`Latency::age`] is called each second.
//! - [`Latency::typical_us`] follows the last dozen measurements. Seconds without any take something off it, so that a
//!   peer that nobody asks because it was slow is tried again some day.
//! - [`Latency::tail_us`] is the time within which the wanted share of the answers of the last seconds came, too high by at
//!   most a quarter.
//!
//! # What it refuses to do
//! It knows no clock, and does not say who can be reached: a slow peer is not a dead one.

/// Four buckets for each doubling, from a microsecond to over an hour.
const BUCKETS: usize = 4 * 32;

/// What one measurement weighs when it is new; it then loses an eighth each second.
const WEIGHT: u32 = 1 << 10;

/// With less weight in all than so many new measurements, nothing is said of the tail.
const MEASUREMENTS_MIN: u32 = 16;

/// Below this, peers count as equally fast: asking the preferred one is worth more than some microseconds.
const SAME_US: u32 = 1000;

/// Answer times of one peer. See the module.
#[derive(Clone, Debug)]
pub struct Latency {
    typical_us: u32,
    buckets: [u32; BUCKETS],
    measured: bool,
}

impl Default for Latency {
    /// Nothing is known.
    fn default() -> Latency {
        Latency { typical_us: 0, buckets: [0; BUCKETS], measured: false }
    }
}

impl Latency {
    /// A read was answered after so long, or not yet.
    pub fn answered(&mut self, took_us: u32) {
        self.heard(took_us);
        let bucket = &mut self.buckets[bucket(took_us)];
        *bucket = bucket.saturating_add(WEIGHT);
    }

    /// Something else was answered after so long: it says how fast the peer is, not how long reads take.
    pub fn heard(&mut self, took_us: u32) {
        let (old, new) = (u64::from(self.typical_us), u64::from(took_us));
        let mixed = if old == 0 { new } else { (old * 7 + new).div_ceil(8) };
        // Both were 32 bits long.
        self.typical_us = mixed as u32;
        self.measured = true;
    }

    /// A second has passed.
    pub fn age(&mut self) {
        self.buckets.iter_mut().for_each(|weight| *weight -= weight.div_ceil(8));
        if !std::mem::take(&mut self.measured) {
            self.typical_us -= self.typical_us / 16;
        }
    }

    /// How long an answer takes as a rule, in microseconds; 0: nobody knows.
    pub fn typical_us(&self) -> u32 {
        self.typical_us
    }

    /// Within how many microseconds so many of a hundred answers to reads come; none: there were too few to say.
    pub fn tail_us(&self, percentile: u8) -> Option<u32> {
        let total: u64 = self.buckets.iter().map(|weight| u64::from(*weight)).sum();
        if total < u64::from(MEASUREMENTS_MIN * WEIGHT) {
            return None;
        }
        let wanted = (total * u64::from(percentile)).div_ceil(100);
        let mut within = 0;
        let reaches = |weight: &u32| {
            within += u64::from(*weight);
            within >= wanted
        };
        self.buckets.iter().position(reaches).map(bucket_end)
    }
}

/// The rank of a peer beside the quickest of those that could be asked: 0 for all that are not twice as slow, so that load is
/// not driven to and fro among equals.
pub fn rank(typical_us: u32, quickest_us: u32) -> u32 {
    (typical_us.max(SAME_US) / quickest_us.max(SAME_US)).max(1).ilog2()
}

fn bucket(us: u32) -> usize {
    let us = us.max(1);
    let octave = us.ilog2();
    // The two bits below the highest one.
    let quarter = (u64::from(us) << 2 >> octave) & 3;
    octave as usize * 4 + quarter as usize
}

/// The first number of microseconds that lies beyond a bucket.
fn bucket_end(bucket: usize) -> u32 {
    let (octave, quarter) = (bucket / 4, bucket as u64 % 4);
    let end = (1u64 << octave) * (quarter + 5) / 4;
    u32::try_from(end).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_peer_that_turns_slow_is_known_after_one_answer_and_forgiven_after_some() {
        let mut latency = Latency::default();
        (0..100).for_each(|_| latency.answered(300));
        assert_eq!((latency.typical_us(), rank(latency.typical_us(), 300)), (300, 0));
        latency.answered(200_000);
        assert!(rank(latency.typical_us(), 300) > 3, "{latency:?}");
        (0..60).for_each(|_| latency.heard(300));
        assert_eq!(rank(latency.typical_us(), 300), 0, "{}", latency.typical_us());
    }

    #[test]
    fn who_is_not_asked_any_more_is_tried_again_some_day() {
        let mut latency = Latency::default();
        latency.answered(200_000);
        latency.age();
        assert_eq!(latency.typical_us(), 200_000, "measured within that second");
        let seconds = (0..).take_while(|_| {
            latency.age();
            rank(latency.typical_us(), 300) > 0
        });
        assert!((20..200).contains(&seconds.count()));
    }

    #[test]
    fn too_few_answers_say_nothing_of_the_tail_and_old_ones_fade() {
        let mut latency = Latency::default();
        (0..15).for_each(|_| latency.answered(100));
        assert_eq!(latency.tail_us(99), None);
        latency.answered(100);
        assert!(latency.tail_us(99).is_some());
        (0..1000).for_each(|_| latency.answered(50_000));
        (0..60).for_each(|_| latency.age());
        assert_eq!(latency.tail_us(50), None);
        (0..100).for_each(|_| latency.answered(100));
        assert!(latency.tail_us(99).is_some_and(|us| us < 200), "what was slow a minute ago is forgotten");
    }

    #[test]
    fn equals_are_equal_however_slow() {
        assert_eq!((rank(0, 0), rank(999, 0), rank(1999, 0), rank(2000, 0)), (0, 0, 0, 1));
        assert_eq!((rank(9000, 5000), rank(5000, 9000), rank(10_000, 5000), rank(u32::MAX, 5000)), (0, 0, 1, 19));
    }

    proptest! {
        #[test]
        fn the_tail_is_the_sorted_list_s_within_a_quarter(
            mut took in proptest::collection::vec(1u32..100_000_000, 16..200), percentile in 1u8..=100
        ) {
            let mut latency = Latency::default();
            took.iter().for_each(|us| latency.answered(*us));
            took.sort_unstable();
            let exact = took[(took.len() * usize::from(percentile)).div_ceil(100) - 1];
            let tail = latency.tail_us(percentile).unwrap();
            prop_assert!(tail >= exact && tail <= exact + exact / 4 + 1, "{tail} for {exact}");
        }

        #[test]
        fn no_time_is_too_long(took in any::<u32>()) {
            let mut latency = Latency::default();
            (0..20).for_each(|_| latency.answered(took));
            prop_assert!(latency.tail_us(100).is_some_and(|tail| tail >= took));
            prop_assert_eq!(latency.typical_us(), took);
        }
    }
}
