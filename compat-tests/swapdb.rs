//! SWAPDB: the same databases behind the same indexes at every node, whoever swapped them, wherever, and whoever was away.

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::resp::{Connection, Value, request};
use crate::harness::table::words;
use crate::harness::wait;

/// How soon a node that returned knows what was swapped.
const SOON_SECONDS: u64 = 15;

/// A connection that has selected a database.
fn at(node: &Node, database: u8) -> Connection {
    let mut connection = node.connect();
    connection.done(&format!("SELECT {database}"));
    connection
}

/// Writes into each of so many databases which one it is.
fn mark(cluster: &Cluster, databases: u8) {
    (0..databases).for_each(|database| drop(at(&cluster.nodes[0], database).done(&format!("SET which {database}"))));
}

/// Which of the marked databases each index means at a node; none: it could not be read just now.
fn order(node: &Node, databases: u8) -> Option<Vec<u8>> {
    let read = |database| match at(node, database).run("GET which") {
        Value::Bulk(which) => String::from_utf8_lossy(&which).parse().ok(),
        _ => None,
    };
    (0..databases).map(read).collect()
}

fn wait_for_order(cluster: &Cluster, wanted: &[u8]) {
    for node in &cluster.nodes {
        wait::until(&format!("{} has {wanted:?}", node.address), SOON_SECONDS, || {
            order(node, wanted.len() as u8).as_deref() == Some(wanted)
        });
    }
}

fn says(connection: &mut Connection, script: &[(&str, &str)]) {
    for (line, wanted) in script {
        assert_eq!(connection.run(line).to_string(), *wanted, "{line}");
    }
}

/// The keys of a database in a node's records, as INFO tells.
fn recorded(node: &Node, database: u8) -> Option<String> {
    let keyspace = node.connect().done("INFO keyspace").text();
    keyspace.lines().find_map(|line| line.strip_prefix(&format!("db{database}:")).map(str::to_owned))
}

/// What belongs to a database goes with it: values, expiries, siblings, its policy, its counts; at every node, for new
/// connections and for those that had selected it, as soon as it is answered.
#[test]
fn all_that_belongs_to_a_database_goes_with_it() {
    let cluster = Cluster::start(3, &[]);
    cluster.set_policy(0, 3, "CONFLICT newest R 1 W 3");
    let mut selected: Vec<Connection> = cluster.nodes.iter().map(|node| at(node, 2)).collect();
    selected[0].done("MSET a 1 b 2");
    selected[1].done("SET short lived PX 600000");
    selected[0].done("DYN.SET cart milk");
    selected[1].done("DYN.SET cart bread");
    let mut third = at(&cluster.nodes[2], 3);
    third.done("SET only here");
    for node in &cluster.nodes {
        wait::until("the copies are everywhere", SOON_SECONDS, || {
            recorded(node, 2).is_some_and(|line| line.starts_with("keys=4,expires=1,")) && recorded(node, 3).is_some()
        });
    }
    assert_eq!(cluster.connect(1).run("SWAPDB 2 3").to_string(), "+OK");
    for (node, before) in cluster.nodes.iter().zip(&mut selected) {
        says(before, &[("MGET a b only", "[nil, nil, \"here\"]"), ("DBSIZE", ":1"), ("KEYS *", "[\"only\"]")]);
        let mut connection = at(node, 3);
        says(&mut connection, &[("MGET a b only", "[\"1\", \"2\", nil]"), ("DBSIZE", ":4"), ("TTL a", ":-1")]);
        assert!((500_000..=600_000).contains(&connection.done("PTTL short").integer()));
        assert_eq!(connection.done("DYN.GET cart").items()[1].items().len(), 2, "both siblings");
        assert_eq!(connection.done("SCAN 0 COUNT 100").items()[1].items().len(), 4);
        let policies = [2, 3].map(|database| connection.done(&format!("DYN.DATABASE {database}")));
        assert_eq!(policies.clone().map(|policy| policy.field("conflict").text()), ["newest", "siblings"]);
        assert_eq!(policies.map(|policy| policy.field("r").integer()), [1, 2]);
        assert_eq!(recorded(node, 2).expect("one key"), "keys=1,expires=0,avg_ttl=0");
        assert!(recorded(node, 3).expect("four keys").starts_with("keys=4,expires=1,"));
        let stats = node.connect().done("MEMORY STATS").to_string();
        assert!(stats.contains("db.2") && stats.contains("db.3") && !stats.contains("db.0"), "{stats}");
        assert!(connection.done("CLIENT INFO").text().contains(" db=3 "), "the index is the client's");
    }
    // What is set and flushed from now on concerns what the index means now.
    cluster.set_policy(2, 3, "R 3");
    assert_eq!(cluster.connect(0).done("DYN.DATABASE 2").field("r").integer(), 1);
    says(&mut selected[2], &[("SET new 1", "+OK"), ("COPY new copied DB 3", ":1"), ("MOVE new 3", ":1")]);
    assert_eq!(at(&cluster.nodes[0], 3).run("MGET new copied a").to_string(), "[\"1\", \"1\", \"1\"]");
    assert_eq!(selected[0].run("FLUSHDB").to_string(), "+OK");
    for node in &cluster.nodes {
        assert_eq!([2, 3].map(|database| at(node, database).done("DBSIZE").integer()), [0, 6]);
    }
    assert_eq!(cluster.connect(2).run("SWAPDB 3 2").to_string(), "+OK");
    for (node, again) in cluster.nodes.iter().zip(&mut selected) {
        says(again, &[("MGET a b", "[\"1\", \"2\"]"), ("DBSIZE", ":6")]);
        assert_eq!(at(node, 3).run("DBSIZE").to_string(), ":0");
    }
}

