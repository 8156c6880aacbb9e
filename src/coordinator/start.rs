//! The start of a round: this node's own reads and writes, in order, and the frames for everybody else.

use super::lookup::{Lookup, Purpose};
use super::place::{Forwarding, Place, homes, place, policy, typical_us};
use super::slot::{Desk, Ready, Run, Sending, Slot, UNPLACED};
use crate::causality::Hlc;
use crate::handoff::ALL_HOMES;
use crate::key::StorageKey;
use crate::message::data::Refusal;
use crate::message::operation::{Act, Failure, Operation, Outcome};
use crate::object::digest::Digest;
use crate::policy::Policy;
use crate::quorum::{Candidates, TooFew, get, put};
use crate::replica::count_up::{Addition, Reading};
use crate::replica::write::{Expiry, NotStored, Stored};
use crate::storage::batch::Batch;
use smallvec::SmallVec;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long reads wait before they ask another home, while nobody knows how soon homes answer.
const PATIENCE_UNMEASURED: Duration = Duration::from_millis(20);

/// The least time they wait: below it timers are too coarse.
const PATIENCE_MIN: Duration = Duration::from_millis(1);

/// What the start of a round gathers.
pub struct Starting<'a> {
    desk: Desk<'a>,
    now_ms: u64,
    /// This node's floor, and what its own copies bear; both from before anything is read.
    floor: Hlc,
    floor_borne: Hlc,
    /// Frames for the peers.
    pub sending: Sending,
    /// This node's own writes.
    pub batch: Batch,
    /// The slots of those.
    pub own_puts: Vec<u32>,
    /// Whether one of them must be fsynced.
    pub sync: bool,
    /// After which time reads that are not answered yet are also asked of another home; none: there is no such read.
    pub hedge_after: Option<Duration>,
    /// A node that is to be asked last.
    slow: Option<u16>,
    /// A write could not be stamped: neither is anything begun behind it, so that all keep their order.
    unleased: bool,
    /// Slots handed to other coordinators.
    pub away: SmallVec<[(u16, Vec<u32>); 2]>,
}

