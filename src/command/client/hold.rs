//! CLIENT PAUSE, UNPAUSE, UNBLOCK: holding visitors up, and sending on those who wait.
//!
//! Contract: a pause holds up this node's clients, at the next command each of them sends; what runs goes on, and other
//! nodes serve their clients. UNBLOCK reaches who waits for replicas (WAIT); who is held up by a pause waits for its end.

use crate::command::arguments::{integer, is, parse_integer};
use crate::command::step::Step;
use crate::command::{Asked, done};
use crate::resp::reply::Reply;
use crate::session::client::Unblock;
use crate::session::pause::Held;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// `CLIENT PAUSE milliseconds [WRITE|ALL]`
pub fn pause(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(read_pause(&words[2..]).map_or_else(
        |refusal| refusal,
        |(time, held)| {
            asked.server.pause.begin(held, Instant::now(), time);
            Reply::Ok
        },
    ))
}

fn read_pause(words: &[Bytes]) -> Result<(Duration, Held), Reply> {
    let held = match words {
        [_] => Held::All,
        [_, mode] if is(mode, "ALL") => Held::All,
        [_, mode] if is(mode, "WRITE") => Held::Writes,
        [_, _] => return Err(Reply::error("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(no_such_form("PAUSE")),
    };
    match parse_integer(&words[0]) {
        None => Err(Reply::error("ERR timeout is not an integer or out of range")),
        Some(timeout_ms) => match u64::try_from(timeout_ms) {
            Err(_) => Err(Reply::error("ERR timeout is negative")),
            Ok(timeout_ms) => Ok((Duration::from_millis(timeout_ms), held)),
        },
    }
}

/// `CLIENT UNPAUSE`
pub fn unpause(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.server.pause.end();
    done(Reply::Ok)
}

/// `CLIENT UNBLOCK client-id [TIMEOUT|ERROR]`
pub fn unblock(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(read_unblock(&words[2..]).map_or_else(
        |refusal| refusal,
        |(id, how)| {
            let client = asked.server.clients.all().into_iter().find(|client| client.id as i64 == id);
            Reply::Integer(i64::from(client.is_some_and(|client| client.unblock(how))))
        },
    ))
}

fn read_unblock(words: &[Bytes]) -> Result<(i64, Unblock), Reply> {
    let how = match words {
        [_] => Unblock::TimedOut,
        [_, reason] if is(reason, "TIMEOUT") => Unblock::TimedOut,
        [_, reason] if is(reason, "ERROR") => Unblock::WithError,
        [_, _] => return Err(Reply::error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(no_such_form("UNBLOCK")),
    };
    Ok((integer(&words[0])?, how))
}

/// Too many words for a subcommand that takes some, or some more.
fn no_such_form(subcommand: &str) -> Reply {
    Reply::error(format!("ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try CLIENT HELP."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::words;

    #[test]
    fn a_pause_is_read_as_redis_reads_it() {
        assert_eq!(read_pause(&words("5")), Ok((Duration::from_millis(5), Held::All)));
        assert_eq!(read_pause(&words("5 write")), Ok((Duration::from_millis(5), Held::Writes)));
        assert_eq!(read_pause(&words("9223372036854775807 ALL")).map(|read| read.1), Ok(Held::All));
        let refused = |text: &str| match read_pause(&words(text)) {
            Err(Reply::Error(line)) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("x"), "ERR timeout is not an integer or out of range");
        assert_eq!(refused("-1"), "ERR timeout is negative");
        assert_eq!(refused("x foo"), "ERR CLIENT PAUSE mode must be WRITE or ALL");
        assert!(refused("1 write x").starts_with("ERR unknown subcommand or wrong number of arguments for 'PAUSE'."));
    }

    #[test]
    fn who_is_to_go_on_is_read_as_redis_reads_it() {
        assert_eq!(read_unblock(&words("7")), Ok((7, Unblock::TimedOut)));
        assert_eq!(read_unblock(&words("7 Error")), Ok((7, Unblock::WithError)));
        assert_eq!(read_unblock(&words("x")), Err(Reply::error("ERR value is not an integer or out of range")));
        let reason = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
        assert_eq!(read_unblock(&words("x foo")), Err(Reply::error(reason)));
    }
}
