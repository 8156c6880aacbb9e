//! SLOWLOG: the commands of this node that took long.
//!
//! # Contract
//! - An entry has Redis's six parts: id, Unix seconds, microseconds, the words (at most 32, of at most 128 bytes; secrets
//!   hidden), the client's address and name.
//! - The time is what the client waited for: from the beginning of the command to its answer, other nodes included, as
//!   [`super::laps`] measures it; the commands of one round share it. A command that waits because its client asked it to
//!   (WAIT) is not slow.
//! - One batch makes at most a few entries ([`super::record`]).

pub mod log;

use super::arguments::parse_integer;
use super::record::Ran;
use super::shown::shown;
use super::step::Step;
use super::{Asked, done, help_lines, text};
use crate::resp::reply::Reply;
use crate::session::Session;
use bytes::Bytes;
use log::Slow;

/// The most words an entry shows.
const WORDS_MAX: usize = 32;

/// The most bytes of a word that an entry shows.
const WORD_BYTES_MAX: usize = 128;

/// How many entries GET shows when it is not told.
const SHOWN: usize = 10;

/// What is kept of a command.
pub fn entry(ran: &Ran<'_>, session: &Session, now_ms: u64) -> Slow {
    let mut words: Vec<Bytes> = Vec::new();
    for (at, word) in shown(ran.entry, ran.words).enumerate() {
        if at + 1 == WORDS_MAX && ran.words.len() > WORDS_MAX {
            words.push(format!("... ({} more arguments)", ran.words.len() - at).into());
            break;
        }
        words.push(shortened(word));
    }
    Slow {
        at_s: now_ms / 1000,
        took_us: ran.took_us,
        words,
        address: session.client.address.clone(),
        name: session.client.facts.lock().name.clone(),
    }
}

fn shortened(word: &[u8]) -> Bytes {
    if word.len() <= WORD_BYTES_MAX {
        return Bytes::copy_from_slice(word);
    }
    let more = format!("... ({} more bytes)", word.len() - WORD_BYTES_MAX);
    [&word[..WORD_BYTES_MAX], more.as_bytes()].concat().into()
}

/// `SLOWLOG GET [count]`
pub fn get(asked: &mut Asked, words: &[Bytes]) -> Step {
    let count = match &words[2..] {
        [] => SHOWN,
        [count] => match parse_integer(count) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return done(Reply::error("ERR count should be greater than or equal to -1")),
        },
        _ => {
            return done(Reply::error(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try SLOWLOG HELP.",
                text(&words[1])
            )));
        }
    };
    let log = asked.server.slow_log.lock();
    done(Reply::Array(log.newest().take(count).map(|(id, slow)| told(id, slow)).collect()))
}

fn told(id: u64, slow: &Slow) -> Reply {
    Reply::Array(vec![
        Reply::Integer(id as i64),
        Reply::Integer(slow.at_s as i64),
        Reply::Integer(slow.took_us as i64),
        Reply::Array(slow.words.iter().cloned().map(Reply::Bulk).collect()),
        Reply::text(slow.address.clone()),
        Reply::Bulk(slow.name.clone()),
    ])
}

/// `SLOWLOG LEN`
pub fn len(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Integer(asked.server.slow_log.lock().len() as i64))
}

/// `SLOWLOG RESET`
pub fn reset(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.server.slow_log.lock().clear();
    done(Reply::Ok)
}

/// `SLOWLOG HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "GET [<count>]",
            "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
            "    Entries are made of:",
            "    id, timestamp, time in microseconds, arguments array, client IP and port,",
            "    client name",
            "LEN",
            "    Return the length of the slowlog.",
            "RESET",
            "    Reset the slowlog.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::table;
    use crate::session::clients::Clients;

    fn kept(words: &[&str]) -> Vec<String> {
        let session = Session::new(Clients::new().enter(1, "a:1".into(), "b:2".into(), 3).unwrap(), true);
        let words: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let entry = super::entry(
            &Ran { entry: table().named(b"mget").unwrap(), words: &words, database: 0, took_us: 7 },
            &session,
            2500,
        );
        assert_eq!((entry.at_s, entry.took_us, &*entry.address), (2, 7, "a:1"));
        entry.words.iter().map(|word| text(word).into_owned()).collect()
    }

    #[test]
    fn words_are_cut_where_redis_cuts_them() {
        let words = |count| vec!["w"; count];
        assert_eq!(kept(&words(32)), words(32));
        let cut = kept(&words(34));
        assert_eq!((cut.len(), &*cut[31]), (32, "... (3 more arguments)"));
        assert_eq!(kept(&[&"a".repeat(128)]), ["a".repeat(128)]);
        assert_eq!(kept(&[&"a".repeat(130)]), [format!("{}... (2 more bytes)", "a".repeat(128))]);
    }
}
