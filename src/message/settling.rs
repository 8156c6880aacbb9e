//! What members tell each other about their words ([`crate::settling`]).
//!
//! Sent as [`Control::Report`](super::control::Control::Report), which nobody answers. The question whether a member has
//! fsynced what it has taken in is [`Question::Durable`](super::data_plane::Question::Durable); it has no content, and its
//! answer is empty: it comes, or it does not.

use crate::causality::Hlc;
use serde::{Deserialize, Serialize};

/// How far a member is in the round that follows a change of members, lives or policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// Something of older lives may still be on its way there.
    Restless,
    /// Nothing of older lives is.
    Closed,
    /// It has compared with all homes, and all have fsynced.
    Compared,
}

/// A member's word and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which members, lives and policies the stage is about.
    pub tag: u64,
    /// How far it is.
    pub stage: Stage,
    /// Everything it coordinated up to here is on the disks of all homes.
    pub word: Hlc,
    /// The highest mark it has written down.
    pub floor: Hlc,
}
