//! The rows of what operators and tests do with a node: saving, stopping, looking into its memory.

use super::argument::{integer, key, one_of, token};
use super::build::{command, container};
use super::flag::{ADMIN, ALLOW_BUSY, FAST, LOADING, NO_ASYNC_LOADING, NO_MULTI, NOSCRIPT, READONLY, STALE, WRITE};
use super::{Command, Group};
use crate::command::{debug, function, lolwut, memory, save, server, shutdown};

const OPERATOR: u16 = ADMIN | NOSCRIPT | LOADING | STALE;
const SAVING: u16 = ADMIN | NOSCRIPT | NO_ASYNC_LOADING;
const OF_EACH_NODE: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub(super) const COMMANDS: &[Command] = &[
    command("save", 1, SAVING | NO_MULTI, Group::Server, save::save)
        .costs("O(N) in the bytes not synced yet")
        .help("1.0.0", "Forces everything this node has taken to its disk."),
    command("bgsave", -1, SAVING, Group::Server, save::bgsave)
        .help("1.0.0", "Forces everything this node has taken to its disk, in the background.")
        .takes_arguments(&[token("schedule", "SCHEDULE").optional()]),
    command("bgrewriteaof", 1, SAVING, Group::Server, save::bgrewriteaof)
        .help("1.0.0", "The same as BGSAVE: the log is never rewritten as a whole."),
    command("lastsave", 1, LOADING | STALE | FAST, Group::Server, save::lastsave)
        .categories(&["admin", "dangerous"])
        .tips(&["nondeterministic_output"])
        .help("1.0.0", "Tells the Unix second of the last SAVE or BGSAVE that succeeded."),
    command("role", 1, NOSCRIPT | LOADING | STALE | FAST, Group::Server, server::role)
        .categories(&["admin", "dangerous"])
        .help("2.8.12", "Tells that this node is a master, as every node is."),
    command("lolwut", -1, READONLY | FAST, Group::Server, lolwut::lolwut)
        .costs("O(N) in the number of partitions")
        .help("5.0.0", "Draws the ring.")
        .takes_arguments(&[integer("version").after("VERSION").optional()]),
    command("shutdown", -1, OPERATOR | NO_MULTI | ALLOW_BUSY, Group::Server, shutdown::shutdown)
        .costs("O(N) in the bytes not synced yet")
        .help("1.0.0", "Stops this node; what was acknowledged is kept whatever is said.")
        .takes_arguments(&[
            one_of("nosave_save", &[token("nosave", "NOSAVE"), token("save", "SAVE")]).optional(),
            token("now", "NOW").optional(),
            token("force", "FORCE").optional(),
            token("abort", "ABORT").optional(),
        ]),
    command("debug", -2, OPERATOR, Group::Server, debug::debug)
        .costs("Depends on the subcommand.")
        .help("1.0.0", "For tests; enable-debug-command says who may."),
    container("memory", Group::Server, MEMORY).help("4.0.0", "Commands about memory."),
    container("function", Group::Scripting, FUNCTION).categories(&[]).help("7.0.0", "Commands about functions."),
];

const MEMORY: &[Command] = &[
    command("doctor", 2, 0, Group::Server, memory::doctor)
        .tips(OF_EACH_NODE)
        .help("4.0.0", "Says what is wrong with this node's memory."),
    command("help", 2, LOADING | STALE, Group::Server, memory::help).help("4.0.0", "Lists the subcommands."),
    command("malloc-stats", 2, 0, Group::Server, memory::malloc_stats)
        .tips(OF_EACH_NODE)
        .help("4.0.0", "Shows the allocator's statistics."),
    command("purge", 2, 0, Group::Server, memory::purge)
        .tips(EVERYWHERE)
        .help("4.0.0", "Has the allocator give back what it does not need."),
    command("stats", 2, 0, Group::Server, memory::stats)
        .tips(OF_EACH_NODE)
        .help("4.0.0", "Shows where this node's memory is."),
    command("usage", -3, READONLY, Group::Server, memory::usage)
        .keys_from(2, 2, 1, &["RO"])
        .costs("O(N) in the key's siblings")
        .help("4.0.0", "Tells the bytes that one replica's copy of a key takes.")
        .takes_arguments(&[key("key"), integer("count").after("SAMPLES").optional()]),
];

const FUNCTION: &[Command] = &[
    command("flush", -2, WRITE | NOSCRIPT, Group::Scripting, function::flush)
        .tips(EVERYWHERE)
        .help("7.0.0", "Deletes all functions; there are none.")
        .takes_arguments(&[one_of("async", &[token("async", "ASYNC"), token("sync", "SYNC")]).optional()]),
    command("help", 2, LOADING | STALE, Group::Scripting, function::help).help("7.0.0", "Lists the subcommands."),
];
