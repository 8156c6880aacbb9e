//! What a connection's writes have been acknowledged by: WAIT's memory.
//!
//! Redis counts the replicas that follow a primary; here the coordinator's own copy is the primary's part, so a write
//! that all N homes have acknowledged counts N−1.

use super::round::Round;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Rounds remembered while their last answers are on the way, or could be asked for; beyond that the oldest counts as it
/// stands.
const ROUNDS_MAX: usize = 64;

/// How often the replicas of writes that another coordinator ran are asked.
const CONFIRM_EVERY: Duration = Duration::from_millis(20);

/// One connection's record. Cheap when nobody waits.
#[derive(Default)]
pub struct AckLog {
    bell: Arc<Notify>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// The fewest replicas any finished write since the last WAIT was acknowledged by.
    least: Option<usize>,
    open: VecDeque<Arc<Round>>,
}

impl Log {
    fn fold(&mut self, acknowledged: Option<usize>) {
        self.least = [self.least, acknowledged].into_iter().flatten().min();
    }

    /// Folds rounds that will not change any more.
    fn prune(&mut self) {
        while let Some(round) = self.open.front() {
            let (acknowledged, settled) = round.acknowledged();
            if !settled && self.open.len() <= ROUNDS_MAX {
                return;
            }
            self.open.pop_front();
            self.fold(acknowledged);
        }
    }

    /// Rounds with writes that another coordinator ran.
    fn away(&self) -> Vec<Arc<Round>> {
        self.open.iter().filter(|round| round.is_away()).cloned().collect()
    }

    fn standing(&self) -> Option<usize> {
        self.open.iter().filter_map(|round| round.acknowledged().0).chain(self.least).min()
    }
}

impl AckLog {
    /// Rung whenever a round of this connection gets an answer.
    pub(super) fn bell(&self) -> Arc<Notify> {
        self.bell.clone()
    }

    /// Remembers a round that wrote something.
    pub(super) fn note(&self, round: Arc<Round>) {
        let (acknowledged, settled) = round.acknowledged();
        if acknowledged.is_none() {
            return;
        }
        let mut log = self.log.lock();
        if settled {
            log.fold(acknowledged);
        } else {
            log.open.push_back(round);
        }
        log.prune();
    }

    /// Waits until every write of this connection since the last call has been acknowledged by `replicas` replicas beside
    /// its coordinator, or the time is over (none: for ever). Answers with how many have; `all` when nothing was written.
    pub async fn wait(&self, replicas: usize, timeout: Option<Duration>, all: usize) -> usize {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let rung = self.bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            let standing = self.log.lock().standing().unwrap_or(all);
            if standing >= replicas {
                return self.answer(standing);
            }
            let away = self.log.lock().away();
            // A home that hangs must not keep the client beyond its own time.
            let confirming = confirm(&away);
            match deadline {
                Some(deadline) => drop(tokio::time::timeout_at(deadline, confirming).await),
                None => confirming.await,
            }
            if !away.is_empty() && self.log.lock().standing().unwrap_or(all) >= replicas {
                continue;
            }
            // Nobody rings for what another coordinator's replicas do: look again soon.
            let soon = (!away.is_empty()).then(|| Instant::now() + CONFIRM_EVERY);
            let late = match [deadline, soon].into_iter().flatten().min() {
                Some(until) => tokio::time::timeout_at(until, rung).await.is_err() && deadline == Some(until),
                None => {
                    rung.await;
                    false
                }
            };
            if late {
                let standing = self.log.lock().standing().unwrap_or(all);
                return self.answer(standing);
            }
        }
    }

    /// Starts anew: what was answered for is not counted again.
    fn answer(&self, standing: usize) -> usize {
        let mut log = self.log.lock();
        log.prune();
        log.least = None;
        standing
    }
}

async fn confirm(away: &[Arc<Round>]) {
    for round in away {
        round.confirm_away().await;
    }
}
