//! A disk that lost or changed what was written: the node comes up, never says that a key it lost is not there, and fills up
//! from the others.

use crate::harness::cluster::Cluster;
use crate::harness::info;
use crate::harness::resp::Value;
use crate::harness::wait;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Keys written before the damage.
const KEYS: usize = 300;

/// The engine's folder in a node's directory, see `storage::home`.
fn engine(dir: &Path) -> PathBuf {
    dir.join("objects")
}

/// The engine's log: the largest file whose name ends so.
fn journal(dir: &Path) -> PathBuf {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut folders = vec![engine(dir)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the engine") {
            let path = entry.expect("an entry of the engine").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                found.push((path.metadata().expect("its length").len(), path));
            }
        }
    }
    found.into_iter().max().expect("the engine has a log").1
}

/// Where the log's written part ends: its file may be longer, and zero from there on.
fn written(journal: &Path) -> u64 {
    let bytes = std::fs::read(journal).expect("the log can be read");
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

/// Three nodes that all hold all keys, and have synced them; the third is killed, its disk damaged, and started again.
fn damaged(damage: impl Fn(&Path)) -> Cluster {
    damaged_with("always", damage)
}

/// As [`damaged`]; with another `appendfsync` the writes ask for durable acknowledgements themselves.
fn damaged_with(appendfsync: &str, damage: impl Fn(&Path)) -> Cluster {
    let mut cluster = Cluster::start(3, &[("appendfsync", appendfsync)]);
    cluster.set_policy(0, 0, "N 3 R 2 W 3 DW 3");
    let mut connection = cluster.connect(2);
    for at in 0..KEYS {
        connection.done(&format!("DYN.SET damaged:{at} value-{at} W 3"));
    }
    cluster.nodes[2].kill9();
    damage(&cluster.nodes[2].dir);
    cluster.nodes[2].restart();
    cluster
}

/// Asked alone, the node shows the value or an error, and never says there is none; in the end it holds all.
fn hold(cluster: &Cluster) {
    let mut alone = cluster.connect(2);
    alone.done("DYN.QUORUM R 1");
    for at in 0..KEYS {
        let reply = alone.run(&format!("GET damaged:{at}"));
        let well = reply.is_error() || reply == Value::Bulk(format!("value-{at}").into_bytes());
        assert!(well, "damaged:{at} at R=1: {reply}");
    }
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    for at in 0..KEYS {
        assert_eq!(cluster.connect(at % 3).run(&format!("GET damaged:{at}")).to_string(), format!("\"value-{at}\""));
    }
    wait::until("the node has filled up from the others", 30, || {
        (0..KEYS).all(|at| {
            let local = cluster.connect(2).run(&format!("DYN.GET damaged:{at} LOCAL"));
            !local.is_error() && local.items()[1].to_string() == format!("[\"value-{at}\"]")
        })
    });
}

/// The engine's files are gone.
#[test]
fn a_wiped_store_fills_up() {
    hold(&damaged(|dir| std::fs::remove_dir_all(engine(dir)).expect("the engine's folder can be removed")));
}

/// The log's second half is gone, as after a power cut on a disk that lied.
#[test]
fn a_truncated_log_is_noticed() {
    for appendfsync in ["always", "everysec", "no"] {
        hold(&damaged_with(appendfsync, |dir| {
            let journal = journal(dir);
            let file = OpenOptions::new().write(true).open(&journal).expect("the log can be opened");
            file.set_len(written(&journal) / 2).expect("the log can be cut");
        }));
    }
}

/// A page of zeros in the middle of the log.
#[test]
fn a_zeroed_page_is_noticed() {
    hold(&damaged(|dir| {
        let journal = journal(dir);
        let file = OpenOptions::new().write(true).open(&journal).expect("the log can be opened");
        file.write_all_at(&[0; 4096], written(&journal) / 2).expect("the log can be overwritten");
    }));
}

/// A flipped bit in the middle of the log.
#[test]
fn a_flipped_bit_is_noticed() {
    hold(&damaged(|dir| {
        let journal = journal(dir);
        let file = OpenOptions::new().read(true).write(true).open(&journal).expect("the log can be opened");
        let (mut byte, at) = ([0], written(&journal) / 2);
        file.read_exact_at(&mut byte, at).expect("the log can be read");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("the log can be overwritten");
    }));
}

/// A node that forgot its own writes never covers them with a new one: a fresh version beside them is a sibling.
#[test]
fn a_forgotten_write_is_not_covered_by_the_next() {
    let mut cluster = Cluster::start(3, &[]);
    for at in 0..5 {
        cluster.connect(2).done(&format!("SET k kept-{at}"));
    }
    cluster.connect(2).done("DYN.SET k sibling W 3");
    cluster.nodes[2].kill9();
    std::fs::remove_dir_all(engine(&cluster.nodes[2].dir)).unwrap();
    cluster.nodes[2].restart();
    wait::until("a write that has seen nothing is taken", 20, || !cluster.connect(2).run("DYN.SET k fresh").is_error());
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    let reply = wait::found("the node has filled up and reads again", 30, || {
        let reply = cluster.connect(0).run("DYN.GET k R 3");
        (!reply.is_error()).then_some(reply)
    });
    let mut values: Vec<String> = reply.items()[1].items().iter().map(Value::text).collect();
    values.sort();
    // Asked again after an error, the write may stand there twice: each DYN.SET that has seen nothing is one more sibling.
    values.dedup();
    assert_eq!(values, ["fresh", "kept-4", "sibling"]);
}

/// A disk that forgets deletes which all others have had on theirs, and have forgotten since, brings nothing back to life.
#[test]
fn a_disk_that_forgot_settled_deletes_revives_nothing() {
    const KEYS: usize = 200;
    let mut cluster = Cluster::start(3, &[("appendfsync", "always")]);
    let value = "v".repeat(200);
    for key in 0..KEYS {
        cluster.connect(0).done(&format!("SET mortal:{key} {value} "));
    }
    let local = |cluster: &Cluster, node: usize, key: usize| {
        cluster.connect(node).run(&format!("DYN.GET mortal:{key} LOCAL")).items()[1].items().len()
    };
    wait::until("all have them", 20, || (0..KEYS).all(|key| local(&cluster, 2, key) == 1));
    let journal = journal(&cluster.nodes[2].dir);
    let kept = written(&journal);
    for key in 0..KEYS / 2 {
        cluster.connect(0).done(&format!("DEL mortal:{key}"));
    }
    wait::until("the deletes are settled and forgotten", 30, || {
        (0..3).all(|node| info::number(&cluster, node, "tombstones_reaped") >= KEYS as i64 / 2)
    });
    cluster.nodes[2].kill9();
    let file = OpenOptions::new().write(true).open(&journal).expect("the log can be opened");
    file.set_len(kept).expect("the log can be cut");
    cluster.nodes[2].restart();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    wait::until("it has filled up", 30, || info::number(&cluster, 2, "filling") == 0);
    assert!(info::number(&cluster, 2, "resurrections_refused") > 0, "the cut log held deleted values");
    wait::until("words rise again", 30, || (0..3).all(|node| info::number(&cluster, node, "settling_round") == 0));
    for node in 0..3 {
        let held: Vec<usize> = (0..KEYS).filter(|key| local(&cluster, node, *key) == 1).collect();
        assert_eq!(held, (KEYS / 2..KEYS).collect::<Vec<_>>(), "node {node}");
    }
}
