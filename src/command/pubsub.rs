//! Channels: SUBSCRIBE and its kin, PUBLISH, PUBSUB.
//!
//! Picture a hall with a newspaper desk in each of several houses. A visitor says at the desk of this house which papers
//! they want; whoever has news hands it in at any house, and it is called out in all of them. Nobody keeps old papers.
//!
//! # Contract
//! - PUBLISH reaches the subscribers of every node that can be reached, at most once, and the messages of one connection in
//!   order. It answers how many clients of the whole cluster received the message (those of nodes that did not answer
//!   within `request-timeout-ms` are not counted).
//! - PUBLISH begins when the commands before it in the pipeline are done: who reads the key that was set before sees it.
//! - A subscriber that lets too much lie (`client-output-buffer-limit`) is disconnected ([`crate::session::outgoing`]).
//! - The replies of SUBSCRIBE and its kin stand between the messages exactly where the subscription changed.
//! - Shard channels are channels in a world of their own; any node takes them.

pub mod census;
pub mod desk;

use super::step::Step;
use super::{Asked, arguments, done};
use crate::message::publish::Published;
use crate::resp::reply::Reply;
use crate::session::subscriptions::{KINDS, Kind};
use bytes::Bytes;

/// What a RESP2 client with subscriptions may still ask for.
pub fn is_for_subscribers(name: &str) -> bool {
    const NAMES: [&str; 9] = [
        "ping",
        "subscribe",
        "unsubscribe",
        "psubscribe",
        "punsubscribe",
        "ssubscribe",
        "sunsubscribe",
        "quit",
        "reset",
    ];
    NAMES.contains(&name)
}

/// What it is told when it asks for anything else.
pub fn not_for_subscribers(name: &str) -> Reply {
    Reply::error(format!(
        "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this \
         context"
    ))
}

/// `SUBSCRIBE channel …`
pub fn subscribe(asked: &mut Asked, words: &[Bytes]) -> Step {
    enter(asked, words, Kind::Channel)
}

/// `PSUBSCRIBE pattern …`
pub fn psubscribe(asked: &mut Asked, words: &[Bytes]) -> Step {
    enter(asked, words, Kind::Pattern)
}

/// `SSUBSCRIBE shardchannel …`: alone of its kind it is refused in a transaction, as in Redis 7.0.
pub fn ssubscribe(asked: &mut Asked, words: &[Bytes]) -> Step {
    if !asked.may_wait {
        return done(Reply::error("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    enter(asked, words, Kind::Shard)
}

/// `UNSUBSCRIBE [channel …]`
pub fn unsubscribe(asked: &mut Asked, words: &[Bytes]) -> Step {
    strike(asked, words, Kind::Channel)
}

/// `PUNSUBSCRIBE [pattern …]`
pub fn punsubscribe(asked: &mut Asked, words: &[Bytes]) -> Step {
    strike(asked, words, Kind::Pattern)
}

/// `SUNSUBSCRIBE [shardchannel …]`
pub fn sunsubscribe(asked: &mut Asked, words: &[Bytes]) -> Step {
    strike(asked, words, Kind::Shard)
}

/// The words a client is answered with when it enters and leaves.
fn verbs(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Channel => ("subscribe", "unsubscribe"),
        Kind::Pattern => ("psubscribe", "punsubscribe"),
        Kind::Shard => ("ssubscribe", "sunsubscribe"),
    }
}

/// One line of an answer. Channels and patterns are counted together, shard channels apart.
fn changed(verb: &'static str, name: Reply, kind: Kind, counts: [u32; KINDS.len()]) -> Reply {
    let [channels, patterns, shards] = counts.map(i64::from);
    let count = if kind == Kind::Shard { shards } else { channels + patterns };
    Reply::Push(vec![Reply::Bulk(Bytes::from_static(verb.as_bytes())), name, Reply::Integer(count)])
}

fn enter(asked: &mut Asked, words: &[Bytes], kind: Kind) -> Step {
    let verb = verbs(kind).0;
    let (lines, counts, come) = asked.session.client.resubscribe(|register, client| {
        let one = |name: &Bytes| {
            register.subscribe(client.id, client, kind, name);
            changed(verb, Reply::Bulk(name.clone()), kind, register.counts(client.id))
        };
        words[1..].iter().map(one).collect()
    });
    answer(asked, lines, counts, come)
}

fn strike(asked: &mut Asked, words: &[Bytes], kind: Kind) -> Step {
    let verb = verbs(kind).1;
    let (lines, counts, come) = asked.session.client.resubscribe(|register, client| {
        let names = if words.len() > 1 { words[1..].to_vec() } else { register.names(client.id, kind) };
        if names.is_empty() {
            return vec![changed(verb, Reply::Null, kind, register.counts(client.id))];
        }
        let one = |name: Bytes| {
            register.unsubscribe(client.id, kind, &name);
            changed(verb, Reply::Bulk(name), kind, register.counts(client.id))
        };
        names.into_iter().map(one).collect()
    });
    answer(asked, lines, counts, come)
}

fn answer(asked: &mut Asked, lines: Vec<Reply>, counts: [u32; KINDS.len()], come: u64) -> Step {
    let session = &mut *asked.session;
    (session.subscriptions, session.after) = (counts, come);
    // As in Redis, CLIENT REPLY silences answers, and these count as messages.
    session.answered_anyway = true;
    done(Reply::Several(lines))
}

/// `PUBLISH channel message`
pub fn publish(asked: &mut Asked, words: &[Bytes]) -> Step {
    send(asked, words, false)
}

/// `SPUBLISH shardchannel message`
pub fn spublish(asked: &mut Asked, words: &[Bytes]) -> Step {
    send(asked, words, true)
}

fn send(asked: &mut Asked, words: &[Bytes], shard: bool) -> Step {
    let coordinator = asked.server.coordinator.clone();
    let published = Published { shard, channel: words[1].clone(), message: words[2].clone() };
    Step::Start(Box::new(move || {
        let received = coordinator.publish(&published);
        Box::pin(async move { Reply::Integer(received.await as i64) })
    }))
}

/// `PING` of a RESP2 client with subscriptions.
pub fn ping(words: &[Bytes]) -> Reply {
    match words {
        [_] | [_, _] => Reply::Array(vec![
            Reply::Bulk(Bytes::from_static(b"pong")),
            Reply::Bulk(words.get(1).cloned().unwrap_or_default()),
        ]),
        _ => arguments::wrong_number_of_arguments("ping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_patterns_are_counted_together() {
        let count = |kind| match changed("x", Reply::Null, kind, [1, 2, 4]) {
            Reply::Push(items) => items[2].clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(KINDS.map(count), [Reply::Integer(3), Reply::Integer(3), Reply::Integer(4)]);
    }
}
