//! Counting a read (§4.5): the coordinator's own copy and the R−1 best peers; the next when one is slow or fails.

use super::latency::rank;
use super::{Candidate, Candidates, TooFew, Verdict, countable};
use crate::causality::Hlc;
use crate::key::StorageKey;
use crate::object::Object;
use crate::object::digest::Digest;
use crate::policy::Conflict;
use smallvec::SmallVec;

/// What a read asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// N.
    pub n: u8,
    /// R.
    pub r: u8,
    /// Whether fallbacks count.
    pub sloppy: bool,
    /// How replicas' answers are merged.
    pub conflict: Conflict,
    /// Everything at or below is on the disks of all homes ([`crate::settling`]).
    pub floor: Hlc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    /// Answered with an object of this digest.
    Answered(Digest),
    Failed,
    /// Cannot read its record of the key.
    Damaged,
}

/// Nodes to ask.
pub type Asks = SmallVec<[u16; 4]>;

/// The most homes one read asks because others are slow.
pub const HEDGES_MAX: u32 = 2;

/// Puts the quickest homes first, by the microseconds that each takes as a rule; those about equally quick stay in preference
/// order. Fallbacks stay behind the homes and in their order, for only the first healthy ones of them count.
pub fn quickest_first(candidates: &mut Candidates, me: u16, typical_us: impl Fn(u16) -> u32) {
    let homes = candidates.iter().take_while(|candidate| candidate.home).count();
    let homes = &mut candidates[..homes];
    let others = homes.iter().filter(|home| home.node != me && home.reachable);
    let quickest_us = others.map(|home| typical_us(home.node)).min().unwrap_or_default();
    homes.sort_by_key(|home| rank(typical_us(home.node), quickest_us));
}

/// Whether the copy that `me` holds, if it is one of the `homes`, is all a read needs: then there is nothing to count.
pub fn needs_only(me: u16, mut homes: impl Iterator<Item = u16>, r: u8) -> bool {
    r <= 1 && homes.any(|home| home == me)
}

/// One read being counted.
#[derive(Clone, Debug)]
pub struct Get {
    candidates: Candidates,
    states: SmallVec<[State; 4]>,
    wanted: Wanted,
    merged: Object,
    /// What fallbacks hold, as long as no home has answered.
    loans: Vec<(u16, Object)>,
    lent: bool,
    me: u16,
}

impl Get {
    /// Starts a read coordinated by `me`. The nodes to ask are returned; if `me` is among them it comes first: read the
    /// local copy before asking the others, so that they can be told its digest.
    pub fn start(me: u16, candidates: Candidates, wanted: Wanted) -> Result<(Get, Asks), TooFew> {
        let reachable = countable(&candidates, wanted.n, wanted.sloppy);
        if reachable < wanted.r {
            return Err(TooFew { reachable, needed: wanted.r });
        }
        let states = candidates.iter().map(|_| State::Idle).collect();
        let mut get = Get { candidates, states, wanted, merged: Object::default(), loans: Vec::new(), lent: false, me };
        let mut asks = Asks::new();
        let mine = get.candidates.iter().position(|candidate| candidate.node == me && get.may_ask(candidate));
        if let Some(at) = mine.filter(|at| get.candidates[*at].home || get.stands_in(*at)) {
            get.states[at] = State::Asked;
            asks.push(me);
        }
        asks.extend(get.ask_more());
        Ok((get, asks))
    }

    /// A replica answered with what it holds; `None`: the same as the coordinator's own copy.
    pub fn answered(&mut self, key: &StorageKey, node: u16, own: Digest, object: Option<Object>) {
        let Some(at) = self.position(node) else { return };
        // Digests are compared between answers: a lone one needs none.
        let digest = match &object {
            Some(object) if self.wanted.r > 1 => object.digest(key),
            Some(_) => Digest::default(),
            None => own,
        };
        let first_home = self.candidates[at].home && !self.home_answered();
        self.states[at] = State::Answered(digest);
        if first_home {
            self.begin_with(object);
        } else if self.candidates[at].home {
            self.take(object);
        } else if let Some(object) = object.filter(|object| !object.is_empty()) {
            self.lent = true;
            if self.home_answered() {
                self.take_loan(object);
            } else {
                // While no home has answered, it is all there is.
                self.loans.push((node, object.clone()));
                self.take(Some(object));
            }
        }
    }

