//! MEMORY: what a key costs, and how this process does for memory.
//!
//! # Contract
//! - USAGE reads at R and tells the bytes that one replica's copy takes: the key as it is stored, and the object with all
//!   siblings and what they have seen. Values lie on disk; memory holds what was used lately.
//! - STATS has Redis's names. Bytes of the process are the system's count of what lies in RAM, which is also what the
//!   allocator holds: there is no second book.

use super::arguments::target::Target;
use super::arguments::{integer, is, syntax_error};
use super::step::Step;
use super::{Asked, Server, done, help_lines, process};
use crate::key::DATABASES;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// Below so many bytes there is nothing to say, as in Redis.
const SMALL_BYTES: u64 = 5 << 20;

/// Buffers of so many bytes for each client are worth a word, as in Redis.
const CLIENT_BYTES_MANY: u64 = 200 << 10;

/// What is known of this process's memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In RAM now.
    pub used: u64,
    /// The most that ever was.
    pub peak: u64,
    /// When the door opened.
    pub startup: u64,
    /// Read and reply buffers of the clients.
    pub clients: u64,
    /// What the machine has.
    pub machine: u64,
}

impl Memory {
    /// A look at it.
    pub fn of(server: &Server) -> Memory {
        let used = process::resident_bytes();
        let clients = server.clients.all().iter().map(|client| client.buffer_bytes() as u64).sum();
        Memory {
            used,
            // The system's own peak may lag behind by a few pages.
            peak: process::resident_peak_bytes().max(used),
            startup: server.startup_bytes,
            clients,
            machine: process::machine_bytes(),
        }
    }

    /// What is not data: the process as it started, and the clients' buffers.
    pub fn overhead(&self) -> u64 {
        self.startup.saturating_add(self.clients).min(self.used)
    }

    /// What is data: caches, tables, copies on their way to the disk.
    pub fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// The data's share of what came since the start, in percent.
    pub fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.used.saturating_sub(self.startup)).min(100.0)
    }

    /// Now, of the peak, in percent.
    pub fn peak_percent(&self) -> f64 {
        percent(self.used, self.peak)
    }

    fn complaints(&self, clients: u64) -> Vec<&'static str> {
        let complaints = [
            (
                self.used.saturating_mul(3) / 2 < self.peak,
                "Peak memory: this node used much more memory before than it does now. That is no problem by itself; the \
                 allocator may give the rest back late.",
            ),
            (
                self.machine > 0 && self.used > self.machine / 5 * 4,
                "Large process: this node uses more than four fifths of the machine's memory. Lower cache-bytes, or give \
                 it a larger machine.",
            ),
            (
                clients > 0 && self.clients / clients > CLIENT_BYTES_MANY,
                "Big client buffers: on average each client's buffers take more than 200 KiB. Clients that send or ask \
                 for very large values, or do not read, do that: see CLIENT LIST.",
            ),
        ];
        complaints.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect()
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `MEMORY USAGE key [SAMPLES count]`
pub fn usage(asked: &mut Asked, words: &[Bytes]) -> Step {
    let wrong = match &words[3..] {
        [] => None,
        [option, count] if is(option, "SAMPLES") => match integer(count) {
            Ok(count) if count < 0 => Some(syntax_error()),
            Ok(_) => None,
            Err(refusal) => Some(refusal),
        },
        _ => Some(syntax_error()),
    };
    if let Some(refusal) = wrong {
        return done(refusal);
    }
    match Target::named(asked, &words[2]) {
        Err(refusal) => done(refusal),
        Ok(target) => {
            let key_bytes = target.key().as_bytes().len();
            target.get(move |object, now_ms| {
                Ok(Step::Reply(match object.shown(now_ms) {
                    Some(_) => Reply::Integer((key_bytes + object.encoded_bytes()) as i64),
                    None => Reply::Null,
                }))
            })
        }
    }
}

