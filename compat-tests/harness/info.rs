//! Reading INFO.

use super::cluster::Cluster;

/// What a node's INFO says under a name; none when it says nothing there.
pub fn text(cluster: &Cluster, at: usize, name: &str) -> Option<String> {
    let info = cluster.connect(at).done("INFO dynamo").text();
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned()))
}

/// A number of a node's INFO; panics when it is not there.
pub fn number(cluster: &Cluster, at: usize, name: &str) -> i64 {
    let found = text(cluster, at, name).unwrap_or_else(|| panic!("INFO of node {at} says no {name}"));
    found.parse().unwrap_or_else(|_| panic!("{name}:{found} is no number"))
}

/// A number of INFO, added up over all nodes that run.
pub fn total(cluster: &Cluster, name: &str) -> i64 {
    let running = cluster.nodes.iter().enumerate().filter(|(_, node)| node.runs());
    running.map(|(at, _)| number(cluster, at, name)).sum()
}
