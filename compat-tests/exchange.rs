//! A node that was away becomes whole by itself: no client reads, no operator acts, and its own disk is what the others' are.

use crate::harness::cluster::Cluster;
use crate::harness::resp::Connection;
use crate::harness::wait;

/// How soon a returned node must hold what it missed.
const WHOLE_WITHIN_SECONDS: u64 = 30;

/// Sends requests in portions and expects no error.
fn all(connection: &mut Connection, requests: &[Vec<String>]) {
    for portion in requests.chunks(200) {
        portion.iter().for_each(|request| connection.send(request).expect("a request can be sent"));
        for request in portion {
            let reply = connection.receive().expect("a reply");
            assert!(!reply.is_error(), "{request:?}: {reply}");
        }
    }
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| word.to_string()).collect()
}

/// Writes `value` under each of these keys.
fn set(connection: &mut Connection, keys: std::ops::Range<usize>, value: &str) {
    let requests: Vec<_> = keys.map(|at| words(&["SET", &format!("key:{at}"), &format!("{value}-{at}")])).collect();
    all(connection, &requests);
}

fn delete(connection: &mut Connection, keys: std::ops::Range<usize>) {
    all(connection, &keys.map(|at| words(&["DEL", &format!("key:{at}")])).collect::<Vec<_>>());
}

/// What a node's own disk holds of these keys, contexts included.
fn held(cluster: &Cluster, node: usize, database: u8, keys: usize) -> Vec<String> {
    let mut connection = cluster.connect(node);
    connection.done(&format!("SELECT {database}"));
    let mut found = Vec::with_capacity(keys);
    for first in (0..keys).step_by(200) {
        let portion = first..(first + 200).min(keys);
        portion.clone().for_each(|at| connection.send(&["DYN.GET", &format!("key:{at}"), "LOCAL"]).unwrap());
        portion.for_each(|_| found.push(connection.receive().expect("a reply").to_string()));
    }
    found
}

/// Waits until every node's own disk holds the same, which is given back.
fn wait_until_same(cluster: &Cluster, database: u8, keys: usize) -> Vec<String> {
    wait::found("every node's own disk holds the same", WHOLE_WITHIN_SECONDS, || {
        let first = held(cluster, 0, database, keys);
        (1..cluster.nodes.len()).all(|node| held(cluster, node, database, keys) == first).then_some(first)
    })
}

/// One number of INFO.
fn number(cluster: &Cluster, node: usize, name: &str) -> u64 {
    let info = cluster.connect(node).run("INFO dynamo").text();
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    line.unwrap_or_else(|| panic!("INFO says no {name}")).trim().parse().expect("a number")
}

/// One number of INFO, added up over some nodes.
fn total(cluster: &Cluster, nodes: std::ops::Range<usize>, name: &str) -> u64 {
    nodes.map(|node| number(cluster, node, name)).sum()
}

/// Waits until every pair of nodes has compared itself twice more.
fn wait_for_exchanges(cluster: &Cluster) {
    let nodes = cluster.nodes.len();
    let enough = total(cluster, 0..nodes, "exchanges") + (2 * nodes * nodes) as u64;
    wait::until("the nodes have compared themselves", 60, || total(cluster, 0..nodes, "exchanges") >= enough);
}

/// Three nodes with the same keys, which have found nothing to repair any more; the interval is short.
fn three(keys: usize) -> Cluster {
    // No write fails for being slow where many tests run at once.
    let cluster = Cluster::start(3, &[("exchange-interval-ms", "100"), ("request-timeout-ms", "10000")]);
    set(&mut cluster.connect(0), 0..keys, "old");
    wait_until_same(&cluster, 0, keys);
    wait_for_exchanges(&cluster);
    cluster
}

/// §4.7: new, overwritten and deleted keys, siblings and another database, all missed by a node that was killed.
#[test]
fn a_returned_node_becomes_whole_without_any_read() {
    const KEYS: usize = 4000;
    let mut cluster = three(3000);
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    let mut connection = cluster.connect(0);
    set(&mut connection, 0..1000, "new");
    delete(&mut connection, 1000..1500);
    set(&mut connection, 3000..KEYS, "first");
    connection.done("DYN.SET key:5 sibling");
    connection.done("EXPIRE key:6 1000");
    connection.done("SELECT 9");
    set(&mut connection, 0..200, "nine");
    cluster.nodes[2].restart();
    let held = wait_until_same(&cluster, 0, KEYS);
    assert!(held[0].contains("[\"new-0\"]"), "{}", held[0]);
    assert!(held[5].contains("sibling") && held[5].contains("new-5"), "{}", held[5]);
    assert!(held[1200].ends_with("[]]"), "deleted, its tombstone forgotten or not: {}", held[1200]);
    assert!(held[2000].contains("[\"old-2000\"]"), "{}", held[2000]);
    assert!(held[3500].contains("[\"first-3500\"]"), "{}", held[3500]);
    let nine = wait_until_same(&cluster, 9, 200);
    assert!(nine.iter().all(|reply| reply.contains("nine")));
}

/// What a comparison costs where nothing differs: who holds what, and the sums of 256 partitions.
const IDLE_BYTES: u64 = 7200;

