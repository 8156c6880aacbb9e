//! FLUSHDB and FLUSHALL: gone everywhere at once, whoever was away, and nothing comes back.

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::permits::alone;
use crate::harness::wait;
use std::time::{Duration, Instant};

/// How soon bytes are swept away, and how soon a returned node knows what was flushed.
const SOON_SECONDS: u64 = 15;
/// A flush takes no longer, whoever hangs.
const FLUSH_MAX: Duration = Duration::from_secs(6);

fn dbsize(node: &Node, database: u8) -> i64 {
    let mut connection = node.connect();
    connection.done(&format!("SELECT {database}"));
    connection.done("DBSIZE").integer()
}

/// The values a node itself holds of a key of database 0.
fn local(node: &Node, key: &str) -> Vec<String> {
    let reply = node.connect().done(&format!("DYN.GET {key} LOCAL"));
    reply.items()[1].items().iter().map(|value| value.text()).collect()
}

/// How many keys of a database lie in a node's records, those not swept yet included.
fn recorded(node: &Node, database: u8) -> usize {
    let keyspace = node.connect().done("INFO keyspace").text();
    let line = keyspace.lines().find_map(|line| line.strip_prefix(&format!("db{database}:keys=")).map(str::to_owned));
    line.map_or(0, |line| line.split(',').next().and_then(|keys| keys.parse().ok()).expect("a number"))
}

fn info(node: &Node, name: &str) -> usize {
    let info = node.connect().done("INFO dynamo").text();
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")).map(str::to_owned));
    line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
}

fn write(cluster: &Cluster, at: &[usize], prefix: &str, keys: usize) {
    let mut connections: Vec<_> = at.iter().map(|at| cluster.connect(*at)).collect();
    let count = connections.len();
    for key in 0..keys {
        connections[key % count].done(&format!("SET {prefix}:{key} {prefix}"));
    }
}

/// Waits until every home of every key written by [`write`] holds it.
fn wait_until_whole(cluster: &Cluster, at: &[usize], prefix: &str, keys: usize) {
    for key in (0..keys).map(|key| format!("{prefix}:{key}")) {
        wait::until(&format!("{key} is on all nodes"), SOON_SECONDS, || {
            at.iter().all(|at| local(&cluster.nodes[*at], &key) == [prefix])
        });
    }
}

fn none_of(cluster: &Cluster, at: &[usize], prefix: &str, keys: usize) {
    for key in (0..keys).map(|key| format!("{prefix}:{key}")) {
        for at in at {
            assert_eq!(local(&cluster.nodes[*at], &key), [""; 0], "{key} on node {at}");
        }
    }
}

/// After FLUSHALL every node holds nothing and counts nothing, at once, siblings and expiring keys included; what is
/// written from then on lives, through any node; and comparing copies brings nothing back.
#[test]
fn flushall_empties_every_node_at_once_and_what_comes_after_lives() {
    let cluster = Cluster::start(3, &[("exchange-interval-ms", "200")]);
    write(&cluster, &[0, 1, 2], "old", 300);
    let mut connection = cluster.connect(1);
    connection.done("SET expiring soon PX 600000");
    (0..3).for_each(|at| drop(cluster.connect(at).done(&format!("DYN.SET siblings of-{at}"))));
    connection.done("SELECT 9");
    connection.done("SET elsewhere too");
    assert_eq!(connection.run("FLUSHALL").to_string(), "+OK");
    for node in &cluster.nodes {
        assert_eq!((dbsize(node, 0), dbsize(node, 9)), (0, 0));
        assert_eq!(node.connect().run("EXISTS old:1 expiring siblings").to_string(), ":0");
    }
    none_of(&cluster, &[0, 1, 2], "old", 300);
    none_of(&cluster, &[0, 1, 2], "new", 30);
    write(&cluster, &[0, 1, 2], "new", 30);
    write(&cluster, &[2, 0], "old", 5);
    for node in &cluster.nodes {
        assert_eq!(dbsize(node, 0), 35);
        wait::until("only what lives is recorded", SOON_SECONDS, || recorded(node, 0) == 35 && recorded(node, 9) == 0);
    }
    // Of each two nodes one begins.
    let exchanges = || cluster.nodes.iter().map(|node| info(node, "exchanges")).sum::<usize>();
    let before = exchanges();
    wait::until("copies were compared", SOON_SECONDS, || exchanges() > before + 6);
    for node in &cluster.nodes {
        assert_eq!((dbsize(node, 0), recorded(node, 0)), (35, 35));
        assert_eq!(node.connect().done("MGET new:7 old:4 old:5").to_string(), "[\"new\", \"old\", nil]");
    }
}

