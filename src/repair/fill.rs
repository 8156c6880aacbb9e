//! Filling up after a loss on disk.
//!
//! # Contract
//! - While a node fills, its copies take in writes but answer no reads ([`Replica::is_filling`]); coordinators turn to the
//!   other homes, and it coordinates only what no other home can.
//! - A write acknowledged W times lies on at least W−1 other homes, so N−W+1 others hold every one of them between them. A
//!   partition is filled once that many have given all they hold; absence on any of them covers nothing. Homes that fill
//!   up themselves give what they have and count only when *all* other homes have answered: there is no more to be had.
//! - A sibling that lies here, is settled by the highest floor of those homes, and is held by no complete one of them, was
//!   forgotten by them while what covered it here was lost: it goes ([`Replica::forget_settled`]), once all have answered.
//!   Until then it can be neither trusted nor dropped, and the partition is not filled: it would be given to others as this
//!   node's own. That they hold the *key* says nothing: the value that overwrote it does not tell once its context has shrunk.
//! - Pages are bounded, asked one at a time, and asked again when a home is away; a partition done stays done.

use crate::causality::{Dot, Hlc};
use crate::key::{Partition, StorageKey};
use crate::membership::Membership;
use crate::membership::view::View;
use crate::message::data::Refusal;
use crate::message::fill::{FillRequest, Page};
use crate::object::Object;
use crate::peer::link::Link;
use crate::replica::Replica;
use crate::storage::batch::Batch;
use crate::world::spawn_blocking;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3;

/// How long a page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before homes that were away are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a partition is not filled yet.
#[derive(Debug, thiserror::Error)]
enum NotFilled {
    #[error("{answered} of {needed} other homes have given their copies")]
    HomesAway { answered: usize, needed: usize },
    #[error("{keys} keys lie here that none of {answered} other homes has; another one is away that may know why")]
    Unjudged { keys: usize, answered: usize },
    #[error("storing the copies failed: {0}")]
    Storage(String),
}

/// Fills this node up after its last loss, then lets it answer reads. Ends when done, or when more was lost meanwhile.
pub async fn run(membership: &Membership, replica: &Arc<Replica>) {
    let loss = replica.losses_found();
    let partitions = membership.view().ring.partitions();
    let mut left: Vec<Partition> = (0..partitions.count() as u16).map(Partition).collect();
    tracing::warn!("filling up from the other homes; reads are left to them until that is done");
    loop {
        let mut still = Vec::new();
        let mut reason = None;
        for partition in left {
            if let Err(error) = fill(membership, replica, partition).await {
                reason = Some(error);
                still.push(partition);
            }
        }
        left = still;
        let Some(reason) = reason else { break };
        tracing::warn!(partitions = left.len(), %reason, "still filling up");
        tokio::time::sleep(PAUSE).await;
    }
    if !replica.filled(loss) {
        return;
    }
    tracing::warn!("filled up: every partition has been taken from the other homes; reads are answered again");
}

async fn fill(membership: &Membership, replica: &Arc<Replica>, partition: Partition) -> Result<(), NotFilled> {
    let view = membership.view();
    let widest = view.policies.iter().map(|policy| usize::from(policy.n)).max().unwrap_or(1);
    let homes = view.ring.homes(partition, widest);
    if !homes.iter().any(|home| usize::from(*home) == view.me) {
        return Ok(());
    }
    let needed = view.policies.iter().map(|policy| usize::from(policy.n - policy.w) + 1).max().unwrap_or(1);
    let needed = needed.min(homes.len() - 1);
    let (mut answered, mut filling) = (0, 0);
    let mut given = Given { floor: replica.floor(), ..Given::default() };
    for home in homes.iter().copied().filter(|home| usize::from(*home) != view.me) {
        let node = &view.nodes[usize::from(home)];
        let Some(link) = node.link.as_ref().filter(|_| node.is_reachable()) else { continue };
        match copy(link, replica, &view, partition, &mut given).await? {
            Copied::Whole => {
                answered += 1;
                given.by.push(home);
            }
            Copied::Filling => filling += 1,
            Copied::Broken => {}
        }
    }
    let all = answered + filling == homes.len() - 1;
    if answered < needed && !all {
        return Err(NotFilled::HomesAway { answered, needed });
    }
    // Where every other home fills up, nobody has forgotten anything for certain.
    if answered > 0 {
        judge(replica, view.clone(), partition, given, all.then_some(answered).ok_or(answered)).await?;
    }
    Ok(())
}

/// What complete homes hold.
#[derive(Default)]
struct Given {
    /// Which homes those are.
    by: Vec<u16>,
    /// Hashes of the siblings, each with its key.
    siblings: HashSet<u128>,
    /// Keys of damaged records: nobody knows what they held.
    damaged: HashSet<StorageKey>,
    /// The highest floor of all that were asked, and this node's, each from before that one looked.
    floor: Hlc,
}

fn hash(key: &StorageKey, dot: &Dot) -> u128 {
    let mut hash = Xxh3::new();
    hash.update(key.as_bytes());
    [dot.hlc.0, dot.actor.node.0, dot.actor.birth.0].iter().for_each(|word| hash.update(&word.to_le_bytes()));
    hash.digest128()
}

