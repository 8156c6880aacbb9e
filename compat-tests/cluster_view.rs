//! The second face (DESIGN §7): `cluster-view-port` has Redis Cluster's manners, `port` has none of them, and both show the
//! same data.

use crate::harness::cluster::{Cluster, VIEW_SECONDS};
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;
use std::collections::{BTreeMap, BTreeSet};

mod libraries;
mod returning;
mod stopping;
mod tools;

/// One range of CLUSTER SLOTS: first and last slot, and the nodes, the master first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub first: i64,
    pub last: i64,
    pub nodes: Vec<usize>,
}

/// CLUSTER SLOTS as a node tells it.
pub fn listing(cluster: &Cluster, slots: &Value) -> Vec<Listed> {
    let node = |entry: &Value| cluster.node_at(&format!("{}:{}", entry.items()[0].text(), entry.items()[1].integer()));
    let range = |range: &Value| Listed {
        first: range.items()[0].integer(),
        last: range.items()[1].integer(),
        nodes: range.items()[2..].iter().map(node).collect(),
    };
    slots.items().iter().map(range).collect()
}

/// Whether a node is named in CLUSTER SLOTS.
pub fn is_listed(cluster: &Cluster, at: usize, node: usize) -> bool {
    let slots = cluster.nodes[at].connect_view().done("CLUSTER SLOTS");
    listing(cluster, &slots).iter().any(|range| range.nodes.contains(&node))
}

/// Who answers for a slot: the master first.
fn owners(listing: &[Listed], slot: i64) -> &[usize] {
    &listing.iter().find(|range| (range.first..=range.last).contains(&slot)).expect("every slot is listed").nodes
}

/// A key whose homes are as `wanted`, its slot, and the homes in order.
fn key_with(cluster: &Cluster, wanted: impl Fn(&[usize]) -> bool) -> (String, i64, Vec<usize>) {
    let keys = (0..1000).map(|at| format!("view:{at}"));
    let mut found = keys.map(|key| (cluster.homes(0, 0, &key), key)).filter(|(homes, _)| wanted(homes));
    let (homes, key) = found.next().expect("one of a thousand keys has such homes");
    let slot = cluster.connect(0).done(&format!("CLUSTER KEYSLOT {key}")).integer();
    (key, slot, homes)
}

/// CLUSTER SLOTS is the same on every node and on both faces; each slot's owners are the homes of its keys, its first home as
/// master; neighbours with the same owners are one range. Of the first ranges replicas are left out that were not named as
/// masters yet: redis-py takes a node for what it hears of it first.
#[test]
fn the_listing_is_the_same_everywhere_and_names_the_homes() {
    let cluster = Cluster::start(5, &[]);
    let slots = cluster.connect(0).done("CLUSTER SLOTS");
    for node in &cluster.nodes {
        assert_eq!(node.connect().done("CLUSTER SLOTS"), slots);
        assert_eq!(node.connect_view().done("CLUSTER SLOTS"), slots);
    }
    let listing = listing(&cluster, &slots);
    let (mut next, mut masters) = (0, BTreeSet::new());
    for range in &listing {
        assert_eq!(range.first, next, "a gap or an overlap");
        next = range.last + 1;
        masters.insert(range.nodes[0]);
        assert!(range.nodes.iter().all(|node| masters.contains(node)), "{range:?}: a replica before it is a master");
        assert!(range.nodes.len() == 3 || masters.len() < 5, "{range:?}");
    }
    assert_eq!(next, 16384);
    assert!(listing.windows(2).all(|pair| pair[0].nodes != pair[1].nodes), "neighbours with the same owners are one");
    let leads: BTreeMap<usize, i64> = listing.iter().fold(BTreeMap::new(), |mut sums, range| {
        *sums.entry(range.nodes[0]).or_default() += range.last - range.first + 1;
        sums
    });
    assert!(leads.len() == 5 && leads.values().all(|slots| (2500..4000).contains(slots)), "{leads:?}");
    for key in ["a", "b", "c", "{user}:1"] {
        let homes = cluster.homes(0, 0, key);
        let slot = cluster.connect(0).done(&format!("CLUSTER KEYSLOT {key}")).integer();
        let owners = owners(&listing, slot);
        assert_eq!(owners[0], homes[0], "the first home is master");
        assert!(owners.iter().all(|owner| homes.contains(owner)), "the owners are homes");
    }
}

