//! One operation of a round: its machine, what it has gathered to send, and how it ended.
//!
//! An increment is a read and then a write. The read's slot is *continued* by the write's, so that an answer to the read which
//! comes late is never taken for one to the write.

use super::Coordinator;
use super::lookup::Lookup;
use super::place::{homes, policy};
use crate::causality::{Context, Dot, Hlc, NodeTag};
use crate::key::StorageKey;
use crate::membership::view::View;
use crate::message::data::{Answer, Refusal, Requests};
use crate::message::operation::{Act, Failure, Operation, Outcome};
use crate::object::Object;
use crate::object::counter::Entry;
use crate::peer::link::CallError;
use crate::quorum::{Verdict, get, put};
use crate::replica::count_up::Reading;
use crate::replica::write::Stored;
use crate::storage::error::StorageError;
use crate::storage::store::Committed;
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Who runs the round, and who is who in it.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The coordinator.
    pub coordinator: &'a Arc<Coordinator>,
    /// Its view when the round started.
    pub view: &'a Arc<View>,
}

impl Desk<'_> {
    /// The tag of a node of the view.
    pub fn tag(&self, node: u16) -> NodeTag {
        self.view.nodes[usize::from(node)].tag
    }

    /// What a read comes to that needs only this node's own copy, if it can be read. None: others are needed for it.
    pub fn shown_here(&self, operation: &Operation) -> Option<Outcome> {
        let Operation { key, act: Act::Get, .. } = operation else { return None };
        let (policy, me) = (policy(self.view, operation), self.view.me as u16);
        if !get::needs_only(me, homes(self.view, key, policy.n), policy.r) {
            return None;
        }
        let object = self.coordinator.replica.glance_as_home(key)?;
        Some(Outcome::Got(self.shown(object)))
    }

    /// What a read found, counted if that is several values.
    pub fn shown(&self, object: Object) -> Object {
        if object.siblings.len() > 1 && object.shown_values(self.coordinator.now_ms()).count() > 1 {
            self.coordinator.stats.reads_with_siblings.fetch_add(1, Ordering::Relaxed);
        }
        object
    }
}

/// How an operation left its round.
pub enum Ended {
    /// With this outcome.
    Outcome(Outcome),
    /// The coordinator it was sent to never got it: place it anew, avoiding that node.
    Unplaced(Box<Operation>, u16),
    /// This node's clock has to be stored further ahead first; nothing was done.
    Unleased(Box<Operation>),
}

/// One operation of a round.
pub struct Slot {
    key: StorageKey,
    /// What counts for it.
    pub run: Run,
    ended: Option<Ended>,
    decided: bool,
}

/// What counts for an operation.
pub enum Run {
    /// A write coordinated here.
    Put {
        /// Its quorum.
        machine: put::Put,
        /// What is sent; none once every copy is answered for.
        stored: Option<Stored>,
        /// Why this node's own store refused.
        own_error: Option<String>,
    },
    /// A read coordinated here.
    Get(Box<Lookup>),
    /// A read whose write is another slot of the round.
    Continued(u32),
    /// At another coordinator.
    Away {
        /// Kept to be placed anew.
        operation: Option<Box<Operation>>,
        /// Which one.
        node: u16,
        /// Replicas known to have acknowledged: W once it is written; zero for a read.
        w: u8,
        /// By what its replicas can be asked for the write.
        written: Option<Evidence>,
    },
    /// Ended before it started.
    Over,
}

/// By what one knows that a replica holds a write.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// All that the write's coordinator had seen, itself included.
    pub context: Context,
    /// Where something was added.
    pub entry: Option<Entry>,
    /// The siblings whose expiry was set, and when it had been set before: an expiry is not in the context.
    pub expiries: Vec<(Dot, Hlc)>,
}

