//! Forgetting what is settled (DESIGN "Settling"): below the floor every home has everything, so that nothing older can
//! come from a home any more.
//!
//! # Contract
//! - Nothing is forgotten unless the *whole* object, every dot, context entry, register and increment, lies at or below the
//!   floor: an entry forgotten too early would let a sibling live again that it covered on another home.
//! - Two homes that forget at different times hold the same values all the while.

use super::{Object, Sibling};
use crate::causality::{Actor, Dot, Hlc};

/// What may be forgotten.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// Everything at or below is settled.
    pub floor: Hlc,
    /// Clocks may differ by so much: an expired value goes once the floor is further than that beyond its expiry.
    pub drift_ms_max: u64,
    /// Whether an actor is a member. Request ids are not; see [`Below::ids_from`].
    pub is_member: &'a dyn Fn(&Actor) -> bool,
    /// Context entries of request ids are kept from here on, so that a late retry is still recognised.
    pub ids_from: Hlc,
}

impl Below<'_> {
    fn forgets(&self, actor: &Actor, hlc: Hlc) -> bool {
        hlc < self.ids_from || (self.is_member)(actor)
    }
}

impl Object {
    /// Whether a reaper should look at this object again once it is settled: something in it may then be forgotten. A few
    /// spare context entries are not worth writing the record anew.
    pub fn has_past(&self) -> bool {
        const ENTRIES_SPARE: usize = 3;
        let passes = |sibling: &Sibling| sibling.value.is_none() || sibling.expiry.1.is_some();
        let spare = if self.siblings.is_empty() { 0 } else { ENTRIES_SPARE };
        self.siblings.iter().any(passes) || self.context.entries().len() > self.siblings.len() + spare
    }

    /// For one that [has a past](Object::has_past): the lowest floor at which something in it may be forgotten. Entries of
    /// request ids may be kept for longer.
    pub fn ripe_from(&self, drift_ms_max: u64) -> Hlc {
        let spare = self.context.entries().len() > self.siblings.len();
        let waits_for_expiry = !spare && self.siblings.iter().any(|sibling| sibling.value.is_some());
        let expiries = self.siblings.iter().filter_map(|sibling| sibling.expiry.1);
        let expiry = expiries.map(|at| gone(at, drift_ms_max)).min();
        self.highest().max(expiry.filter(|_| waits_for_expiry).unwrap_or_default())
    }

    /// The same for one of which all was forgotten that could be at this floor: the next floor above it; none: what is kept is
    /// kept for another reason.
    pub fn ripe_after(&self, floor: Hlc, drift_ms_max: u64) -> Option<Hlc> {
        let first = self.ripe_from(drift_ms_max);
        let expiries = self.siblings.iter().filter_map(|sibling| sibling.expiry.1);
        let later = expiries.map(|at| gone(at, drift_ms_max).max(first));
        [first].into_iter().chain(later).filter(|ripe| *ripe > floor).min()
    }

    /// Whether there is nothing in it but a settled past: tombstones, all at or below the floor.
    pub fn is_past(&self, floor: Hlc) -> bool {
        self.siblings.iter().all(|sibling| sibling.value.is_none()) && self.is_settled(floor)
    }

    /// Whether every stamp in it lies at or below the floor.
    pub fn is_settled(&self, floor: Hlc) -> bool {
        // Most objects fall at the first dot.
        self.siblings.first().is_none_or(|sibling| sibling.dot.hlc <= floor) && self.highest() <= floor
    }

    /// Forgets what is settled: expired values, context entries that name no sibling, a lone tombstone. Gives whether
    /// anything was; an object that is empty afterwards need not be kept at all.
    pub fn retire(&mut self, below: &Below<'_>) -> bool {
        if !self.is_settled(below.floor) {
            return false;
        }
        let (siblings, entries) = (self.siblings.len(), self.context.entries().len());
        self.siblings
            .retain(|sibling| sibling.value.is_none() || !has_expired(sibling, below.floor, below.drift_ms_max));
        if self.siblings.iter().all(|sibling| sibling.value.is_none()) {
            self.siblings.clear();
        }
        let named = |actor: &Actor| self.siblings.iter().any(|sibling| sibling.dot.actor == *actor);
        let kept = |(actor, hlc): &&(Actor, Hlc)| named(actor) || !below.forgets(actor, *hlc);
        self.context = self.context.entries().iter().filter(kept).copied().collect();
        (siblings, entries) != (self.siblings.len(), self.context.entries().len())
    }

    /// Takes out the siblings at or below the floor that `held` neither has nor has seen: what an old copy brings of a past
    /// that may have been forgotten. Gives how many those are.
    pub fn drop_forgotten(&mut self, floor: Hlc, held: &Object) -> usize {
        let before = self.siblings.len();
        self.siblings.retain(|sibling| !is_forgotten(sibling, floor, held));
        before - self.siblings.len()
    }

    /// As [`Object::drop_forgotten`], for those alone that show a reader nothing: another home that has not forgotten them yet
    /// and this one, which has, read the same. Their context entries stay.
    pub fn drop_forgotten_past(&mut self, floor: Hlc, held: &Object, now_ms: u64) {
        self.siblings.retain(|sibling| sibling.is_live(now_ms) || !is_forgotten(sibling, floor, held));
    }

