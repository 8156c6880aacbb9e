//! This node's copies added up, so that two homes find out where they differ without reading them to each other (§4.7).
//!
//! One tree for each database that has ever held anything here. It changes in the same step as the record, under the key's
//! lock. Damaged records count as absent: whoever compares finds them missing, and a peer's copy replaces them.
//!
//! A tree may still become wrong about its leaves: a record that was sound when it was added up is found damaged
//! ([`Trees::doubt`]), or a batch could not be committed and its writes are gone ([`Trees::doubt_all`]). Such leaves are
//! counted anew once nobody writes there.

use super::Replica;
use crate::codec::{Damaged, Reader, put_u8, put_u64};
use crate::key::{DATABASES, StorageKey};
use crate::merkle::exchange::{Entry, LISTED_KEYS_MAX, Listing};
use crate::merkle::sum::Sum;
use crate::merkle::tree::{Run, Tree};
use crate::object::Object;
use crate::object::digest::Digest;
use crate::object::record::Record;
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of keys after which a listing ends.
const LISTING_BYTES: usize = 256 << 10;

/// So many single leaves wait at most to be counted anew; where there are more, all are.
const DOUBTED_MAX: usize = 4096;

const VERSION: u8 = 1;

/// One tree for each database that has held anything.
#[derive(Default)]
pub struct Trees {
    databases: [OnceLock<Tree>; DATABASES as usize],
    doubted: Mutex<BTreeSet<(u8, u32)>>,
    all_doubted: AtomicBool,
}

/// A leaf that is to be counted anew: database, leaf, and how often its neighbourhood had changed when that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    database: u8,
    leaf: u32,
    changes: u32,
}

impl Trees {
    /// A key's object changes. Call it under the key's lock.
    pub(super) fn change(&self, key: &StorageKey, before: &Object, after: &Object) {
        let (before, after) = (before.digest(key), after.digest(key));
        if before != after {
            self.tree(key.database()).change(key.token(), before, after);
        }
    }

    /// A leaf may be wrong about its keys.
    pub fn doubt(&self, database: u8, leaf: u32) {
        let mut doubted = self.doubted.lock();
        if doubted.len() < DOUBTED_MAX {
            doubted.insert((database, leaf));
        } else {
            self.doubt_all();
        }
    }

    /// Any leaf may be wrong about its keys.
    pub fn doubt_all(&self) {
        self.all_doubted.store(true, Ordering::Release);
    }

    /// The leaves in doubt, which are from now on none. Let writes that are on their way arrive, then
    /// [`Replica::recount`] them.
    pub fn take_doubts(&self) -> Vec<Doubt> {
        let mut doubted = std::mem::take(&mut *self.doubted.lock());
        if self.all_doubted.swap(false, Ordering::AcqRel) {
            doubted.extend(self.leaves_held());
        }
        let doubt = |(database, leaf)| Doubt { database, leaf, changes: self.tree(database).changes(leaf) };
        doubted.into_iter().map(doubt).collect()
    }

    /// The sums of runs, in their order.
    pub fn sums(&self, database: u8, runs: &[Run]) -> Vec<Sum> {
        let tree = self.databases.get(usize::from(database)).and_then(OnceLock::get);
        runs.iter().map(|run| tree.map_or(Sum::default(), |tree| tree.sum(*run))).collect()
    }

    /// The databases that have held anything: bit 0 is database 0.
    pub fn held(&self) -> u16 {
        let held = self.databases.iter().enumerate().filter(|(_, tree)| tree.get().is_some());
        held.fold(0, |held, (database, _)| held | 1 << database)
    }

    /// The leaves that hold something, with their databases.
    pub(super) fn leaves_held(&self) -> Vec<(u8, u32)> {
        let trees = self.databases.iter().enumerate().filter_map(|(database, tree)| Some((database, tree.get()?)));
        let leaves =
            |(database, tree): (usize, &Tree)| tree.leaves_held().into_iter().map(move |leaf| (database as u8, leaf));
        trees.flat_map(leaves).collect()
    }

    pub(super) fn clear(&self) {
        self.databases.iter().filter_map(OnceLock::get).for_each(Tree::clear);
    }

    fn tree(&self, database: u8) -> &Tree {
        self.databases[usize::from(database)].get_or_init(Tree::default)
    }
}

impl Replica {
    /// The trees as bytes, for a file written at a clean stop of life `life`: version, life u64, then for each database
    /// its number and its tree, until the end.
    pub fn trees_saved(&self, life: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_u8(&mut out, VERSION);
        put_u64(&mut out, life);
        for (database, tree) in self.trees.databases.iter().enumerate() {
            if let Some(tree) = tree.get() {
                put_u8(&mut out, database as u8);
                tree.encode(&mut out);
            }
        }
        out
    }

