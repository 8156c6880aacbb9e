//! What a batch adds to the statistics.
//!
//! Contract: what was queued counts when it runs; a refused request counts as rejected, one that failed as failed.

use super::slot::Slot;
use crate::command::laps::Laps;
use crate::command::stats::{CommandStats, Stats};
use crate::resp::reply::Reply;

/// Counts what a batch did. Runs of one command are added up first: a pipeline of GETs is one addition.
/// `tracks`: how long runs took is kept, too (`latency-tracking`).
pub fn count(stats: &Stats, tracks: bool, slots: &[Slot], microseconds: u64, laps: &Laps) {
    let answered = slots.iter().filter(|slot| slot.rejected || slot.has_run()).count() as u64;
    let each = microseconds / answered.max(1);
    for run in slots.chunk_by(|a, b| a.found.map(|entry| entry.number) == b.found.map(|entry| entry.number)) {
        let (mut calls, mut rejected, mut failed) = (0, 0, 0);
        for slot in run {
            match &slot.reply {
                _ if !slot.rejected && !slot.has_run() => continue,
                None => {}
                Some(Reply::Error(line)) => {
                    stats.error(line);
                    failed += u64::from(!slot.rejected);
                }
                Some(_) => {}
            }
            rejected += u64::from(slot.rejected);
            calls += u64::from(!slot.rejected);
        }
        if let Some(command) = run[0].found.and_then(|entry| stats.commands.get(usize::from(entry.number))) {
            command.calls.add(calls);
            command.microseconds.add(calls * each);
            if tracks && calls > 0 {
                track(command, run, laps);
            }
            for (counter, amount) in [(&command.rejected, rejected), (&command.failed, failed)] {
                if amount > 0 {
                    counter.add(amount);
                }
            }
        }
    }
    stats.commands_run.add(answered);
}

/// Counts how long the runs of one command took: those of one round at once.
fn track(command: &CommandStats, run: &[Slot], laps: &Laps) {
    let times = command.times.get_or_init(Box::default);
    for alike in run.chunk_by(|a, b| (a.began, a.answered) == (b.began, b.answered)) {
        let runs = alike.iter().filter(|slot| slot.has_run()).count();
        if runs > 0 {
            times.add(laps.between_us(alike[0].began, alike[0].answered), runs as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;
    use crate::resp::encode::Protocol;
    use crate::resp::request::Request;
    use bytes::Bytes;

    fn slot(line: &str, reply: Reply) -> Slot {
        let words = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let slot = Slot::of(&Request { words }, Protocol::Resp2, |_| None);
        Slot { reply: Some(reply), ..slot }
    }

    fn value() -> Reply {
        Reply::Bulk(Bytes::from_static(b"v"))
    }

    fn counted(slots: &[Slot], tracks: bool) -> Stats {
        let (stats, mut laps) = (Stats::new(table().entries.len()), Laps::start());
        laps.read();
        count(&stats, tracks, slots, 300, &laps);
        stats
    }

    /// Of a command: calls, microseconds, rejected, failed.
    fn of(stats: &Stats, name: &str) -> [u64; 4] {
        let command = &stats.commands[usize::from(table().named(name.as_bytes()).unwrap().number)];
        [&command.calls, &command.microseconds, &command.rejected, &command.failed].map(|counter| counter.sum())
    }

    #[test]
    fn runs_refusals_and_failures_count_apart_and_share_the_time() {
        let mut slots =
            vec![slot("get a", value()), slot("get b", Reply::Null), slot("set a v", Reply::error("ERR no"))];
        slots.push(Slot { rejected: true, ..slot("get", Reply::error("ERR wrong")) });
        slots.push(Slot { queued: true, ..slot("get a", Reply::Simple("QUEUED")) });
        slots.push(Slot { reply: None, ..slot("get a", Reply::Ok) });
        let stats = counted(&slots, false);
        assert_eq!(of(&stats, "get"), [2, 150, 1, 0], "what was queued or never ran does not count");
        assert_eq!(of(&stats, "set"), [1, 75, 0, 1]);
        assert_eq!((stats.commands_run.sum(), stats.errors.sum()), (4, 2));
    }

    #[test]
    fn times_are_kept_when_they_are_tracked() {
        let times = |tracks| {
            let stats = counted(&[slot("get a", value()), slot("get b", value())], tracks);
            let get = &stats.commands[usize::from(table().named(b"get").unwrap().number)];
            get.times.get().and_then(|times| times.by_doubling().last().copied()).map(|(_, runs)| runs)
        };
        assert_eq!((times(true), times(false)), (Some(2), None));
    }
}
