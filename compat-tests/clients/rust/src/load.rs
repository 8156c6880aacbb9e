//! A cluster client under load, as view-load.py: writes and reads keys in turn until a line comes on standard input. Prints
//! "ready" once every key was written, and at the end how many operations it ran, how long it was without a success at
//! most, and every failure.

use crate::check::Failure;
use std::fmt::Display;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// How long one operation may take before it counts as failed, as an application would have it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is worked on.
pub trait Store {
    /// Its library's error.
    type Error: Display;
    /// SET
    async fn set(&self, key: &str, value: &str) -> Result<(), Self::Error>;
    /// GET
    async fn get(&self, key: &str) -> Result<Option<String>, Self::Error>;
}

/// Works until a line comes.
pub async fn run(store: &impl Store) -> Result<(), Failure> {
    let keys: Vec<String> = (0..60).map(|at| format!("load:{at}")).collect();
    for key in &keys {
        store.set(key, "0").await.map_err(|error| error.to_string())?;
    }
    println!("ready");
    let stop = tokio::spawn(async { tokio::io::stdin().read_u8().await });
    let (mut operations, mut failures, mut gap, mut last) = (0, Vec::new(), Duration::ZERO, Instant::now());
    'working: for turn in 1_u64.. {
        for key in &keys {
            if stop.is_finished() {
                break 'working;
            }
            match tokio::time::timeout(PATIENCE, once(store, key, &turn.to_string())).await {
                Ok(Ok(())) => {
                    operations += 2;
                    gap = gap.max(last.elapsed());
                    last = Instant::now();
                }
                Ok(Err(why)) => failures.push(format!("{key}: {why}")),
                Err(_) => failures.push(format!("{key}: no answer within {PATIENCE:?}")),
            }
        }
    }
    println!("operations {operations}\nfailures {}\ngap_ms {}", failures.len(), gap.as_millis());
    println!("{}", failures.into_iter().take(20).collect::<Vec<_>>().join("\n"));
    Ok(())
}

async fn once<S: Store>(store: &S, key: &str, value: &str) -> Result<(), String> {
    store.set(key, value).await.map_err(|error| error.to_string())?;
    match store.get(key).await.map_err(|error| error.to_string())? {
        Some(got) if got == value => Ok(()),
        other => Err(format!("{other:?} is not what was written")),
    }
}
