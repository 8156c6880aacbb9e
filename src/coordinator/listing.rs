//! All keys, or any one: walks that are gone to their end.

use super::Coordinator;
use super::walk::Walk;
use crate::key::{StorageKey, Token};
use crate::message::operation::Failure;
use crate::walk::cover::Cover;
use crate::world::random_u64;
use bytes::Bytes;
use std::sync::Arc;
use tokio::task::JoinSet;

/// How many walks answer one KEYS side by side.
const WALKERS: usize = 4;

/// How often a walk tries a step that nodes do not answer in time, all its steps together.
const STEP_TRIES: u32 = 6;

/// How many keys such a walk asks for at a time from then on.
const KEYS_WHEN_SLOW: usize = 256;

/// How much a walk asks for at a time, and how often it tries again.
#[derive(Debug, Default)]
struct Patience {
    failed: u32,
}

impl Patience {
    fn keys_max(&self) -> usize {
        if self.failed == 0 { usize::MAX } else { KEYS_WHEN_SLOW }
    }

    /// A step failed; whether to try again. Whoever is slow may be quick enough with less.
    fn allows_another(&mut self, failure: &Failure) -> bool {
        self.failed += 1;
        matches!(failure, Failure::ReadShort { .. }) && self.failed < STEP_TRIES
    }
}

/// Says of a key whether it is wanted.
pub type Wanted = dyn Fn(&[u8]) -> bool + Send + Sync;

impl Coordinator {
    /// The keys of a database that `keep` says are wanted, in no particular order, several walks going side by side. All of
    /// them are held in memory at once.
    pub async fn keys(
        self: &Arc<Self>,
        database: u8,
        r: Option<u8>,
        cover: &Cover,
        keep: Arc<Wanted>,
    ) -> Result<Vec<Bytes>, Failure> {
        let wide = self.view().ring.partitions().count() as usize / (WALKERS * WALKERS);
        let mut walkers = JoinSet::new();
        for part in cover.split(WALKERS as u32) {
            let mut walk = Walk::new(self, database, r, part, 0).wide(wide);
            let keep = keep.clone();
            walkers.spawn(async move {
                let mut kept = Vec::new();
                let mut patience = Patience::default();
                while !walk.is_over() {
                    let told = match walk.step(patience.keys_max()).await {
                        Ok(told) => told,
                        Err(failure) => match patience.allows_another(&failure) {
                            true => continue,
                            false => return Err(failure),
                        },
                    };
                    let wanted = told.keys.iter().map(StorageKey::user_key).filter(|key| keep(key));
                    // Copied: a slice would hold on to all of its page.
                    kept.extend(wanted.map(Bytes::copy_from_slice));
                }
                Ok(kept)
            });
        }
        let mut keys = Vec::new();
        while let Some(walked) = walkers.join_next().await {
            keys.append(&mut walked.map_err(|_| Failure::ReadShort { answered: 0, needed: 1 })??);
        }
        Ok(keys)
    }

    /// Any live key of a database in the slots of `cover`; none: there is none. Every key may be the one. Keys of slots that
    /// this node keeps are about equally likely; of others those with a long way behind them are likelier.
    pub async fn random_key(
        self: &Arc<Self>,
        database: u8,
        r: Option<u8>,
        cover: &Cover,
    ) -> Result<Option<Bytes>, Failure> {
        let [kind, place, token, which] = [random_u64(), random_u64(), random_u64(), random_u64()];
        let (view, n) = (self.view(), u64::from(self.view().policies[usize::from(database)].n));
        let is_kept_here = kind % 8 > 0 && kind / 8 % (view.nodes.len() as u64) < n;
        let weighed = || self.replica.slot_of_key(database, cover, place);
        let slot = if is_kept_here { weighed() } else { None };
        let slot = slot.or_else(|| cover.nth((place % u64::from(cover.count().max(1))) as u32));
        let Some(slot) = slot else { return Ok(None) };
        let from = Token::first_of(slot).0 | (token >> (64 - Token::SLOT_SHIFT));
        for from in [from, 0] {
            let mut walk = Walk::new(self, database, r, cover.clone(), from);
            while !walk.is_over() {
                let keys = walk.step(1).await?.keys;
                // Any of those that come next, not just the first: names lie unevenly.
                if let Some(at) = which.checked_rem(keys.len() as u64) {
                    return Ok(Some(Bytes::copy_from_slice(keys[at as usize].user_key())));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_that_is_not_answered_in_time_asks_for_less_a_few_times() {
        let (mut patience, slow) = (Patience::default(), Failure::ReadShort { answered: 1, needed: 2 });
        assert_eq!(patience.keys_max(), usize::MAX);
        for _ in 1..STEP_TRIES {
            assert!(patience.allows_another(&slow));
            assert_eq!(patience.keys_max(), KEYS_WHEN_SLOW);
        }
        assert!(!patience.allows_another(&slow));
        let gone = Failure::NoReplicas { reachable: 0, needed: 2 };
        assert!(!Patience::default().allows_another(&gone), "that is known at once, and will be again");
    }
}
