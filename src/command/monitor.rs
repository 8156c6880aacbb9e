//! MONITOR: a connection watches every command of this node.
//!
//! # Contract
//! - A line for each command that ran, in Redis's form: time, database and address of the client, the words in quotes. What
//!   is for operators (CONFIG, CLIENT LIST, MONITOR itself) is not shown, and passwords neither.
//! - The lines of a batch come when it is done, with one time. Without a monitor that costs one look at a byte a batch.
//! - A monitor that does not read is cut like a subscriber ([`crate::session::outgoing`]).
//! - It may do everything but touch keys; RESET ends it.

use super::record::Ran;
use super::shown::{quote, shown};
use super::step::Step;
use super::table::{Entry, flag};
use super::{Asked, Server, done};
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `MONITOR`
pub fn monitor(asked: &mut Asked, _words: &[Bytes]) -> Step {
    if !asked.may_wait {
        return done(Reply::error("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    let session = &mut *asked.session;
    if session.is_monitor {
        // As in Redis, it is not even answered.
        return done(Reply::Several(Vec::new()));
    }
    session.after = session.client.watch();
    session.is_monitor = true;
    done(Reply::Ok)
}

/// What a monitor is told that wants to touch keys: Redis takes it for a replica.
pub const NO_KEYS: &str = "ERR Replica can't interact with the keyspace";

/// Whether a monitor may not run this.
pub fn touches_keys(entry: &Entry) -> bool {
    let publishes = entry.name == "publish" || entry.name == "spublish";
    publishes || entry.command.is(flag::WRITE) || entry.command.is(flag::READONLY)
}

/// Shows all monitors what ran.
pub fn show<'a>(server: &Server, address: &str, ran: impl Iterator<Item = Ran<'a>>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut lines = String::new();
    ran.filter(|ran| !ran.entry.command.is(flag::ADMIN) && !ran.entry.command.is(flag::SKIP_MONITOR))
        .for_each(|ran| line(now, address, &ran, &mut lines));
    if lines.is_empty() {
        return;
    }
    let (lines, config) = (Bytes::from(lines), server.config.load());
    server.clients.monitors(|client| {
        if !client.send(lines.clone(), &config.output_limits.pubsub) {
            server.stats.slow_subscribers.add(1);
            tracing::warn!(
                id = client.id,
                address = client.address,
                "a monitor did not read what it was sent and is cut"
            );
        }
    });
}

fn line(now: Duration, address: &str, ran: &Ran<'_>, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "+{}.{:06} [{} {address}]", now.as_secs(), now.subsec_micros(), ran.database);
    for word in shown(ran.entry, ran.words) {
        out.push(' ');
        quote(word, out);
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;

    #[test]
    fn a_line_is_redis_s() {
        let words = ["keys", "*"].map(Bytes::from);
        let entry = table().named(b"get").unwrap();
        let mut out = String::new();
        let now = Duration::from_micros(1_339_518_083_007_412);
        line(now, "127.0.0.1:60866", &Ran { entry, words: &words, database: 3, took_us: 0 }, &mut out);
        assert_eq!(out, "+1339518083.007412 [3 127.0.0.1:60866] \"keys\" \"*\"\r\n");
    }

    #[test]
    fn monitors_touch_no_keys() {
        let touches = |name: &str| touches_keys(table().whole_name(name.as_bytes()).unwrap());
        assert!(touches("get") && touches("set") && touches("publish"));
        assert!(!touches("ping") && !touches("subscribe") && !touches("reset"));
    }
}
