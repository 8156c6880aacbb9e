//! Hinted handoff (§4.6): what was kept for a home that was away is given to it, and let go of here.
//!
//! # Contract
//! - Where a home's delivery stands is in INFO and DYN.MEMBERS; each pass over its hints is logged.
//! - Hints are found again at start; nothing is remembered outside the store, so an interruption costs at most one page.
//! - A copy counts as given only when its home has fsynced it. A copy whose home is no member any more, or no home of the
//!   key any more, goes to all homes of the key instead, and is let go of when all have it.
//! - Nothing is let go of when the members changed while a page was under way: who is home may have changed with them.
//! - Reading and deleting happen on threads that may block; one page at a time for each home, see [`crate::handoff`].

use crate::causality::{Hlc, NodeTag};
use crate::handoff::{End, Handoff, Page, Settings};
use crate::key::StorageKey;
use crate::membership::Membership;
use crate::membership::view::View;
use crate::message::data::{Answer, Refusal, Requests, read_answers};
use crate::peer::link::CallError;
use crate::repair::strays;
use crate::replica::Replica;
use crate::replica::hints::{Kept, KeptPage};
use crate::storage::error::StorageError;
use crate::world::{spawn_blocking, wall_ms};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How pages are carried.
const SETTINGS: Settings = Settings { pages_max: 4, pause_min_ms: 250, pause_max_ms: 10_000 };

/// Keys in a page.
const PAGE_KEYS: usize = 128;

/// Bytes of keys and records after which a page ends.
const PAGE_BYTES: usize = 256 << 10;

/// How long a home may take to store and fsync a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often lamps are looked at and debts are paid.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// So many looks apart, the shelf is searched for new hints.
const LOOKS_PER_SEARCH: u32 = 5;

/// Hands back what is kept for others, for ever.
pub async fn run(membership: Arc<Membership>, replica: Arc<Replica>) {
    find(&replica).await;
    tokio::join!(hand_back(membership.clone(), replica.clone()), strays::run(membership, replica));
}

async fn hand_back(membership: Arc<Membership>, replica: Arc<Replica>) {
    let begun = Instant::now();
    let now_ms = || begun.elapsed().as_millis() as u64;
    let mut machine = Handoff::new(SETTINGS);
    let mut pages = JoinSet::new();
    let mut homes: HashMap<tokio::task::Id, NodeTag> = HashMap::new();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = 0u32;
    loop {
        tokio::select! {
            biased;
            _ = looks.tick() => {
                if look.is_multiple_of(LOOKS_PER_SEARCH) && replica.store().stats().hints > 0 {
                    machine.found(replica.hinted_homes());
                }
                look = look.wrapping_add(1);
            }
            Some(ended) = pages.join_next_with_id() => {
                let (id, end) = match ended {
                    Ok((id, end)) => (id, end),
                    Err(error) => (error.id(), End::BrokeOff),
                };
                if let Some(home) = homes.remove(&id) {
                    machine.carried(home, end, now_ms());
                }
            }
        }
        let view = membership.view();
        for page in machine.next(now_ms(), |home| is_reachable(&view, home)) {
            let home = page.home;
            if page.after.is_none() && replica.hinted_bytes(home) > 0 {
                let bytes = replica.hinted_bytes(home);
                tracing::info!(home = format!("{:016x}", home.0), bytes, "handing back what was kept for a home");
            }
            let id = pages.spawn(carry(membership.clone(), replica.clone(), page)).id();
            homes.insert(id, home);
        }
    }
}

/// Looks for hints of earlier lives until the store can tell.
async fn find(replica: &Arc<Replica>) {
    loop {
        let finder = replica.clone();
        match spawn_blocking(move || finder.find_hints(wall_ms())).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(%error, "the hints could not be read; they are tried again"),
            // The runtime is stopping.
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(SETTINGS.pause_max_ms)).await;
    }
}

/// Whether a home seems to answer. Where the tag is no member's, each key has homes of its own: let them be tried.
pub(super) fn is_reachable(view: &View, home: NodeTag) -> bool {
    #[cfg(feature = "simulation")]
    if rehearsed::is_reachable() {
        return true;
    }
    view.index_of_tag(home).is_none_or(|index| view.nodes[index].is_reachable())
}

