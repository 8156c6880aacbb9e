//! One round: the operations of a batch, started together, each decided by its own quorum machine.
//!
//! The round lives as long as answers are on the way: the reply may be long gone when the last replica acknowledges.
//! Answers come on the links' and the store's threads; each takes the round's lock, feeds the machines, and sends what
//! they ask for after letting go of it. An increment whose read is done goes on there and then.

use super::Coordinator;
use super::place::Forwarding;
use super::slot::{Desk, Ended, Frame, Ready, Run, Sending, Slot, UNPLACED};
use super::start::Starting;
use crate::causality::Hlc;
use crate::key::StorageKey;
use crate::membership::view::View;
use crate::message::data::read_answers;
use crate::message::forward;
use crate::message::operation::{Act, Failure, Operation, Outcome};
use crate::object::Object;
use crate::peer::link::CallError;
use crate::quorum::get::HEDGES_MAX;
use crate::replica::underway::Ticket;
use crate::storage::batch::Batch;
use crate::storage::error::StorageError;
use crate::storage::store::Committed;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};

/// The operations of a round. See the module.
pub struct Round {
    coordinator: Arc<Coordinator>,
    view: Arc<View>,
    /// When its operations fail that are still undecided.
    deadline: Instant,
    /// When reads that are not answered yet are asked of another home.
    hedge_after: Option<Duration>,
    bell: Option<Arc<Notify>>,
    /// Alive while anything sent may still be answered: whoever waits for an answer holds it.
    ticket: Weak<Ticket>,
    state: Mutex<State>,
}

/// How long a frame was under way, and whether it held reads.
struct Timing {
    took: Duration,
    reads: bool,
}

/// What became of operations that were started.
pub enum Started {
    /// All are decided, nothing is on the way.
    Over(Vec<Ended>),
    /// Some are not, or others are still to hear of them.
    Going(Arc<Round>),
}

struct State {
    /// One for each operation, then those that continue some of them.
    slots: Vec<Slot>,
    operations: usize,
    undecided: usize,
    waiter: Option<oneshot::Sender<()>>,
}

/// What a batch of nothing but reads comes to that all need only this node's own copies: there is nothing to run. None: some
/// need others, or are no reads.
pub fn shown_here(coordinator: &Arc<Coordinator>, operations: &[Operation]) -> Option<Vec<Outcome>> {
    if !operations.iter().all(|operation| matches!(operation.act, Act::Get)) {
        return None;
    }
    let view = coordinator.view();
    let desk = Desk { coordinator, view: &view };
    // Not collected: that would not know how many there are.
    let mut shown = Vec::with_capacity(operations.len());
    for operation in operations {
        shown.push(desk.shown_here(operation)?);
    }
    coordinator.stats.gets.fetch_add(shown.len() as u64, Ordering::Relaxed);
    Some(shown)
}

impl Round {
    /// Starts operations: reads and writes here, sends to the others.
    pub fn start(
        coordinator: &Arc<Coordinator>,
        operations: Vec<Operation>,
        bell: Option<Arc<Notify>>,
        forwarding: Forwarding,
        deadline: Instant,
        avoid: &[u16],
    ) -> Started {
        // Before anything is read or stamped.
        let ticket = Arc::new(coordinator.replica.under_way.ticket());
        let view = coordinator.view();
        let mut starting = Starting::new(Desk { coordinator, view: &view });
        let begin = |(at, operation)| starting.begin(at as u32, operation, forwarding, avoid);
        let mut slots: Vec<Slot> = operations.into_iter().enumerate().map(begin).collect();
        if starting.asks_nobody() && slots.iter().all(Slot::is_decided) {
            return Started::Over(slots.iter_mut().map(Slot::take).collect());
        }
        let Starting { sending, batch, own_puts, sync, away, hedge_after, .. } = starting;
        let undecided = slots.iter().filter(|slot| !slot.is_decided()).count();
        let round = Arc::new(Round {
            coordinator: coordinator.clone(),
            view,
            deadline,
            hedge_after,
            bell,
            ticket: Arc::downgrade(&ticket),
            state: Mutex::new(State { operations: slots.len(), slots, undecided, waiter: None }),
        });
        for (node, slots) in away {
            round.forward(node, slots);
        }
        round.send(sending);
        if !own_puts.is_empty() {
            round.commit(batch, sync, own_puts);
        }
        Started::Going(round)
    }

