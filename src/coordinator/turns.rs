//! Large batches take turns.
//!
//! Letters go over the counter at any time; who comes with a lorry waits for a ramp. Were all lorries unloaded at once, none
//! would be done in time, and all drivers be told that it is not known what became of their load. How many ramps are of use
//! shows by how long a lorry stands at one: when that takes too long, there are too many.
//!
//! # Contract
//! - A batch that writes at most [`FREE_BYTES`] never waits and costs no lock.
//! - Of larger ones so many run at a time as there are ramps, 1 to [`RAMPS_MAX`]. They wait in order of coming, before their time
//!   begins to run; meanwhile nothing more is read from their clients.
//! - A batch that took longer than a quarter of the time a request has closes its ramp behind it, unless that is the last;
//!   one that took less than half of that opens another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::message::operation::{Act, Operation};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Batches that write at most so many bytes are not counted.
const FREE_BYTES: usize = 64 << 10;

/// The most large batches at a time.
const RAMPS_MAX: usize = 16;

/// How many there are to begin with.
const RAMPS_FIRST: usize = 4;

/// The ramps.
#[derive(Debug)]
pub struct Turns {
    free: Semaphore,
    ramps: AtomicUsize,
}

/// A ramp that is taken; free again when this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    permit: SemaphorePermit<'a>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { free: Semaphore::new(RAMPS_FIRST), ramps: AtomicUsize::new(RAMPS_FIRST) }
    }
}

impl Turns {
    /// Waits until a batch may begin; none: it is small.
    pub async fn take(&self, operations: &[Operation]) -> Option<Turn<'_>> {
        if operations.iter().map(written_bytes).sum::<usize>() <= FREE_BYTES {
            return None;
        }
        // Fails only when the semaphore is closed, which it never is.
        let permit = self.free.acquire().await.ok()?;
        Some(Turn { turns: self, permit })
    }

    fn change(&self, change: impl Fn(usize) -> Option<usize>) -> bool {
        self.ramps.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

impl Turn<'_> {
    /// The batch is done. It took so long, of the time that a request has.
    pub fn ended(self, took: Duration, request_timeout: Duration) {
        let long = request_timeout / 4;
        if took > long {
            if self.turns.change(|ramps| (ramps > 1).then(|| ramps - 1)) {
                self.permit.forget();
            }
        } else if took < long / 2 && self.turns.change(|ramps| (ramps < RAMPS_MAX).then_some(ramps + 1)) {
            self.turns.free.add_permits(1);
        }
    }
}

fn written_bytes(operation: &Operation) -> usize {
    match &operation.act {
        Act::Put(put) => put.value.as_ref().map_or(0, |value| value.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::StorageKey;
    use crate::message::operation::{Basis, Put};
    use bytes::Bytes;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn batch(bytes: usize) -> Vec<Operation> {
        let key = StorageKey::new(0, &Bytes::from_static(b"k")).unwrap();
        let put = Put { value: Some(Bytes::from(vec![0; bytes])), expiry: None, basis: Basis::Local, id: None };
        let read = Operation { key: key.clone(), act: Act::Get, r: None, w: None };
        vec![read, Operation { key, act: Act::Put(put), r: None, w: None }]
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    /// As many turns as can be had at once.
    fn all(turns: &Turns) -> Vec<Turn<'_>> {
        let large = batch(FREE_BYTES + 1);
        std::iter::from_fn(|| now(turns.take(&large)).flatten()).collect()
    }

    #[test]
    fn small_batches_never_wait_and_large_ones_take_turns() {
        let turns = Turns::default();
        let mut taken = all(&turns);
        assert_eq!(taken.len(), RAMPS_FIRST);
        assert!(
            now(turns.take(&batch(FREE_BYTES))).is_some_and(|turn| turn.is_none()),
            "a letter goes over the counter"
        );
        taken.pop();
        assert_eq!(all(&turns).len(), 1);
    }

    #[test]
    fn slow_batches_close_ramps_to_the_last_and_quick_ones_open_them_to_the_most() {
        let turns = Turns::default();
        for _ in 0..3 {
            all(&turns).into_iter().for_each(|turn| turn.ended(TIMEOUT / 3, TIMEOUT));
        }
        assert_eq!(all(&turns).len(), 1, "one stays");
        all(&turns).into_iter().for_each(|turn| turn.ended(TIMEOUT / 6, TIMEOUT));
        assert_eq!(all(&turns).len(), 1, "neither slow nor quick");
        for _ in 0..6 {
            all(&turns).into_iter().for_each(|turn| turn.ended(TIMEOUT / 10, TIMEOUT));
        }
        assert_eq!(all(&turns).len(), RAMPS_MAX);
    }
}
