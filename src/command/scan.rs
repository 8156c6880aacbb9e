//! SCAN, KEYS, RANDOMKEY, DBSIZE: what keys there are.
//!
//! # Contract
//! - They cover what [`cover`] says, the whole cluster on `port`, through whichever node; and read at R as GET does (the
//!   session's, or the database's).
//! - A cursor is half a token ([`crate::walk`]), the same on every node: one SCAN can go on at another node. It stays below 2^63:
//!   phpredis 5 reads a greater one as the greatest of signed numbers, and its SCAN would never come to an end.
//! - On the cluster view SCAN covers more while a node's return is recent ([`super::handback`]); the others are exact.
//! - SCAN is bounded: it ends after COUNT live keys or so, after ten times as many keys of any kind, or after [`STEPS_MAX`]
//!   steps; it may have found nothing by then. What it had found when a step failed it answers; the next call says why.
//! - KEYS answers everything at once, as Redis does, and holds it in memory until then.

use super::arguments::{integer, is, syntax_error};
use super::step::Step;
use super::{Asked, done, failure};
use crate::coordinator::walk::Walk;
use crate::glob;
use crate::message::operation::Failure;
use crate::resp::reply::Reply;
use crate::session::Face;
use crate::walk::cover::Cover;
use bytes::Bytes;
use std::sync::Arc;

/// How many keys SCAN tells when it is not told how many.
const COUNT_DEFAULT: usize = 10;

/// The most keys one SCAN tells, about.
const COUNT_MAX: usize = 100_000;

/// One SCAN looks at so many keys at least, if there are so many that are dead.
const LOOKED_MIN: usize = 1_000;

/// Doubling its width, a walk through nothing takes 15 steps for the most partitions there may be.
const STEPS_MAX: usize = 16;

/// Bytes of names after which a SCAN ends.
const REPLY_BYTES: usize = 8 << 20;

/// The slots that a connection's commands about all keys cover.
pub fn cover(asked: &Asked) -> Cover {
    match asked.session.face {
        Face::Plain => Cover::all(),
        Face::ClusterView => asked.server.notice().own().clone(),
    }
}

/// As [`cover`]; on the cluster view moreover what was handed back while this SCAN may have been under way: whoever began it
/// does not ask the node that came back. Those keys may be told twice.
fn cover_of_scan(asked: &Asked) -> Cover {
    let cover = cover(asked);
    match asked.session.face {
        Face::Plain => cover,
        Face::ClusterView => {
            let notice = asked.server.notice();
            let since = notice.handback().since_or_recent(asked.session.guest.since, asked.now_ms);
            Cover::of(cover.runs().iter().copied().chain(since))
        }
    }
}

/// What SCAN is asked for.
#[derive(Clone, Debug, PartialEq)]
struct Options {
    /// None: any name.
    pattern: Option<Bytes>,
    count: usize,
    /// Whether strings are wanted.
    strings: bool,
}

impl Options {
    /// Reads what follows the cursor; of an option that is repeated the last one counts.
    fn read(words: &[Bytes]) -> Result<Options, Reply> {
        let mut options = Options { pattern: None, count: COUNT_DEFAULT, strings: true };
        for pair in words.chunks(2) {
            match pair {
                [name, count] if is(name, "COUNT") => {
                    let count = integer(count)?;
                    if count < 1 {
                        return Err(syntax_error());
                    }
                    options.count = usize::try_from(count).unwrap_or(usize::MAX).min(COUNT_MAX);
                }
                // A lone star also matches what is empty.
                [name, pattern] if is(name, "MATCH") => options.pattern = Some(pattern.clone()).filter(|it| it != "*"),
                [name, kind] if is(name, "TYPE") => options.strings = is(kind, "string"),
                _ => return Err(syntax_error()),
            }
        }
        Ok(options)
    }

    fn wants(&self, key: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key, false))
    }
}

/// Reads a cursor as C's `strtoul` does, which is how Redis reads it: a sign may stand before it, and nothing is 0.
fn read_cursor(word: &[u8]) -> Option<u64> {
    let text = word.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // The library's parser takes a sign, too.
    let number: u64 = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?.parse().ok()?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
pub fn scan(asked: &mut Asked, words: &[Bytes]) -> Step {
    let Some(cursor) = read_cursor(&words[1]) else { return done(Reply::error("ERR invalid cursor")) };
    let options = match Options::read(&words[2..]) {
        Ok(options) => options,
        Err(reply) => return done(reply),
    };
    if !options.strings {
        return done(told(0, Vec::new()));
    }
    let session = &asked.session;
    let from = token_of(cursor);
    let walk = Walk::new(&asked.server.coordinator, session.stored(), session.r, cover_of_scan(asked), from);
    Step::Wait(Box::pin(async move { answer(go_on(walk, from, &options).await, |(cursor, keys)| told(cursor, keys)) }))
}

/// The token at which a cursor goes on.
fn token_of(cursor: u64) -> u64 {
    cursor.saturating_mul(2)
}

/// The cursor that goes on at a token or just before it, where the keys are then told twice; none if a SCAN that began at `from`
/// would not have gone on at all.
fn cursor_at(token: u64, from: u64) -> Option<u64> {
    (token == 0 || token & !1 > from).then_some(token / 2)
}

/// Walks on from a token until there is enough to tell: where to go on, and the keys.
async fn go_on(mut walk: Walk, from: u64, options: &Options) -> Result<(u64, Vec<Reply>), Failure> {
    let looked_max = options.count.saturating_mul(10).max(LOOKED_MIN);
    let (mut keys, mut live, mut looked, mut bytes, mut step) = (Vec::new(), 0, 0, 0, 0);
    loop {
        step += 1;
        let cursor = |walk: &Walk| walk.cursor().and_then(|token| cursor_at(token, from));
        let before = cursor(&walk).filter(|_| step > 1);
        match (walk.step(options.count.saturating_sub(live)).await, before) {
            (Ok(found), _) => {
                live += found.keys.len();
                looked += found.looked;
                for key in found.keys.iter().map(|key| key.user_key()).filter(|key| options.wants(key)) {
                    bytes += key.len();
                    keys.push(Reply::Bulk(Bytes::copy_from_slice(key)));
                }
            }
            (Err(_), Some(cursor)) => return Ok((cursor, keys)),
            (Err(failed), None) => return Err(failed),
        }
        let enough = live >= options.count || looked >= looked_max || bytes >= REPLY_BYTES || step >= STEPS_MAX;
        // The keys of one token are told together.
        if let Some(cursor) = cursor(&walk).filter(|_| enough || walk.is_over()) {
            return Ok((cursor, keys));
        }
    }
}

fn told(cursor: u64, keys: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::text(cursor.to_string()), Reply::Array(keys)])
}

