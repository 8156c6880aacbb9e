//! PUBSUB: who listens to what, on all nodes that can be reached; on the cluster view on this node alone, as its clients ask
//! every node and add up.

use crate::command::step::Step;
use crate::command::{Asked, done, help_lines, text};
use crate::coordinator::news::Found;
use crate::message::publish::{Names, Survey};
use crate::resp::reply::Reply;
use crate::session::Face;
use crate::session::subscriptions::Kind;
use bytes::Bytes;
use std::collections::BTreeSet;

/// `PUBSUB CHANNELS [pattern]`
pub fn channels(asked: &mut Asked, words: &[Bytes]) -> Step {
    list(asked, words, Kind::Channel)
}

/// `PUBSUB SHARDCHANNELS [pattern]`
pub fn shardchannels(asked: &mut Asked, words: &[Bytes]) -> Step {
    list(asked, words, Kind::Shard)
}

/// `PUBSUB NUMSUB [channel …]`
pub fn numsub(asked: &mut Asked, words: &[Bytes]) -> Step {
    count(asked, words, Kind::Channel)
}

/// `PUBSUB SHARDNUMSUB [shardchannel …]`
pub fn shardnumsub(asked: &mut Asked, words: &[Bytes]) -> Step {
    count(asked, words, Kind::Shard)
}

/// `PUBSUB NUMPAT`: how many different patterns are subscribed to in the whole cluster.
pub fn numpat(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let survey = Survey { kind: Kind::Pattern as u8, names: Names::Matching(None) };
    let found = survey_for(asked, survey);
    Step::Wait(Box::pin(async move { Reply::Integer(found.await.len() as i64) }))
}

/// What is found where this connection looks.
fn survey_for(asked: &Asked, survey: Survey) -> Found {
    let everywhere = asked.session.face == Face::Plain;
    asked.server.coordinator.survey(&survey, everywhere)
}

/// The names that somebody in the whole cluster is subscribed to.
fn list(asked: &mut Asked, words: &[Bytes], kind: Kind) -> Step {
    let pattern = match &words[2..] {
        [] => None,
        [pattern] => Some(pattern.clone()),
        _ => {
            return done(Reply::error(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'. Try PUBSUB HELP.",
                text(&words[1])
            )));
        }
    };
    let found = survey_for(asked, Survey { kind: kind as u8, names: Names::Matching(pattern) });
    Step::Wait(Box::pin(async move { Reply::Array(found.await.into_keys().map(Reply::Bulk).collect()) }))
}

/// How many clients of the whole cluster are subscribed to each of these names.
fn count(asked: &mut Asked, words: &[Bytes], kind: Kind) -> Step {
    let names = words[2..].to_vec();
    if names.is_empty() {
        return done(Reply::Array(Vec::new()));
    }
    // Each once: what several nodes say of one name is added up.
    let once: BTreeSet<Bytes> = names.iter().cloned().collect();
    let names_asked = Names::These(once.into_iter().collect());
    let found = survey_for(asked, Survey { kind: kind as u8, names: names_asked });
    Step::Wait(Box::pin(async move {
        let found = found.await;
        let pair = |name: Bytes| {
            let count = found.get(&name).copied().unwrap_or(0);
            [Reply::Bulk(name), Reply::Integer(count as i64)]
        };
        Reply::Array(names.into_iter().flat_map(pair).collect())
    }))
}

/// `PUBSUB HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "CHANNELS [<pattern>]",
            "    Return the currently active channels matching a <pattern> (default: '*').",
            "NUMPAT",
            "    Return number of subscriptions to patterns.",
            "NUMSUB [<channel> ...]",
            "    Return the number of subscribers for the specified channels, excluding",
            "    pattern subscriptions(default: no channels).",
            "SHARDCHANNELS [<pattern>]",
            "    Return the currently active shard level channels matching a <pattern> (default: '*').",
            "SHARDNUMSUB [<shardchannel> ...]",
            "    Return the number of subscribers for the specified shard level channel(s)",
        ],
    )
}
