//! FUNCTION FLUSH: there are no functions, so all of them are gone.
//!
//! Test harnesses and clients clean up with it. Nothing else of scripting is here.

use super::arguments::is;
use super::step::Step;
use super::{Asked, done, help_lines, text};
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `FUNCTION FLUSH [ASYNC|SYNC]`
pub fn flush(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(match &words[2..] {
        [] => Reply::Ok,
        [mode] if is(mode, "ASYNC") || is(mode, "SYNC") => Reply::Ok,
        [_] => Reply::error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        _ => Reply::error(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try FUNCTION HELP.",
            text(&words[1])
        )),
    })
}

/// `FUNCTION HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &["FLUSH [ASYNC|SYNC]", "    Delete all functions. There are none: this server runs no functions."],
    )
}