    /// A replica answered a question whose answers are not merged here (a list of keys, a number): it only counts.
    pub fn counted(&mut self, node: u16) {
        if let Some(at) = self.position(node) {
            self.states[at] = State::Answered(Digest::default());
        }
    }

    /// Whether a node is a home; else a fallback.
    pub fn is_home(&self, node: u16) -> bool {
        self.position(node).is_some_and(|at| self.candidates[at].home)
    }

    /// The first home has answered: what is on loan is judged by that. `None`: it has what this node has on loan.
    fn begin_with(&mut self, object: Option<Object>) {
        let loans = std::mem::take(&mut self.loans);
        let own = || loans.iter().find(|(node, _)| *node == self.me).map(|(_, own)| own.clone());
        let object = object.or_else(own);
        self.merged = Object::default();
        self.take(object);
        loans.into_iter().for_each(|(_, loan)| self.take_loan(loan));
    }

    fn take(&mut self, object: Option<Object>) {
        if let Some(object) = object {
            let merged = std::mem::take(&mut self.merged);
            self.merged = merged.merge(object, self.wanted.conflict);
        }
    }

    /// A fallback's copy may be older than what all homes have forgotten: what every home must have, and this one does not,
    /// is no more.
    fn take_loan(&mut self, mut loan: Object) {
        loan.drop_forgotten(self.wanted.floor, &self.merged);
        self.take(Some(loan));
    }

    /// Whether any home has answered.
    pub fn home_answered(&self) -> bool {
        let answered = |(candidate, state): (&Candidate, &State)| candidate.home && matches!(state, State::Answered(_));
        self.candidates.iter().zip(&self.states).any(answered)
    }

    /// Whether any copy of a fallback is in it.
    pub fn has_loans(&self) -> bool {
        self.lent
    }

    /// A replica refused, broke off, or is too late: whom to ask instead.
    pub fn failed(&mut self, node: u16) -> Asks {
        if let Some(at) = self.position(node).filter(|at| !matches!(self.states[*at], State::Answered(_))) {
            self.states[at] = State::Failed;
        }
        self.ask_more()
    }

    /// A replica cannot read its record: whom to ask instead. It is repaired with the others.
    pub fn damaged(&mut self, node: u16) -> Asks {
        if let Some(at) = self.position(node).filter(|at| self.states[*at] == State::Asked) {
            self.states[at] = State::Damaged;
        }
        self.ask_more()
    }

    /// Whom to ask as well, because those who were asked take long: the next home, if there is one and it is still open.
    pub fn hedge(&mut self) -> Asks {
        let spare = (0..self.candidates.len()).find(|at| self.is_spare(*at) && self.candidates[*at].home);
        let Some(at) = spare.filter(|_| self.verdict() == Verdict::Pending) else { return Asks::new() };
        self.states[at] = State::Asked;
        Asks::from_slice(&[self.candidates[at].node])
    }

    /// The homes that could answer, asked or not.
    pub fn reachable_homes(&self) -> impl Iterator<Item = u16> {
        self.candidates.iter().filter(|candidate| candidate.home && candidate.reachable).map(|candidate| candidate.node)
    }

    /// Whether [`Get::hedge`] would ask somebody.
    pub fn can_hedge(&self) -> bool {
        let spare = |at: usize| self.is_spare(at) && self.candidates[at].home;
        self.verdict() == Verdict::Pending && (0..self.candidates.len()).any(spare)
    }

    /// How it stands.
    pub fn verdict(&self) -> Verdict {
        let answered = self.answers();
        let open = self.states.iter().filter(|state| **state == State::Asked).count();
        match usize::from(self.wanted.r) {
            r if usize::from(answered) >= r => Verdict::Won,
            r if usize::from(answered) + open < r => Verdict::Lost,
            _ => Verdict::Pending,
        }
    }

    /// How many have answered.
    pub fn answers(&self) -> u8 {
        let answered = self.states.iter().filter(|state| matches!(state, State::Answered(_))).count();
        u8::try_from(answered).unwrap_or(u8::MAX)
    }

    /// What those who answered hold together.
    pub fn merged(&self) -> &Object {
        &self.merged
    }

