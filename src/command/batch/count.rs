//! What a batch adds to the statistics.
//!
//! Contract: what was queued counts when it runs; a refused request counts as rejected, one that failed as failed.

use super::slot::Slot;
use crate::command::Server;
use crate::command::laps::Laps;
use crate::command::stats::CommandStats;
use crate::command::table::{Entry, Group, flag};
use crate::resp::reply::Reply;

/// Counts what a batch did. Runs of one command are added up first: a pipeline of GETs is one addition.
pub fn count(server: &Server, slots: &[Slot], microseconds: u64, laps: &Laps) {
    let answered = slots.iter().filter(|slot| slot.rejected || slot.has_run()).count() as u64;
    let each = microseconds / answered.max(1);
    let (mut hits, mut misses) = (0, 0);
    let tracks = server.config.load().latency_tracking;
    for run in slots.chunk_by(|a, b| a.found.map(|entry| entry.number) == b.found.map(|entry| entry.number)) {
        let (mut calls, mut rejected, mut failed) = (0, 0, 0);
        for slot in run {
            match &slot.reply {
                _ if !slot.rejected && !slot.has_run() => continue,
                None => {}
                Some(Reply::Error(line)) => {
                    server.stats.error(line);
                    failed += u64::from(!slot.rejected);
                }
                Some(reply) if slot.found.is_some_and(reads_values) => found_values(reply, &mut hits, &mut misses),
                Some(_) => {}
            }
            rejected += u64::from(slot.rejected);
            calls += u64::from(!slot.rejected);
        }
        if let Some(stats) = run[0].found.and_then(|entry| server.stats.commands.get(usize::from(entry.number))) {
            stats.calls.add(calls);
            stats.microseconds.add(calls * each);
            if tracks && calls > 0 {
                track(stats, run, laps);
            }
            for (counter, amount) in [(&stats.rejected, rejected), (&stats.failed, failed)] {
                if amount > 0 {
                    counter.add(amount);
                }
            }
        }
    }
    server.stats.commands_run.add(answered);
    for (counter, amount) in [(&server.stats.hits, hits), (&server.stats.misses, misses)] {
        if amount > 0 {
            counter.add(amount);
        }
    }
}

/// Counts how long the runs of one command took: those of one round at once.
fn track(stats: &CommandStats, run: &[Slot], laps: &Laps) {
    let times = stats.times.get_or_init(Box::default);
    for alike in run.chunk_by(|a, b| (a.began, a.answered) == (b.began, b.answered)) {
        let runs = alike.iter().filter(|slot| slot.has_run()).count();
        if runs > 0 {
            times.add(laps.between_us(alike[0].began, alike[0].answered), runs as u64);
        }
    }
}

fn reads_values(entry: &'static Entry) -> bool {
    entry.command.group == Group::String && entry.command.is(flag::READONLY)
}

fn found_values(reply: &Reply, hits: &mut u64, misses: &mut u64) {
    match reply {
        Reply::Bulk(_) => *hits += 1,
        Reply::Null => *misses += 1,
        Reply::Array(replies) => replies.iter().for_each(|each| found_values(each, hits, misses)),
        _ => {}
    }
}
