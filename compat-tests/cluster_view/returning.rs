//! What cluster clients learn when a node comes back that others stood in for.

use super::{is_listed, listing, owners};
use crate::harness::clients::folder;
use crate::harness::cluster::Cluster;
use crate::harness::resp::Connection;
use crate::harness::wait;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

/// The node that goes and comes back.
const AWAY: usize = 1;

/// The keys that are there all the time.
const KEYS: usize = 400;

/// Three nodes with keys, one of them dead and listed by none.
fn without_one() -> Cluster {
    let mut cluster = Cluster::start(3, &[]);
    let mut writer = cluster.connect(0);
    (0..KEYS).for_each(|at| drop(writer.done(&format!("SET key:{at} v"))));
    cluster.nodes[AWAY].kill9();
    wait::until("nobody lists it", 10, || [0, 2].iter().all(|at| !is_listed(&cluster, *at, AWAY)));
    cluster
}

fn bring_back(cluster: &mut Cluster) {
    cluster.start_all();
    wait::until("all list it", 10, || (0..3).all(|at| is_listed(cluster, at, AWAY)));
}

/// Who was there while a node stood in for another is sent to that one when it is back, so that it looks at the listing again;
/// whoever comes afterwards, or has said READONLY and reads, is served: the stand-in owns the slot.
#[test]
fn whoever_knew_the_stand_in_is_sent_to_the_returned_node() {
    let mut cluster = without_one();
    let old: Vec<Connection> = [0, 2].map(|at| cluster.nodes[at].connect_view()).into();
    let stood_in = |listed: &[super::Listed], slot| owners(listed, slot)[0];
    let without = listing(&cluster, &cluster.connect(0).done("CLUSTER SLOTS"));
    bring_back(&mut cluster);
    let with = listing(&cluster, &cluster.connect(0).done("CLUSTER SLOTS"));
    let mut asked = cluster.connect(0);
    let mut slot_of = |key: &str| asked.done(&format!("CLUSTER KEYSLOT {key}")).integer();
    let mut old: BTreeMap<usize, Connection> = [0, 2].into_iter().zip(old).collect();
    let mut seen = BTreeSet::new();
    for key in (0..KEYS).map(|at| format!("key:{at}")) {
        let slot = slot_of(&key);
        let (node, master) = (stood_in(&without, slot), owners(&with, slot)[0]);
        let connection = old.get_mut(&node).expect("the node away led nothing");
        let moved = format!("-MOVED {slot} {}", cluster.nodes[AWAY].view);
        let get = format!("GET {key}");
        if master != AWAY {
            assert_eq!(connection.run(&get).to_string(), "\"v\"", "{key}: nothing has changed for it");
            continue;
        }
        assert_eq!(connection.run(&get).to_string(), moved);
        assert_eq!(connection.run(&format!("SET {key} v")).to_string(), moved, "also at a second time");
        if !seen.insert(node) {
            continue;
        }
        assert_eq!(cluster.nodes[node].connect_view().run(&get).to_string(), "\"v\"", "who comes afterwards is served");
        connection.done("READONLY");
        assert_eq!(connection.run(&get).to_string(), "\"v\"");
        assert_eq!(connection.run(&format!("SET {key} v")).to_string(), moved);
        connection.done("READWRITE");
        assert_eq!(connection.run(&get).to_string(), moved);
        connection.done("MULTI");
        assert_eq!(connection.run(&get).to_string(), moved);
        assert!(connection.run("EXEC").to_string().starts_with("-EXECABORT"));
    }
    assert_eq!(seen.len(), 2, "both had stood in");
    cluster.nodes[AWAY].kill9();
    wait::until("nobody lists it", 10, || [0, 2].iter().all(|at| !is_listed(&cluster, *at, AWAY)));
    for key in (0..KEYS).map(|at| format!("key:{at}")) {
        let connection = old.get_mut(&stood_in(&without, slot_of(&key))).expect("one of the two");
        assert_eq!(connection.run(&format!("GET {key}")).to_string(), "\"v\"", "it stands in again");
    }
}

/// A SCAN of all masters that was begun while a node was away, and ends when it is back, tells every key.
#[test]
fn a_scan_over_the_masters_misses_nothing_when_a_node_comes_back() {
    let mut cluster = without_one();
    let mut scans: Vec<(Connection, String)> =
        [0, 2].map(|at| (cluster.nodes[at].connect_view(), "0".to_owned())).into();
    let mut told = BTreeSet::new();
    let mut step = |connection: &mut Connection, cursor: &mut String| {
        let reply = connection.done(&format!("SCAN {cursor} COUNT 20"));
        told.extend(reply.items()[1].items().iter().map(|key| key.text()));
        *cursor = reply.items()[0].text();
        cursor != "0"
    };
    for (connection, cursor) in &mut scans {
        assert!(step(connection, cursor), "there is more");
    }
    bring_back(&mut cluster);
    let exact: i64 = (0..3).map(|at| cluster.nodes[at].connect_view().done("DBSIZE").integer()).sum();
    assert_eq!(exact, KEYS as i64, "what is added up is exact again");
    for (connection, cursor) in &mut scans {
        while step(connection, cursor) {}
    }
    assert_eq!(told.len(), KEYS);
}

/// redis-py's cluster client, open while a node goes and comes back: what it adds up over the masters is all there is.
#[test]
fn a_cluster_client_hears_of_a_returned_node() {
    let mut cluster = Cluster::start(3, &[]);
    let mut command = Command::new(folder().join(".venv/bin/python"));
    command.arg(folder().join("clients/returning.py")).args(cluster.nodes.iter().map(|node| node.view.to_string()));
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().expect("compat-tests/run installs what this needs");
    let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
    let mut input = child.stdin.take().expect("it was piped");
    let mut said = |wanted: &str| {
        let mut line = String::new();
        output.read_line(&mut line).expect("its output is text");
        assert_eq!(line.trim(), wanted);
    };
    said("written");
    cluster.nodes[AWAY].kill9();
    wait::until("nobody lists it", 10, || [0, 2].iter().all(|at| !is_listed(&cluster, *at, AWAY)));
    input.write_all(b"it is gone\n").expect("it still reads");
    said("written without it");
    bring_back(&mut cluster);
    input.write_all(b"it is back\n").expect("it still reads");
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("its output is text");
    assert!(child.wait().expect("it ends").success(), "{rest}");
    assert_eq!(rest.trim(), "all is there");
}
