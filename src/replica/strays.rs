//! Dropping hints without losing a copy, and finding the copies again that have none (§4.6).
//!
//! The hands of [`crate::handoff::tidy`]: it says when, here is how. Everything here reads the disk, page by page, and is
//! for threads that may block.
//!
//! # Contract
//! - [`Replica::trim`] makes the home's mark durable before the first hint goes. An object never goes here.
//! - While a home is marked, nothing that it may still want is let go of, whoever else has taken it
//!   ([`Replica::give_back`]).
//! - [`Replica::hint_strays`], called page by page from [`Replica::open_shelf`] to the end, has noted a hint for every copy
//!   that was here when it began and wants one. Only then [`Replica::unmark`] may be called.

use super::Replica;
use super::shelves::{MARK, Slip};
use crate::causality::NodeTag;
use crate::key::StorageKey;
use crate::storage::batch::Batch;
use crate::storage::engine::Space;
use crate::storage::error::StorageError;
use bytes::Bytes;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

/// Hints or keys looked at in one go.
const PAGE: usize = 1024;

/// For whom a copy found here is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// For nobody whose copies are sought.
    No,
    /// For this home.
    By(NodeTag),
    /// For this one, unless there is a hint for it already, whoever's.
    Unhinted(NodeTag),
}

/// A page of this node's copies, looked through for strays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The last key looked at; none: there are no more.
    pub last: Option<Bytes>,
    /// Bytes looked at.
    pub bytes: u64,
}

impl Replica {
    /// Counts what is hinted for a home; if that is too much, or some of it too old, marks the home and drops hints. Gives
    /// how many were dropped.
    pub fn trim(self: &Arc<Self>, home: NodeTag, now_ms: u64) -> Result<u64, StorageError> {
        let bounds = self.hints.shelves.bounds();
        let is_old = |slip: &Slip| now_ms.saturating_sub(slip.noted_ms) > bounds.ttl_ms;
        let (mut bytes, old) = self.count_shelf(home, now_ms, is_old)?;
        let over = bytes > bounds.bytes_max;
        if !over && old == 0 {
            return Ok(0);
        }
        self.mark(home)?;
        if over {
            self.hints.shelves.set_full(home, true);
        }
        let bytes_left = if over { bounds.bytes_trimmed() } else { u64::MAX };
        let (mut after, mut dropped) = (None, 0);
        loop {
            let page = self.hint_page(home, after.as_ref(), PAGE, now_ms)?;
            let mut batch = Batch::making_room();
            for (name, slip) in &page {
                if is_old(slip) || bytes > bytes_left {
                    self.store.put_other(&mut batch, Space::Hints, name.clone(), None);
                    bytes = bytes.saturating_sub(slip.bytes.into());
                    dropped += 1;
                }
            }
            self.commit_now(batch, false)?;
            match page.last() {
                Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
                _ => break,
            }
        }
        self.hints.shelves.counted(home, bytes);
        self.stats.hints_dropped.fetch_add(dropped, Ordering::Relaxed);
        Ok(dropped)
    }

    /// Counts what is hinted for a home.
    pub fn recount_hints(&self, home: NodeTag, now_ms: u64) -> Result<(), StorageError> {
        self.count_shelf(home, now_ms, |_| false).map(drop)
    }

    /// Bytes, and how many are old.
    fn count_shelf(&self, home: NodeTag, now_ms: u64, old: impl Fn(&Slip) -> bool) -> Result<(u64, u64), StorageError> {
        let (mut bytes, mut olds, mut after) = (0, 0, None);
        loop {
            let page = self.hint_page(home, after.as_ref(), PAGE, now_ms)?;
            for (_, slip) in &page {
                bytes += u64::from(slip.bytes);
                olds += u64::from(old(slip));
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE => after = Some(last.clone()),
                _ => break,
            }
        }
        self.hints.shelves.counted(home, bytes);
        Ok((bytes, olds))
    }

    fn mark(self: &Arc<Self>, home: NodeTag) -> Result<(), StorageError> {
        if self.hints.shelves.is_marked(home) {
            return Ok(());
        }
        let mut batch = Batch::making_room();
        self.store.put_other(&mut batch, Space::Meta, mark_name(home), Some(Bytes::new()));
        self.commit_now(batch, true)?;
        self.hints.shelves.mark(home, true);
        tracing::warn!(
            home = format!("{:016x}", home.0),
            "hints for this home are dropped for their number or age; the copies stay, and are sought when it is back"
        );
        Ok(())
    }

