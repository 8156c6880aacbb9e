//! This node's copies: read, stamp, merge, store (§4.4, §4.5).
//!
//! The clerk of one house. Whatever is to be written passes this desk: the clerk takes the page out, compares, writes
//! the new line with a stamp no other line has, and puts it back, and nobody else touches that page meanwhile.
//!
//! # Contract
//! - A put or merge of one key is atomic on this node (the store's lock on the key), visible to readers at once, and
//!   acknowledged only when its batch has left the process.
//! - Every new dot is named by the key's actor in this node's record, or by a newly born one when there is no valid one:
//!   records written before an unclean stop, or before this store lost a batch, carry none.
//! - A damaged record is never read as absent: reading and writing that key fails until a peer's copy has replaced it.
//!
//! # What it refuses to do
//! It knows no other node, no quorum and no client.

pub mod cells;
pub mod clock;
pub mod count;
pub mod count_up;
mod filling;
pub mod flush;
pub mod hints;
pub mod keys;
pub mod page;
mod seen;
#[cfg(feature = "simulation")]
mod rehearsed;
pub mod serve;
mod shelves;
pub mod strays;
pub mod time;
pub mod tree;
pub mod turn;
pub mod underway;
pub mod past;
pub mod write;

#[cfg(test)]
mod hints_tests;
#[cfg(test)]
mod strays_tests;
#[cfg(test)]
mod tests;

use crate::background::Background;
use crate::causality::{Hlc, NodeTag};
use crate::codec::Damaged;
use crate::key::StorageKey;
use crate::merkle::tree::Run;
use crate::message::data::Refusal;
use crate::object::Object;
use crate::object::record::Record;
use crate::storage::batch::Batch;
use crate::storage::error::StorageError;
use crate::storage::store::{Done, Store};
use cells::Counts;
use clock::NodeClock;
use filling::Filling;
use flush::Flushes;
use hints::Hints;
use past::Past;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use tree::Trees;
use turn::Turn;
use underway::UnderWay;

/// What this node did with its copies since it started.
#[derive(Debug, Default)]
pub struct ReplicaStats {
    /// Records that failed their CRC.
    pub damaged: AtomicU64,
    /// Batches the store could not commit.
    pub commits_failed: AtomicU64,
    /// The most siblings ever stored in one object.
    pub siblings_max: AtomicU64,
    /// Copies taken in for another home.
    pub hints_taken: AtomicU64,
    /// Hints whose home has acknowledged the copy.
    pub hints_delivered: AtomicU64,
    /// Hints dropped, or not noted, because there were too many or they were too old. The copies stay.
    pub hints_dropped: AtomicU64,
    /// Bytes of objects sent to homes for hints.
    pub handoff_bytes: AtomicU64,
    /// Copies deleted here because their homes have them.
    pub copies_given_back: AtomicU64,
    /// Other homes compared with, from beginning to end.
    pub exchanges: AtomicU64,
    /// Keys that such a comparison found different, and made equal here or there.
    pub keys_repaired: AtomicU64,
    /// Bytes of questions and answers of the comparisons that this node began, repairs included.
    pub exchange_bytes: AtomicU64,
    /// Siblings of old copies that were not taken in, because every other home had forgotten them.
    pub resurrections_refused: AtomicU64,
    /// Keys whose values had expired, and were removed from the disk.
    pub expired: AtomicU64,
    /// Records deleted because all they held were settled tombstones and expired values.
    pub tombstones_reaped: AtomicU64,
}

/// This node's copies. Shared by all who read and write them.
pub struct Replica {
    store: Arc<Store>,
    tag: NodeTag,
    /// The node's clock.
    pub clock: Arc<NodeClock>,
    /// Actors born before this are void.
    births_valid_from: AtomicU64,
    /// The store's losses that this takes into account.
    losses_seen: AtomicU64,
    siblings_max: AtomicU32,
    filling: Filling,
    floor: AtomicU64,
    floor_max: AtomicU64,
    floors_unknown: AtomicBool,
    counts: Counts,
    hints: Hints,
    flushes: Flushes,
    /// What the copies add up to.
    pub trees: Trees,
    /// Who compares with this node now.
    pub turn: Turn,
    /// What work in the background draws from.
    pub background: Background,
    /// Requests and copies that are under way from here.
    pub under_way: UnderWay,
    /// Where something may be forgotten some day.
    pub past: Past,
    /// Counters for INFO.
    pub stats: ReplicaStats,
}

impl Replica {
    /// A replica over a store. Actors born before `births_valid_from` are void: pass the clock's start after an unclean
    /// stop, zero after a clean one.
    pub fn new(
        store: Arc<Store>,
        tag: NodeTag,
        clock: NodeClock,
        births_valid_from: Hlc,
        siblings_max: u32,
    ) -> Replica {
        Replica {
            store,
            tag,
            clock: Arc::new(clock),
            births_valid_from: AtomicU64::new(births_valid_from.0),
            losses_seen: AtomicU64::new(0),
            siblings_max: AtomicU32::new(siblings_max),
            filling: Filling::default(),
            floor: AtomicU64::new(0),
            floor_max: AtomicU64::new(0),
            floors_unknown: AtomicBool::new(false),
            counts: Counts::default(),
            hints: Hints::default(),
            flushes: Flushes::default(),
            trees: Trees::default(),
            turn: Turn::default(),
            background: Background::default(),
            under_way: UnderWay::default(),
            past: Past::default(),
            stats: ReplicaStats::default(),
        }
    }

