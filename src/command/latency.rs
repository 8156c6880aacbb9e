//! LATENCY: what took long, of late and at its worst, and how long each command takes.
//!
//! # Contract
//! - An event is noted when it took at least `latency-monitor-threshold` milliseconds (0: never): `command` and
//!   `fast-command`, the longest of a batch ([`super::laps`] says what its time is), and the forced writing of the log,
//!   `aof-fsync-always` or `aof-fsync-everysec` as `appendfsync` says, looked at each second. Redis's other events (fork,
//!   expire-cycle, active-defrag …) do not happen here.
//! - The histograms count every command that ran, while `latency-tracking` is on.

pub mod events;
pub mod graph;
pub mod histogram;

use super::step::Step;
use super::table::{Entry, table};
use super::{Asked, Server, done, help_lines, text};
use crate::config::{AppendFsync, Config};
use crate::resp::reply::Reply;
use bytes::Bytes;
use histogram::Histogram;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// The events that commands make, and whether they are fast ones.
pub const COMMAND_EVENTS: [(&str, bool); 2] = [("command", false), ("fast-command", true)];

/// `LATENCY LATEST`
pub fn latest(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let events = asked.server.events.lock();
    let told = events.latest().map(|(event, at_s, latest_ms, most_ms)| {
        let numbers = [at_s, latest_ms, most_ms].map(|number| Reply::Integer(number as i64));
        Reply::Array([Reply::text(event)].into_iter().chain(numbers).collect())
    });
    done(Reply::Array(told.collect()))
}

/// `LATENCY HISTORY event`
pub fn history(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (event, events) = (text(&words[2]), asked.server.events.lock());
    let told = events
        .history(&event)
        .map(|sample| Reply::Array(vec![Reply::Integer(sample.at_s as i64), Reply::Integer(sample.took_ms as i64)]));
    done(Reply::Array(told.collect()))
}

/// `LATENCY RESET [event …]`
pub fn reset(asked: &mut Asked, words: &[Bytes]) -> Step {
    let mut events = asked.server.events.lock();
    let forgotten = match &words[2..] {
        [] => events.forget_all(),
        names => names.iter().filter(|name| events.forget(&text(name))).count(),
    };
    done(Reply::Integer(forgotten as i64))
}

/// `LATENCY GRAPH event`
pub fn graph(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (event, events) = (text(&words[2]), asked.server.events.lock());
    let samples: Vec<_> = events.history(&event).copied().collect();
    done(match events.most_ms(&event) {
        Some(most_ms) => Reply::Verbatim(graph::draw(&event, &samples, most_ms, asked.now_ms / 1000)),
        None => Reply::error(format!("ERR No samples available for event '{event}'")),
    })
}

/// `LATENCY DOCTOR`
pub fn doctor(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let config = asked.server.config.load();
    if config.latency_monitor_threshold == 0 {
        return done(Reply::Verbatim(
            "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You may use \"CONFIG \
             SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep space mission \
             I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n"
                .to_owned(),
        ));
    }
    let events = asked.server.events.lock();
    let mut report = String::new();
    for (number, (event, at_s, latest_ms, most_ms)) in events.latest().enumerate() {
        let samples: Vec<u64> = events.history(event).map(|sample| sample.took_ms).collect();
        let average_ms = samples.iter().sum::<u64>() / samples.len().max(1) as u64;
        let ago_s = (asked.now_ms / 1000).saturating_sub(at_s);
        // Writing to a String cannot fail.
        let _ = writeln!(
            report,
            "{}. {event}: {} latency spikes (average {average_ms}ms, latest {latest_ms}ms {ago_s}s ago). Worst all time \
             event {most_ms}ms.\n   {}",
            number + 1,
            samples.len(),
            advice(event, &config),
        );
    }
    done(Reply::Verbatim(if report.is_empty() {
        "Dave, no latency spike was observed during the lifetime of this Redis instance, not in the slightest bit. I \
         honestly think you ought to sit down calmly, take a stress pill, and think things over.\n"
            .to_owned()
    } else {
        format!("Dave, I have observed latency spikes in this Dynamis instance:\n\n{report}")
    }))
}

