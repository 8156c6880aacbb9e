//! One read buffer's commands, from requests to answers.
//!
//! Contract: [`run`] begins every request as the table says (unknown names, wrong numbers of words and missing logins are
//! refused in Redis's words), in the order and rounds of [`super::rounds`], and gives one [`Answer`] for each request that
//! is to be answered, in order, with the protocol it is to be written in. Requests after QUIT are not begun. While the node
//! looks for its cluster, what Redis refuses while it loads is refused.
//!
//! `DEL a b` is begun as `DEL a` and `DEL b`: a race on one key then repeats only that key, and the counts add up.
//!
//! Between MULTI and EXEC requests go into the session's transaction. An EXEC that may go on puts them into the batch,
//! right behind itself, as its *children*: they begin like any other request, share rounds with each other and with what
//! comes after them, and their replies become one array, the EXEC's. A CLIENT PAUSE holds up the requests of the batch, but
//! no child: an EXEC waits as a whole, or not at all. To all children an index means what it meant when the EXEC looked at its
//! watched keys, whoever swaps databases meanwhile, until they do so themselves.

mod admit;
mod count;
mod lookups;
mod slot;

use super::face;
use super::failure::LOOKING;
use super::guard::{self, Guard, NOT_RUN};
use super::laps::Laps;
use super::record;
use super::rounds::{self, Begun, Ended, House};
use super::step::{Outcomes, Step, Waiting};
use super::table::{self, Entry, Found, flag};
use super::transaction::{GO, QUEUED};
use super::{Asked, Server};
use crate::message::operation::{Operation, Outcome};
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::session::transaction::Transaction;
use crate::session::{Face, Session};
use admit::admit;
use bytes::Bytes;
use lookups::Lookups;
pub use slot::Answer;
use slot::{Slot, Unit, answers, seat};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Whether the client is still there.
pub trait Presence {
    /// Ends when a command that waits is to be given up: the client is gone, or the node stops.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// What became of a batch.
#[derive(Debug)]
pub struct Batched {
    /// The answers, in order.
    pub answers: Vec<Answer>,
    /// Whether the client is still there. When it is not, the answers are those that came before the command it waited in.
    pub is_here: bool,
}

/// Runs the requests of one read buffer, and leaves in `requests` those that a CLIENT PAUSE holds up, from the first such one
/// on: [`released`] tells when they may run.
pub async fn run<P: Presence + Sync>(
    server: &Arc<Server>,
    session: &mut Session,
    requests: &mut Vec<Request>,
    presence: &P,
) -> Batched {
    let laps = Laps::start();
    session.client.heard(laps.started());
    let now_ms = server.coordinator.now_ms();
    let mut batch = Batch::new(server, session, std::mem::take(requests), presence, now_ms, laps);
    let mut asked = batch.slots.len();
    let ended = rounds::run(&mut batch).await;
    let Batch { mut slots, requests: mut done, mut laps, units, lookups, .. } = batch;
    if session.face == Face::ClusterView {
        slots[..asked].iter_mut().for_each(Slot::tell_in_cluster_words);
    }
    let took_us = laps.read();
    let config = server.config.load();
    count::count(&server.stats, config.latency_tracking, &slots, took_us, &laps);
    lookups.count(&server.stats);
    record::keep(server, &config, session, took_us, slot::ran(&slots[..asked], &slots, &done, &laps));
    if let Ended::Held(unit) = ended {
        // What is held up was asked for, and no child of an EXEC: its slot is its place among the requests.
        let held = units[unit].slot;
        *requests = done.drain(held..asked).collect();
        slots.drain(held..asked);
        asked = held;
    }
    // The requests are slices of the read buffer: let go, so that it can be used again.
    done.clear();
    if requests.is_empty() {
        *requests = done;
    }
    session.transaction.iter_mut().for_each(Transaction::keep);
    Batched { answers: answers(slots, asked), is_here: ended != Ended::Gone }
}

/// Waits until a request that was held up may run; false: the client is gone.
pub async fn released<P: Presence>(server: &Arc<Server>, session: &Session, request: &Request, presence: &P) -> bool {
    let writes = may_write(session, request);
    let _waiting = server.stats.wait();
    let _blocked = session.client.block();
    tokio::select! {
        biased;
        () = server.pause.over(writes) => true,
        () = session.client.killed() => false,
        () = presence.gone() => false,
    }
}

/// Whether a request, or an EXEC with its whole transaction, may change something, or be told to other nodes.
fn may_write(session: &Session, request: &Request) -> bool {
    let Found::Command(entry) = table::find(&request.words) else { return false };
    let changes = |entry: &Entry| entry.command.is(flag::WRITE) || entry.command.publishes();
    let writes = |words: &[Bytes]| matches!(table::find(words), Found::Command(entry) if changes(entry));
    let queued = session.transaction.iter().flat_map(|transaction| transaction.requests());
    changes(entry) || (entry.command.runs_queue() && queued.into_iter().any(|request| writes(&request.words)))
}

struct Batch<'a, P> {
    server: &'a Arc<Server>,
    session: &'a mut Session,
    /// As many as slots, in the same places.
    requests: Vec<Request>,
    presence: &'a P,
    now_ms: u64,
    laps: Laps,
    slots: Vec<Slot>,
    units: Vec<Unit>,
    /// What the EXEC that runs saw of its watched keys.
    guard: Guard,
    lookups: Lookups,
}

