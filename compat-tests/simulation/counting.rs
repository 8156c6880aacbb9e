//! What clients added to counters, and what must come out when everything is healed.
//!
//! No client knows the number; each knows what it asked to be added and what it was told. So the number lies between what
//! was acknowledged and what was sent, and what was refused is not in it.

use crate::clients::Outcome;
use dynamis::key::StorageKey;
use dynamis::object::Object;
use std::collections::BTreeMap;

/// Counters in a run that counts.
pub const COUNTERS: usize = 3;

/// Added at a time, from to.
pub const AMOUNTS: std::ops::RangeInclusive<i64> = -3..=9;

/// An addition, as its client knows it.
#[derive(Clone, Debug)]
pub struct Addition {
    /// The counter.
    pub key: String,
    /// What was to be added.
    pub amount: i64,
    /// How it ended.
    pub outcome: Outcome,
}

/// The counters' names.
pub fn names() -> impl Iterator<Item = String> {
    (0..COUNTERS).map(|number| format!("n{number}"))
}

/// Every counter that says more or less than it may.
pub fn faults(copies: &BTreeMap<StorageKey, Object>, additions: &[Addition]) -> Vec<String> {
    let fault = |(key, copy): (&StorageKey, &Object)| {
        let name = crate::checker::shown(key);
        let of_key = || additions.iter().filter(|addition| addition.key == name);
        let (mut least, mut most) = (0, 0);
        for Addition { amount, outcome, .. } in of_key() {
            match outcome {
                Outcome::Acknowledged(_) => (least, most) = (least + amount, most + amount),
                Outcome::Unsure(_) => (least, most) = (least + amount.min(&0), most + amount.max(&0)),
                Outcome::Refused(_) => {}
            }
        }
        let number = copy.shown_value(0).map_or(Ok(0), |value| String::from_utf8_lossy(&value).parse::<i64>());
        let number = number.expect("a counter holds a number");
        let story: Vec<String> = of_key().map(|addition| format!("{addition:?}")).collect();
        let right = (least..=most).contains(&number);
        (!right).then(|| format!("{name}: {number} is not in {least}..={most}: {copy:?}\n{}", story.join("\n")))
    };
    copies.iter().filter_map(fault).collect()
}
