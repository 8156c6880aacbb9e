//! The rows of the cluster's view.

use super::argument::{Argument, block, integer, one_of, string, token};
use super::build::{command, container};
use super::flag::{ADMIN, FAST, LOADING, NO_ASYNC_LOADING, NOSCRIPT, STALE};
use super::{Command, Group};
use crate::command::{cluster, connection};

const CHANGING: &[&str] = &["nondeterministic_output"];

const CHANGES: u16 = ADMIN | STALE | NO_ASYNC_LOADING;
const NODE: &[Argument] = &[string("node-id")];
const SLOTS: &[Argument] = &[integer("slot").multiple()];
const RUNS: &[Argument] = &[block("start-slot_end-slot", &[integer("start-slot"), integer("end-slot")]).multiple()];

/// A subcommand that would change who answers for what.
const fn refused(name: &'static str, arity: i8, since: &'static str) -> Command {
    command(name, arity, CHANGES, Group::Cluster, cluster::refused)
        .help(since, "Refused: slots follow from the member list, and nodes join by their seeds.")
}

/// A subcommand that names the replicas of a node.
const fn replicas(name: &'static str, since: &'static str) -> Command {
    command(name, 3, ADMIN | STALE, Group::Cluster, cluster::replicas)
        .tips(CHANGING)
        .costs("O(N) in the number of nodes")
        .help(since, "Lists the nodes that are replicas of a node and nothing else: none.")
        .takes_arguments(NODE)
}

const SUBCOMMANDS: &[Command] = &[
    command("count-failure-reports", 3, ADMIN | STALE, Group::Cluster, cluster::count_failure_reports)
        .tips(CHANGING)
        .costs("O(N) in the number of nodes")
        .help("3.0.0", "Tells whether a node can be reached from here.")
        .takes_arguments(NODE),
    command("countkeysinslot", 3, STALE, Group::Cluster, cluster::countkeysinslot)
        .help("3.0.0", "Counts the keys of a slot that this node holds.")
        .takes_arguments(&[integer("slot")]),
    command("getkeysinslot", 4, STALE, Group::Cluster, cluster::getkeysinslot)
        .tips(CHANGING)
        .costs("O(N) in the number of keys asked for")
        .help("3.0.0", "Names some keys of a slot that this node holds.")
        .takes_arguments(&[integer("slot"), integer("count")]),
    command("help", 2, LOADING | STALE, Group::Cluster, cluster::help).help("5.0.0", "Lists the subcommands."),
    command("info", 2, STALE, Group::Cluster, cluster::info).tips(CHANGING).help("3.0.0", "Tells how the cluster is."),
    command("keyslot", 3, STALE, Group::Cluster, cluster::keyslot)
        .costs("O(N) in the number of bytes")
        .help("3.0.0", "Tells the slot of a key.")
        .takes_arguments(&[string("key")]),
    command("links", 2, STALE, Group::Cluster, cluster::links)
        .tips(CHANGING)
        .costs("O(N) in the number of nodes")
        .help("7.0.0", "Lists this node's links to the others."),
    command("myid", 2, STALE, Group::Cluster, cluster::myid).help("3.0.0", "Tells this node's id."),
    command("myshardid", 2, STALE, Group::Cluster, cluster::myshardid)
        .tips(CHANGING)
        .help("7.2.0", "Tells this node's id: each node is a shard of its own."),
    command("nodes", 2, STALE, Group::Cluster, cluster::nodes)
        .tips(CHANGING)
        .costs("O(N) in the number of nodes and partitions")
        .help("3.0.0", "Lists the nodes and the slots each answers for first."),
    replicas("replicas", "5.0.0"),
    command("saveconfig", 2, CHANGES, Group::Cluster, cluster::saveconfig)
        .help("3.0.0", "Done already: the member list is always on disk."),
    command("shards", 2, STALE, Group::Cluster, cluster::shards)
        .tips(CHANGING)
        .costs("O(N) in the number of nodes and partitions")
        .help("7.0.0", "Lists the nodes with their slots and health."),
    replicas("slaves", "3.0.0").deprecated("5.0.0", "`CLUSTER REPLICAS`"),
    command("slots", 2, STALE, Group::Cluster, cluster::slots)
        .tips(CHANGING)
        .deprecated("7.0.0", "`CLUSTER SHARDS`")
        .costs("O(N) in the number of nodes and partitions")
        .help("3.0.0", "Lists the ranges of slots and the nodes that answer for each, the first one first."),
    refused("addslots", -3, "3.0.0").takes_arguments(SLOTS),
    refused("addslotsrange", -4, "7.0.0").takes_arguments(RUNS),
    refused("bumpepoch", 2, "3.0.0").tips(CHANGING),
    refused("delslots", -3, "3.0.0").takes_arguments(SLOTS),
    refused("delslotsrange", -4, "7.0.0").takes_arguments(RUNS),
    refused("failover", -2, "3.0.0").takes_arguments(&[one_of(
        "options",
        &[token("force", "FORCE"), token("takeover", "TAKEOVER")],
    )
    .optional()]),
    refused("flushslots", 2, "3.0.0"),
    refused("forget", 3, "3.0.0").takes_arguments(NODE),
    refused("meet", -4, "3.0.0").takes_arguments(&[
        string("ip"),
        integer("port"),
        integer("cluster_bus_port").optional(),
    ]),
    refused("replicate", 3, "3.0.0").takes_arguments(NODE),
    command("reset", -2, ADMIN | STALE | NOSCRIPT, Group::Cluster, cluster::refused)
        .help("3.0.0", "Refused: slots follow from the member list, and nodes join by their seeds.")
        .takes_arguments(&[one_of("hard_soft", &[token("hard", "HARD"), token("soft", "SOFT")]).optional()]),
    refused("set-config-epoch", 3, "3.0.0").takes_arguments(&[integer("config-epoch")]),
    refused("setslot", -4, "3.0.0").takes_arguments(&[
        integer("slot"),
        one_of(
            "subcommand",
            &[
                string("node-id").after("IMPORTING"),
                string("node-id").after("MIGRATING"),
                string("node-id").after("NODE"),
                token("stable", "STABLE"),
            ],
        ),
    ]),
];

pub(super) const COMMANDS: &[Command] = &[
    command("asking", 1, FAST, Group::Cluster, connection::asking)
        .categories(&["connection"])
        .help("3.0.0", "Accepted; slots do not move between nodes by hand."),
    container("cluster", Group::Cluster, SUBCOMMANDS).help("3.0.0", "Commands about the cluster."),
    command("readonly", 1, LOADING | STALE | FAST, Group::Cluster, connection::readonly)
        .categories(&["connection"])
        .help("3.0.0", "Lets any owner of a key answer what this connection reads."),
    command("readwrite", 1, LOADING | STALE | FAST, Group::Cluster, connection::readwrite)
        .categories(&["connection"])
        .help("3.0.0", "Takes READONLY back."),
];
