//! What became of one request.

use std::time::Duration;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By an answer that is no error.
    Answered,
    /// By an error, or by nothing: its connection broke, or no node took one.
    Failed,
}

/// One request. Times are microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was due, from the beginning of the load.
    pub due_us: u32,
    /// From when it was due until it was written to a socket: what the generator itself, or a missing connection, cost.
    pub sent_late_us: u32,
    /// From when it was due until its answer had come.
    pub latency_us: u32,
    /// How it ended.
    pub outcome: Outcome,
}

/// Whole microseconds; 71 minutes at most.
pub fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
