//! How a database wants its copies kept (§2.3, §6: each Dynamo service configured its own instance).
//!
//! A shop tells its warehouse: keep three of everything, let me have it when two shelves agree. That is a [`Policy`]:
//! N, R, W, DW, sloppy or strict, and what to do with concurrent writes. It is cluster state: two nodes that merge by
//! different rules never converge, so every node must hold the same.

use serde::{Deserialize, Serialize};

/// What merging does with siblings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conflict {
    /// Keep them all until a write that has seen them (§4.4).
    Siblings,
    /// Keep the one with the greatest (HLC, actor): §6's timestamp reconciliation.
    Newest,
}

/// One database's policy. Invariants, held by [`Policy::check`]: 1 ≤ r ≤ n, 1 ≤ w ≤ n, dw ≤ w, n ≤ [`COPIES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// N: copies kept of each key.
    pub n: u8,
    /// R: replicas whose answer a read waits for.
    pub r: u8,
    /// W: replicas whose acknowledgement a write waits for.
    pub w: u8,
    /// DW: how many of those W must come from replicas that have fsynced (§6.1).
    pub dw: u8,
    /// Whether fallbacks count towards R and W when homes are away (§4.6).
    pub sloppy: bool,
    /// What merging does with siblings.
    pub conflict: Conflict,
}

/// The most copies a policy may ask for.
pub const COPIES_MAX: u8 = 16;

impl Default for Policy {
    fn default() -> Policy {
        Policy { n: 3, r: 2, w: 2, dw: 0, sloppy: true, conflict: Conflict::Siblings }
    }
}

/// Settings of one policy that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// N is zero or too large.
    #[error("n must be between 1 and {COPIES_MAX}, not {0}")]
    Copies(u8),
    /// A quorum is zero.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A quorum asks for more than there is.
    #[error("{small} ({small_value}) must not exceed {large} ({large_value})")]
    Exceeds {
        /// The setting that is too large.
        small: &'static str,
        /// Its value.
        small_value: u8,
        /// The setting that bounds it.
        large: &'static str,
        /// Its value.
        large_value: u8,
    },
}

impl Policy {
    /// Checks the invariants.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.n == 0 || self.n > COPIES_MAX {
            return Err(PolicyError::Copies(self.n));
        }
        for (name, value) in [("r", self.r), ("w", self.w)] {
            if value == 0 {
                return Err(PolicyError::Zero(name));
            }
        }
        for (small, small_value, large, large_value) in
            [("r", self.r, "n", self.n), ("w", self.w, "n", self.n), ("dw", self.dw, "w", self.w)]
        {
            if small_value > large_value {
                return Err(PolicyError::Exceeds { small, small_value, large, large_value });
            }
        }
        Ok(())
    }

    /// The policy in a cluster of `members`: N, R, W and DW are capped by the number of members (not of those that are
    /// up), so that one fresh node serves N=1, and a three-node cluster with two down refuses W=2 when strict.
    pub fn capped(&self, members: usize) -> Policy {
        let cap = u8::try_from(members.max(1)).unwrap_or(u8::MAX);
        Policy { n: self.n.min(cap), r: self.r.min(cap), w: self.w.min(cap), dw: self.dw.min(cap), ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        let policy = Policy { r: 4, ..Policy::default() };
        assert_eq!(policy.check().unwrap_err().to_string(), "r (4) must not exceed n (3)");
        let policy = Policy { w: 0, ..Policy::default() };
        assert_eq!(policy.check().unwrap_err().to_string(), "w must be at least 1");
        let policy = Policy { dw: 3, ..Policy::default() };
        assert_eq!(policy.check().unwrap_err().to_string(), "dw (3) must not exceed w (2)");
        assert_eq!(Policy::default().check(), Ok(()));
    }

    #[test]
    fn one_node_serves_one_copy() {
        let capped = Policy::default().capped(1);
        assert_eq!((capped.n, capped.r, capped.w, capped.dw), (1, 1, 1, 0));
        assert_eq!(Policy::default().capped(5), Policy::default());
    }
}
