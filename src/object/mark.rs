//! What a reader remembers of a key, so as to notice later whether somebody touched it (WATCH).
//!
//! Before you leave the room you note where the hands of the clock stand. Coming back, you do not compare the whole room
//! but the hands; and a hand that was moved and put back was still moved.
//!
//! # Contract
//! [`Mark::is_touched`] is true when, after the mark was taken, some write of the key took effect that the object at hand
//! shows: another value, a delete, an expiry set or taken away, an increment; or when a value that was live has expired.
//! A write that failed or was under way when the mark was taken and shows only now counts, too, if it left a value or was
//! stamped above what any home had settled by then.
//!
//! What was settled may be forgotten: entries of old writes go from contexts, tombstones and expired siblings from objects,
//! at different times on different nodes. None of that is a touch. A value written to an absent key, deleted again and
//! settled, all after the mark, has left no trace and is not noticed: the key is as absent as it was.

use super::Object;
use super::digest::Digest;
use crate::causality::{Context, Hlc};
use crate::key::StorageKey;

/// A key as a reader saw it. See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// What was live.
    live: Digest,
    /// All that had been seen.
    seen: Context,
    /// What was seen lacks nothing from above it: no home had forgotten that.
    floor: Hlc,
}

impl Mark {
    /// Takes the mark of what was read at `now_ms`. `floor`: no home that was read had a higher one.
    pub fn of(key: &StorageKey, object: &Object, now_ms: u64, floor: Hlc) -> Mark {
        Mark { live: live(key, object, now_ms), seen: object.context.clone(), floor }
    }

    /// The mark of a key without a value: only a live one touches it, whatever was there before.
    pub fn of_nothing(key: &StorageKey) -> Mark {
        Mark { live: live(key, &Object::default(), 0), seen: Context::new(), floor: Hlc(u64::MAX) }
    }

    /// Whether the key was touched since, as far as the object, read at `now_ms`, shows.
    pub fn is_touched(&self, key: &StorageKey, object: &Object, now_ms: u64) -> bool {
        let unseen = |(actor, hlc): &(_, Hlc)| *hlc > self.floor && self.seen.get(actor).is_none_or(|seen| seen < *hlc);
        self.live != live(key, object, now_ms) || object.context.entries().iter().any(unseen)
    }

    /// About how much memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Mark>() + size_of_val(self.seen.entries())
    }
}

