//! Dynamis: Amazon's Dynamo (SOSP 2007) that speaks the Redis protocol.
//!
//! Picture a town with one ledger kept in several houses. You may walk into any house, say what you want written
//! down, and the clerk there sees to it that enough other houses write it down too before telling you "OK". No house
//! is the town hall; when one burns, the others go on. When two people change one line at the same time in different
//! houses, both versions are kept side by side until somebody who has read both settles it.
//!
//! # The map
//!
//! Modules are listed bottom-up. **A module names only modules listed above it**; `compat-tests/layers.rs` holds that.
//!
//! ```text
//! roof      node                                        assemble, start, stop
//! door      resp → session → command → door             bytes ⇄ request; command table; request → Reply
//! drivers   background → replica → membership → repair  async loops: run a machine with hands
//!           → coordinator
//! hands     world → storage (fjall) → peer (tokio)      clock, chance, disk and wire; decide nothing
//! ───────── below this line: no tokio, no files, no clock, no printing ─────────
//! machines  merkle, message, gossip, quorum, walk,      event + now → effects
//!           handoff, budget, settling, listing
//! words     key, causality, policy, object, ring        values and their laws
//! ground    codec, glob, config                         no Dynamo idea in here
//! ```
//!
//! A write's way through the house: `door` reads bytes, `resp` cuts them into requests, `command` turns each into
//! operations, `coordinator` runs a `quorum` machine for each operation, `replica` stamps and stores the local copy
//! through `storage`, `peer` carries the object to the other homes, and the reply goes back up.

pub mod codec;
pub mod glob;
pub mod config;

pub mod key;
pub mod causality;
pub mod policy;
pub mod object;
pub mod ring;

pub mod merkle;
pub mod message;
pub mod gossip;
pub mod quorum;
pub mod walk;
pub mod handoff;
pub mod budget;
pub mod settling;
pub mod listing;

pub mod world;
pub mod storage;
pub mod peer;

pub mod background;
pub mod replica;
pub mod membership;
pub mod repair;
pub mod coordinator;

pub mod resp;
pub mod session;
pub mod command;
pub mod door;

pub mod node;