    /// Waits until every operation is decided. Reads that take long are asked of other homes meanwhile.
    pub async fn ended(self: &Arc<Self>) {
        let Some(mut finished) = self.finished() else { return };
        let mut pause = self.hedge_after;
        for _ in 0..HEDGES_MAX {
            let Some(patience) = pause else { break };
            tokio::select! {
                biased;
                _ = &mut finished => return,
                () = sleep(patience) => {}
            }
            pause = self.hedge().then_some(patience * 2);
        }
        // The sender lives in the round, which we hold: this cannot fail.
        let _ = finished.await;
    }

    /// Asks another home for each read that is not decided yet. Whether any was asked.
    fn hedge(self: &Arc<Self>) -> bool {
        let mut starting = Starting::new(Desk { coordinator: &self.coordinator, view: &self.view });
        let mut hedged = 0;
        let mut state = self.state.lock();
        // A read that was handed on behind a write of its key must see that write, so all of those stay in their order.
        let in_order = state.slots.iter().any(Slot::is_writing_away);
        for (at, slot) in state.slots.iter_mut().enumerate() {
            let taken_over = if in_order { None } else { starting.take_over(at as u32, slot) };
            match taken_over {
                Some(taken_over) => {
                    *slot = taken_over;
                    hedged += 1;
                }
                None => hedged += slot.hedge(at as u32, &mut starting.sending),
            }
        }
        drop(state);
        let sending = starting.sending;
        self.coordinator.stats.hedged_reads.fetch_add(hedged, Ordering::Relaxed);
        self.send(sending);
        hedged > 0
    }

    /// What to wait for until every operation is decided; none when they are already.
    fn finished(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state.lock();
        (state.undecided > 0).then(|| {
            let (waiter, finished) = oneshot::channel();
            state.waiter = Some(waiter);
            finished
        })
    }