/// FLUSHDB empties the session's database and no other; with SYNC this node's bytes are gone when it answers. Expiries set
/// on what was flushed do not concern what is written under the same key later.
#[test]
fn flushdb_empties_one_database() {
    let cluster = Cluster::start(3, &[]);
    write(&cluster, &[0, 1, 2], "zero", 40);
    let mut connection = cluster.connect(2);
    connection.done("SELECT 3");
    (0..40).for_each(|key| drop(connection.done(&format!("SET zero:{key} three PX 500000"))));
    assert_eq!(connection.run("FLUSHDB SYNC").to_string(), "+OK");
    assert_eq!(recorded(&cluster.nodes[2], 3), 0, "the bytes are gone");
    for node in &cluster.nodes {
        assert_eq!((dbsize(node, 0), dbsize(node, 3)), (40, 0));
    }
    connection.done("SET zero:1 again");
    assert_eq!(connection.done("TTL zero:1").to_string(), ":-1");
    connection.done("SELECT 0");
    assert_eq!(connection.done("FLUSHDB ASYNC").to_string(), "+OK");
    cluster.nodes.iter().for_each(|node| assert_eq!((dbsize(node, 0), dbsize(node, 3)), (0, 1)));
}

/// Commands of one connection take effect in order, in one buffer too.
#[test]
fn a_flush_among_other_commands_flushes_what_came_before_it() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    for _ in 0..20 {
        let lines = ["SET a 1", "SET b 2", "FLUSHALL", "SET b 3", "MGET a b", "DBSIZE"];
        lines.iter().for_each(|line| connection.send(&line.split(' ').collect::<Vec<_>>()).expect("it is sent"));
        let replies: Vec<String> = lines.iter().map(|_| connection.receive().expect("a reply").to_string()).collect();
        assert_eq!(replies, ["+OK", "+OK", "+OK", "+OK", "[nil, \"3\"]", ":1"]);
    }
}

/// A node that was killed during the flush and returns with everything on its disk shows none of it, from its first reply
/// on; also one that is killed after the flush, before its bytes were swept away.
#[test]
fn a_node_that_was_dead_or_dies_brings_nothing_back() {
    let mut cluster = Cluster::start(3, &[]);
    write(&cluster, &[0, 1, 2], "old", 200);
    wait_until_whole(&cluster, &[0, 1, 2], "old", 200);
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    assert_eq!(cluster.connect(0).run("FLUSHALL").to_string(), "+OK");
    cluster.nodes[1].kill9();
    cluster.nodes[1].restart();
    assert_eq!(dbsize(&cluster.nodes[1], 0), 0);
    none_of(&cluster, &[1], "old", 200);
    cluster.nodes[2].restart();
    assert_eq!(dbsize(&cluster.nodes[2], 0), 0, "learned before the first client came in");
    none_of(&cluster, &[2], "old", 200);
    for at in 0..3 {
        cluster.wait_until_reachable(at, &[0, 1, 2]);
        wait::until("the bytes are gone", SOON_SECONDS, || recorded(&cluster.nodes[at], 0) == 0);
        assert_eq!(dbsize(&cluster.nodes[at], 0), 0);
    }
    // A clean stop and start finds nothing either, and what was seen of others still counts.
    write(&cluster, &[2], "young", 20);
    wait_until_whole(&cluster, &[0, 1, 2], "young", 20);
    cluster.nodes[1].sigterm();
    cluster.nodes[1].restart();
    cluster.nodes[2].kill9();
    cluster.nodes[0].kill9();
    cluster.wait_until_reachable(1, &[1]);
    assert_eq!(cluster.connect(1).run("FLUSHALL").to_string(), "+OK", "alone, it speaks for those it has seen");
    cluster.nodes[0].restart();
    cluster.nodes[2].restart();
    none_of(&cluster, &[0, 1, 2], "young", 20);
}