    /// As [`Get::merged`], for the last time: what is answered later is merged with nothing.
    pub fn take_merged(&mut self) -> Object {
        std::mem::take(&mut self.merged)
    }

    /// The *homes* that answered with less than [`Get::merged`], and those whose record is damaged: they are to be repaired
    /// (§5). Fallbacks are not: their copies are on loan. A damaged record may have been the newest, so it is replaced only
    /// by what most of N hold together.
    pub fn stale(&self, key: &StorageKey) -> SmallVec<[u16; 4]> {
        let answers = self.answers();
        let mends = answers > self.wanted.n / 2 && !self.merged.is_empty();
        let whole = (answers > 1).then(|| self.merged.digest(key));
        let stale = |state: &State| match state {
            State::Answered(digest) => whole.is_some_and(|whole| *digest != whole),
            State::Damaged => mends,
            _ => false,
        };
        let pairs = self.candidates.iter().zip(&self.states);
        pairs.filter(|(candidate, state)| candidate.home && stale(state)).map(|(candidate, _)| candidate.node).collect()
    }

    /// How many are needed.
    pub fn needed(&self) -> u8 {
        self.wanted.r
    }

    /// Whether another node could still be asked in the place of one that is late.
    pub fn has_spare(&self) -> bool {
        (0..self.candidates.len()).any(|at| self.is_spare(at))
    }

    fn is_spare(&self, at: usize) -> bool {
        self.states[at] == State::Idle && self.may_ask(&self.candidates[at])
    }

    fn position(&self, node: u16) -> Option<usize> {
        self.candidates.iter().position(|candidate| candidate.node == node)
    }

    fn may_ask(&self, candidate: &Candidate) -> bool {
        candidate.reachable && (self.wanted.sloppy || candidate.home)
    }

    /// Whether a fallback is among the first N healthy nodes.
    fn stands_in(&self, at: usize) -> bool {
        self.candidates[..at].iter().filter(|candidate| candidate.reachable).count() < usize::from(self.wanted.n)
    }

    /// Asks until R are answered or on their way, in the candidates' order.
    fn ask_more(&mut self) -> Asks {
        let on_the_way = |state: &&State| matches!(state, State::Asked | State::Answered(_));
        let mut missing = usize::from(self.wanted.r).saturating_sub(self.states.iter().filter(on_the_way).count());
        let mut asks = Asks::new();
        for at in 0..self.candidates.len() {
            if missing > 0 && self.is_spare(at) {
                self.states[at] = State::Asked;
                asks.push(self.candidates[at].node);
                missing -= 1;
            }
        }
        asks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Actor, Dot, NodeTag};
    use crate::object::Sibling;
    use crate::quorum::candidates;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn wanted(r: u8, sloppy: bool) -> Wanted {
        Wanted { n: 3, r, sloppy, conflict: Conflict::Siblings, floor: Hlc(0) }
    }

    fn key() -> StorageKey {
        StorageKey::new(0, b"key").unwrap()
    }

    fn object(node: u64, hlc: u64) -> Object {
        let dot = Dot { hlc: Hlc(hlc), actor: Actor { node: NodeTag(node), birth: Hlc(1) } };
        let mut object = Object::default();
        object.overwrite(Sibling::new(dot, NodeTag(node), Some(Bytes::from_static(b"v")), None));
        object
    }

    #[test]
    fn own_copy_first_then_the_best_peers() {
        let (mut get, asks) = Get::start(2, candidates("HHHF"), wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [2, 0]);
        let own = object(7, 5);
        get.answered(&key(), 2, Digest(0), Some(own.clone()));
        assert_eq!(get.verdict(), Verdict::Pending);
        get.answered(&key(), 0, own.digest(&key()), None);
        assert_eq!(get.verdict(), Verdict::Won);
        assert_eq!(get.merged(), &own);
        assert!(get.stale(&key()).is_empty());
    }

