//! N, R and W mean what the paper says (§4.5, §4.6), with any number of nodes up, strict or sloppy.

use crate::harness::cluster::Cluster;
use crate::harness::resp::Value;
use crate::harness::wait;
use std::time::{Duration, Instant};

/// The request timeout in these tests: so long that whoever waited for it is found out.
const TIMEOUT_MS: &str = "20000";
/// What is known at once must be said within this.
const AT_ONCE: Duration = Duration::from_secs(4);
/// Keys tried in each cell of the matrix.
const KEYS: usize = 5;

/// One cell of the matrix: a database with its policy.
struct Cell {
    database: u8,
    n: usize,
    r: usize,
    w: usize,
    /// Keys, each with the nodes that are its homes.
    keys: Vec<(String, Vec<usize>)>,
}

/// Every N up to 3 with every R and W up to N, with three, two and one node up: strict databases serve exactly when
/// enough homes are up; what fails says NOREPLICAS and that nothing was changed, at once.
#[test]
fn strict_quorums() {
    matrix(false);
}

/// The same, sloppy: the first N healthy nodes count, so a key is served when enough nodes are up, whosever homes.
#[test]
fn sloppy_quorums() {
    matrix(true);
}

fn matrix(sloppy: bool) {
    let settings = [("request-timeout-ms", TIMEOUT_MS), ("storage-engine", "memory")];
    let mut cluster = Cluster::start(3, &settings);
    let cells = cells(&cluster, sloppy);
    for up in [&[0, 1, 2][..], &[0, 1], &[0]] {
        if let Some(dead) = cluster.nodes.get_mut(up.len()).filter(|node| node.runs()) {
            dead.kill9();
        }
        up.iter().for_each(|at| cluster.wait_until_reachable(*at, up));
        let mut wrong = Vec::new();
        for cell in &cells {
            for (key, homes) in &cell.keys {
                up.iter().for_each(|at| wrong.extend(tried(&cluster, *at, cell, key, homes, up, sloppy)));
            }
        }
        assert!(wrong.is_empty(), "with nodes {up:?} up:\n{}", wrong.join("\n"));
    }
}

fn cells(cluster: &Cluster, sloppy: bool) -> Vec<Cell> {
    let policies = (1..=3).flat_map(|n| (1..=n).flat_map(move |r| (1..=n).map(move |w| (n, r, w))));
    let mut cells = Vec::new();
    for (database, (n, r, w)) in policies.enumerate() {
        let database = u8::try_from(database).expect("fourteen policies fit sixteen databases");
        let sloppy = if sloppy { "yes" } else { "no" };
        cluster.set_policy(0, database, &format!("N {n} R {r} W {w} SLOPPY {sloppy}"));
        let keys = (0..KEYS).map(|at| {
            let key = format!("key:{at}");
            let homes = cluster.homes(0, database, &key);
            assert_eq!(homes.len(), n, "{key} has N homes");
            (key, homes)
        });
        cells.push(Cell { database, n, r, w, keys: keys.collect() });
    }
    cells
}

/// Writes and reads one key through node `at`; says what was not as it must be.
fn tried(
    cluster: &Cluster,
    at: usize,
    cell: &Cell,
    key: &str,
    homes: &[usize],
    up: &[usize],
    sloppy: bool,
) -> Vec<String> {
    let healthy = if sloppy { up.len().min(cell.n) } else { homes.iter().filter(|home| up.contains(home)).count() };
    let mut connection = cluster.connect(at);
    connection.done(&format!("SELECT {}", cell.database));
    let mut wrong = Vec::new();
    for (line, needed, refusal) in [
        (format!("SET {key} v"), cell.w, "NOREPLICAS Not enough good replicas to write."),
        (format!("GET {key}"), cell.r, "NOREPLICAS Not enough good replicas to read."),
    ] {
        let begun = Instant::now();
        let reply = connection.run(&line);
        let took = begun.elapsed();
        let well = match &reply {
            Value::Error(text) => healthy < needed && text.starts_with(refusal) && text.contains("nothing was changed"),
            _ => healthy >= needed,
        };
        if !well || took > AT_ONCE {
            let Cell { n, r, w, .. } = cell;
            wrong.push(format!("N={n} R={r} W={w}, {healthy} healthy, node {at}: {line}: {reply} after {took:?}"));
        }
    }
    wrong
}

/// A write that some replicas took and too few acknowledged in time says so: NOQUORUM, how many of how many, and that it
/// may still take effect. It does not say OK, and it does not say that nothing happened.
#[test]
fn a_write_in_doubt_says_so() {
    let cluster = Cluster::start(3, &[("request-timeout-ms", "1200"), ("sloppy", "no")]);
    let mut connection = cluster.connect(0);
    connection.done("DYN.QUORUM W 3");
    connection.done("SET k before");
    cluster.nodes[2].freeze();
    let begun = Instant::now();
    let reply = connection.run("SET k after");
    let took = begun.elapsed();
    let text = reply.error();
    assert!(text.starts_with("NOQUORUM 2 of 3 replicas acknowledged; the write may still take effect"), "{text}");
    assert!(took < Duration::from_secs(5), "{took:?} for a timeout of 1.2 s");
    assert_eq!(cluster.connect(1).run("GET k").text(), "after", "it did take effect here");
    cluster.nodes[2].thaw();
    cluster.wait_until_reachable(0, &[0, 1, 2]);
    wait::until("all three take part again", 20, || connection.run("SET k again").to_string() == "+OK");
}