/// Repair costs what differs, not what is held; and where nothing differs nothing is repaired.
#[test]
fn repair_grows_with_the_difference() {
    const KEYS: usize = 5000;
    let mut cluster = three(KEYS);
    let settled = total(&cluster, 0..3, "keys_repaired");
    wait_for_exchanges(&cluster);
    assert_eq!(total(&cluster, 0..3, "keys_repaired"), settled, "nothing differs, nothing is repaired");
    for (changed, killed) in [(20, true), (400, true), (50, false)] {
        match killed {
            true => cluster.nodes[2].kill9(),
            // What its copies add up to is then read from a file instead of from all its copies.
            false => assert_eq!(cluster.nodes[2].sigterm().code(), Some(0), "a clean stop ends with 0"),
        }
        cluster.wait_until_reachable(0, &[0, 1]);
        set(&mut cluster.connect(0), 0..changed, &format!("changed-{killed}"));
        let counted = |cluster: &Cluster, nodes: std::ops::Range<usize>| {
            ["keys_repaired", "exchange_bytes", "exchanges"].map(|name| total(cluster, nodes.clone(), name))
        };
        let before = counted(&cluster, 0..2);
        cluster.nodes[2].restart();
        wait_until_same(&cluster, 0, KEYS);
        wait_for_exchanges(&cluster);
        // The third counts anew since it was started again.
        let after = counted(&cluster, 0..3);
        let [repaired, bytes, exchanges] = [0, 1, 2].map(|at| after[at] - before[at]);
        let least = changed as u64;
        // Two nodes may find the same key stale on the third at one moment.
        assert!((least..=2 * least).contains(&repaired), "{changed} changed, {repaired} repaired");
        let spent = bytes - exchanges * IDLE_BYTES;
        println!("{changed} of {KEYS} keys changed: {repaired} repaired for {spent} bytes");
        assert!(spent < 60_000 + least * 3_000, "{spent} bytes for {changed} keys");
    }
}

/// A database's keys are compared between the homes by its own N, and what fallbacks hold is nobody's difference.
#[test]
fn databases_of_different_n_become_whole_on_their_homes() {
    const KEYS: usize = 150;
    let mut cluster = Cluster::start(4, &[("exchange-interval-ms", "100")]);
    cluster.set_policy(0, 1, "N 2 R 1 W 1");
    cluster.set_policy(0, 2, "N 1 R 1 W 1");
    cluster.nodes[3].kill9();
    cluster.wait_until_reachable(0, &[0, 1, 2]);
    for database in [0, 1, 2] {
        let mut connection = cluster.connect(0);
        connection.done(&format!("SELECT {database}"));
        set(&mut connection, 0..KEYS, "missed");
    }
    cluster.nodes[3].restart();
    (0..4).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2, 3]));
    // A database with N=1 has nobody to compare with.
    for database in [0, 1] {
        let homes: Vec<_> = (0..KEYS).map(|at| cluster.homes(0, database, &format!("key:{at}"))).collect();
        wait::until("every home's own disk holds the same", WHOLE_WITHIN_SECONDS, || {
            let held: Vec<_> = (0..4).map(|node| held(&cluster, node, database, KEYS)).collect();
            let whole = |at: usize| {
                let mut copies = homes[at].iter().map(|home| &held[*home][at]);
                let first = copies.next().expect("a key has a home");
                first.contains("missed") && copies.all(|copy| copy == first)
            };
            (0..KEYS).all(whole)
        });
    }
    wait_for_exchanges(&cluster);
    let settled = total(&cluster, 0..4, "keys_repaired");
    wait_for_exchanges(&cluster);
    assert_eq!(total(&cluster, 0..4, "keys_repaired"), settled, "where homes agree nothing is repaired");
}

/// Writes that are on their way look like differences, and are not: they cost next to nothing.
#[test]
fn writes_on_their_way_are_hardly_ever_repaired() {
    let cluster = three(100);
    let before = total(&cluster, 0..3, "keys_repaired");
    let exchanges = total(&cluster, 0..3, "exchanges");
    let mut writes = 0;
    std::thread::scope(|scope| {
        let write = |node: usize| {
            let cluster = &cluster;
            move || (0..10).for_each(|round| set(&mut cluster.connect(node), 0..600, &format!("{node}-{round}")))
        };
        (0..3).for_each(|node| drop(scope.spawn(write(node))));
        writes = 3 * 10 * 600;
    });
    let (exchanges, repaired) =
        (total(&cluster, 0..3, "exchanges") - exchanges, total(&cluster, 0..3, "keys_repaired") - before);
    println!("{repaired} keys were repaired by {exchanges} exchanges during {writes} writes");
    wait_until_same(&cluster, 0, 600);
    assert!(repaired < writes / 50, "{repaired} repaired of {writes}");
}

/// A node that lost its disk while it was away is filled up, serves, and then holds what the others hold.
#[test]
fn a_wiped_node_fills_up_and_serves() {
    const KEYS: usize = 2000;
    let mut cluster = three(KEYS);
    cluster.nodes[2].kill9();
    std::fs::remove_dir_all(cluster.nodes[2].dir.join("objects")).expect("the engine's folder can be removed");
    set(&mut cluster.connect(0), 0..100, "new");
    cluster.nodes[2].restart();
    wait_until_same(&cluster, 0, KEYS);
    wait::until("the wiped node answers reads alone", WHOLE_WITHIN_SECONDS, || {
        let mut alone = cluster.connect(2);
        alone.done("DYN.QUORUM R 1");
        alone.run("GET key:3").to_string() == "\"new-3\"" && alone.run("GET key:1999").to_string() == "\"old-1999\""
    });
}
