//! One exchange with one other member: every database that either holds, from partitions down to keys.

use super::{ARRIVAL, Broken, mend};
use crate::causality::NodeId;
use crate::key::{DATABASES, Partition, StorageKey};
use crate::membership::Membership;
use crate::membership::view::View;
use crate::merkle::exchange::{Effect, Event, Exchange};
use crate::merkle::tree::Run;
use crate::message::exchange::{Asked, ExchangeRequest, Standing, Sums, read_listing};
use crate::peer::link::Link;
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::world::{Instant, spawn_blocking};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The other member, and what both share.
pub(super) struct Peer<'a> {
    pub link: &'a Link,
    pub replica: &'a Arc<Replica>,
    pub database: u8,
    pub conflict: Conflict,
}

impl Peer<'_> {
    /// Asks, and counts the bytes.
    pub async fn ask(&self, body: Vec<u8>) -> Result<Bytes, Broken> {
        ask(self.link, self.replica, body).await
    }
}

/// Compares with one other member and repairs; how many keys were repaired.
pub(super) async fn walk(
    membership: &Membership,
    replica: &Arc<Replica>,
    view: &View,
    peer: usize,
) -> Result<u64, Broken> {
    let Some(link) = &view.nodes[peer].link else { return Ok(0) };
    let own = view.own().id;
    if replica.is_sweeping() || !replica.turn.is_free(own, Instant::now()) {
        return Err(Broken::Moot);
    }
    let theirs = ask_sums(link, replica, 0, false, &[]).await?;
    let held = replica.trees.held() | theirs.databases;
    let (mut repaired, mut broken) = (0, None);
    for database in (0..DATABASES).filter(|database| held >> database & 1 == 1) {
        let policy = view.policies[usize::from(database)];
        let shared = shared(view, peer, usize::from(policy.n));
        let peer = Peer { link, replica, database, conflict: policy.conflict };
        let mut walk = Walk { peer, membership, own, epoch: view.epoch, repairing: false, repaired: 0 };
        let walked = walk.run(view.ring.partitions().count().trailing_zeros() as u8, &shared).await;
        repaired += walk.repaired;
        replica.stats.keys_repaired.fetch_add(walk.repaired, Ordering::Relaxed);
        if walk.repairing {
            replica.turn.end(own);
            // Gives the turn back there; where that fails it ends by silence.
            broken = ask_sums(link, replica, 0, false, &[]).await.err();
        }
        broken = walked.err().or(broken);
        if broken.is_some() {
            break;
        }
    }
    broken.map_or(Ok(repaired), Err)
}

/// The other's sums, unless it cannot be compared with now. Of no runs: which databases it holds.
async fn ask_sums(link: &Link, replica: &Replica, database: u8, repairing: bool, runs: &[Run]) -> Result<Sums, Broken> {
    let request = ExchangeRequest { database, repairing, asked: Asked::Sums(runs.to_vec()) };
    let answer = Sums::read(&ask(link, replica, request.into_body()).await?)?;
    if answer.standing == Standing::Open { Ok(answer) } else { Err(Broken::Moot) }
}

/// Asks, and counts the bytes.
async fn ask(link: &Link, replica: &Replica, body: Vec<u8>) -> Result<Bytes, Broken> {
    let bytes = body.len();
    let answer = link.ask(body, ANSWER_TIMEOUT).await?;
    replica.stats.exchange_bytes.fetch_add((bytes + answer.len()) as u64, Ordering::Relaxed);
    Ok(answer)
}

/// The partitions of which both this node and `peer` are homes by N = `n`.
fn shared(view: &View, peer: usize, n: usize) -> Vec<u32> {
    let both = |partition: &u32| {
        let homes = view.ring.homes(Partition(*partition as u16), n);
        [view.me, peer].iter().all(|node| homes.contains(&(*node as u16)))
    };
    (0..view.ring.partitions().count()).filter(both).collect()
}

struct Walk<'a> {
    peer: Peer<'a>,
    membership: &'a Membership,
    own: NodeId,
    epoch: u64,
    /// Whether it has found something to repair, and so holds this node's turn.
    repairing: bool,
    repaired: u64,
}

impl Walk<'_> {
    async fn run(&mut self, bits: u8, partitions: &[u32]) -> Result<(), Broken> {
        let mut exchange = Exchange::new(self.peer.database, bits, partitions);
        let mut effect = exchange.start();
        loop {
            let (begun, moved) = (Instant::now(), self.moved());
            let event = match effect {
                Effect::Compare { bits, indexes } => self.compare(bits, &indexes).await?,
                Effect::Wait => {
                    tokio::time::sleep(ARRIVAL).await;
                    effect = exchange.handle(Event::Passed);
                    continue;
                }
                Effect::List { leaves, after } => self.list(leaves, after).await?,
                Effect::Repair(keys) => {
                    self.repaired += mend::mend(&self.peer, keys).await?;
                    Event::Passed
                }
                Effect::Recount(leaves) => {
                    leaves.iter().for_each(|leaf| self.peer.replica.trees.doubt(self.peer.database, *leaf));
                    Event::Passed
                }
                Effect::Done => return Ok(()),
            };
            self.peer.replica.background.take_turn(self.moved() - moved, begun.elapsed()).await;
            if self.peer.replica.is_filling() || self.membership.view().epoch != self.epoch {
                return Err(Broken::Moot);
            }
            effect = exchange.handle(event);
            if self.repairing || matches!(effect, Effect::List { .. }) {
                self.take_turn().await?;
            }
        }
    }

    /// Bytes that exchanges moved so far.
    fn moved(&self) -> u64 {
        self.peer.replica.stats.exchange_bytes.load(Ordering::Relaxed)
    }

    /// Something differs for good: from here on only one repairs, on either node; or goes on to be that one.
    async fn take_turn(&mut self) -> Result<(), Broken> {
        if !self.peer.replica.turn.take(self.own, Instant::now()) {
            return Err(Broken::Moot);
        }
        if !std::mem::replace(&mut self.repairing, true) {
            ask_sums(self.peer.link, self.peer.replica, self.peer.database, true, &[]).await?;
        }
        Ok(())
    }

    async fn compare(&mut self, bits: u8, indexes: &[u32]) -> Result<Event, Broken> {
        let runs: Vec<Run> = indexes.iter().filter_map(|index| Run::new(bits, *index)).collect();
        let theirs = ask_sums(self.peer.link, self.peer.replica, self.peer.database, self.repairing, &runs).await?;
        let mine = self.peer.replica.trees.sums(self.peer.database, &runs);
        Ok(Event::Compared { mine, theirs: theirs.sums })
    }

    async fn list(&self, leaves: Vec<u32>, after: Option<StorageKey>) -> Result<Event, Broken> {
        let database = self.peer.database;
        let asked = Asked::Keys { leaves: leaves.clone(), after: after.clone() };
        let theirs =
            read_listing(&self.peer.ask(ExchangeRequest { database, repairing: true, asked }.into_body()).await?)?;
        let replica = self.peer.replica.clone();
        let listing = spawn_blocking(move || replica.list(database, &leaves, after.as_ref()));
        Ok(Event::Listed { mine: listing.await??, theirs })
    }
}
