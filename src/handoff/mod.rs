//! Giving back what was kept for others: which home is served next (§4.6).
//!
//! While a neighbour was away you took in their parcels. Now you look out of the window now and then; when their lamp is
//! lit you carry over an armful, wait until they have signed for it, and come back for the next. Whoever does not open
//! is tried again later, and later still.
//!
//! # Contract
//! - Event and time in, effects out. The driver tells which homes parcels are kept for ([`Handoff::found`]), asks what to
//!   carry now ([`Handoff::next`]) and tells how it went ([`Handoff::carried`]).
//! - At most one page is under way for a home, [`Settings::pages_max`] in all. Homes take turns.
//! - A page that broke off is carried again from its beginning. A home is done when a whole pass over its hints has left
//!   nothing behind; else there is another pass.
//! - The pause before either doubles each time, up to [`Settings::pause_max_ms`]. A home whose lamp goes on is tried at once.
//!
//! # What it refuses to do
//! It reads no hints, sends nothing and deletes nothing; it does not judge who is up, nor who is whose home. How fast pages
//! follow each other is not its business: whoever carries one draws from the node's budget.

pub mod tidy;
#[cfg(test)]
mod tests;

use crate::causality::NodeTag;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The tag under which a copy is kept that is meant for every home of its key. No node has it.
pub const ALL_HOMES: NodeTag = NodeTag(0);

/// How parcels are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Pages under way at once, over all homes.
    pub pages_max: usize,
    /// The pause after the first failure, and after a pass that left something behind.
    pub pause_min_ms: u64,
    /// The longest pause.
    pub pause_max_ms: u64,
}

/// A page to be carried now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whose hints.
    pub home: NodeTag,
    /// The name of the last hint of the page before; none: from the first on.
    pub after: Option<Bytes>,
}

/// How a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every hint of the page was tried.
    Tried {
        /// Some are still there: refused, damaged, or overtaken by another write.
        left: bool,
        /// The name of the last one; none: there are no more after this page.
        last: Option<Bytes>,
    },
    /// It broke off: the home, or this node's own store, did not answer.
    BrokeOff,
}

#[derive(Clone, Debug, Default)]
struct Home {
    reachable: bool,
    under_way: bool,
    not_before_ms: u64,
    failures: u32,
    after: Option<Bytes>,
    /// Something was left behind in this pass.
    left: bool,
    /// Passes in a row that left something behind.
    passes_left: u32,
}

/// The machine. See the module.
#[derive(Clone, Debug)]
pub struct Handoff {
    settings: Settings,
    homes: BTreeMap<NodeTag, Home>,
    last_served: NodeTag,
    under_way: usize,
}

impl Handoff {
    /// Nothing to carry yet.
    pub fn new(settings: Settings) -> Handoff {
        Handoff { settings, homes: BTreeMap::new(), last_served: ALL_HOMES, under_way: 0 }
    }

    /// Hints may be kept for these homes. A home that is known goes on where it is.
    pub fn found(&mut self, homes: impl IntoIterator<Item = NodeTag>) {
        for home in homes {
            self.homes.entry(home).or_default();
        }
    }

    /// What to carry now. `reachable` tells whether a home seems to answer; for a tag that is no member's, that it may be
    /// tried.
    pub fn next(&mut self, now_ms: u64, reachable: impl Fn(NodeTag) -> bool) -> Vec<Page> {
        for (tag, home) in &mut self.homes {
            let lit = reachable(*tag);
            if lit && !home.reachable {
                (home.not_before_ms, home.failures, home.passes_left) = (0, 0, 0);
            }
            home.reachable = lit;
        }
        let mut pages = Vec::new();
        while self.under_way < self.settings.pages_max {
            let Some(tag) = self.ready_after(self.last_served, now_ms) else { break };
            let Some(home) = self.homes.get_mut(&tag) else { break };
            home.under_way = true;
            self.under_way += 1;
            self.last_served = tag;
            pages.push(Page { home: tag, after: home.after.clone() });
        }
        pages
    }

    /// A page has come to its end.
    pub fn carried(&mut self, tag: NodeTag, end: End, now_ms: u64) {
        let Some(home) = self.homes.get_mut(&tag).filter(|home| home.under_way) else { return };
        self.under_way -= 1;
        home.under_way = false;
        match end {
            End::BrokeOff => {
                home.not_before_ms = now_ms.saturating_add(doubled(self.settings, home.failures));
                home.failures = home.failures.saturating_add(1);
            }
            End::Tried { left, last: Some(last) } => {
                home.failures = 0;
                home.left |= left;
                home.after = Some(last);
            }
            End::Tried { left, last: None } => {
                home.failures = 0;
                if !left && !home.left {
                    self.homes.remove(&tag);
                    return;
                }
                (home.after, home.left) = (None, false);
                home.not_before_ms = now_ms.saturating_add(doubled(self.settings, home.passes_left));
                home.passes_left = home.passes_left.saturating_add(1);
            }
        }
    }

    /// Whether no hints are known of.
    pub fn is_idle(&self) -> bool {
        self.homes.is_empty()
    }

    /// The next home after `last`, round and round, that a page can be carried to.
    fn ready_after(&self, last: NodeTag, now_ms: u64) -> Option<NodeTag> {
        let later = self.homes.range((Bound::Excluded(last), Bound::Unbounded));
        let round = later.chain(self.homes.range(..=last));
        let mut ready = round.filter(|(_, home)| home.reachable && !home.under_way && home.not_before_ms <= now_ms);
        ready.next().map(|(tag, _)| *tag)
    }
}

/// The pause after so many failures before this one.
fn doubled(settings: Settings, failures: u32) -> u64 {
    settings.pause_min_ms.saturating_mul(1 << failures.min(20)).min(settings.pause_max_ms)
}
