//! The purse in use: what requests took goes in, and whoever works in the background asks before moving bytes (§6.5).
//!
//! # Contract
//! - [`Background::take`] returns when its bytes may be moved; who asked first is served first. Dropping it takes nothing.
//! - Handoff, exchange, filling up and reaping all draw from one [`Background`] of the node; requests never wait here.
//! - [`Background::observe`] costs one addition. Steering happens in [`Background::run`], once a second; without it the
//!   most is allowed.

use crate::budget::{BUCKETS, Budget, Latencies, Settings};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// The longest time that [`Background::take_turn`] charges for.
const TURN_MAX: Duration = Duration::from_millis(60);

/// What is allowed until somebody sets it.
const SETTINGS: Settings = Settings { target_us: 50_000, bytes_per_s_max: 64 << 20 };

/// One node's budget for background work.
pub struct Background {
    began: Instant,
    budget: Mutex<Budget>,
    /// How many requests of this second took how long.
    latencies: [AtomicU32; BUCKETS],
    /// First come, first served.
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicU64,
    bytes: AtomicU64,
}

/// What INFO shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackgroundStats {
    /// Bytes a second that background work may move now.
    pub bytes_per_s: u64,
    /// Tasks that wait for their bytes.
    pub waiting: u64,
    /// Bytes taken so far.
    pub bytes: u64,
    /// The 99th percentile of the foreground over the last seconds, in microseconds.
    pub p99_us: u64,
}

impl Default for Background {
    fn default() -> Background {
        Background {
            began: Instant::now(),
            budget: Mutex::new(Budget::new(SETTINGS, 0)),
            latencies: [const { AtomicU32::new(0) }; BUCKETS],
            turn: tokio::sync::Mutex::new(()),
            waiting: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Background {
    /// Goes by other settings from now on: `background-latency-target-ms`, `background-bytes-per-s-max`.
    pub fn set(&self, target_ms: u64, bytes_per_s_max: u64) {
        let settings = Settings { target_us: target_ms.saturating_mul(1000), bytes_per_s_max };
        self.budget.lock().set(settings, self.now_ms());
    }

    /// A client's requests took so long.
    pub fn observe(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies[Latencies::bucket(us)].fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until so many bytes may be moved.
    pub async fn take(&self, bytes: u64) {
        let _waiting = Waiting::new(&self.waiting);
        let _turn = self.turn.lock().await;
        loop {
            let wait_ms = self.budget.lock().take(bytes, self.now_ms());
            if wait_ms == 0 {
                break;
            }
            sleep(Duration::from_millis(wait_ms)).await;
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits for bytes that were moved already, or for as many as the time it took is worth: who asks after each step works
    /// half of the time at most, and ever less while less is allowed.
    pub async fn take_turn(&self, bytes: u64, took: Duration) {
        let most = self.budget.lock().bytes_per_s_max();
        let worth = u128::from(most) * took.min(TURN_MAX).as_micros() / 1_000_000;
        self.take(bytes.max(u64::try_from(worth).unwrap_or(u64::MAX))).await;
    }

    /// Steers, for ever.
    pub async fn run(&self) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            seconds.tick().await;
            let mut latencies = Latencies::default();
            for (bucket, count) in self.latencies.iter().enumerate() {
                latencies.add(bucket, count.swap(0, Ordering::Relaxed));
            }
            self.budget.lock().second(latencies, self.now_ms());
        }
    }

    /// What INFO shows.
    pub fn stats(&self) -> BackgroundStats {
        let budget = self.budget.lock();
        BackgroundStats {
            bytes_per_s: budget.bytes_per_s(),
            waiting: self.waiting.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            p99_us: budget.p99_us(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Counts one who waits, also when the wait is given up.
struct Waiting<'a>(&'a AtomicU64);

impl Waiting<'_> {
    fn new(waiting: &AtomicU64) -> Waiting<'_> {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn background() -> Background {
        let background = Background::default();
        background.set(50, 32_000);
        background
    }

    #[tokio::test]
    async fn takers_wait_for_their_bytes_in_the_order_they_asked() {
        let background = background();
        let begun = Instant::now();
        let order = Mutex::new(Vec::new());
        let taker = async |name: u32, bytes: u64| {
            background.take(bytes).await;
            order.lock().push((name, begun.elapsed()));
        };
        tokio::join!(taker(1, 16_000), taker(2, 1_600), taker(3, 1), async {
            tokio::task::yield_now().await;
            assert_eq!(background.stats().waiting, 2);
        });
        let order = order.into_inner();
        assert_eq!(order.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(order[1].1 >= Duration::from_millis(499) && order[2].1 >= Duration::from_millis(549), "{order:?}");
        assert_eq!((background.stats().waiting, background.stats().bytes), (0, 17_601));
    }

    #[tokio::test]
    async fn who_takes_turns_works_half_of_the_time_at_most() {
        let background = background();
        let begun = Instant::now();
        for _ in 0..5 {
            background.take_turn(1, Duration::from_millis(40)).await;
        }
        let rested = begun.elapsed();
        assert!(rested >= Duration::from_millis(155), "{rested:?} for the first four of 40 ms");
    }

    #[tokio::test]
    async fn what_requests_took_is_steered_by() {
        let background = background();
        background.observe(Duration::from_millis(80));
        let seconds = tokio::time::timeout(Duration::from_millis(100), background.run()).await;
        assert!(seconds.is_err(), "it runs for ever");
        let stats = background.stats();
        assert_eq!((stats.bytes_per_s, stats.p99_us / 20_000), (16_000, 4));
    }

    #[tokio::test]
    async fn who_gives_up_waiting_takes_nothing() {
        let background = background();
        background.take(1_600).await;
        assert!(tokio::time::timeout(Duration::from_millis(1), background.take(32_000_000)).await.is_err());
        background.take(1).await;
        assert_eq!((background.stats().waiting, background.stats().bytes), (0, 1_601));
    }
}
