//! DEBUG: what tests of servers and of clients ask for.
//!
//! # Contract
//! - As in Redis 7 it is refused unless `enable-debug-command` is `yes`, or `local` and the client is on this machine. The
//!   default is `no`: who can reach the port should not be able to make this node hold connections or keep its past.
//! - SLEEP holds the connection that asks and no other. SET-ACTIVE-EXPIRE 0 lets this node's reaper rest until it is set to 1:
//!   expired keys stay invisible, and keep their place on the disk.
//! - What would reload or rewrite the whole data (RELOAD, LOADAOF) is refused: here nothing is ever loaded as a whole.
//!   The other subcommands of Redis look into structures that do not exist here, and are unknown.

use super::arguments::target::Target;
use super::arguments::{is, parse_integer};
use super::step::Step;
use super::{Asked, done, help_lines, text};
use crate::config::DebugCommand;
use crate::object::Sibling;
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::time::Duration;

const NOT_ALLOWED: &str = "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can \
                           run it from a local connection, otherwise you need to set this option in the configuration \
                           file, and then restart the server.";

/// The longest SLEEP; longer ones end then.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// `DEBUG subcommand …`
pub fn debug(asked: &mut Asked, words: &[Bytes]) -> Step {
    let allowed = asked.server.config.load().enable_debug_command;
    if !is_allowed(allowed, &asked.session.client.address) {
        return done(Reply::error(NOT_ALLOWED));
    }
    match &words[1..] {
        [name] if is(name, "HELP") => help(),
        [name, seconds] if is(name, "SLEEP") => sleep(seconds),
        [name, key] if is(name, "OBJECT") => object(asked, key),
        [name, switch] if is(name, "SET-ACTIVE-EXPIRE") => {
            // As C's atoi: what is no number is 0.
            let on = parse_integer(switch).is_some_and(|number| number != 0);
            asked.server.coordinator.replica().past.set_resting(!on);
            done(Reply::Ok)
        }
        [name, kind] if is(name, "PROTOCOL") => done(example(kind, asked.session.protocol)),
        [name, line] if is(name, "ERROR") => done(Reply::Error(text(line).into_owned())),
        [name, line] if is(name, "LOG") => {
            tracing::warn!("DEBUG LOG: {}", text(line).escape_debug());
            done(Reply::Ok)
        }
        [name, ..] if is(name, "RELOAD") || is(name, "LOADAOF") => done(Reply::error(format!(
            "ERR DEBUG {} has no meaning here: nothing is ever loaded as a whole; nothing was changed",
            text(name).to_uppercase()
        ))),
        [name, ..] => done(Reply::error(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.",
            text(name)
        ))),
        [] => done(super::arguments::wrong_number_of_arguments("debug")),
    }
}

fn is_allowed(setting: DebugCommand, address: &str) -> bool {
    match setting {
        DebugCommand::Yes => true,
        DebugCommand::No => false,
        DebugCommand::Local => {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            matches!(host, "127.0.0.1" | "::1" | "[::1]")
        }
    }
}

/// As C's strtod: what is no number is 0.
fn sleep(seconds: &[u8]) -> Step {
    let seconds = text(seconds).parse::<f64>().unwrap_or(0.0).max(0.0);
    let pause = Duration::try_from_secs_f64(seconds).unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
    Step::Wait(Box::pin(async move {
        tokio::time::sleep(pause).await;
        Reply::Ok
    }))
}

/// `DEBUG OBJECT key`: what GET shows, read at R. The place is the write's stamp; the last use is the last write.
fn object(asked: &mut Asked, key: &Bytes) -> Step {
    let target = match Target::named(asked, key) {
        Ok(target) => target,
        Err(refusal) => return done(refusal),
    };
    target.get(|object, now_ms| {
        let Some(shown) = object.shown(now_ms) else { return Err(Reply::error("ERR no such key")) };
        let value = object.shown_value(now_ms).unwrap_or_default();
        Ok(Step::Reply(Reply::Status(describe(shown, &value, now_ms))))
    })
}

fn describe(shown: &Sibling, value: &[u8], now_ms: u64) -> String {
    let written_s = shown.dot.hlc.ms() / 1000;
    format!(
        "Value at:{:#x} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        shown.dot.hlc.0,
        encoding(value),
        serialized_bytes(value),
        written_s & 0xff_ffff,
        (now_ms / 1000).saturating_sub(written_s),
    )
}