    #[test]
    fn a_read_that_needs_only_this_home_is_won_by_its_copy_alone() {
        let homes =
            |spec| candidates(spec).into_iter().filter(|candidate| candidate.home).map(|candidate| candidate.node);
        for (me, spec, r) in [(0, "HHHF", 1), (2, "HhH", 1), (1, "HH", 2), (3, "HHHF", 1), (3, "hhhF", 1), (0, "H", 1)]
        {
            let (mut get, asks) = Get::start(me, candidates(spec), wanted(r, true)).unwrap();
            let own = object(7, 5);
            if asks.first() == Some(&me) {
                get.answered(&key(), me, Digest(0), Some(own.clone()));
            }
            let alone = get.verdict() == Verdict::Won && get.home_answered();
            assert_eq!(needs_only(me, homes(spec), r), alone, "{me} of {spec}, R={r}");
            if alone {
                assert_eq!((asks.as_slice(), get.merged()), (&[me][..], &own));
                assert!(get.stale(&key()).is_empty() && !get.can_hedge());
            }
        }
    }

    #[test]
    fn a_stale_home_is_named_for_repair_and_a_concurrent_value_is_kept() {
        let (mut get, _) = Get::start(0, candidates("HHH"), wanted(3, true)).unwrap();
        let (a, b) = (object(7, 5), object(8, 6));
        get.answered(&key(), 0, Digest(0), Some(a.clone()));
        get.answered(&key(), 1, a.digest(&key()), Some(b));
        get.answered(&key(), 2, a.digest(&key()), Some(Object::default()));
        assert_eq!(get.merged().siblings.len(), 2);
        assert_eq!(get.stale(&key()).as_slice(), [0, 1, 2]);
    }

    #[test]
    fn who_fails_is_replaced_and_when_nobody_is_left_it_is_lost() {
        let (mut get, asks) = Get::start(0, candidates("HHHF"), wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [0, 1]);
        assert_eq!(get.failed(1).as_slice(), [2]);
        assert_eq!(get.failed(2).as_slice(), [3]);
        assert_eq!(get.verdict(), Verdict::Pending);
        assert!(get.failed(3).is_empty());
        assert_eq!(get.verdict(), Verdict::Lost);
        assert_eq!(Get::start(0, candidates("Hhh"), wanted(2, true)).err(), Some(TooFew { reachable: 1, needed: 2 }));
    }

    #[test]
    fn a_damaged_home_does_not_count_and_is_mended_by_what_most_hold() {
        let (mut get, asks) = Get::start(0, candidates("HHH"), wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [0, 1]);
        assert_eq!(get.damaged(0).as_slice(), [2]);
        get.answered(&key(), 1, Digest(0), Some(object(7, 5)));
        assert_eq!((get.verdict(), get.answers()), (Verdict::Pending, 1));
        get.answered(&key(), 2, Digest(0), Some(object(7, 5)));
        assert_eq!((get.verdict(), get.stale(&key()).as_slice()), (Verdict::Won, &[0][..]));
        // One copy may lack what the damaged one held and acknowledged.
        let (mut one, _) = Get::start(0, candidates("HHH"), wanted(1, true)).unwrap();
        assert_eq!(one.damaged(0).as_slice(), [1]);
        one.answered(&key(), 1, Digest(0), Some(object(7, 5)));
        assert_eq!((one.verdict(), one.stale(&key()).len()), (Verdict::Won, 0));
    }

    #[test]
    fn strict_asks_homes_only() {
        let (mut get, asks) = Get::start(0, candidates("HhHF"), wanted(2, false)).unwrap();
        assert_eq!(asks.as_slice(), [0, 2]);
        assert!(get.failed(2).is_empty());
        assert_eq!(get.verdict(), Verdict::Lost);
    }

    #[test]
    fn a_fallback_that_coordinates_counts_only_when_a_home_is_away() {
        let (_, asks) = Get::start(3, candidates("HHHF"), wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [0, 1]);
        let (_, asks) = Get::start(3, candidates("hHHF"), wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [3, 1]);
    }

    #[test]
    fn the_quickest_homes_come_first_and_fallbacks_never_do() {
        let mut list = candidates("HHHFF");
        quickest_first(&mut list, 2, |node| [9000, 3000, 0, 0, 9][usize::from(node)]);
        assert_eq!(list.iter().map(|candidate| candidate.node).collect::<Vec<_>>(), [1, 2, 0, 3, 4]);
        let (_, asks) = Get::start(2, list, wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [2, 1], "its own copy needs no way");
    }

