//! §4.2, §4.3 and §6.2: who keeps what.

use super::local;
use crate::harness::cluster::Cluster;
use crate::harness::wait;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes in most of these tests.
const NODES: usize = 5;

/// How many partitions each member is a home of, by its address, as node `at` tells.
fn shares(cluster: &Cluster, at: usize) -> BTreeMap<String, i64> {
    let members = cluster.connect(at).done("DYN.MEMBERS");
    let share = |member: &crate::harness::resp::Value| {
        (member.field("address").text(), member.field("home-of-partitions").integer())
    };
    members.items().iter().map(share).collect()
}

/// §4.2, §6.2: the ring is the same on every node, covers every slot once, and gives every node its even share: no two
/// nodes differ by more than one partition.
#[test]
fn the_ring_is_even_and_the_same_everywhere() {
    let cluster = Cluster::start(NODES, &[("storage-engine", "memory")]);
    let ring = cluster.connect(0).done("DYN.RING");
    assert_eq!(ring.field("partitions").integer(), 256);
    let mut next = 0;
    for row in ring.field("homes").items() {
        let [first, last, homes] = row.items() else { panic!("first, last and homes, not {row}") };
        assert_eq!(first.integer(), next, "no gap, no overlap");
        next = last.integer() + 1;
        let homes: BTreeSet<String> = homes.items().iter().map(|home| home.text()).collect();
        assert_eq!(homes.len(), 3, "N different nodes");
    }
    assert_eq!(next, 16384);
    for at in 1..NODES {
        assert_eq!(cluster.connect(at).done("DYN.RING"), ring, "node {at}");
    }
    let shares: Vec<i64> = shares(&cluster, 0).into_values().collect();
    assert_eq!(shares.iter().sum::<i64>(), 3 * 256);
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(most - least <= 1, "{shares:?}");
}

/// §4.2: "the number of virtual nodes that a node is responsible for can be decided based on its capacity": a node of
/// weight 2 is home to twice as much.
#[test]
fn a_stronger_node_takes_more() {
    let mut cluster = Cluster::prepared(NODES, &[("storage-engine", "memory"), ("n", "2")], None);
    cluster.nodes[1].set("weight", "2");
    cluster.start_all();
    let strong = cluster.nodes[1].address.to_string();
    let shares = shares(&cluster, 3);
    for (address, share) in &shares {
        // 512 places over six units of weight.
        let fair = if *address == strong { 2.0 * 512.0 / 6.0 } else { 512.0 / 6.0 };
        assert!((*share as f64 - fair).abs() <= 2.0, "{address} is home of {share}, fair were {fair}: {shares:?}");
    }
}

/// §4.3: each key is kept by N different nodes, the ones the preference list names first, and by no other; the list is
/// longer than N.
#[test]
fn each_key_has_n_copies_on_n_nodes() {
    let cluster = Cluster::start(NODES, &[("storage-engine", "memory")]);
    for at in 0..30 {
        let key = format!("copies:{at}");
        cluster.connect(at % NODES).done(&format!("DYN.SET {key} v W 3"));
        let homes = cluster.homes((at + 1) % NODES, 0, &key);
        for node in 0..NODES {
            let expected: &[&str] = if homes.contains(&node) { &["v"] } else { &[] };
            assert_eq!(local(&cluster, node, &key), expected, "node {node} of {key}, whose homes are {homes:?}");
        }
        let explanation = cluster.connect(0).done(&format!("DYN.EXPLAIN {key}"));
        let slot = cluster.connect(0).done(&format!("CLUSTER KEYSLOT {key}"));
        assert_eq!(explanation.field("slot"), &slot);
        let replicas = explanation.field("replicas").items();
        let listed: BTreeSet<String> = replicas.iter().map(|replica| replica.field("address").text()).collect();
        assert_eq!((listed.len(), replicas.len()), (NODES, NODES), "all five, each once");
        let homes = replicas.iter().filter(|replica| replica.field("role").text() == "home");
        assert!(homes.clone().count() == 3 && homes.clone().all(|home| home.field("agrees").text() == "yes"));
    }
}

/// §4.3: keys with one {hash tag} lie together, as in Redis Cluster.
#[test]
fn keys_of_one_tag_lie_together() {
    let cluster = Cluster::start(NODES, &[("storage-engine", "memory")]);
    let homes = cluster.homes(0, 0, "{user:17}:cart");
    for key in ["{user:17}:name", "user:17", "a{user:17}b{other}"] {
        assert_eq!(cluster.homes(1, 0, key), homes, "{key}");
    }
}

/// §4.6: "each object is replicated across multiple data centers": the homes of a key lie in different zones as far as
/// there are zones.
#[test]
fn homes_lie_in_different_zones() {
    let mut cluster = Cluster::prepared(4, &[("storage-engine", "memory"), ("n", "2"), ("zone", "east")], None);
    cluster.nodes[2].set("zone", "west");
    cluster.nodes[3].set("zone", "west");
    cluster.start_all();
    for at in 0..40 {
        let homes = cluster.homes(at % 4, 0, &format!("zoned:{at}"));
        assert_ne!(homes[0] / 2, homes[1] / 2, "zoned:{at} lies on {homes:?}: 0 and 1 are east, 2 and 3 west");
    }
}

/// §4.4, §4.5: a write acknowledged at W reaches the other homes, too, without anybody asking.
#[test]
fn a_write_reaches_all_n_homes() {
    let cluster = Cluster::start(3, &[("w", "1")]);
    for at in 0..20 {
        cluster.connect(at % 3).done(&format!("SET all:{at} v"));
    }
    wait::until("all three nodes hold all keys", 10, || {
        (0..20).all(|at| (0..3).all(|node| local(&cluster, node, &format!("all:{at}")) == ["v"]))
    });
}
