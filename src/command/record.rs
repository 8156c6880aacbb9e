//! What is kept of a batch when it is done: who watched, what was slow.
//!
//! Contract: nothing is looked at command by command unless someone watches or the whole batch took as long as one slow
//! command must.

use super::latency::COMMAND_EVENTS;
use super::table::{Entry, flag};
use super::{Server, monitor};
use crate::config::Config;
use crate::session::Session;
use bytes::Bytes;

/// The most entries of the slow log that one batch makes: the commands of a pipeline share the time of their round, and one
/// slow round must not push everything else out.
const SLOW_PER_BATCH_MAX: usize = 16;

/// The command whose time is what its client asked for.
const PATIENT: &str = "wait";

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
        if *self.entry.name == *PATIENT { 0 } else { self.took_us }
    }
}

/// Keeps what is to be kept of a batch that took so long in all.
pub fn keep<'a>(
    server: &Server,
    config: &Config,
    session: &Session,
    took_us: u64,
    ran: impl Iterator<Item = Ran<'a>> + Clone,
) {
    if server.clients.is_watched() {
        monitor::show(server, &session.client.address, ran.clone());
    }
    if let Ok(slow_us) = u64::try_from(config.slowlog_log_slower_than)
        && took_us >= slow_us
    {
        let mut log = server.slow_log.lock();
        for ran in slow(ran.clone(), slow_us) {
            log.note(super::slowlog::entry(&ran, session, server.coordinator.now_ms()), config.slowlog_max_len);
        }
    }
    let threshold_ms = config.latency_monitor_threshold;
    if threshold_ms > 0 && took_us / 1000 >= threshold_ms {
        for (event, fast) in COMMAND_EVENTS {
            let most_ms = most_us(ran.clone(), fast) / 1000;
            if most_ms >= threshold_ms {
                server.events.lock().add(event, server.coordinator.now_ms() / 1000, most_ms);
            }
        }
    }
}

/// Those of a batch's commands that the slow log shows.
fn slow<'a>(ran: impl Iterator<Item = Ran<'a>>, slow_us: u64) -> impl Iterator<Item = Ran<'a>> {
    let slow = ran.filter(move |ran| ran.slow_us() >= slow_us && !ran.entry.command.is(flag::SKIP_SLOWLOG));
    slow.take(SLOW_PER_BATCH_MAX)
}

/// How long the slowest command took of those that should be fast, or of the others; 0: there was none.
fn most_us<'a>(ran: impl Iterator<Item = Ran<'a>>, fast: bool) -> u64 {
    ran.filter(|ran| ran.entry.command.is(flag::FAST) == fast).map(|ran| ran.slow_us()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;

    fn ran(name: &str, took_us: u64) -> Ran<'static> {
        Ran { entry: table().whole_name(name.as_bytes()).unwrap(), words: &[], database: 0, took_us }
    }

    fn shown(all: &[Ran<'static>], slow_us: u64) -> Vec<u64> {
        slow(all.iter().copied(), slow_us).map(|ran| ran.took_us).collect()
    }

    #[test]
    fn what_took_as_long_as_is_slow_is_shown_unless_its_client_asked_for_that_or_it_is_left_out() {
        let all = [ran("get", 9), ran("get", 10), ran("wait", 5000), ran("set", 11), ran("exec", 20)];
        assert_eq!(shown(&all, 10), [10, 11], "an EXEC is shown by what it ran");
        assert_eq!(shown(&all, 0), [9, 10, 5000, 11], "0: everything is");
    }

    #[test]
    fn one_slow_round_does_not_fill_the_log() {
        assert_eq!(shown(&[ran("get", 10); 100], 10).len(), SLOW_PER_BATCH_MAX);
    }

    #[test]
    fn fast_and_other_commands_are_told_apart_and_waiting_counts_for_nothing() {
        let all = [ran("get", 7), ran("get", 9), ran("wait", 5000), ran("mset", 20)];
        assert_eq!([true, false].map(|fast| most_us(all.iter().copied(), fast)), [9, 20]);
        assert_eq!(most_us(all[2..3].iter().copied(), false), 0);
    }
}
