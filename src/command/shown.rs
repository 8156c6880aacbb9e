//! What is shown to operators of a command's words: secrets hidden, long ones cut, odd bytes written out.
//!
//! Contract: passwords are never shown: AUTH's words, those after HELLO's AUTH, and the values CONFIG SET gives to secret
//! settings are `(redacted)`, as in Redis.

use super::arguments::is;
use super::table::Entry;
use crate::config::Config;
use bytes::Bytes;
use std::fmt::Write;

/// What stands in a secret's place.
const HIDDEN: &[u8] = b"(redacted)";

/// Redis's secrets that are no settings here; some tools set them anyway.
const REDIS_SECRETS: [&str; 4] = ["masterauth", "masteruser", "tls-key-file-pass", "tls-client-key-file-pass"];

/// The words with secrets hidden.
pub fn shown<'a>(entry: &Entry, words: &'a [Bytes]) -> impl Iterator<Item = &'a [u8]> {
    let hides: fn(&[Bytes], usize) -> bool = match &*entry.name {
        "auth" => |_, at| at > 0,
        "hello" => after_auth,
        "config|set" => |words, at| at > 2 && at % 2 == 1 && is_secret(&words[at - 1]),
        _ => |_, _| false,
    };
    words.iter().enumerate().map(move |(at, word)| if hides(words, at) { HIDDEN } else { word })
}

fn after_auth(words: &[Bytes], at: usize) -> bool {
    (1..=2).any(|before| at.checked_sub(before).is_some_and(|at| at > 1 && is(&words[at], "AUTH")))
}

fn is_secret(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    Config::is_secret(&name) || REDIS_SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

/// Appends a word in quotes, as MONITOR writes it.
pub fn quote(word: &[u8], out: &mut String) {
    out.push('"');
    for byte in word {
        match byte {
            b'\\' | b'"' => out.extend(['\\', char::from(*byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            7 => out.push_str("\\a"),
            8 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(*byte)),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::{Found, find};

    fn line(text: &str) -> String {
        let words: Vec<Bytes> = text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let Found::Command(entry) = find(&words) else { panic!("{text} is a command") };
        let words: Vec<_> = shown(entry, &words).map(String::from_utf8_lossy).collect();
        words.join(" ")
    }

    #[test]
    fn secrets_are_hidden() {
        assert_eq!(line("AUTH a b"), "AUTH (redacted) (redacted)");
        assert_eq!(line("hello 3 auth a b setname c"), "hello 3 auth (redacted) (redacted) setname c");
        assert_eq!(line("hello 3 setname auth"), "hello 3 setname auth");
        assert_eq!(line("CONFIG SET RequirePass a timeout 3"), "CONFIG SET RequirePass (redacted) timeout 3");
        assert_eq!(line("CONFIG SET timeout 3 masterauth x"), "CONFIG SET timeout 3 masterauth (redacted)");
        assert_eq!(line("SET auth b"), "SET auth b");
    }

    #[test]
    fn odd_bytes_are_written_out() {
        let mut out = String::new();
        quote(b"a \"b\"\\\r\n\t\x07\x08\x00\xff~", &mut out);
        assert_eq!(out, r#""a \"b\"\\\r\n\t\a\b\x00\xff~""#);
    }
}
