//! Writing here: a put stamps a new dot, an expiry sets a register, a merge takes in another replica's copy; adding to a
//! number has a file of its own ([`super::count_up`]).

use super::cells::Weight;
use super::clock::{FUTURE_MS_MAX, wall_ms};
use super::{Refusal, Replica, refusal};
use crate::causality::token::ENTRIES_MAX;
use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use crate::key::StorageKey;
use crate::message::operation::{Basis, Counted, Failure, Put};
use crate::object::record::{Record, object_bytes};
use crate::object::request::request_actor;
use crate::object::{Object, Sibling};
use crate::policy::Conflict;
use crate::storage::batch::{Batch, Keyed};
use bytes::Bytes;
use std::borrow::Cow;
use std::sync::atomic::Ordering;

/// A write that was stored here and goes to the other replicas.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The object's bytes as they are here now.
    pub object: Bytes,
    /// Its context: covers the write and all that was seen here. For the outcome, which takes it.
    pub context: Context,
    /// What the copy bears where it is sent: the floor of this node from before the write, if it is a complete home.
    pub floor: Hlc,
    /// What was counted, if the write is an increment. For the outcome as well.
    pub counted: Option<Box<Counted>>,
}

/// What an expiry command sets.
#[derive(Clone, Copy, Debug)]
pub struct Expiry<'a> {
    /// What the command has read.
    pub seen: &'a Object,
    /// Absolute Unix milliseconds; none: the key no longer expires.
    pub at: Option<u64>,
}

/// Why a write was not made here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// This node holds something the writer's reading did not show ([`Basis::Seen`]).
    Raced,
    /// The reason; nothing was applied.
    Failed(Failure),
}

impl From<Failure> for NotStored {
    fn from(failure: Failure) -> NotStored {
        NotStored::Failed(failure)
    }
}

impl Replica {
    /// Puts a value (or a delete) under a new dot. `home`: the home this node stands in for, when it is only a fallback.
    pub fn put(
        &self,
        batch: &mut Batch,
        key: &StorageKey,
        put: &Put,
        conflict: Conflict,
        home: Option<NodeTag>,
        now_ms: u64,
    ) -> Result<Stored, NotStored> {
        let _held = self.hints.hold(key, home);
        let stored =
            self.change(batch, key, |replica, record| replica.apply_put(record, key, put, (conflict, home), now_ms))?;
        self.note_hint(batch, key, home, stored.object.len(), now_ms);
        Ok(stored)
    }

    /// Sets the expiry register of every live sibling, after taking in what the command has seen.
    pub fn expire(
        &self,
        batch: &mut Batch,
        key: &StorageKey,
        expiry: Expiry<'_>,
        conflict: Conflict,
        home: Option<NodeTag>,
        now_ms: u64,
    ) -> Result<Stored, NotStored> {
        let _held = self.hints.hold(key, home);
        let stored = self.change(batch, key, |replica, record| {
            let mut object = replica.take_unraced(record, key, expiry.seen, conflict, home.is_none(), now_ms)?;
            let stamp = replica.stamp(now_ms, object.highest())?;
            object.expire(now_ms, stamp, expiry.at);
            Ok(Some(Record { birth: record.birth, object }))
        })?;
        self.note_hint(batch, key, home, stored.object.len(), now_ms);
        Ok(stored)
    }

