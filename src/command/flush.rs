//! FLUSHDB and FLUSHALL: everything written until now is struck out, on every node.
//!
//! # Contract
//! - `OK` means that every node that can be reached has saved it: none of them shows, counts or takes in anything that was
//!   acknowledged before. What only an unreachable node has taken meanwhile stays.
//! - A flush strikes out a whole database. A cluster client sends it to every master, and each strikes out the same: what
//!   was acknowledged before the client began is gone after the first, and what is written meanwhile may go with a later one.
//! - Bytes go in the background, each node's own. With `SYNC` the reply waits until this node's are gone; without a word,
//!   or with `ASYNC`, it does not.
//! - An error that begins with NOQUORUM means that it is done here and will be everywhere; any other, that nothing changed.

use super::arguments::{is, syntax_error};
use super::step::Step;
use super::{Asked, done, failure};
use crate::resp::reply::Reply;
use crate::session::Face;
use bytes::Bytes;

/// `FLUSHDB [ASYNC|SYNC]`: the session's database.
pub fn flushdb(asked: &mut Asked, words: &[Bytes]) -> Step {
    flush(asked, words, 1 << asked.session.stored())
}

/// `FLUSHALL [ASYNC|SYNC]`: all databases; on the cluster view the one there is.
pub fn flushall(asked: &mut Asked, words: &[Bytes]) -> Step {
    match asked.session.face {
        Face::Plain => flush(asked, words, u16::MAX),
        Face::ClusterView => flush(asked, words, 1 << asked.session.stored()),
    }
}

fn flush(asked: &mut Asked, words: &[Bytes], databases: u16) -> Step {
    let bytes = match waits_for_bytes(&words[1..]) {
        Ok(bytes) => bytes,
        Err(reply) => return done(reply),
    };
    let flushed = asked.server.coordinator.flush(databases, bytes);
    Step::Wait(Box::pin(async move { failure::of_all_nodes(flushed.await, "flush", "flushed") }))
}

/// Whether the reply is to wait until the bytes are gone.
fn waits_for_bytes(words: &[Bytes]) -> Result<bool, Reply> {
    match words {
        [] => Ok(false),
        [word] if is(word, "ASYNC") => Ok(false),
        [word] if is(word, "SYNC") => Ok(true),
        _ => Err(syntax_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::words;

    #[test]
    fn only_sync_waits_and_anything_else_is_a_syntax_error() {
        assert_eq!(
            [Ok(false), Ok(true), Ok(false)],
            ["async", "Sync", "ASYNC"].map(|word| waits_for_bytes(&words(word)))
        );
        assert_eq!(waits_for_bytes(&[]), Ok(false));
        for text in ["now", "sync async", "async async"] {
            assert_eq!(waits_for_bytes(&words(text)), Err(syntax_error()), "{text}");
        }
    }
}
