//! Who sits in the hall: the connections that other nodes have to this one, by node and life.
//!
//! # Contract
//! A connection counts from before its first message is handed over until its last one has been.

use super::outbox::Outbox;
use crate::causality::NodeId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One connection.
struct Seat {
    since_ms: u64,
    outbox: Arc<Outbox>,
}

/// What is known of a connection that another node has to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seated {
    /// The Unix millisecond of its greeting.
    pub since_ms: u64,
    /// Bytes of answers that wait for the write under way to end.
    pub unsent_bytes: usize,
}

/// Connections by node, its start number, and the order in which they came. See the module.
#[derive(Default)]
pub struct Seats(Mutex<BTreeMap<(NodeId, u64, u64), Seat>>);

impl Seats {
    /// A connection came, the `number`th of all; its answers leave by `outbox`.
    pub(super) fn take(&self, node: NodeId, start_number: u64, number: u64, outbox: Arc<Outbox>, since_ms: u64) {
        self.0.lock().insert((node, start_number, number), Seat { since_ms, outbox });
    }

    pub(super) fn leave(&self, node: NodeId, start_number: u64, number: u64) {
        self.0.lock().remove(&(node, start_number, number));
    }

    /// Whether a connection of a life before `start_number` is left.
    pub fn has_older(&self, node: NodeId, start_number: u64) -> bool {
        self.0.lock().range((node, 0, 0)..(node, start_number, 0)).next().is_some()
    }

    /// How many connections a node has, over all its lives.
    pub fn count(&self, node: NodeId) -> usize {
        self.0.lock().range((node, 0, 0)..=(node, u64::MAX, u64::MAX)).count()
    }

    /// The latest connection of a node's latest life.
    pub(super) fn latest(&self, node: NodeId) -> Option<Seated> {
        let seats = self.0.lock();
        let (_, seat) = seats.range((node, 0, 0)..=(node, u64::MAX, u64::MAX)).next_back()?;
        Some(Seated { since_ms: seat.since_ms, unsent_bytes: seat.outbox.unsent_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::{HEAD_BYTES, Kind, head};
    use super::*;

    #[test]
    fn older_lives_are_there_until_their_last_connection_leaves() {
        let (seats, a, b) = (Seats::default(), NodeId([1; 20]), NodeId([2; 20]));
        let take = |node, life, number| seats.take(node, life, number, Arc::new(Outbox::new(100, 100)), number * 10);
        take(a, 3, 1);
        take(a, 3, 2);
        take(a, 4, 3);
        take(b, 1, 4);
        assert!(seats.has_older(a, 4) && !seats.has_older(a, 3) && !seats.has_older(b, 1));
        assert_eq!((seats.count(a), seats.count(b)), (3, 1));
        seats.leave(a, 3, 1);
        assert!(seats.has_older(a, 4));
        seats.leave(a, 3, 2);
        assert!(!seats.has_older(a, 4));
        assert_eq!(seats.count(a), 1);
    }

    #[test]
    fn the_latest_connection_is_told_with_what_it_has_not_sent() {
        let (seats, node, outbox) = (Seats::default(), NodeId([1; 20]), Arc::new(Outbox::new(100, 100)));
        assert_eq!(seats.latest(node), None);
        seats.take(node, 7, 2, outbox.clone(), 20);
        seats.take(node, 6, 3, Arc::new(Outbox::new(100, 100)), 30);
        assert_eq!(seats.latest(node), Some(Seated { since_ms: 20, unsent_bytes: 0 }));
        outbox.push(head(Kind::Answer, 1, b"four"), b"four".to_vec()).unwrap();
        assert_eq!(seats.latest(node), Some(Seated { since_ms: 20, unsent_bytes: HEAD_BYTES + 4 }));
        seats.leave(node, 7, 2);
        assert_eq!(seats.latest(node), Some(Seated { since_ms: 30, unsent_bytes: 0 }));
    }
}
