//! What the house counts: commands, errors, connections, bytes.
//!
//! Contract: counting is a few relaxed additions for a whole batch, never a lock on the way of a command that succeeds.
//! The number of error prefixes kept is bounded ([`ERROR_PREFIXES_MAX`]).

use super::latency::histogram::Histogram;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most error prefixes counted apart; further ones are counted as `OTHER`.
pub const ERROR_PREFIXES_MAX: usize = 128;

/// A number that only grows, until `CONFIG RESETSTAT`.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The sum.
    pub fn sum(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// What one command did.
#[derive(Debug, Default)]
pub struct CommandStats {
    /// Runs.
    pub calls: Counter,
    /// Microseconds: each command of a batch gets an equal share of the batch's time.
    pub microseconds: Counter,
    /// Not run: wrong arity, not logged in.
    pub rejected: Counter,
    /// Ran and answered an error.
    pub failed: Counter,
    /// How long runs took; there once it ran.
    pub times: OnceLock<Box<Histogram>>,
}

/// Everything counted.
#[derive(Debug)]
pub struct Stats {
    /// By number in the command table.
    pub commands: Vec<CommandStats>,
    /// Connections let in.
    pub connections: Counter,
    /// Connections refused because of `maxclients`.
    pub connections_refused: Counter,
    /// Commands run.
    pub commands_run: Counter,
    /// Bytes read from clients.
    pub bytes_in: Counter,
    /// Bytes written to clients.
    pub bytes_out: Counter,
    /// Reads from clients' sockets.
    pub reads: Counter,
    /// Writes to clients' sockets.
    pub writes: Counter,
    /// Errors answered.
    pub errors: Counter,
    /// Clients cut because they did not read what others sent them.
    pub slow_subscribers: Counter,
    /// Reads that found a value.
    pub hits: Counter,
    /// Reads that found none.
    pub misses: Counter,
    /// Commands that had to start again because another write came between.
    pub races: Counter,
    /// Connections that wait in a command just now.
    waiting: AtomicU64,
    error_prefixes: Mutex<BTreeMap<String, u64>>,
}

/// A connection that waits.
pub struct WaitGuard<'a>(&'a AtomicU64);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stats {
    /// Nothing was counted yet; `commands` is how many the table has.
    pub fn new(commands: usize) -> Stats {
        Stats {
            commands: (0..commands).map(|_| CommandStats::default()).collect(),
            connections: Counter::default(),
            connections_refused: Counter::default(),
            commands_run: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            reads: Counter::default(),
            writes: Counter::default(),
            errors: Counter::default(),
            slow_subscribers: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            races: Counter::default(),
            waiting: AtomicU64::new(0),
            error_prefixes: Mutex::default(),
        }
    }

    /// Counts an error line by its prefix.
    pub fn error(&self, line: &str) {
        self.errors.add(1);
        let prefix = line.split(' ').next().unwrap_or_default();
        let mut prefixes = self.error_prefixes.lock();
        let known = prefixes.contains_key(prefix) || prefixes.len() < ERROR_PREFIXES_MAX;
        *prefixes.entry(if known { prefix } else { "OTHER" }.to_string()).or_default() += 1;
    }

    /// The error prefixes and how often each was answered.
    pub fn error_prefixes(&self) -> Vec<(String, u64)> {
        self.error_prefixes.lock().iter().map(|(prefix, count)| (prefix.clone(), *count)).collect()
    }

    /// Counts a connection as waiting until the guard is dropped.
    pub fn wait(&self) -> WaitGuard<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitGuard(&self.waiting)
    }

    /// How many connections wait in a command just now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// `CONFIG RESETSTAT`.
    pub fn reset(&self) {
        for command in &self.commands {
            for counter in [&command.calls, &command.microseconds, &command.rejected, &command.failed] {
                counter.reset();
            }
            command.times.get().iter().for_each(|times| times.clear());
        }
        let counters = [
            &self.connections,
            &self.connections_refused,
            &self.commands_run,
            &self.bytes_in,
            &self.bytes_out,
            &self.reads,
            &self.writes,
            &self.errors,
            &self.slow_subscribers,
            &self.hits,
            &self.misses,
            &self.races,
        ];
        counters.into_iter().for_each(Counter::reset);
        self.error_prefixes.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_prefixes_are_counted_apart_up_to_a_bound() {
        let stats = Stats::new(1);
        stats.error("ERR no");
        stats.error("ERR again");
        (0..ERROR_PREFIXES_MAX + 5).for_each(|n| stats.error(&format!("E{n} x")));
        let prefixes = stats.error_prefixes();
        assert!(prefixes.contains(&("ERR".to_string(), 2)));
        assert!(prefixes.contains(&("OTHER".to_string(), 6)));
        assert_eq!(prefixes.len(), ERROR_PREFIXES_MAX + 1);
        stats.reset();
        assert!(stats.error_prefixes().is_empty());
        let guard = stats.wait();
        stats.reset();
        assert_eq!(stats.waiting(), 1);
        drop(guard);
        assert_eq!(stats.waiting(), 0);
        assert_eq!(stats.errors.sum(), 0);
    }
}
