//! What the nodes of a cluster tell each other about themselves (§4.8).
//!
//! A village without a mayor: everyone keeps the same list of neighbours, compares it with whoever they meet, and keeps
//! the newer line of each. Besides, everyone now and then knocks at somebody's door; who does not answer, not even when
//! others knock for us, is said to be away until seen again. Being away is not moving out.
//!
//! # Contract
//! - [`state`]: the replicated member map and policies; merging is idempotent, commutative and associative.
//! - [`admission`]: who is let into a cluster, and who is not.
//! - [`forming`]: whether a node that belongs to no cluster founds one, joins one, or waits.
//! - [`detector`]: SWIM failure detection (§4.8.3) as a machine.
//! - [`clocks`]: whose clock is right, of all that can be read.
//! - [`swaps`]: which database each index means, after any SWAPDBs anywhere.
//!
//! All are machines: events in, effects out. No clock, no network, and randomness only from a given seed.

pub mod swaps;
pub mod state;
pub mod tag;
pub mod admission;
pub mod forming;
pub mod detector;
pub mod clocks;
