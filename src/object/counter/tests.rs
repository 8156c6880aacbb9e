use super::*;
use crate::causality::Context;

const NOW_MS: u64 = 1_000;

fn actor(node: u64) -> Actor {
    Actor { node: NodeTag(node), birth: Hlc(1) }
}

fn holding(value: &'static str, node: u64, hlc: u64) -> Object {
    let mut object = Object::default();
    beside(&mut object, value, node, hlc, None);
    object
}

fn beside(object: &mut Object, value: &'static str, node: u64, hlc: u64, expiry: Option<u64>) {
    let dot = Dot { hlc: Hlc(hlc), actor: actor(node) };
    let sibling = Sibling::new(dot, NodeTag(node), Some(Bytes::from_static(value.as_bytes())), expiry);
    object.put(&Context::new(), sibling, Conflict::Siblings);
}

fn try_add(object: &mut Object, node: u64, hlc: u64, amounts: &[i64]) -> Result<(Numbers, Entry), NotAdded> {
    let increment = Increment { amounts, actor: actor(node), minter: NodeTag(node), stamp: Hlc(hlc), now_ms: NOW_MS };
    object.increment(&increment, Conflict::Siblings, |_| false)
}

fn add(object: &mut Object, node: u64, hlc: u64, amount: i64) -> Option<i64> {
    try_add(object, node, hlc, &[amount]).unwrap().0[0]
}

fn shown(object: &Object) -> String {
    String::from_utf8(object.shown_value(NOW_MS).unwrap().to_vec()).unwrap()
}

fn merged(a: &Object, b: &Object) -> Object {
    a.clone().merge(b.clone(), Conflict::Siblings)
}

#[test]
fn a_counter_begins_at_nothing_and_makes_no_second_sibling() {
    let mut object = Object::default();
    assert_eq!(add(&mut object, 1, 5, 3), Some(3));
    assert_eq!(add(&mut object, 2, 6, -10), Some(-7));
    assert_eq!((object.siblings.len(), shown(&object).as_str()), (1, "-7"));
    assert_eq!(object.context.entries().len(), 1, "an entry is no dot");
}

#[test]
fn counters_begun_at_the_same_time_add_up_and_are_one_value() {
    let (mut a, mut b) = (Object::default(), Object::default());
    add(&mut a, 1, 5, 3);
    add(&mut b, 2, 6, 4);
    let mut both = merged(&a, &b);
    assert_eq!((both.siblings.len(), shown(&both).as_str()), (2, "7"));
    assert_eq!(add(&mut both, 1, 9, 1), Some(8));
    assert_eq!(both.shown_values(NOW_MS).collect::<Vec<_>>(), ["8"]);
    beside(&mut both, "other", 3, 10, None);
    assert_eq!(both.shown_values(NOW_MS).collect::<Vec<_>>(), ["8", "other"]);
    assert_eq!(shown(&both), "other");
}

#[test]
fn a_number_that_was_set_is_added_to_with_its_expiry() {
    let mut object = Object::default();
    beside(&mut object, "41", 1, 5, Some(NOW_MS + 1));
    assert_eq!(add(&mut object, 2, 6, 1), Some(42));
    assert_eq!((shown(&object).as_str(), object.siblings[0].expiry), ("42", (Hlc(5), Some(NOW_MS + 1))));
    assert_eq!(object.shown_value(NOW_MS + 1), None);
}

#[test]
fn what_has_expired_or_was_deleted_is_begun_anew_and_does_not_come_back() {
    let mut object = Object::default();
    beside(&mut object, "41", 1, 5, Some(NOW_MS));
    let tombstone = Sibling::new(Dot { hlc: Hlc(6), actor: actor(2) }, NodeTag(2), None, None);
    object.put(&Context::new(), tombstone, Conflict::Siblings);
    let old = object.clone();
    assert_eq!(add(&mut object, 3, 7, 1), Some(1));
    assert_eq!(merged(&old, &object), object);
}

#[test]
fn what_is_no_number_is_not_added_to() {
    for value in ["", "abc", "007", " 1", "1.0", "9223372036854775808"] {
        let mut object = holding(value, 1, 5);
        assert_eq!(try_add(&mut object, 2, 6, &[1]), Err(NotAdded::NotInteger), "{value:?}");
        assert_eq!(object, holding(value, 1, 5));
    }
}