    /// How each operation ended. Call once, after [`Round::ended`].
    pub fn take(&self) -> Vec<Ended> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let ended = |at: usize| {
            let last = state.slots[at].continued_at().map_or(at, |at| at as usize);
            state.slots[last].take()
        };
        (0..state.operations).map(ended).collect()
    }

    /// The fewest replicas, beside its coordinator, that acknowledged a write of this round (none: it wrote nothing), and
    /// whether that will not change any more.
    pub fn acknowledged(&self) -> (Option<usize>, bool) {
        let state = self.state.lock();
        let least = state.slots.iter().filter_map(Slot::acknowledged).min();
        (least, state.slots.iter().all(Slot::is_settled))
    }

    /// Whether another coordinator ran some of its writes and more replicas may have them than it said.
    pub fn is_away(&self) -> bool {
        self.state.lock().slots.iter().any(|slot| slot.away_write().is_some())
    }

    /// Asks the homes of writes that another coordinator ran which of them have it by now.
    pub async fn confirm_away(&self) {
        let writes: Vec<_> = {
            let state = self.state.lock();
            let away = |(at, slot): (usize, &Slot)| slot.away_write().map(|(key, evidence)| (at, key, evidence));
            state.slots.iter().enumerate().filter_map(away).collect()
        };
        for (at, key, evidence) in writes {
            let (holders, homes) = self.coordinator.holders(&key, &evidence).await;
            self.state.lock().slots[at].confirmed(holders, homes);
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Commits this node's own writes.
    fn commit(self: &Arc<Self>, batch: Batch, sync: bool, slots: Vec<u32>) {
        let round = self.clone();
        let me = self.view.me as u16;
        let ticket = self.ticket.upgrade();
        let done = move |result: Result<Committed, StorageError>| {
            let _ticket = ticket;
            round.event(&slots, |slot, desk, sending, at| slot.committed(me, &result, at, desk, sending));
        };
        self.coordinator.replica.submit(batch, sync, Box::new(done));
    }

    /// Sends everything gathered. Called without the lock.
    fn send(self: &Arc<Self>, sending: Sending) {
        for (node, frame) in sending.frames {
            let Frame { requests, slots, hurry, reads } = frame;
            if usize::from(node) == self.view.me {
                // Its copy is stored already: what is asked for is an fsync.
                self.commit(Batch::new(), true, slots);
                continue;
            }
            let round = self.clone();
            let left = self.left();
            // Leave time to turn to another node, if there is one.
            let timeout = if hurry { left * 2 / 5 } else { left };
            let (sent, ticket) = (Instant::now(), self.ticket.upgrade());
            let done = move |result| {
                let (_ticket, took) = (ticket, sent.elapsed());
                round.answered(node, &slots, result, Timing { took, reads });
            };
            match &self.view.nodes[usize::from(node)].link {
                Some(link) => link.call(requests.into_body(), timeout, Box::new(done)),
                None => done(Err(CallError::NotSent)),
            }
        }
        for (node, requests) in sending.repairs {
            self.coordinator.stats.read_repairs.fetch_add(requests.count() as u64, Ordering::Relaxed);
            if let Some(link) = &self.view.nodes[usize::from(node)].link {
                let ticket = self.ticket.upgrade();
                link.call(requests.into_body(), self.coordinator.request_timeout(), Box::new(move |_| drop(ticket)));
            }
        }
        if !sending.own_repairs.is_empty() {
            self.repair_own(sending.own_repairs);
        }
    }

    fn repair_own(&self, repairs: Vec<(StorageKey, Object, Hlc)>) {
        let mut batch = Batch::new();
        for (key, object, floor) in repairs {
            let conflict = self.view.policies[usize::from(key.database())].conflict;
            // A copy that cannot be stored is repaired by a later read.
            if self.coordinator.replica.merge(&mut batch, &key, object, floor, conflict, None).is_ok() {
                self.coordinator.stats.read_repairs.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.coordinator.replica.submit(batch, false, Box::new(|_| {}));
    }

    /// A peer has answered a frame, or will not.
    fn answered(self: &Arc<Self>, node: u16, slots: &[u32], result: Result<Bytes, CallError>, timing: Timing) {
        let health = &self.view.nodes[usize::from(node)].health;
        if !matches!(result, Err(CallError::NotSent | CallError::Lost)) {
            match timing.reads {
                true => health.took(timing.took, self.coordinator.hedge_percentile()),
                false => health.heard(timing.took),
            }
        }
        let answers = match result {
            Ok(body) => {
                health.answered();
                read_answers(&body, slots.len()).map_err(|_| true)
            }
            Err(CallError::NotSent) => Err(false),
            Err(error) => {
                if matches!(error, CallError::Late) {
                    health.late();
                }
                Err(true)
            }
        };
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                self.event(slots, |slot, desk, sending, at| {
                    let answer = answers.next();
                    answer.into_iter().for_each(|answer| slot.answered(node, answer, at, desk, sending));
                });
            }
            Err(sent) => self.event(slots, |slot, desk, sending, at| slot.failed(node, sent, at, desk, sending)),
        }
    }

    /// Something happened to some slots: steps their machines, then does what they ask for.
    fn event(self: &Arc<Self>, slots: &[u32], mut step: impl FnMut(&mut Slot, &Desk<'_>, &mut Sending, u32)) {
        let desk = Desk { coordinator: &self.coordinator, view: &self.view };
        let mut sending = Sending::default();
        let waiter = {
            let mut state = self.state.lock();
            for at in slots {
                let slot = &mut state.slots[*at as usize];
                let before = slot.is_decided();
                step(slot, &desk, &mut sending, *at);
                slot.decide(&desk, &mut sending);
                state.undecided -= usize::from(!before && slot.is_decided());
                if let Some(ready) = sending.ready.last_mut().filter(|ready| ready.at == UNPLACED) {
                    // Undecided, as the slot that it continues was.
                    ready.at = state.slots.len() as u32;
                    state.slots[*at as usize].continue_at(ready.at);
                    state.slots.push(Slot::kept(ready.operation.key.clone()));
                }
            }
            if state.undecided == 0 { state.waiter.take() } else { None }
        };
        let ready = std::mem::take(&mut sending.ready);
        if let Some(waiter) = waiter {
            // If nobody waits any more, the connection is gone; the writes stand.
            let _ = waiter.send(());
        }
        self.send(sending);
        self.go_on(ready);
        if let Some(bell) = &self.bell {
            bell.notify_waiters();
        }
    }

    /// Writes what increments have read and added to.
    fn go_on(self: &Arc<Self>, ready: Vec<Ready>) {
        if ready.is_empty() {
            return;
        }
        let mut starting = Starting::new(Desk { coordinator: &self.coordinator, view: &self.view });
        let begin = |ready: Ready| (ready.at, starting.add(ready));
        let begun: Vec<(u32, Slot)> = ready.into_iter().map(begin).collect();
        let Starting { sending, batch, own_puts, sync, .. } = starting;
        let waiter = {
            let mut state = self.state.lock();
            for (at, slot) in begun {
                state.undecided -= usize::from(slot.is_decided());
                state.slots[at as usize] = slot;
            }
            if state.undecided == 0 { state.waiter.take() } else { None }
        };
        if let Some(waiter) = waiter {
            let _ = waiter.send(());
        }
        self.send(sending);
        if !own_puts.is_empty() {
            self.commit(batch, sync, own_puts);
        }
    }

    /// Hands operations to another coordinator.
    fn forward(self: &Arc<Self>, node: u16, slots: Vec<u32>) {
        let body = {
            let state = self.state.lock();
            let operations = slots.iter().filter_map(|at| match &state.slots[*at as usize].run {
                Run::Away { operation, .. } => operation.as_deref(),
                _ => None,
            });
            forward::request_body(operations)
        };
        let health = self.view.nodes[usize::from(node)].health.clone();
        let (round, sent) = (self.clone(), Instant::now());
        let ticket = self.ticket.upgrade();
        let done = move |result: Result<Bytes, CallError>| {
            let _ticket = ticket;
            let outcomes = match result {
                Ok(body) => {
                    health.answered();
                    forward::read_answer(&body, slots.len()).map_err(|_| CallError::Lost)
                }
                Err(error) => {
                    if matches!(error, CallError::Late) {
                        health.late();
                        health.heard(sent.elapsed());
                    }
                    Err(error)
                }
            };
            let mut outcomes = outcomes.map(Vec::into_iter);
            round.event(&slots, |slot, desk, _, _| match &mut outcomes {
                Ok(outcomes) => match outcomes.next().unwrap_or(Outcome::Failed(Failure::ForwardLost)) {
                    // It did not begin, or its disk takes nothing: as good as not sent.
                    Outcome::Failed(Failure::NotHome | Failure::Storage(_)) => {
                        slot.unforwarded(node, &CallError::NotSent)
                    }
                    outcome => slot.end(outcome, desk),
                },
                Err(error) => slot.unforwarded(node, error),
            });
        };
        match &self.view.nodes[usize::from(node)].link {
            Some(link) => link.call(body, self.left(), Box::new(done)),
            None => done(Err(CallError::NotSent)),
        }
    }
}
