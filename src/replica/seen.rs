//! How far every node has written, as this one's copies show: the highest dot of each minter in each database.
//!
//! Beside the ledger lies a list of the other clerks, with the highest number ever seen of each. It is brought up to date
//! when a copy is taken in, and asked for when everything up to now is to be struck out.
//!
//! # Invariants
//! - What [`Seen::note`] was told is covered from then on; nothing is ever lowered.
//! - A dot that was only heard of, and never lay in a copy here, is not covered: a flush must not strike out what nobody
//!   but its away writer has.

use crate::causality::{Hlc, NodeTag};
use crate::key::DATABASES;
use crate::object::Object;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many minters in a database at most; a cluster has at most a thousand members.
const MINTERS_MAX: usize = 4096;

type Minters = BTreeMap<NodeTag, Arc<AtomicU64>>;

/// The list of one node.
#[derive(Default)]
pub(super) struct Seen([ArcSwap<Minters>; DATABASES as usize]);

impl Seen {
    /// A copy with these siblings lies here. `own`: this node, whose clock says more than any copy.
    pub(super) fn note(&self, database: u8, object: &Object, own: NodeTag) {
        for sibling in object.siblings.iter().filter(|sibling| sibling.minter != own) {
            self.raise(database, sibling.minter, sibling.dot.hlc);
        }
    }

    /// A node has minted this in a database.
    pub(super) fn raise(&self, database: u8, minter: NodeTag, hlc: Hlc) {
        let Some(minters) = self.0.get(usize::from(database)) else { return };
        if let Some(highest) = minters.load().get(&minter) {
            highest.fetch_max(hlc.0, Ordering::Relaxed);
            return;
        }
        // A minter seen for the first time: rare, so the whole list is made anew. Numbers are shared by old and new lists.
        minters.rcu(|old| {
            let mut new = Minters::clone(old);
            if new.len() < MINTERS_MAX {
                new.entry(minter).or_default().fetch_max(hlc.0, Ordering::Relaxed);
            }
            new
        });
    }

    /// The list of the databases of a mask (bit 0 is database 0): database, minter, highest HLC.
    pub(super) fn list(&self, databases: u16) -> Vec<(u8, NodeTag, Hlc)> {
        let wanted = self.0.iter().enumerate().filter(|(database, _)| databases >> database & 1 == 1);
        let listed = |(database, minters): (usize, &ArcSwap<Minters>)| {
            let minters = minters.load_full();
            let entries: Vec<_> = minters
                .iter()
                .map(|(minter, highest)| (database as u8, *minter, Hlc(highest.load(Ordering::Relaxed))))
                .collect();
            entries
        };
        wanted.flat_map(listed).collect()
    }

    /// Forgets everything: the copies are counted anew.
    pub(super) fn clear(&self) {
        self.0.iter().for_each(|minters| minters.store(Arc::default()));
    }
}
