//! Adding to a number here: under the key's lock, to what this node holds together with what was read at R.
//!
//! The clerk lays the copies that were just fetched beside the page, turns both into one, and puts a new total on the tally
//! sheet in the house's own name. Two visitors who come at once are served one after the other, so nobody is sent away to
//! look again.
//!
//! # Contract
//! - The sum stands under the actor of this node's record, as every write does (see the module above): an entry that this
//!   node may have forgotten is never continued, but begun anew under a new name. So what other replicas hold of the old
//!   entry keeps counting.
//! - Nothing is added to a sibling that may be forgotten elsewhere: a complete home holds only what lives, and everybody
//!   else adds to a sibling at or below the floor only when a home has just shown it. Whatever is added to a forgotten
//!   sibling would be acknowledged and then dropped with it.

use super::Replica;
use super::write::{NotStored, Stored};
use crate::causality::{Actor, Dot, Hlc, NodeTag};
use crate::key::StorageKey;
use crate::message::operation::{Counted, Failure};
use crate::object::counter::{Entry, Increment, NotAdded, Numbers};
use crate::object::record::Record;
use crate::object::{Object, Sibling};
use crate::policy::Conflict;
use crate::storage::batch::Batch;
use smallvec::SmallVec;

/// What R replicas held a moment ago.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// What they hold together.
    pub object: Object,
    /// What was settled, here, before they were asked; zero: a copy that is only on loan is in it.
    pub floor: Hlc,
    /// Whether a home was among them.
    pub of_home: bool,
}

/// What is to be added.
#[derive(Clone, Debug)]
pub struct Addition<'a> {
    /// One after the other.
    pub amounts: &'a [i64],
    /// To what was read, and what is here.
    pub reading: Reading,
}

impl Replica {
    /// Adds amounts to the number that GET would show, after taking in what was read. `home` as for
    /// [`Replica::put`](Replica::put).
    pub fn increment(
        &self,
        batch: &mut Batch,
        key: &StorageKey,
        mut addition: Addition<'_>,
        conflict: Conflict,
        home: Option<NodeTag>,
        now_ms: u64,
    ) -> Result<Stored, NotStored> {
        let _held = self.hints.hold(key, home);
        self.bury_dead(key.database(), &mut addition.reading.object);
        let mut added = None;
        let stored = self.change(batch, key, |replica, record| {
            let (record, what) = replica.add(record, addition, conflict, home.is_none(), now_ms)?;
            added = Some(what);
            Ok(Some(record))
        })?;
        self.note_hint(batch, key, home, stored.object.len(), now_ms);
        let context = stored.context.clone();
        let counted = added.map(|(numbers, entry)| Box::new(Counted { numbers, context, entry }));
        Ok(Stored { counted, ..stored })
    }

    fn add(
        &self,
        record: &Record,
        Addition { amounts, mut reading }: Addition<'_>,
        conflict: Conflict,
        at_home: bool,
        now_ms: u64,
    ) -> Result<(Record, (Numbers, Entry)), NotStored> {
        if at_home {
            reading.object.drop_forgotten_past(self.floor(), &record.object, now_ms);
            if self.may_be_forgotten(&reading, &record.object) {
                return Err(NotStored::Raced);
            }
        }
        let doubts = self.doubts(&reading, at_home);
        let doubtful = |sibling: &Sibling| doubts.as_ref().is_some_and(|doubts| doubts.has(sibling));
        let mut object = record.object.clone().merge(reading.object, conflict);
        let (stamp, birth) = self.name(record, now_ms, object.highest())?;
        #[cfg(feature = "simulation")]
        let birth = super::rehearsed::birth_to_add(record, birth);
        let named =
            |birth| Increment { amounts, actor: Actor { node: self.tag, birth }, minter: self.tag, stamp, now_ms };
        let (birth, added) = match object.increment(&named(birth), conflict, doubtful) {
            Err(NotAdded::ActorFull) => (stamp, object.increment(&named(stamp), conflict, doubtful)),
            added => (birth, added),
        };
        let added = added.map_err(|why| match why {
            NotAdded::NotInteger => Failure::NotInteger,
            NotAdded::Overflow | NotAdded::ActorFull => Failure::Overflow,
        })?;
        Ok((Record { birth: Some(birth), object }, added))
    }

    /// Whether a reading is too old to be taken in by a home: see [`Replica::merge`].
    fn may_be_forgotten(&self, reading: &Reading, held: &Object) -> bool {
        let floor = self.floor();
        !self.can_judge(reading.floor) || (reading.floor < floor && reading.object.has_forgotten(floor, held))
    }

    /// What nothing may be added to; none: there is no such thing at a complete home.
    fn doubts(&self, reading: &Reading, at_home: bool) -> Option<Doubts> {
        if at_home && !self.is_filling() {
            return None;
        }
        let floor = if self.knows_floors() { self.floor() } else { Hlc(u64::MAX) };
        let is_sure = reading.of_home && self.can_judge(reading.floor);
        let shown = reading.object.siblings.iter().map(|sibling| sibling.dot);
        Some(Doubts { floor, shown: shown.filter(|_| is_sure).collect() })
    }
}

/// What lies at or below the floor and was not shown by a home just now.
struct Doubts {
    floor: Hlc,
    shown: SmallVec<[Dot; 2]>,
}

impl Doubts {
    fn has(&self, sibling: &Sibling) -> bool {
        sibling.dot.hlc <= self.floor && !self.shown.contains(&sibling.dot)
    }
}
