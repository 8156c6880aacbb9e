//! CLIENT PAUSE: for a while, no visitor's new wishes are taken.
//!
//! A sign stands on the counter: "back at three", or "reading only until three". Whoever comes reads it; the clerks who
//! are at work already go on. Taking the sign away wakes those who wait for it.
//!
//! # Contract
//! - A second pause makes the first stricter or longer, never milder or shorter (Redis's rule), as long as that one lasts.
//! - [`Pause::is_on`] costs one relaxed load while nothing is paused.
//! - It holds this node's clients only; other nodes' writes of the same keys come in as always.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The longest pause; a longer one is cut to it.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Commands that may change something.
    Writes = 1,
    /// Every command.
    All = 2,
}

/// The node's pause, if there is one.
#[derive(Debug, Default)]
pub struct Pause {
    /// 0: none; else what is held. Only a hint: whoever sees one looks at `sign`.
    hint: AtomicU8,
    sign: Mutex<Option<(Held, Instant)>>,
    lifted: Notify,
}

impl Pause {
    /// Holds commands up for `time`.
    pub fn begin(&self, held: Held, now: Instant, time: Duration) {
        let until = now + time.min(LONGEST);
        let mut sign = self.sign.lock();
        let longer = match *sign {
            Some((before, end)) if end > now => (before.max(held), end.max(until)),
            _ => (held, until),
        };
        *sign = Some(longer);
        self.hint.store(longer.0 as u8, Ordering::Relaxed);
    }

    /// Lets everything go on.
    pub fn end(&self) {
        *self.sign.lock() = None;
        self.hint.store(0, Ordering::Relaxed);
        self.lifted.notify_waiters();
    }

    /// Whether anything is held up, as far as a glance shows.
    pub fn is_on(&self) -> bool {
        self.hint.load(Ordering::Relaxed) != 0
    }

    /// Whether a command is held up just now.
    pub fn holds(&self, writes: bool) -> bool {
        self.until(writes, Instant::now()).is_some()
    }

    /// Until when a command is held up; none: it may go on.
    fn until(&self, writes: bool, now: Instant) -> Option<Instant> {
        if !self.is_on() {
            return None;
        }
        let mut sign = self.sign.lock();
        match *sign {
            Some((held, until)) if until > now => (writes || held == Held::All).then_some(until),
            _ => {
                *sign = None;
                self.hint.store(0, Ordering::Relaxed);
                None
            }
        }
    }

    /// Waits until a command may go on.
    pub async fn over(&self, writes: bool) {
        loop {
            let lifted = self.lifted.notified();
            tokio::pin!(lifted);
            lifted.as_mut().enable();
            let Some(until) = self.until(writes, Instant::now()) else { return };
            // A longer pause may have begun when this one is over: look again.
            let _ = timeout_at(until, lifted).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_second_pause_never_makes_the_first_milder_or_shorter() {
        let (pause, now) = (Pause::default(), Instant::now());
        assert_eq!(pause.until(true, now), None);
        pause.begin(Held::Writes, now, ms(100));
        assert_eq!((pause.until(true, now), pause.until(false, now)), (Some(now + ms(100)), None));
        pause.begin(Held::All, now, ms(50));
        assert_eq!(pause.until(false, now), Some(now + ms(100)));
        pause.begin(Held::Writes, now, ms(200));
        assert_eq!(pause.until(false, now + ms(199)), Some(now + ms(200)));
        assert_eq!(pause.until(true, now + ms(200)), None);
        assert!(!pause.is_on(), "the first to come after its end takes the sign away");
        pause.begin(Held::All, now, ms(10));
        pause.begin(Held::Writes, now + ms(10), ms(10));
        assert_eq!(pause.until(false, now + ms(11)), None, "one that is over has no say");
        pause.begin(Held::All, now, Duration::MAX);
        pause.end();
        assert_eq!(pause.until(true, now), None);
    }

    #[tokio::test]
    async fn who_waits_goes_on_at_the_end_and_when_it_is_lifted() {
        let pause = Arc::new(Pause::default());
        let begun = Instant::now();
        pause.begin(Held::Writes, begun, ms(20));
        pause.over(false).await;
        pause.over(true).await;
        assert!(begun.elapsed() >= ms(20), "it went on {:?} after the beginning", begun.elapsed());
        pause.begin(Held::All, Instant::now(), ms(100_000));
        let waiting = tokio::spawn({
            let pause = pause.clone();
            async move { pause.over(false).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        pause.end();
        waiting.await.unwrap();
        assert!(begun.elapsed() < ms(50_000));
    }
}
