//! Counting a write (§4.5): sent to all N, acknowledged at W, DW of them durable.

use super::{Candidate, Candidates, TooFew, Verdict, countable};
use smallvec::SmallVec;

/// What a write asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// N.
    pub n: u8,
    /// W.
    pub w: u8,
    /// How many of the W must have fsynced.
    pub dw: u8,
    /// Whether fallbacks count.
    pub sloppy: bool,
}

/// A copy to be sent to a node (perhaps the coordinator's own store).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Send {
    /// To whom.
    pub to: u16,
    /// The home this copy is meant for, when `to` is only its fallback.
    pub home: Option<u16>,
    /// Whether it must be fsynced before it is acknowledged.
    pub sync: bool,
}

/// Copies to be sent.
pub type Sends = SmallVec<[Send; 4]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not sent to.
    Idle,
    /// Sent, unanswered; whether an fsync was asked for.
    Sent { sync: bool },
    /// Acknowledged.
    Applied(Disk),
    /// Refused, unreachable, or too late to wait for.
    Failed,
}

/// What is known of an acknowledged copy's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    /// Not asked to fsync.
    Unasked,
    /// Asked after it had applied; the answer is on its way.
    Asked,
    /// Fsynced.
    Durable,
    /// Could not, or did not say so in time. Not asked again: the copy still counts towards W.
    Volatile,
}

/// One write being counted. Invariant: no home's copy is placed on two fallbacks while the first has not failed; else both
/// would hand it to that home and let go, and one copy be left of two acknowledged ones.
#[derive(Clone, Debug)]
pub struct Put {
    candidates: Candidates,
    states: SmallVec<[State; 4]>,
    /// For each candidate, the home its copy is meant for.
    meant: SmallVec<[Option<u16>; 4]>,
    wanted: Wanted,
    /// Whether some replica may have applied it without saying so.
    unsure: bool,
}

impl Put {
    /// Starts a write coordinated by `me`, which must be among the candidates. The first sends are returned; the one to
    /// `me` means: store it here. `me` takes part though it is only a fallback, in the place of the first home that is
    /// unreachable, or beside all of them when all are reachable.
    pub fn start(me: u16, candidates: Candidates, wanted: Wanted) -> Result<(Put, Sends), TooFew> {
        let reachable = countable(&candidates, wanted.n, wanted.sloppy);
        if reachable < wanted.w {
            return Err(TooFew { reachable, needed: wanted.w });
        }
        let states = candidates.iter().map(|_| State::Idle).collect();
        let meant = candidates.iter().map(|_| None).collect();
        let mut put = Put { candidates, states, meant, wanted, unsure: false };
        let mut sends = Sends::new();
        let mut syncs = wanted.dw;
        let mut fsync = || {
            let sync = syncs > 0;
            syncs = syncs.saturating_sub(1);
            sync
        };
        // The coordinator first: its own disk is the nearest to fsync.
        let mine = put.position(me);
        let own_home = mine.and_then(|at| if put.candidates[at].home { None } else { put.first_orphan(&sends) });
        mine.iter().for_each(|at| put.send(*at, own_home, fsync(), &mut sends));
        for at in 0..put.candidates.len() {
            let candidate = put.candidates[at];
            if candidate.home && candidate.node != me {
                if candidate.reachable {
                    put.send(at, None, fsync(), &mut sends);
                } else {
                    put.states[at] = State::Failed;
                }
            }
        }
        if wanted.sloppy {
            put.place_orphans(&mut sends, &mut fsync);
        }
        Ok((put, sends))
    }

    /// A replica has applied the write.
    pub fn applied(&mut self, node: u16, durable: bool) -> Sends {
        let Some(at) = self.position(node) else { return Sends::new() };
        self.states[at] = match self.states[at] {
            _ if durable => State::Applied(Disk::Durable),
            State::Applied(disk) => State::Applied(disk),
            _ => State::Applied(Disk::Unasked),
        };
        self.ask_durable()
    }