/// 256 partitions of three nodes are fewer ranges; one node alone is one range.
#[test]
fn partitions_are_merged_into_ranges() {
    let alone = Cluster::single(&[]);
    assert_eq!(alone.connect(0).done("CLUSTER SLOTS").items().len(), 1);
    let cluster = Cluster::start(3, &[]);
    let ranges = cluster.connect(0).done("CLUSTER SLOTS").items().len();
    assert!(ranges < 256, "{ranges} ranges");
    println!("256 partitions of three nodes make {ranges} ranges");
}

/// CLUSTER NODES: every line a master with its ranges; the same on all nodes but for `myself`; CLUSTER SHARDS names replicas.
#[test]
fn every_node_is_a_master_with_a_line() {
    let cluster = Cluster::start(4, &[("cluster-announce-hostname", "dynamis.example")]);
    let lines = |at: usize| cluster.connect(at).done("CLUSTER NODES").text();
    let first = lines(0);
    for at in 0..4 {
        assert_eq!(lines(at).replace("myself,", ""), first.replace("myself,", ""), "node {at}");
        let own = lines(at).lines().find(|line| line.contains("myself,master - ")).map(str::to_owned);
        let own = own.unwrap_or_else(|| panic!("node {at} does not know itself in {}", lines(at)));
        let id = cluster.connect(at).done("CLUSTER MYID").text();
        let place = format!("{id} {}@{},dynamis.example ", cluster.nodes[at].view, cluster.nodes[at].bus.port());
        assert!(own.starts_with(&place), "{own}");
        assert_eq!(cluster.connect(at).done("CLUSTER MYSHARDID").text(), id);
    }
    assert!(!first.contains("slave") && first.lines().all(|line| line.contains("master - 0 0 ")), "{first}");
    let covered: i64 = first
        .lines()
        .flat_map(|line| line.split(' ').skip(8))
        .map(|run| {
            let (from, to) = run.split_once('-').unwrap_or((run, run));
            to.parse::<i64>().unwrap() - from.parse::<i64>().unwrap() + 1
        })
        .sum();
    assert_eq!(covered, 16384);
    let slots = cluster.connect(0).done("CLUSTER SLOTS");
    assert_eq!(slots.items()[0].items()[2].items()[3].to_string(), "[\"hostname\", \"dynamis.example\"]");
    let mut connection = cluster.connect(0);
    connection.ask(&["HELLO", "3"]);
    let shards = connection.done("CLUSTER SHARDS");
    let mut led = 0;
    for shard in shards.items() {
        let nodes = shard.field("nodes").items();
        let roles: Vec<String> = nodes.iter().map(|node| node.field("role").text()).collect();
        assert_eq!(roles, ["master", "replica", "replica"]);
        assert!(nodes.iter().all(|node| node.field("hostname").text() == "dynamis.example"));
        led += shard.field("slots").items().chunks(2).map(|run| run[1].integer() - run[0].integer() + 1).sum::<i64>();
    }
    assert_eq!(led, 16384);
}

