//! The purse against naive sums.

use super::*;
use proptest::prelude::*;

const SETTINGS: Settings = Settings { target_us: 50_000, bytes_per_s_max: 32_000 };

fn of(latencies_us: &[u64]) -> Latencies {
    let mut latencies = Latencies::default();
    latencies_us.iter().for_each(|us| latencies.add(Latencies::bucket(*us), 1));
    latencies
}

/// The budget after so many more seconds like this one.
fn after(mut budget: Budget, latencies_us: &[u64], seconds: u64) -> Budget {
    let from = budget.paid_ms / 1000;
    (1..=seconds).for_each(|second| budget.second(of(latencies_us), (from + second) * 1000));
    budget
}

#[test]
fn it_sinks_fast_while_the_foreground_is_slow_never_below_the_floor_and_rises_slowly_after() {
    let slow = after(Budget::new(SETTINGS, 0), &[60_000], 3);
    assert_eq!(slow.bytes_per_s(), 4_000);
    let floor = after(slow, &[60_000], 7);
    assert_eq!(floor.bytes_per_s(), 1_000);
    let seen = after(floor, &[1_000], WINDOW_SECONDS as u64 - 1);
    assert_eq!(seen.bytes_per_s(), 1_000, "the slow second is still in sight");
    let better = after(seen, &[1_000], 3);
    assert_eq!(better.bytes_per_s(), 7_000);
    assert_eq!(after(better, &[], 60).bytes_per_s(), 32_000);
}

#[test]
fn one_slow_request_of_a_thousand_changes_nothing() {
    let mut second = vec![1_000; 999];
    second.push(9_000_000);
    let budget = after(Budget::new(SETTINGS, 0), &second, 20);
    assert_eq!((budget.bytes_per_s(), budget.p99_us() < 1_300), (32_000, true));
}

#[test]
fn an_old_peak_does_not_halve_twice() {
    let one = after(Budget::new(SETTINGS, 0), &[60_000], 1);
    assert_eq!(after(one, &[1_000], 8).bytes_per_s(), 16_000);
}

#[test]
fn who_overdraws_makes_the_next_one_wait_and_a_huge_debt_is_forgiven() {
    let mut budget = Budget::new(SETTINGS, 0);
    assert_eq!(budget.take(16_000, 0), 0);
    assert_eq!(budget.take(1, 0), 500);
    assert_eq!(budget.take(1, 499), 1);
    assert_eq!(budget.take(u64::MAX, 501), 0);
    assert_eq!(budget.take(1, 501), 1001);
}

#[test]
fn other_settings_hold_at_once() {
    let mut budget = Budget::new(SETTINGS, 0);
    budget.set(Settings { bytes_per_s_max: 640, ..SETTINGS }, 0);
    assert_eq!(budget.bytes_per_s(), 640);
    budget.set(SETTINGS, 0);
    assert_eq!(budget.bytes_per_s(), 1_000, "what it was, but not below the new floor");
}

proptest! {
    #[test]
    fn a_latency_is_rounded_up_by_a_quarter_at_most(us in 0u64..60_000_000) {
        let longest = Latencies::longest(Latencies::bucket(us));
        prop_assert!(longest >= us && longest <= us + us / 4, "{us}: {longest}");
    }

    #[test]
    fn the_percentile_is_that_of_the_sorted_list(
        seconds in proptest::collection::vec(proptest::collection::vec(0u64..10_000_000, 0..300), 1..14),
    ) {
        let mut budget = Budget::new(SETTINGS, 0);
        seconds.iter().zip(1..).for_each(|(second, at)| budget.second(of(second), at * 1000));
        let mut all: Vec<u64> = seconds.iter().rev().take(WINDOW_SECONDS).flatten().copied().collect();
        all.sort_unstable();
        // The largest that more than one in a hundred reach.
        let naive = all.len().checked_sub(1 + all.len() / 100).map_or(0, |at| all[at]);
        prop_assert!(budget.p99_us() >= naive && budget.p99_us() <= naive + naive / 4, "{} {naive}", budget.p99_us());
    }

    #[test]
    fn no_more_is_taken_than_time_has_paid_and_nobody_starves(
        events in proptest::collection::vec((0u64..3_000, prop_oneof![Just(None), (0u64..20_000).prop_map(Some)], any::<bool>()), 1..80),
    ) {
        let mut budget = Budget::new(SETTINGS, 0);
        let (mut now, mut earned, mut taken, mut largest) = (0u64, 0u64, 0u64, 0u64);
        for (passed, second, slow) in events {
            now += passed;
            earned += passed * budget.bytes_per_s() / 1000;
            match second {
                None => budget.second(of(&[if slow { 90_000 } else { 100 }]), now),
                Some(bytes) => match budget.take(bytes, now) {
                    0 => (taken, largest) = (taken + bytes, largest.max(bytes)),
                    wait => {
                        prop_assert!(wait <= 1 + u64::from(FLOOR_PART as u32) * 1000, "{wait} ms");
                        let mut later = budget.clone();
                        prop_assert_eq!(later.take(bytes, now + wait), 0, "who waits as told is served");
                    }
                },
            }
            prop_assert!((SETTINGS.bytes_per_s_max / FLOOR_PART..=SETTINGS.bytes_per_s_max).contains(&budget.bytes_per_s()));
            prop_assert!(taken <= earned + SETTINGS.bytes_per_s_max / 4 + largest + 80);
        }
    }
}
