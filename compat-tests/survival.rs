//! What was acknowledged is there: after kill -9 under load, after a restart, and a node that must not start says why.

mod damage;
pub mod load;
mod refusals;

use crate::harness::cluster::Cluster;
use crate::harness::permits::alone;
use crate::harness::resp::{Connection, Value, request};
use load::Load;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How soon a restarted node must answer.
const SERVES_WITHIN: Duration = Duration::from_secs(5);
/// Acknowledged writes each kill test waits for before and after the kill.
const WRITES_PER_PHASE: usize = 400;
/// How often a node is stopped under load, for what goes wrong only now and then.
const STOPS: usize = 5;

/// One of three nodes is killed under load: every acknowledged write is readable from the other two at once, and from all
/// three after it came back. Clients of the other two see no error at all; at R=W=2 reads and writes go on.
#[test]
fn a_killed_node_takes_no_acknowledged_write_with_it() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    cluster.nodes[2].kill9();
    load.wait_for(WRITES_PER_PHASE);
    let told = load.stop();
    assert_eq!(told.errors_of(&[0, 1]), [""; 0], "clients of the living saw errors");
    assert!(told.acknowledged.len() >= 2 * WRITES_PER_PHASE);
    for at in [0, 1] {
        assert_eq!(told.missing_at(&cluster, at), [""; 0], "node {at}, with one of three dead");
    }
    cluster.nodes[2].restart();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    for at in 0..3 {
        assert_eq!(told.missing_at(&cluster, at), [""; 0], "node {at}, all three up again");
    }
}

/// All three nodes are killed at once under load and started again, without a word from an operator: they are the same
/// cluster, and every acknowledged write is there.
#[test]
fn a_killed_cluster_comes_back_with_all_it_acknowledged() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.set_policy(0, 3, "N 2 R 1 W 1");
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    cluster.nodes.iter_mut().for_each(|node| node.kill9());
    let told = load.stop();
    cluster.start_all();
    for at in 0..3 {
        assert_eq!(told.missing_at(&cluster, at), [""; 0], "node {at}");
    }
    let policy = cluster.connect(1).run("DYN.DATABASE 3");
    assert_eq!((policy.field("n").integer(), policy.field("w").integer()), (2, 1), "policies survive, too");
    assert_eq!(cluster.connect(0).run("SET goes-on v").to_string(), "+OK");
}

/// One node after the other is killed and started again while clients write on: at any time two of three are up, so
/// whatever was acknowledged is on at least one of any two, and stays readable.
#[test]
fn nodes_killed_in_turn_take_nothing_with_them() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&cluster);
    for round in 0..6 {
        load.wait_for(WRITES_PER_PHASE / 2);
        cluster.nodes[round % 3].kill9();
        load.wait_for(WRITES_PER_PHASE / 2);
        cluster.nodes[round % 3].restart();
        (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    }
    let told = load.stop();
    for at in 0..3 {
        assert_eq!(told.missing_at(&cluster, at), [""; 0], "node {at}");
    }
}

/// A node alone, killed under load, has all it acknowledged.
#[test]
fn a_killed_single_node_keeps_what_it_acknowledged() {
    for appendfsync in ["always", "everysec", "no"] {
        let mut cluster = Cluster::single(&[("appendfsync", appendfsync)]);
        let load = Load::start(&cluster);
        for _ in 0..3 {
            load.wait_for(WRITES_PER_PHASE / 2);
            cluster.nodes[0].kill9();
            cluster.nodes[0].restart();
        }
        let told = load.stop();
        assert_eq!(told.missing_at(&cluster, 0), [""; 0], "appendfsync {appendfsync}");
    }
}

/// Five nodes, N=3: requests reach a coordinator by being forwarded; a kill under load loses nothing acknowledged.
#[test]
fn a_killed_coordinator_of_forwarded_requests_takes_nothing_with_it() {
    let mut cluster = Cluster::start(5, &[]);
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    cluster.nodes[4].kill9();
    load.wait_for(WRITES_PER_PHASE);
    let told = load.stop();
    for at in [0, 3] {
        assert_eq!(told.missing_at(&cluster, at), [""; 0], "node {at}");
    }
}

/// kill -9 and SIGTERM, with each `appendfsync`: values, siblings with their context, expiries and databases are all there
/// after the restart, and the node serves at once.
#[test]
fn a_restart_keeps_everything() {
    for appendfsync in ["always", "everysec", "no"] {
        let mut cluster = Cluster::single(&[("appendfsync", appendfsync)]);
        for killed in [true, false] {
            let context = fill(&cluster, if killed { "killed" } else { "stopped" });
            match killed {
                true => cluster.nodes[0].kill9(),
                false => assert_eq!(cluster.nodes[0].sigterm().code(), Some(0), "a clean stop ends with 0"),
            }
            let begun = Instant::now();
            cluster.nodes[0].restart();
            let took = begun.elapsed();
            assert!(took < SERVES_WITHIN, "{appendfsync}, killed {killed}: serves after {took:?}");
            hold(&cluster, if killed { "killed" } else { "stopped" }, &context, appendfsync);
        }
    }
}

