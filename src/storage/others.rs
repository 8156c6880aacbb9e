//! What is on its way to the other spaces: not what is written, only that something is, or is taken away.
//!
//! Objects have a board on which everyone sees the newest slip. Changes to the other books are seen once they are in the
//! ledger; whoever must not overlook one that is still in the tray asks here.
//!
//! # Contract
//! A key is under way from [`Store::put_other`](super::store::Store::put_other) until its batch is committed or has failed.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::engine::{Space, Write};

/// The keys under way, and by how many batches. Bounded as the queue is: by those who submit.
#[derive(Default)]
pub(super) struct OthersUnderWay(Mutex<HashMap<(Space, Bytes), UnderWay>>);

/// What is on its way to one key.
#[derive(Default)]
struct UnderWay {
    batches: u32,
    /// Whether the last of them writes; else it takes away.
    writes: bool,
}

impl OthersUnderWay {
    /// A batch takes a change up: it writes, or takes away.
    pub(super) fn set_out(&self, space: Space, key: Bytes, writes: bool) {
        let mut keys = self.0.lock();
        let under_way = keys.entry((space, key)).or_default();
        under_way.batches += 1;
        under_way.writes = writes;
    }

    /// A batch is committed, or never will be.
    pub(super) fn arrived(&self, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let mut keys = self.0.lock();
        for write in writes {
            let name = (write.space, write.key.clone());
            if let Some(under_way) = keys.get_mut(&name) {
                under_way.batches -= 1;
                if under_way.batches == 0 {
                    keys.remove(&name);
                }
            }
        }
    }

    /// Whether the last batch under way that changes this key writes it; none: no batch changes it.
    pub(super) fn writes(&self, space: Space, key: &Bytes) -> Option<bool> {
        self.0.lock().get(&(space, key.clone())).map(|under_way| under_way.writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_under_way_until_the_last_batch_with_it_has_arrived() {
        let others = OthersUnderWay::default();
        let key = Bytes::from_static(b"k");
        let write = Write { space: Space::Hints, key: key.clone(), value: None };
        others.set_out(Space::Hints, key.clone(), true);
        assert_eq!(others.writes(Space::Hints, &key), Some(true));
        others.set_out(Space::Hints, key.clone(), false);
        assert_eq!((others.writes(Space::Hints, &key), others.writes(Space::Meta, &key)), (Some(false), None));
        others.arrived(std::slice::from_ref(&write));
        assert_eq!(others.writes(Space::Hints, &key), Some(false));
        others.arrived(&[write]);
        assert_eq!(others.writes(Space::Hints, &key), None);
    }
}
