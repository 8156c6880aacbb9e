//! When the past may be forgotten: words, the mark, and the rounds that earn them (DESIGN "Settling"; §4.4, §4.6).
//!
//! A village agrees to burn old letters. Nobody goes by the date on them: a letter that was late on its way would then
//! speak up again from its ashes. Instead each says aloud up to which of *their own* letters all who should have them do
//! have them, in their safes; the least of what was said holds for the whole village, and only what lies below may burn.
//! When somebody has been ill and forgetful, nobody says anything new until every two houses have compared their shelves.
//!
//! # Contract
//! - A member's *word* is an HLC: every write it coordinated up to there has been fsynced by every home, and every stamp it
//!   will ever give is above. The *mark* is the least word of all members. A member that is down is taken at its last word.
//! - Of two homes one begins to compare ([`begins`]), so that no pair compares twice over in a round.
//! - In quiet times a word is earned by a *cycle*: read the clock; wait until every request that may bear an earlier stamp
//!   has ended; compare with each home that missed one of its writes; have every member fsync what it has taken in.
//! - After any change of who is there, in which life, or of how many copies are kept (the *tag*), words stand still until
//!   a *round*: (1) everyone has closed the connections of older lives and seen everything end that was read from them;
//!   (2) then every two homes have compared and fsynced; (3) and no member keeps copies for another any more.
//! - A word never sinks, whatever is reported in whatever order.
//!
//! # Invariants
//! - Nothing compared or fsynced before the present clock reading counts towards it: tasks carry a *ticket*.
//! - While a member keeps copies for others its word stands still: such a copy may be older than anything here.
//!
//! # What it refuses to do
//! It sends, fsyncs and deletes nothing. It keeps one word for the whole node, not one for each partition: a member that is
//! down holds up all of them anyway, and the number that travels with copies stays one number.

#[cfg(test)]
mod tests;

use crate::causality::{Hlc, NodeTag};
use crate::message::settling::{Report, Stage};
use std::collections::{BTreeMap, BTreeSet};

/// What the driver sees when it lets the machine take a step.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Names who is a member, in which lives, and how many copies each database keeps.
    pub tag: u64,
    /// The other members.
    pub others: BTreeSet<NodeTag>,
    /// No connection with an older life of any member is left.
    pub closed: bool,
    /// Everything has ended that was under way at the last [`Settling::drawn`]. Look at this before gathering `missed`.
    pub drained: bool,
    /// The members that missed a write coordinated here, noted since the last step.
    pub missed: BTreeSet<NodeTag>,
    /// Copies are kept here for others.
    pub keeps_copies: bool,
    /// The time has come for another cycle.
    pub due: bool,
}

/// What the machine waits for; ask after each step. Doing it twice is harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Time, or others.
    Nothing,
    /// Read the clock, so that every later stamp is above, *then* begin to watch what is under way: [`Settling::drawn`].
    Draw,
    /// Compare with these from beginning to end, beginning from now on: [`Settling::compared`].
    Compare(u64, BTreeSet<NodeTag>),
    /// Have these (this node itself among them) fsync all they have taken in by now: [`Settling::synced`].
    Sync(u64, BTreeSet<NodeTag>),
}

/// Which of two members begins: so that each of many begins with about half of the others.
pub fn begins(own: NodeTag, other: NodeTag) -> bool {
    (own < other) == ((own.0 ^ other.0) & 1 == 0)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Waits for its turn, or, in a round, for connections to be closed.
    Resting,
    /// The clock is to be read.
    Drawing,
    /// Requests with stamps up to the reading are under way.
    Draining,
    /// Round only: waits until all are.
    Closed,
    /// Homes are being compared with.
    Comparing(BTreeSet<NodeTag>),
    /// Members are fsyncing.
    Syncing(BTreeSet<NodeTag>),
    /// Round only: waits until all have.
    Compared,
}

/// The machine. See the module.
#[derive(Clone, Debug)]
pub struct Settling {
    me: NodeTag,
    tag: u64,
    others: BTreeSet<NodeTag>,
    /// Whether this is a round, not a cycle.
    round: bool,
    state: State,
    /// Counts clock readings and what is wanted for them.
    ticket: u64,
    upto: Hlc,
    missed: BTreeSet<NodeTag>,
    word: Hlc,
    reports: BTreeMap<NodeTag, Report>,
}

impl Settling {
    /// A member that has said nothing in this life yet.
    pub fn new(me: NodeTag) -> Settling {
        Settling {
            me,
            tag: 0,
            others: BTreeSet::new(),
            round: true,
            state: State::Resting,
            ticket: 0,
            upto: Hlc(0),
            missed: BTreeSet::new(),
            word: Hlc(0),
            reports: BTreeMap::new(),
        }
    }

    /// Another member has reported. Its word is remembered for ever, its stage until the next report.
    pub fn heard(&mut self, from: NodeTag, report: Report) {
        let word = self.reports.get(&from).map_or(Hlc(0), |known| known.word);
        let floor = self.reports.get(&from).map_or(Hlc(0), |known| known.floor);
        self.reports.insert(from, Report { word: word.max(report.word), floor: floor.max(report.floor), ..report });
    }