/// Forgets what is left here of a settled past that all other homes have forgotten: the loss took what covered it.
/// `answered`: how many other homes did; an error: not all.
async fn judge(
    replica: &Arc<Replica>,
    view: Arc<View>,
    partition: Partition,
    given: Given,
    answered: Result<usize, usize>,
) -> Result<(), NotFilled> {
    let forgetful = replica.clone();
    let judged = spawn_blocking(move || {
        let (from, to) = view.ring.partitions().range(partition);
        // Absence says something only at a complete home of the key itself; of some databases there are fewer homes.
        let is_shared = |key: &StorageKey| {
            let homes = view.ring.homes(partition, usize::from(view.policies[usize::from(key.database())].n));
            homes.iter().any(|home| usize::from(*home) == view.me) && homes.iter().any(|home| given.by.contains(home))
        };
        let is_known =
            |key: &StorageKey, dot: &Dot| given.siblings.contains(&hash(key, dot)) || given.damaged.contains(key);
        let may = |key: &StorageKey, dot: &Dot| is_shared(key) && !is_known(key, dot);
        let keys = forgetful.settled(&from, to.as_ref().map(|to| to.as_slice()), given.floor, &may);
        let keys = keys.map_err(|error| NotFilled::Storage(error.to_string()))?;
        match answered {
            Err(answered) if !keys.is_empty() => Err(NotFilled::Unjudged { keys: keys.len(), answered }),
            _ => {
                let forgotten = forgetful.forget_settled(keys, given.floor, &may);
                forgotten.map_err(|error| NotFilled::Storage(error.to_string()))
            }
        }
    });
    let forgotten = judged.await.map_err(|error| NotFilled::Storage(error.to_string()))??;
    if forgotten > 0 {
        tracing::warn!(
            values = forgotten,
            "found here, settled long ago, and forgotten by all other homes: deleted or overwritten there"
        );
    }
    Ok(())
}

/// What another home gave.
enum Copied {
    /// All it should hold.
    Whole,
    /// All it has; it lost copies itself.
    Filling,
    /// Not all: it broke off.
    Broken,
}

/// Takes all that one home holds of a partition.
async fn copy(
    link: &Link,
    replica: &Arc<Replica>,
    view: &View,
    partition: Partition,
    given: &mut Given,
) -> Result<Copied, NotFilled> {
    let mut after = None;
    let mut copied = Copied::Whole;
    let mut first = true;
    loop {
        let body = FillRequest { partition: partition.0, after: after.take() }.into_body();
        let _ticket = replica.under_way.ticket();
        // Nothing can be forgotten that this node is still to be given: its floor stands still.
        let floor = replica.floor().max(Hlc(1));
        let Ok(answer) = link.ask(body, PAGE_TIMEOUT).await else { return Ok(Copied::Broken) };
        let Ok(page) = Page::read(&answer) else { return Ok(Copied::Broken) };
        replica.background.take(answer.len() as u64).await;
        after = page.objects.last().map(|(key, _)| key.clone());
        let more = page.more;
        let (mut objects, mut damaged) = (Vec::with_capacity(page.objects.len()), Vec::new());
        for (key, object) in page.objects {
            match Object::decode(&object) {
                Ok(object) => objects.push((key, object)),
                Err(_) => damaged.push(key),
            }
        }
        if page.filling {
            copied = Copied::Filling;
        } else {
            given.damaged.extend(damaged);
            for (key, object) in &objects {
                given.siblings.extend(object.siblings.iter().map(|sibling| hash(key, &sibling.dot)));
            }
            if std::mem::take(&mut first) {
                given.floor = given.floor.max(page.floor);
            }
        }
        let floor = if page.filling { Hlc(0) } else { floor };
        store(replica, view, objects, floor).await?;
        if !more || after.is_none() {
            return Ok(copied);
        }
    }
}

async fn store(
    replica: &Arc<Replica>,
    view: &View,
    objects: Vec<(StorageKey, Object)>,
    floor: Hlc,
) -> Result<(), NotFilled> {
    let mut batch = Batch::new();
    for (key, object) in objects {
        let conflict = view.policies[usize::from(key.database())].conflict;
        match replica.merge(&mut batch, &key, object, floor, conflict, None) {
            // It stays where it is, at a home that fills up itself: the complete ones decide.
            Ok(()) | Err(Refusal::Old | Refusal::Filling) => {}
            Err(refusal) => return Err(NotFilled::Storage(format!("{refusal:?}"))),
        }
    }
    let (told, hear) = oneshot::channel();
    // Fsynced: once the last partition is filled, the loss is forgotten.
    replica.submit(batch, true, Box::new(move |result| drop(told.send(result))));
    match hear.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(NotFilled::Storage(error.to_string())),
        Err(_) => Err(NotFilled::Storage("the store has been stopped".to_owned())),
    }
}

/// Serves a page of this node's copies.
pub async fn serve(membership: &Membership, replica: Arc<Replica>, request: FillRequest) -> Option<Vec<u8>> {
    let partitions = membership.view().ring.partitions();
    if u32::from(request.partition) >= partitions.count() {
        return None;
    }
    let (from, to) = partitions.range(Partition(request.partition));
    let from = match &request.after {
        // The first key after it: the same bytes and a zero.
        Some(key) => Bytes::from([key.as_bytes(), &[0]].concat()),
        None => Bytes::copy_from_slice(&from),
    };
    let filling = replica.is_filling();
    let reader = replica.clone();
    let page = spawn_blocking(move || reader.page(&from, to.as_ref().map(|to| to.as_slice()))).await;
    match page {
        Ok(Ok(page)) => {
            let body = Page { filling, ..page }.into_body();
            // Here, too, clients are being served.
            replica.background.take(body.len() as u64).await;
            Some(body)
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "reading copies for a home that fills up failed");
            None
        }
        Err(_) => None,
    }
}