impl Evidence {
    /// What an operation, if it is known, leaves behind where its outcome took effect.
    fn of(operation: Option<&Operation>, outcome: &Outcome, now_ms: u64) -> Option<Evidence> {
        let (context, entry) = match outcome {
            Outcome::Written(context) => (context.clone(), None),
            Outcome::Counted(counted) => (counted.context.clone(), Some(counted.entry)),
            _ => return None,
        };
        let expiries = match operation.map(|operation| &operation.act) {
            Some(Act::Expire { seen, .. }) => {
                let live = seen.siblings.iter().filter(|sibling| sibling.is_live(now_ms));
                live.map(|sibling| (sibling.dot, sibling.expiry.0)).collect()
            }
            _ => Vec::new(),
        };
        Some(Evidence { context, entry, expiries })
    }

    /// Whether this copy holds it.
    pub fn is_in(&self, object: &Object) -> bool {
        // A sibling that is not there has been replaced: the context is.
        let is_set = |(dot, before): &(Dot, Hlc)| {
            object.siblings.iter().find(|sibling| sibling.dot == *dot).is_none_or(|sibling| sibling.expiry.0 > *before)
        };
        object.context.descends(&self.context)
            && self.entry.is_none_or(|entry| object.has_entry(&entry))
            && self.expiries.iter().all(is_set)
    }
}

/// The place of a slot that has none yet.
pub const UNPLACED: u32 = u32::MAX;

/// An increment whose read is done.
#[derive(Debug)]
pub struct Ready {
    /// The slot of its write.
    pub at: u32,
    /// The increment.
    pub operation: Operation,
    /// What was read.
    pub reading: Reading,
}

/// What is to be sent to one peer.
#[derive(Default)]
pub struct Frame {
    /// The requests.
    pub requests: Requests,
    /// The slot of each.
    pub slots: Vec<u32>,
    /// Whether some operation in it could turn to another node before the request's time is up.
    pub hurry: bool,
    /// Whether some operation in it is a read.
    pub reads: bool,
}

/// Everything a step sends, gathered while the lock is held.
#[derive(Default)]
pub struct Sending {
    /// A frame for each peer; one for this node itself means: fsync what is stored.
    pub frames: SmallVec<[(u16, Frame); 4]>,
    /// Objects for replicas that were found stale.
    pub repairs: SmallVec<[(u16, Requests); 1]>,
    /// The same for this node.
    pub own_repairs: Vec<(StorageKey, Object, Hlc)>,
    /// Increments that can go on.
    pub ready: Vec<Ready>,
}

impl Sending {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.repairs.is_empty() && self.own_repairs.is_empty() && self.ready.is_empty()
    }

    /// The frame of a peer.
    pub fn frame(&mut self, node: u16) -> &mut Frame {
        let at = self.frames.iter().position(|(to, _)| *to == node).unwrap_or_else(|| {
            self.frames.push((node, Frame::default()));
            self.frames.len() - 1
        });
        &mut self.frames[at].1
    }

    /// A repair for a peer.
    pub fn repair(&mut self, node: u16, key: &StorageKey, object: &[u8], floor: Hlc) {
        let at = self.repairs.iter().position(|(to, _)| *to == node).unwrap_or_else(|| {
            self.repairs.push((node, Requests::default()));
            self.repairs.len() - 1
        });
        self.repairs[at].1.write(key, object, false, None, floor);
    }
}

impl Slot {
    /// An operation under way.
    pub fn new(key: StorageKey, run: Run) -> Slot {
        Slot { key, run, ended: None, decided: false }
    }

    /// An operation that ended before anything was sent.
    pub fn over(key: StorageKey, outcome: Outcome) -> Slot {
        Slot { key, run: Run::Over, ended: Some(Ended::Outcome(outcome)), decided: true }
    }

    /// The slot of a write for which this node's clock is not stored far enough ahead.
    pub fn unleased(operation: Operation) -> Slot {
        let key = operation.key.clone();
        Slot { key, run: Run::Over, ended: Some(Ended::Unleased(Box::new(operation))), decided: true }
    }

    /// A slot that is kept for something under way.
    pub fn kept(key: StorageKey) -> Slot {
        Slot { key, run: Run::Over, ended: None, decided: false }
    }