#[test]
fn an_amount_that_does_not_fit_is_left_out_and_the_others_count() {
    let mut object = holding("9223372036854775806", 1, 5);
    let (numbers, _) = try_add(&mut object, 2, 6, &[1, 1, -2]).unwrap();
    assert_eq!(numbers.as_slice(), [Some(i64::MAX), None, Some(i64::MAX - 2)]);
    assert_eq!(shown(&object), (i64::MAX - 2).to_string());
    assert_eq!(try_add(&mut object, 2, 7, &[3]), Err(NotAdded::Overflow));
    assert_eq!(try_add(&mut holding("-9223372036854775808", 1, 5), 2, 6, &[-1]), Err(NotAdded::Overflow));
}

#[test]
fn several_actors_beyond_64_bits_lose_nothing_and_find_back() {
    let base = holding("9223372036854775806", 1, 5);
    let (mut a, mut b) = (base.clone(), base);
    add(&mut a, 1, 6, 1);
    add(&mut b, 2, 6, 1);
    let mut both = merged(&a, &b);
    assert_eq!(shown(&both), "9223372036854775808");
    assert_eq!(try_add(&mut both, 3, 7, &[1]), Err(NotAdded::Overflow));
    assert_eq!(add(&mut both, 3, 7, -1), Some(i64::MAX));
}

#[test]
fn an_actor_whose_own_sum_is_full_needs_another_name() {
    let mut object = Object::default();
    add(&mut object, 1, 5, i64::MAX);
    add(&mut object, 2, 6, -i64::MAX);
    assert_eq!(try_add(&mut object, 1, 7, &[1]), Err(NotAdded::ActorFull));
    assert_eq!(shown(&object), "0");
    assert_eq!(add(&mut object, 3, 7, 1), Some(1));
}

/// facts: F's entry (F → 6, sum 3) handed off and forgotten; then (F → 9, sum 1).
#[test]
fn an_actor_that_outlived_what_it_added_would_lose_it() {
    let mut kept = Object::default();
    add(&mut kept, 1, 6, 3);
    let mut anew = holding("0", 9, 1);
    anew.siblings = kept.siblings.clone();
    anew.context = kept.context.clone();
    anew.siblings[0].increments.clear();
    let mut under_the_old_name = anew.clone();
    add(&mut under_the_old_name, 1, 9, 1);
    assert_eq!(shown(&merged(&kept, &under_the_old_name)), "1", "which is why names go with the record");
    let increment = Increment {
        amounts: &[1],
        actor: Actor { node: NodeTag(1), birth: Hlc(9) },
        minter: NodeTag(1),
        stamp: Hlc(9),
        now_ms: 0,
    };
    anew.increment(&increment, Conflict::Siblings, |_| false).unwrap();
    assert_eq!(shown(&merged(&kept, &anew)), "4");
}

#[test]
fn a_doubtful_sibling_is_neither_added_to_nor_replaced() {
    let mut object = Object::default();
    add(&mut object, 1, 5, 3);
    let increment = Increment { amounts: &[1], actor: actor(2), minter: NodeTag(2), stamp: Hlc(9), now_ms: NOW_MS };
    let (numbers, entry) = object.increment(&increment, Conflict::Siblings, |old| old.dot.hlc <= Hlc(7)).unwrap();
    assert_eq!((numbers.as_slice(), entry.sibling.hlc), ([Some(4)].as_slice(), Hlc(9)));
    object.siblings.remove(0);
    assert_eq!(shown(&object), "1", "should the old one turn out forgotten, what was added since is still there");
}

#[test]
fn an_entry_is_there_until_its_sibling_is_replaced_and_then_counts_as_there() {
    let mut object = Object::default();
    let (_, first) = try_add(&mut object, 1, 5, &[3]).unwrap();
    let before = object.clone();
    let (_, entry) = try_add(&mut object, 1, 6, &[3]).unwrap();
    assert!(object.has_entry(&entry) && object.has_entry(&first));
    assert!(!before.has_entry(&entry) && before.has_entry(&first));
    assert!(!Object::default().has_entry(&first));
    object.overwrite(Sibling::new(Dot { hlc: Hlc(9), actor: actor(2) }, NodeTag(2), None, None));
    assert!(object.has_entry(&entry));
}

#[test]
fn of_the_number_only_what_is_live_is_shown() {
    let (mut a, mut b) = (Object::default(), Object::default());
    add(&mut a, 1, 5, 3);
    a.expire(0, Hlc(6), Some(NOW_MS));
    add(&mut b, 2, 6, 4);
    assert_eq!(shown(&merged(&a, &b)), "4");
}