/// A node that is cut off during the flush: what others have of its writes is dead, on it, too, when it is back; what it
/// took alone lives and reaches everyone. Written over again it lives as well.
#[test]
fn what_only_a_cut_off_node_has_survives_and_nothing_else() {
    let Some(cluster) = Cluster::start_apart(3, &[("r", "1"), ("w", "1")]) else { return };
    write(&cluster, &[2], "shared", 50);
    wait_until_whole(&cluster, &[0, 1, 2], "shared", 50);
    let network = cluster.network.as_ref().expect("it can be cut");
    network.cut(&[2], &[0, 1]);
    cluster.wait_until_reachable(0, &[0, 1]);
    cluster.wait_until_reachable(1, &[0, 1]);
    cluster.wait_until_reachable(2, &[2]);
    write(&cluster, &[2], "alone", 20);
    cluster.connect(2).done("SET shared:7 anew");
    write(&cluster, &[0, 1], "other", 20);
    assert_eq!(cluster.connect(1).run("FLUSHALL").to_string(), "+OK");
    assert_eq!((dbsize(&cluster.nodes[0], 0), dbsize(&cluster.nodes[1], 0)), (0, 0));
    write(&cluster, &[0], "after", 10);
    assert_eq!(local(&cluster.nodes[2], "shared:1"), ["shared"], "it cannot know yet");
    network.heal(&[2], &[0, 1]);
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    wait_until_whole(&cluster, &[0, 1, 2], "alone", 20);
    wait_until_whole(&cluster, &[0, 1, 2], "after", 10);
    for at in 0..3 {
        let node = &cluster.nodes[at];
        wait::until("what was written anew is everywhere", SOON_SECONDS, || local(node, "shared:7") == ["anew"]);
        wait::until("nothing else lives", SOON_SECONDS, || dbsize(node, 0) == 31 && recorded(node, 0) == 31);
        assert_eq!(node.connect().done("EXISTS shared:1 shared:8 other:0").to_string(), ":0");
    }
}

/// Copies kept for a home that was away, on a node that is away itself when the flush comes: they are delivered dead.
#[test]
fn hints_of_what_was_flushed_bring_nothing_back() {
    let mut cluster = Cluster::start(4, &[]);
    cluster.nodes[3].kill9();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    write(&cluster, &[0, 1, 2], "old", 200);
    let holder = (0..3).max_by_key(|at| info(&cluster.nodes[*at], "hints_pending")).expect("three nodes");
    assert!(info(&cluster.nodes[holder], "hints_pending") > 0);
    cluster.nodes[holder].kill9();
    cluster.nodes[3].restart();
    let asked = (holder + 1) % 3;
    let up: Vec<usize> = (0..4).filter(|at| *at != holder).collect();
    up.iter().for_each(|at| cluster.wait_until_reachable(*at, &up));
    assert_eq!(cluster.connect(asked).run("FLUSHALL").to_string(), "+OK");
    cluster.nodes[holder].restart();
    let all = [0, 1, 2, 3];
    all.iter().for_each(|at| cluster.wait_until_reachable(*at, &all));
    wait::until("nothing is kept for anyone", SOON_SECONDS, || {
        all.iter().all(|at| info(&cluster.nodes[*at], "hints_pending") == 0)
    });
    none_of(&cluster, &all, "old", 200);
    all.iter().for_each(|at| assert_eq!(dbsize(&cluster.nodes[*at], 0), 0));
}

/// A node that hangs does not hold up a flush for long: it counts as away, and knows as soon as it goes on.
#[test]
fn a_node_that_hangs_learns_of_the_flush_when_it_goes_on() {
    let _alone = alone();
    let cluster = Cluster::start(3, &[]);
    write(&cluster, &[0, 1, 2], "old", 100);
    wait_until_whole(&cluster, &[0, 1, 2], "old", 100);
    cluster.nodes[2].freeze();
    let begun = Instant::now();
    let flushed = cluster.connect(0).run("FLUSHALL");
    assert!(begun.elapsed() < FLUSH_MAX, "{:?}", begun.elapsed());
    assert_eq!(flushed.to_string(), "+OK");
    // Before, it may ask the one that hangs to count.
    (0..2).for_each(|at| cluster.wait_until_reachable(at, &[0, 1]));
    assert_eq!((dbsize(&cluster.nodes[0], 0), dbsize(&cluster.nodes[1], 0)), (0, 0));
    cluster.nodes[2].thaw();
    // Through the others it is not seen for a moment, whatever it still believes.
    (0..100).for_each(|key| assert_eq!(cluster.connect(0).run(&format!("GET old:{key}")).to_string(), "nil"));
    wait::until("it knows", SOON_SECONDS, || local(&cluster.nodes[2], "old:0").is_empty());
    none_of(&cluster, &[0, 1, 2], "old", 100);
    wait::until("it counts nothing", SOON_SECONDS, || dbsize(&cluster.nodes[2], 0) == 0);
}