/// In one buffer, each command goes by the swaps before it; inside EXEC too.
#[test]
fn a_swap_takes_effect_between_the_commands_of_one_buffer() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    for _ in 0..20 {
        let script = [
            ("FLUSHALL", "+OK"),
            ("SET k zero", "+OK"),
            ("SWAPDB 0 1", "+OK"),
            ("GET k", "nil"),
            ("SET k one", "+OK"),
            ("SWAPDB 1 0", "+OK"),
            ("GET k", "\"zero\""),
            ("MULTI", "+OK"),
            ("SET k 0", "+QUEUED"),
            ("SWAPDB 0 1", "+QUEUED"),
            ("GET k", "+QUEUED"),
            ("INCRBY new 7", "+QUEUED"),
            ("EXEC", "[+OK, +OK, \"one\", :7]"),
            ("MGET k new", "[\"one\", \"7\"]"),
            ("SELECT 1", "+OK"),
            ("MGET k new", "[\"0\", nil]"),
            ("SWAPDB 0 1", "+OK"),
            ("SELECT 0", "+OK"),
        ];
        let bytes: Vec<u8> = script.iter().flat_map(|(line, _)| request(&words(line))).collect();
        connection.write(&bytes).expect("the node reads");
        for (line, wanted) in script {
            assert_eq!(connection.receive().expect("a reply").to_string(), wanted, "{line}");
        }
    }
}

/// A transaction goes on with the databases that it began with, whoever swaps them meanwhile.
#[test]
fn what_an_exec_has_begun_on_it_goes_on_with() {
    let cluster = Cluster::start(3, &[("enable-debug-command", "yes")]);
    mark(&cluster, 2);
    let mut connection = cluster.connect(0);
    for line in ["WATCH which", "MULTI", "GET which", "DEBUG SLEEP 3", "GET which", "SET which kept"] {
        connection.done(line);
    }
    connection.send(&["EXEC"]).expect("the node reads");
    let mut other = cluster.connect(0);
    wait::until("it sleeps", SOON_SECONDS, || other.done("CLIENT LIST").text().contains("cmd=debug"));
    assert_eq!(cluster.connect(1).run("SWAPDB 0 1").to_string(), "+OK");
    assert_eq!(other.run("GET which").to_string(), "\"1\"", "others see it already");
    assert_eq!(connection.receive().expect("a reply").to_string(), "[\"0\", +OK, \"0\", +OK]");
    assert_eq!(connection.run("GET which").to_string(), "\"1\"");
    assert_eq!(at(&cluster.nodes[2], 1).run("GET which").to_string(), "\"kept\"");
}

/// A watched key of a swapped database is touched, through any node, if there was or is anything under its name; also when it
/// was swapped back. Another database's is not.
#[test]
fn watched_keys_of_both_databases_are_touched() {
    let cluster = Cluster::start(3, &[]);
    let (mut connection, mut other) = (cluster.connect(0), cluster.connect(1));
    let mut after = |before: &[&str], watched: &str, swaps: &[&str]| {
        connection.done("FLUSHALL");
        before.iter().for_each(|line| drop(connection.done(line)));
        connection.done(&format!("WATCH {watched}"));
        swaps.iter().for_each(|pair| assert_eq!(other.run(&format!("SWAPDB {pair}")).to_string(), "+OK"));
        connection.done("MULTI");
        connection.done("SET done yes");
        connection.run("EXEC").to_string()
    };
    let (nil, ran) = ("nil", "[+OK]");
    assert_eq!(after(&["SELECT 0", "SET k v"], "k", &["0 1"]), nil, "it was there");
    assert_eq!(after(&["SELECT 1", "SET k v", "SELECT 0"], "k", &["1 0"]), nil, "it is there now");
    assert_eq!(after(&["SELECT 1", "SET k v", "SELECT 0", "SET k v"], "k", &["1 0"]), nil, "the same is there now");
    assert_eq!(after(&["SET other v"], "k", &["0 1"]), ran, "nothing before, nothing now");
    assert_eq!(after(&["SET k v"], "k", &["1 2"]), ran, "others were swapped");
    assert_eq!(after(&["SET k v"], "k", &["0 0"]), ran, "with itself");
    assert_eq!(after(&["SET k v"], "k", &["0 1", "0 1"]), nil, "there and back");
    assert_eq!(after(&["SELECT 1", "SET gone v", "DEL gone", "SELECT 0"], "gone", &["0 1"]), ran, "it was deleted");
}