    /// Takes out the expired siblings that were not in `held`, if all is settled: the reaper of this home took them, or would.
    /// Homes that reap by turns would otherwise hand them to each other for ever. Their context entries stay.
    pub fn drop_reaped(&mut self, floor: Hlc, drift_ms_max: u64, held: &Object) {
        let reaped = |sibling: &Sibling| {
            sibling.value.is_some()
                && has_expired(sibling, floor, drift_ms_max)
                && held.siblings.iter().all(|known| known.dot != sibling.dot)
        };
        if self.siblings.iter().any(reaped) && self.is_settled(floor) {
            self.siblings.retain(|sibling| !reaped(sibling));
        }
    }

    /// Takes out the siblings that are wholly at or below the floor and `may` go: no other home holds them any more, and what
    /// covered them here is lost. The context goes on covering them. Gives how many those are.
    pub fn drop_settled(&mut self, floor: Hlc, may: impl Fn(&Dot) -> bool) -> usize {
        let before = self.siblings.len();
        self.siblings.retain(|sibling| sibling.highest() > floor || !may(&sibling.dot));
        before - self.siblings.len()
    }

    /// Whether [`Object::drop_forgotten`] would take any out.
    pub fn has_forgotten(&self, floor: Hlc, held: &Object) -> bool {
        self.siblings.iter().any(|sibling| is_forgotten(sibling, floor, held))
    }
}

fn has_expired(sibling: &Sibling, floor: Hlc, drift_ms_max: u64) -> bool {
    sibling.expiry.1.is_some_and(|at| floor.ms() > at.saturating_add(drift_ms_max))
}

/// The lowest floor at which a value that expires then may be forgotten.
fn gone(at: u64, drift_ms_max: u64) -> Hlc {
    Hlc::from_ms(at.saturating_add(drift_ms_max).saturating_add(1))
}