/// How Redis would hold the value.
fn encoding(value: &[u8]) -> &'static str {
    match value.len() {
        _ if parse_integer(value).is_some() => "int",
        0..=44 => "embstr",
        _ => "raw",
    }
}

/// How long the value is in Redis's format for files, without compression.
fn serialized_bytes(value: &[u8]) -> usize {
    match parse_integer(value) {
        Some(number) if i8::try_from(number).is_ok() => 2,
        Some(number) if i16::try_from(number).is_ok() => 3,
        Some(number) if i32::try_from(number).is_ok() => 5,
        _ => match value.len() {
            bytes @ 0..64 => 1 + bytes,
            bytes @ 64..16_384 => 2 + bytes,
            bytes => 5 + bytes,
        },
    }
}

/// `DEBUG PROTOCOL type`: one reply of each kind, for those who write clients.
fn example(kind: &[u8], protocol: Protocol) -> Reply {
    let numbers = || (0..3).map(Reply::Integer);
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => Reply::text("Hello World"),
        b"integer" => Reply::Integer(12345),
        b"double" => Reply::Double(3141.0 / 1000.0),
        b"null" => Reply::Null,
        b"array" => Reply::Array(numbers().collect()),
        b"set" => Reply::Set(numbers().collect()),
        b"map" => {
            Reply::Map(numbers().map(|number| (number.clone(), Reply::Boolean(number == Reply::Integer(1)))).collect())
        }
        b"attrib" => {
            let popularity = Reply::Array(vec![Reply::text("key:123"), Reply::Integer(90)]);
            let reply = Reply::text("Some real reply following the attribute");
            Reply::Attributed(vec![(Reply::text("key-popularity"), popularity)], Box::new(reply))
        }
        b"push" if protocol == Protocol::Resp2 => Reply::error("ERR RESP2 is not supported by this command"),
        b"push" => Reply::Several(vec![
            Reply::Push(vec![Reply::text("server-cpu-usage"), Reply::Integer(42)]),
            Reply::text("Some real reply following the push reply"),
        ]),
        b"bignum" => Reply::BigNumber("1234567999999999999999999999999999999"),
        b"verbatim" => Reply::Verbatim("This is a verbatim\nstring".to_owned()),
        b"true" => Reply::Boolean(true),
        b"false" => Reply::Boolean(false),
        _ => Reply::error(
            "ERR Wrong protocol type name. Please use one of the following: \
             string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
        ),
    }
}

fn help() -> Step {
    help_lines(
        "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "ERROR <string>",
            "    Answer an error with that text.",
            "LOG <message>",
            "    Write the message to this node's log.",
            "OBJECT <key>",
            "    Describe the value that GET shows.",
            "PROTOCOL <type>",
            "    Answer with an example of a type: string, integer, double, bignum, null, array,",
            "    set, map, attrib, push, verbatim, true, false.",
            "SET-ACTIVE-EXPIRE <0|1>",
            "    0 lets expired keys lie on this node's disk until it is set to 1.",
            "SLEEP <seconds>",
            "    Hold this connection for that long. Decimals allowed.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_means_this_machine() {
        for (setting, address, allowed) in [
            (DebugCommand::No, "127.0.0.1:5", false),
            (DebugCommand::Yes, "10.0.0.1:5", true),
            (DebugCommand::Local, "127.0.0.1:5", true),
            (DebugCommand::Local, "[::1]:5", true),
            (DebugCommand::Local, "10.0.0.1:5", false),
        ] {
            assert_eq!(is_allowed(setting, address), allowed, "{setting:?} {address}");
        }
    }

    #[test]
    fn values_are_measured_as_redis_does() {
        let long = "x".repeat(100);
        for (value, kind, bytes) in [
            ("bar", "embstr", 4),
            ("12", "int", 2),
            ("-30000", "int", 3),
            ("70000", "int", 5),
            ("123456789012", "int", 13),
            (&long, "raw", 102),
        ] {
            assert_eq!((encoding(value.as_bytes()), serialized_bytes(value.as_bytes())), (kind, bytes), "{value}");
        }
    }
}