    /// From now on the slot `at` stands for this one, which is decided.
    pub fn continue_at(&mut self, at: u32) {
        self.run = Run::Continued(at);
        self.decided = true;
    }

    /// The slot that stands for this one.
    pub fn continued_at(&self) -> Option<u32> {
        match self.run {
            Run::Continued(at) => Some(at),
            _ => None,
        }
    }

    /// Whether it is won or lost.
    pub fn is_decided(&self) -> bool {
        self.decided
    }

    /// Whether WAIT could not count more than it does now.
    pub fn is_settled(&self) -> bool {
        match &self.run {
            Run::Put { machine, .. } => machine.settled(),
            Run::Away { written, .. } => written.is_none(),
            Run::Get(_) | Run::Continued(_) | Run::Over => true,
        }
    }

    /// A read that another coordinator has not answered yet, and which one.
    pub fn away_read(&self) -> Option<(&Operation, u16)> {
        match &self.run {
            Run::Away { operation: Some(operation), node, .. } if matches!(operation.act, Act::Get) => {
                Some((operation, *node))
            }
            _ => None,
        }
    }

    /// Whether it is a write that another coordinator has not answered yet.
    pub fn is_writing_away(&self) -> bool {
        matches!(&self.run, Run::Away { operation: Some(operation), .. } if !matches!(operation.act, Act::Get))
    }

    /// A write that another coordinator ran, to ask its replicas about.
    pub fn away_write(&self) -> Option<(StorageKey, Evidence)> {
        match &self.run {
            Run::Away { written: Some(evidence), .. } => Some((self.key.clone(), evidence.clone())),
            _ => None,
        }
    }

    /// So many of `homes` replicas hold the write that another coordinator ran.
    pub fn confirmed(&mut self, holders: u8, homes: u8) {
        if let Run::Away { w, written, .. } = &mut self.run {
            *w = (*w).max(holders);
            if holders >= homes {
                *written = None;
            }
        }
    }

    /// How many replicas beside the coordinator acknowledged the write; none for a read.
    pub fn acknowledged(&self) -> Option<usize> {
        let acknowledged = match &self.run {
            Run::Put { machine, .. } => machine.acknowledged(),
            Run::Away { w, .. } if *w > 0 => *w,
            _ => return None,
        };
        Some(usize::from(acknowledged).saturating_sub(1))
    }

    /// How it ended.
    pub fn take(&mut self) -> Ended {
        self.ended.take().unwrap_or(Ended::Outcome(Outcome::Failed(Failure::ForwardLost)))
    }

    /// Asks one more home if this is a read that is not decided yet. Gives how many it asked.
    pub fn hedge(&mut self, at: u32, sending: &mut Sending) -> u64 {
        let Run::Get(lookup) = &mut self.run else { return 0 };
        let asks = lookup.machine.hedge();
        lookup.ask(&self.key, &asks, at, sending);
        asks.len() as u64
    }

    /// Adds writes to the frames.
    pub fn send(&self, sends: &[put::Send], at: u32, desk: &Desk<'_>, sending: &mut Sending) {
        let Run::Put { machine, stored: Some(stored), .. } = &self.run else { return };
        for send in sends {
            let home = send.home.map(|home| desk.tag(home));
            if home.is_some() {
                desk.coordinator.stats.hints_placed.fetch_add(1, Ordering::Relaxed);
            }
            let frame = sending.frame(send.to);
            frame.requests.write(&self.key, &stored.object, send.sync, home, stored.floor);
            frame.slots.push(at);
            frame.hurry |= machine.has_spare();
        }
    }

    /// This node's own store has committed the write, or not.
    pub fn committed(
        &mut self,
        me: u16,
        result: &Result<Committed, StorageError>,
        at: u32,
        desk: &Desk<'_>,
        sending: &mut Sending,
    ) {
        let Run::Put { machine, own_error, .. } = &mut self.run else { return };
        let sends = match result {
            Ok(committed) => machine.applied(me, committed.durable),
            Err(error) => {
                *own_error = Some(error.to_string());
                // Whoever has it must give it back.
                desk.view.nodes.iter().for_each(|node| desk.coordinator.replica.under_way.miss(node.tag));
                own_failed(machine, me, error)
            }
        };
        self.send(&sends, at, desk, sending);
    }

