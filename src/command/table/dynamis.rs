//! The rows of the commands that show what Redis has no words for: siblings, contexts, quorums, homes.

use super::argument::{Argument, integer, key, one_of, string, token, unix_time};
use super::build::command;
use super::flag::{ADMIN, DENYOOM, FAST, READONLY, WRITE};
use super::{Command, Group};
use crate::command::dynamis;

const KEY: Argument = key("key");
const CONTEXT: Argument = string("context").after("CONTEXT").optional();
const R: Argument = integer("r").after("R").optional();
const W: Argument = integer("w").after("W").optional();
const SINCE: &str = "0.1.0";

pub(super) const COMMANDS: &[Command] = &[
    command("dyn.get", -2, READONLY | FAST, Group::Dynamis, dynamis::get)
        .one_key(&["RO", "access"])
        .help(SINCE, "Shows all siblings of a key, and the context that names what was seen.")
        .takes_arguments(&[KEY, R, token("local", "LOCAL").optional()]),
    command("dyn.set", -3, WRITE | DENYOOM, Group::Dynamis, dynamis::set)
        .one_key(&["OW", "update"])
        .help(SINCE, "Writes a value that replaces what the context has seen; without one it becomes a new sibling.")
        .takes_arguments(&[
            KEY,
            string("value"),
            CONTEXT,
            W,
            one_of(
                "expiration",
                &[
                    integer("seconds").after("EX"),
                    integer("milliseconds").after("PX"),
                    unix_time("unix-time-seconds").after("EXAT"),
                    unix_time("unix-time-milliseconds").after("PXAT"),
                    token("keepttl", "KEEPTTL"),
                ],
            )
            .optional(),
            string("id").after("ID").optional(),
        ]),
    command("dyn.del", -2, WRITE, Group::Dynamis, dynamis::del)
        .one_key(&["RM", "delete"])
        .help(SINCE, "Deletes what the context has seen; without one everything the coordinator holds.")
        .takes_arguments(&[KEY, CONTEXT, W]),
    command("dyn.explain", 2, READONLY, Group::Dynamis, dynamis::cluster::explain)
        .one_key(&["RO", "access"])
        .tips(&["nondeterministic_output"])
        .costs("O(N) in the number of replicas")
        .help(SINCE, "Tells where a key lives and what each replica holds of it.")
        .takes_arguments(&[KEY]),
    command("dyn.quorum", -1, FAST, Group::Dynamis, dynamis::policy::quorums)
        .categories(&["connection"])
        .help(SINCE, "Shows or sets how many replicas this connection's plain commands wait for.")
        .takes_arguments(&[R, W]),
    command("dyn.database", -2, ADMIN, Group::Dynamis, dynamis::policy::database)
        .help(SINCE, "Shows or sets a database's policy, on all nodes.")
        .takes_arguments(&[
            integer("index"),
            integer("n").after("N").optional(),
            R,
            W,
            integer("dw").after("DW").optional(),
            one_of("sloppy", &[token("yes", "YES"), token("no", "NO")]).after("SLOPPY").optional(),
            one_of("conflict", &[token("siblings", "SIBLINGS"), token("newest", "NEWEST")])
                .after("CONFLICT")
                .optional(),
        ]),
    command("dyn.ring", -1, READONLY, Group::Dynamis, dynamis::cluster::ring)
        .tips(&["nondeterministic_output"])
        .costs("O(N) in the number of partitions")
        .help(SINCE, "Tells which nodes are home to each partition."),
    command("dyn.members", -1, READONLY, Group::Dynamis, dynamis::cluster::members)
        .tips(&["nondeterministic_output"])
        .costs("O(N) in the number of nodes")
        .help(SINCE, "Lists the members of the cluster."),
];
