//! Sweeping away what was flushed: no reader sees it any more, but its bytes still lie in the records.
//!
//! # Contract
//! - One pass over all records for each flush, or for several that come while one is under way; begun anew at a start
//!   unless the last life stopped cleanly after its pass.
//! - It takes half of one thread's time at most: after each page it rests as long as that took.
//! - Where the store refuses writes it tries again later; what was flushed stays invisible meanwhile.

use crate::replica::Replica;
use crate::replica::flush::Sweep;
use crate::storage::batch::Batch;
use crate::storage::error::StorageError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest rest between two pages.
const REST_MAX: Duration = Duration::from_millis(200);

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
        let (swept, more) = page(replica, sweep).await?;
        sweep = swept;
        if !more {
            break;
        }
        tokio::time::sleep(begun.elapsed().min(REST_MAX)).await;
    }
    replica.end_sweep(&sweep);
    Ok(())
}

/// One page, committed; whether there are more.
async fn page(replica: &Arc<Replica>, mut sweep: Sweep) -> Result<(Sweep, bool), StorageError> {
    let sweeper = replica.clone();
    let (sweep, batch, more) = spawn_blocking(move || {
        let mut batch = Batch::new();
        let more = sweeper.sweep_page(&mut sweep, &mut batch)?;
        Ok::<_, StorageError>((sweep, batch, more))
    })
    .await
    .map_err(|_| StorageError::Stopped)??;
    if !batch.is_empty() {
        let (told, hear) = oneshot::channel();
        replica.submit(batch, false, Box::new(move |result| drop(told.send(result))));
        hear.await.map_err(|_| StorageError::Stopped)??;
    }
    Ok((sweep, more))
}