    /// A replica has answered.
    pub fn answered(&mut self, node: u16, answer: Answer, at: u32, desk: &Desk<'_>, sending: &mut Sending) {
        match (&mut self.run, answer) {
            (Run::Put { machine, .. }, Answer::Applied { durable }) => {
                let sends = machine.applied(node, durable);
                self.send(&sends, at, desk, sending);
            }
            (Run::Get(lookup), Answer::Same) => lookup.machine.answered(&self.key, node, lookup.own, None),
            (Run::Get(lookup), Answer::Object(mut object)) => {
                // It may not have heard of a flush yet.
                desk.coordinator.replica.bury_dead(self.key.database(), &mut object);
                lookup.machine.answered(&self.key, node, lookup.own, Some(object));
            }
            (Run::Get(lookup), Answer::Refused(Refusal::Damaged)) => {
                let asks = lookup.machine.damaged(node);
                lookup.ask(&self.key, &asks, at, sending);
            }
            // Its store failed: the copy may be there after a restart.
            (Run::Put { .. }, Answer::Refused(Refusal::Storage)) => self.failed(node, true, at, desk, sending),
            _ => self.failed(node, false, at, desk, sending),
        }
    }

    /// A replica has refused, or will not answer. `sent`: it may have got the request all the same.
    pub fn failed(&mut self, node: u16, sent: bool, at: u32, desk: &Desk<'_>, sending: &mut Sending) {
        match &mut self.run {
            Run::Put { machine, .. } => {
                if machine.is_home(node) {
                    desk.coordinator.replica.under_way.miss(desk.tag(node));
                }
                let sends = machine.failed(node, sent);
                self.send(&sends, at, desk, sending);
            }
            Run::Get(lookup) => {
                let asks = lookup.machine.failed(node);
                lookup.ask(&self.key, &asks, at, sending);
            }
            Run::Away { .. } | Run::Continued(_) | Run::Over => {}
        }
    }

    /// The other coordinator has answered. It may be too late, or of no use, when others were asked meanwhile; and that
    /// one may not have heard of a flush yet.
    pub fn end(&mut self, mut outcome: Outcome, desk: &Desk<'_>) {
        if matches!(self.run, Run::Get(_)) && (self.decided || !matches!(outcome, Outcome::Got(_))) {
            return;
        }
        if let Outcome::Got(object) = &mut outcome {
            desk.coordinator.replica.bury_dead(self.key.database(), object);
        }
        if let Run::Away { operation, written, w, .. } = &mut self.run {
            *written = Evidence::of(operation.take().as_deref(), &outcome, desk.coordinator.now_ms());
            // What failed is not waited for.
            if written.is_none() {
                *w = 0;
            }
        }
        self.ended = Some(Ended::Outcome(outcome));
        self.decided = true;
    }

    /// The other coordinator did not answer. A write it may have got is not repeated.
    pub fn unforwarded(&mut self, node: u16, error: &CallError) {
        let Run::Away { operation, w, .. } = &mut self.run else { return };
        let again = *w == 0 || matches!(error, CallError::NotSent);
        self.ended = Some(match operation.take().filter(|_| again) {
            Some(operation) => Ended::Unplaced(operation, node),
            None => Ended::Outcome(Outcome::Failed(Failure::ForwardLost)),
        });
        self.decided = true;
    }