    /// Every copy that wanted it has a hint for this home again.
    pub fn unmark(self: &Arc<Self>, home: NodeTag) -> Result<(), StorageError> {
        let mut batch = Batch::making_room();
        self.store.put_other(&mut batch, Space::Meta, mark_name(home), None);
        self.commit_now(batch, true)?;
        self.hints.shelves.mark(home, false);
        Ok(())
    }

    /// Hints are noted for this home again; call it before looking for strays.
    pub fn open_shelf(&self, home: NodeTag) -> Result<(), StorageError> {
        self.hints.shelves.set_full(home, false);
        // What was stored without a hint is committed from now on, so that a look at the disk finds it.
        self.store.settle()
    }

    /// Looks at the copies after the key `after`, and notes hints for those that `wanted` names somebody for; at most so many
    /// as the shelf has room for.
    pub fn hint_strays(
        self: &Arc<Self>,
        after: Option<&Bytes>,
        now_ms: u64,
        wanted: impl Fn(&StorageKey) -> Wanted,
    ) -> Result<Sought, StorageError> {
        let from = after.map_or_else(Vec::new, |after| [&after[..], &[0]].concat());
        let (mut keys, mut bytes) = (Vec::new(), 0);
        self.store.scan(Space::Objects, &from, None, &mut |key, value| {
            keys.push(Bytes::copy_from_slice(key));
            bytes += (key.len() + value.len()) as u64;
            if keys.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let mut last = keys.last().filter(|_| keys.len() == PAGE).cloned();
        let bytes_max = self.hints.shelves.bounds().bytes_trimmed();
        for name in keys {
            let Some(key) = StorageKey::from_bytes(name.clone()) else { continue };
            let (home, always) = match wanted(&key) {
                Wanted::No => continue,
                Wanted::By(home) => (home, true),
                Wanted::Unhinted(home) => (home, false),
            };
            self.hint_anew(&key, home, always, now_ms)?;
            if self.hinted_bytes(home) > bytes_max {
                // More would only be dropped again.
                last = Some(name);
                break;
            }
        }
        self.store.settle()?;
        Ok(Sought { last, bytes })
    }

    fn hint_anew(
        self: &Arc<Self>,
        key: &StorageKey,
        home: NodeTag,
        always: bool,
        now_ms: u64,
    ) -> Result<(), StorageError> {
        // Held until it is submitted: a delivery sees the hint, or has let go of the copy.
        let _held = self.hints.lock(key);
        let Some(record) = self.store.get(key.as_bytes())? else { return Ok(()) };
        if always || self.is_hinted(key, |_| true)? != Some(true) {
            let mut batch = Batch::new();
            self.note_hint(&mut batch, key, Some(home), record.len(), now_ms);
            self.submit(batch, false, Box::new(drop));
        }
        Ok(())
    }

    /// Finds the marks of earlier lives.
    pub(super) fn find_marks(&self) -> Result<(), StorageError> {
        let shelves = &self.hints.shelves;
        self.store.scan(Space::Meta, MARK, None, &mut |name, _| {
            let Some(tag) = name.strip_prefix(MARK).and_then(|tag| tag.try_into().ok()) else {
                return ControlFlow::Break(());
            };
            let home = NodeTag(u64::from_be_bytes(tag));
            shelves.mark(home, true);
            ControlFlow::Continue(())
        })?;
        shelves.marked().into_iter().for_each(|home| shelves.add(home));
        Ok(())
    }

    /// Homes that may want copies which have no hint.
    pub fn marked_homes(&self) -> Vec<NodeTag> {
        self.hints.shelves.marked()
    }

    fn commit_now(self: &Arc<Self>, batch: Batch, sync: bool) -> Result<(), StorageError> {
        let (told, hear) = mpsc::sync_channel(1);
        self.submit(batch, sync, Box::new(move |result| drop(told.send(result.map(drop)))));
        hear.recv().unwrap_or(Err(StorageError::Stopped))
    }
}

fn mark_name(home: NodeTag) -> Bytes {
    Bytes::from([MARK, &home.0.to_be_bytes()].concat())
}
