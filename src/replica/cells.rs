//! The counters behind DBSIZE: one cell for each slot and database.
//!
//! A lodging house keeps a board by the stairs: how many live on each floor, how many of them only until some day, and
//! the first such day. As long as that day has not come the board is right as it stands. When it has, somebody goes
//! up, counts who is still there, and writes beside the number how many have left without telling, and the next such day.
//!
//! # Contract
//! - [`Cell::change`] costs nothing for a key that stays and never expires, and no lock for any.
//! - [`Cell::live`] is right for a moment before the *soonest* expiry, once those that lapsed before are known; it never
//!   guesses: when it cannot tell, it says so, and somebody looks ([`Cell::begin`], [`Cell::looked`]).
//! - What a look found is written down only if nothing that expires came, went or changed there meanwhile.
//!
//! A database's cells are made when it is first written: 512 KiB for each.

use crate::key::{DATABASES, SLOTS, StorageKey};
use crate::message::keys::State;
use crate::object::Object;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// What an object adds to its cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Whether it has a value, expired or not.
    key: bool,
    /// Whether any of its values expires.
    expires: bool,
    /// Until when it shows a value, in Unix milliseconds; 0: it has none; `u64::MAX`: for ever.
    until_ms: u64,
}

impl Weight {
    /// That of an object.
    pub fn of(object: &Object) -> Weight {
        Weight { key: object.has_value(), expires: object.has_expiry(), until_ms: State::until_ms_of(object) }
    }

    /// Whether it will lapse, or has.
    fn lapses(&self) -> bool {
        self.key && self.until_ms != u64::MAX
    }
}

/// Keys of one slot in one database.
#[derive(Debug)]
pub(super) struct Cell {
    keys: AtomicI32,
    expires: AtomicI32,
    /// No key lapses before this that had not lapsed when somebody looked; Unix milliseconds.
    soonest_ms: AtomicU64,
    /// Counts every change of a key that lapses.
    changes: AtomicU32,
    /// How many keys had lapsed when somebody looked, and [`Cell::changes`] then.
    lapsed: AtomicU32,
    lapsed_at: AtomicU32,
}

impl Default for Cell {
    fn default() -> Cell {
        Cell {
            keys: AtomicI32::new(0),
            expires: AtomicI32::new(0),
            soonest_ms: AtomicU64::new(u64::MAX),
            changes: AtomicU32::new(0),
            lapsed: AtomicU32::new(0),
            lapsed_at: AtomicU32::new(0),
        }
    }
}

/// The cell as it was when a look began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    changes: u32,
    soonest_ms: u64,
}

/// What a look found in one cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Keys that show a value.
    pub live: u64,
    /// Keys whose values have expired.
    pub lapsed: u32,
    /// When the next one does; `u64::MAX`: never.
    pub soonest_ms: u64,
}

impl Default for Found {
    fn default() -> Found {
        Found { live: 0, lapsed: 0, soonest_ms: u64::MAX }
    }
}

impl Found {
    /// Adds a record that was looked at.
    pub fn add(&mut self, object: &Object, now_ms: u64) {
        match State::until_ms_of(object) {
            0 => {}
            until_ms if until_ms <= now_ms => self.lapsed += 1,
            until_ms => {
                self.live += 1;
                self.soonest_ms = self.soonest_ms.min(until_ms);
            }
        }
    }
}

impl Cell {
    /// A record changes.
    fn change(&self, before: Weight, after: Weight) {
        if (before.key, before.expires) != (after.key, after.expires) {
            self.keys.fetch_add(i32::from(after.key) - i32::from(before.key), Ordering::Relaxed);
            self.expires.fetch_add(i32::from(after.expires) - i32::from(before.expires), Ordering::Relaxed);
        }
        if before.lapses() || after.lapses() {
            // In this order: a look that misses the first finds its own mark lowered by the second.
            self.changes.fetch_add(1, Ordering::AcqRel);
            if after.lapses() {
                self.soonest_ms.fetch_min(after.until_ms, Ordering::AcqRel);
            }
        }
    }

