//! What others have left for a visitor: messages of channels, and what a monitor watches.
//!
//! Picture the pigeonhole behind the counter. Anyone in the house may put a letter into a visitor's pigeonhole, without
//! waiting; the visitor's own clerk hands the letters over between answers. A pigeonhole holds so much and no more: who
//! lets it fill up is shown out, and what lay there is thrown away.
//!
//! # Contract
//! - Items leave in the order they came. [`Outgoing::come`] numbers them: an item is the so-manieth that ever came.
//! - What lies here and what is being written ([`Outgoing::take`] until [`Outgoing::written`]) together stay within the
//!   [`OutputLimit`] by one item at most; beyond it [`Outgoing::leave`] says [`Left::TooMuch`], once, and from then on
//!   nothing is kept.
//!
//! It refuses to wait, to write, and to know what an item means.

use crate::config::OutputLimit;
use crate::world::Instant;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::time::Duration;

/// What keeping an item costs beyond its bytes, so that many empty items count too.
const ITEM_WEIGHT_BYTES: usize = 64;

/// What became of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It lies alone: the visitor's clerk is to be called.
    First,
    /// It lies behind others.
    Behind,
    /// The limit is passed: all was thrown away, and the visitor is to be shown out.
    TooMuch,
    /// The visitor is being shown out already.
    Closed,
}

/// One visitor's pigeonhole.
#[derive(Debug, Default)]
pub struct Outgoing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Bytes>,
    come: u64,
    /// Of the items here and of those being written.
    weight_bytes: usize,
    pressure: Pressure,
    closed: bool,
}

impl Outgoing {
    /// Leaves an item: one or more whole replies, encoded.
    pub fn leave(&self, item: Bytes, limit: &OutputLimit) -> Left {
        let mut state = self.0.lock();
        if state.closed {
            return Left::Closed;
        }
        if !state.pressure.is_of_interest(state.weight_bytes, limit) {
            // It was handed over meanwhile.
            state.pressure = Pressure::default();
        }
        state.weight_bytes += item.len() + ITEM_WEIGHT_BYTES;
        state.come += 1;
        let first = state.items.is_empty();
        state.items.push_back(item);
        if state.is_too_much(limit) {
            state.closed = true;
            state.items = VecDeque::new();
            return Left::TooMuch;
        }
        if first { Left::First } else { Left::Behind }
    }

    /// How many items ever came.
    pub fn come(&self) -> u64 {
        self.0.lock().come
    }

    /// Appends to `out` the items that came before so many had come, until they are `bytes_max` or more; gives their
    /// weight, for [`Outgoing::written`].
    pub fn take(&self, come: u64, bytes_max: usize, out: &mut BytesMut) -> usize {
        let mut state = self.0.lock();
        let (mut weight, room) = (0, out.len() + bytes_max);
        while out.len() < room && state.come - (state.items.len() as u64) < come {
            let Some(item) = state.items.pop_front() else { break };
            weight += item.len() + ITEM_WEIGHT_BYTES;
            out.extend_from_slice(&item);
        }
        if state.items.is_empty() && state.items.capacity() > 1024 {
            state.items = VecDeque::new();
        }
        weight
    }

    /// Items of such a weight were written.
    pub fn written(&self, weight_bytes: usize) {
        self.0.lock().weight_bytes -= weight_bytes;
    }

    /// Whether the visitor has let too much lie for too long, although nothing more comes.
    pub fn is_overdue(&self, limit: &OutputLimit) -> bool {
        self.0.lock().is_too_much(limit)
    }

    /// How many items lie here, and what they and those being written weigh.
    pub fn load(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.items.len(), state.weight_bytes)
    }
}

impl State {
    fn is_too_much(&mut self, limit: &OutputLimit) -> bool {
        // The clock is read only when it matters.
        let now = self.pressure.is_of_interest(self.weight_bytes, limit).then(Instant::now);
        self.pressure.is_too_much(self.weight_bytes, limit, now)
    }
}

/// Since when more than the soft limit lies here: Redis's rule, without a clock.
#[derive(Debug, Default)]
struct Pressure {
    since: Option<Instant>,
}

impl Pressure {
    fn is_of_interest(&self, bytes: usize, limit: &OutputLimit) -> bool {
        limit.soft_bytes > 0 && bytes as u64 >= limit.soft_bytes
    }

