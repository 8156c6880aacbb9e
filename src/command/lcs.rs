//! LCS: the longest thread two strings have in common.
//!
//! Lay two letters side by side and underline, from left to right in both, as many equal characters as can be: what is
//! underlined reads the same in either. The chart that finds it ([`chart`]) has a cell for each pair of characters.
//!
//! # Contract
//! - Options, errors and shapes are Redis 7's; the refusal of charts that would exceed `proto-max-bulk-len` counts four
//!   bytes a cell, as Redis does, although this chart takes one bit.
//! - A chart of more than [`CELLS_AT_ONCE`] cells is drawn on a thread of its own: nobody else's request waits for it.

pub mod chart;

use crate::command::Asked;
use crate::command::arguments::target::{got, settle};
use crate::command::arguments::{integer, is, syntax_error};
use crate::command::step::{Operations, Outcomes, Step, Then};
use crate::command::substrings::value_bytes_max;
use crate::message::operation::Act;
use crate::resp::reply::Reply;
use bytes::Bytes;
use chart::{Chart, Match};

/// The largest chart drawn where the request runs: about a millisecond.
pub const CELLS_AT_ONCE: u64 = 1 << 20;

/// Bytes a cell of Redis's chart takes.
const CELL_BYTES: u64 = 4;

/// `LCS key1 key2 [LEN|IDX] [MINMATCHLEN n] [WITHMATCHLEN]`
pub fn lcs(asked: &mut Asked, words: &[Bytes]) -> Step {
    let limit = value_bytes_max(asked);
    let reads: Result<Operations, Reply> = words[1..3].iter().map(|key| asked.operation(key, Act::Get)).collect();
    settle(reads.and_then(|reads| Ok(read(reads, Options::read(&words[3..])?, limit))))
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Options {
    length_only: bool,
    matches: bool,
    match_bytes_min: u64,
    with_lengths: bool,
}

impl Options {
    fn read(words: &[Bytes]) -> Result<Options, Reply> {
        let (mut options, mut at) = (Options::default(), 0);
        while let Some(word) = words.get(at) {
            match word {
                word if is(word, "IDX") => options.matches = true,
                word if is(word, "LEN") => options.length_only = true,
                word if is(word, "WITHMATCHLEN") => options.with_lengths = true,
                word if is(word, "MINMATCHLEN") => {
                    at += 1;
                    let least = integer(words.get(at).ok_or_else(syntax_error)?)?;
                    options.match_bytes_min = u64::try_from(least).unwrap_or(0);
                }
                _ => return Err(syntax_error()),
            }
            at += 1;
        }
        if options.matches && options.length_only {
            return Err(Reply::error("ERR If you want both the length and indexes, please just use IDX."));
        }
        Ok(options)
    }
}

fn read(reads: Operations, options: Options, limit: u64) -> Step {
    let then = move |outcomes: Outcomes, now_ms| {
        let values: Result<Vec<Bytes>, Reply> = outcomes
            .into_iter()
            .map(|outcome| got(outcome).map(|object| object.shown_value(now_ms).unwrap_or_default()))
            .collect();
        settle(values.and_then(|values| match &values[..] {
            [a, b] => compare(a.clone(), b.clone(), options, limit),
            _ => Err(crate::command::failure::out_of_step()),
        }))
    };
    Step::Ask(reads, Then::With(Box::new(then)))
}

fn compare(a: Bytes, b: Bytes, options: Options, limit: u64) -> Result<Step, Reply> {
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells.saturating_mul(CELL_BYTES) > limit {
        return Err(Reply::error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"));
    }
    if cells <= CELLS_AT_ONCE {
        return Ok(Step::Reply(answer(&a, &b, options)));
    }
    let drawn = tokio::task::spawn_blocking(move || answer(&a, &b, options));
    Ok(Step::Wait(Box::pin(async move {
        drawn.await.unwrap_or_else(|_| Reply::error("ERR this node is stopping; nothing was changed"))
    })))
}

fn answer(a: &[u8], b: &[u8], options: Options) -> Reply {
    if options.length_only {
        return Reply::Integer(chart::length(a, b) as i64);
    }
    let chart = Chart::draw(a, b);
    if !options.matches {
        return Reply::Bulk(chart.common().into());
    }
    let long_enough = chart.matches().filter(|found| found.bytes as u64 >= options.match_bytes_min);
    let matches = long_enough.map(|found| shown(&found, options.with_lengths)).collect();
    Reply::Map(vec![
        (Reply::text("matches"), Reply::Array(matches)),
        (Reply::text("len"), Reply::Integer(chart.length as i64)),
    ])
}

fn shown(found: &Match, with_length: bool) -> Reply {
    let run = |from: usize| [from, from + found.bytes - 1].map(|place| Reply::Integer(place as i64)).to_vec();
    let mut parts = vec![Reply::Array(run(found.a)), Reply::Array(run(found.b))];
    parts.extend(with_length.then_some(Reply::Integer(found.bytes as i64)));
    Reply::Array(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::{NOW_MS, feed, one, replies, target_named, words};
    use crate::message::operation::Outcome;
    use crate::object::Object;

    const LIMIT: u64 = 512 << 20;

    fn asked(options: &str, a: Object, b: Object, limit: u64) -> Step {
        let reads = ["a", "b"].map(|key| target_named(key).operation(Act::Get)).into_iter().collect();
        let options: Vec<Bytes> = if options.is_empty() { vec![] } else { words(options) };
        let step = settle(Options::read(&options).map(|options| read(reads, options, limit)));
        if matches!(step, Step::Reply(_)) { step } else { feed(step, [Outcome::Got(a), Outcome::Got(b)]) }
    }

    fn of(options: &str) -> Reply {
        replies(asked(options, one("ohmytext"), one("mynewtext"), LIMIT))
    }

    #[test]
    fn the_example_of_redis() {
        assert_eq!(of(""), Reply::Bulk("mytext".into()));
        assert_eq!(of("LEN"), Reply::Integer(6));
        let pair = |from, to| Reply::Array(vec![Reply::Integer(from), Reply::Integer(to)]);
        let matches = Reply::Array(vec![Reply::Array(vec![pair(4, 7), pair(5, 8), Reply::Integer(4)])]);
        assert_eq!(
            of("IDX MINMATCHLEN 4 WITHMATCHLEN"),
            Reply::Map(vec![(Reply::text("matches"), matches), (Reply::text("len"), Reply::Integer(6))])
        );
    }

    #[test]
    fn wrong_options_ask_nothing() {
        assert_eq!(of("FOO"), syntax_error());
        assert_eq!(of("MINMATCHLEN"), syntax_error());
        assert!(matches!(of("LEN IDX"), Reply::Error(line) if line.contains("please just use IDX")));
    }

    #[test]
    fn missing_keys_are_empty_strings() {
        assert_eq!(replies(asked("", one("x"), Object::default(), LIMIT)), Reply::Bulk(Bytes::new()));
    }

    #[test]
    fn a_chart_beyond_the_limit_is_refused() {
        let refused = |limit| asked("LEN", one("abc"), one("abc"), limit);
        assert_eq!(replies(refused(64)), Reply::Integer(3));
        assert!(matches!(replies(refused(63)), Reply::Error(line) if line.starts_with("ERR Insufficient memory")));
    }

    #[tokio::test]
    async fn a_large_chart_is_drawn_elsewhere() {
        let long = "ab".repeat(600);
        match asked("LEN", one(&long), one(&long), LIMIT) {
            Step::Wait(drawn) => assert_eq!(drawn.await, Reply::Integer(1200)),
            _ => panic!("drawn on the spot at {NOW_MS}"),
        }
    }
}
