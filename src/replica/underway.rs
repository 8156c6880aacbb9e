//! What is under way: requests that may still bring an earlier stamp, or an older copy, to some replica.
//!
//! A cloakroom that changes the colour of its tickets now and then. To know that everybody who came before a certain hour
//! has left, nobody is counted: one waits until the last ticket of the old colour has come back.
//!
//! # Contract
//! - Whoever coordinates, or carries copies between nodes, holds a [`Ticket`] from before it stamps or reads until nothing
//!   it sent can be answered any more.
//! - After [`UnderWay::change`], [`UnderWay::drained`] tells whether every ticket handed out before has come back.
//! - Members that missed a write are noted before its ticket comes back ([`UnderWay::miss`]).

use crate::causality::NodeTag;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Held while something is under way; cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Ticket {
    _colour: Arc<()>,
}

/// The cloakroom. See the module.
#[derive(Debug, Default)]
pub struct UnderWay {
    colour: ArcSwap<()>,
    /// Earlier colours of which tickets may be out.
    earlier: Mutex<Vec<Arc<()>>>,
    missed: Mutex<BTreeSet<NodeTag>>,
}

impl UnderWay {
    /// A ticket of the present colour.
    pub fn ticket(&self) -> Ticket {
        Ticket { _colour: self.colour.load_full() }
    }

    /// From now on tickets have another colour. Read the clock before: whoever stamps after this has a new ticket.
    pub fn change(&self) {
        self.earlier.lock().push(self.colour.swap(Arc::new(())));
    }

    /// Whether all tickets of earlier colours have come back.
    pub fn drained(&self) -> bool {
        let mut earlier = self.earlier.lock();
        earlier.retain(|colour| Arc::strong_count(colour) > 1);
        earlier.is_empty()
    }

    /// A member missed a write coordinated here.
    pub fn miss(&self, node: NodeTag) {
        self.missed.lock().insert(node);
    }

    /// Who missed any since the last call.
    pub fn take_missed(&self) -> BTreeSet<NodeTag> {
        std::mem::take(&mut *self.missed.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_drained_when_every_earlier_ticket_is_back_whatever_came_later() {
        let under_way = UnderWay::default();
        assert!(under_way.drained());
        let first = under_way.ticket();
        under_way.change();
        let second = under_way.ticket();
        let copy = first.clone();
        drop(first);
        assert!(!under_way.drained());
        drop(copy);
        assert!(under_way.drained());
        under_way.change();
        assert!(!under_way.drained());
        drop(second);
        let _third = under_way.ticket();
        assert!(under_way.drained());
    }

    #[test]
    fn who_missed_something_is_told_once() {
        let under_way = UnderWay::default();
        under_way.miss(NodeTag(3));
        under_way.miss(NodeTag(3));
        assert_eq!(under_way.take_missed(), [NodeTag(3)].into());
        assert!(under_way.take_missed().is_empty());
    }
}