    /// Takes a step, as far as the facts allow. Call it again after anything has happened, and now and then.
    pub fn step(&mut self, facts: Facts) {
        if facts.tag != self.tag || facts.others != self.others {
            (self.tag, self.others) = (facts.tag, facts.others);
            (self.round, self.state) = (true, State::Resting);
        }
        self.missed.extend(facts.missed.iter().filter(|node| self.others.contains(node)));
        match &self.state {
            State::Resting if self.round && facts.closed => self.draw(),
            State::Resting if !self.round && facts.due => self.draw(),
            State::Draining if !facts.drained => {}
            State::Draining if self.round => self.state = State::Closed,
            State::Draining if !facts.keeps_copies => {
                let missed = std::mem::take(&mut self.missed);
                self.compare(missed);
            }
            State::Closed if self.all_at_least(Stage::Closed) && !facts.keeps_copies => {
                let mine = self.others.iter().copied().filter(|other| begins(self.me, *other)).collect();
                self.compare(mine);
            }
            State::Comparing(left) if left.is_empty() => self.sync(),
            State::Syncing(left) if left.is_empty() && self.round => {
                self.state = State::Compared;
                self.step_compared();
            }
            State::Syncing(left) if left.is_empty() => self.earn(),
            State::Compared => self.step_compared(),
            _ => {}
        }
    }

    fn step_compared(&mut self) {
        if self.all_at_least(Stage::Compared) {
            self.round = false;
            self.earn();
        }
    }

    fn draw(&mut self) {
        self.ticket += 1;
        self.state = State::Drawing;
        if self.round {
            // Everything that has ended by now lies with some home, and in a round every two homes compare.
            self.missed.clear();
        }
    }

    fn compare(&mut self, left: BTreeSet<NodeTag>) {
        self.ticket += 1;
        self.state = State::Comparing(left);
    }

    fn sync(&mut self) {
        self.ticket += 1;
        let mut left = self.others.clone();
        left.insert(self.me);
        self.state = State::Syncing(left);
    }

    fn earn(&mut self) {
        self.word = self.word.max(self.upto);
        self.state = State::Resting;
    }

    /// What is to be done now.
    pub fn wanted(&self) -> Wanted {
        match &self.state {
            State::Drawing => Wanted::Draw,
            State::Comparing(left) if !left.is_empty() => Wanted::Compare(self.ticket, left.clone()),
            State::Syncing(left) if !left.is_empty() => Wanted::Sync(self.ticket, left.clone()),
            _ => Wanted::Nothing,
        }
    }

    /// The clock has been read: every later stamp of this node is above `upto`.
    pub fn drawn(&mut self, upto: Hlc) {
        if self.state == State::Drawing {
            (self.upto, self.state) = (upto, State::Draining);
        }
    }

    /// A comparison that was wanted under this ticket, and began afterwards, has come to its end.
    pub fn compared(&mut self, ticket: u64, node: NodeTag) {
        if let State::Comparing(left) = &mut self.state
            && ticket == self.ticket
        {
            left.remove(&node);
        }
    }

    /// A member has fsynced everything it had taken in when it was asked under this ticket.
    pub fn synced(&mut self, ticket: u64, node: NodeTag) {
        if let State::Syncing(left) = &mut self.state
            && ticket == self.ticket
        {
            left.remove(&node);
        }
    }

    /// What to tell the others; `floor` is this node's.
    pub fn report(&self, floor: Hlc) -> Report {
        Report { tag: self.tag, stage: self.stage(), word: self.word, floor }
    }

    fn stage(&self) -> Stage {
        if !self.round {
            return Stage::Compared;
        }
        match self.state {
            State::Resting | State::Drawing | State::Draining => Stage::Restless,
            State::Compared => Stage::Compared,
            _ => Stage::Closed,
        }
    }

    fn all_at_least(&self, stage: Stage) -> bool {
        self.others.iter().all(|node| self.reports.get(node).is_some_and(|r| r.tag == self.tag && r.stage >= stage))
    }

    /// Whether a round is under way: words stand still.
    pub fn in_round(&self) -> bool {
        self.round
    }

    /// The greatest floor of the other members, once all of them count this node in (they have reported under its tag).
    pub fn floor_of_all(&self) -> Option<Hlc> {
        let counted = self.tag != 0 && self.all_at_least(Stage::Restless);
        counted.then(|| self.floors().max().unwrap_or_default())
    }

    fn floors(&self) -> impl Iterator<Item = Hlc> {
        self.others.iter().filter_map(|node| self.reports.get(node)).map(|report| report.floor)
    }

    /// No member has computed a higher mark, heard of or not: this one's own word holds all of them down. Only after a
    /// restart one may have, for as long as words of the life before are under way.
    pub fn mark_max(&self) -> Hlc {
        self.word.max(self.mark().0)
    }

    /// The mark, no lower than what others have computed; and whose word is the least.
    pub fn mark(&self) -> (Hlc, NodeTag) {
        let word = |node: &NodeTag| self.reports.get(node).map_or(Hlc(0), |report| report.word);
        let words = self.others.iter().map(|node| (word(node), *node)).chain([(self.word, self.me)]);
        let (least, holder) = words.min().unwrap_or((self.word, self.me));
        (self.floors().fold(least, Hlc::max), holder)
    }
}
