//! A node's disk fills up, fails, or is slow: writes go on at the other nodes, reads everywhere, and when the disk is well
//! again so is the node, without a human.

use crate::harness::cluster::Cluster;
use crate::harness::disk::{BadDisk, SmallDisk};
use crate::harness::info::number as info;
use crate::harness::permits::alone;
use crate::harness::resp::Value;
use crate::harness::wait;
use crate::survival::load::{Load, Told};
use std::time::{Duration, Instant};

/// The node with the bad disk.
const BAD: usize = 2;
/// Acknowledged writes each test waits for before, while and after the disk is bad.
const WRITES_PER_PHASE: usize = 400;
/// How soon a node must notice what its disk does.
const NOTICED_SECONDS: u64 = 10;
/// How soon a node whose disk is well again must take writes, and have all it missed.
const WHOLE_SECONDS: u64 = 20;
/// The size of the small disk.
const DISK_MEBIBYTES: u64 = 96;

fn wait_until_writable(cluster: &Cluster, writable: bool) {
    let what = format!("the node with the bad disk takes writes: {writable}");
    wait::until(&what, if writable { WHOLE_SECONDS } else { NOTICED_SECONDS }, || {
        info(cluster, BAD, "disk_writable") == i64::from(writable)
    });
}

/// Of these keys, those whose value is not on the node's own disk, at most ten.
fn not_on_own_disk(cluster: &Cluster, keys: &[String]) -> Vec<String> {
    let mut connection = cluster.connect(BAD);
    let mut missing = Vec::new();
    for keys in keys.chunks(200) {
        keys.iter().for_each(|key| connection.send(&["DYN.GET", key, "LOCAL"]).expect("it takes requests"));
        for key in keys {
            let reply = connection.receive().expect("it answers");
            let held = reply.items().get(1).is_some_and(|held| held.items() == [Value::Bulk(key.clone().into_bytes())]);
            if !held && missing.len() < 10 {
                missing.push(format!("{key}: {reply}"));
            }
        }
    }
    missing
}

/// Nobody saw an error, every acknowledged write is read through every node, and the node with the bad disk gets them all
/// on its own disk.
fn assert_whole(cluster: &Cluster, told: &Told) {
    assert_eq!(told.errors_of(&[0, 1, 2]), [""; 0], "clients saw errors");
    wait::until("the node has all that was acknowledged on its own disk", WHOLE_SECONDS, || {
        not_on_own_disk(cluster, &told.acknowledged).is_empty()
    });
    for at in 0..3 {
        assert_eq!(told.missing_at(cluster, at), [""; 0], "node {at}");
    }
}

/// Three nodes of which one lives on a small disk; none where there is no such disk.
fn on_a_small_disk(floor: &str) -> Option<(Cluster, SmallDisk)> {
    let mut cluster = Cluster::prepared(3, &[], None);
    let disk = SmallDisk::mount(&cluster.nodes[BAD].dir, DISK_MEBIBYTES)?;
    cluster.nodes[BAD].set("free-space-min-bytes", floor);
    cluster.start_all();
    Some((cluster, disk))
}

/// The disk of one of three nodes falls below the floor: clients of all three nodes write on without one error, reads
/// through that node go on; when there is space again it takes writes by itself and gets all it missed.
#[test]
fn below_the_floor_others_take_the_writes_until_there_is_space() {
    let Some((cluster, disk)) = on_a_small_disk("24mb") else { return };
    assert!(info(&cluster, BAD, "disk_free_bytes") <= (DISK_MEBIBYTES as i64) << 20);
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    disk.fill_up_to(20 << 20);
    wait_until_writable(&cluster, false);
    // What was on its way to its disk by then is stored yet.
    load.wait_for(WRITES_PER_PHASE);
    let keys = cluster.connect(BAD).done("INFO keyspace").text();
    load.wait_for(WRITES_PER_PHASE);
    let mut connection = cluster.connect(BAD);
    assert_eq!(connection.run("SET through-the-full-one v").to_string(), "+OK");
    assert_eq!(connection.run("GET through-the-full-one").text(), "v");
    assert_eq!(connection.run("SET through-the-full-one w XX EX 1000").to_string(), "+OK");
    assert_eq!(connection.run("PERSIST through-the-full-one").integer(), 1);
    assert_eq!(connection.run("DEL through-the-full-one").integer(), 1);
    assert_eq!(cluster.connect(BAD).done("INFO keyspace").text(), keys, "nothing was stored there meanwhile");
    disk.clear();
    wait_until_writable(&cluster, true);
    load.wait_for(WRITES_PER_PHASE);
    let told = load.stop();
    assert_whole(&cluster, &told);
    assert_eq!(info(&cluster, BAD, "disk_recoveries"), 0, "it never came to an error");
}

