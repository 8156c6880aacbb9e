//! CLUSTER: the cluster as Redis Cluster's clients and tools want to see it.
//!
//! Contract: every member is a master of the slots it answers for first ([`super::ranges`]), and nobody is a replica, so
//! tools that compare the nodes' answers find them equal. `cluster_state` is `ok` as long as this node runs: it
//! coordinates whatever it is asked (availability before agreement).

use super::ranges::{SlotRange, slot_ranges};
use super::step::Step;
use super::{Asked, done, help_lines};
use crate::key;
use crate::membership::view::{Node, View};
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::fmt::Write;

/// `CLUSTER INFO`
pub fn info(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    let ranges = slot_ranges(&view);
    let unreachable: u32 = ranges
        .iter()
        .filter(|range| !is_up(&view, range.node))
        .map(|range| u32::from(range.last) - u32::from(range.first) + 1)
        .sum();
    let masters = (0..view.nodes.len()).filter(|at| ranges.iter().any(|range| range.node == *at)).count();
    let slots = u32::from(key::SLOTS);
    done(Reply::Verbatim(format!(
        "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:{slots}\r\ncluster_slots_ok:{}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:{unreachable}\r\ncluster_known_nodes:{}\r\ncluster_size:{masters}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\n",
        slots - unreachable,
        view.nodes.len(),
        epoch = view.epoch,
    )))
}

/// `CLUSTER MYID`
pub fn myid(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    done(Reply::text(view.nodes[view.me].id.to_string()))
}

/// `CLUSTER KEYSLOT key`
pub fn keyslot(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(Reply::Integer(key::slot(&words[2]).into()))
}

/// `CLUSTER NODES`
pub fn nodes(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    let ranges = slot_ranges(&view);
    let lines = view.nodes.iter().enumerate().map(|(at, node)| node_line(&view, &ranges, at, node));
    done(Reply::Verbatim(lines.collect()))
}

/// One line of `CLUSTER NODES`, with its line end.
fn node_line(view: &View, ranges: &[SlotRange], at: usize, node: &Node) -> String {
    let flags = match (at == view.me, is_up(view, at)) {
        (true, _) => "myself,master",
        (false, true) => "master",
        (false, false) => "master,fail",
    };
    let link = if is_up(view, at) { "connected" } else { "disconnected" };
    let mut line =
        format!("{} {}:{}@{} {flags} - 0 0 {} {link}", node.id, node.host, node.port, node.cluster_port, view.epoch);
    for range in ranges.iter().filter(|range| range.node == at) {
        // Writing to a String cannot fail.
        let _ = match range.first == range.last {
            true => write!(line, " {}", range.first),
            false => write!(line, " {}-{}", range.first, range.last),
        };
    }
    line.push('\n');
    line
}

/// `CLUSTER SLOTS`
pub fn slots(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    let shown = slot_ranges(&view).into_iter().map(|range| {
        let node = &view.nodes[range.node];
        let node = Reply::Array(vec![
            Reply::text(&*node.host),
            Reply::Integer(node.port.into()),
            Reply::text(node.id.to_string()),
            Reply::Array(Vec::new()),
        ]);
        Reply::Array(vec![Reply::Integer(range.first.into()), Reply::Integer(range.last.into()), node])
    });
    done(Reply::Array(shown.collect()))
}

/// `CLUSTER SHARDS`
pub fn shards(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    let ranges = slot_ranges(&view);
    let entry = |name: &str, value| (Reply::text(name), value);
    let shown = view.nodes.iter().enumerate().map(|(at, node)| {
        let own = ranges.iter().filter(|range| range.node == at);
        let slots = own.flat_map(|range| [Reply::Integer(range.first.into()), Reply::Integer(range.last.into())]);
        let health = if is_up(&view, at) { "online" } else { "fail" };
        let node = Reply::Map(vec![
            entry("id", Reply::text(node.id.to_string())),
            entry("port", Reply::Integer(node.port.into())),
            entry("ip", Reply::text(&*node.host)),
            entry("endpoint", Reply::text(&*node.host)),
            entry("role", Reply::text("master")),
            entry("replication-offset", Reply::Integer(0)),
            entry("health", Reply::text(health)),
        ]);
        Reply::Map(vec![entry("slots", Reply::Array(slots.collect())), entry("nodes", Reply::Array(vec![node]))])
    });
    done(Reply::Array(shown.collect()))
}

fn is_up(view: &View, at: usize) -> bool {
    at == view.me || view.nodes[at].is_reachable()
}

/// `CLUSTER HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "INFO",
            "    Tell how the cluster is.",
            "KEYSLOT <key>",
            "    Tell the slot of a key.",
            "MYID",
            "    Tell this node's id.",
            "NODES",
            "    List the nodes and the slots each answers for first.",
            "SHARDS",
            "    List the nodes with their slots and health.",
            "SLOTS",
            "    List the ranges of slots and the node that answers for each first.",
        ],
    )
}
