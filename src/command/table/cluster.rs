//! The rows of the cluster's view.

use super::argument::string;
use super::build::{command, container};
use super::flag::{LOADING, STALE};
use super::{Command, Group};
use crate::command::cluster;

const CHANGING: &[&str] = &["nondeterministic_output"];

pub(super) const COMMANDS: &[Command] = &[container(
    "cluster",
    Group::Cluster,
    &[
        command("help", 2, LOADING | STALE, Group::Cluster, cluster::help).help("5.0.0", "Lists the subcommands."),
        command("info", 2, STALE, Group::Cluster, cluster::info)
            .tips(CHANGING)
            .help("3.0.0", "Tells how the cluster is."),
        command("keyslot", 3, STALE, Group::Cluster, cluster::keyslot)
            .costs("O(N) in the number of bytes")
            .help("3.0.0", "Tells the slot of a key.")
            .takes_arguments(&[string("key")]),
        command("myid", 2, STALE, Group::Cluster, cluster::myid).help("3.0.0", "Tells this node's id."),
        command("nodes", 2, STALE, Group::Cluster, cluster::nodes)
            .tips(CHANGING)
            .costs("O(N) in the number of nodes and partitions")
            .help("3.0.0", "Lists the nodes and the slots each answers for first."),
        command("shards", 2, STALE, Group::Cluster, cluster::shards)
            .tips(CHANGING)
            .costs("O(N) in the number of nodes and partitions")
            .help("7.0.0", "Lists the nodes with their slots and health."),
        command("slots", 2, STALE, Group::Cluster, cluster::slots)
            .tips(CHANGING)
            .costs("O(N) in the number of nodes and partitions")
            .deprecated("7.0.0", "`CLUSTER SHARDS`")
            .help("3.0.0", "Lists the ranges of slots and the node that answers for each first."),
    ],
)
.help("3.0.0", "Commands about the cluster.")];
