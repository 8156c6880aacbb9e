//! Expiry converges: an absolute moment inside the value, the same on every node, set anew by the newest word
//! (§2 of the design; commands about it answer as Redis's do, see `commands`).

use crate::harness::cluster::Cluster;
use crate::harness::resp::Connection;
use crate::harness::wait;
use std::time::{SystemTime, UNIX_EPOCH};

/// How soon nodes that were cut apart agree again.
const SOON_SECONDS: u64 = 15;
/// How much later than it should a value may be found gone, in milliseconds: this is a busy machine.
const LATE_MS: i64 = 1_000;
const ALL: [usize; 3] = [0, 1, 2];

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_millis() as i64
}

/// Lets the wall clock go on, so that what comes next is stamped later on any node.
fn later() {
    let until = now_ms() + 20;
    wait::until("the clock goes on", 5, || now_ms() > until);
}

/// A connection whose reads and writes concern its node alone.
fn lone(cluster: &Cluster, at: usize) -> Connection {
    let mut connection = cluster.connect(at);
    connection.done("DYN.QUORUM R 1 W 1");
    connection
}

/// What each node itself holds of a key: its values, and when the shown one expires (-1: never, -2: nothing is shown).
fn held(cluster: &Cluster, key: &str) -> Vec<(Vec<String>, i64)> {
    let at_node = |at: usize| {
        let mut connection = lone(cluster, at);
        let reply = connection.done(&format!("DYN.GET {key} LOCAL"));
        let values = reply.items()[1].items().iter().map(|value| value.text()).collect();
        (values, connection.done(&format!("PEXPIRETIME {key}")).integer())
    };
    ALL.into_iter().map(at_node).collect()
}

fn wait_until_held(cluster: &Cluster, key: &str, value: &str, expires: impl Fn(i64) -> bool) -> i64 {
    let mut last = Vec::new();
    wait::found(&format!("{key} is {value} on every node"), SOON_SECONDS, || {
        last = held(cluster, key);
        let right = last.iter().all(|(values, at)| values == &[value] && *at == last[0].1 && expires(*at));
        right.then(|| last[0].1)
    })
}

/// Three nodes, the last of them cut off; a key that all hold is changed on either side, one after the other; then they
/// meet again. None where the system forbids cutting.
fn changed_apart(keys: &[(&str, [&str; 2])]) -> Option<Cluster> {
    let cluster = Cluster::start_apart(3, &[])?;
    for (key, _) in keys {
        cluster.connect(0).done(&format!("DYN.SET {key} base PXAT 4000000000000 W 3"));
    }
    let network = cluster.network.as_ref().expect("it can be cut");
    network.cut(&[2], &[0, 1]);
    cluster.wait_until_reachable(0, &[0, 1]);
    cluster.wait_until_reachable(2, &[2]);
    for (at, turn) in [(0, 0), (2, 1)] {
        later();
        keys.iter().for_each(|(key, changes)| drop(lone(&cluster, at).done(&changes[turn].replace("KEY", key))));
    }
    network.heal(&[2], &[0, 1]);
    ALL.iter().for_each(|at| cluster.wait_until_reachable(*at, &ALL));
    Some(cluster)
}

