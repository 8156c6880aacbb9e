//! The wire between nodes: who is there, what was asked, what was answered.
//!
//! Think of pneumatic tubes between houses. Each house owns one tube to every other house and only ever *asks* through
//! its own; the answer comes back through the tube the question went out by. Clerks drop slips into the basket at the
//! tube's mouth and walk on; whoever works the tube sends everything in the basket at once. When a tube tears, every
//! clerk with an open question learns so at that moment, not after a long wait.
//!
//! # Contract
//! - [`Link`](link::Link): one outgoing TCP connection per peer, kept up by itself. Many calls share it, matched by id.
//! - [`serve`](listener::serve): the incoming side; hands each call to a [`Service`](listener::Service).
//! - [`ask_address`](greet::ask_address), [`greet`](greet::greet): one question to an address whose node id is unknown.
//! - [`frame`] and [`handshake`] are pure: bytes in, values out.
//!
//! # Invariants
//! - A frame that fails its checksum is never acted on: the link closes and [`PeerStats`](settings::PeerStats) counts it.
//! - No byte of a call reaches a service before both ends have proved that they know the cluster's secret.
//! - Every call ends exactly once: an answer, `NotSent`, `Lost` or `Late`.
//! - Every buffer is bounded ([`Limits`](settings::Limits)); memory is reserved for bytes that came, not for bytes promised.
//!
//! # What it refuses to do
//! It does not know what a body means, never sends a call twice, and does not encrypt: the handshake proves who dialed,
//! the checksum catches accidents, and neither stops somebody who can rewrite packets on the way.

pub mod frame;
pub mod seats;
pub mod settings;
pub mod handshake;
pub mod outbox;
pub mod greet;
pub mod link;
pub mod listener;

#[cfg(test)]
mod tests;