/// On the cluster view a key is served by every owner and MOVED by everybody else, to its master; `port` never moves anything.
#[test]
fn who_does_not_own_a_key_says_who_does() {
    let cluster = Cluster::start(4, &[]);
    let (key, slot, owners) = key_with(&cluster, |owners| owners[0] == 2);
    let stranger = (0..4).find(|node| !owners.contains(node)).expect("one of four is no home");
    let moved = format!("-MOVED {slot} {}", cluster.nodes[2].view);
    let mut away = cluster.nodes[stranger].connect_view();
    for line in [
        format!("SET {key} v"),
        format!("GET {key}"),
        format!("DEL {key}"),
        format!("DYN.GET {key}"),
        format!("MGET {key} {{{key}}}2"),
        format!("DEL {key} {{{key}}}2"),
    ] {
        assert_eq!(away.run(&line).to_string(), moved, "{line}");
    }
    assert_eq!(away.run("GET").to_string(), "-ERR wrong number of arguments for 'get' command", "arity comes first");
    for owner in &owners {
        let mut connection = cluster.nodes[*owner].connect_view();
        assert_eq!(connection.run(&format!("SET {key} {owner}")).to_string(), "+OK");
        assert_eq!(connection.run(&format!("GET {key}")).to_string(), format!("\"{owner}\""));
    }
    assert_eq!(cluster.connect(stranger).run(&format!("SET {key} plain")).to_string(), "+OK", "port takes any key");
}

/// Redis Cluster's other refusals, and that `port` has none of them.
#[test]
fn one_slot_one_database() {
    let cluster = Cluster::single(&[]);
    let (mut view, mut plain) = (cluster.nodes[0].connect_view(), cluster.connect(0));
    let crossing = "-CROSSSLOT Keys in request don't hash to the same slot";
    for line in ["MGET a b", "DEL a b", "MSET a 1 b 2", "EXISTS a b", "UNLINK a a b"] {
        assert_eq!(view.run(line).to_string(), crossing, "{line}");
        assert!(!plain.run(line).is_error(), "{line}");
    }
    for (line, wanted) in [
        ("MSET {a}1 x {a}2 y", "+OK"),
        ("MGET {a}1 {a}2 {a}3", "[\"x\", \"y\", nil]"),
        ("DEL {a}1 {a}2", ":2"),
        ("SELECT 0", "+OK"),
        ("SELECT 1", "-ERR SELECT is not allowed in cluster mode"),
        ("SELECT 99", "-ERR SELECT is not allowed in cluster mode"),
        ("SELECT x", "-ERR value is not an integer or out of range"),
        ("SWAPDB 0 1", "-ERR SWAPDB is not allowed in cluster mode"),
        ("SWAPDB x 1", "-ERR SWAPDB is not allowed in cluster mode"),
        ("SWAPDB 0", "-ERR wrong number of arguments for 'swapdb' command"),
        ("MOVE a 1", "-ERR MOVE is not allowed in cluster mode"),
        ("READONLY", "+OK"),
        ("READWRITE", "+OK"),
        ("ASKING", "+OK"),
    ] {
        assert_eq!(view.run(line).to_string(), wanted, "{line}");
    }
    let inside = ["MULTI", "SWAPDB 0 1", "MOVE {a}1 1", "COPY {a}1 {a}2 DB 1", "SET {a}1 x"];
    assert!(inside.iter().all(|line| !view.run(line).is_error()), "queued like others");
    let refused = "[-ERR SWAPDB is not allowed in cluster mode, -ERR MOVE is not allowed in cluster mode, \
                   -ERR Copying to another database is not allowed in cluster mode, +OK]";
    assert_eq!(view.run("EXEC").to_string(), refused);
    assert_eq!(plain.run("SELECT 1").to_string(), "+OK");
    let mode =
        |connection: &mut Connection| (connection.done("HELLO").field("mode").text(), connection.done("INFO").text());
    let (hello, info) = mode(&mut view);
    assert!(hello == "cluster" && info.contains("redis_mode:cluster\r\n") && info.contains("cluster_enabled:1\r\n"));
    let (hello, info) = mode(&mut plain);
    assert!(
        hello == "standalone" && info.contains("redis_mode:standalone\r\n") && info.contains("cluster_enabled:1\r\n")
    );
}

