//! The reaper: forgets what is settled, in the background (DESIGN "Settling").
//!
//! # Contract
//! - Only what lies at or below this node's floor, only of keys it is a complete home of, and only while it keeps no copies
//!   for others: such a copy is the last thing that may still need what is forgotten here.
//! - It passes when something is ripe ([`Past::ripe_from`](crate::replica::past::Past::ripe_from)), and now and then for what
//!   was ripe and had to wait. It draws from the budget of the background, and rests as long as it works.

use crate::causality::{Actor, Hlc};
use crate::key::{DATABASES, StorageKey};
use crate::membership::Membership;
use crate::membership::view::View;
use crate::object::retire::Below;
use crate::replica::Replica;
use crate::replica::past::Reaped;
use crate::storage::error::StorageError;
use crate::world::spawn_blocking;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The shortest pause between two passes.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest, as long as anything is settled meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// So many leaves are looked at in one go.
const LEAVES: usize = 256;
/// How long a request id is remembered after its write is settled, so that a late retry is no second write.
pub const ID_MEMORY_MS: u64 = 60 * 60 * 1000;

/// Reaps for ever.
pub async fn run(membership: Arc<Membership>, replica: Arc<Replica>) {
    let (mut passed, mut floor) = (Instant::now(), Hlc(0));
    loop {
        sleep(PAUSE).await;
        #[cfg(feature = "simulation")]
        rehearsed::settle_by_timer(&replica);
        let is_ripe = replica.floor() >= replica.past.ripe_from();
        let due = is_ripe || (passed.elapsed() >= PAUSE_MAX && replica.floor() > floor);
        if !due || replica.past.is_resting() || replica.is_filling() || replica.keeps_copies() {
            continue;
        }
        floor = replica.floor();
        replica.past.begin_pass();
        if let Err(error) = pass(&membership, &replica, floor).await {
            tracing::warn!(%error, "what is settled could not be forgotten; it is tried again in a minute");
            floor = Hlc(0);
        }
        passed = Instant::now();
    }
}

/// Looks at every marked leaf once.
async fn pass(membership: &Membership, replica: &Arc<Replica>, floor: Hlc) -> Result<(), StorageError> {
    for database in 0..DATABASES {
        for leaves in replica.past.leaves(database).chunks(LEAVES) {
            replica.writable().await;
            let begun = Instant::now();
            let (view, reaper, leaves) = (membership.view(), replica.clone(), leaves.to_vec());
            let reaping = spawn_blocking(move || reap(&reaper, &view, database, &leaves, floor));
            let reaped = reaping.await.map_err(|_| StorageError::Stopped)??;
            replica.background.take(reaped.bytes).await;
            sleep(begun.elapsed()).await;
        }
    }
    Ok(())
}

fn reap(replica: &Arc<Replica>, view: &View, database: u8, leaves: &[u32], floor: Hlc) -> Result<Reaped, StorageError> {
    let n = usize::from(view.policies[usize::from(database)].n);
    let may = |key: &StorageKey| {
        let homes = view.ring.homes(view.ring.partitions().of(key.token()), n);
        homes.iter().any(|home| usize::from(*home) == view.me)
    };
    let is_member = |actor: &Actor| view.index_of_tag(actor.node).is_some();
    let below = Below {
        floor,
        drift_ms_max: replica.clock.drift_ms_max(),
        is_member: &is_member,
        ids_from: Hlc::from_ms(floor.ms().saturating_sub(ID_MEMORY_MS)),
    };
    let (batch, reaped) = replica.reap(database, leaves, &below, &may)?;
    replica.submit(batch, false, Box::new(drop));
    Ok(reaped)
}

/// Where a simulation breaks the reaper on purpose. Not part of a server.
#[cfg(feature = "simulation")]
mod rehearsed {
    use crate::causality::Hlc;
    use crate::replica::Replica;
    use crate::world::simulation::{Mutation, is_broken};
    use crate::world::wall_ms;

    /// Takes for settled what is older than half a second, as Cassandra and Riak do after ten days.
    pub(super) fn settle_by_timer(replica: &Replica) {
        if is_broken(Mutation::ReapsByTimer) {
            replica.raise_floor(Hlc::from_ms(wall_ms().saturating_sub(500)));
        }
    }
}
