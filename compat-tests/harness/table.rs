//! Requests and the replies they must get, as tables one can read.
//!
//! `("SET k v EX 10", "+OK")`: the request as in a terminal, the reply in the text form of [`Value`]. A reply that ends
//! in `…` need only begin so; `(:1..10)` is an integer between the two, both included; `*` is anything but an error.

use super::resp::{Connection, Value};

/// A row: request, reply.
pub type Row = (&'static str, &'static str);

/// Runs the rows in order on one connection; all rows that failed are told at once.
pub fn check(connection: &mut Connection, rows: &[Row]) {
    let mut wrong = Vec::new();
    for (line, expected) in rows {
        let reply = connection.run(line);
        if !fits(&reply, expected) {
            wrong.push(format!("  {line}\n    expected {expected}\n    got      {reply}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} replies are wrong:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Whether a reply is the one expected.
pub fn fits(reply: &Value, expected: &str) -> bool {
    if expected == "*" {
        return !reply.is_error();
    }
    if let Some(range) = expected.strip_prefix("(:").and_then(|rest| rest.strip_suffix(')')) {
        let (low, high) = range.split_once("..").expect("a range is low..high");
        let bound = |text: &str| text.parse::<i64>().expect("a bound is a number");
        return matches!(reply, Value::Integer(number) if (bound(low)..=bound(high)).contains(number));
    }
    let text = reply.to_string();
    match expected.strip_suffix('…') {
        Some(start) => text.starts_with(start),
        None => text == expected,
    }
}

/// Cuts a line into words at spaces; `"…"` holds spaces, with `\\`, `\"`, `\r`, `\n`, `\t` and `\xHH` inside.
pub fn words(line: &str) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut bytes = line.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' => continue,
            b'"' => words.push(quoted(&mut bytes)),
            first => {
                let mut word = vec![first];
                while let Some(next) = bytes.next_if(|byte| *byte != b' ') {
                    word.push(next);
                }
                words.push(word);
            }
        }
    }
    words
}

fn quoted(bytes: &mut impl Iterator<Item = u8>) -> Vec<u8> {
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return word,
            b'\\' => word.push(match bytes.next().expect("something follows a backslash") {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next(), bytes.next()].map(|digit| digit.expect("two hex digits"));
                    let digits = std::str::from_utf8(&digits).expect("hex digits");
                    u8::from_str_radix(digits, 16).expect("hex digits")
                }
                other => other,
            }),
            other => word.push(other),
        }
    }
    panic!("a quote was not closed")
}