/// What was found, or why nothing was.
fn answer<T>(found: Result<T, Failure>, reply: impl FnOnce(T) -> Reply) -> Reply {
    found.map_or_else(failure::reply_to_read, reply)
}

/// `KEYS pattern`
pub fn keys(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (coordinator, cover) = (asked.server.coordinator.clone(), cover(asked));
    let (database, r, pattern) = (asked.session.stored(), asked.session.r, words[1].clone());
    let is_all = pattern == "*";
    let keep = Arc::new(move |key: &[u8]| is_all || glob::matches(&pattern, key, false));
    Step::Wait(Box::pin(async move {
        let keys = coordinator.keys(database, r, &cover, keep).await;
        answer(keys, |keys| Reply::Array(keys.into_iter().map(Reply::Bulk).collect()))
    }))
}

/// `RANDOMKEY`: nil when there is none.
pub fn randomkey(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let (coordinator, cover) = (asked.server.coordinator.clone(), cover(asked));
    let (database, r) = (asked.session.stored(), asked.session.r);
    Step::Wait(Box::pin(async move {
        answer(coordinator.random_key(database, r, &cover).await, |key| key.map_or(Reply::Null, Reply::Bulk))
    }))
}

/// `DBSIZE`: the keys of the session's database.
pub fn dbsize(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let (coordinator, cover) = (asked.server.coordinator.clone(), cover(asked));
    let (database, r) = (asked.session.stored(), asked.session.r);
    Step::Wait(Box::pin(async move {
        let count = coordinator.count(database, r, &cover).await;
        answer(count, |count| Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::words;

    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        for (word, cursor) in [
            (&b"0"[..], Some(0)),
            (b"", Some(0)),
            (b"00", Some(0)),
            (b"+5", Some(5)),
            (b"-0", Some(0)),
            (b"-1", Some(u64::MAX)),
            (b"5\0x", Some(5)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"x", None),
            (b"0x", None),
            (b" 0", None),
            (b"0 ", None),
            (b"-", None),
            (b"+-1", None),
            (b"-+1", None),
            (b"\xff", None),
        ] {
            assert_eq!(read_cursor(word), cursor, "{}", word.escape_ascii());
        }
    }

    #[test]
    fn cursors_go_on_and_have_room_for_a_sign() {
        for (token, from, cursor) in [
            (0, 0, Some(0)),
            (0, 8, Some(0)),
            (10, 8, Some(5)),
            (11, 8, Some(5)),
            (9, 8, None),
            (8, 8, None),
            (1, 0, None),
            (2, 0, Some(1)),
            (u64::MAX, 0, Some(i64::MAX as u64)),
        ] {
            assert_eq!(cursor_at(token, from), cursor, "{token} from {from}");
            if let Some(cursor) = cursor.filter(|cursor| *cursor > 0) {
                assert!(token_of(cursor) > from && token_of(cursor) <= token);
            }
        }
        assert_eq!([token_of(1 << 62), token_of(1 << 63), token_of(u64::MAX)], [1 << 63, u64::MAX, u64::MAX]);
    }

    #[test]
    fn options_stand_in_any_order_and_the_last_of_a_kind_counts() {
        let read = |text: &str| Options::read(&words(text)).unwrap();
        assert_eq!(Options::read(&[]).unwrap(), Options { pattern: None, count: COUNT_DEFAULT, strings: true });
        let options = read("match a* Count 5 TYPE list count 7 type String");
        assert_eq!(options, Options { pattern: Some("a*".into()), count: 7, strings: true });
        assert!(!read("TYPE list").strings && !read("TYPE nosuch").strings);
        assert!(read("MATCH *").wants(b"") && !read("MATCH a").wants(b"b"));
        assert_eq!(read("COUNT 9223372036854775807").count, COUNT_MAX);
        for wrong in ["COUNT 0", "COUNT -3", "COUNT", "MATCH", "TYPE", "FOO 1", "MATCH a b"] {
            assert_eq!(Options::read(&words(wrong)), Err(syntax_error()), "{wrong}");
        }
        assert_eq!(Options::read(&words("COUNT x")), Err(Reply::error("ERR value is not an integer or out of range")));
    }
}
