//! Who compares with this node now: one at a time, so that two others do not both bring what it lacks.
//!
//! A talking stick: who asks for it gets it when nobody holds it, and whoever is silent for too long has put it down.
//! It saves bytes, nothing else: without it everything would be as right, and dearer.

use crate::causality::NodeId;
use crate::world::Instant;
use parking_lot::Mutex;
use std::time::Duration;

/// Who is silent for so long has no turn any more.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// The turn.
#[derive(Debug, Default)]
pub struct Turn(Mutex<Option<(NodeId, Instant)>>);

impl Turn {
    /// Asks for the turn, or goes on holding it. False: another has it.
    pub fn take(&self, node: NodeId, now: Instant) -> bool {
        let mut holder = self.0.lock();
        let free = is_free(&holder, node, now);
        if free {
            *holder = Some((node, now));
        }
        free
    }

    /// Whether it would get the turn.
    pub fn is_free(&self, node: NodeId, now: Instant) -> bool {
        is_free(&self.0.lock(), node, now)
    }

    /// Ends the turn, if it is this node's.
    pub fn end(&self, node: NodeId) {
        let mut holder = self.0.lock();
        if holder.is_some_and(|(holder, _)| holder == node) {
            *holder = None;
        }
    }
}

fn is_free(holder: &Option<(NodeId, Instant)>, node: NodeId, now: Instant) -> bool {
    holder.is_none_or(|(holder, heard)| holder == node || now.duration_since(heard) > SILENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_the_turn_until_it_ends_or_falls_silent() {
        let (turn, a, b, now) = (Turn::default(), NodeId([1; 20]), NodeId([2; 20]), Instant::now());
        assert!(turn.is_free(b, now));
        assert!(turn.take(a, now));
        assert!(turn.is_free(a, now) && !turn.is_free(b, now));
        assert!(!turn.take(b, now));
        turn.end(b);
        assert!(!turn.take(b, now), "nobody ends another's turn");
        assert!(turn.take(a, now + SILENCE_MAX));
        assert!(!turn.take(b, now + SILENCE_MAX * 2), "it was heard since");
        assert!(turn.take(b, now + SILENCE_MAX * 3));
        assert!(!turn.take(a, now + SILENCE_MAX * 3));
        turn.end(b);
        assert!(turn.take(a, now));
    }
}
