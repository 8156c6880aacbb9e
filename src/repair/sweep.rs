//! Sweeping away what was flushed: no reader sees it any more, but its bytes still lie in the records.
//!
//! # Contract
//! - One pass over all records for each flush, or for several that come while one is under way; begun anew at a start
//!   unless the last life stopped cleanly after its pass.
//! - Like all background work it waits for its share of the node's budget ([`crate::background`]) after each page.
//! - It makes room, so a full disk does not stop it. Where the store refuses writes all the same it tries again later; what
//!   was flushed stays invisible meanwhile.

use crate::replica::Replica;
use crate::replica::flush::Sweep;
use crate::storage::batch::Batch;
use crate::storage::error::StorageError;
use crate::world::{Instant, spawn_blocking};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// Sweeps whenever there is something to sweep, for ever.
pub async fn run(replica: Arc<Replica>) {
    loop {
        replica.to_sweep().await;
        if let Err(error) = sweep(&replica).await {
            tracing::warn!(%error, "what was flushed could not be swept away; it is tried again");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn sweep(replica: &Arc<Replica>) -> Result<(), StorageError> {
    let beginner = replica.clone();
    let mut sweep = spawn_blocking(move || beginner.begin_sweep()).await.map_err(|_| StorageError::Stopped)?;
    loop {
        let begun = Instant::now();
        replica.writable().await;
        let (swept, bytes) = page(replica, sweep).await?;
        sweep = swept;
        let Some(bytes) = bytes else { break };
        replica.background.take_turn(bytes as u64, begun.elapsed()).await;
    }
    replica.end_sweep(&sweep);
    Ok(())
}

/// One page, committed, and its bytes; none: it was the last.
async fn page(replica: &Arc<Replica>, mut sweep: Sweep) -> Result<(Sweep, Option<usize>), StorageError> {
    let sweeper = replica.clone();
    let (sweep, batch, bytes) = spawn_blocking(move || {
        let mut batch = Batch::making_room();
        let bytes = sweeper.sweep_page(&mut sweep, &mut batch)?;
        Ok::<_, StorageError>((sweep, batch, bytes))
    })
    .await
    .map_err(|_| StorageError::Stopped)??;
    if !batch.is_empty() {
        let (told, hear) = oneshot::channel();
        replica.submit(batch, false, Box::new(move |result| drop(told.send(result))));
        hear.await.map_err(|_| StorageError::Stopped)??;
    }
    Ok((sweep, bytes))
}
