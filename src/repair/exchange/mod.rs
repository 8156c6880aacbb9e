//! Anti-entropy: homes compare what they hold, always, and make equal what differs (§4.7).
//!
//! Every evening each clerk calls on one neighbour, and both read out the sum at the foot of their ledgers. Nearly always
//! the sums are the same, and that was all. A neighbour who comes back from a journey is called on at once.
//!
//! # Contract
//! - Each interval one other member is compared with, in turn, and at once every one that has become reachable; one at a
//!   time. Of each two members one begins, so that no pair is compared twice over.
//! - A database is compared over the partitions that both are homes of by its own N; what a node holds as a fallback, or
//!   by a wider database's N, is nobody's difference.
//! - Merging both ways is all that happens: an exchange can lose nothing, whatever else goes on, and absence covers
//!   nothing.
//! - It takes half of one connection's time at most, and less while clients wait ([`walk`]): after each step it draws what
//!   the step moved, or what its time is worth, from the node's budget. A member that fails is left alone for a while.
//! - Who finds a difference repairs it only when neither node is being repaired by another or repairs another
//!   ([`Turn`](crate::replica::turn::Turn)), so that two nodes do not both bring a third what it lacks.
//! - While this node or the other is filled up after a loss, nothing is compared: filling takes everything anyway. Nor while
//!   one of them takes no writes; afterwards they are compared at once. Nor while one sweeps away what was flushed, which is
//!   not worth a comparison.
//!
//! # What it refuses to do
//! It never deletes, and it never takes sides: what both hold is merged by the database's own rule.

mod mend;
pub mod serve;
mod walk;

use crate::causality::NodeId;
use crate::membership::Membership;
use crate::membership::view::View;
use crate::repair::settling::Settler;
use crate::replica::Replica;
use crate::settling::begins;
use crate::world::{Instant, random_u64, spawn_blocking};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long writes on their way are given to arrive, before a difference is believed.
const ARRIVAL: Duration = Duration::from_millis(150);

/// The pause after a comparison that settling waits for came to nothing.
const AGAIN: Duration = Duration::from_millis(400);

/// A member that failed is left out for so many intervals at most; the number doubles from one on.
const REST_INTERVALS_MAX: u32 = 32;

/// How often this node compares; `exchange-interval-ms`.
#[derive(Debug)]
pub struct Pace(AtomicU64);

impl Pace {
    /// Every `interval_ms`.
    pub fn new(interval_ms: u64) -> Pace {
        Pace(AtomicU64::new(interval_ms))
    }

