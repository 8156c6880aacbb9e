//! The lamp beside a member's card: whether it can be reached right now (§4.8.3).
//!
//! Three things must hold for the lamp to be lit: the line to the house stands, the neighbours do not say it is away,
//! and it has not let us wait in vain several times running. One answer, to anything, makes up for all waiting.
//!
//! What neighbours say is hearsay: whose own lines are bad spreads obituaries of the living. So when they say that a member
//! is away which answered us a moment ago, or answers when we ring, we believe our own ears, and ring again and again until
//! either the rumour ends or one ring stays unanswered. A member that told us that it stops is taken at its word.
//!
//! Two smaller marks concern only whom cluster clients are sent to: that somebody suspects the member, and that it said it
//! is about to stop. It is asked for its copies all the same.
//!
//! Beside it stands how soon the member answers: who is only slow is asked later, not held to be away.
//!
//! # Contract
//! Everything that is read for each request is a single atomic access. Whoever asks a member something reports
//! [`Health::answered`] or [`Health::late`], and once for each frame how long it took.

use crate::quorum::latency::Latency;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// So many answers in a row that did not come in time make a member unreachable.
pub const LATE_MAX: u32 = 3;

/// The tail of the answer times is drawn anew after so many of them.
const ANSWERS_PER_TAIL: u32 = 16;

/// What is known of one member's reachability.
#[derive(Debug)]
pub struct Health {
    link_up: AtomicBool,
    swim_up: AtomicBool,
    /// The failure detector holds it to be away, and that is not sure: it is rung up.
    disputed: AtomicBool,
    /// It is disputed, and answers.
    vouched: AtomicBool,
    /// Whether it has answered anything since the last look, and between that and the one before.
    heard: [AtomicBool; 2],
    suspected: AtomicBool,
    /// The life (start number) in which it said that it is about to stop; 0: none.
    left_life: AtomicU64,
    /// When the link came up last, in Unix milliseconds.
    link_since_ms: AtomicU64,
    late_in_a_row: AtomicU32,
    pinging: AtomicBool,
    /// How often the member was found unreachable: by the failure detector, and for not answering in time.
    downs: AtomicU64,
    lates: AtomicU64,
    answers: AtomicU32,
    latency: Mutex<Latency>,
    /// What the latency says, for all to read; 0: nothing.
    typical_us: AtomicU32,
    tail_us: AtomicU32,
}

impl Default for Health {
    /// The link is not up yet; the failure detector has nothing against the member.
    fn default() -> Health {
        Health {
            link_up: AtomicBool::new(false),
            swim_up: AtomicBool::new(true),
            disputed: AtomicBool::new(false),
            vouched: AtomicBool::new(false),
            heard: Default::default(),
            suspected: AtomicBool::new(false),
            left_life: AtomicU64::new(0),
            link_since_ms: AtomicU64::new(0),
            late_in_a_row: AtomicU32::new(0),
            pinging: AtomicBool::new(false),
            downs: AtomicU64::new(0),
            lates: AtomicU64::new(0),
            answers: AtomicU32::new(0),
            latency: Mutex::default(),
            typical_us: AtomicU32::new(0),
            tail_us: AtomicU32::new(0),
        }
    }
}