    /// How many keys there are, lapsed ones included.
    pub fn keys(&self) -> u64 {
        self.keys.load(Ordering::Relaxed).max(0) as u64
    }

    /// How many keys have a value that expires or has expired.
    pub fn expires(&self) -> u64 {
        self.expires.load(Ordering::Relaxed).max(0) as u64
    }

    /// How many keys are live; none: somebody must look.
    pub fn live(&self, now_ms: u64) -> Option<u64> {
        // In this order, the reverse of a look's.
        let is_unchanged = self.lapsed_at.load(Ordering::Acquire) == self.changes.load(Ordering::Acquire);
        let lapsed = self.lapsed.load(Ordering::Acquire);
        let is_known = lapsed == 0 || is_unchanged;
        let none_since = now_ms < self.soonest_ms.load(Ordering::Acquire);
        (is_known && none_since).then(|| self.keys().saturating_sub(lapsed.into()))
    }

    /// Somebody begins to look at every record of the cell.
    pub fn begin(&self) -> Begun {
        Begun { changes: self.changes.load(Ordering::Acquire), soonest_ms: self.soonest_ms.load(Ordering::Acquire) }
    }

    /// What they found; it must have been all there was when they began.
    pub fn looked(&self, begun: Begun, found: Found) {
        if self.changes.load(Ordering::Acquire) != begun.changes {
            return;
        }
        self.lapsed.store(found.lapsed, Ordering::Release);
        self.lapsed_at.store(begun.changes, Ordering::Release);
        let sooner =
            self.soonest_ms.compare_exchange(begun.soonest_ms, found.soonest_ms, Ordering::AcqRel, Ordering::Acquire);
        if sooner.is_ok() && self.changes.load(Ordering::Acquire) != begun.changes {
            self.soonest_ms.store(0, Ordering::Release);
        }
    }

    /// Takes over numbers; when the first of these keys lapses is to be found out.
    pub fn restore(&self, keys: i64, expires: i64) {
        self.clear();
        self.keys.store(i32::try_from(keys).unwrap_or(i32::MAX), Ordering::Relaxed);
        self.expires.store(i32::try_from(expires).unwrap_or(i32::MAX), Ordering::Relaxed);
        if expires > 0 {
            self.soonest_ms.store(0, Ordering::Release);
        }
    }

    /// There is nothing.
    fn clear(&self) {
        self.keys.store(0, Ordering::Relaxed);
        self.expires.store(0, Ordering::Relaxed);
        self.lapsed.store(0, Ordering::Relaxed);
        self.soonest_ms.store(u64::MAX, Ordering::Release);
    }
}

/// All cells.
#[derive(Debug, Default)]
pub struct Counts {
    databases: [OnceLock<Vec<Cell>>; DATABASES as usize],
}

impl Counts {
    /// A record changes.
    pub(super) fn change(&self, key: &StorageKey, before: Weight, after: Weight) {
        if before != after {
            self.made(key.database())[usize::from(key.token().slot())].change(before, after);
        }
    }

    /// A cell; none: nothing was ever written in its database.
    pub(super) fn cell(&self, slot: u16, database: u8) -> Option<&Cell> {
        self.cells(database).get(usize::from(slot))
    }

    /// The cells of a database, by slot; empty: nothing was ever written there.
    pub(super) fn cells(&self, database: u8) -> &[Cell] {
        self.databases.get(usize::from(database)).and_then(OnceLock::get).map_or(&[], Vec::as_slice)
    }

    /// The cells of a database, made if need be.
    pub(super) fn made(&self, database: u8) -> &[Cell] {
        self.databases[usize::from(database)].get_or_init(|| (0..SLOTS).map(|_| Cell::default()).collect())
    }

    pub(super) fn clear(&self) {
        self.databases.iter().filter_map(OnceLock::get).flatten().for_each(Cell::clear);
    }
}
