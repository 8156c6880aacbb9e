//! The rows of the commands about channels.

use super::argument::{Argument, block, pattern, string};
use super::build::{command, container};
use super::flag::{FAST, LOADING, NOSCRIPT, PUBSUB, STALE};
use super::{Command, Group};
use crate::command::pubsub::{self, census};

const LISTEN: u16 = PUBSUB | NOSCRIPT | LOADING | STALE;
const SEND: u16 = PUBSUB | LOADING | STALE | FAST;
const ASK: u16 = PUBSUB | LOADING | STALE;
const CHANNEL: Argument = string("channel");
const SHARD_CHANNEL: Argument = string("shardchannel");

pub(super) const COMMANDS: &[Command] = &[
    command("subscribe", -2, LISTEN, Group::Pubsub, pubsub::subscribe)
        .costs("O(N) in the number of channels")
        .help("2.0.0", "Listens to channels.")
        .takes_arguments(&[CHANNEL.multiple()]),
    command("unsubscribe", -1, LISTEN, Group::Pubsub, pubsub::unsubscribe)
        .costs("O(N) in the number of channels")
        .help("2.0.0", "Stops listening to channels, or to all.")
        .takes_arguments(&[CHANNEL.optional().multiple()]),
    command("psubscribe", -2, LISTEN, Group::Pubsub, pubsub::psubscribe)
        .costs("O(N) in the number of patterns")
        .help("2.0.0", "Listens to all channels whose names match patterns.")
        .takes_arguments(&[block("pattern", &[pattern("pattern")]).multiple()]),
    command("punsubscribe", -1, LISTEN, Group::Pubsub, pubsub::punsubscribe)
        .costs("O(N) in the number of patterns")
        .help("2.0.0", "Stops listening by patterns, or by all.")
        .takes_arguments(&[pattern("pattern").optional().multiple()]),
    command("ssubscribe", -2, LISTEN, Group::Pubsub, pubsub::ssubscribe)
        .keys(-1, 1, &["not_key"])
        .costs("O(N) in the number of channels")
        .help("7.0.0", "Listens to shard channels.")
        .takes_arguments(&[SHARD_CHANNEL.multiple()]),
    command("sunsubscribe", -1, LISTEN, Group::Pubsub, pubsub::sunsubscribe)
        .keys(-1, 1, &["not_key"])
        .costs("O(N) in the number of channels")
        .help("7.0.0", "Stops listening to shard channels, or to all.")
        .takes_arguments(&[SHARD_CHANNEL.optional().multiple()]),
    command("publish", 3, SEND, Group::Pubsub, pubsub::publish)
        .costs("O(N+M) in the number of the channel's subscribers and of all patterns, and a message to each node")
        .help("2.0.0", "Sends a message to the subscribers of a channel, on all nodes.")
        .takes_arguments(&[CHANNEL, string("message")]),
    command("spublish", 3, SEND, Group::Pubsub, pubsub::spublish)
        .keys(1, 1, &["not_key"])
        .costs("O(N) in the number of the channel's subscribers, and a message to each node")
        .help("7.0.0", "Sends a message to the subscribers of a shard channel, on all nodes.")
        .takes_arguments(&[SHARD_CHANNEL, string("message")]),
    container("pubsub", Group::Pubsub, ASKING).categories(&[]).help("2.8.0", "Commands about who listens to what."),
];

const ASKING: &[Command] = &[
    command("channels", -2, ASK, Group::Pubsub, census::channels)
        .costs("O(N) in the number of channels")
        .help("2.8.0", "Names the channels that somebody listens to, on any node.")
        .takes_arguments(&[pattern("pattern").optional()]),
    command("help", 2, LOADING | STALE, Group::Pubsub, census::help)
        .categories(&[])
        .help("6.2.0", "Lists the subcommands."),
    command("numpat", 2, ASK, Group::Pubsub, census::numpat)
        .costs("O(N) in the number of patterns")
        .help("2.8.0", "Counts the patterns by which somebody listens, on any node."),
    command("numsub", -2, ASK, Group::Pubsub, census::numsub)
        .costs("O(N) in the number of channels")
        .help("2.8.0", "Counts the clients that listen to channels, on all nodes.")
        .takes_arguments(&[CHANNEL.optional().multiple()]),
    command("shardchannels", -2, ASK, Group::Pubsub, census::shardchannels)
        .costs("O(N) in the number of shard channels")
        .help("7.0.0", "Names the shard channels that somebody listens to, on any node.")
        .takes_arguments(&[pattern("pattern").optional()]),
    command("shardnumsub", -2, ASK, Group::Pubsub, census::shardnumsub)
        .costs("O(N) in the number of shard channels")
        .help("7.0.0", "Counts the clients that listen to shard channels, on all nodes.")
        .takes_arguments(&[SHARD_CHANNEL.optional().multiple()]),
];