/// Carries one page: reads, sends, deletes.
async fn carry(membership: Arc<Membership>, replica: Arc<Replica>, page: Page) -> End {
    replica.writable().await;
    let _ticket = replica.under_way.ticket();
    let reader = replica.clone();
    let read = spawn_blocking(move || reader.kept_for(page.home, page.after.as_ref(), PAGE_KEYS, PAGE_BYTES)).await;
    let KeptPage { kept, damaged, last } = match read {
        Ok(Ok(page)) => page,
        Ok(Err(error)) => {
            tracing::error!(%error, "reading copies kept for another home failed");
            return End::BrokeOff;
        }
        Err(_) => return End::BrokeOff,
    };
    replica.background.take(kept.iter().map(Kept::bytes).sum()).await;
    let view = membership.view();
    let sent = send(&view, &kept).await;
    #[cfg(feature = "simulation")]
    let sent = rehearsed::sent(sent);
    replica.stats.handoff_bytes.fetch_add(sent.bytes, Ordering::Relaxed);
    if membership.view().epoch != view.epoch {
        return End::BrokeOff;
    }
    let taken = sent.taken.iter().filter(|taken| **taken).count();
    let given = kept.into_iter().zip(sent.taken).filter_map(|(kept, taken)| taken.then_some(kept)).collect();
    match let_go(&replica, view, given).await {
        Ok(_) if sent.broke_off => End::BrokeOff,
        Ok(gone) => {
            let left = damaged || gone < taken || sent.failed;
            if last.is_none() {
                passed(&replica, page.home, left).await;
            }
            End::Tried { left, last }
        }
        Err(error) => {
            tracing::error!(%error, "copies that their homes have could not be let go of; they are given again");
            End::BrokeOff
        }
    }
}

/// What has come of sending a page.
struct Sent {
    /// For each copy, whether everyone it was meant for has it durably.
    taken: Vec<bool>,
    /// Whether some copy was not taken.
    failed: bool,
    /// Whether a member did not answer, or cannot store anything now: no use in sending more.
    broke_off: bool,
    bytes: u64,
}

/// What goes to one member: the requests, and which copy each is.
#[derive(Default)]
struct Frame {
    requests: Requests,
    copies: Vec<usize>,
}

async fn send(view: &View, kept: &[Kept]) -> Sent {
    let mut sent = Sent { taken: vec![true; kept.len()], failed: false, broke_off: false, bytes: 0 };
    let mut frames: BTreeMap<usize, Frame> = BTreeMap::new();
    for (at, copy) in kept.iter().enumerate() {
        let Some(object) = copy.object() else { continue };
        for node in targets(view, copy) {
            let frame = frames.entry(node).or_default();
            // A copy kept for others may be older than anything at its homes.
            frame.requests.write(&copy.key, &object, true, None, Hlc(0));
            frame.copies.push(at);
            sent.bytes += object.len() as u64;
        }
    }
    let mut answers = Vec::new();
    for (node, frame) in frames {
        let (told, hear) = oneshot::channel::<Result<Bytes, CallError>>();
        let done = move |result| drop(told.send(result));
        match view.nodes[node].link.as_ref().filter(|_| view.nodes[node].is_reachable()) {
            Some(link) => link.call(frame.requests.into_body(), PAGE_TIMEOUT, Box::new(done)),
            None => done(Err(CallError::NotSent)),
        }
        answers.push((node, frame.copies, hear));
    }
    // All for the home they are kept for: when that one does not answer, the next page will fare no better.
    let home = kept.first().and_then(|copy| view.index_of_tag(copy.home));
    let single = answers.len() == 1 && answers.first().map(|(node, ..)| *node) == home;
    for (node, copies, hear) in answers {
        let answered = hear.await.unwrap_or(Err(CallError::Lost));
        if answered.is_ok() {
            view.nodes[node].health.answered();
        }
        let answers = answered.ok().and_then(|body| read_answers(&body, copies.len()).ok());
        sent.broke_off |= single && answers.is_none();
        let mut answers = answers.unwrap_or_default().into_iter();
        for at in copies {
            let answer = answers.next();
            let unable = matches!(answer, Some(Answer::Refused(Refusal::Storage | Refusal::Unwritable)));
            sent.broke_off |= single && unable;
            if answer != Some(Answer::Applied { durable: true }) {
                (sent.taken[at], sent.failed) = (false, true);
            }
        }
    }
    sent
}

/// To whom a copy goes: to the home it is kept for, or, when that is none of the key's homes, to all of them.
fn targets(view: &View, copy: &Kept) -> Vec<usize> {
    let homes = homes(view, &copy.key);
    let home = view.index_of_tag(copy.home).filter(|home| homes.contains(home));
    let targets = home.map_or(homes, |home| vec![home]);
    targets.into_iter().filter(|node| *node != view.me).collect()
}

