//! The lamp beside a member's card: whether it can be reached right now (§4.8.3).
//!
//! Three things must hold for the lamp to be lit: the line to the house stands, the neighbours do not say it is away,
//! and it has not let us wait in vain several times running. One answer, to anything, makes up for all waiting.
//!
//! # Contract
//! Everything here is a single atomic access: it is read for every request. Whoever asks a member something reports
//! [`Health::answered`] or [`Health::late`].

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// So many answers in a row that did not come in time make a member unreachable.
pub const LATE_MAX: u32 = 3;

/// What is known of one member's reachability.
#[derive(Debug)]
pub struct Health {
    link_up: AtomicBool,
    swim_up: AtomicBool,
    late_in_a_row: AtomicU32,
    pinging: AtomicBool,
}

impl Default for Health {
    /// The link is not up yet; the failure detector has nothing against the member.
    fn default() -> Health {
        Health {
            link_up: AtomicBool::new(false),
            swim_up: AtomicBool::new(true),
            late_in_a_row: AtomicU32::new(0),
            pinging: AtomicBool::new(false),
        }
    }
}

impl Health {
    /// Whether it makes sense to send the member anything.
    pub fn is_reachable(&self) -> bool {
        self.link_up.load(Ordering::Relaxed) && self.swim_up.load(Ordering::Relaxed) && !self.is_late()
    }

    /// Whether the link stands.
    pub fn is_link_up(&self) -> bool {
        self.link_up.load(Ordering::Relaxed)
    }

    /// Whether it is unreachable for not answering in time.
    pub fn is_late(&self) -> bool {
        self.late_in_a_row.load(Ordering::Relaxed) >= LATE_MAX
    }

    /// The member answered something.
    pub fn answered(&self) {
        // Read first: the line is shared by all cores, and nearly always nothing changes.
        if self.late_in_a_row.load(Ordering::Relaxed) != 0 {
            self.late_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// The member did not answer something in time.
    pub fn late(&self) {
        // Wrapping after four thousand million would only light the lamp for a moment.
        self.late_in_a_row.fetch_add(1, Ordering::Relaxed);
    }

    /// The link came up or went down. A new connection starts with a clean slate.
    pub fn link(&self, up: bool) {
        self.late_in_a_row.store(0, Ordering::Relaxed);
        self.link_up.store(up, Ordering::Relaxed);
    }

    /// The failure detector saw the member come or go.
    pub fn swim(&self, up: bool) {
        self.swim_up.store(up, Ordering::Relaxed);
    }

    /// Whether a ping should be sent now: the member is late, its link stands, and no ping is on its way. If so, one is
    /// from now on, until [`Health::pinged`].
    pub fn wants_ping(&self) -> bool {
        self.is_late() && self.is_link_up() && !self.pinging.swap(true, Ordering::Relaxed)
    }

    /// A ping has been answered, or not in time.
    pub fn pinged(&self, answered: bool) {
        if answered {
            self.answered();
        }
        self.pinging.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_must_hold() {
        let health = Health::default();
        assert!(!health.is_reachable(), "no link yet");
        health.link(true);
        assert!(health.is_reachable());
        health.swim(false);
        assert!(!health.is_reachable());
        health.swim(true);
        health.link(false);
        assert!(!health.is_reachable());
    }

    #[test]
    fn three_late_answers_in_a_row_put_the_lamp_out_and_one_answer_lights_it() {
        let health = Health::default();
        health.link(true);
        for _ in 0..5 {
            health.late();
            health.late();
            health.answered();
        }
        assert!(health.is_reachable(), "never three in a row");
        (0..3).for_each(|_| health.late());
        assert!(!health.is_reachable());
        assert!(health.wants_ping());
        assert!(!health.wants_ping(), "one ping at a time");
        health.pinged(false);
        assert!(!health.is_reachable());
        assert!(health.wants_ping());
        health.pinged(true);
        assert!(health.is_reachable());
        assert!(!health.wants_ping());
    }
}