/// A transaction is judged as Redis Cluster does: a command for another node spoils it while it is queued, and all keys must
/// lie in one slot when it is to run.
#[test]
fn a_transaction_is_about_one_slot_of_this_node() {
    let cluster = Cluster::start(4, &[]);
    let (key, slot, owners) = key_with(&cluster, |owners| owners[0] == 2);
    let (other, _, _) = key_with(&cluster, |homes| homes[0] != 2 && homes.contains(&2));
    let stranger = (0..4).find(|node| !owners.contains(node)).expect("one of four is no home");
    let says = |at: usize, script: &[(String, String)]| {
        let mut connection = cluster.nodes[at].connect_view();
        for (line, wanted) in script {
            assert_eq!(connection.run(line).to_string(), *wanted, "{line}");
        }
    };
    let step = |line: &str, wanted: &str| (line.to_owned(), wanted.to_owned());
    let spoilt = "-EXECABORT Transaction discarded because of previous errors.";
    let moved = format!("-MOVED {slot} {}", cluster.nodes[2].view);
    says(stranger, &[step("MULTI", "+OK"), step(&format!("SET {key} v"), &moved), step("EXEC", spoilt)]);
    let queued = |line: &str| step(line, "+QUEUED");
    let (set, get) = (queued(&format!("SET {key} v")), queued(&format!("GET {key}")));
    says(2, &[step("MULTI", "+OK"), set.clone(), get, step("EXEC", "[+OK, \"v\"]")]);
    let crossing = "-CROSSSLOT Keys in request don't hash to the same slot";
    let elsewhere = queued(&format!("SET {other} w"));
    says(2, &[step("MULTI", "+OK"), set, elsewhere, step("EXEC", crossing), step("EXEC", "-ERR EXEC without MULTI")]);
    assert_eq!(cluster.connect(0).run(&format!("GET {other}")).to_string(), "nil", "nothing of it ran");
}

/// FLUSHALL on the cluster view is about the one database there is; one of the masters is enough.
#[test]
fn flushall_on_the_view_empties_database_0() {
    let cluster = Cluster::start(3, &[]);
    let mut plain = cluster.connect(0);
    plain.done("SELECT 3");
    plain.done("SET kept yes");
    plain.done("SELECT 0");
    (0..50).for_each(|at| drop(plain.done(&format!("SET gone:{at} v"))));
    assert_eq!(cluster.nodes[1].connect_view().run("FLUSHALL").to_string(), "+OK");
    assert_eq!(plain.run("DBSIZE").integer(), 0);
    plain.done("SELECT 3");
    assert_eq!(plain.run("GET kept").text(), "yes");
}

