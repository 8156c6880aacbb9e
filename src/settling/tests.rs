//! Words against a naive village: members with full memories of who has fsynced what.

use super::*;
use proptest::prelude::*;

/// A begins to compare with B.
const A: NodeTag = NodeTag(1);
const B: NodeTag = NodeTag(3);

fn facts(tag: u64, others: &[NodeTag]) -> Facts {
    Facts { tag, others: others.iter().copied().collect(), closed: true, drained: true, due: true, ..Facts::default() }
}

fn report(tag: u64, stage: Stage, word: u64) -> Report {
    Report { tag, stage, word: Hlc(word), floor: Hlc(0) }
}

fn only(nodes: &[NodeTag]) -> BTreeSet<NodeTag> {
    nodes.iter().copied().collect()
}

/// Takes a lone pair through its first round; the clock was read at 10.
fn settled() -> Settling {
    let mut a = Settling::new(A);
    a.step(facts(7, &[B]));
    assert_eq!(a.wanted(), Wanted::Draw);
    a.drawn(Hlc(10));
    a.step(facts(7, &[B]));
    assert_eq!(a.report(Hlc(0)).stage, Stage::Closed);
    a.heard(B, report(7, Stage::Closed, 0));
    a.step(facts(7, &[B]));
    let Wanted::Compare(ticket, nodes) = a.wanted() else { panic!("{:?}", a.wanted()) };
    assert_eq!(nodes, only(&[B]));
    a.compared(ticket, B);
    a.step(facts(7, &[B]));
    let Wanted::Sync(ticket, nodes) = a.wanted() else { panic!("{:?}", a.wanted()) };
    assert_eq!(nodes, only(&[A, B]));
    a.synced(ticket, A);
    a.step(facts(7, &[B]));
    assert_eq!(a.report(Hlc(0)).stage, Stage::Closed, "the other has not fsynced");
    a.synced(ticket, B);
    a.step(facts(7, &[B]));
    assert_eq!(
        (a.report(Hlc(0)).stage, a.report(Hlc(0)).word),
        (Stage::Compared, Hlc(0)),
        "the other has not compared"
    );
    a.heard(B, report(7, Stage::Compared, 0));
    a.step(facts(7, &[B]));
    assert_eq!(a.report(Hlc(0)).word, Hlc(10));
    a
}

fn finish_cycle(a: &mut Settling, facts: &Facts) {
    for _ in 0..8 {
        match a.wanted() {
            Wanted::Compare(ticket, nodes) => nodes.into_iter().for_each(|node| a.compared(ticket, node)),
            Wanted::Sync(ticket, nodes) => nodes.into_iter().for_each(|node| a.synced(ticket, node)),
            Wanted::Draw | Wanted::Nothing => {}
        }
        a.step(Facts { due: false, ..facts.clone() });
    }
}

#[test]
fn of_each_two_members_one_begins() {
    for (a, b) in (1..40).flat_map(|a| (1..40).map(move |b| (a * 7919, b * 7919))).filter(|(a, b)| a != b) {
        assert_ne!(begins(NodeTag(a), NodeTag(b)), begins(NodeTag(b), NodeTag(a)));
    }
}

#[test]
fn the_mark_is_the_least_word_and_a_member_that_never_spoke_holds_it_at_zero() {
    let mut a = settled();
    assert_eq!(a.mark(), (Hlc(0), B));
    a.heard(B, report(7, Stage::Compared, 4));
    assert_eq!(a.mark(), (Hlc(4), B));
    a.heard(B, report(7, Stage::Compared, 20));
    assert_eq!(a.mark(), (Hlc(10), A));
    a.heard(B, report(7, Stage::Compared, 3));
    assert_eq!(a.mark(), (Hlc(10), A), "a word never sinks");
}

#[test]
fn what_others_have_written_down_is_a_mark() {
    let mut a = settled();
    a.heard(B, Report { floor: Hlc(6), ..report(7, Stage::Compared, 4) });
    assert_eq!(a.mark(), (Hlc(6), B));
}

#[test]
fn a_cycle_waits_for_requests_under_way_for_copies_kept_and_for_who_missed_a_write() {
    let mut a = settled();
    let all = facts(7, &[B]);
    a.step(all.clone());
    assert_eq!(a.wanted(), Wanted::Draw);
    a.drawn(Hlc(30));
    a.step(Facts { drained: false, missed: only(&[B]), ..all.clone() });
    assert_eq!(a.wanted(), Wanted::Nothing, "a request is under way");
    a.step(Facts { keeps_copies: true, ..all.clone() });
    assert_eq!(a.wanted(), Wanted::Nothing, "a copy is kept for another");
    a.step(all.clone());
    assert!(matches!(a.wanted(), Wanted::Compare(_, nodes) if nodes == only(&[B])), "it missed a write");
    finish_cycle(&mut a, &all);
    assert_eq!(a.report(Hlc(0)).word, Hlc(30));
    a.step(all.clone());
    a.drawn(Hlc(40));
    a.step(all.clone());
    a.step(all);
    assert!(matches!(a.wanted(), Wanted::Sync(..)), "nobody missed anything: no comparison");
}

