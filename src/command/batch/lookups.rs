//! Which keys a batch found and which it missed: INFO's `keyspace_hits` and `keyspace_misses`.
//!
//! Contract: as Redis 7 counts. Each key that is read for its own sake counts, found when a reader sees a value; what a command
//! reads only because it is about to change it does not (INCR, APPEND, EXPIRE, DEL …).

use crate::command::arguments::is;
use crate::command::stats::Stats;
use crate::command::step::Outcomes;
use crate::command::table::{Entry, flag};
use crate::message::operation::Outcome;
use bytes::Bytes;

/// What was looked up so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    hits: u64,
    misses: u64,
}

/// Which of the keys that a command reads count.
enum Counted {
    None,
    First,
    /// The first is where the command writes.
    AllButFirst,
    All,
}

impl Lookups {
    /// A command's operations came to this.
    pub fn came(&mut self, entry: &Entry, words: &[Bytes], outcomes: &Outcomes, now_ms: u64) {
        let found = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Got(object) => Some(object.live(now_ms).next().is_some()),
            _ => None,
        });
        let mut found = found.peekable();
        if found.peek().is_none() {
            return;
        }
        let (skipped, most) = match counted(entry, words) {
            Counted::None => (0, 0),
            Counted::First => (0, 1),
            Counted::AllButFirst => (1, usize::MAX),
            Counted::All => (0, usize::MAX),
        };
        for is_found in found.skip(skipped).take(most) {
            self.hits += u64::from(is_found);
            self.misses += u64::from(!is_found);
        }
    }

    /// Adds it to the statistics.
    pub fn count(&self, stats: &Stats) {
        for (counter, amount) in [(&stats.hits, self.hits), (&stats.misses, self.misses)] {
            if amount > 0 {
                counter.add(amount);
            }
        }
    }
}

fn counted(entry: &Entry, words: &[Bytes]) -> Counted {
    let names = |name: &str, from: usize| words.iter().skip(from).any(|word| is(word, name));
    match entry.command.name {
        // MEMORY USAGE.
        "usage" => Counted::None,
        _ if entry.command.is(flag::READONLY) => Counted::All,
        "getset" | "getdel" | "getex" | "copy" => Counted::First,
        "set" if names("GET", 3) => Counted::First,
        "bitop" => Counted::AllButFirst,
        "bitfield" if !names("SET", 2) && !names("INCRBY", 2) => Counted::All,
        _ => Counted::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::{Actor, Dot, Hlc, NodeTag};
    use crate::command::arguments::target::trial::words;
    use crate::command::table::{Found, find};
    use crate::object::{Object, Sibling};

    /// What a command counts of a key that is there and one that has expired.
    fn of(line: &str) -> (u64, u64) {
        let object = |expiry| {
            let dot = Dot { hlc: Hlc(1), actor: Actor { node: NodeTag(1), birth: Hlc(1) } };
            let mut object = Object::default();
            object.overwrite(Sibling::new(dot, NodeTag(1), Some(Bytes::from_static(b"v")), expiry));
            Outcome::Got(object)
        };
        let outcomes = [object(None), object(Some(10))].into_iter().collect();
        let words = words(line);
        let Found::Command(entry) = find(&words) else { panic!("{line} is no command") };
        let mut lookups = Lookups::default();
        lookups.came(entry, &words, &outcomes, 11);
        (lookups.hits, lookups.misses)
    }

    #[test]
    fn what_is_read_for_its_own_sake_counts() {
        for line in ["GET a", "MGET a b", "EXISTS a b", "TTL a", "OBJECT ENCODING a", "BITFIELD a GET u8 0"] {
            assert_eq!(of(line), (1, 1), "{line}");
        }
        for line in ["SET a GET GET", "GETEX a", "GETDEL a", "GETSET a v", "COPY a b"] {
            assert_eq!(of(line), (1, 0), "{line}");
        }
        assert_eq!(of("BITOP OR d a"), (0, 1), "but for where it writes");
        for line in
            ["SET a GET NX", "INCR a", "EXPIRE a 1", "DEL a", "MEMORY USAGE a", "BITFIELD a GET u8 0 SET u8 0 1"]
        {
            assert_eq!(of(line), (0, 0), "{line}");
        }
    }
}