    /// Draws the outcome as soon as the machine has a verdict.
    pub fn decide(&mut self, desk: &Desk<'_>, sending: &mut Sending) {
        let outcome = match &mut self.run {
            Run::Put { machine, stored, own_error } => {
                let outcome = if self.decided { None } else { written(machine, stored.as_mut(), own_error.as_deref()) };
                if matches!(outcome, Some(Outcome::Failed(_))) {
                    desk.coordinator.stats.quorums_missed.fetch_add(1, Ordering::Relaxed);
                }
                if machine.settled() && (self.decided || outcome.is_some()) {
                    *stored = None;
                }
                outcome
            }
            Run::Get(lookup) if !self.decided => lookup.conclude(&self.key, desk, sending),
            Run::Get(_) | Run::Away { .. } | Run::Continued(_) | Run::Over => None,
        };
        let Some(outcome) = outcome else { return };
        self.decided = true;
        self.ended = Some(Ended::Outcome(outcome));
    }
}

/// This node's own store failed.
fn own_failed(machine: &mut put::Put, me: u16, error: &StorageError) -> put::Sends {
    machine.failed(me, error.is_in_doubt())
}

/// How a write ended, if it has.
fn written(machine: &put::Put, stored: Option<&mut Stored>, own_error: Option<&str>) -> Option<Outcome> {
    Some(match (machine.verdict(), stored) {
        (Verdict::Pending, _) => return None,
        (Verdict::Won, Some(stored)) => match stored.counted.take() {
            Some(counted) => Outcome::Counted(counted),
            None => Outcome::Written(std::mem::take(&mut stored.context)),
        },
        _ => Outcome::Failed(put_failure(machine, own_error)),
    })
}

/// What is known of a write that missed its quorum.
fn put_failure(machine: &put::Put, own_error: Option<&str>) -> Failure {
    let (acknowledged, needed) = (machine.acknowledged(), machine.needed());
    match own_error {
        Some(error) if acknowledged == 0 && !machine.unsure() => Failure::Storage(error.to_owned()),
        _ => Failure::WriteUnsure { acknowledged, needed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::Actor;
    use crate::object::Sibling;
    use crate::quorum::Candidate;
    use bytes::Bytes;

    #[test]
    fn a_copy_holds_an_expiry_once_its_register_is_set_anew() {
        let dot = Dot { hlc: Hlc(5), actor: Actor { node: NodeTag(1), birth: Hlc(1) } };
        let mut before = Object::default();
        before.overwrite(Sibling::new(dot, NodeTag(1), Some(Bytes::from_static(b"v")), None));
        let mut after = before.clone();
        after.expire(0, Hlc(6), Some(9_000));
        let mut replaced = after.clone();
        let later = Dot { hlc: Hlc(7), ..dot };
        replaced.overwrite(Sibling::new(later, NodeTag(1), Some(Bytes::from_static(b"w")), None));
        let act = Act::Expire { at: Some(9_000), seen: Box::new(before.clone()) };
        let operation = Operation { key: StorageKey::new(0, b"key").unwrap(), act, r: None, w: None };
        let outcome = Outcome::Written(after.context.clone());
        let evidence = Evidence::of(Some(&operation), &outcome, 0).unwrap();
        assert_eq!(before.context, after.context, "the context does not show it");
        assert_eq!([&before, &after, &replaced].map(|object| evidence.is_in(object)), [false, true, true]);
        assert!(!evidence.is_in(&Object::default()));
    }

    #[test]
    fn only_a_store_that_surely_wrote_nothing_says_that_nothing_was_changed() {
        let failure = |error: StorageError| {
            let alone = [Candidate { node: 0, home: true, reachable: true }].into_iter().collect();
            let wanted = put::Wanted { n: 1, w: 1, dw: 0, sloppy: true };
            let (mut machine, _) = put::Put::start(0, alone, wanted).unwrap();
            own_failed(&mut machine, 0, &error);
            put_failure(&machine, Some(&error.to_string()))
        };
        let unsure = Failure::WriteUnsure { acknowledged: 0, needed: 1 };
        assert_eq!(failure(StorageError::Write { why: "disk".into() }), unsure);
        assert_eq!(failure(StorageError::Overtaken), unsure);
        assert_eq!(failure(StorageError::Poisoned), Failure::Storage(StorageError::Poisoned.to_string()));
    }
}
