//! Hints within bounds: runs [`crate::handoff::tidy`] (§4.6).
//!
//! # Contract
//! - Which copies are strays is decided by the members as they are: every copy of a key this node is no home of. When the
//!   members change during a search, the search is given up and begins anew later; the mark stays until one has ended.
//! - A search goes no faster than the background's budget allows and the home takes what is found.

use crate::causality::NodeTag;
use crate::handoff::ALL_HOMES;
use crate::handoff::tidy::{Bounds, Errand, Shelf, Tidy};
use crate::key::StorageKey;
use crate::membership::Membership;
use crate::membership::view::View;
use crate::repair::handoff::{homes, is_home, is_reachable};
use crate::replica::Replica;
use crate::replica::strays::Wanted;
use crate::storage::error::StorageError;
use crate::world::{spawn_blocking, wall_ms};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// How often shelves are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How often a search looks whether the home has taken what was found so far.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// Keeps the shelves tidy, for ever. Begins after the hints and marks of earlier lives were found.
pub async fn run(membership: Arc<Membership>, replica: Arc<Replica>) {
    let begun = Instant::now();
    let mut machine = Tidy::default();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let view = membership.view();
        let shelves: Vec<Shelf> = replica.shelves(|home| is_reachable(&view, home));
        let now_ms = begun.elapsed().as_millis() as u64;
        let ended = match machine.next(now_ms, replica.hint_bounds(), &shelves) {
            None => continue,
            Some(Errand::Trim(home)) => trim(&replica, home).await,
            Some(Errand::Seek(home)) => seek(&membership, &replica, view, home).await,
        };
        if let Err(error) = ended {
            tracing::error!(%error, "the hints could not be tidied; nothing was lost, and it is tried again");
        }
        machine.ended();
    }
}

async fn trim(replica: &Arc<Replica>, home: NodeTag) -> Result<(), StorageError> {
    let replica = replica.clone();
    let trimmed = spawn_blocking(move || replica.trim(home, wall_ms())).await;
    trimmed.unwrap_or(Err(StorageError::Stopped)).map(drop)
}

/// Looks through all copies here; those that the home wants are hinted, and handoff delivers them.
async fn seek(
    membership: &Arc<Membership>,
    replica: &Arc<Replica>,
    view: Arc<View>,
    home: NodeTag,
) -> Result<(), StorageError> {
    let opener = replica.clone();
    spawn_blocking(move || opener.open_shelf(home)).await.unwrap_or(Err(StorageError::Stopped))?;
    let mut after: Option<Bytes> = None;
    loop {
        while !has_room(replica.hint_bounds(), replica, home) {
            if !is_reachable(&membership.view(), home) {
                return Ok(());
            }
            sleep(ROOM_PAUSE).await;
        }
        let (seeker, board) = (replica.clone(), view.clone());
        let page =
            spawn_blocking(move || seeker.hint_strays(after.as_ref(), wall_ms(), |key| wanted(&board, key, home)));
        let page = page.await.unwrap_or(Err(StorageError::Stopped))?;
        replica.background.take(page.bytes).await;
        if membership.view().epoch != view.epoch {
            return Ok(());
        }
        match page.last {
            Some(last) => after = Some(last),
            None => break,
        }
    }
    let replica = replica.clone();
    spawn_blocking(move || replica.unmark(home)).await.unwrap_or(Err(StorageError::Stopped))?;
    tracing::info!(home = format!("{:016x}", home.0), "every copy kept for this home has its hint again");
    Ok(())
}

fn has_room(bounds: Bounds, replica: &Replica, home: NodeTag) -> bool {
    bounds.has_room(replica.hinted_bytes(home))
}

/// Who wants a copy found here when those kept for `home` are sought. A copy whose home is none any more, or is not known,
/// goes to all homes of its key.
fn wanted(view: &View, key: &StorageKey, home: NodeTag) -> Wanted {
    if is_home(view, key) {
        return Wanted::No;
    }
    match view.index_of_tag(home) {
        Some(index) if homes(view, key).contains(&index) => Wanted::By(home),
        Some(_) => Wanted::Unhinted(ALL_HOMES),
        None => Wanted::By(ALL_HOMES),
    }
}

/// Whether a marked home may still want a copy of this key.
pub(super) fn may_want(view: &View, key: &StorageKey, marked: NodeTag) -> bool {
    view.index_of_tag(marked).is_none_or(|index| homes(view, key).contains(&index))
}
