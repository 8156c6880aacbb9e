//! What hands and drivers take from the world: sockets, clocks, chance, and rooms where one may block.
//!
//! A theatre has one property room. On most evenings the doors lead to the street, the clock shows the time of day and
//! the dice are dice; on a rehearsal evening the same room hands out a painted street, a clock the director turns, and
//! dice he has thrown before. The actors notice no difference, and never bring properties of their own.
//!
//! # Contract
//! - Sockets of nodes and clients, the wall clock, measured time, randomness and blocking work come from here and from
//!   nowhere else. (tokio's timers are the exception: they follow the runtime they are used on.)
//! - Without the feature `simulation` every name here *is* the usual thing; nothing is in between.
//! - With it, a whole node runs on one thread inside turmoil, and one seed gives one history. See `simulation`.
//!
//! # What it refuses to do
//! It decides nothing and keeps nothing.

pub mod net;

#[cfg(feature = "simulation")]
pub mod simulation;

#[cfg(not(feature = "simulation"))]
mod real {
    use std::time::{SystemTime, UNIX_EPOCH};

    pub use std::time::Instant;
    pub use tokio::task::spawn_blocking;

    /// The wall clock, in Unix milliseconds.
    pub fn wall_ms() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Random bytes nobody can guess.
    pub fn random_bytes<const COUNT: usize>() -> [u8; COUNT] {
        rand::random()
    }
}

#[cfg(not(feature = "simulation"))]
pub use real::{Instant, random_bytes, spawn_blocking, wall_ms};
#[cfg(feature = "simulation")]
pub use simulation::{Instant, random_bytes, spawn_blocking, wall_ms};

/// A random number nobody can guess.
pub fn random_u64() -> u64 {
    u64::from_le_bytes(random_bytes())
}
