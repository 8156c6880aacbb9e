//! Laying the pages of several nodes side by side.
//!
//! # Contract
//! - Only what lies before the end of *every* page counts.
//! - Copies of a key on which all agree need not be read: equal digests are equal siblings, and merging them changes
//!   nothing. A node that does not list a key says nothing about it: absence covers nothing.
//! - Where all copies are dead (deleted or expired), so is their merge. In every other case of doubt the key is to be read: the
//!   copies differ, a record is damaged, or the only copies are a fallback's or come from a node that goes by another
//!   flush line.

use super::Position;
use crate::key::StorageKey;
use crate::message::keys::{KeysPage, Listed, State};

/// A page, and who gave it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The page.
    pub page: KeysPage,
    /// Whether it comes from a fallback: its copies may be older than something all homes have forgotten.
    pub lent: bool,
}

/// What a key turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It shows a value.
    Live,
    /// That is to be found out by reading it.
    Unsure,
}

/// What several pages say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// How far; none: to the end of what was asked.
    pub until: Option<Position>,
    /// The keys that are or may be live, in order, each once.
    pub keys: Vec<(StorageKey, Found)>,
    /// How many keys were looked at, dead ones included.
    pub looked: usize,
}

/// A copy of a key in one of the pages.
struct Copy {
    listed: Listed,
    /// Whether it counts by itself.
    sure: bool,
}

/// Merges pages that were asked for the same places, each place at R nodes. `flush_line`: the digest of the line that holds
/// here.
pub fn merge(pages: Vec<Given>, flush_line: u64, now_ms: u64) -> Merged {
    let until = pages.iter().filter_map(|given| given.page.until.clone()).min();
    let mut copies = Vec::with_capacity(pages.iter().map(|given| given.page.keys.len()).sum());
    for Given { page, lent } in pages {
        let sure = !lent && page.flush_line == flush_line;
        let ends_before = |listed: &Listed| until.as_ref().is_none_or(|until| listed.key.as_bytes() < &until[..]);
        copies.extend(page.keys.into_iter().take_while(ends_before).map(|listed| Copy { listed, sure }));
    }
    // Stable: it finds the pages, which are in order, and merges them.
    copies.sort_by(|a, b| a.listed.key.cmp(&b.listed.key));
    let (mut keys, mut looked) = (Vec::with_capacity(copies.len()), 0);
    for copies in copies.chunk_by(|a, b| a.listed.key == b.listed.key) {
        looked += 1;
        keys.extend(judge(copies, now_ms).map(|found| (copies[0].listed.key.clone(), found)));
    }
    Merged { until: until.map(Position::before), keys, looked }
}

/// What the copies of one key say; none: it is dead.
fn judge(copies: &[Copy], now_ms: u64) -> Option<Found> {
    let Some(states) = copies.iter().map(|copy| copy.listed.state).collect::<Option<Vec<State>>>() else {
        return Some(Found::Unsure);
    };
    if states.iter().all(|state| !state.is_live(now_ms)) {
        return None;
    }
    let agree = states.iter().all(|state| state.digest == states[0].digest);
    let found = if agree && copies.iter().any(|copy| copy.sure) { Found::Live } else { Found::Unsure };
    Some(found)
}
