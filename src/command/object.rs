//! OBJECT: how Redis would keep a value, for tools that ask.
//!
//! Contract: ENCODING and REFCOUNT are what Redis answers for a key that was just SET to the value; what made the value
//! (Redis says `raw` after an APPEND) is not remembered here. IDLETIME is the time since the key was last written: reads
//! leave no trace. A missing key is nil, before anything else.

use crate::command::arguments::parse_integer;
use crate::command::arguments::target::{Target, settle};
use crate::command::step::Step;
use crate::command::{Asked, done};
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;

/// The longest string that Redis keeps with its head in one piece, in bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Below it Redis keeps one copy of each number for all keys…
const SHARED_NUMBERS: i64 = 10_000;

/// … which counts as referred to so often.
const SHARED_REFERENCES: i64 = i32::MAX as i64;

const NOT_LFU: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                       switching between policies at runtime LRU and LFU data will take some time to adjust.";

/// `OBJECT ENCODING key`: `int`, `embstr` or `raw`.
pub fn encoding(asked: &mut Asked, words: &[Bytes]) -> Step {
    tell(asked, words, |value, _, _| Reply::Bulk(Bytes::from_static(encoding_of(value).as_bytes())))
}

/// `OBJECT REFCOUNT key`
pub fn refcount(asked: &mut Asked, words: &[Bytes]) -> Step {
    tell(asked, words, |value, _, _| {
        let is_shared = parse_integer(value).is_some_and(|number| (0..SHARED_NUMBERS).contains(&number));
        Reply::Integer(if is_shared { SHARED_REFERENCES } else { 1 })
    })
}

/// `OBJECT IDLETIME key`: seconds since it was last written.
pub fn idletime(asked: &mut Asked, words: &[Bytes]) -> Step {
    tell(asked, words, |_, object, now_ms| Reply::Integer((now_ms.saturating_sub(object.highest().ms()) / 1000) as i64))
}

/// `OBJECT FREQ key`: an error, as in a Redis that does not evict by frequency.
pub fn freq(asked: &mut Asked, words: &[Bytes]) -> Step {
    tell(asked, words, |_, _, _| Reply::error(NOT_LFU))
}

/// `OBJECT HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Array(HELP.map(Reply::Simple).to_vec()))
}

/// Redis's text, but for IDLETIME.
const HELP: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the number of seconds elapsed",
    "    since the last write to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

fn tell(asked: &mut Asked, words: &[Bytes], what: fn(&[u8], &Object, u64) -> Reply) -> Step {
    settle(Target::named(asked, &words[2]).map(|target| tell_at(target, what)))
}

fn tell_at(target: Target, what: fn(&[u8], &Object, u64) -> Reply) -> Step {
    target.get(move |object, now_ms| {
        let value = object.shown_value(now_ms);
        Ok(Step::Reply(value.map_or(Reply::Null, |value| what(&value, &object, now_ms))))
    })
}

fn encoding_of(value: &[u8]) -> &'static str {
    match value.len() {
        _ if parse_integer(value).is_some() => "int",
        0..=EMBEDDED_BYTES_MAX => "embstr",
        _ => "raw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::{after_get, replies, target};

    #[test]
    fn encodings_are_those_of_redis() {
        for (value, encoding) in [
            ("0", "int"),
            ("-9223372036854775808", "int"),
            ("9223372036854775808", "embstr"),
            ("007", "embstr"),
            ("", "embstr"),
            (&"x".repeat(44), "embstr"),
            (&"x".repeat(45), "raw"),
        ] {
            assert_eq!(encoding_of(value.as_bytes()), encoding, "{value}");
        }
    }

    #[test]
    fn a_missing_key_is_nil_before_anything_else() {
        let fails = |_: &[u8], _: &Object, _| Reply::error("not reached");
        assert_eq!(replies(after_get(tell_at(target(), fails), Object::default())), Reply::Null);
    }
}
