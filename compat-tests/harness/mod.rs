//! What the tests stand on: real processes, real sockets, real cuts.
//!
//! A film crew's stage hands: they build a street of houses (nodes), turn off the power in one of them without warning,
//! block the road between two, and have everything cleared away before the next scene, also when the scene went wrong.
//!
//! # Contract
//! - [`cluster::Cluster`] starts the built `dynamis-server` as processes of their own, each with a directory of its own, and
//!   ends them when dropped, also by a panic. A node whose test process dies is killed by the kernel.
//! - [`network::Network`] gives every node a network namespace, so that the road between any two can be blocked without a
//!   word to either ([`network::Network::cut`]) while the test still reaches both.
//! - [`faketime`] gives a node a clock that is wrong, and can be set while the node runs.
//! - [`relay::Relay`] makes the road to a node slow.
//! - [`resp`] is a client written for these tests, so that no client library's leniency hides an error.
//! - Nothing sleeps for a guessed time: [`wait::until`] looks again and again until a deadline.

pub mod clients;
pub mod cluster;
pub mod disk;
pub mod faketime;
pub mod info;
pub mod network;
pub mod node;
pub mod permits;
pub mod random;
pub mod relay;
pub mod resp;
pub mod table;
pub mod wait;