    /// Takes in another replica's copy. A damaged record is replaced by it: the copy is at least something. `floor`: what
    /// was settled where and when it was read; a lower one than a home's own, and the copy may be older than something
    /// forgotten here: [`Refusal::Old`], and nothing was changed.
    pub fn merge(
        &self,
        batch: &mut Batch,
        key: &StorageKey,
        object: Object,
        floor: Hlc,
        conflict: Conflict,
        home: Option<NodeTag>,
    ) -> Result<(), Refusal> {
        self.hear(&object);
        let own_floor = if home.is_none() { self.floor() } else { Hlc(0) };
        if home.is_none() && !self.can_judge(floor) {
            return Err(Refusal::Filling);
        }
        // Only copies kept for others are measured.
        let (bytes, now_ms) = home.map_or((0, 0), |_| (object.encoded_bytes(), wall_ms()));
        #[cfg(feature = "simulation")]
        let conflict = super::rehearsed::conflict(conflict);
        let _held = self.hints.hold(key, home);
        let flushed = self.flushes.version();
        let merged = self.store.update(batch, key.as_bytes(), |old| {
            let mut object = object;
            self.flushes.bury(key.database(), &mut object);
            let read = old.as_ref().map(Record::decode).transpose();
            let damaged = read.as_ref().map_err(|damage| self.note_damage(key, damage)).is_err();
            let record = read.ok().flatten().unwrap_or_default();
            let mut held = record.object.clone();
            self.flushes.bury(key.database(), &mut held);
            let is_old = floor < own_floor && object.has_forgotten(own_floor, &held);
            #[cfg(feature = "simulation")]
            let is_old = is_old && !super::rehearsed::takes_old_copies();
            if is_old {
                return (Err(Refusal::Old), None);
            }
            #[cfg(feature = "simulation")]
            super::rehearsed::replace_counts(&mut held, &object);
            let mut merged = held.merge(object, conflict);
            if merged.has_past() {
                merged.drop_reaped(own_floor, self.clock.drift_ms_max(), &record.object);
            }
            let brings_only_past = record.object.siblings.is_empty() && merged.is_past(own_floor);
            if !damaged && ((merged == record.object && old.is_some()) || brings_only_past) {
                return (Ok(()), None);
            }
            self.note_change(key, &record.object, &merged);
            (Ok(()), Some(keyed(key, &Record { birth: record.birth, object: merged })))
        });
        merged.map_err(|error| refusal("storing a copy failed", &error))??;
        self.bury_since(flushed, batch, key);
        self.note_hint(batch, key, home, bytes, now_ms);
        Ok(())
    }

    /// Takes notice of the stamps of another replica's copy.
    fn hear(&self, object: &Object) {
        let (now_ms, heard) = (self.clock.now_ms(), object.highest());
        if self.clock.hear(now_ms, heard) {
            let ahead_ms = heard.ms().saturating_sub(now_ms);
            let minter = object.latest_writer().map(|writer| writer.to_string()).unwrap_or_default();
            tracing::warn!(
                minter,
                ahead_ms,
                "a write is stamped further ahead than max-clock-drift-ms, by the node whose id begins so; its clock is not followed"
            );
        }
    }

    pub(super) fn change(
        &self,
        batch: &mut Batch,
        key: &StorageKey,
        change: impl FnOnce(&Replica, &Record) -> Result<Option<Record>, NotStored>,
    ) -> Result<Stored, NotStored> {
        let flushed = self.flushes.version();
        let changed = self.store.update(batch, key.as_bytes(), |old| {
            let mut record = match old.as_ref().map(Record::decode).transpose() {
                Ok(record) => record.unwrap_or_default(),
                Err(damage) => {
                    self.note_damage(key, &damage);
                    return (Err(NotStored::Failed(Failure::Damaged)), None);
                }
            };
            let before = self.flushes.bury_keeping(key.database(), &mut record.object);
            match change(self, &record) {
                Err(refused) => (Err(refused), None),
                Ok(None) => (Ok(stored(&record.encode(), record)), None),
                Ok(Some(new)) => {
                    self.note_change(key, before.as_ref().unwrap_or(&record.object), &new.object);
                    let keyed = keyed(key, &new);
                    (Ok(stored(&keyed.record(), new)), Some(keyed))
                }
            }
        });
        self.bury_since(flushed, batch, key);
        changed.map_err(|error| NotStored::Failed(Failure::Storage(error.to_string())))?
    }