    /// A replica refused, broke off, or is too late. `sent`: it may have applied the write all the same.
    pub fn failed(&mut self, node: u16, sent: bool) -> Sends {
        let Some(at) = self.position(node) else { return Sends::new() };
        match self.states[at] {
            State::Applied(Disk::Durable) => {}
            State::Applied(_) => self.states[at] = State::Applied(Disk::Volatile),
            _ => self.states[at] = State::Failed,
        }
        self.unsure |= sent;
        let mut sends = Sends::new();
        if self.wanted.sloppy {
            self.place_orphans(&mut sends, &mut || false);
        }
        sends.extend(self.ask_durable());
        sends
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let (applied, durable) = (self.acknowledged(), self.durable());
        if applied >= self.wanted.w && durable >= self.wanted.dw {
            return Verdict::Won;
        }
        let open = self.count(|state| matches!(state, State::Sent { .. }));
        let syncing = self.syncing();
        if applied.saturating_add(open) < self.wanted.w || durable.saturating_add(syncing) < self.wanted.dw {
            Verdict::Lost
        } else {
            Verdict::Pending
        }
    }

    /// How many replicas that count have acknowledged.
    pub fn acknowledged(&self) -> u8 {
        self.count(|state| matches!(state, State::Applied(_)))
    }

    /// Whether a replica other than the acknowledging ones may have applied the write.
    pub fn unsure(&self) -> bool {
        self.unsure || self.count(|state| matches!(state, State::Sent { .. })) > 0
    }

    /// Whether every copy sent has been answered, or given up.
    pub fn settled(&self) -> bool {
        !self.states.iter().any(|state| matches!(state, State::Sent { .. }))
    }

    /// How many are needed.
    pub fn needed(&self) -> u8 {
        self.wanted.w
    }

    /// Whether a node is a home of the key.
    pub fn is_home(&self, node: u16) -> bool {
        self.position(node).is_some_and(|at| self.candidates[at].home)
    }

    /// The homes that were not even sent the write.
    pub fn homes_left_out(&self) -> impl Iterator<Item = u16> {
        let left_out = |(candidate, state): (&Candidate, &State)| {
            (candidate.home && matches!(state, State::Failed | State::Idle)).then_some(candidate.node)
        };
        self.candidates.iter().zip(&self.states).filter_map(left_out)
    }

    /// Whether another node could still be asked in the place of one that is late.
    pub fn has_spare(&self) -> bool {
        let spare =
            |(candidate, state): (&Candidate, &State)| !candidate.home && candidate.reachable && *state == State::Idle;
        self.wanted.sloppy && self.candidates.iter().zip(&self.states).any(spare)
    }

    fn durable(&self) -> u8 {
        self.count(|state| matches!(state, State::Applied(Disk::Durable)))
    }

    /// How many may still turn out durable.
    fn syncing(&self) -> u8 {
        self.count(|state| matches!(state, State::Sent { sync: true } | State::Applied(Disk::Asked)))
    }

    /// Counts nodes that may count towards the quorum.
    fn count(&self, of: impl Fn(&State) -> bool) -> u8 {
        let able = |candidate: &Candidate| self.wanted.sloppy || candidate.home;
        let count = self.candidates.iter().zip(&self.states).filter(|(candidate, state)| able(candidate) && of(state));
        u8::try_from(count.count()).unwrap_or(u8::MAX)
    }