    /// From the next interval on, every `interval_ms`.
    pub fn set(&self, interval_ms: u64) {
        self.0.store(interval_ms, Ordering::Relaxed);
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    /// From half of it to all of it: nodes that begin at the same moment, each with the next in a circle, would else find each
    /// other busy for ever.
    fn out_of_step(&self) -> Duration {
        let share = 512 + random_u64() % 512;
        self.interval() * share as u32 / 1024
    }
}

/// Why an exchange ended before its end. What was repaired until then stays repaired.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the other node did not answer: {0}")]
    Link(#[from] crate::peer::link::CallError),
    #[error("the other node's answer could not be read: {0}")]
    Answer(#[from] crate::codec::Damaged),
    #[error("reading or storing copies failed here: {0}")]
    Storage(#[from] crate::storage::error::StorageError),
    #[error("the other node could not read or store its copies")]
    Refused,
    #[error("one of both is being filled up, swept or compared with another, or the members changed")]
    Moot,
    #[error("this node is stopping")]
    Stopping(#[from] tokio::task::JoinError),
}

/// Compares for ever.
pub async fn run(membership: Arc<Membership>, settler: Arc<Settler>, replica: Arc<Replica>, pace: Arc<Pace>) {
    let mut round = Round::default();
    let mut next = tokio::time::Instant::now() + pace.interval();
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(next) => next = tokio::time::Instant::now() + pace.interval(),
            () = settler.compare_wanted() => {
                compare_wanted(&membership, &settler, &replica).await;
                continue;
            }
        }
        if replica.is_filling() || !replica.is_writable() {
            round = Round::default();
            continue;
        }
        if let Err(error) = recount_doubted(&replica).await {
            tracing::warn!(%error, "leaves in doubt could not be counted anew; they will be found again");
        }
        let view = membership.view();
        for id in round.due(&view) {
            let Some(peer) = view.index_of(&id) else { continue };
            let ended = walk::walk(&membership, &replica, &view, peer).await;
            round.ended(id, &ended);
            match ended {
                Ok(repaired) => {
                    replica.stats.exchanges.fetch_add(1, Ordering::Relaxed);
                    if repaired > 0 {
                        tracing::info!(%id, keys = repaired, "repaired keys that differed between this node and another");
                    }
                }
                Err(Broken::Moot) => next = tokio::time::Instant::now() + pace.out_of_step(),
                Err(error) => tracing::info!(%id, %error, "an exchange was broken off; it is begun anew later"),
            }
        }
    }
}

/// Compares with those whose answer to a write never came, or after a change of members: settling waits for it.
async fn compare_wanted(membership: &Membership, settler: &Settler, replica: &Arc<Replica>) {
    let Some((ticket, nodes)) = settler.to_compare().filter(|_| !replica.is_filling()) else { return };
    let view = membership.view();
    for tag in nodes {
        let peer = view.index_of_tag(tag).filter(|peer| view.nodes[*peer].is_reachable());
        let Some(peer) = peer else { continue };
        match walk::walk(membership, replica, &view, peer).await {
            Ok(_) => {
                replica.stats.exchanges.fetch_add(1, Ordering::Relaxed);
                settler.compared(ticket, tag);
            }
            Err(error) => {
                tracing::debug!(id = %view.nodes[peer].id, %error, "a comparison is begun anew later");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Whose turn it is.
#[derive(Default)]
struct Round {
    /// The members that could be reached at the last look.
    reachable: BTreeSet<NodeId>,
    /// The one compared with last.
    last: Option<NodeId>,
    /// Members that failed: for how many intervals they are left out still, and the next time.
    resting: BTreeMap<NodeId, (u32, u32)>,
}

impl Round {
    /// With whom to compare now: those that have become reachable since the last call, and the next in turn.
    fn due(&mut self, view: &View) -> Vec<NodeId> {
        let own = view.own().tag;
        let others = view.nodes.iter().filter(|node| node.link.is_some() && begins(own, node.tag));
        let reachable: BTreeSet<NodeId> = others.filter(|node| node.is_reachable()).map(|node| node.id).collect();
        let mut due: Vec<NodeId> = reachable.difference(&self.reachable).copied().collect();
        self.resting.retain(|node, _| reachable.contains(node) && !due.contains(node));
        self.resting.values_mut().for_each(|(left, _)| *left = left.saturating_sub(1));
        let after = |last: &NodeId| reachable.iter().find(|node| *node > last);
        let next = self.last.as_ref().and_then(after).or(reachable.first()).copied();
        self.last = next;
        let rests = |node: &NodeId| self.resting.get(node).is_some_and(|(left, _)| *left > 0);
        due.extend(next.filter(|next| !due.contains(next) && !rests(next)));
        self.reachable = reachable;
        due
    }

    fn ended(&mut self, node: NodeId, how: &Result<u64, Broken>) {
        match how {
            Ok(_) => {
                self.resting.remove(&node);
            }
            // As if it had not been there: it is asked again at the next interval.
            Err(Broken::Moot) => {
                self.reachable.remove(&node);
            }
            Err(_) => {
                let (left, next) = self.resting.entry(node).or_insert((0, 1));
                (*left, *next) = (*next, (*next * 2).min(REST_INTERVALS_MAX));
            }
        }
    }
}

/// Counts the leaves anew that may be wrong about their keys.
async fn recount_doubted(replica: &Arc<Replica>) -> Result<(), Broken> {
    let doubts = replica.trees.take_doubts();
    if doubts.is_empty() {
        return Ok(());
    }
    tokio::time::sleep(ARRIVAL).await;
    let begun = Instant::now();
    let counter = replica.clone();
    spawn_blocking(move || counter.recount(doubts)).await??;
    replica.background.take_turn(0, begun.elapsed()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_found_others_busy_comes_sooner_and_out_of_step() {
        let pace = Pace::new(10_000);
        let pauses: BTreeSet<Duration> = (0..64).map(|_| pace.out_of_step()).collect();
        assert!(pauses.iter().all(|pause| (5_000..10_000).contains(&pause.as_millis())), "{pauses:?}");
        assert!(pauses.len() > 16);
    }

    #[test]
    fn who_fails_is_left_out_ever_longer_and_one_success_ends_that() {
        let mut round = Round::default();
        let node = NodeId([7; 20]);
        for left in [1, 2, 4, 8, 16, 32, 32] {
            round.ended(node, &Err(Broken::Refused));
            assert_eq!(round.resting[&node].0, left);
        }
        round.ended(node, &Ok(0));
        assert!(round.resting.is_empty());
    }
}