/// A value expires at one moment, the same on every node, also on one that got its copy later; none shows it after, none
/// hides it before, by quorum or alone, and none counts it.
#[test]
fn a_value_expires_at_the_same_moment_on_every_node() {
    let mut cluster = Cluster::start(3, &[]);
    cluster.nodes[2].kill9();
    (0..2).for_each(|at| cluster.wait_until_reachable(at, &[0, 1]));
    // Time enough for the third to come back, and for it to be looked at there.
    let at = now_ms() + 10_000;
    cluster.connect(0).done(&format!("SET k short PXAT {at}"));
    cluster.connect(1).done("SET stays here");
    cluster.nodes[2].restart();
    ALL.iter().for_each(|node| cluster.wait_until_reachable(*node, &ALL));
    assert_eq!(wait_until_held(&cluster, "k", "short", |_| true), at, "transfer extends nothing");
    let mut gone = [0; 3];
    wait::until("it is gone everywhere", SOON_SECONDS, || {
        for node in ALL.iter().filter(|node| gone[**node] == 0).copied().collect::<Vec<_>>() {
            let asked = now_ms();
            let mut connection = lone(&cluster, node);
            let local = connection.done("DYN.GET k LOCAL").items()[1].items().is_empty();
            let absent = connection.done("GET k").to_string() == "nil";
            let answered = now_ms();
            assert!(!(local || absent) || answered >= at, "node {node} hides it {} ms too soon", at - answered);
            assert!(local || absent || asked <= at + LATE_MS, "node {node} still shows it {} ms later", asked - at);
            gone[node] = if local && absent { answered } else { 0 };
        }
        gone.iter().all(|gone| *gone > 0)
    });
    for node in ALL {
        let mut connection = cluster.connect(node);
        assert_eq!(connection.done("PEXPIRETIME k").to_string(), ":-2");
        assert_eq!(connection.done("EXISTS k stays").to_string(), ":1");
        assert_eq!(connection.done("DBSIZE").to_string(), ":1");
        assert_eq!(connection.done("DYN.GET k R 3").items()[1].items().len(), 0);
    }
}

/// Whichever of two words about one value came later holds on every node, a shorter life as well as a longer, and PERSIST
/// as well as EXPIRE; and neither makes a second value.
#[test]
fn of_expire_and_persist_on_two_sides_of_a_cut_the_later_holds_everywhere() {
    let keys = [
        ("persisted", ["PEXPIREAT KEY 4100000000000", "PERSIST KEY"]),
        ("expiring", ["PERSIST KEY", "PEXPIREAT KEY 4100000000001"]),
        ("shortened", ["PEXPIREAT KEY 4200000000000", "PEXPIREAT KEY 3900000000000"]),
        ("prolonged", ["PEXPIREAT KEY 3900000000000", "PEXPIREAT KEY 4200000000000"]),
        ("again", ["GETEX KEY PXAT 3900000000000", "GETEX KEY PXAT 4300000000000"]),
    ];
    let Some(cluster) = changed_apart(&keys) else { return };
    let ends = [-1, 4_100_000_000_001, 3_900_000_000_000, 4_200_000_000_000, 4_300_000_000_000];
    for ((key, _), end) in keys.iter().zip(ends) {
        wait_until_held(&cluster, key, "base", |at| at == end);
        assert_eq!(cluster.connect(1).done(&format!("PEXPIRETIME {key}")).integer(), end, "{key} by quorum");
    }
}

/// An expiry belongs to its value: a value written on the other side of a cut, before or after, takes the old one's place
/// with its own expiry or none, and a delete takes both.
#[test]
fn an_expiry_set_on_the_other_side_of_a_cut_does_not_concern_a_new_value() {
    let keys = [
        ("expire-then-set", ["PEXPIREAT KEY 3900000000000", "SET KEY new"]),
        ("set-then-expire", ["SET KEY new", "PEXPIREAT KEY 3900000000000"]),
        ("persist-beside", ["SET KEY new PXAT 4400000000000", "PERSIST KEY"]),
        ("kept", ["PEXPIREAT KEY 3900000000000", "SET KEY new KEEPTTL"]),
        ("past", ["PEXPIREAT KEY 1", "SET KEY new"]),
    ];
    let deleted = ("deleted", ["DEL KEY", "PEXPIREAT KEY 4500000000000"]);
    let all: Vec<_> = keys.iter().copied().chain([deleted]).collect();
    let Some(cluster) = changed_apart(&all) else { return };
    let ends = [-1, -1, 4_400_000_000_000, 4_000_000_000_000, -1];
    for ((key, _), end) in keys.iter().zip(ends) {
        wait_until_held(&cluster, key, "new", |at| at == end);
    }
    wait::until("the deleted one is gone on every node", SOON_SECONDS, || {
        held(&cluster, "deleted").iter().all(|(values, at)| values.is_empty() && *at == -2)
    });
}