impl Health {
    /// Whether somebody suspects the member to be away, or the failure detector holds it to be.
    pub fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed) || !self.swim_up.load(Ordering::Relaxed)
    }

    /// The failure detector suspects the member, or does not any more.
    pub fn suspect(&self, suspected: bool) {
        self.suspected.store(suspected, Ordering::Relaxed);
    }

    /// Whether the member has said that it is about to stop, in this life or a later one.
    pub fn has_left(&self, life: u64) -> bool {
        self.left_life.load(Ordering::Relaxed) >= life.max(1)
    }

    /// The member says that it is about to stop.
    pub fn leaves(&self, life: u64) {
        self.left_life.fetch_max(life, Ordering::Relaxed);
    }

    /// When the link came up last, in Unix milliseconds.
    pub fn link_since_ms(&self) -> u64 {
        self.link_since_ms.load(Ordering::Relaxed)
    }

    /// Whether it makes sense to send the member anything.
    pub fn is_reachable(&self) -> bool {
        let is_there = || self.swim_up.load(Ordering::Relaxed) || self.vouched.load(Ordering::Relaxed);
        self.link_up.load(Ordering::Relaxed) && is_there() && !self.is_late()
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
        if !self.heard[0].load(Ordering::Relaxed) {
            self.heard[0].store(true, Ordering::Relaxed);
        }
    }

    /// To be called every so often: what was answered before the last call is no news any more.
    pub fn look(&self) {
        self.heard[1].store(self.heard[0].swap(false, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The member did not answer something in time.
    pub fn late(&self) {
        // Wrapping after four thousand million would only light the lamp for a moment.
        if self.late_in_a_row.fetch_add(1, Ordering::Relaxed) + 1 == LATE_MAX {
            self.lates.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A frame with reads was answered after so long, or has not been up to now. `percentile`: how much of the answers the
    /// tail is to hold.
    pub fn took(&self, took: Duration, percentile: u8) {
        let mut latency = self.latency.lock();
        latency.answered(micros(took));
        if self.answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(ANSWERS_PER_TAIL) {
            self.tail_us.store(latency.tail_us(percentile).unwrap_or_default(), Ordering::Relaxed);
        }
        self.typical_us.store(latency.typical_us(), Ordering::Relaxed);
    }

    /// Another question was answered after so long.
    pub fn heard(&self, took: Duration) {
        let mut latency = self.latency.lock();
        latency.heard(micros(took));
        self.typical_us.store(latency.typical_us(), Ordering::Relaxed);
    }

    /// A second has passed.
    pub fn age(&self) {
        let mut latency = self.latency.lock();
        latency.age();
        self.typical_us.store(latency.typical_us(), Ordering::Relaxed);
    }

    /// How long an answer takes as a rule, in microseconds; 0: nobody knows.
    pub fn typical_us(&self) -> u32 {
        self.typical_us.load(Ordering::Relaxed)
    }

    /// Within which time nearly all answers to reads come.
    pub fn tail(&self) -> Option<Duration> {
        let us = self.tail_us.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us.into()))
    }

    /// How often the failure detector held the member to be away, and how often it was for its late answers.
    pub fn fallen(&self) -> (u64, u64) {
        (self.downs.load(Ordering::Relaxed), self.lates.load(Ordering::Relaxed))
    }

    /// The link came up or went down at this Unix millisecond. A new connection starts with a clean slate.
    pub fn link(&self, up: bool, now_ms: u64) {
        self.late_in_a_row.store(0, Ordering::Relaxed);
        if up {
            self.link_since_ms.store(now_ms, Ordering::Relaxed);
        }
        self.link_up.store(up, Ordering::Relaxed);
    }

    /// The failure detector saw the member come or go; `left`: it said itself that it stops. Whether it can be reached all the
    /// same is to be found out by a ping.
    pub fn swim(&self, up: bool, left: bool) {
        let disputed = !up && !left;
        let vouched = disputed && self.heard.iter().any(|heard| heard.load(Ordering::Relaxed));
        self.disputed.store(disputed, Ordering::Relaxed);
        self.vouched.store(vouched, Ordering::Relaxed);
        if self.swim_up.swap(up, Ordering::Relaxed) && !up && !vouched {
            self.downs.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether a ping should be sent now: the member is late or disputed, its link stands, and no ping is on its way. If so,
    /// one is from now on, until [`Health::pinged`].
    pub fn wants_ping(&self) -> bool {
        let in_doubt = self.is_late() || self.disputed.load(Ordering::Relaxed);
        in_doubt && self.is_link_up() && !self.pinging.swap(true, Ordering::Relaxed)
    }

    /// A ping has been answered, or not in time.
    pub fn pinged(&self, answered: bool) {
        if answered {
            self.answered();
        }
        if self.disputed.load(Ordering::Relaxed) {
            self.disputed.store(answered, Ordering::Relaxed);
            if self.vouched.swap(answered, Ordering::Relaxed) && !answered {
                self.downs.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.pinging.store(false, Ordering::Relaxed);
    }
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fall_is_counted_once_and_the_tail_follows_the_answers() {
        let health = Health::default();
        health.link(true, 0);
        (0..2).for_each(|_| health.swim(false, false));
        health.swim(true, false);
        (0..9).for_each(|_| health.late());
        assert_eq!(health.fallen(), (1, 1));
        assert_eq!((health.tail(), health.typical_us()), (None, 0));
        (0..17).for_each(|_| health.took(Duration::from_micros(900), 99));
        assert!(health.tail().is_some_and(|tail| tail >= Duration::from_micros(900)));
        health.heard(Duration::from_millis(80));
        assert!(health.typical_us() > 5000);
        assert!(health.tail().is_some_and(|tail| tail < Duration::from_millis(2)), "no read took so long");
    }

    #[test]
    fn who_said_goodbye_is_back_in_its_next_life_and_not_before() {
        let health = Health::default();
        assert!(!health.has_left(0) && !health.has_left(3));
        health.leaves(3);
        health.link(false, 1);
        health.link(true, 2);
        assert!(health.has_left(3) && health.has_left(2), "an old line of it is no return");
        assert!(!health.has_left(4));
        assert_eq!(health.link_since_ms(), 2);
    }

    #[test]
    fn all_three_must_hold() {
        let health = Health::default();
        assert!(!health.is_reachable(), "no link yet");
        health.link(true, 0);
        assert!(health.is_reachable());
        health.swim(false, false);
        assert!(!health.is_reachable());
        health.swim(true, false);
        health.link(false, 0);
        assert!(!health.is_reachable());
    }

    #[test]
    fn who_answers_is_not_away_because_others_say_so() {
        let health = Health::default();
        health.link(true, 0);
        health.answered();
        health.look();
        health.swim(false, false);
        assert!(health.is_reachable() && health.is_suspected(), "it answered a moment ago");
        for _ in 0..3 {
            assert!(health.wants_ping());
            health.pinged(true);
            assert!(health.is_reachable());
        }
        assert!(health.wants_ping());
        health.pinged(false);
        assert!(!health.is_reachable() && !health.wants_ping(), "one ring unanswered, and they were right");
        assert_eq!(health.fallen(), (1, 0));
        health.swim(true, false);
        assert!(health.is_reachable() && !health.is_suspected());
    }

    #[test]
    fn who_was_silent_for_a_while_is_away_until_it_answers_a_ping() {
        let health = Health::default();
        health.link(true, 0);
        health.answered();
        (0..2).for_each(|_| health.look());
        health.swim(false, false);
        assert!(!health.is_reachable());
        assert_eq!(health.fallen(), (1, 0));
        assert!(health.wants_ping());
        health.pinged(true);
        assert!(health.is_reachable());
    }

    #[test]
    fn who_said_that_it_stops_is_away_though_it_answers() {
        let health = Health::default();
        health.link(true, 0);
        health.answered();
        health.swim(false, true);
        assert!(!health.is_reachable() && !health.wants_ping());
    }

    #[test]
    fn three_late_answers_in_a_row_put_the_lamp_out_and_one_answer_lights_it() {
        let health = Health::default();
        health.link(true, 0);
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
