//! What is on its way to the other spaces: not what is changed, only that something is.
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
pub(super) struct OthersUnderWay(Mutex<HashMap<(Space, Bytes), u32>>);

impl OthersUnderWay {
    /// A batch takes a change up.
    pub(super) fn set_out(&self, space: Space, key: Bytes) {
        *self.0.lock().entry((space, key)).or_default() += 1;
    }

    /// A batch is committed, or never will be.
    pub(super) fn arrived(&self, writes: &[Write]) {
        if writes.is_empty() {
            return;
        }
        let mut keys = self.0.lock();
        for write in writes {
            let name = (write.space, write.key.clone());
            if let Some(count) = keys.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    keys.remove(&name);
                }
            }
        }
    }

    /// Whether a batch under way changes this key.
    pub(super) fn contains(&self, space: Space, key: &Bytes) -> bool {
        self.0.lock().contains_key(&(space, key.clone()))
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
        others.set_out(Space::Hints, key.clone());
        others.set_out(Space::Hints, key.clone());
        assert!(others.contains(Space::Hints, &key) && !others.contains(Space::Meta, &key));
        others.arrived(std::slice::from_ref(&write));
        assert!(others.contains(Space::Hints, &key));
        others.arrived(&[write]);
        assert!(!others.contains(Space::Hints, &key));
    }
}