    /// What this node holds of a key, without what was flushed; an empty object when it holds nothing.
    pub fn read(&self, key: &StorageKey) -> Result<Object, Refusal> {
        self.copy_of(key).map_err(|trouble| match trouble {
            Trouble::Store(error) => refusal("reading a record failed", &error),
            Trouble::Record(damage) => self.note_damage(key, &damage),
        })
    }

    /// As [`Replica::read`], but nobody is told what is wrong.
    fn copy_of(&self, key: &StorageKey) -> Result<Object, Trouble> {
        let Some(bytes) = self.store.get(key.as_bytes()).map_err(Trouble::Store)? else { return Ok(Object::default()) };
        let mut record = Record::decode(&bytes).map_err(Trouble::Record)?;
        self.flushes.bury(key.database(), &mut record.object);
        Ok(record.object)
    }

    /// The highest mark this node has written down: everything at or below it is on the disks of all homes
    /// ([`crate::settling`]).
    pub fn floor(&self) -> Hlc {
        Hlc(self.floor.load(Ordering::Acquire))
    }

    /// The floor that a copy read here now bears as this node's own, a home's: none while copies are missing here.
    pub fn floor_borne(&self) -> Hlc {
        if self.is_filling() { Hlc(0) } else { self.floor().max(Hlc(1)) }
    }

    /// A higher mark has been written down.
    pub fn raise_floor(&self, floor: Hlc) {
        self.floor.fetch_max(floor.0, Ordering::AcqRel);
    }

    /// No floor of any home was higher when a copy was read there that has come here by now.
    pub fn floor_max(&self) -> Hlc {
        Hlc(self.floor_max.load(Ordering::Acquire)).max(self.floor())
    }

    /// No floor of any home is higher ([`crate::settling::Settling::mark_max`]).
    pub fn raise_floor_max(&self, floor: Hlc) {
        self.floor_max.fetch_max(floor.0, Ordering::AcqRel);
    }

    /// Copies were lost, and with them perhaps what covered older ones: only copies of complete homes are taken in until
    /// [`Replica::floors_known`].
    pub fn floors_unknown(&self) {
        self.floors_unknown.store(true, Ordering::Release);
    }

    /// The greatest floor of all members has been taken over.
    pub fn floors_known(&self) {
        self.floors_unknown.store(false, Ordering::Release);
    }

    /// Whether this node's floor is no lower than any member's was when this life began.
    pub fn knows_floors(&self) -> bool {
        !self.floors_unknown.load(Ordering::Acquire)
    }

    /// Whether a copy that bears this floor can be judged here.
    fn can_judge(&self, floor: Hlc) -> bool {
        floor > Hlc(0) || self.knows_floors()
    }

    /// Hands a batch to the store. A batch that cannot be committed makes this node forget what it has said to others
    /// already, so all actors are void from then on.
    pub fn submit(self: &Arc<Self>, batch: Batch, sync: bool, done: Done) {
        let replica = self.clone();
        let told: Done = Box::new(move |result| {
            if let Err(error) = &result {
                replica.stats.commits_failed.fetch_add(1, Ordering::Relaxed);
                replica.trees.doubt_all();
                replica.births_valid_from.fetch_max(replica.clock.last().0 + 1, Ordering::AcqRel);
                tracing::error!(%error, "storing a batch failed; its writes were not acknowledged by this node");
            }
            done(result);
        });
        self.store.submit(batch, sync, told);
    }

    /// Actors born before this are void. Ask after reading the record and before stamping: a batch that was lost may be
    /// found here before its writers are told.
    fn births_valid_from(&self) -> Hlc {
        let losses = self.store.losses();
        if self.losses_seen.load(Ordering::Acquire) != losses {
            self.births_valid_from.fetch_max(self.clock.last().0 + 1, Ordering::AcqRel);
            self.losses_seen.fetch_max(losses, Ordering::AcqRel);
        }
        Hlc(self.births_valid_from.load(Ordering::Acquire))
    }

    /// Whether this node's store takes writes: its disk has room and works.
    pub fn is_writable(&self) -> bool {
        self.store.is_writable()
    }

    /// Back-pressure: waits while the store is behind.
    pub async fn writable(&self) {
        self.store.flushed().await;
    }

    /// The store itself, for INFO and for stopping.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Sets `max-siblings`.
    pub fn set_siblings_max(&self, limit: u32) {
        self.siblings_max.store(limit, Ordering::Relaxed);
    }

    fn note_damage(&self, key: &StorageKey, damage: &Damaged) -> Refusal {
        self.stats.damaged.fetch_add(1, Ordering::Relaxed);
        // When it was added up it may have been sound.
        self.trees.doubt(key.database(), Run::leaf_of(key.token()));
        tracing::error!(key = %key.user_key().escape_ascii(), %damage, "a record is damaged");
        Refusal::Damaged
    }
}

/// Why a copy cannot be read.
enum Trouble {
    Store(StorageError),
    Record(Damaged),
}

/// What to answer when the store failed. What it says of every key as long as it lasts is not logged for each.
fn refusal(what: &str, error: &StorageError) -> Refusal {
    if !matches!(error, StorageError::DiskFull { .. } | StorageError::Poisoned | StorageError::Closed) {
        tracing::error!(%error, "{what}");
    }
    if error.is_in_doubt() { Refusal::Storage } else { Refusal::Unwritable }
}