/// A read that too few replicas answer in time fails as a read: nothing was changed.
#[test]
fn a_read_without_enough_answers_changed_nothing() {
    let cluster = Cluster::start(3, &[("request-timeout-ms", "1200"), ("sloppy", "no")]);
    let mut connection = cluster.connect(0);
    connection.done("SET k v");
    connection.done("DYN.QUORUM R 3");
    cluster.nodes[2].freeze();
    let reply = connection.run("GET k");
    assert!(reply.error().starts_with("NOREPLICAS Not enough good replicas to read."), "{reply}");
    assert!(reply.error().contains("nothing was changed"), "{reply}");
    cluster.nodes[2].thaw();
}

/// A slow replica does not slow a quorum that can be met without it.
#[test]
fn a_frozen_node_does_not_slow_the_others_quorum() {
    let cluster = Cluster::start(3, &[("request-timeout-ms", TIMEOUT_MS)]);
    let mut connection = cluster.connect(0);
    connection.done("SET k v");
    cluster.nodes[2].freeze();
    let begun = Instant::now();
    for at in 0..50 {
        assert_eq!(connection.run(&format!("SET frozen:{at} v")).to_string(), "+OK");
        assert_eq!(connection.run(&format!("GET frozen:{at}")).text(), "v");
    }
    let took = begun.elapsed();
    cluster.nodes[2].thaw();
    assert!(took < Duration::from_secs(5), "100 requests took {took:?} while one of three nodes slept");
}

/// DYN.QUORUM holds for its own connection and no other; 0 and DEFAULT give the database's back.
#[test]
fn quorums_of_a_connection() {
    let mut cluster = Cluster::start(3, &[("sloppy", "no")]);
    cluster.nodes[2].kill9();
    [0, 1].iter().for_each(|at| cluster.wait_until_reachable(*at, &[0, 1]));
    let (mut one, mut other) = (cluster.connect(0), cluster.connect(0));
    one.done("DYN.QUORUM R 3 W 3");
    let shown = one.run("DYN.QUORUM");
    assert_eq!((shown.field("R").integer(), shown.field("W").integer()), (3, 3));
    assert!(one.run("SET k v").error().starts_with("NOREPLICAS"));
    assert!(one.run("GET k").error().starts_with("NOREPLICAS"));
    assert_eq!(other.run("SET k v").to_string(), "+OK");
    let shown = other.run("DYN.QUORUM");
    assert_eq!((shown.field("R").integer(), shown.field("W").integer()), (2, 2));
    one.done("DYN.QUORUM R DEFAULT");
    assert_eq!(one.run("GET k").text(), "v");
    assert!(one.run("SET k w").is_error());
    one.done("DYN.QUORUM W 0");
    assert_eq!(one.run("SET k w").to_string(), "+OK");
    assert!(one.run("DYN.GET k R 3").is_error(), "a request's own R");
    assert!(one.run("DYN.SET k v W 3").is_error(), "a request's own W");
    assert!(!one.run("DYN.GET k R 2").is_error());
}

/// A policy set on one node is the policy on every node, also on one that was away meanwhile, and after a restart.
#[test]
fn policies_are_cluster_state() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.set_policy(0, 4, "N 2 R 1 W 2 SLOPPY no CONFLICT newest");
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    cluster.set_policy(1, 5, "R 1 W 3 DW 1");
    cluster.nodes[2].restart();
    let shown = |at: usize, database: u8| {
        let policy = cluster.connect(at).done(&format!("DYN.DATABASE {database}"));
        let number = |name: &str| policy.field(name).integer();
        let word = |name: &str| policy.field(name).text();
        (number("n"), number("r"), number("w"), number("dw"), word("sloppy"), word("conflict"))
    };
    for at in 0..3 {
        assert_eq!(shown(at, 4), (2, 1, 2, 0, "no".to_owned(), "newest".to_owned()), "node {at}");
        wait::until("a returned node has the policy it missed", 20, || {
            shown(at, 5) == (3, 1, 3, 1, "yes".to_owned(), "siblings".to_owned())
        });
        assert_eq!(shown(at, 6), (3, 2, 2, 0, "yes".to_owned(), "siblings".to_owned()), "node {at}");
    }
}

/// DW: a write with durable acknowledgements is acknowledged, also when nobody syncs by himself (§6.1).
#[test]
fn durable_writes_are_acknowledged() {
    let cluster = Cluster::start(3, &[("appendfsync", "no")]);
    cluster.set_policy(0, 2, "N 3 R 2 W 3 DW 3");
    let mut connection = cluster.connect(1);
    connection.done("SELECT 2");
    for at in 0..20 {
        assert_eq!(connection.run(&format!("SET durable:{at} v")).to_string(), "+OK");
    }
    cluster.nodes[2].freeze();
    connection.done("CONFIG SET request-timeout-ms 300");
    let reply = connection.run("SET durable:0 w");
    cluster.nodes[2].thaw();
    assert!(reply.is_error(), "three durable acknowledgements cannot come from two nodes: {reply}");
}