/// Two who cannot reach each other both swap, and both are told OK: in the end both swaps are in effect, everywhere, in one
/// order.
#[test]
fn swaps_on_both_sides_of_a_cut_are_both_in_effect() {
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    let network = cluster.network.as_ref().expect("it can be cut");
    mark(&cluster, 3);
    let apart = |swaps: &dyn Fn()| {
        network.cut(&[2], &[0, 1]);
        cluster.wait_until_reachable(0, &[0, 1]);
        cluster.wait_until_reachable(1, &[0, 1]);
        cluster.wait_until_reachable(2, &[2]);
        swaps();
        network.heal(&[2], &[0, 1]);
        (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    };
    let swap =
        |at: usize, pair: &str| assert_eq!(cluster.connect(at).run(&format!("SWAPDB {pair}")).to_string(), "+OK");
    apart(&|| {
        swap(0, "0 1");
        assert_eq!(order(&cluster.nodes[1], 3), Some(vec![1, 0, 2]), "those that can be reached go by it");
        swap(2, "0 1");
    });
    wait_for_order(&cluster, &[0, 1, 2]);
    apart(&|| {
        swap(2, "1 2");
        swap(1, "0 1");
    });
    let one_after_the_other = [[1, 2, 0], [2, 0, 1]];
    let found = wait::found("all nodes have one of the two orders", SOON_SECONDS, || {
        let found = order(&cluster.nodes[0], 3)?;
        let same = cluster.nodes.iter().all(|node| order(node, 3).as_ref() == Some(&found));
        (same && one_after_the_other.iter().any(|both| found == *both)).then_some(found)
    });
    // Nothing of it is forgotten, and nothing done again, by the next.
    swap(2, "0 1");
    wait_for_order(&cluster, &[found[1], found[0], found[2]]);
}

/// A node that was dead learns of a swap before its first client comes in; a killed one has not forgotten; and all can be
/// killed.
#[test]
fn a_node_that_was_dead_or_dies_goes_by_the_swap() {
    let mut cluster = Cluster::start(3, &[]);
    mark(&cluster, 3);
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    assert_eq!(cluster.connect(0).run("SWAPDB 0 1").to_string(), "+OK");
    cluster.nodes[2].restart();
    assert_eq!(cluster.connect(2).run("GET which").to_string(), "\"1\"", "from the first reply on");
    cluster.nodes[1].kill9();
    cluster.nodes[1].restart();
    assert_eq!(cluster.connect(1).run("GET which").to_string(), "\"1\"");
    assert_eq!(cluster.connect(1).run("SWAPDB 2 1").to_string(), "+OK");
    cluster.nodes.iter_mut().for_each(Node::kill9);
    cluster.start_all();
    wait_for_order(&cluster, &[1, 2, 0]);
}

/// A node that can be reached and cannot save the swap: the error says that it is done here and will spread, and it does. Where
/// it cannot be saved itself, nothing changes.
#[test]
fn a_node_that_cannot_save_the_swap_is_named() {
    let cluster = Cluster::start(3, &[]);
    mark(&cluster, 2);
    cluster.nodes[2].unable_to_save_members(|| {
        let there = cluster.connect(0).run("SWAPDB 0 1");
        assert!(
            there.error().starts_with("NOQUORUM the swap is not complete: it is set and saved on this node"),
            "{there}"
        );
        assert_eq!(
            [0, 1, 2].map(|at| order(&cluster.nodes[at], 2)),
            [[1, 0], [1, 0], [0, 1]].map(|it| Some(it.to_vec()))
        );
        let here = cluster.connect(2).run("SWAPDB 0 1");
        assert!(
            here.error().starts_with("ERR nothing was swapped: ") && here.error().contains("nothing changed"),
            "{here}"
        );
    });
    wait_for_order(&cluster, &[1, 0]);
}

/// Many at once at all nodes: every one answers OK and is in effect. Each swap makes an order even that was odd, and the
/// reverse.
#[test]
fn swaps_at_once_are_all_in_effect() {
    const SWAPS: [usize; 3] = [101, 80, 90];
    let cluster = Cluster::start(3, &[]);
    mark(&cluster, 4);
    std::thread::scope(|scope| {
        for (node, swaps) in cluster.nodes.iter().zip(SWAPS) {
            scope.spawn(move || {
                let mut connection = node.connect();
                for turn in 0..swaps {
                    let (first, second) = (turn % 4, (turn + 1 + turn % 3) % 4);
                    assert_eq!(connection.run(&format!("SWAPDB {first} {second}")).to_string(), "+OK");
                }
            });
        }
    });
    let found = wait::found("all nodes have one order", SOON_SECONDS, || {
        let found = order(&cluster.nodes[0], 4)?;
        cluster.nodes.iter().all(|node| order(node, 4).as_ref() == Some(&found)).then_some(found)
    });
    let pairs = (0..4).flat_map(|first| (first + 1..4).map(move |second| (first, second)));
    let turned = pairs.filter(|(first, second)| found[*first] > found[*second]).count();
    assert_eq!(turned % 2, SWAPS.iter().sum::<usize>() % 2, "{found:?}");
}
