//! The black box tests: the real binary, several processes, real clients, and only sockets in between.
//!
//! One test program, so that it is linked once. `cargo test --test compat quorum::` runs the tests of one file.
//! `compat-tests/run` installs the clients these tests need and runs everything.

mod clients;
mod clocks;
mod cluster_view;
mod commands;
mod counters;
mod dev_cluster;
mod detection;
mod disk;
mod exchange;
mod expiry;
mod faults;
mod flush;
mod handoff;
mod harness;
mod moving;
mod overload;
mod paper;
mod protocol;
mod pubsub;
mod quorum;
mod retries;
mod scan;
mod settling;
mod siblings;
mod slow;
mod survival;
mod swapdb;
mod transactions;