/// The digest of what a reader sees.
fn live(key: &StorageKey, object: &Object, now_ms: u64) -> Digest {
    Object { context: Context::new(), siblings: object.live(now_ms).cloned().collect() }.digest(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Actor, Dot, NodeTag};
    use crate::object::Sibling;
    use crate::policy::Conflict;
    use bytes::Bytes;
    use proptest::prelude::*;

    const NOW_MS: u64 = 1_000;

    fn key() -> StorageKey {
        StorageKey::new(0, b"k").unwrap()
    }

    fn dot(node: u64, hlc: u64) -> Dot {
        Dot { hlc: Hlc(hlc), actor: Actor { node: NodeTag(node), birth: Hlc(1) } }
    }

    /// A sibling of node 1; `value` none: a tombstone.
    fn sibling(hlc: u64, value: Option<&'static str>, expiry: Option<u64>) -> Sibling {
        Sibling::new(dot(1, hlc), NodeTag(1), value.map(Bytes::from), expiry)
    }

    fn object(siblings: Vec<Sibling>) -> Object {
        let mut context = Context::new();
        siblings.iter().for_each(|sibling| context.add(sibling.dot));
        Object { context, siblings }
    }

    fn touched(before: &Object, after: &Object, now_ms: u64) -> bool {
        Mark::of(&key(), before, NOW_MS, Hlc(0)).is_touched(&key(), after, now_ms)
    }

    #[test]
    fn a_value_that_expired_since_is_touched_and_one_that_had_expired_before_is_not() {
        let expiring = object(vec![sibling(5, Some("v"), Some(NOW_MS + 10))]);
        assert!(!touched(&expiring, &expiring, NOW_MS + 9));
        assert!(touched(&expiring, &expiring, NOW_MS + 10));
        let expired = object(vec![sibling(5, Some("v"), Some(NOW_MS))]);
        assert!(!touched(&expired, &expired, NOW_MS + 9));
        assert!(!touched(&expired, &Object::default(), NOW_MS + 9), "and swept away meanwhile");
    }

    #[test]
    fn nothing_is_touched_by_what_lives_and_not_by_what_is_gone() {
        let nothing = Mark::of_nothing(&key());
        let gone = object(vec![sibling(5, None, None), sibling(6, Some("v"), Some(NOW_MS))]);
        assert!(!nothing.is_touched(&key(), &Object::default(), NOW_MS));
        assert!(!nothing.is_touched(&key(), &gone, NOW_MS));
        assert!(nothing.is_touched(&key(), &gone, NOW_MS - 1));
    }

    #[test]
    fn written_and_deleted_again_is_touched() {
        assert!(touched(&Object::default(), &object(vec![sibling(9, None, None)]), NOW_MS));
        assert!(touched(&object(vec![sibling(5, None, None)]), &object(vec![sibling(9, None, None)]), NOW_MS));
    }

    #[test]
    fn an_expiry_or_an_increment_is_a_touch() {
        let before = object(vec![sibling(5, Some("1"), None)]);
        let mut expires = before.clone();
        expires.expire(NOW_MS, Hlc(9), Some(NOW_MS + 100));
        assert!(touched(&before, &expires, NOW_MS));
        let mut counted = before.clone();
        counted.siblings[0].increments.push((dot(2, 1).actor, Hlc(9), 1));
        assert!(touched(&before, &counted, NOW_MS));
    }

    #[test]
    fn what_another_home_has_not_forgotten_yet_is_no_touch() {
        // The reader saw homes that had forgotten the tombstone and node 2's old write; the next one asked has not.
        let mut longer = object(vec![sibling(5, None, None)]);
        longer.context.add(dot(2, 3));
        let mark = Mark::of(&key(), &Object::default(), NOW_MS, Hlc(5));
        assert!(!mark.is_touched(&key(), &longer, NOW_MS));
        assert!(Mark::of(&key(), &Object::default(), NOW_MS, Hlc(4)).is_touched(&key(), &longer, NOW_MS));
    }

    proptest! {
        /// Any write after the mark is noticed through any copy that has it; without one, no copy that was there counts.
        #[test]
        fn whatever_is_written_is_noticed(
            before in proptest::collection::vec((1u64..4, any::<bool>()), 0..4),
            after in proptest::collection::vec((1u64..4, 0u8..3), 0..4),
        ) {
            let (mut copy, mut hlc) = (Object::default(), 10);
            for (node, lives) in before {
                hlc += 1;
                let value = lives.then(|| Bytes::from_static(b"v"));
                copy.overwrite(Sibling::new(dot(node, hlc), NodeTag(node), value, None));
            }
            let mark = Mark::of(&key(), &copy, NOW_MS, Hlc(10));
            prop_assert!(!mark.is_touched(&key(), &copy, NOW_MS));
            let (stale, mut changed) = (copy.clone(), false);
            for (node, what) in after {
                hlc += 1;
                match what {
                    0 => copy.overwrite(Sibling::new(dot(node, hlc), NodeTag(node), Some(Bytes::from_static(b"v")), None)),
                    1 => copy.overwrite(Sibling::new(dot(node, hlc), NodeTag(node), None, None)),
                    _ if copy.live(NOW_MS).next().is_some() => copy.expire(NOW_MS, Hlc(hlc), Some(NOW_MS + hlc)),
                    _ => continue,
                }
                changed = true;
            }
            let read = copy.merge(stale, Conflict::Siblings);
            prop_assert_eq!(mark.is_touched(&key(), &read, NOW_MS), changed);
        }
    }
}
