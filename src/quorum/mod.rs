//! Quorums: when has a request been answered by enough replicas? (§4.5, §4.6)
//!
//! A messenger is sent to a few houses and comes back when enough doors have opened. Somebody who counts the doors
//! needs no legs: these machines only count. They are told who answered, who refused and who is late; they say whom to
//! ask next, and whether the matter is still open, won or lost. It is lost the moment it can no longer be won.
//!
//! # Contract
//! - [`put::Put`] and [`get::Get`] are plain structs: event in, effects out. Each node's answer counts once, however often it
//!   comes. After a verdict later answers change nothing but what repair needs.
//! - Candidates come in preference order, each marked home or fallback, reachable or not. Sloppy: the first N *healthy*
//!   nodes count. Strict: only homes count.
//!
//! # What it refuses to do
//! It sends nothing, waits for nothing, and knows no clock: a deadline is an event like any other.

pub mod get;
pub mod latency;
pub mod put;

use smallvec::SmallVec;

/// A node's place in a list of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node, as an index into the coordinator's view.
    pub node: u16,
    /// Whether it is one of the key's N homes; else a fallback.
    pub home: bool,
    /// Whether it seems to answer.
    pub reachable: bool,
}

/// Candidates in preference order.
pub type Candidates = SmallVec<[Candidate; 4]>;

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not enough answers yet, but there may be.
    Pending,
    /// Enough.
    Won,
    /// There can never be enough.
    Lost,
}

/// Too few candidates can be reached for the request to be won. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFew {
    /// How many could count.
    pub reachable: u8,
    /// How many are needed.
    pub needed: u8,
}

/// How many of the candidates could count towards a quorum now.
fn countable(candidates: &[Candidate], n: u8, sloppy: bool) -> u8 {
    let able = candidates.iter().filter(|candidate| candidate.reachable && (sloppy || candidate.home)).count();
    u8::try_from(able).unwrap_or(u8::MAX).min(n)
}

/// Candidates for tests, one letter each: H a home, F a fallback; lower case: unreachable.
#[cfg(test)]
fn candidates(spec: &str) -> Candidates {
    let read = |(node, letter): (usize, char)| Candidate {
        node: node as u16,
        home: letter.eq_ignore_ascii_case(&'h'),
        reachable: letter.is_ascii_uppercase(),
    };
    spec.chars().enumerate().map(read).collect()
}