impl<'a, P> Batch<'a, P> {
    fn new(
        server: &'a Arc<Server>,
        session: &'a mut Session,
        requests: Vec<Request>,
        presence: &'a P,
        now_ms: u64,
        laps: Laps,
    ) -> Batch<'a, P> {
        let mut slots = Vec::with_capacity(requests.len());
        let mut units = Vec::with_capacity(requests.len());
        // Before commands are taken apart: Redis judges by all of their keys.
        let notice = (session.face == Face::ClusterView).then(|| server.notice());
        for request in &requests {
            let refuse =
                |entry: &'static Entry| face::refusal(notice.as_ref()?, session.guest, entry.command, &request.words);
            seat(&mut slots, &mut units, Slot::of(request, session.protocol, refuse), request.words.len());
        }
        Batch {
            server,
            session,
            requests,
            presence,
            now_ms,
            laps,
            slots,
            units,
            guard: Guard::default(),
            lookups: Lookups::default(),
        }
    }

    /// Runs a unit's handler, or queues or refuses it.
    fn dispatch(&mut self, unit: Unit) -> Step {
        let words = &self.requests[unit.slot].words[..];
        let slot = &mut self.slots[unit.slot];
        if slot.queued {
            return Step::Reply(QUEUED);
        }
        if slot.child && self.guard.is_broken() {
            slot.rejected = true;
            return Step::Reply(Reply::error(NOT_RUN));
        }
        let is_queueing = self.session.transaction.is_some() && !slot.child;
        let admitted = admit(slot.found, words, self.session, slot.child);
        let answerable = |handler| match self.server.is_looking() && !slot.is(flag::LOADING) {
            true => Err(Reply::error(LOOKING)),
            false => Ok(handler),
        };
        let admitted = admitted.and_then(answerable);
        let handler = match admitted.and_then(|handler| slot.refusal.take().map_or(Ok(handler), |why| Err(*why))) {
            Ok(handler) => handler,
            Err(refusal) => {
                slot.rejected = true;
                let spoils = is_queueing || slot.runs_queue();
                return Step::Reply(if spoils { self.spoil(unit.slot, refusal) } else { refusal });
            }
        };
        if is_queueing && !slot.is(flag::AT_ONCE) {
            return Step::Reply(self.queue(unit.slot));
        }
        if self.session.face == Face::ClusterView
            && let Some(refusal) = face::leaves_the_database(words)
        {
            return Step::Reply(refusal);
        }
        let (may_wait, writes) = (!slot.child, slot.is(flag::WRITE));
        let mut asked = Asked { session: self.session, server: self.server, now_ms: self.now_ms, may_wait };
        let step = match unit.word {
            0 => handler(&mut asked, words),
            word => handler(&mut asked, &[words[0].clone(), words[word].clone()]),
        };
        if may_wait || !writes { step } else { self.guard.hold(step, &self.server.coordinator, &self.session.acks) }
    }

    /// Puts a request into the transaction. A client that queues more than it may send at once is shown out.
    fn queue(&mut self, slot: usize) -> Reply {
        let limit = self.server.config.load().client_query_buffer_limit;
        self.slots[slot].queued = true;
        let Some(transaction) = &mut self.session.transaction else { return QUEUED };
        transaction.push(std::mem::take(&mut self.requests[slot]));
        let client = &self.session.client;
        client.queued.store(i32::try_from(transaction.len()).unwrap_or(i32::MAX), Relaxed);
        client.queued_bytes.store(transaction.bytes(), Relaxed);
        if transaction.bytes() as u64 <= limit {
            return QUEUED;
        }
        tracing::warn!("connection {} queued more than client-query-buffer-limit after MULTI; it is closed", client.id);
        self.session.closing = true;
        Reply::error("ERR queued commands exceed client-query-buffer-limit")
    }

    /// A request was refused while others were queued, or an EXEC at any time: what it answers.
    fn spoil(&mut self, slot: usize, refusal: Reply) -> Reply {
        if let (true, Reply::Error(why)) = (self.slots[slot].runs_queue(), &refusal) {
            self.session.end_transaction();
            self.session.watches.take();
            let why = why.strip_prefix("ERR ").unwrap_or(why);
            return Reply::error(format!("EXECABORT Transaction discarded because of: {why}"));
        }
        self.session.transaction.iter_mut().for_each(Transaction::spoil);
        refusal
    }

    /// Puts what the transaction has queued into the batch, right behind its EXEC.
    fn unfold(&mut self, number: usize) {
        let queue = self.session.end_transaction().map_or_else(Vec::new, Transaction::into_requests);
        self.guard = Guard::new(self.session.watches.take_seen());
        let first = self.slots.len();
        self.slots[self.units[number].slot].children = Some((first, queue.len()));
        let mut units = Vec::with_capacity(queue.len());
        for request in &queue {
            // Where it is run was judged when it was queued.
            let child = Slot { child: true, ..Slot::of(request, self.session.protocol, |_| None) };
            seat(&mut self.slots, &mut units, child, request.words.len());
        }
        self.requests.extend(queue);
        self.units.splice(number + 1..number + 1, units);
    }

    /// Whether a unit can be held up by a pause. What is refused anyway is refused at once, and what has begun goes on.
    fn can_be_held(&self, next: usize) -> bool {
        let Unit { slot, word } = self.units[next];
        let words = self.requests[slot].words.len();
        let runs = self.slots[slot].found.is_some_and(|entry| entry.command.takes(words));
        word < 2 && !self.slots[slot].child && runs && self.session.authenticated
    }

    /// Tells others what this connection is about to do.
    fn show(&self, entry: Option<&'static Entry>) {
        let client = &self.session.client;
        if let Some(entry) = entry {
            client.last_command.store(entry.number, Relaxed);
        }
        client.database.store(self.session.database, Relaxed);
    }
}