fn advice(event: &str, config: &Config) -> &'static str {
    match event {
        _ if event.starts_with("aof-fsync") => {
            "The disk takes long to take writes for good: is something else writing to it? appendfsync no leaves it to the \
             system, at the price of this node's last writes in a power cut."
        }
        _ if config.slowlog_log_slower_than < 0 => {
            "SLOWLOG would say which commands these were: CONFIG SET slowlog-log-slower-than <microseconds> turns it on."
        }
        _ => {
            "SLOWLOG GET says which commands these were. Requests wait for R or W replicas: INFO dynamo says which nodes \
             answer slowly, DYN.EXPLAIN where a key's copies lie."
        }
    }
}

/// `LATENCY HISTOGRAM [command …]`
pub fn histogram(asked: &mut Asked, words: &[Bytes]) -> Step {
    let named: Vec<&Entry> = match &words[2..] {
        [] => table().entries.iter().collect(),
        names => names.iter().filter_map(|name| table().whole_name(name)).flat_map(with_subcommands).collect(),
    };
    let told = named.into_iter().filter_map(|entry| {
        let buckets = histogram_of(asked.server, entry)?.by_doubling();
        let calls = buckets.last()?.1;
        let number = |number: u64| Reply::Integer(number as i64);
        let buckets = buckets.into_iter().map(|(most_us, count)| (number(most_us), number(count))).collect();
        let facts = vec![(Reply::text("calls"), number(calls)), (Reply::text("histogram_usec"), Reply::Map(buckets))];
        Some((Reply::text(entry.name.clone()), Reply::Map(facts)))
    });
    done(Reply::Map(told.collect()))
}

fn with_subcommands(entry: &'static Entry) -> impl Iterator<Item = &'static Entry> {
    [entry].into_iter().chain(table().subcommands(entry))
}

fn histogram_of<'a>(server: &'a Server, entry: &Entry) -> Option<&'a Histogram> {
    server.stats.commands.get(usize::from(entry.number))?.times.get().map(|times| &**times)
}

/// The lines of INFO's section `latencystats`: for each command that ran, the percentiles the configuration names.
pub fn info_lines(server: &Server) -> Vec<String> {
    let config = server.config.load();
    if !config.latency_tracking {
        return Vec::new();
    }
    let line = |entry: &Entry| {
        let times = histogram_of(server, entry)?;
        let one = |(name, percent): (&str, f64)| Some(format!("p{name}={:.3}", times.percentile_us(percent)? as f64));
        let percentiles: Option<Vec<String>> = config.latency_percentiles.each().map(one).collect();
        Some(format!("latency_percentiles_usec_{}:{}", entry.name, percentiles?.join(",")))
    };
    table().entries.iter().filter_map(line).collect()
}

/// Looks each second how long the log took to be forced to the disk, for ever.
pub async fn watch_log(server: Arc<Server>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let most_ms = server.coordinator.replica().store().take_sync_most_us() / 1000;
        let config = server.config.load();
        if config.latency_monitor_threshold > 0 && most_ms >= config.latency_monitor_threshold {
            let event = match config.appendfsync {
                AppendFsync::Always => "aof-fsync-always",
                AppendFsync::Everysec | AppendFsync::No => "aof-fsync-everysec",
            };
            server.events.lock().add(event, server.coordinator.now_ms() / 1000, most_ms);
        }
    }
}

/// `LATENCY HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "DOCTOR",
            "    Return a human readable latency analysis report.",
            "GRAPH <event>",
            "    Return an ASCII latency graph for the <event> class.",
            "HISTORY <event>",
            "    Return time-latency samples for the <event> class.",
            "LATEST",
            "    Return the latest latency samples for all events.",
            "RESET [<event> ...]",
            "    Reset latency data of one or more <event> classes.",
            "    (default: reset all data for all event classes)",
            "HISTOGRAM [COMMAND ...]",
            "    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.",
            "    If no commands are specified then all histograms are replied.",
        ],
    )
}
