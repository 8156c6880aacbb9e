//! Finding out where two copies differ without reading them to each other (§4.7).
//!
//! Two libraries want to know whether they hold the same books. They do not read out every title: each writes down one
//! number for the whole house, one for each room, one for each shelf, made by adding up a number for every book. Where the
//! numbers of the house agree they are done. Where not, they compare the rooms, then the shelves of that room, and only
//! the few shelves that differ are read out, title by title.
//!
//! # Contract
//! - [`tree::Tree`] adds up one database's copies on one node, by token: 2^18 leaves, whatever Q is. A node of it is a run
//!   of tokens that share their first bits ([`tree::Run`]), so a partition is one node and so is a slot.
//! - [`sum::Sum`] adds, it does not XOR: two equal hashes do not cancel, and a count goes along.
//! - [`exchange::Exchange`] is the conversation of two homes about one database: event in, effect out. What travels grows
//!   with the difference, not with the data, and every effect is bounded.
//! - Writes on their way look like differences. So a leaf is looked at twice before its keys are read out, and a key is
//!   looked at again when it is repaired.
//!
//! # What it refuses to do
//! It moves no object and decides between no two: merging does that, on each side.

pub mod exchange;
pub mod sum;
pub mod tree;

#[cfg(test)]
mod tests;
