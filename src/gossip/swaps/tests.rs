use super::*;
use crate::causality::lattice;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// More nodes than this never are.
const NODES_MAX: usize = 5;

/// Every swap anyone ever made, nothing folded: what the machine is held against.
type Log = BTreeMap<Stamp, (u8, u8)>;

#[derive(Clone, Debug)]
struct Node {
    swaps: Swaps,
    members: BTreeSet<NodeTag>,
    /// The swaps that word of has come here.
    heard: BTreeSet<Stamp>,
}

impl Node {
    fn tend(&mut self, me: usize, often: usize) {
        self.swaps.tend(tag(me), self.members.iter().copied(), often);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Swap { at: usize, pair: (u8, u8), now_ms: u64 },
    Tell { from: usize, to: usize },
    Admit { by: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 0..NODES_MAX;
    let swap = (node(), (0u8..4, 0u8..4), 0u64..4);
    let step = prop_oneof![
        4 => swap.prop_map(|(at, pair, now_ms)| Step::Swap { at, pair, now_ms }),
        6 => (node(), node()).prop_map(|(from, to)| Step::Tell { from, to }),
        1 => node().prop_map(|by| Step::Admit { by }),
    ];
    proptest::collection::vec(step, 0..60)
}

fn tag(node: usize) -> NodeTag {
    NodeTag(node as u64)
}

fn in_order(log: &Log, heard: &BTreeSet<Stamp>) -> Places {
    let mut places = Places::default();
    heard.iter().for_each(|stamp| places.swap(log[stamp]));
    places
}

fn tell(nodes: &mut [Node], from: usize, to: usize, often: usize) {
    let told = nodes[from].clone();
    let Node { swaps, members, heard } = &mut nodes[to];
    swaps.join(&told.swaps);
    members.extend(told.members);
    heard.extend(told.heard);
    nodes[to].tend(to, often);
}

/// Runs a history in which clocks go as they like and word comes late, or never. After each step, a node has in effect
/// exactly what it has heard of, in order.
fn run(steps: &[Step], often: usize) -> (Vec<Node>, Log) {
    let members = BTreeSet::from([tag(0), tag(1)]);
    let mut nodes = vec![Node { swaps: Swaps::default(), members, heard: BTreeSet::new() }; 2];
    let mut log = Log::new();
    for step in steps {
        let changed = match *step {
            Step::Swap { at, pair, now_ms } => {
                let at = at % nodes.len();
                let node = &mut nodes[at];
                let before = node.swaps.clone();
                node.swaps.swap(pair, now_ms, tag(at), node.members.iter().copied()).unwrap();
                let new = node.swaps.since.keys().find(|stamp| !before.since.contains_key(*stamp)).copied();
                assert_eq!(new.is_some(), pair.0 != pair.1);
                if let Some(stamp) = new {
                    assert!(node.heard.iter().all(|heard| heard.0 < stamp.0), "above every swap it has seen");
                    assert!(log.insert(stamp, pair).is_none(), "no stamp twice");
                    node.heard.insert(stamp);
                }
                node.tend(at, often);
                at
            }
            Step::Tell { from, to } => {
                let (from, to) = (from % nodes.len(), to % nodes.len());
                tell(&mut nodes, from, to, often);
                to
            }
            Step::Admit { by } if nodes.len() < NODES_MAX => {
                let (by, new) = (by % nodes.len(), nodes.len());
                nodes[by].members.insert(tag(new));
                nodes[by].tend(by, often);
                let mut joined = nodes[by].clone();
                joined.tend(new, often);
                nodes.push(joined);
                new
            }
            Step::Admit { .. } => continue,
        };
        let node = &nodes[changed];
        assert_eq!(node.swaps.places(), in_order(&log, &node.heard), "node {changed} after {step:?}");
        assert_eq!(node.swaps.check(), Ok(()));
    }
    (nodes, log)
}

pub(crate) fn any_swaps() -> impl Strategy<Value = Swaps> {
    let since = proptest::collection::btree_map((1u64..6, 0u64..3), (0u8..3, 3u8..6), 0..5);
    let promises = proptest::collection::btree_map(0u64..3, 1u64..6, 0..3);
    let base = (0u64..4, proptest::collection::vec((0u8..3, 3u8..6), 0..3));
    (since, promises, base).prop_map(|(since, promises, (folded, pairs))| {
        let mut swaps = Swaps { folded: Hlc(folded), ..Swaps::default() };
        pairs.into_iter().for_each(|pair| swaps.base.swap(pair));
        let stamped = since.into_iter().map(|((hlc, by), pair)| ((Hlc(hlc), NodeTag(by)), pair));
        swaps.since = stamped.filter(|((hlc, _), _)| *hlc > swaps.folded).collect();
        swaps.promises = promises.into_iter().map(|(node, promise)| (NodeTag(node), Hlc(promise))).collect();
        swaps
    })
}

proptest! {
    #[test]
    fn joining_is_a_semilattice(a in any_swaps(), b in any_swaps(), c in any_swaps()) {
        prop_assert_eq!(lattice::check(&a, &b, &c, Swaps::join).check(), Ok(()));
    }

    /// Whatever is folded when, nothing is lost, nothing is done twice, and in the end all have the same.
    #[test]
    fn every_swap_takes_effect_once_in_one_order(steps in steps(), often in 1usize..4) {
        let (mut nodes, log) = run(&steps, often);
        for _ in 0..3 {
            for (from, to) in (0..nodes.len()).flat_map(|from| (0..nodes.len()).map(move |to| (from, to))).collect::<Vec<_>>() {
                tell(&mut nodes, from, to, often);
            }
        }
        let all = in_order(&log, &log.keys().copied().collect());
        for node in &nodes {
            prop_assert_eq!(node.swaps.places(), all);
            prop_assert_eq!(&node.swaps, &nodes[0].swaps);
            prop_assert!(node.swaps.since.len() < often, "the rest is folded: {:?}", node.swaps);
        }
    }
}

#[test]
fn two_at_once_are_both_in_effect() {
    let members = || [tag(0), tag(1)].into_iter();
    let (mut here, mut there) = (Swaps::default(), Swaps::default());
    here.swap((0, 1), 10, tag(0), members()).unwrap();
    there.swap((1, 2), 20, tag(1), members()).unwrap();
    let both = lattice::join(&here, &there, Swaps::join).places();
    assert_eq!([0, 1, 2].map(|index| both.of(index).stored), [1, 2, 0]);
    assert_eq!([0, 1, 2, 3].map(|index| both.of(index).named), [1, 2, 1, 0]);
    let mut back = lattice::join(&here, &there, Swaps::join);
    back.swap((1, 1), 30, tag(0), members()).unwrap();
    assert_eq!(back, lattice::join(&here, &there, Swaps::join), "with itself: nothing changes");
}

#[test]
fn a_node_alone_keeps_no_row() {
    let mut swaps = Swaps::default();
    for turn in 0u8..=255 {
        swaps.swap((0, 1), 10, tag(0), [tag(0)].into_iter()).unwrap();
        swaps.tend(tag(0), [tag(0)].into_iter(), PROMISE_EVERY);
        assert_eq!((swaps.since.len(), swaps.places().of(0).stored), (0, 1 - turn % 2));
    }
}

#[test]
fn a_member_that_is_silent_too_long_is_named_and_nothing_changes() {
    let members = || (0..3).map(tag);
    let (mut here, mut there) = (Swaps::default(), Swaps::default());
    for turn in 0..SWAPS_MAX {
        here.swap((0, 1), turn as u64, tag(0), members()).unwrap();
        here.tend(tag(0), members(), PROMISE_EVERY);
        there.join(&here);
        there.tend(tag(1), members(), PROMISE_EVERY);
        here.join(&there);
    }
    let before = here.clone();
    assert_eq!(here.swap((0, 1), 5000, tag(0), members()), Err(Full { behind: vec![tag(2)] }));
    assert_eq!(here, before);
    let mut silent = Swaps::default();
    silent.join(&here);
    silent.tend(tag(2), members(), PROMISE_EVERY);
    here.join(&silent);
    here.tend(tag(0), members(), PROMISE_EVERY);
    assert!(here.swap((0, 1), 5000, tag(0), members()).is_ok());
    assert!(here.since.len() < PROMISE_EVERY + 1 && here.places().of(0).stored == 1);
}

#[test]
fn what_nobody_could_have_written_is_told() {
    let with = |stamp: u64, pair| Swaps { since: [((Hlc(stamp), tag(0)), pair)].into(), ..Swaps::default() };
    assert_eq!(with(1, (0, 1)).check(), Ok(()));
    assert!(with(1, (0, 16)).check().is_err());
    assert!(with(1, (3, 3)).check().is_err());
    assert!(with(0, (0, 1)).check().is_err(), "not above the base");
    assert!(with(u64::MAX, (0, 1)).check().is_err(), "nothing could be stamped above it");
}
