//! The rows of the commands that go through all keys.

use super::argument::{Argument, integer, pattern, string};
use super::build::command;
use super::flag::{FAST, READONLY};
use super::{Command, Group};
use crate::command::scan;

const OPTIONS: &[Argument] = &[
    integer("cursor"),
    pattern("pattern").after("MATCH").optional(),
    integer("count").after("COUNT").optional(),
    string("type").after("TYPE").optional(),
];

pub(super) const COMMANDS: &[Command] = &[
    command("scan", -2, READONLY, Group::Generic, scan::scan)
        .tips(&["nondeterministic_output", "request_policy:special"])
        .costs("O(1) for each call, O(N) in the number of keys for all calls until the cursor is 0 again")
        .help("2.8.0", "Lists the keys of the database, some at a time.")
        .takes_arguments(OPTIONS),
    command("keys", 2, READONLY, Group::Generic, scan::keys)
        .categories(&["keyspace", "dangerous"])
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .costs("O(N) in the number of keys")
        .help("1.0.0", "Lists all keys of the database whose names match.")
        .takes_arguments(&[pattern("pattern")]),
    command("randomkey", 1, READONLY, Group::Generic, scan::randomkey)
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .costs("O(1), O(N) in the number of deleted keys not forgotten yet")
        .help("1.0.0", "Names any key of the database."),
    command("dbsize", 1, READONLY | FAST, Group::Server, scan::dbsize)
        .categories(&["keyspace"])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .costs("O(1), O(N) in the number of keys of slots where some have just expired, and of partitions whose copies differ")
        .help("1.0.0", "Counts the keys of the database."),
];