    /// Takes the trees of the clean stop that ended life `life`. On an error nothing was taken: count instead.
    pub fn trees_restored(&self, saved: &[u8], life: u64) -> Result<(), Damaged> {
        let mut reader = Reader::new(saved);
        if reader.u8()? != VERSION || reader.u64()? != life {
            return Err(Damaged::Malformed("life that the trees were saved in"));
        }
        let mut trees = Vec::new();
        while reader.remaining() > 0 {
            let place = self.trees.databases.get(usize::from(reader.u8()?)).ok_or(Damaged::Malformed("database"))?;
            trees.push((place, Tree::read(&mut reader)?));
        }
        // A place that is taken already holds what was written since: that cannot be, at start.
        let all_new = trees.into_iter().all(|(place, tree)| place.set(tree).is_ok());
        if all_new { Ok(()) } else { Err(Damaged::Malformed("database named twice")) }
    }

    /// Counts leaves anew and corrects the trees, except where somebody has written since the doubts were taken: those
    /// stay, and on an error all do. Reads the disk.
    pub fn recount(&self, doubts: Vec<Doubt>) -> Result<(), StorageError> {
        let recounted =
            self.store.settle().and_then(|()| doubts.into_iter().try_for_each(|doubt| self.count_leaf(doubt)));
        if recounted.is_err() {
            self.trees.doubt_all();
        }
        recounted
    }

    fn count_leaf(&self, doubt: Doubt) -> Result<(), StorageError> {
        let mut sum = Sum::default();
        self.visit(doubt.database, &[doubt.leaf], None, &mut |_, digest, _| {
            sum.add(Sum::of(digest));
            ControlFlow::Continue(())
        })?;
        if !self.trees.tree(doubt.database).correct(doubt.leaf, doubt.changes, sum) {
            self.trees.doubt(doubt.database, doubt.leaf);
        }
        Ok(())
    }

    /// The sound keys of some leaves (ascending) after one key, until the listing is full. Reads the disk.
    pub fn list(&self, database: u8, leaves: &[u32], after: Option<&StorageKey>) -> Result<Listing, StorageError> {
        self.store.settle()?;
        let (mut listing, mut bytes) = (Listing::default(), 0);
        #[cfg(feature = "simulation")]
        let leaves = &super::rehearsed::leaves(leaves)[..];
        self.visit(database, leaves, after, &mut |key, digest, length| {
            if listing.entries.len() >= LISTED_KEYS_MAX || bytes >= LISTING_BYTES {
                listing.more = true;
                return ControlFlow::Break(());
            }
            bytes += key.as_bytes().len();
            listing.entries.push(Entry { key, digest, bytes: u32::try_from(length).unwrap_or(u32::MAX) });
            ControlFlow::Continue(())
        })?;
        Ok(listing)
    }

    /// Shows the committed, sound keys of some leaves (ascending) in order: key, digest, length of the record.
    fn visit(
        &self,
        database: u8,
        leaves: &[u32],
        after: Option<&StorageKey>,
        see: &mut dyn FnMut(StorageKey, Digest, usize) -> ControlFlow<()>,
    ) -> Result<(), StorageError> {
        for neighbours in leaves.chunk_by(|a, b| *b == a + 1) {
            let (from, to) = Run::range_of_leaves(neighbours[0], neighbours.len() as u32);
            // The first key after it: the same bytes and a zero.
            let next = after.map(|key| [key.as_bytes(), &[0]].concat());
            let from = next.filter(|next| next[..] > from[..]).map_or(Bytes::copy_from_slice(&from), Bytes::from);
            if to.is_some_and(|to| from >= to[..]) {
                continue;
            }
            let mut broken_off = false;
            self.store.scan(Space::Objects, &from, to.as_ref().map(|to| to.as_slice()), &mut |key, value| {
                let key = StorageKey::from_bytes(Bytes::copy_from_slice(key));
                let Some(key) = key.filter(|key| key.database() == database) else { return ControlFlow::Continue(()) };
                let Ok(record) = Record::decode(&Bytes::copy_from_slice(value)) else {
                    return ControlFlow::Continue(());
                };
                match record.object.digest(&key) {
                    Digest(0) => ControlFlow::Continue(()),
                    digest => {
                        let flow = see(key, digest, value.len());
                        broken_off = flow.is_break();
                        flow
                    }
                }
            })?;
            if broken_off {
                break;
            }
        }
        Ok(())
    }
}