#[test]
fn a_miss_after_the_reading_is_the_next_cycles() {
    let mut a = settled();
    let all = facts(7, &[B]);
    a.step(all.clone());
    a.drawn(Hlc(30));
    a.step(all.clone());
    a.step(Facts { missed: only(&[B]), due: false, ..all.clone() });
    finish_cycle(&mut a, &all);
    assert_eq!(a.report(Hlc(0)).word, Hlc(30));
    a.step(all.clone());
    a.drawn(Hlc(50));
    a.step(all);
    assert!(matches!(a.wanted(), Wanted::Compare(_, nodes) if nodes == only(&[B])));
}

#[test]
fn a_new_life_stops_all_words_until_a_round_and_old_tickets_count_for_nothing() {
    let mut a = settled();
    let all = facts(7, &[B]);
    a.step(all.clone());
    a.drawn(Hlc(30));
    a.step(all.clone());
    a.step(all);
    let Wanted::Sync(old, _) = a.wanted() else { panic!() };
    let again = facts(8, &[B]);
    a.step(Facts { closed: false, ..again.clone() });
    assert!(a.in_round());
    assert_eq!((a.report(Hlc(0)).stage, a.wanted()), (Stage::Restless, Wanted::Nothing), "an old connection is left");
    a.step(again.clone());
    a.drawn(Hlc(60));
    a.step(again.clone());
    a.heard(B, report(7, Stage::Compared, 0));
    a.step(again.clone());
    assert_eq!(a.wanted(), Wanted::Nothing, "the other speaks of the lives before");
    a.heard(B, report(8, Stage::Closed, 0));
    a.step(again.clone());
    a.synced(old, B);
    assert!(matches!(a.wanted(), Wanted::Compare(_, nodes) if nodes == only(&[B])));
    finish_cycle(&mut a, &again);
    assert_eq!(a.report(Hlc(0)).word, Hlc(10), "the last word stands until all have compared");
    a.heard(B, report(8, Stage::Compared, 0));
    a.step(again);
    assert_eq!(a.report(Hlc(0)).word, Hlc(60));
}

#[test]
fn a_node_that_is_alone_earns_words_by_itself() {
    let mut a = Settling::new(A);
    let alone = facts(3, &[]);
    a.step(alone.clone());
    a.drawn(Hlc(5));
    for _ in 0..6 {
        a.step(Facts { due: false, ..alone.clone() });
        finish_cycle(&mut a, &alone);
    }
    assert_eq!(a.mark(), (Hlc(5), A));
    assert_eq!(a.floor_of_all(), Some(Hlc(0)));
}

#[test]
fn a_newcomer_knows_all_floors_once_all_count_it() {
    let mut a = Settling::new(A);
    a.heard(B, Report { floor: Hlc(9), ..report(6, Stage::Compared, 12) });
    a.step(facts(7, &[B]));
    assert_eq!(a.floor_of_all(), None, "the other does not count it yet");
    a.heard(B, Report { floor: Hlc(9), ..report(7, Stage::Restless, 12) });
    assert_eq!(a.floor_of_all(), Some(Hlc(9)));
}

/// A village of three machines with reports that get lost, repeated and reordered, where writes are applied at once here
/// and later or never there. After every step, whatever the mark covers must be fsynced at every home.
#[derive(Clone, Debug)]
enum Happens {
    Write { by: usize, misses: Option<usize> },
    Step(usize),
    Tell { from: usize, to: usize, old: bool },
    Compare(usize),
    Sync(usize),
    Crash(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    let node = 0usize..3;
    prop_oneof![
        3 => (node.clone(), proptest::option::of(node.clone())).prop_map(|(by, misses)| Happens::Write { by, misses }),
        6 => node.clone().prop_map(Happens::Step),
        4 => (node.clone(), node.clone(), any::<bool>()).prop_map(|(from, to, old)| Happens::Tell { from, to, old }),
        4 => node.clone().prop_map(Happens::Compare),
        4 => node.clone().prop_map(Happens::Sync),
        1 => node.prop_map(Happens::Crash),
    ]
}

struct Village {
    machines: Vec<Settling>,
    lives: [u64; 3],
    clocks: [u64; 3],
    /// For each home: the writes it has, and those of them it has fsynced.
    has: [BTreeSet<u64>; 3],
    fsynced: [BTreeSet<u64>; 3],
    missed: [BTreeSet<NodeTag>; 3],
    told: Vec<(usize, Report)>,
    written: BTreeSet<u64>,
}

const TAGS: [NodeTag; 3] = [NodeTag(1), NodeTag(2), NodeTag(3)];

impl Village {
    fn new() -> Village {
        Village {
            machines: TAGS.iter().map(|tag| Settling::new(*tag)).collect(),
            lives: [1; 3],
            clocks: [0; 3],
            has: Default::default(),
            fsynced: Default::default(),
            missed: Default::default(),
            told: Vec::new(),
            written: BTreeSet::new(),
        }
    }

