//! For tests: what every state must hold to that nodes tell each other in any order, and more than once.
//!
//! A state's own `join` raises the first by the second and tells whether that changed it.

use std::fmt::Debug;

/// The two joined.
#[track_caller]
pub(crate) fn join<T: Clone + PartialEq + Debug>(a: &T, b: &T, join: impl Fn(&mut T, &T) -> bool) -> T {
    let mut result = a.clone();
    assert_eq!(join(&mut result, b), result != *a, "whether it changed: {a:?} joined with {b:?}");
    result
}

/// Holds when a join changes nothing that is joined already, and order and grouping do not matter. Gives the first two,
/// joined.
#[track_caller]
pub(crate) fn check<T: Clone + PartialEq + Debug>(a: &T, b: &T, c: &T, join: impl Fn(&mut T, &T) -> bool) -> T {
    let joined = |a: &T, b: &T| self::join(a, b, &join);
    assert_eq!(&joined(a, a), a);
    let ab = joined(a, b);
    assert_eq!(ab, joined(b, a));
    assert_eq!(joined(&ab, c), joined(a, &joined(b, c)));
    ab
}