    /// `now` is there when the load [is of interest](Pressure::is_of_interest).
    fn is_too_much(&mut self, bytes: usize, limit: &OutputLimit, now: Option<Instant>) -> bool {
        if limit.hard_bytes > 0 && bytes as u64 >= limit.hard_bytes {
            return true;
        }
        let Some(now) = now else {
            self.since = None;
            return false;
        };
        let since = *self.since.get_or_insert(now);
        now.duration_since(since) > Duration::from_secs(limit.soft_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HARD: OutputLimit = OutputLimit { hard_bytes: 1000, soft_bytes: 0, soft_s: 0 };

    fn item(byte: u8, length: usize) -> Bytes {
        Bytes::from(vec![byte; length])
    }

    #[test]
    fn items_leave_in_order_and_up_to_a_place() {
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.leave(item(b'a', 1), &HARD), Left::First);
        let after_the_first = outgoing.come();
        assert_eq!(outgoing.leave(item(b'b', 1), &HARD), Left::Behind);
        let mut out = BytesMut::new();
        let weight = outgoing.take(after_the_first, 100, &mut out);
        assert_eq!((&out[..], weight), (&b"a"[..], 1 + ITEM_WEIGHT_BYTES));
        assert_eq!(outgoing.take(after_the_first, 100, &mut out), 0);
        assert_eq!(outgoing.load(), (1, 2 * (1 + ITEM_WEIGHT_BYTES)), "what is being written still counts");
        outgoing.written(weight);
        assert_eq!(outgoing.load(), (1, 1 + ITEM_WEIGHT_BYTES));
        outgoing.leave(item(b'c', 1), &HARD);
        assert_eq!(outgoing.take(u64::MAX, 1, &mut out), 1 + ITEM_WEIGHT_BYTES, "at least one, and then no more");
        outgoing.take(u64::MAX, 100, &mut out);
        assert_eq!(&out[..], b"abc");
        assert_eq!(outgoing.leave(item(b'd', 1), &HARD), Left::First);
    }

    #[test]
    fn at_the_hard_limit_all_is_thrown_away() {
        let outgoing = Outgoing::default();
        outgoing.leave(item(b'a', 900), &HARD);
        let mut out = BytesMut::new();
        outgoing.take(u64::MAX, 1000, &mut out);
        assert_eq!(outgoing.leave(item(b'b', 10), &HARD), Left::TooMuch, "what is being written counts");
        assert_eq!(outgoing.leave(item(b'b', 10), &HARD), Left::Closed);
        assert_eq!(outgoing.take(u64::MAX, 1000, &mut out), 0);
        let unbounded = OutputLimit { hard_bytes: 0, ..HARD };
        let outgoing = Outgoing::default();
        assert_eq!(outgoing.leave(item(b'a', 100_000), &unbounded), Left::First);
        assert!(!outgoing.is_overdue(&unbounded));
    }

    #[test]
    fn who_took_everything_meanwhile_has_the_time_of_the_soft_limit_anew() {
        let limit = OutputLimit { hard_bytes: 0, soft_bytes: 100, soft_s: 0 };
        let outgoing = Outgoing::default();
        for _ in 0..2 {
            assert_eq!(outgoing.leave(item(b'a', 100), &limit), Left::First);
            outgoing.written(outgoing.take(u64::MAX, 1000, &mut BytesMut::new()));
        }
        outgoing.leave(item(b'a', 100), &limit);
        let start = Instant::now();
        while start.elapsed().is_zero() {}
        assert!(outgoing.is_overdue(&limit), "who takes nothing has not");
    }

    #[test]
    fn the_soft_limit_may_be_passed_for_a_while() {
        let limit = OutputLimit { hard_bytes: 1000, soft_bytes: 100, soft_s: 2 };
        let (mut pressure, start) = (Pressure::default(), Instant::now());
        let mut at = |bytes: usize, seconds: u64| {
            let now = pressure.is_of_interest(bytes, &limit).then_some(start + Duration::from_secs(seconds));
            pressure.is_too_much(bytes, &limit, now)
        };
        assert!(!at(99, 0) && !at(100, 1) && !at(500, 3));
        assert!(!at(99, 4), "below it the time starts anew");
        assert!(!at(100, 5) && !at(100, 7) && at(100, 8));
        assert!(at(1000, 0), "the hard limit knows no time");
    }
}
