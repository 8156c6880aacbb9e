//! §4.8: who belongs to the ring, and who is only away.

use crate::harness::cluster::{Cluster, members_of};
use crate::harness::resp::Connection;
use crate::harness::wait;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a node that must not serve is watched.
const WATCHED: Duration = Duration::from_secs(3);

/// The number of members a node knows.
fn known(cluster: &Cluster, at: usize) -> usize {
    members_of(&cluster.connect(at).done("DYN.MEMBERS")).len()
}

/// Whether a node answers PING within the time it is watched, other than that it looks for its cluster.
fn serves(address: SocketAddr) -> bool {
    let end = Instant::now() + WATCHED;
    while Instant::now() < end {
        let answer = Connection::open(address).and_then(|mut connection| {
            connection.socket().set_read_timeout(Some(WATCHED)).expect("a timeout can be set");
            connection.try_ask(&["PING"])
        });
        if answer.is_ok_and(|answer| !answer.to_string().starts_with("-LOADING ")) {
            return true;
        }
        std::thread::sleep(wait::LOOK_EVERY);
    }
    false
}

/// §4.8.1: joining is explicit. A node started by accident, without seeds, is a cluster of its own and joins nobody, also
/// with the same name.
#[test]
fn an_accidental_start_joins_nobody() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.add("", &[]);
    cluster.nodes[3].restart();
    assert_eq!(known(&cluster, 3), 1);
    cluster.connect(0).done("SET k v");
    assert_eq!(cluster.connect(3).run("GET k").to_string(), "nil");
    assert_eq!(known(&cluster, 0), 3);
}

/// §4.8.1: a node whose seeds are of another cluster, or that does not know the secret, is not let in, and never founds a
/// cluster instead.
#[test]
fn strangers_are_not_let_in() {
    let mut cluster = Cluster::start(2, &[("cluster-name", "shop"), ("cluster-secret", "s3cret")]);
    let seed = cluster.nodes[0].bus.to_string();
    for (name, secret) in [("bank", "s3cret"), ("shop", "guessed"), ("shop", "")] {
        let at = cluster.nodes.len();
        cluster.add(&seed, &[("cluster-name", name), ("cluster-secret", secret)]).start();
        assert!(!serves(cluster.nodes[at].address), "{name}/{secret} serves");
        assert_eq!(known(&cluster, 0), 2);
        cluster.nodes[at].kill9();
    }
}

/// §4.8.1: with seeds a node asks to join and never founds a cluster while they are away; when one comes up it joins.
#[test]
fn a_node_with_seeds_waits_for_them() {
    let mut cluster = Cluster::prepared(3, &[], None);
    cluster.nodes[2].start();
    assert!(!serves(cluster.nodes[2].address), "the last seed must not found a cluster alone");
    cluster.start_all();
    assert_eq!(known(&cluster, 2), 3);
}

/// §4.8.1: nodes join one after the other, each asking the one that founded.
#[test]
fn a_cluster_is_formed_one_by_one() {
    let mut cluster = Cluster::single(&[]);
    let seed = cluster.nodes[0].bus.to_string();
    for members in 2..=3 {
        cluster.add(&seed, &[]);
        cluster.start_all();
        assert!((0..members).all(|at| known(&cluster, at) == members));
    }
    cluster.connect(1).done("DYN.SET k v W 3");
    assert_eq!(cluster.homes(2, 0, "k").len(), 3);
}

/// §4.8.1: a node that is away stays a member: the ring does not change, and nothing moves. It comes back as the member it
/// was, from what it remembers itself, without seeds.
#[test]
fn a_node_that_is_away_stays_a_member() {
    let mut cluster = Cluster::start(3, &[]);
    let ring = cluster.connect(0).done("DYN.RING");
    let id = cluster.connect(2).done("CLUSTER MYID");
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    assert_eq!(cluster.connect(0).done("DYN.RING"), ring);
    cluster.nodes[2].set("seeds", "");
    cluster.nodes[2].restart();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    assert_eq!(cluster.connect(2).done("CLUSTER MYID"), id);
    // The epoch is that of the member map, which notes each start of a member; what must not change is who keeps what.
    for at in 0..3 {
        assert_eq!(cluster.connect(at).done("DYN.RING").field("homes"), ring.field("homes"), "node {at}");
    }
}

/// §4.8.2: nodes find each other through whatever seed they know; two that were told of different nodes see each other.
#[test]
fn seeds_prevent_logical_partitions() {
    let mut cluster = Cluster::prepared(4, &[], None);
    let bus: Vec<String> = cluster.nodes.iter().map(|node| node.bus.to_string()).collect();
    cluster.nodes[0].set("seeds", "");
    cluster.nodes[1].set("seeds", &bus[0]);
    cluster.nodes[2].set("seeds", &bus[1]);
    cluster.nodes[3].set("seeds", &bus[0]);
    cluster.start_all();
    assert!((0..4).all(|at| known(&cluster, at) == 4));
}

/// §4.8.3: the living route round the dead within seconds: CLUSTER SLOTS names a living node first for every slot, and back
/// again when the dead return.
#[test]
fn the_dead_are_routed_round() {
    let mut cluster = Cluster::start(3, &[]);
    let dead = cluster.nodes[1].view;
    let masters = |cluster: &Cluster| -> Vec<String> {
        let slots = cluster.connect(0).done("CLUSTER SLOTS");
        let master = |range: &crate::harness::resp::Value| {
            let node = range.items()[2].items();
            format!("{}:{}", node[0].text(), node[1].integer())
        };
        slots.items().iter().map(master).collect()
    };
    assert!(masters(&cluster).contains(&dead.to_string()));
    cluster.nodes[1].kill9();
    wait::until("no slot is led by the dead", 10, || !masters(&cluster).contains(&dead.to_string()));
    assert!(cluster.connect(0).done("CLUSTER INFO").text().contains("cluster_state:ok"));
    cluster.nodes[1].restart();
    wait::until("the returned leads again", 20, || masters(&cluster).contains(&dead.to_string()));
}