    fn position(&self, node: u16) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.node == node)
    }

    fn send(&mut self, at: usize, home: Option<u16>, sync: bool, sends: &mut Sends) {
        self.states[at] = State::Sent { sync };
        self.meant[at] = home;
        sends.push(Send { to: self.candidates[at].node, home, sync });
    }

    /// The first unreachable home for which none of `sends` is meant.
    fn first_orphan(&self, sends: &Sends) -> Option<u16> {
        let meant = |node: u16| sends.iter().any(|send| send.home == Some(node));
        self.candidates.iter().find(|c| c.home && !c.reachable && !meant(c.node)).map(|candidate| candidate.node)
    }

    /// Gives each failed home's copy to the next reachable fallback that has none yet. A coordinator that is no home and
    /// was sent nobody's copy stands in for the first home that fails.
    fn place_orphans(&mut self, sends: &mut Sends, fsync: &mut impl FnMut() -> bool) {
        let standing = |put: &Put, meant: &dyn Fn(Option<u16>) -> bool| {
            let stands = |at: &usize| {
                !put.candidates[*at].home
                    && !matches!(put.states[*at], State::Idle | State::Failed)
                    && meant(put.meant[*at])
            };
            (0..put.candidates.len()).filter(stands).count()
        };
        let orphans: SmallVec<[u16; 4]> = (0..self.candidates.len())
            .filter(|at| self.candidates[*at].home && self.states[*at] == State::Failed)
            .map(|at| self.candidates[at].node)
            .filter(|home| standing(self, &|meant| meant == Some(*home)) == 0)
            .collect();
        let unbound = standing(self, &|meant| meant.is_none());
        for home in orphans.into_iter().skip(unbound) {
            let fallback = (0..self.candidates.len()).find(|at| {
                let candidate = self.candidates[*at];
                !candidate.home && candidate.reachable && self.states[*at] == State::Idle
            });
            let Some(at) = fallback else { return };
            self.send(at, Some(home), fsync(), sends);
        }
    }

    /// Asks replicas that have applied to fsync too, when those first asked can no longer make up DW.
    fn ask_durable(&mut self) -> Sends {
        let mut sends = Sends::new();
        let mut missing = self.wanted.dw.saturating_sub(self.durable().saturating_add(self.syncing()));
        for at in 0..self.states.len() {
            if missing > 0 && self.states[at] == State::Applied(Disk::Unasked) {
                self.states[at] = State::Applied(Disk::Asked);
                sends.push(Send { to: self.candidates[at].node, home: self.meant[at], sync: true });
                missing -= 1;
            }
        }
        sends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::candidates;
    use proptest::prelude::*;

    fn wanted(w: u8, dw: u8, sloppy: bool) -> Wanted {
        Wanted { n: 3, w, dw, sloppy }
    }

    fn send(to: u16, home: Option<u16>, sync: bool) -> Send {
        Send { to, home, sync }
    }

    #[test]
    fn all_homes_are_sent_to_and_w_answers_win() {
        let (mut put, sends) = Put::start(1, candidates("HHHF"), wanted(2, 0, true)).unwrap();
        assert_eq!(sends.as_slice(), [send(1, None, false), send(0, None, false), send(2, None, false)]);
        assert_eq!(put.verdict(), Verdict::Pending);
        put.applied(1, false);
        put.applied(1, false);
        assert_eq!(put.verdict(), Verdict::Pending, "one node's answer counts once");
        put.applied(2, false);
        assert_eq!(put.verdict(), Verdict::Won);
        assert!(!put.settled());
        put.applied(0, false);
        assert!(put.settled());
    }

    #[test]
    fn an_unreachable_home_is_stood_in_for_when_sloppy_and_not_when_strict() {
        let (_, sends) = Put::start(0, candidates("HhHFF"), wanted(2, 0, true)).unwrap();
        assert_eq!(sends.as_slice(), [send(0, None, false), send(2, None, false), send(3, Some(1), false)]);
        let (put, sends) = Put::start(0, candidates("HhHFF"), wanted(2, 0, false)).unwrap();
        assert_eq!(sends.as_slice(), [send(0, None, false), send(2, None, false)]);
        assert_eq!(put.verdict(), Verdict::Pending);
        assert_eq!(
            Put::start(0, candidates("HhhFF"), wanted(2, 0, false)).err(),
            Some(TooFew { reachable: 1, needed: 2 })
        );
    }

    #[test]
    fn a_home_that_fails_on_the_way_is_stood_in_for() {
        let (mut put, _) = Put::start(0, candidates("HHHFF"), wanted(3, 0, true)).unwrap();
        put.applied(0, false);
        assert_eq!(put.failed(1, true).as_slice(), [send(3, Some(1), false)]);
        assert_eq!(put.failed(1, true).as_slice(), [], "once");
        assert_eq!(put.failed(3, false).as_slice(), [send(4, Some(1), false)]);
        put.applied(2, false);
        assert_eq!(put.verdict(), Verdict::Pending);
        put.applied(4, false);
        assert_eq!(put.verdict(), Verdict::Won);
    }

    #[test]
    fn two_fallbacks_never_stand_in_for_one_home() {
        let (mut put, sends) = Put::start(1, candidates("HHhFF"), wanted(3, 0, true)).unwrap();
        assert_eq!(sends.as_slice(), [send(1, None, false), send(0, None, false), send(3, Some(2), false)]);
        assert_eq!(put.failed(0, true).as_slice(), [send(4, Some(0), false)], "the home before it fails later");
        let (mut put, sends) = Put::start(0, candidates("HhhFFF"), wanted(3, 1, true)).unwrap();
        assert_eq!(sends[1..], [send(3, Some(1), false), send(4, Some(2), false)]);
        assert_eq!(put.failed(3, true).as_slice(), [send(5, Some(1), false)], "the copy of the fallback that failed");
        put.applied(4, false);
        assert_eq!(put.failed(0, false).as_slice(), [send(4, Some(2), true)], "an fsync is asked for the same hint");
    }

    #[test]
    fn a_fallback_coordinates_in_the_place_of_a_home_that_is_away() {
        let (_, sends) = Put::start(3, candidates("hhhF"), wanted(1, 0, true)).unwrap();
        assert_eq!(sends.as_slice(), [send(3, Some(0), false)]);
    }

    #[test]
    fn what_can_no_longer_be_won_is_lost_at_once() {
        let (mut put, _) = Put::start(0, candidates("HHH"), wanted(2, 0, true)).unwrap();
        put.applied(0, false);
        put.failed(1, false);
        assert_eq!(put.verdict(), Verdict::Pending);
        put.failed(2, true);
        assert_eq!(put.verdict(), Verdict::Lost);
        assert!(put.unsure());
        assert_eq!(put.acknowledged(), 1);
    }

    #[test]
    fn durable_writes_are_asked_of_the_nearest_and_then_of_others() {
        let (mut put, sends) = Put::start(0, candidates("HHH"), wanted(2, 1, true)).unwrap();
        assert_eq!(sends.as_slice(), [send(0, None, true), send(1, None, false), send(2, None, false)]);
        assert!(put.applied(1, false).is_empty());
        assert!(put.applied(2, false).is_empty());
        assert_eq!(put.verdict(), Verdict::Pending, "two have it, none durably");
        assert_eq!(put.failed(0, false).as_slice(), [send(1, None, true)]);
        assert_eq!(put.verdict(), Verdict::Pending);
        put.applied(1, true);
        assert_eq!(put.verdict(), Verdict::Won);
    }

    #[test]
    fn a_failed_fsync_passes_to_the_next_and_then_is_lost() {
        let (mut put, _) = Put::start(0, candidates("HH"), Wanted { n: 2, w: 1, dw: 1, sloppy: false }).unwrap();
        put.applied(1, false);
        assert_eq!(put.failed(0, false).as_slice(), [send(1, None, true)]);
        assert!(put.failed(1, false).is_empty(), "a disk that fails is not asked for ever");
        assert_eq!((put.verdict(), put.acknowledged()), (Verdict::Lost, 1));
    }

    /// Naive model of the verdict: sets of nodes.
    fn naive(candidates: &Candidates, wanted: Wanted, open: &[u16], applied: &[u16]) -> Verdict {
        let able = |node: &&u16| wanted.sloppy || candidates.iter().any(|c| c.node == **node && c.home);
        let (open, applied) = (open.iter().filter(able).count(), applied.iter().filter(able).count());
        match () {
            () if applied >= wanted.w.into() => Verdict::Won,
            () if applied + open < wanted.w.into() => Verdict::Lost,
            () => Verdict::Pending,
        }
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_counting_sets(
            letters in proptest::collection::vec(prop_oneof![Just('f'), Just('F')], 0..3),
            homes in proptest::collection::vec(any::<bool>(), 3),
            w in 1u8..=3,
            sloppy in any::<bool>(),
            events in proptest::collection::vec((0u16..6, any::<bool>()), 0..12),
        ) {
            let spec: String =
                homes.iter().map(|up| if *up { 'H' } else { 'h' }).chain(letters).collect::<String>().replacen('h', "H", 1);
            let all = candidates(&spec);
            let me = all.iter().find(|candidate| candidate.reachable).unwrap().node;
            let wanted = Wanted { n: 3, w, dw: 0, sloppy };
            let Ok((mut put, sends)) = Put::start(me, all.clone(), wanted) else {
                let able = all.iter().filter(|c| c.reachable && (sloppy || c.home)).count();
                prop_assert!(able < usize::from(w));
                return Ok(());
            };
            let mut open: Vec<u16> = sends.iter().map(|send| send.to).collect();
            let mut applied = Vec::new();
            let mut homes_meant: Vec<u16> = sends.iter().filter_map(|send| send.home).collect();
            for (node, ok) in events {
                if !open.contains(&node) {
                    continue;
                }
                open.retain(|other| *other != node);
                let more = if ok {
                    applied.push(node);
                    put.applied(node, false)
                } else {
                    put.failed(node, true)
                };
                for send in more {
                    prop_assert!(sloppy && !open.contains(&send.to) && !applied.contains(&send.to));
                    homes_meant.extend(send.home);
                    open.push(send.to);
                }
                prop_assert_eq!(put.verdict(), naive(&all, wanted, &open, &applied));
                prop_assert_eq!(put.settled(), open.is_empty());
            }
            prop_assert!(strict_sends_no_hints(sloppy, &homes_meant));
        }
    }

    fn strict_sends_no_hints(sloppy: bool, homes_meant: &[u16]) -> bool {
        sloppy || homes_meant.is_empty()
    }
}
