//! The rules of carrying, one by one, and a random walk against what a patient watcher would note down.

use super::{ALL_HOMES, End, Handoff, Page, Settings};
use crate::causality::NodeTag;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;

const A: NodeTag = NodeTag(1);
const B: NodeTag = NodeTag(2);
const SETTINGS: Settings = Settings { pages_max: 2, pause_min_ms: 100, pause_max_ms: 450 };

fn handoff() -> Handoff {
    Handoff::new(SETTINGS)
}

fn page(home: NodeTag, after: Option<&'static str>) -> Page {
    Page { home, after: after.map(|name| Bytes::from_static(name.as_bytes())) }
}

fn tried(left: bool, last: Option<&'static str>) -> End {
    End::Tried { left, last: last.map(|name| Bytes::from_static(name.as_bytes())) }
}

fn all(_: NodeTag) -> bool {
    true
}

#[test]
fn pages_follow_each_other_until_a_pass_has_left_nothing() {
    let mut handoff = handoff();
    assert!(handoff.next(0, all).is_empty());
    handoff.found([A]);
    assert_eq!(handoff.next(0, all), [page(A, None)]);
    assert!(handoff.next(0, all).is_empty(), "one page at a time");
    handoff.found([A]);
    assert!(handoff.next(0, all).is_empty(), "found again, it is still under way");
    handoff.carried(A, tried(false, Some("k")), 1);
    assert_eq!(handoff.next(1, all), [page(A, Some("k"))]);
    handoff.carried(A, tried(true, None), 2);
    assert!(handoff.next(50, all).is_empty(), "what was left behind is tried again after a pause");
    assert_eq!(handoff.next(102, all), [page(A, None)]);
    handoff.carried(A, tried(false, None), 103);
    assert!(handoff.is_idle());
}

#[test]
fn what_an_early_page_left_is_not_forgotten_by_a_good_last_one() {
    let mut handoff = handoff();
    handoff.found([A]);
    handoff.next(0, all);
    handoff.carried(A, tried(true, Some("k")), 0);
    handoff.next(0, all);
    handoff.carried(A, tried(false, None), 0);
    assert!(!handoff.is_idle());
    assert_eq!(handoff.next(100, all), [page(A, None)]);
}

#[test]
fn a_page_that_broke_off_is_carried_again_after_a_pause_that_doubles() {
    let mut handoff = handoff();
    handoff.found([A]);
    handoff.next(0, all);
    handoff.carried(A, tried(false, Some("k")), 0);
    let mut now = 0;
    for pause in [100, 200, 400, 450, 450] {
        assert_eq!(handoff.next(now, all), [page(A, Some("k"))], "from where it was");
        handoff.carried(A, End::BrokeOff, now);
        assert!(handoff.next(now + pause - 1, all).is_empty(), "a pause of {pause} ms");
        now += pause;
    }
    assert!(handoff.next(now - 1, |_| false).is_empty(), "the lamp goes out");
    assert_eq!(handoff.next(now - 1, all), [page(A, Some("k"))], "and on: at once");
    handoff.carried(A, End::BrokeOff, now);
    assert_eq!(handoff.next(now + 100, all).len(), 1, "and the pauses are short again");
}

#[test]
fn homes_take_turns_and_one_that_is_away_holds_up_nobody() {
    let mut handoff = Handoff::new(Settings { pages_max: 1, ..SETTINGS });
    handoff.found([ALL_HOMES, A, B]);
    let mut order = Vec::new();
    for now in 0..6 {
        let pages = handoff.next(now, |home| home != A);
        assert_eq!(pages.len(), 1);
        order.push(pages[0].home);
        handoff.carried(pages[0].home, tried(false, Some("k")), now);
    }
    assert_eq!(order, [B, ALL_HOMES, B, ALL_HOMES, B, ALL_HOMES]);
}

/// A step of the random walk: milliseconds that pass, whether A and B answer, and what becomes of the pages under way.
type Step = (u64, bool, bool, Vec<u8>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ends = proptest::collection::vec(0u8..4, 0..4);
    proptest::collection::vec((0u64..300, any::<bool>(), any::<bool>(), ends), 1..60)
}

fn end(kind: u8) -> End {
    match kind {
        0 => End::BrokeOff,
        1 => End::Tried { left: false, last: None },
        2 => End::Tried { left: true, last: None },
        _ => End::Tried { left: false, last: Some(Bytes::from_static(b"k")) },
    }
}

proptest! {
    /// Never two pages for one home, never more than allowed, never to a home that is away.
    #[test]
    fn no_step_breaks_a_rule(steps in steps()) {
        let mut handoff = handoff();
        let mut now = 0;
        let mut under_way: BTreeSet<NodeTag> = BTreeSet::new();
        for (passed, a, b, ends) in steps {
            now += passed;
            handoff.found([A, B]);
            let reachable = |home| if home == A { a } else { b };
            for page in handoff.next(now, reachable) {
                prop_assert!(reachable(page.home));
                prop_assert!(under_way.insert(page.home));
            }
            prop_assert!(under_way.len() <= SETTINGS.pages_max);
            for kind in ends {
                let Some(home) = under_way.pop_first() else { break };
                handoff.carried(home, end(kind), now);
            }
        }
    }

    /// Whatever happened before: when all answer and nothing is left any more, it comes to its end.
    #[test]
    fn it_comes_to_its_end(steps in steps()) {
        let mut handoff = handoff();
        let (mut now, mut under_way) = (0, Vec::new());
        for (passed, a, b, ends) in steps {
            now += passed;
            handoff.found([A, B]);
            under_way.extend(handoff.next(now, |home| if home == A { a } else { b }));
            for kind in ends {
                let Some(page) = under_way.pop() else { break };
                handoff.carried(page.home, end(kind), now);
            }
        }
        for _ in 0..10 {
            under_way.drain(..).for_each(|page: Page| handoff.carried(page.home, tried(false, None), now));
            now += 10_000;
            under_way.extend(handoff.next(now, all));
        }
        prop_assert!(handoff.is_idle());
    }
}