/// A single node below the floor says so, in words an operator can act on, and nothing is changed; reads go on.
#[test]
fn a_single_full_node_says_so() {
    let mut cluster = Cluster::prepared(1, &[], None);
    let Some(disk) = SmallDisk::mount(&cluster.nodes[0].dir, DISK_MEBIBYTES) else { return };
    cluster.nodes[0].set("free-space-min-bytes", "24mb");
    cluster.start_all();
    let mut connection = cluster.connect(0);
    assert_eq!(connection.run("SET k before").to_string(), "+OK");
    disk.fill_up_to(20 << 20);
    wait::until("it takes no writes", NOTICED_SECONDS, || info(&cluster, 0, "disk_writable") == 0);
    let refused = connection.run("SET k after").to_string();
    assert!(refused.starts_with("-MISCONF ") && refused.contains("nothing was changed"), "{refused}");
    assert!(refused.contains("the disk is full: less than 25165824 bytes are free"), "{refused}");
    assert_eq!(connection.run("GET k").text(), "before");
    assert!(cluster.connect(0).done("INFO persistence").text().contains("aof_last_write_status:err"));
    assert_eq!(connection.run("CONFIG SET free-space-min-bytes 0").to_string(), "+OK");
    wait::until("the floor is gone", NOTICED_SECONDS, || connection.run("SET k after").to_string() == "+OK");
}

/// The disk fills up to the last byte at once, so that the engine fails in the middle of a commit: no client sees it, reads
/// go on, and when there is space again the engine is opened again in the same process, with all it had acknowledged.
#[test]
fn a_disk_full_to_the_last_byte_is_recovered_from() {
    let Some((cluster, disk)) = on_a_small_disk("0") else { return };
    let pid = cluster.nodes[BAD].pid();
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    disk.fill_up_to(0);
    wait_until_writable(&cluster, false);
    load.wait_for(WRITES_PER_PHASE);
    assert_eq!(cluster.connect(BAD).run("SET through-the-full-one v").to_string(), "+OK");
    assert_eq!(cluster.connect(BAD).run("GET through-the-full-one").text(), "v");
    disk.clear();
    wait_until_writable(&cluster, true);
    load.wait_for(WRITES_PER_PHASE);
    let told = load.stop();
    assert_whole(&cluster, &told);
    assert!(info(&cluster, BAD, "disk_recoveries") >= 1);
    assert_eq!(cluster.nodes[BAD].pid(), pid);
    let log = std::fs::read_to_string(&cluster.nodes[BAD].log).expect("a log");
    assert!(!log.contains("forgot writes") && !log.contains("panicked"), "{log}");
}

/// Fsyncs of one node fail for a while: as with a full disk.
#[test]
fn failing_fsyncs_are_recovered_from() {
    let Some(disk) = BadDisk::new() else { return };
    let mut cluster = Cluster::prepared(3, &[], None);
    cluster.nodes[BAD].environment = disk.environment();
    cluster.start_all();
    let load = Load::start(&cluster);
    load.wait_for(WRITES_PER_PHASE);
    disk.fail();
    wait_until_writable(&cluster, false);
    load.wait_for(WRITES_PER_PHASE);
    disk.mend();
    wait_until_writable(&cluster, true);
    load.wait_for(WRITES_PER_PHASE);
    let told = load.stop();
    assert_whole(&cluster, &told);
    assert!(info(&cluster, BAD, "disk_recoveries") >= 1);
}

/// Each fsync of one node takes a second: clients of all three nodes, that one included, hardly notice.
#[test]
fn slow_fsyncs_of_one_node_delay_nobody() {
    let _alone = alone();
    let Some(disk) = BadDisk::new() else { return };
    let mut cluster = Cluster::prepared(3, &[], None);
    cluster.nodes[BAD].environment = disk.environment();
    cluster.start_all();
    disk.slow(1000);
    wait::until("fsyncs are slow", NOTICED_SECONDS, || {
        cluster.connect(BAD).done("SET warm v");
        info(&cluster, BAD, "fsync_last_us") >= 1_000_000
    });
    let mut slowest = Vec::new();
    for at in 0..3 {
        let mut connection = cluster.connect(at);
        let mut took: Vec<Duration> = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(3) {
            let (key, begun) = (format!("slow:{at}:{}", took.len() % 50), Instant::now());
            assert_eq!(connection.ask(&["SET", &key, &key]).to_string(), "+OK");
            assert_eq!(connection.ask(&["GET", &key]).text(), key);
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        slowest.push((at, took[took.len() * 99 / 100], took[took.len() - 1]));
    }
    disk.mend();
    let slow =
        slowest.iter().filter(|(_, p99, most)| *p99 > Duration::from_millis(100) || *most > Duration::from_millis(700));
    assert_eq!(slow.count(), 0, "a write and a read, 99th percentile and slowest, by node: {slowest:?}");
}