impl<P: Presence + Sync> House for Batch<'_, P> {
    fn count(&self) -> usize {
        self.units.len()
    }

    fn begin(&mut self, number: usize, again: bool) -> Begun {
        let unit = self.units[number];
        let reads_only = self.slots[unit.slot].is(flag::READONLY);
        if again {
            self.server.stats.races.add(1);
            let now = self.session.swap_scope(self.slots[unit.slot].scope);
            let step = self.dispatch(unit);
            self.session.swap_scope(now);
            return Begun { step, reads_only };
        }
        if unit.word > 1 {
            return Begun { step: self.dispatch(unit), reads_only };
        }
        let child = self.slots[unit.slot].child;
        if !child {
            self.session.databases = self.server.coordinator.databases();
        }
        let wanted = child || self.session.take_reply();
        self.slots[unit.slot].scope = self.session.scope();
        self.slots[unit.slot].began = self.laps.now();
        self.show(self.slots[unit.slot].found);
        let step = self.dispatch(unit);
        let slot = &mut self.slots[unit.slot];
        slot.silent = !child && ((!wanted && !self.session.answered_anyway) || self.session.muted);
        slot.protocol = self.session.protocol;
        slot.after = self.session.after;
        slot.database = self.session.database;
        Begun { step, reads_only }
    }

    /// An EXEC is run to its end.
    fn is_closing(&self, next: usize) -> bool {
        self.session.closing && !self.slots[self.units[next].slot].child
    }

    fn is_held(&self, next: usize) -> bool {
        let pause = &self.server.pause;
        pause.is_on()
            && self.can_be_held(next)
            && pause.holds(may_write(self.session, &self.requests[self.units[next].slot]))
    }

    fn answer(&mut self, number: usize, reply: Reply) {
        let Unit { slot, word } = self.units[number];
        self.slots[slot].answered = self.laps.now();
        if self.slots[slot].runs_queue() && !self.slots[slot].rejected {
            if reply == GO {
                return self.unfold(number);
            }
            self.session.end_transaction();
        }
        if self.slots[slot].child && guard::is_touched(&reply) {
            self.guard.fail();
        }
        if self.slots[slot].child && self.slots[slot].found.is_some_and(|entry| entry.command.swaps_databases()) {
            self.session.databases = self.server.coordinator.databases();
        }
        self.slots[slot].take(reply, word > 0);
    }

    async fn run(&mut self, operations: Vec<Operation>) -> Vec<Outcome> {
        let (outcomes, [begun, ended]) = self.server.coordinator.run_timed(operations, &self.session.acks).await;
        self.laps.note(begun);
        self.laps.note(ended);
        outcomes
    }

    fn came(&mut self, number: usize, outcomes: &Outcomes, now_ms: u64) {
        let slot = self.units[number].slot;
        if let Some(entry) = self.slots[slot].found {
            self.lookups.came(entry, &self.requests[slot].words, outcomes, now_ms);
        }
    }

    async fn wait(&mut self, waiting: Waiting) -> Option<Reply> {
        self.laps.read();
        let reply = tokio::select! {
            biased;
            reply = waiting => Some(reply),
            () = self.session.client.killed() => None,
            () = self.presence.gone() => None,
        };
        self.laps.read();
        reply
    }

    fn now_ms(&self) -> u64 {
        self.server.coordinator.now_ms()
    }
}
