//! The Redis protocol: bytes become requests, replies become bytes.
//!
//! Picture the house's counter window. Letters come in through a slot, cut up by the post in any way it likes; the
//! clerk behind it ([`gate`]) waits until one whole letter lies there, checks that it is a letter at all and not a
//! brick, and passes its words inward. What the house answers is written out ([`encode`]) in the tongue the visitor
//! asked for, RESP2 or RESP3.
//!
//! Contract: [`gate::Gate`] yields whole [`request::Request`]s in the order they arrived, whatever the packets' borders
//! were; [`reply::Reply::encode`] writes one whole reply, which redis-protocol's decoder reads back.
//!
//! Invariants: work is linear in the bytes received; memory grows with bytes received, never with bytes announced;
//! a request is an array of bulk strings or one inline line, so nothing a client sends is ever nested.
//!
//! It refuses to do I/O, to know any command, and to decide what happens to a connection that broke the protocol.

pub mod reply;
pub mod request;
pub mod encode;
pub mod inline;
pub mod gate;
