//! Nodes that stop, die or fall silent, and how soon the listing says so.

use super::{is_listed, key_with};
use crate::harness::cluster::Cluster;
use crate::harness::permits::alone;
use crate::harness::resp::Connection;
use crate::harness::wait;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long until none of these nodes lists node `dead`.
fn until_dropped(cluster: &Cluster, dead: usize, since: Instant) -> Duration {
    let others: Vec<usize> = (0..cluster.nodes.len()).filter(|at| *at != dead).collect();
    wait::until("nobody lists it", 10, || others.iter().all(|at| !is_listed(cluster, *at, dead)));
    since.elapsed()
}

/// A killed node is gone from every node's CLUSTER SLOTS within a second, and back once it is up again.
#[test]
fn a_killed_node_is_dropped_within_a_second() {
    let _alone = alone();
    let mut cluster = Cluster::start(3, &[]);
    let since = Instant::now();
    cluster.nodes[2].kill9();
    let took = until_dropped(&cluster, 2, since);
    println!("killed: dropped from all listings after {} ms", took.as_millis());
    assert!(took < Duration::from_secs(1), "{took:?}");
    let slots = [0, 1].map(|at| cluster.nodes[at].connect_view().done("CLUSTER SLOTS"));
    assert_eq!(slots[0], slots[1], "those who are left agree");
    cluster.nodes[2].restart();
    wait::until("everybody lists it again", 20, || (0..3).all(|at| is_listed(&cluster, at, 2)));
}

/// A node that hangs is dropped once it is suspected, well before it is held to be away; and listed again once it answers.
#[test]
fn a_silent_node_is_dropped_when_it_is_suspected() {
    let _alone = alone();
    let cluster = Cluster::start(3, &[("suspicion-timeout-ms", "20000")]);
    let since = Instant::now();
    cluster.nodes[2].freeze();
    let took = until_dropped(&cluster, 2, since);
    println!("frozen: dropped from all listings after {} ms", took.as_millis());
    // Two rounds of probes until somebody asks it in vain, and some time for a busy machine.
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(cluster.info(0, "members_down_total"), 0, "it was not held to be away");
    let nodes = cluster.connect(0).done("CLUSTER NODES").text();
    assert!(nodes.contains(" master,fail"), "{nodes}");
    cluster.nodes[2].thaw();
    wait::until("everybody lists it again", 20, || (0..3).all(|at| is_listed(&cluster, at, 2)));
}

/// A client as small as can be that follows MOVED: what it was refused, and how many commands it ran.
fn follow(start: SocketAddr, key: &str, stop: &AtomicBool) -> (usize, Vec<String>) {
    let (mut ran, mut wrong) = (0, Vec::new());
    let mut connection = Connection::open(start).expect("the node is up");
    while !stop.load(Ordering::Relaxed) {
        let value = ran.to_string();
        match connection.try_ask(&["SET", key, &value]) {
            Ok(reply) if reply.is_error() && reply.error().starts_with("MOVED ") => {
                let target = reply.error().rsplit(' ').next().expect("it names an address").parse();
                connection = Connection::open(target.expect("an address")).expect("it is up");
            }
            Ok(reply) if reply.is_error() => wrong.push(reply.to_string()),
            Ok(_) => ran += 1,
            Err(error) => {
                wrong.push(error.to_string());
                return (ran, wrong);
            }
        }
    }
    (ran, wrong)
}

/// SIGTERM: nobody lists the node any more while it still answers, everything on its view is MOVED, and clients that follow
/// lose not one command. `port` serves until the door closes.
#[test]
fn a_node_that_stops_sends_its_clients_elsewhere_first() {
    let mut cluster = Cluster::start(4, &[("shutdown-drain-ms", "2000")]);
    let (key, slot, _) = key_with(&cluster, |owners| owners[0] == 1);
    let stop = AtomicBool::new(false);
    let mut idle = cluster.nodes[1].connect_view();
    let mut plain = cluster.connect(1);
    let start = cluster.nodes[1].view;
    let (ran, wrong) = std::thread::scope(|scope| {
        let client = scope.spawn(|| follow(start, &key, &stop));
        wait::until("the client has written", 10, || {
            cluster.connect(0).run(&format!("GET {key}")).to_string() != "nil"
        });
        cluster.nodes[1].tell_to_stop();
        wait::until("nobody lists it", 5, || [0, 2, 3].iter().all(|at| !is_listed(&cluster, *at, 1)));
        let moved = idle.run(&format!("GET {key}"));
        assert!(moved.error().starts_with(&format!("MOVED {slot} ")), "{moved}");
        assert!(!moved.error().ends_with(&start.to_string()), "{moved}");
        let own = idle.done("CLUSTER SLOTS");
        assert!(super::listing(&cluster, &own).iter().all(|range| !range.nodes.contains(&1)), "the new map is live");
        assert!(!plain.run(&format!("GET {key}")).is_error(), "port serves as ever");
        drop(idle);
        wait::until("the node has ended", 20, || Connection::open(start).is_err());
        stop.store(true, Ordering::Relaxed);
        client.join().expect("the client ends well")
    });
    println!("graceful stop: {ran} commands ran, {} failed", wrong.len());
    assert!(wrong.is_empty() && ran > 10, "{ran} ran, {wrong:?}");
    assert!(cluster.nodes[1].stopped().success(), "a clean stop");
    cluster.nodes[1].restart();
    wait::until("everybody lists it again", 20, || (0..4).all(|at| is_listed(&cluster, at, 1)));
}

/// A node without clients on its view stops at once, however long it might drain.
#[test]
fn without_cluster_clients_a_stop_does_not_wait() {
    let mut cluster = Cluster::start(2, &[("shutdown-drain-ms", "60000")]);
    let since = Instant::now();
    assert!(cluster.nodes[1].sigterm().success());
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
}