pub(super) fn homes(view: &View, key: &StorageKey) -> Vec<usize> {
    let n = usize::from(view.policies[usize::from(key.database())].n);
    let partition = view.ring.partitions().of(key.token());
    view.ring.homes(partition, n).iter().map(|home| usize::from(*home)).collect()
}

pub(super) fn is_home(view: &View, key: &StorageKey) -> bool {
    homes(view, key).contains(&view.me)
}

/// All hints for a home were tried: counts what is left, and says so.
async fn passed(replica: &Arc<Replica>, home: NodeTag, left: bool) {
    let counter = replica.clone();
    // What could not be counted now is counted when there are new hints.
    let _ = spawn_blocking(move || counter.recount_hints(home, wall_ms())).await;
    let bytes = replica.hinted_bytes(home);
    tracing::info!(home = format!("{:016x}", home.0), left, bytes, "handed back what was kept for a home");
}

/// Deletes what homes have taken; gives how many hints went.
async fn let_go(replica: &Arc<Replica>, view: Arc<View>, given: Vec<Kept>) -> Result<usize, StorageError> {
    let replica = replica.clone();
    let deleting = spawn_blocking(move || {
        let mut gone = 0;
        for kept in given {
            let stays = |marked: &[NodeTag]| {
                let may_want = |home: &NodeTag| *home != kept.home && strays::may_want(&view, &kept.key, *home);
                is_home(&view, &kept.key) || marked.iter().any(may_want)
            };
            gone += usize::from(replica.give_back(&kept, stays, Box::new(drop))?);
        }
        // Submissions are committed in their order: when this one is, all are.
        replica.store().settle()?;
        Ok(gone)
    });
    deleting.await.unwrap_or(Err(StorageError::Stopped))
}

/// Where a simulation breaks handoff on purpose. Not part of a server.
#[cfg(feature = "simulation")]
mod rehearsed {
    use super::Sent;
    use crate::world::simulation::{Mutation, is_broken};

    /// Everyone is as good as there.
    pub(super) fn is_reachable() -> bool {
        is_broken(Mutation::HintGoesUnacknowledged)
    }

    /// Whatever was sent counts as taken.
    pub(super) fn sent(mut sent: Sent) -> Sent {
        if is_broken(Mutation::HintGoesUnacknowledged) {
            sent.taken.fill(true);
            (sent.failed, sent.broke_off) = (false, false);
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handoff::ALL_HOMES;

    #[test]
    fn a_copy_goes_to_its_home_or_to_all_homes_when_that_is_none_any_more() {
        let view = View::five();
        let mut own = 0;
        for at in 0..50u8 {
            let key = StorageKey::new(0, &[at]).unwrap();
            let homes = homes(&view, &key);
            let others: Vec<usize> = homes.iter().copied().filter(|home| *home != view.me).collect();
            own += usize::from(is_home(&view, &key));
            for node in 0..view.nodes.len() {
                let copy = Kept::new(view.nodes[node].tag, key.clone(), None);
                let expected = match node {
                    _ if !homes.contains(&node) => others.clone(),
                    0 => vec![],
                    _ => vec![node],
                };
                assert_eq!(targets(&view, &copy), expected, "key {at} for node {node} of {homes:?}");
            }
            for stray in [ALL_HOMES, NodeTag(77)] {
                assert_eq!(targets(&view, &Kept::new(stray, key.clone(), None)), others);
            }
        }
        assert!((1..50).contains(&own));
    }

    #[tokio::test]
    async fn what_cannot_be_sent_is_left_and_only_a_home_of_its_own_ends_the_page() {
        let view = View::five();
        let key = (0..50u8).map(|at| StorageKey::new(0, &[at]).unwrap()).find(|key| !is_home(&view, key)).unwrap();
        let record = crate::object::record::Record::default().encode();
        let home = homes(&view, &key)[0];
        let single = send(&view, &[Kept::new(view.nodes[home].tag, key.clone(), Some(record.clone()))]).await;
        assert_eq!((single.taken, single.failed, single.broke_off), (vec![false], true, true));
        let all = [Kept::new(ALL_HOMES, key.clone(), Some(record)), Kept::new(ALL_HOMES, key, None)];
        let all = send(&view, &all).await;
        assert_eq!((all.taken, all.failed, all.broke_off), (vec![false, true], true, false));
    }
}
