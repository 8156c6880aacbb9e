//! What nodes say to each other.
//!
//! Two counters in a post office: at one, parcels are handed over by weight and number, all day long; at the other,
//! people talk about addresses and opening hours. The first is the *data plane* ([`data`], laid out by hand, a batch at
//! a time), the second the *control plane* ([`control`], postcard). The first byte of a body says which.
//!
//! # Contract
//! Decoding never panics and refuses what is left over; encoding then decoding gives the same value. A frame's integrity
//! is the link's business.

pub mod control;
pub mod data;
pub mod data_plane;
pub mod exchange;
pub mod fill;
pub mod forward;
pub mod keys;
pub mod operation;
pub mod publish;
pub mod settling;