/// CLUSTER's other subcommands.
#[test]
fn cluster_subcommands_answer() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.nodes[0].connect_view();
    let slot = connection.done("CLUSTER KEYSLOT {s}").integer();
    let mut plain = cluster.connect(0);
    ["{s}1", "{s}2", "{s}3"].iter().for_each(|key| drop(plain.done(&format!("SET {key} v"))));
    plain.done("DEL {s}3");
    for at in 0..3 {
        // W of the three have it at once, the third a moment later.
        wait::until("the copies are everywhere", VIEW_SECONDS, || {
            let keys = cluster.connect(at).done(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
            let mut keys: Vec<String> = keys.items().iter().map(Value::text).collect();
            keys.sort();
            keys == ["{s}1", "{s}2"]
        });
        assert_eq!(cluster.connect(at).done(&format!("CLUSTER COUNTKEYSINSLOT {slot}")).integer(), 2);
        assert_eq!(cluster.connect(at).done(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).items().len(), 1);
    }
    let other = cluster.connect(1).done("CLUSTER MYID").text();
    let links = wait::found("each node's link and ours are up", VIEW_SECONDS, || {
        let links = connection.done("CLUSTER LINKS");
        (links.items().len() == 4).then_some(links)
    });
    for direction in ["to", "from"] {
        let is_the_other = |link: &&Value| link.field("node").text() == other;
        let found =
            links.items().iter().filter(is_the_other).filter(|link| link.field("direction").text() == direction);
        assert_eq!(found.count(), 1, "one link {direction} {other}: {links}");
    }
    assert!(links.items().iter().all(|link| link.field("create-time").integer() > 1_700_000_000_000), "{links}");
    for (line, wanted) in [
        (format!("CLUSTER REPLICAS {other}"), "[]"),
        (format!("CLUSTER SLAVES {other}"), "[]"),
        (format!("CLUSTER COUNT-FAILURE-REPORTS {other}"), ":0"),
        ("CLUSTER REPLICAS x".to_owned(), "-ERR Unknown node x"),
        ("CLUSTER COUNT-FAILURE-REPORTS x".to_owned(), "-ERR Unknown node x"),
        ("CLUSTER COUNTKEYSINSLOT 16384".to_owned(), "-ERR Invalid slot"),
        ("CLUSTER COUNTKEYSINSLOT x".to_owned(), "-ERR value is not an integer or out of range"),
        ("CLUSTER GETKEYSINSLOT 1 -1".to_owned(), "-ERR Invalid slot or number of keys"),
        ("CLUSTER SAVECONFIG".to_owned(), "+OK"),
    ] {
        assert_eq!(connection.run(&line).to_string(), wanted, "{line}");
    }
    for line in ["MEET 127.0.0.1 1", "FORGET x", "ADDSLOTS 1", "SETSLOT 1 STABLE", "RESET", "BUMPEPOCH", "FAILOVER"] {
        let refused = connection.run(&format!("CLUSTER {line}"));
        assert!(refused.error().starts_with("ERR ") && refused.error().contains("nothing was changed"), "{refused}");
    }
    assert!(connection.done("CLUSTER INFO").text().starts_with("cluster_state:ok\r\n"));
}

/// With `cluster-view-port 0` nobody listens there, and CLUSTER announces `port`; `cluster-announce-port` announces another.
#[test]
fn the_view_can_be_off_or_elsewhere() {
    let off = Cluster::single(&[("cluster-view-port", "0")]);
    let port = |cluster: &Cluster| cluster.connect(0).done("CLUSTER SLOTS").items()[0].items()[2].items()[1].integer();
    assert_eq!(port(&off), i64::from(off.nodes[0].address.port()));
    assert!(Connection::open(off.nodes[0].view).is_err(), "nobody listens there");
    let elsewhere = Cluster::single(&[("cluster-announce-port", "1234"), ("cluster-announce-bus-port", "2345")]);
    assert_eq!(port(&elsewhere), 1234);
    assert!(elsewhere.connect(0).done("CLUSTER NODES").text().contains("127.0.0.1:1234@2345 "));
}

