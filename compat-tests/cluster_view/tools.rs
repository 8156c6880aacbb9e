//! redis-cli and redis-benchmark in their cluster modes.

use super::key_with;
use crate::harness::clients::{redis_benchmark, redis_cli};
use crate::harness::cluster::Cluster;
use crate::harness::resp::Value;
use std::collections::BTreeSet;

/// redis-cli -c is sent on by a node that does not own the key; --cluster check, info and call see one healthy cluster.
#[test]
fn redis_cli_sees_a_cluster() {
    let mut cluster = Cluster::start(4, &[]);
    let (key, slot, owners) = key_with(&cluster, |owners| owners[0] == 1);
    let stranger = (0..4).find(|node| !owners.contains(node)).expect("one of four is no home");
    let from = cluster.nodes[stranger].view;
    assert_eq!(redis_cli(from, &["-c", "SET", &key, "v"]).expect_well("redis-cli -c"), "OK\n");
    assert_eq!(redis_cli(from, &["-c", "GET", &key]).expect_well("redis-cli -c"), "v\n");
    let told = redis_cli(from, &["GET", &key]).expect_well("redis-cli");
    assert!(told.contains(&format!("MOVED {slot} {}", cluster.nodes[1].view)), "{told}");
    (0..40).for_each(|at| drop(cluster.connect(0).done(&format!("SET many:{at} v"))));
    for address in [cluster.nodes[0].address, cluster.nodes[0].view] {
        let tool = |words: &[&str]| {
            let address = address.to_string();
            redis_cli(from, &[&["--cluster"], words, &[&address]].concat()).expect_well(&format!("{words:?}"))
        };
        let check = tool(&["check"]);
        assert!(check.contains("All nodes agree about slots configuration."), "{check}");
        assert!(check.contains("All 16384 slots covered."), "{check}");
        let info = tool(&["info"]);
        assert!(info.contains(" in 4 masters."), "{info}");
    }
    let view = cluster.nodes[0].view.to_string();
    let called = redis_cli(from, &["--cluster", "call", &view, "PING"]).expect_well("call");
    assert_eq!(called.matches("PONG").count(), 4, "{called}");
    cluster.nodes[3].kill9();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    let nodes = cluster.connect(0).done("CLUSTER NODES").text();
    let dead = nodes.lines().find(|line| line.contains(&cluster.nodes[3].view.to_string())).expect("it stays listed");
    assert!(dead.contains(" master,fail - ") && dead.ends_with(" disconnected"), "it has no slots: {dead}");
    let check = redis_cli(from, &["--cluster", "check", &view]);
    assert!(check.output.contains("All 16384 slots covered."), "{}", check.output);
    assert!(check.output.contains("All nodes agree about slots configuration."), "{}", check.output);
}

/// redis-cli --cluster set-timeout sets what it wants on every node, though it has no effect, and finds no error.
#[test]
fn redis_cli_sets_its_timeout() {
    let mut cluster = Cluster::prepared(2, &[], None);
    for node in &mut cluster.nodes {
        let file = node.dir.with_extension("toml");
        std::fs::write(&file, "timeout = 0\n").unwrap();
        node.file = Some(file);
    }
    cluster.start_all();
    let view = cluster.nodes[0].view;
    let said = redis_cli(view, &["--cluster", "set-timeout", &view.to_string(), "5000"]).expect_well("set-timeout");
    assert!(said.contains("New node timeout set. 2 OK, 0 ERR."), "{said}");
    for at in 0..2 {
        let timeout = cluster.connect(at).run("CONFIG GET cluster-node-timeout").to_string();
        assert_eq!(timeout, "[\"cluster-node-timeout\", \"5000\"]");
    }
}

/// DBSIZE, KEYS and SCAN of the masters add up to what there is, each key once, so `redis-cli --cluster info` tells the truth;
/// RANDOMKEY names one of a node's own.
#[test]
fn the_masters_sizes_add_up() {
    let cluster = Cluster::start(3, &[]);
    let mut plain = cluster.connect(0);
    (0..200).for_each(|at| drop(plain.done(&format!("SET sum:{at} v"))));
    assert_eq!(plain.run("DBSIZE").integer(), 200);
    let sizes: Vec<i64> = cluster.nodes.iter().map(|node| node.connect_view().run("DBSIZE").integer()).collect();
    assert_eq!(sizes.iter().sum::<i64>(), 200, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    let mut all = Vec::new();
    for (node, size) in cluster.nodes.iter().zip(sizes) {
        let mut connection = node.connect_view();
        let keys: BTreeSet<String> = connection.run("KEYS sum:*").items().iter().map(Value::text).collect();
        assert_eq!(keys.len() as i64, size);
        let (mut cursor, mut scanned) = ("0".to_owned(), BTreeSet::new());
        loop {
            let page = connection.run(&format!("SCAN {cursor} COUNT 30"));
            scanned.extend(page.items()[1].items().iter().map(Value::text));
            cursor = page.items()[0].text();
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(scanned, keys);
        assert!(keys.contains(&connection.run("RANDOMKEY").text()));
        all.extend(keys);
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (200, 200), "each key has one master");
    let info = redis_cli(cluster.nodes[0].view, &["--cluster", "info", &cluster.nodes[0].view.to_string()]);
    assert!(info.output.contains("200 keys in 3 masters."), "{}", info.output);
}

/// redis-benchmark --cluster runs to its end, from either face; also when a member is dead from the start.
#[test]
fn redis_benchmark_finds_its_way() {
    let mut cluster = Cluster::start(3, &[]);
    let run = |cluster: &Cluster, address| {
        let words = ["--cluster", "-t", "set,get,mset", "-n", "2000", "-c", "12", "-r", "500"];
        let said = redis_benchmark(address, &words).expect_well("redis-benchmark --cluster");
        assert!(["SET", "GET", "MSET"].iter().all(|test| said.contains(test)), "{said}");
        assert!(!said.contains("Error"), "{said}");
        assert!(cluster.connect(0).done("DBSIZE").integer() > 100);
    };
    run(&cluster, cluster.nodes[0].view);
    run(&cluster, cluster.nodes[1].address);
    cluster.nodes[2].kill9();
    [0, 1].iter().for_each(|at| cluster.wait_until_reachable(*at, &[0, 1]));
    run(&cluster, cluster.nodes[0].view);
}