    fn apply_put(
        &self,
        record: &Record,
        key: &StorageKey,
        put: &Put,
        (conflict, home): (Conflict, Option<NodeTag>),
        now_ms: u64,
    ) -> Result<Option<Record>, NotStored> {
        let requested = put.id.as_ref().map(|id| request_actor(key, id));
        if requested.is_some_and(|actor| record.object.context.get(&actor).is_some()) {
            return Ok(None);
        }
        let nothing = Context::new();
        let (object, given) = match &put.basis {
            Basis::Seen(seen) => {
                let taken = self.take_unraced(record, key, seen, conflict, home.is_none(), now_ms)?;
                (Cow::Owned(taken), None)
            }
            Basis::Local => (Cow::Borrowed(&record.object), None),
            Basis::Given(context) => (Cow::Borrowed(&record.object), Some(&**context)),
            Basis::Nothing => (Cow::Borrowed(&record.object), Some(&nothing)),
        };
        let given_highest = given.map(Context::highest).unwrap_or_default();
        if given_highest.ms() > now_ms + FUTURE_MS_MAX {
            return Err(Failure::ContextFromFuture.into());
        }
        let (stamp, birth) = self.name(record, now_ms, object.highest().max(given_highest))?;
        let actor = requested.unwrap_or(Actor { node: self.tag, birth });
        let sibling = Sibling::new(Dot { hlc: stamp, actor }, self.tag, put.value.clone(), put.expiry);
        #[cfg(feature = "simulation")]
        super::rehearsed::note_minted(key, &sibling, &object, given);
        let object = match given {
            None => object.overwritten(sibling),
            Some(context) => {
                #[cfg(feature = "simulation")]
                let broken = super::rehearsed::put_as_merge(&object, context, &sibling);
                let mut object = object.into_owned();
                object.put(context, sibling, conflict);
                #[cfg(feature = "simulation")]
                let object = broken.unwrap_or(object);
                self.check_siblings(&object)?;
                object
            }
        };
        check_context(&record.object, &object, given.is_some() || requested.is_some())?;
        Ok(Some(Record { birth: Some(birth), object }))
    }

    /// What is here together with what the command has seen, unless something is here that it has not seen, or it has seen
    /// something that has been settled since and is not here any more. A tombstone that only this home has forgotten is neither.
    fn take_unraced(
        &self,
        record: &Record,
        key: &StorageKey,
        seen: &Object,
        conflict: Conflict,
        at_home: bool,
        now_ms: u64,
    ) -> Result<Object, NotStored> {
        let mut seen = seen.clone();
        if at_home {
            let floor = self.floor();
            seen.drop_forgotten_past(floor, &record.object, now_ms);
            if seen.has_forgotten(floor, &record.object) {
                return Err(NotStored::Raced);
            }
        }
        let whole = record.object.clone().merge(seen.clone(), conflict);
        let same = whole.digest(key) == seen.digest(key) && seen.context.descends(&record.object.context);
        if same { Ok(whole) } else { Err(NotStored::Raced) }
    }

    /// A new stamp, and the birth of the actor to write this record under: a new one when it holds no valid one.
    pub(super) fn name(&self, record: &Record, now_ms: u64, above: Hlc) -> Result<(Hlc, Hlc), Failure> {
        let valid_from = self.births_valid_from();
        let stamp = self.stamp(now_ms, above)?;
        Ok((stamp, record.birth.filter(|birth| *birth >= valid_from).unwrap_or(stamp)))
    }

    fn check_siblings(&self, object: &Object) -> Result<(), Failure> {
        let limit = self.siblings_max.load(Ordering::Relaxed);
        match object.siblings.len() {
            count if count > limit as usize => Err(Failure::SiblingsFull { limit }),
            _ => Ok(()),
        }
    }

    pub(super) fn stamp(&self, now_ms: u64, above: Hlc) -> Result<Hlc, Failure> {
        self.clock.stamp(now_ms, above.max(self.flushes.own())).map_err(|_| Failure::ClockSpent)
    }

    /// Keeps counters and trees in step with a record. Under the key's lock.
    pub(super) fn note_change(&self, key: &StorageKey, before: &Object, after: &Object) {
        self.counts.change(key, Weight::of(before), Weight::of(after));
        self.trees.change(key, before, after);
        self.flushes.seen.note(key.database(), after, self.tag);
        self.past.change(before, after);
        if after.has_past() {
            self.past.note(key, after, self.clock.drift_ms_max());
        }
        if after.siblings.len() > 1 {
            self.stats.siblings_max.fetch_max(after.siblings.len() as u64, Ordering::Relaxed);
        }
    }
}

/// A record as the store takes it.
pub(super) fn keyed(key: &StorageKey, record: &Record) -> Keyed {
    let key = key.as_bytes();
    Keyed::new(record.encode_behind(key), key.len())
}

fn stored(bytes: &Bytes, record: Record) -> Stored {
    Stored { object: object_bytes(bytes), context: record.object.context, floor: Hlc(0), counted: None }
}

/// What a client names, a context or an id, does not make an object's context longer than a client's context may be.
fn check_context(before: &Object, after: &Object, named: bool) -> Result<(), Failure> {
    let entries = after.context.entries().len();
    let grows = entries > before.context.entries().len();
    if named && grows && entries > ENTRIES_MAX {
        return Err(Failure::ContextFull { limit: ENTRIES_MAX as u32 });
    }
    Ok(())
}
