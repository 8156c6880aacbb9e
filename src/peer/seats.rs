//! Who sits in the hall: the connections that other nodes have to this one, by node and life.
//!
//! # Contract
//! A connection counts from before its first message is handed over until its last one has been.

use crate::causality::NodeId;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Connections by node and its start number. See the module.
#[derive(Debug, Default)]
pub struct Seats(Mutex<BTreeMap<(NodeId, u64), usize>>);

impl Seats {
    pub(super) fn take(&self, node: NodeId, start_number: u64) {
        *self.0.lock().entry((node, start_number)).or_default() += 1;
    }

    pub(super) fn leave(&self, node: NodeId, start_number: u64) {
        let mut seats = self.0.lock();
        if let Some(count) = seats.get_mut(&(node, start_number)) {
            *count -= 1;
            if *count == 0 {
                seats.remove(&(node, start_number));
            }
        }
    }

    /// Whether a connection of a life before `start_number` is left.
    pub fn has_older(&self, node: NodeId, start_number: u64) -> bool {
        self.0.lock().range((node, 0)..(node, start_number)).next().is_some()
    }

    /// How many connections a node has, over all its lives.
    pub fn count(&self, node: NodeId) -> usize {
        self.0.lock().range((node, 0)..=(node, u64::MAX)).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_lives_are_there_until_their_last_connection_leaves() {
        let (seats, a, b) = (Seats::default(), NodeId([1; 20]), NodeId([2; 20]));
        seats.take(a, 3);
        seats.take(a, 3);
        seats.take(a, 4);
        seats.take(b, 1);
        assert!(seats.has_older(a, 4) && !seats.has_older(a, 3) && !seats.has_older(b, 1));
        assert_eq!((seats.count(a), seats.count(b)), (3, 1));
        seats.leave(a, 3);
        assert!(seats.has_older(a, 4));
        seats.leave(a, 3);
        assert!(!seats.has_older(a, 4));
        assert_eq!(seats.count(a), 1);
    }
}