/// `MEMORY STATS`
pub fn stats(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let server = asked.server;
    let memory = Memory::of(server);
    let number = |bytes: u64| Reply::Integer(i64::try_from(bytes).unwrap_or(i64::MAX));
    let (replica, meant) = (server.coordinator.replica(), asked.session.databases);
    let databases: Vec<(u8, u64)> =
        (0..DATABASES).map(|index| (index, replica.keyspace(meant.stored(index)).0)).collect();
    let keys: u64 = databases.iter().map(|(_, keys)| keys).sum();
    let grown = memory.used.saturating_sub(memory.startup);
    let table = |name: &str| (Reply::text(name), Reply::Integer(0));
    let no_tables = || {
        Reply::Map(
            ["overhead.hashtable.main", "overhead.hashtable.expires", "overhead.hashtable.slot-to-keys"]
                .map(table)
                .to_vec(),
        )
    };
    let facts = [
        ("peak.allocated", number(memory.peak)),
        ("total.allocated", number(memory.used)),
        ("startup.allocated", number(memory.startup)),
        ("replication.backlog", Reply::Integer(0)),
        ("clients.slaves", Reply::Integer(0)),
        ("clients.normal", number(memory.clients)),
        ("cluster.links", Reply::Integer(0)),
        ("aof.buffer", Reply::Integer(0)),
        ("lua.caches", Reply::Integer(0)),
        ("functions.caches", Reply::Integer(0)),
    ];
    let more = [
        ("overhead.total", number(memory.overhead())),
        ("keys.count", number(keys)),
        ("keys.bytes-per-key", number(grown.checked_div(keys).unwrap_or(0))),
        ("dataset.bytes", number(memory.dataset())),
        ("dataset.percentage", Reply::Double(memory.dataset_percent())),
        ("peak.percentage", Reply::Double(memory.peak_percent())),
        ("allocator.allocated", number(memory.used)),
        ("allocator.active", number(memory.used)),
        ("allocator.resident", number(memory.used)),
        ("allocator-fragmentation.ratio", Reply::Double(1.0)),
        ("allocator-fragmentation.bytes", Reply::Integer(0)),
        ("allocator-rss.ratio", Reply::Double(1.0)),
        ("allocator-rss.bytes", Reply::Integer(0)),
        ("rss-overhead.ratio", Reply::Double(1.0)),
        ("rss-overhead.bytes", Reply::Integer(0)),
        ("fragmentation", Reply::Double(1.0)),
        ("fragmentation.bytes", Reply::Integer(0)),
    ];
    let named = |(name, value): (&str, Reply)| (Reply::text(name), value);
    let databases = databases.into_iter().filter(|(_, keys)| *keys > 0);
    let databases = databases.map(|(index, _)| (Reply::text(format!("db.{index}")), no_tables()));
    done(Reply::Map(facts.into_iter().map(named).chain(databases).chain(more.into_iter().map(named)).collect()))
}

/// `MEMORY DOCTOR`
pub fn doctor(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let memory = Memory::of(asked.server);
    let complaints = memory.complaints(asked.server.clients.count() as u64);
    done(Reply::Verbatim(match complaints.as_slice() {
        _ if memory.used < SMALL_BYTES => {
            "Hi Sam, this instance is empty or is using very little memory, my issues detector can't be used in these \
             conditions. Please, leave for your mission on Earth and fill it with some data. The new Sam and I will be \
             back to our programming as soon as I finished rebooting.\n"
                .to_owned()
        }
        [] => {
            "Hi Sam, I can't find any memory issue in your instance. I can only account for what occurs on this base.\n"
                .to_owned()
        }
        complaints => {
            let list: String = complaints.iter().map(|complaint| format!(" * {complaint}\n\n")).collect();
            format!(
                "Sam, I detected a few issues in this Dynamis node's memory:\n\n{list}I'm here to keep you safe, Sam. I want to help you.\n"
            )
        }
    }))
}

/// `MEMORY PURGE`: the allocator gives back what it can by itself, so there is nothing to do.
pub fn purge(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Ok)
}

/// `MEMORY MALLOC-STATS`
pub fn malloc_stats(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Verbatim("Stats not supported for the current allocator".to_owned()))
}

/// `MEMORY HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "DOCTOR",
            "    Say what is wrong with this node's memory.",
            "MALLOC-STATS",
            "    Show the allocator's statistics.",
            "PURGE",
            "    Have the allocator give back what it does not need.",
            "STATS",
            "    Show where this node's memory is.",
            "USAGE <key> [SAMPLES <count>]",
            "    Tell the bytes that one replica's copy of a key takes. Nothing is sampled.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Memory =
        Memory { used: 100 << 20, peak: 110 << 20, startup: 20 << 20, clients: 1 << 20, machine: 1 << 30 };

    #[test]
    fn the_parts_add_up() {
        assert_eq!(CALM.overhead() + CALM.dataset(), CALM.used);
        assert!((CALM.dataset_percent() - 98.75).abs() < 1e-9 && CALM.peak_percent() < 100.0);
        let small = Memory { used: 10, startup: 20, ..CALM };
        assert_eq!((small.overhead(), small.dataset(), small.dataset_percent()), (10, 0, 0.0));
    }

    #[test]
    fn the_doctor_complains_of_what_is_wrong_only() {
        let complaints = |memory: Memory| memory.complaints(10).len();
        assert_eq!(complaints(CALM), 0);
        assert_eq!(complaints(Memory { peak: 200 << 20, ..CALM }), 1);
        assert_eq!(complaints(Memory { machine: 110 << 20, clients: 30 << 20, ..CALM }), 2);
    }
}
