//! What is kept of a batch when it is done: who watched, what was slow.
//!
//! Contract: nothing is looked at command by command unless someone watches or the whole batch took as long as one slow
//! command must.

use super::latency::COMMAND_EVENTS;
use super::table::{Entry, flag};
use super::{Server, monitor};
use crate::session::Session;
use bytes::Bytes;

/// The most entries of the slow log that one batch makes: the commands of a pipeline share the time of their round, and one
/// slow round must not push everything else out.
const SLOW_PER_BATCH_MAX: usize = 16;

/// Commands whose time is what their client asked for.
const PATIENT: [&str; 2] = ["wait", "waitaof"];

/// A command that ran.
#[derive(Clone, Copy, Debug)]
pub struct Ran<'a> {
    /// Its row in the table.
    pub entry: &'static Entry,
    /// Its words.
    pub words: &'a [Bytes],
    /// The database the connection was in afterwards, as Redis tells it.
    pub database: u8,
    /// How long it took, see [`super::laps`].
    pub took_us: u64,
}

impl Ran<'_> {
    fn slow_us(&self) -> u64 {
        if PATIENT.contains(&&*self.entry.name) { 0 } else { self.took_us }
    }
}

/// Keeps what is to be kept of a batch that took so long in all.
pub fn keep<'a>(server: &Server, session: &Session, took_us: u64, ran: impl Iterator<Item = Ran<'a>> + Clone) {
    if server.clients.is_watched() {
        monitor::show(server, &session.client.address, ran.clone());
    }
    let config = server.config.load();
    if let Ok(slow_us) = u64::try_from(config.slowlog_log_slower_than)
        && took_us >= slow_us
    {
        let slow = ran.clone().filter(|ran| ran.slow_us() >= slow_us && !ran.entry.command.is(flag::SKIP_SLOWLOG));
        let mut log = server.slow_log.lock();
        for ran in slow.take(SLOW_PER_BATCH_MAX) {
            log.note(super::slowlog::entry(&ran, session, server.coordinator.now_ms()), config.slowlog_max_len);
        }
    }
    let threshold_ms = config.latency_monitor_threshold;
    if threshold_ms > 0 && took_us / 1000 >= threshold_ms {
        for (event, fast) in COMMAND_EVENTS {
            let of = ran.clone().filter(|ran| ran.entry.command.is(flag::FAST) == fast);
            let most_ms = of.map(|ran| ran.slow_us() / 1000).max().unwrap_or(0);
            if most_ms >= threshold_ms {
                server.events.lock().add(event, server.coordinator.now_ms() / 1000, most_ms);
            }
        }
    }
}
