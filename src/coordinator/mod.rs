//! Running requests: the one who is asked sees to it (§4.5).
//!
//! You hand your errands to the person at the desk, a handful at a time. Those for houses on this street they run
//! themselves: look in their own ledger, send one messenger to each neighbour with everything meant for that
//! neighbour, and come back to you as soon as enough have answered. The rest go in one envelope to a colleague nearer by.
//!
//! # Contract
//! - [`Coordinator::run`] takes the operations of a batch in order and gives their outcomes in that order. One frame to
//!   each peer, one storage batch. Operations on one key take effect in order; a read sees the writes before it. It may see
//!   those behind it, too: a home that is asked late has got them. Who must not see them runs them in a later batch, as the
//!   commands of a connection are.
//! - A node that is no home of a key forwards the operation, once; the receiver never forwards again.
//! - Every rule of counting is in `quorum`, every rule of merging in `object`; here are only hands and feet.
//! - Large batches take turns ([`turns`]): many at once are slowed down, not failed.
//! - Outcomes come as soon as they are decided; late answers still feed WAIT and read repair.
//!
//! # What it refuses to do
//! No isolation across keys, and no retry of a write that may have been applied.

pub mod acks;
pub mod count;
pub mod explain;
pub mod news;
pub mod listing;
mod lookup;
mod old;
mod place;
mod round;
pub mod service;
mod slot;
mod start;
mod turns;
mod survey;
pub mod walk;

use crate::key::StorageKey;
use crate::key::databases::Databases;
use crate::membership::view::View;
use crate::membership::{Membership, NotDone};
use crate::message::operation::{Failure, Operation, Outcome};
use crate::object::Object;
use crate::policy::Policy;
use crate::repair::settling::Settler;
use crate::replica::Replica;
use acks::AckLog;
use news::Newsroom;
use place::Forwarding;
use round::{Round, Started};
use slot::Ended;
use smallvec::SmallVec;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use turns::Turns;

/// How often a client that waits for a peer's link looks whether that peer can still be reached.
const HANGING_CHECK: Duration = Duration::from_millis(20);

/// How often operations whose coordinator could not be reached, or could not stamp them, are placed anew.
const PLACINGS_MAX: usize = 4;

/// How many look through this node's keys at the same time.
const LOOKERS_MAX: usize = 4;

/// What this node coordinated since it started.
#[derive(Debug, Default)]
pub struct CoordinatorStats {
    /// Reads coordinated here.
    pub gets: AtomicU64,
    /// Writes coordinated here.
    pub puts: AtomicU64,
    /// Operations handed to another coordinator.
    pub forwarded: AtomicU64,
    /// Operations coordinated here for another node.
    pub forwarded_in: AtomicU64,
    /// Replicas repaired after a read.
    pub read_repairs: AtomicU64,
    /// Reads that found more than one live value.
    pub reads_with_siblings: AtomicU64,
    /// Writes and reads that did not reach their quorum.
    pub quorums_missed: AtomicU64,
    /// Copies placed on a fallback for a home that was away.
    pub hints_placed: AtomicU64,
    /// Reads asked of one more home because others were slow.
    pub hedged_reads: AtomicU64,
}

/// Runs requests on this node. Shared by all connections and by the peer links.
pub struct Coordinator {
    membership: Arc<Membership>,
    replica: Arc<Replica>,
    settler: Arc<Settler>,
    request_timeout_ms: AtomicU64,
    hedge_percentile: AtomicU8,
    newsroom: OnceLock<Box<dyn Newsroom>>,
    turns: Turns,
    /// Who may look through this node's keys now.
    lookers: Semaphore,
    /// Counters for INFO.
    pub stats: CoordinatorStats,
}

impl Coordinator {
    /// A coordinator over this node's copies and its view of the others.
    pub fn new(
        membership: Arc<Membership>,
        replica: Arc<Replica>,
        settler: Arc<Settler>,
        request_timeout_ms: u64,
    ) -> Arc<Coordinator> {
        Arc::new(Coordinator {
            membership,
            replica,
            settler,
            request_timeout_ms: AtomicU64::new(request_timeout_ms),
            hedge_percentile: AtomicU8::new(0),
            newsroom: OnceLock::new(),
            turns: Turns::default(),
            lookers: Semaphore::new(LOOKERS_MAX),
            stats: CoordinatorStats::default(),
        })
    }

    /// Runs a batch. `acks` is the connection's record of what its writes were acknowledged by, for WAIT.
    pub async fn run(self: &Arc<Self>, operations: Vec<Operation>, acks: &AckLog) -> Vec<Outcome> {
        self.run_timed(operations, acks).await.0
    }

    /// As [`Coordinator::run`]; says when it began, its turn having come, and when it ended.
    pub async fn run_timed(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        acks: &AckLog,
    ) -> (Vec<Outcome>, [Instant; 2]) {
        let turn = self.turns.take(&operations).await;
        if turn.is_some() {
            // What could be written when its client was heard may be behind by now.
            self.writable().await;
        }
        let begun = Instant::now();
        let outcomes = self.run_placed(operations, Some(acks), Forwarding::Once, begun).await;
        let ended = Instant::now();
        let took = ended - begun;
        self.replica.background.observe(took);
        if let Some(turn) = turn {
            turn.ended(took, self.request_timeout());
        }
        (outcomes, [begun, ended])
    }

    /// Runs operations that another node forwarded.
    async fn run_here(self: &Arc<Self>, operations: Vec<Operation>) -> Vec<Outcome> {
        self.stats.forwarded_in.fetch_add(operations.len() as u64, Ordering::Relaxed);
        self.run_placed(operations, None, Forwarding::Never, Instant::now()).await
    }

