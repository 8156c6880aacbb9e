//! Waiting by looking.

use std::time::{Duration, Instant};

/// How long between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Looks until `look` finds something; panics after `seconds`, naming what was waited for.
pub fn found<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {seconds} s in vain until {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks until `look` says yes; panics after `seconds`, naming what was waited for.
pub fn until(what: &str, seconds: u64, mut look: impl FnMut() -> bool) {
    found(what, seconds, || look().then_some(()));
}