fn is_forgotten(sibling: &Sibling, floor: Hlc, held: &Object) -> bool {
    // Covered ones are no danger: merging drops them. Those that are held are covered, too.
    sibling.dot.hlc <= floor && !held.context.covers(&sibling.dot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::NodeTag;
    use crate::policy::Conflict;
    use bytes::Bytes;

    fn actor(node: u64) -> Actor {
        Actor { node: NodeTag(node), birth: Hlc(1) }
    }

    fn sibling(node: u64, hlc: u64, value: Option<&'static str>) -> Sibling {
        let value = value.map(|value| Bytes::from_static(value.as_bytes()));
        Sibling::new(Dot { hlc: Hlc(hlc), actor: actor(node) }, NodeTag(node), value, None)
    }

    fn below(floor: u64) -> Below<'static> {
        Below { floor: Hlc(floor), drift_ms_max: 500, is_member: &|actor| actor.node.0 < 100, ids_from: Hlc(0) }
    }

    fn stamps(object: &Object) -> Vec<u64> {
        object.siblings.iter().map(|sibling| sibling.dot.hlc.0).collect()
    }

    fn overwritten(writes: &[(u64, u64, Option<&'static str>)]) -> Object {
        let mut object = Object::default();
        writes.iter().for_each(|(node, hlc, value)| object.overwrite(sibling(*node, *hlc, *value)));
        object
    }

    #[test]
    fn a_lone_tombstone_goes_with_its_whole_past_and_not_before_all_of_it_is_settled() {
        let mut object = overwritten(&[(1, 5, Some("x")), (2, 9, None)]);
        assert!(!object.retire(&below(8)));
        assert_eq!(
            object.context.entries().len(),
            2,
            "facts: a whole object goes below the floor before its context shrinks"
        );
        assert!(object.retire(&below(9)));
        assert!(object.is_empty());
    }

    #[test]
    fn a_value_keeps_what_names_it_and_forgets_who_wrote_before() {
        let mut object = overwritten(&[(1, 5, Some("x")), (2, 9, Some("y"))]);
        assert!(object.retire(&below(20)));
        assert_eq!(object.context.entries(), [(actor(2), Hlc(9))]);
        assert_eq!(object.siblings.len(), 1);
        assert!(!object.retire(&below(20)));
    }

    #[test]
    fn a_tombstone_beside_a_value_stays_so_that_homes_do_not_differ_for_long() {
        let mut object = overwritten(&[(1, 5, None)]);
        object.put(&Default::default(), sibling(2, 7, Some("y")), Conflict::Siblings);
        assert!(!object.retire(&below(20)));
        assert_eq!(object.siblings.len(), 2);
    }

    #[test]
    fn an_expired_value_goes_when_the_floor_is_past_its_expiry_and_every_clocks_drift() {
        let mut object = Object::default();
        let mut value = sibling(1, 5, Some("x"));
        value.expiry = (Hlc(5), Some(1000));
        object.overwrite(value);
        assert!(!object.retire(&below(1500 << 16)));
        assert!(object.retire(&below(1501 << 16)));
        assert!(object.is_empty());
    }

    #[test]
    fn it_is_ripe_from_the_floor_on_at_which_something_goes() {
        let expiring = |node, at| {
            let mut value = sibling(node, 5 + node, Some("x"));
            value.expiry = (Hlc(5 + node), Some(at));
            value
        };
        let (mut once, mut twice, mut late) = (Object::default(), Object::default(), Object::default());
        once.overwrite(expiring(1, 1000));
        twice.put(&Default::default(), expiring(1, 3000), Conflict::Siblings);
        twice.put(&Default::default(), expiring(2, 2000), Conflict::Siblings);
        late.overwrite(expiring(1, 1000));
        late.siblings[0].increments.push((actor(2), Hlc(1900 << 16), 1));
        let tombstone = overwritten(&[(1, 5, None), (2, 9, None)]);
        let long = overwritten(&[
            (1, 1, Some("x")),
            (2, 2, Some("x")),
            (3, 3, Some("x")),
            (4, 4, Some("x")),
            (5, 5, Some("x")),
        ]);
        let mut long_and_expiring = long.clone();
        long_and_expiring.siblings[0].expiry = (Hlc(5), Some(1000));
        for (object, ripe_from) in [
            (once, 1501 << 16),
            (twice, 2501 << 16),
            (late, 1900 << 16),
            (tombstone, 9),
            (long, 5),
            (long_and_expiring, 5),
        ] {
            assert!(object.has_past());
            assert_eq!(object.ripe_from(500), Hlc(ripe_from), "{object:?}");
            assert!(!object.clone().retire(&below(ripe_from - 1)), "{object:?}");
            assert!(object.clone().retire(&below(ripe_from)), "{object:?}");
        }
    }

    #[test]
    fn what_is_kept_for_another_reason_does_not_hide_what_is_ripe_later() {
        let mut object = overwritten(&[(777, 5, Some("x")), (2, 9, Some("y"))]);
        object.siblings[0].expiry.1 = Some(1000);
        assert_eq!((object.ripe_from(500), object.ripe_after(Hlc(8), 500)), (Hlc(9), Some(Hlc(9))));
        assert!(!object.clone().retire(&below(20)), "the one who wrote first is no member");
        assert_eq!(object.ripe_after(Hlc(20), 500), Some(Hlc(1501 << 16)));
        assert!(object.clone().retire(&below(1501 << 16)));
        assert_eq!(object.ripe_after(Hlc(1501 << 16), 500), None);
    }

    #[test]
    fn a_register_or_an_increment_above_the_floor_keeps_all() {
        let mut object = overwritten(&[(1, 5, None)]);
        object.siblings[0].expiry = (Hlc(30), None);
        assert!(!object.retire(&below(20)));
        let mut object = overwritten(&[(1, 5, None)]);
        object.siblings[0].increments.push((actor(2), Hlc(30), 1));
        assert!(!object.retire(&below(20)));
    }

    #[test]
    fn a_request_id_is_remembered_for_its_time() {
        let mut object = overwritten(&[(777, 5, Some("x")), (2, 9, Some("y"))]);
        assert!(!object.retire(&Below { ids_from: Hlc(3), ..below(20) }));
        assert!(object.retire(&Below { ids_from: Hlc(6), ..below(20) }));
        assert_eq!(object.context.entries(), [(actor(2), Hlc(9))]);
    }

    #[test]
    fn an_old_copy_brings_only_what_is_new_or_known() {
        let held = overwritten(&[(1, 5, Some("known"))]);
        let mut old = overwritten(&[(1, 5, Some("known"))]);
        old.put(&Default::default(), sibling(2, 8, Some("forgotten")), Conflict::Siblings);
        old.put(&Default::default(), sibling(3, 30, Some("new")), Conflict::Siblings);
        assert!(old.has_forgotten(Hlc(10), &held) && !old.has_forgotten(Hlc(7), &held));
        assert_eq!(old.drop_forgotten(Hlc(10), &held), 1);
        assert_eq!(stamps(&old), [5, 30]);
    }

    #[test]
    fn what_is_settled_and_held_nowhere_else_goes_alone_and_stays_covered() {
        let mut object = overwritten(&[(1, 5, Some("forgotten by all others"))]);
        object.put(&Default::default(), sibling(2, 8, Some("held")), Conflict::Siblings);
        object.put(&Default::default(), sibling(3, 30, Some("new")), Conflict::Siblings);
        let may = |dot: &Dot| dot.hlc != Hlc(8);
        assert_eq!(object.drop_settled(Hlc(4), may), 0);
        assert_eq!(object.drop_settled(Hlc(10), may), 1);
        assert_eq!(stamps(&object), [8, 30]);
        assert!(object.context.covers(&Dot { hlc: Hlc(5), actor: actor(1) }));
    }

    #[test]
    fn what_was_counted_since_keeps_a_sibling_that_nobody_else_holds() {
        let mut object = overwritten(&[(1, 5, Some("1"))]);
        object.siblings[0].increments.push((actor(2), Hlc(30), 1));
        assert_eq!(object.drop_settled(Hlc(10), |_| true), 0);
        assert_eq!(object.drop_settled(Hlc(30), |_| true), 1);
    }
}