    async fn run_placed(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        acks: Option<&AckLog>,
        forwarding: Forwarding,
        begun: Instant,
    ) -> Vec<Outcome> {
        let mut avoid: SmallVec<[u16; 4]> = SmallVec::new();
        let deadline = begun + self.request_timeout();
        let (mut outcomes, mut unplaced) = self.round(operations, acks, forwarding, deadline, &mut avoid).await;
        for placing in 1..=PLACINGS_MAX {
            if unplaced.is_empty() || Instant::now() >= deadline {
                break;
            }
            let (places, operations): (Vec<usize>, Vec<Operation>) = unplaced.into_iter().unzip();
            let forwarding = if placing == PLACINGS_MAX { Forwarding::Never } else { forwarding };
            let (more, still) = self.round(operations, acks, forwarding, deadline, &mut avoid).await;
            for (place, outcome) in places.iter().zip(more) {
                outcomes[*place] = outcome;
            }
            unplaced = still.into_iter().map(|(at, operation)| (places[at], operation)).collect();
        }
        outcomes
    }

    /// One round; the operations that were sent to a coordinator which never got them, or could not be stamped, come back
    /// with their places.
    async fn round(
        self: &Arc<Self>,
        operations: Vec<Operation>,
        acks: Option<&AckLog>,
        forwarding: Forwarding,
        deadline: Instant,
        avoid: &mut SmallVec<[u16; 4]>,
    ) -> (Vec<Outcome>, Vec<(usize, Operation)>) {
        if let Some(outcomes) = round::shown_here(self, &operations) {
            return (outcomes, Vec::new());
        }
        self.replica.clock.leased().await;
        let all_ended = match Round::start(self, operations, acks.map(AckLog::bell), forwarding, deadline, avoid) {
            Started::Over(ended) => ended,
            Started::Going(round) => {
                round.ended().await;
                let ended = round.take();
                acks.inspect(|acks| acks.note(round));
                ended
            }
        };
        let mut outcomes = Vec::with_capacity(all_ended.len());
        let mut unplaced = Vec::new();
        for (at, ended) in all_ended.into_iter().enumerate() {
            outcomes.push(match ended {
                Ended::Outcome(outcome) => outcome,
                Ended::Unplaced(operation, node) => {
                    if !avoid.contains(&node) {
                        avoid.push(node);
                    }
                    unplaced.push((at, *operation));
                    Outcome::Failed(Failure::ForwardLost)
                }
                Ended::Unleased(operation) => {
                    unplaced.push((at, *operation));
                    Outcome::Failed(Failure::ClockSpent)
                }
            });
        }
        (outcomes, unplaced)
    }

    /// This node's own copy, nobody asked.
    pub fn local(&self, key: &StorageKey) -> Result<Object, Failure> {
        self.replica.read(key).map_err(|_| Failure::Damaged)
    }

    /// This node's view of the cluster.
    pub fn view(&self) -> Arc<View> {
        self.membership.view()
    }

    /// Sets a database's policy on every member that can be reached; an error says what did not happen.
    pub fn set_policy(&self, index: u8, policy: Policy) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        let membership = self.membership.clone();
        Box::pin(async move { membership.set_policy(index, policy).await })
    }

    /// Flushes databases (bit 0 is database 0) on every member that can be reached; with `bytes`, returns only when this
    /// node's copies hold nothing of them any more. An error says what is known.
    pub fn flush(&self, databases: u16, bytes: bool) -> Pin<Box<dyn Future<Output = Result<(), NotDone>> + Send>> {
        let (membership, replica) = (self.membership.clone(), self.replica.clone());
        Box::pin(async move {
            membership.flush(databases).await?;
            if bytes {
                replica.swept(databases).await;
            }
            Ok(())
        })
    }

    /// Which stored database each index means now. Costs no more than looking.
    pub fn databases(&self) -> Databases {
        self.membership.databases()
    }

    /// Swaps what two indexes below 16 mean, on every member that can be reached. An error says what is known.
    pub fn swap_databases(&self, first: u8, second: u8) -> Pin<Box<dyn Future<Output = Result<(), NotDone>> + Send>> {
        let membership = self.membership.clone();
        Box::pin(async move { membership.swap_databases(first, second).await })
    }

    /// Who else there is.
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// This node's copies.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// What is settled.
    pub fn settler(&self) -> &Arc<Settler> {
        &self.settler
    }

    /// Back-pressure: waits while this node's store, or the link to a peer that can be reached, is behind. A peer that hangs
    /// holds nobody up for longer than it takes to notice that.
    pub async fn writable(&self) {
        self.replica.writable().await;
        let view = self.view();
        for node in &view.nodes {
            let Some(link) = &node.link else { continue };
            // A timer, with its look at the clock, only where one has to wait.
            while node.is_reachable()
                && !link.is_writable()
                && tokio::time::timeout(HANGING_CHECK, link.writable()).await.is_err()
            {}
        }
    }

    /// Sets `request-timeout-ms`.
    pub fn set_request_timeout_ms(&self, timeout_ms: u64) {
        self.request_timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// Sets `hedge-percentile`; 0: reads never ask more homes than they need. It is 0 to begin with.
    pub fn set_hedge_percentile(&self, percentile: u8) {
        self.hedge_percentile.store(percentile, Ordering::Relaxed);
    }

    fn hedge_percentile(&self) -> u8 {
        self.hedge_percentile.load(Ordering::Relaxed)
    }

    fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms.load(Ordering::Relaxed))
    }

    /// The time in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.replica.clock.now_ms()
    }
}