    fn tag(&self) -> u64 {
        self.lives[0] * 10_000 + self.lives[1] * 100 + self.lives[2]
    }

    fn step(&mut self, at: usize) {
        let others = TAGS.iter().copied().filter(|tag| *tag != TAGS[at]).collect();
        let missed = std::mem::take(&mut self.missed[at]);
        let tag = self.tag();
        self.machines[at].step(Facts {
            tag,
            others,
            closed: true,
            drained: true,
            missed,
            keeps_copies: false,
            due: true,
        });
        if self.machines[at].wanted() == Wanted::Draw {
            self.clocks[at] += 10;
            let reading = Hlc(self.clocks[at]);
            self.machines[at].drawn(reading);
        }
    }

    fn happen(&mut self, happens: Happens) {
        match happens {
            Happens::Write { by, misses } => {
                // Stamps of different nodes never meet: the last digit is the node's.
                self.clocks[by] += 10;
                let stamp = self.clocks[by] + by as u64;
                self.written.insert(stamp);
                for home in (0..3).filter(|home| Some(*home) != misses.filter(|missing| *missing != by)) {
                    self.has[home].insert(stamp);
                }
                self.missed[by].extend(misses.filter(|missing| *missing != by).map(|missing| TAGS[missing]));
            }
            Happens::Step(at) => self.step(at),
            Happens::Tell { from, to, old } if from != to => {
                let report = self.machines[from].report(Hlc(0));
                self.told.push((from, report));
                let again = self.told.len() / 2;
                let (from, report) = if old { self.told[again] } else { (from, report) };
                if from != to {
                    self.machines[to].heard(TAGS[from], report);
                }
            }
            Happens::Compare(at) => {
                if let Wanted::Compare(ticket, nodes) = self.machines[at].wanted() {
                    for node in nodes {
                        let other = TAGS.iter().position(|tag| *tag == node).unwrap();
                        let both: BTreeSet<u64> = self.has[at].union(&self.has[other]).copied().collect();
                        (self.has[at], self.has[other]) = (both.clone(), both);
                        self.machines[at].compared(ticket, node);
                    }
                }
            }
            Happens::Sync(at) => {
                if let Wanted::Sync(ticket, nodes) = self.machines[at].wanted() {
                    for node in nodes {
                        let other = TAGS.iter().position(|tag| *tag == node).unwrap();
                        self.fsynced[other] = self.has[other].clone();
                        self.machines[at].synced(ticket, node);
                    }
                }
            }
            Happens::Crash(at) => {
                // What two others have not got either is gone for good; the mark may not have covered it.
                self.has[at] = self.fsynced[at].clone();
                self.lives[at] += 1;
                self.clocks[at] += 1000;
                self.machines[at] = Settling::new(TAGS[at]);
                self.missed[at].clear();
            }
            Happens::Tell { .. } => {}
        }
    }

    fn check(&self) {
        for (at, machine) in self.machines.iter().enumerate() {
            let mark = machine.mark().0;
            for other in (0..3).filter(|other| self.lives[*other] == 1) {
                assert!(mark <= self.machines[other].mark_max(), "{at} is ahead of what {other} takes for possible");
            }
            for stamp in self.written.iter().filter(|stamp| Hlc(**stamp / 10 * 10) <= mark) {
                // Lost by all who had it before it was fsynced anywhere: then nobody has it.
                let somewhere = self.has.iter().any(|has| has.contains(stamp));
                for home in 0..3 {
                    assert!(
                        !somewhere || self.fsynced[home].contains(stamp),
                        "machine {at} has mark {mark:?}, but home {home} has not fsynced {stamp}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_the_mark_covers_is_fsynced_by_every_home(history in proptest::collection::vec(happens(), 1..160)) {
        let mut village = Village::new();
        for event in history {
            village.happen(event);
            village.check();
        }
    }

    #[test]
    fn marks_rise_once_everybody_is_heard(history in proptest::collection::vec(happens(), 0..60)) {
        let mut village = Village::new();
        for event in history {
            village.happen(event);
        }
        let before = village.clocks.iter().copied().min().unwrap();
        for _ in 0..16 {
            for at in 0..3 {
                village.step(at);
                village.happen(Happens::Compare(at));
                village.happen(Happens::Sync(at));
                for to in 0..3 {
                    village.happen(Happens::Tell { from: at, to, old: false });
                    village.check();
                }
            }
        }
        for machine in &village.machines {
            prop_assert!(machine.mark().0 > Hlc(before));
        }
    }
}
