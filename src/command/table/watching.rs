//! The rows of the commands for those who watch the server: MONITOR, SLOWLOG, LATENCY.

use super::argument::{integer, string};
use super::build::{command, container};
use super::flag::{ADMIN, LOADING, NOSCRIPT, STALE};
use super::{Command, Group};
use crate::command::{latency, monitor, slowlog};

const HELP: u16 = LOADING | STALE;
const SLOW: u16 = ADMIN | LOADING | STALE;
const OPERATOR: u16 = ADMIN | NOSCRIPT | LOADING | STALE;
const RESET: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const VARIES: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];

pub(super) const COMMANDS: &[Command] = &[
    command("monitor", 1, OPERATOR, Group::Server, monitor::monitor)
        .help("1.0.0", "Shows every command that this node runs for a client."),
    container("slowlog", Group::Server, SLOWLOG).help("2.2.12", "Commands about what took long."),
    container("latency", Group::Server, LATENCY).help("2.8.13", "Commands about how long things take."),
];

const SLOWLOG: &[Command] = &[
    command("get", -2, SLOW, Group::Server, slowlog::get)
        .tips(&["request_policy:all_nodes", "nondeterministic_output"])
        .costs("O(N) in the number of entries")
        .help("2.2.12", "Shows the latest commands of this node that took long.")
        .takes_arguments(&[integer("count").optional()]),
    command("help", 2, HELP, Group::Server, slowlog::help).help("6.2.0", "Lists the subcommands."),
    command("len", 2, SLOW, Group::Server, slowlog::len)
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"])
        .help("2.2.12", "Counts the entries of the slow log."),
    command("reset", 2, SLOW, Group::Server, slowlog::reset)
        .tips(RESET)
        .costs("O(N) in the number of entries")
        .help("2.2.12", "Empties the slow log."),
];

const LATENCY: &[Command] = &[
    command("doctor", 2, OPERATOR, Group::Server, latency::doctor)
        .tips(VARIES)
        .help("2.8.13", "Tells people what took long, and what to do."),
    command("graph", 3, OPERATOR, Group::Server, latency::graph)
        .tips(VARIES)
        .help("2.8.13", "Draws how long an event took of late.")
        .takes_arguments(&[string("event")]),
    command("help", 2, HELP, Group::Server, latency::help).help("2.8.13", "Lists the subcommands."),
    command("histogram", -2, OPERATOR, Group::Server, latency::histogram)
        .tips(VARIES)
        .costs("O(N) in the number of commands")
        .help("7.0.0", "Shows how many runs of each command took how long.")
        .takes_arguments(&[string("command").optional().multiple()]),
    command("history", 3, OPERATOR, Group::Server, latency::history)
        .tips(VARIES)
        .help("2.8.13", "Shows when an event took long, and how long.")
        .takes_arguments(&[string("event")]),
    command("latest", 2, OPERATOR, Group::Server, latency::latest)
        .tips(VARIES)
        .help("2.8.13", "Shows of each event the latest and the worst."),
    command("reset", -2, OPERATOR, Group::Server, latency::reset)
        .tips(RESET)
        .help("2.8.13", "Forgets what took long, of all events or some.")
        .takes_arguments(&[string("event").optional().multiple()]),
];