impl<'a> Starting<'a> {
    /// Nothing started yet.
    pub fn new(desk: Desk<'a>) -> Starting<'a> {
        Starting {
            now_ms: desk.coordinator.now_ms(),
            floor: desk.coordinator.replica.floor(),
            floor_borne: desk.coordinator.replica.floor_borne(),
            desk,
            sending: Sending::default(),
            batch: Batch::new(),
            own_puts: Vec::new(),
            sync: false,
            hedge_after: None,
            slow: None,
            unleased: false,
            away: SmallVec::new(),
        }
    }

    /// Starts one operation.
    pub fn begin(&mut self, at: u32, operation: Operation, forwarding: Forwarding, avoid: &[u16]) -> Slot {
        if self.unleased {
            return Slot::unleased(operation);
        }
        if let Some(outcome) = self.desk.shown_here(&operation) {
            self.desk.coordinator.stats.gets.fetch_add(1, Ordering::Relaxed);
            return Slot::over(operation.key, outcome);
        }
        let policy = policy(self.desk.view, &operation);
        let replica = &self.desk.coordinator.replica;
        let unable = replica.is_filling() || (!matches!(operation.act, Act::Get) && !replica.is_writable());
        match place(self.desk.view, &operation.key, policy.n, forwarding, avoid, unable) {
            Place::At(node) => {
                self.desk.coordinator.stats.forwarded.fetch_add(1, Ordering::Relaxed);
                match self.away.iter_mut().find(|(to, _)| *to == node) {
                    Some((_, slots)) => slots.push(at),
                    None => self.away.push((node, vec![at])),
                }
                let is_read = matches!(operation.act, Act::Get);
                if is_read && policy.n > 1 {
                    // There and back, and from there to the others.
                    let homes = homes(self.desk.view, &operation.key, policy.n).filter(|home| *home != node);
                    self.hedge_after = self.hedge_after.max(self.patience(homes).map(|patience| patience * 2));
                }
                let w = if is_read { 0 } else { policy.w };
                let key = operation.key.clone();
                Slot::new(key, Run::Away { operation: Some(Box::new(operation)), node, w, written: None })
            }
            Place::Here(candidates) => match operation.act {
                Act::Get => self.begin_get(at, operation.key, Purpose::Show, policy, candidates),
                Act::Increment(_) => {
                    let (key, purpose) = (operation.key.clone(), Purpose::Add(Box::new(operation)));
                    let slot = self.begin_get(at, key, purpose, policy, candidates);
                    // Where this node's own copy is enough, its read is done already.
                    self.sending.ready.pop().map_or(slot, |ready| self.add(Ready { at, ..ready }))
                }
                _ => self.begin_put(at, operation, Reading::default(), policy, candidates),
            },
        }
    }

    /// Whether this node does nothing for what was started, and nobody else is asked to.
    pub fn asks_nobody(&self) -> bool {
        self.own_puts.is_empty() && self.away.is_empty() && self.sending.is_empty()
    }

    /// Goes on with an increment: adds to what was read.
    pub fn add(&mut self, Ready { at, operation, reading }: Ready) -> Slot {
        debug_assert!(at != UNPLACED);
        let policy = policy(self.desk.view, &operation);
        match place(self.desk.view, &operation.key, policy.n, Forwarding::Never, &[], false) {
            Place::Here(candidates) => self.begin_put(at, operation, reading, policy, candidates),
            // It was placed here already.
            Place::At(_) => Slot::over(operation.key, Outcome::Raced),
        }
    }

    /// Coordinates here a read that another coordinator is slow to answer; none: nothing is gained by it.
    pub fn take_over(&mut self, at: u32, slot: &Slot) -> Option<Slot> {
        let (operation, slow) = slot.away_read()?;
        let policy = policy(self.desk.view, operation);
        let Place::Here(candidates) = place(
            self.desk.view,
            &operation.key,
            policy.n,
            Forwarding::Never,
            &[],
            self.desk.coordinator.replica.is_filling(),
        ) else {
            return None;
        };
        self.slow = Some(slow);
        Some(self.begin_get(at, operation.key.clone(), Purpose::Show, policy, candidates))
            .filter(|slot| !slot.is_decided())
    }

    fn begin_get(
        &mut self,
        at: u32,
        key: StorageKey,
        purpose: Purpose,
        policy: Policy,
        mut candidates: Candidates,
    ) -> Slot {
        self.desk.coordinator.stats.gets.fetch_add(1, Ordering::Relaxed);
        let me = self.desk.view.me as u16;
        let wanted = get::Wanted {
            n: policy.n,
            r: policy.r,
            sloppy: policy.sloppy,
            conflict: policy.conflict,
            floor: self.floor,
        };
        #[cfg(feature = "simulation")]
        let wanted = rehearsed::wanted(wanted);
        let slowness = |node| if self.slow == Some(node) { u32::MAX } else { typical_us(self.desk.view, node) };
        get::quickest_first(&mut candidates, me, slowness);
        let (mut machine, mut asks) = match get::Get::start(me, candidates, wanted) {
            Ok(started) => started,
            Err(few) => return self.refused(key, few),
        };
        let mut own = Digest::default();
        if asks.first() == Some(&me) {
            asks.remove(0);
            match self.desk.coordinator.replica.read_as_home(&key) {
                Ok(object) => {
                    // Only other replicas are told what is here.
                    if policy.r > 1 {
                        own = object.digest(&key);
                    }
                    machine.answered(&key, me, own, Some(object));
                }
                Err(Refusal::Damaged) => asks.extend(machine.damaged(me)),
                Err(_) => asks.extend(machine.failed(me)),
            }
        }
        if machine.can_hedge() {
            self.hedge_after = self.hedge_after.max(self.patience(machine.reachable_homes()));
        }
        let mut lookup = Lookup { machine, own, floor: self.floor, purpose };
        lookup.ask(&key, &asks, at, &mut self.sending);
        match lookup.conclude(&key, &self.desk, &mut self.sending) {
            Some(outcome) => Slot::over(key, outcome),
            None => Slot::new(key, Run::Get(Box::new(lookup))),
        }
    }

    /// How long a read waits for those it has asked: about as long as the quickest of its homes takes at most.
    fn patience(&self, homes: impl Iterator<Item = u16>) -> Option<Duration> {
        if self.desk.coordinator.hedge_percentile() == 0 {
            return None;
        }
        let tail = |home: u16| self.desk.view.nodes[usize::from(home)].health.tail();
        let least = homes.filter_map(tail).min();
        Some(least.map_or(PATIENCE_UNMEASURED, |least| least.max(PATIENCE_MIN)))
    }

    fn begin_put(
        &mut self,
        at: u32,
        operation: Operation,
        reading: Reading,
        policy: Policy,
        candidates: Candidates,
    ) -> Slot {
        self.desk.coordinator.stats.puts.fetch_add(1, Ordering::Relaxed);
        let wanted = put::Wanted { n: policy.n, w: policy.w, dw: policy.dw, sloppy: policy.sloppy };
        let me = self.desk.view.me as u16;
        let key = operation.key;
        let is_home = candidates.iter().any(|candidate| candidate.node == me && candidate.home);
        let (machine, mut sends) = match put::Put::start(me, candidates, wanted) {
            Ok(started) => started,
            Err(few) => return self.refused(key, few),
        };
        let own = sends.iter().position(|send| send.to == me).map(|place| sends.remove(place));
        // A coordinator that is no home keeps its copy until every home has it: its word must not rise before.
        let only_home = own.as_ref().and_then(|own| own.home).filter(|_| policy.n == 1).map(|home| self.desk.tag(home));
        let home = (!is_home).then(|| only_home.unwrap_or(ALL_HOMES));
        let replica = self.desk.coordinator.replica.clone();
        let (conflict, now_ms) = (policy.conflict, self.now_ms);
        let stored = match &operation.act {
            Act::Put(put) => replica.put(&mut self.batch, &key, put, conflict, home, now_ms),
            Act::Expire { at, seen } => {
                replica.expire(&mut self.batch, &key, Expiry { seen, at: *at }, conflict, home, now_ms)
            }
            Act::Increment(amounts) => {
                let addition = Addition { amounts, reading };
                replica.increment(&mut self.batch, &key, addition, conflict, home, now_ms)
            }
            Act::Get => Err(NotStored::Raced),
        };
        let stored = match stored {
            Ok(stored) => Stored { floor: if is_home { self.floor_borne } else { Hlc(0) }, ..stored },
            Err(NotStored::Raced) => return Slot::over(key, Outcome::Raced),
            Err(NotStored::Failed(Failure::ClockSpent)) => {
                self.unleased = true;
                return Slot::unleased(Operation { key, ..operation });
            }
            Err(NotStored::Failed(failure)) => return Slot::over(key, Outcome::Failed(failure)),
        };
        let missing = machine.homes_left_out();
        missing.for_each(|node| self.desk.coordinator.replica.under_way.miss(self.desk.tag(node)));
        self.own_puts.push(at);
        self.sync |= own.is_some_and(|own| own.sync);
        let run = Run::Put { machine, stored: Some(stored), own_error: None };
        let slot = Slot::new(key, run);
        slot.send(&sends, at, &self.desk, &mut self.sending);
        slot
    }

    fn refused(&self, key: StorageKey, few: TooFew) -> Slot {
        self.desk.coordinator.stats.quorums_missed.fetch_add(1, Ordering::Relaxed);
        Slot::over(key, Outcome::Failed(Failure::NoReplicas { reachable: few.reachable, needed: few.needed }))
    }
}

/// Where a simulation breaks reading on purpose. Not part of a server.
#[cfg(feature = "simulation")]
mod rehearsed {
    use crate::causality::Hlc;
    use crate::quorum::get::Wanted;
    use crate::world::simulation::{Mutation, is_broken};

    /// Nothing is so old that it could have been forgotten.
    pub(super) fn wanted(wanted: Wanted) -> Wanted {
        let floor = if is_broken(Mutation::OldCopiesTaken) { Hlc(0) } else { wanted.floor };
        Wanted { floor, ..wanted }
    }
}
