//! The rows of the commands about the server.

use super::argument::{Argument, block, one_of, pattern, string, token};
use super::build::{command, container};
use super::flag::{ADMIN, FAST, LOADING, NOSCRIPT, STALE, WRITE};
use super::{Command, Group};
use crate::command::{command_info, config, flush, info, server};

const DEFAULT: u16 = LOADING | STALE;
const OPERATOR: u16 = ADMIN | NOSCRIPT | LOADING | STALE;
const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const FLUSH_TYPE: Argument = one_of("async", &[token("async", "ASYNC"), token("sync", "SYNC")]).optional();
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

pub(super) const COMMANDS: &[Command] = &[
    command("info", -1, DEFAULT, Group::Server, info::info)
        .categories(&["dangerous"])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .help("1.0.0", "Describes the server and what it does, by sections.")
        .takes_arguments(&[string("section").optional().multiple()]),
    command("time", 1, LOADING | STALE | FAST, Group::Server, server::time)
        .tips(&["nondeterministic_output"])
        .help("2.6.0", "Tells this node's Unix time, in seconds and microseconds."),
    command("flushdb", -1, WRITE, Group::Server, flush::flushdb)
        .categories(&["keyspace", "dangerous"])
        .tips(EVERYWHERE)
        .costs("O(N) in the number of keys, in the background")
        .help("1.0.0", "Removes all keys of the database, on all nodes.")
        .takes_arguments(&[FLUSH_TYPE]),
    command("flushall", -1, WRITE, Group::Server, flush::flushall)
        .categories(&["keyspace", "dangerous"])
        .tips(EVERYWHERE)
        .costs("O(N) in the number of keys, in the background")
        .help("1.0.0", "Removes all keys of all databases, on all nodes.")
        .takes_arguments(&[FLUSH_TYPE]),
    container("config", Group::Server, CONFIG).help("2.0.0", "Commands about the configuration."),
    command("command", -1, DEFAULT, Group::Server, command_info::all)
        .categories(&["connection"])
        .tips(UNORDERED)
        .costs("O(N) in the number of commands")
        .with_subcommands(COMMAND)
        .help("2.8.13", "Describes all commands."),
];

const CONFIG: &[Command] = &[
    command("get", -3, OPERATOR, Group::Server, config::get)
        .costs("O(N) in the number of settings")
        .help("2.0.0", "Shows the settings whose names match.")
        .takes_arguments(&[block("parameter", &[string("parameter")]).multiple()]),
    command("help", 2, DEFAULT, Group::Server, config::help).help("5.0.0", "Lists the subcommands."),
    command("resetstat", 2, OPERATOR, Group::Server, config::resetstat)
        .help("2.0.0", "Sets the counters of INFO back to zero."),
    command("rewrite", 2, OPERATOR, Group::Server, config::rewrite)
        .costs("O(N) in the length of the file")
        .help("2.8.0", "Writes what is set now into the configuration file."),
    command("set", -4, OPERATOR, Group::Server, config::set)
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .costs("O(N) in the number of settings")
        .help("2.0.0", "Changes settings of this node, all or none.")
        .takes_arguments(&[block("parameter_value", &[string("parameter"), string("value")]).multiple()]),
];

const COMMAND: &[Command] = &[
    command("count", 2, DEFAULT, Group::Server, command_info::count)
        .categories(&["connection"])
        .help("2.8.13", "Counts the commands."),
    command("docs", -2, DEFAULT, Group::Server, command_info::docs)
        .categories(&["connection"])
        .tips(UNORDERED)
        .costs("O(N) in the number of commands")
        .help("7.0.0", "Documents commands.")
        .takes_arguments(&[string("command-name").optional().multiple()]),
    command("getkeys", -4, DEFAULT, Group::Server, command_info::getkeys)
        .categories(&["connection"])
        .costs("O(N) in the number of words")
        .help("2.8.13", "Tells which words of a command are keys.")
        .takes_arguments(&[string("command"), string("arg").optional().multiple()]),
    command("getkeysandflags", -4, DEFAULT, Group::Server, command_info::getkeysandflags)
        .categories(&["connection"])
        .costs("O(N) in the number of words")
        .help("7.0.0", "Tells which words of a command are keys, and what is done with them.")
        .takes_arguments(&[string("command"), string("arg").optional().multiple()]),
    command("help", 2, DEFAULT, Group::Server, command_info::help)
        .categories(&["connection"])
        .help("5.0.0", "Lists the subcommands."),
    command("info", -2, DEFAULT, Group::Server, command_info::info)
        .categories(&["connection"])
        .tips(UNORDERED)
        .costs("O(N) in the number of commands")
        .help("2.8.13", "Describes commands.")
        .takes_arguments(&[string("command-name").optional().multiple()]),
    command("list", -2, DEFAULT, Group::Server, command_info::list)
        .categories(&["connection"])
        .tips(UNORDERED)
        .costs("O(N) in the number of commands")
        .help("7.0.0", "Lists the names of the commands.")
        .takes_arguments(&[one_of(
            "filterby",
            &[
                string("module-name").after("MODULE"),
                string("category").after("ACLCAT"),
                pattern("pattern").after("PATTERN"),
            ],
        )
        .after("FILTERBY")
        .optional()]),
];