    #[test]
    fn a_slow_home_is_hedged_by_a_home_and_counts_all_the_same_when_it_comes_first() {
        let (mut get, asks) = Get::start(0, candidates("HHHF"), wanted(2, true)).unwrap();
        assert_eq!(asks.as_slice(), [0, 1]);
        get.answered(&key(), 0, Digest(0), None);
        assert!(get.can_hedge());
        assert_eq!(get.hedge().as_slice(), [2]);
        assert!(!get.can_hedge() && get.hedge().is_empty(), "no fallback has what the homes have");
        get.answered(&key(), 1, Digest(0), None);
        assert_eq!(get.verdict(), Verdict::Won);
        // The one that is asked as well takes the place of one that then fails.
        let (mut get, _) = Get::start(0, candidates("HHHF"), wanted(2, true)).unwrap();
        get.answered(&key(), 0, Digest(0), None);
        get.hedge();
        assert!(get.failed(1).is_empty());
        assert_eq!(get.verdict(), Verdict::Pending);
        get.answered(&key(), 2, Digest(0), None);
        assert_eq!((get.verdict(), get.can_hedge()), (Verdict::Won, false));
    }

    #[test]
    fn a_fallbacks_forgotten_sibling_is_shown_only_while_no_home_has_answered() {
        let settled = Wanted { floor: Hlc(10), ..wanted(2, true) };
        let (old, new) = (object(7, 10), object(8, 11));
        // The fallback answers first: it is all there is, until a home that has forgotten the sibling answers.
        let (mut get, asks) = Get::start(0, candidates("hHhF"), settled).unwrap();
        assert_eq!(asks.as_slice(), [1, 3]);
        get.answered(&key(), 3, Digest(0), Some(old.clone()));
        assert_eq!((get.merged(), get.has_loans()), (&old, true));
        get.answered(&key(), 1, Digest(0), Some(Object::default()));
        assert!(get.merged().siblings.is_empty());
        // The home answers first; what is not settled is shown, and so is what the home has, too.
        for (loan, held, shown) in [(&old, &Object::default(), 0), (&new, &Object::default(), 1), (&old, &old, 1)] {
            let (mut get, _) = Get::start(0, candidates("hHhF"), settled).unwrap();
            get.answered(&key(), 1, Digest(0), Some(held.clone()));
            get.answered(&key(), 3, Digest(0), Some(loan.clone()));
            assert_eq!(get.merged().siblings.len(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_node_is_asked_twice_and_r_answers_win(
            ups in proptest::collection::vec(any::<bool>(), 5),
            r in 1u8..=3,
            sloppy in any::<bool>(),
            oks in proptest::collection::vec(any::<bool>(), 10),
            hedges in proptest::collection::vec(any::<bool>(), 10),
            merged in any::<bool>(),
        ) {
            let spec: String =
                ups.iter().zip("hhhff".chars()).map(|(up, c)| if *up { c.to_ascii_uppercase() } else { c }).collect();
            let Ok((mut get, asks)) = Get::start(0, candidates(&spec), wanted(r, sloppy)) else { return Ok(()) };
            let mut open: Vec<u16> = asks.to_vec();
            let mut ever = open.clone();
            let (mut answered, mut oks, mut hedges) = (0, oks.into_iter(), hedges.into_iter());
            while let Some(node) = open.pop() {
                prop_assert_eq!(get.verdict(), Verdict::Pending);
                if hedges.next().unwrap_or(false) {
                    for next in get.hedge() {
                        prop_assert!(!ever.contains(&next) && ups[usize::from(next)] && next < 3);
                        ever.push(next);
                        open.insert(0, next);
                    }
                }
                if oks.next().unwrap_or(true) {
                    answered += 1;
                    if merged { get.answered(&key(), node, Digest(0), None) } else { get.counted(node) }
                } else {
                    for next in get.failed(node) {
                        prop_assert!(!ever.contains(&next) && ups[usize::from(next)]);
                        prop_assert!(sloppy || next < 3);
                        ever.push(next);
                        open.push(next);
                    }
                }
                if get.verdict() != Verdict::Pending {
                    break;
                }
            }
            prop_assert_eq!(get.verdict(), if answered >= r { Verdict::Won } else { Verdict::Lost });
        }
    }
}
