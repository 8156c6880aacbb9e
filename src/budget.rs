//! One purse for all work that nobody waits for (§6.5): how many bytes a second repair may move now.
//!
//! In a shop somebody also has to sweep. While customers are served as fast as they should be, the sweeper goes on and a
//! little faster each minute; as soon as they wait too long the sweeper does half as much, and half of that again, but
//! never stops altogether: a shop that is never swept closes in the end.
//!
//! # Contract
//! - Event and time in, answers out. Once a second the driver tells how long the requests of that second took
//!   ([`Budget::second`]); whoever wants to move bytes asks first ([`Budget::take`]).
//! - The allowance lies between [`Settings::bytes_per_s_max`] and a [`FLOOR_PART`]th of it. It is halved each second in
//!   which the 99th percentile lies above the target, both of that second and of the last [`WINDOW_SECONDS`]; it rises by a
//!   [`STEP_PART`]th of the most each second in which that of the window does not.
//! - Bytes are taken whole: a request may overdraw, and the next ones wait until time has paid. So over any time no more
//!   is taken than was allowed, a quarter of a second's allowance, and one request.
//!
//! # What it refuses to do
//! It does not know what the bytes are for, nor whose turn it is: who asks first is served first.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

/// Seconds over which latencies are remembered.
pub const WINDOW_SECONDS: usize = 10;

/// The least that is ever allowed, as a part of the most: repair never starves.
pub const FLOOR_PART: u64 = 32;

/// By which part of the most the allowance rises each second.
pub const STEP_PART: u64 = 16;

/// So many sizes of latency are told apart: four to each power of two, up to a minute.
pub const BUCKETS: usize = 108;

/// What the purse goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The 99th percentile of the foreground that background work must not push above, in microseconds.
    pub target_us: u64,
    /// The most bytes a second. At least [`FLOOR_PART`].
    pub bytes_per_s_max: u64,
}

/// How many requests took how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies([u32; BUCKETS]);

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies([0; BUCKETS])
    }
}

impl Latencies {
    /// The size of a latency: below [`BUCKETS`].
    pub fn bucket(latency_us: u64) -> usize {
        if latency_us < 4 {
            return latency_us as usize;
        }
        let log = latency_us.ilog2() as usize;
        let quarter = (latency_us >> (log - 2)) as usize & 3;
        (4 * (log - 1) + quarter).min(BUCKETS - 1)
    }

    /// The longest latency of a size, in microseconds.
    fn longest(bucket: usize) -> u64 {
        if bucket < 4 {
            return bucket as u64;
        }
        let shift = bucket / 4 - 1;
        (((4 + bucket as u64 % 4) + 1) << shift) - 1
    }

    /// So many more latencies of one size.
    pub fn add(&mut self, bucket: usize, count: u32) {
        let counted = &mut self.0[bucket.min(BUCKETS - 1)];
        *counted = counted.saturating_add(count);
    }

    /// The latency in microseconds, rounded up by a quarter at most, that 99 of 100 do not exceed; zero if there are none.
    fn p99_us<'a>(all: impl Iterator<Item = &'a Latencies> + Clone) -> u64 {
        let of = |bucket: usize| all.clone().map(|latencies| u64::from(latencies.0[bucket])).sum::<u64>();
        let total: u64 = (0..BUCKETS).map(of).sum();
        // As many may be slower as one in a hundred.
        let mut slower = 0;
        let p99 = (0..BUCKETS).rev().find(|bucket| {
            slower += of(*bucket);
            slower * 100 > total
        });
        p99.map_or(0, Latencies::longest)
    }
}

/// The purse. See the module.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: Settings,
    window: VecDeque<Latencies>,
    bytes_per_s: u64,
    p99_us: u64,
    /// Bytes that may be taken now; negative: a debt.
    credit_bytes: i64,
    paid_ms: u64,
}

impl Budget {
    /// Nothing is known of the foreground yet: all is allowed.
    pub fn new(settings: Settings, now_ms: u64) -> Budget {
        let bytes_per_s = settings.bytes_per_s_max;
        Budget { settings, window: VecDeque::new(), bytes_per_s, p99_us: 0, credit_bytes: 1, paid_ms: now_ms }
    }

    /// Goes by other settings from now on.
    pub fn set(&mut self, settings: Settings, now_ms: u64) {
        self.pay(now_ms);
        self.settings = settings;
        self.bytes_per_s = self.bytes_per_s.clamp(self.floor(), settings.bytes_per_s_max);
    }

    /// A second is over, in which requests took so long.
    pub fn second(&mut self, latencies: Latencies, now_ms: u64) {
        self.pay(now_ms);
        let last_us = Latencies::p99_us(std::iter::once(&latencies));
        self.window.push_back(latencies);
        if self.window.len() > WINDOW_SECONDS {
            self.window.pop_front();
        }
        self.p99_us = Latencies::p99_us(self.window.iter());
        let most = self.settings.bytes_per_s_max;
        self.bytes_per_s = match (self.p99_us > self.settings.target_us, last_us > self.settings.target_us) {
            (true, true) => self.bytes_per_s / 2,
            // It was slow a while ago: wait and see.
            (true, false) => self.bytes_per_s,
            (false, _) => self.bytes_per_s.saturating_add(most / STEP_PART).min(most),
        };
        self.bytes_per_s = self.bytes_per_s.max(self.floor());
    }

    /// Takes bytes: zero, or how many milliseconds to wait before asking again.
    pub fn take(&mut self, bytes: u64, now_ms: u64) -> u64 {
        self.pay(now_ms);
        if self.credit_bytes <= 0 {
            return (self.credit_bytes.unsigned_abs() + 1).saturating_mul(1000).div_ceil(self.bytes_per_s);
        }
        // A debt larger than a second's most is forgiven: one huge object must not stop everything for minutes.
        let most = i64::try_from(self.settings.bytes_per_s_max).unwrap_or(i64::MAX);
        self.credit_bytes = self.credit_bytes.saturating_sub_unsigned(bytes).max(-most);
        0
    }

    /// Bytes a second that are allowed now.
    pub fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s
    }

    /// The most that may ever be allowed.
    pub fn bytes_per_s_max(&self) -> u64 {
        self.settings.bytes_per_s_max
    }

    /// The 99th percentile of the last seconds, in microseconds.
    pub fn p99_us(&self) -> u64 {
        self.p99_us
    }

    fn floor(&self) -> u64 {
        (self.settings.bytes_per_s_max / FLOOR_PART).max(1)
    }

    /// Time pays. What is less than a byte stays owed.
    fn pay(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.paid_ms);
        let earned = passed_ms.saturating_mul(self.bytes_per_s) / 1000;
        if earned == 0 {
            return;
        }
        self.paid_ms = now_ms;
        let most = i64::try_from(self.bytes_per_s / 4).unwrap_or(i64::MAX).max(1);
        self.credit_bytes = self.credit_bytes.saturating_add_unsigned(earned).min(most);
    }
}
