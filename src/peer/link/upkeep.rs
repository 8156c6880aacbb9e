//! Keeping a link up: dial, run the connection to its end, pause, dial again.

use super::Link;
use crate::peer::greet::{DialError, Line, dial};
use crate::peer::outbox::Outbox;
use crate::peer::settings::{Limits, PeerStats};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

impl Link {
    pub(super) async fn run(self: Arc<Link>) {
        let mut stop = self.stop.subscribe();
        let mut up = false;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => {}
            () = self.dial_for_ever(&mut up) => {}
        }
        self.go_down(&mut up);
    }

    async fn dial_for_ever(self: &Arc<Link>, up: &mut bool) {
        let mut pause = Pause::new(&self.settings.limits);
        let mut trouble = String::new();
        let mut was_up = false;
        loop {
            match dial(&self.settings, &self.address, Some(self.peer)).await {
                Ok(line) => {
                    trouble.clear();
                    PeerStats::add(&self.settings.stats.reconnects, usize::from(was_up));
                    was_up = true;
                    if self.keep_up(line, up).await >= self.settings.limits.steady {
                        pause = Pause::new(&self.settings.limits);
                        continue;
                    }
                }
                Err(error) => self.note(error, &mut trouble),
            }
            tokio::select! {
                biased;
                () = self.retry.notified() => pause = Pause::new(&self.settings.limits),
                () = sleep(pause.next(self.settings.jitter())) => {}
            }
        }
    }

    /// A link that stays down is mentioned once per reason, not once per try.
    fn note(&self, error: DialError, trouble: &mut String) {
        let sentence = error.to_string();
        if sentence != *trouble {
            tracing::warn!(peer = %self.peer, address = self.address, "cannot connect: {sentence}");
            *trouble = sentence;
        }
    }

    /// Runs one connection to its end; says how long it lasted.
    async fn keep_up(self: &Arc<Link>, line: Line, up: &mut bool) -> Duration {
        let born = Instant::now();
        let limits = &self.settings.limits;
        let outbox = Arc::new(Outbox::new(limits.queue_bytes, limits.queue_bytes_max));
        {
            let mut state = self.state.lock();
            if state.stopped {
                return Duration::ZERO;
            }
            state.outbox = Some(outbox.clone());
            state.hello = Some(line.hello);
            state.unheard_since = None;
        }
        *up = true;
        tracing::info!(peer = %self.peer, address = self.address, "connected");
        (self.on_change)(self.peer, true);
        // A task of its own, so that a panic in somebody's `done` ends the connection and not the link. A set, so that
        // the task ends with this function.
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().converse(line.stream.into_split(), line.buffer, outbox));
        match tasks.join_next().await {
            Some(Ok(Err(error))) => tracing::warn!(peer = %self.peer, "disconnected: {error}"),
            Some(Err(error)) => tracing::error!(peer = %self.peer, "disconnected by a fault of this node: {error}"),
            None => {}
        }
        self.go_down(up);
        born.elapsed()
    }

    fn go_down(&self, up: &mut bool) {
        let failed = self.close();
        if std::mem::take(up) {
            (self.on_change)(self.peer, false);
        }
        for (done, error) in failed {
            done(Err(error));
        }
    }
}

/// The pause before the next try: doubling, with jitter.
struct Pause {
    next: Duration,
    max: Duration,
}

impl Pause {
    fn new(limits: &Limits) -> Pause {
        Pause { next: limits.pause.0, max: limits.pause.1 }
    }

    fn next(&mut self, jitter: f64) -> Duration {
        let pause = self.next.mul_f64(jitter);
        self.next = (self.next * 2).min(self.max);
        pause
    }
}