fn fill(cluster: &Cluster, name: &str) -> String {
    let mut connection = cluster.connect(0);
    for at in 0..300 {
        connection.send(&["SET", &format!("{name}:{at}"), &format!("value {at}")]).unwrap();
    }
    (0..300).for_each(|_| assert_eq!(connection.receive().unwrap().to_string(), "+OK"));
    connection.ask(&["SET", &format!("{name}:large"), &"x".repeat(3 << 20)]);
    connection.done(&format!("SET {name}:timed v EX 1000"));
    connection.done(&format!("SET {name}:gone v"));
    connection.done(&format!("DEL {name}:gone"));
    connection.done(&format!("DYN.SET {name}:siblings one"));
    connection.done(&format!("DYN.SET {name}:siblings two"));
    let context = connection.run(&format!("DYN.GET {name}:siblings")).items()[0].text();
    connection.done("SELECT 7");
    connection.done(&format!("SET {name}:in-seven v"));
    context
}

fn hold(cluster: &Cluster, name: &str, context: &str, mode: &str) {
    let mut connection = cluster.connect(0);
    for at in 0..300 {
        let value = connection.run(&format!("GET {name}:{at}"));
        assert_eq!(value.to_string(), format!("\"value {at}\""), "{name}:{at} with appendfsync {mode}");
    }
    assert_eq!(connection.run(&format!("STRLEN {name}:large")).integer(), 3 << 20);
    assert!((900..=1000).contains(&connection.run(&format!("TTL {name}:timed")).integer()));
    assert_eq!(connection.run(&format!("GET {name}:gone")).to_string(), "nil");
    let siblings = connection.run(&format!("DYN.GET {name}:siblings"));
    assert_eq!(siblings.items()[0].text(), context, "the context is the same");
    assert_eq!(siblings.items()[1].items().len(), 2);
    connection.ask(&["DYN.SET", &format!("{name}:siblings"), "merged", "CONTEXT", context]);
    assert_eq!(connection.run(&format!("DYN.GET {name}:siblings")).items()[1].items().len(), 1);
    connection.done("SELECT 7");
    assert_eq!(connection.run(&format!("GET {name}:in-seven")).text(), "v");
}

/// After a kill -9 with clients connected and in the middle of requests, the same ports are bound again at once.
#[test]
fn a_killed_node_binds_its_ports_again_at_once() {
    let _alone = alone();
    let mut cluster = Cluster::start(3, &[]);
    for _ in 0..3 {
        let clients: Vec<_> = (0..20).map(|_| cluster.connect(0)).collect();
        cluster.nodes[0].kill9();
        let begun = Instant::now();
        cluster.nodes[0].restart();
        let took = begun.elapsed();
        assert!(took < SERVES_WITHIN, "serves after {took:?}");
        assert_eq!(clients.len(), 20);
    }
}

/// SIGTERM under load: requests that were acknowledged are kept, the process ends by itself and with 0.
#[test]
fn a_clean_stop_under_load_loses_nothing() {
    let mut cluster = Cluster::start(3, &[]);
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    assert_eq!(cluster.nodes[1].sigterm().code(), Some(0));
    load.wait_for(WRITES_PER_PHASE);
    let told = load.stop();
    cluster.nodes[1].restart();
    cluster.wait_until_reachable(1, &[0, 1, 2]);
    for at in 0..3 {
        assert_eq!(told.missing_at(&cluster, at), [""; 0], "node {at}");
    }
}

/// SIGTERM under load, four nodes and three copies: what the others have forwarded to the one that stops is answered, and no
/// client of theirs is told of an error.
#[test]
fn a_clean_stop_fails_no_request_of_other_nodes_clients() {
    let _alone = alone();
    let mut cluster = Cluster::start(4, &[]);
    for _ in 0..STOPS {
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..12)
            .map(|client| {
                let (stop, mut connection) = (stop.clone(), cluster.connect(client % 3));
                std::thread::spawn(move || ask_until(&stop, &mut connection, client))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(cluster.nodes[3].sigterm().code(), Some(0));
        std::thread::sleep(Duration::from_millis(300));
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert_eq!(client.join().unwrap(), Vec::<String>::new());
        }
        cluster.nodes[3].restart();
        (0..4).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2, 3]));
    }
}

/// Writes and reads many keys at a time; gives the errors.
fn ask_until(stop: &AtomicBool, connection: &mut Connection, client: usize) -> Vec<String> {
    const KEYS: usize = 32;
    let mut errors = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let pairs = (0..KEYS).flat_map(|key| {
            let key = format!("c{client}-{key}");
            [request(&["SET", &key, "v"]), request(&["GET", &key])]
        });
        connection.write(&pairs.flatten().collect::<Vec<u8>>()).unwrap();
        let replies = (0..2 * KEYS).map(|_| connection.receive().unwrap());
        errors.extend(replies.filter(Value::is_error).map(|reply| reply.error().to_owned()));
    }
    errors
}
