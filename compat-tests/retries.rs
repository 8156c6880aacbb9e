//! Retries (§4.4, §4.5): what a coordinator does again on its own makes no second version of one request.

use crate::harness::cluster::Cluster;
use crate::harness::wait;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Clients at node 0, and how many keys each writes, once each.
const CLIENTS: usize = 4;
const KEYS: usize = 150;

/// Writes each of its keys once, without a context, whatever the answer; gives those that were acknowledged.
fn client(cluster: &Cluster, number: usize, written: &AtomicUsize) -> Vec<String> {
    let mut connection = cluster.connect(0);
    let mut acknowledged = Vec::new();
    for at in 0..KEYS {
        let key = format!("once:{number}:{at}");
        if !connection.run(&format!("DYN.SET {key} {at}")).is_error() {
            acknowledged.push(key);
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Writes go through a node that hands most of them to other coordinators, which stand still or are killed at any point of
/// it. No client repeats anything; so whatever became of a write, there is at most one version of it, and one if it was
/// acknowledged.
#[test]
fn a_forwarded_write_has_one_version_whatever_becomes_of_its_coordinator() {
    let mut cluster = Cluster::start(5, &[("request-timeout-ms", "300")]);
    let written = AtomicUsize::new(0);
    let mut acknowledged = Vec::new();
    for turn in 0..2 {
        // One stands still for longer than a request's time, then goes on with what has come meanwhile; one dies.
        let (still, dead) = (1 + turn, 3 + turn);
        thread::scope(|scope| {
            let (cluster, written) = (&cluster, &written);
            let clients: Vec<_> =
                (0..CLIENTS).map(|at| scope.spawn(move || client(cluster, turn * CLIENTS + at, written))).collect();
            let begun = turn * CLIENTS * KEYS;
            let reached = |count: usize| {
                wait::until("the clients are at it", 60, || written.load(Ordering::Relaxed) >= begun + count);
            };
            reached(CLIENTS * KEYS / 10);
            cluster.nodes[still].freeze();
            reached(CLIENTS * KEYS / 3);
            cluster.nodes[still].thaw();
            cluster.nodes[dead].hit();
            acknowledged.extend(clients.into_iter().flat_map(|client| client.join().expect("a client ends well")));
        });
        cluster.nodes[dead].kill9();
        cluster.nodes[dead].restart();
        (0..5).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2, 3, 4]));
    }
    assert!(acknowledged.len() > KEYS, "{}", acknowledged.len());
    assert!((1..5).map(|at| cluster.info(at, "forwarded_in")).sum::<usize>() > 0);
    wait::until("copies are handed back", 30, || (0..5).all(|at| cluster.info(at, "hints_pending") == 0));
    let mut connection = cluster.connect(1);
    for number in 0..2 * CLIENTS {
        for at in 0..KEYS {
            let key = format!("once:{number}:{at}");
            let versions = connection.done(&format!("DYN.GET {key} R 3")).items()[1].items().len();
            let least = usize::from(acknowledged.contains(&key));
            assert!((least..=1).contains(&versions), "{key}: {versions} versions, {least} acknowledged");
        }
    }
}