/// What a node is told to announce while it runs, all nodes list within a moment; another member's place is refused; a wrong
/// address makes a member nobody can reach, until it is set right; CONFIG REWRITE keeps it.
#[test]
fn what_a_node_announces_changes_while_it_runs() {
    let mut cluster = Cluster::start(3, &[("bind", "127.0.0.1 127.0.0.2")]);
    let file = cluster.nodes[1].dir.with_extension("toml");
    std::fs::write(&file, "timeout = 0\n").unwrap();
    cluster.nodes[1].sigterm();
    cluster.nodes[1].file = Some(file.clone());
    cluster.start_all();
    let id = cluster.connect(1).done("CLUSTER MYID").text();
    let (view, bus) = (cluster.nodes[1].view.port(), cluster.nodes[1].bus.port());
    let line = |at: usize| {
        let nodes = cluster.connect(at).done("CLUSTER NODES").text();
        nodes.lines().find(|line| line.starts_with(&id)).expect("it is listed").to_owned()
    };
    let set = |pairs: &str| cluster.connect(1).done(&format!("CONFIG SET {pairs}"));
    let all_list = |place: &str| {
        let place = format!("{id} {place} ");
        wait::until(&format!("all list {place}in service"), VIEW_SECONDS, || {
            (0..3).map(line).all(|line| line.starts_with(&place) && line.contains("master - "))
        });
    };
    set("cluster-announce-hostname one.example cluster-announce-port 1234");
    assert!(line(1).starts_with(&format!("{id} 127.0.0.1:1234@{bus},one.example myself,")), "{}", line(1));
    all_list(&format!("127.0.0.1:1234@{bus},one.example"));
    for at in 0..3 {
        let slots = cluster.connect(at).done("CLUSTER SLOTS").to_string();
        assert!(slots.contains("1234") && slots.contains("[\"hostname\", \"one.example\"]"), "{slots}");
        let shards = cluster.connect(at).done("CLUSTER SHARDS").to_string();
        assert!(shards.contains("1234") && shards.contains("one.example"), "{shards}");
    }
    cluster.connect(0).done("SET k v");
    set("cluster-announce-ip 127.0.0.2 cluster-announce-hostname \"\" cluster-announce-port 0");
    all_list(&format!("127.0.0.2:{view}@{bus}"));
    cluster.connect(1).done("CONFIG REWRITE");
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("cluster-announce-ip = \"127.0.0.2\"\n"), "{written}");
    let taken = cluster.nodes[0].bus.port();
    let pairs = format!("timeout 9 cluster-announce-ip 127.0.0.1 cluster-announce-bus-port {taken}");
    let refused = cluster.connect(1).run(&format!("CONFIG SET {pairs}"));
    let failed = "ERR CONFIG SET failed (possibly related to argument 'cluster-announce-ip') - ";
    assert!(refused.error().starts_with(failed) && refused.error().contains("nothing changed"), "{refused}");
    assert_eq!(cluster.connect(1).run("CONFIG GET timeout").to_string(), "[\"timeout\", \"0\"]");
    set("cluster-announce-ip 127.0.0.9");
    wait::until("nobody is there", VIEW_SECONDS, || [0, 2].iter().all(|at| line(*at).contains("master,fail - ")));
    set("cluster-announce-ip 127.0.0.2");
    all_list(&format!("127.0.0.2:{view}@{bus}"));
    assert_eq!(cluster.connect(1).run("GET k").text(), "v");
    cluster.nodes[1].sigterm();
    cluster.nodes[1].restart();
    let nodes = cluster.connect(0).done("CLUSTER NODES").text();
    assert!(nodes.contains(&format!("{id} 127.0.0.2:{view}@{bus} ")), "the next start announces the same: {nodes}");
}

/// Too few replicas, so nothing was changed: `NOREPLICAS` on port, `CLUSTERDOWN` on the view, which its clients repeat. What
/// may have been applied is `NOQUORUM` on both.
#[test]
fn failures_say_on_each_face_whether_to_repeat() {
    let mut cluster = Cluster::start(3, &[("sloppy", "no"), ("request-timeout-ms", "300")]);
    cluster.connect(0).done("SET k v");
    cluster.nodes[1].freeze();
    cluster.nodes[2].freeze();
    // Nobody knows yet that they do not answer: the write is sent.
    let (mut plain, mut view) = (cluster.connect(0), cluster.nodes[0].connect_view());
    for connection in [&mut plain, &mut view] {
        let unsure = connection.run("SET k w");
        assert!(unsure.error().starts_with("NOQUORUM "), "{unsure}");
    }
    [1, 2].iter().for_each(|node| cluster.nodes[*node].kill9());
    cluster.wait_until_reachable(0, &[0]);
    let refused = plain.run("SET k x");
    assert!(refused.error().starts_with("NOREPLICAS Not enough good replicas to write."), "{refused}");
    let refused = view.run("SET k x");
    assert!(refused.error().starts_with("CLUSTERDOWN Not enough good replicas to write."), "{refused}");
    assert!(refused.error().contains("nothing was changed"), "{refused}");
    assert!(view.run("GET k").error().starts_with("CLUSTERDOWN "));
    assert!(view.done("CLUSTER INFO").text().contains("cluster_state:ok\r\n"), "it coordinates what it can");
}
