//! Making copies whole again.
//!
//! When a cellar was flooded, the neighbours' ledgers are copied line by line before anyone is told from the new book.
//!
//! [`fill`] is that: a node whose store lost writes it had fsynced, or could not be opened at all, takes every object of
//! its partitions from the other homes, and answers no reads as a home until it has.
//!
//! [`handoff`] gives the copies this node took in for absent homes to those homes, and lets go of them.
//!
//! [`strays`] keeps the hints of such copies within bounds, and finds the copies again whose hint had to go.
//!
//! [`exchange`] is what goes on all the time besides: two homes find out where they differ, and make that equal.
//!
//! [`sweep`] frees what was flushed.
//!
//! [`settling`] finds out what every home has for good, and [`reap`] forgets what that covers.

pub mod settling;
pub mod exchange;
pub mod fill;
pub mod handoff;
pub mod strays;
pub mod sweep;
pub mod reap;
