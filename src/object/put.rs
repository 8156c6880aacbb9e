//! Changing an object where it is coordinated.

use super::{Object, Sibling};
use crate::causality::{Context, Hlc};
use crate::policy::Conflict;

impl Object {
    /// Writes. What the writer had seen (`seen`) goes; what it had not seen stays beside the new sibling. The context
    /// becomes this object's, joined with the writer's and the new dot.
    ///
    /// The new sibling's dot must be above [`Object::highest`] and above everything in `seen`.
    pub fn put(&mut self, seen: &Context, sibling: Sibling, conflict: Conflict) {
        debug_assert!(sibling.dot.hlc > self.highest() && sibling.dot.hlc > seen.highest());
        self.siblings.retain(|old| !seen.covers(&old.dot));
        self.context.join(seen);
        self.context.add(sibling.dot);
        self.siblings.push(sibling);
        self.settle(conflict);
    }

    /// Overwrites everything: plain SET and DEL, which have seen all their coordinator holds.
    pub fn overwrite(&mut self, sibling: Sibling) {
        *self = self.overwritten(sibling);
    }

    /// As [`Object::overwrite`] would leave it. The sibling's dot must be above [`Object::highest`].
    pub fn overwritten(&self, sibling: Sibling) -> Object {
        debug_assert!(sibling.dot.hlc > self.highest());
        let mut context = self.context.clone();
        context.add(sibling.dot);
        Object { context, siblings: vec![sibling] }
    }

    /// Sets the expiry register of every sibling that is live at `now_ms`. `stamp` must be above [`Object::highest`].
    pub fn expire(&mut self, now_ms: u64, stamp: Hlc, at: Option<u64>) {
        debug_assert!(stamp > self.highest());
        self.siblings
            .iter_mut()
            .filter(|sibling| sibling.is_live(now_ms))
            .for_each(|sibling| sibling.expiry = (stamp, at));
    }
}