/// A node that can be reached and cannot save the flush: the error says that it is done here and will spread, and it does.
/// Meanwhile what it answers to others is read without what was flushed.
#[test]
fn a_node_that_cannot_save_the_flush_is_named() {
    let cluster = Cluster::start(3, &[("exchange-interval-ms", "600000")]);
    cluster.set_policy(0, 5, "N 1 R 1 W 1");
    cluster.set_policy(0, 6, "N 2 R 2 W 1");
    let shared =
        (0..).map(|at| format!("shared:{at}")).find(|key| cluster.homes(0, 6, key) == [2, 0]).expect("some key");
    // Written while it had one home, so that the other has no copy which has seen this one.
    cluster.set_policy(0, 6, "N 1 R 1 W 1");
    let mut sixth = cluster.connect(0);
    sixth.done("SELECT 6");
    sixth.done(&format!("SET {shared} old"));
    cluster.set_policy(0, 6, "N 2 R 2 W 1");
    let lonely = (0..).map(|at| format!("lonely:{at}")).find(|key| cluster.homes(0, 5, key) == [2]).expect("some key");
    let mut connection = cluster.connect(0);
    connection.done("SELECT 5");
    connection.done(&format!("SET {lonely} old"));
    write(&cluster, &[0, 1, 2], "old", 20);
    wait_until_whole(&cluster, &[0, 1, 2], "old", 20);
    cluster.nodes[2].unable_to_save_members(|| {
        let there = cluster.connect(0).run("FLUSHALL");
        assert!(
            there.error().starts_with("NOQUORUM the flush is not complete: it is set and saved on this node"),
            "{there}"
        );
        assert!(there.error().contains("could not be saved"), "{there}");
        assert_eq!(cluster.connect(0).done("EXISTS old:1").to_string(), ":0");
        assert_eq!(local(&cluster.nodes[2], "old:1"), ["old"], "it has not changed");
        assert_eq!(connection.done(&format!("GET {lonely}")).to_string(), "nil", "only that node has it");
        assert_eq!(sixth.done(&format!("GET {shared}")).to_string(), "nil", "of two, only that node has it");
        let here = cluster.connect(2).run("FLUSHALL");
        assert!(
            here.error().starts_with("ERR nothing was flushed: ") && here.error().contains("nothing changed"),
            "{here}"
        );
    });
    wait::until("it spreads by itself", SOON_SECONDS, || local(&cluster.nodes[2], "old:1").is_empty());
    assert_eq!(cluster.connect(2).run("FLUSHALL").to_string(), "+OK");
}

/// Two at once, on different nodes, while others write: both answer OK, all nodes agree, and what was written after both
/// is there.
#[test]
fn flushes_at_once_and_among_writes_leave_every_node_alike() {
    let cluster = Cluster::start(3, &[("exchange-interval-ms", "200")]);
    write(&cluster, &[0, 1, 2], "old", 50);
    std::thread::scope(|scope| {
        for at in 0..3 {
            let node = &cluster.nodes[at];
            scope.spawn(move || {
                let mut connection = node.connect();
                (0..300).for_each(|turn| drop(connection.done(&format!("SET busy:{at}:{} {turn}", turn % 40))));
            });
        }
        for at in 0..2 {
            let node = &cluster.nodes[at];
            scope.spawn(move || (0..5).for_each(|_| assert_eq!(node.connect().run("FLUSHALL").to_string(), "+OK")));
        }
    });
    write(&cluster, &[0, 1, 2], "last", 20);
    wait_until_whole(&cluster, &[0, 1, 2], "last", 20);
    wait::until("all nodes record what lives, and the same", SOON_SECONDS, || {
        let alike: Vec<_> = cluster.nodes.iter().map(|node| (recorded(node, 0) as i64, dbsize(node, 0))).collect();
        alike.iter().all(|(recorded, counted)| *recorded == alike[0].0 && counted == recorded)
    });
    assert_eq!(cluster.connect(0).done("EXISTS old:1 old:2").to_string(), ":0");
    assert_eq!(cluster.connect(2).run("FLUSHALL").to_string(), "+OK");
    cluster.nodes.iter().for_each(|node| assert_eq!(dbsize(node, 0), 0));
}
