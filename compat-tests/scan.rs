//! SCAN, KEYS, RANDOMKEY and DBSIZE: the whole cluster from any node, and whoever is there from start to end is told, whatever
//! happens to nodes and to other keys meanwhile.

use crate::harness::clients::redis_cli;
use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

type Key = Vec<u8>;

/// What is told is looked at here, not how soon: many keys at once take their time on a busy machine.
const PATIENT: (&str, &str) = ("request-timeout-ms", "15000");

fn bytes(value: &Value) -> Key {
    match value {
        Value::Bulk(bytes) => bytes.clone(),
        other => panic!("a key was expected, not {other}"),
    }
}

/// One call: where to go on, and the keys.
fn scan_once(connection: &mut Connection, cursor: &str, options: &str) -> (String, Vec<Key>) {
    let reply = connection.done(&format!("SCAN {cursor} {options}"));
    (reply.items()[0].text(), reply.items()[1].items().iter().map(bytes).collect())
}

/// A whole scan; no key may come twice, for nothing is being written.
fn scan(connection: &mut Connection, options: &str) -> BTreeSet<Key> {
    let (mut cursor, mut told) = ("0".to_owned(), BTreeSet::new());
    loop {
        let (next, keys) = scan_once(connection, &cursor, options);
        keys.into_iter().for_each(|key| assert!(told.insert(key.clone()), "{} twice", key.escape_ascii()));
        if next == "0" {
            return told;
        }
        let number = |text: &str| text.parse::<i64>().expect("a cursor has room for a sign: phpredis 5 reads one");
        assert!(number(&next) > number(&cursor), "cursors go on");
        cursor = next;
    }
}

fn keys(connection: &mut Connection, pattern: &str) -> BTreeSet<Key> {
    let reply = connection.done(&format!("KEYS {pattern}"));
    let keys: BTreeSet<Key> = reply.items().iter().map(bytes).collect();
    assert_eq!(keys.len(), reply.items().len(), "no key twice");
    keys
}

fn dbsize(connection: &mut Connection) -> usize {
    connection.done("DBSIZE").integer() as usize
}

/// Sets all keys, many at a time, through a node.
fn set_all<'a>(connection: &mut Connection, keys: impl IntoIterator<Item = &'a Key>) {
    let keys: Vec<&Key> = keys.into_iter().collect();
    for some in keys.chunks(500) {
        let words = some.iter().flat_map(|key| [key.as_slice(), b"value"]);
        let words: Vec<&[u8]> = std::iter::once(&b"MSET"[..]).chain(words).collect();
        assert_eq!(connection.ask(&words).to_string(), "+OK");
    }
}

/// Keys of every kind: plain, many in one slot, and names of any bytes.
fn all_kinds() -> BTreeSet<Key> {
    let plain = (0..1500).map(|at| format!("plain:{at}").into_bytes());
    let tagged = (0..400).map(|at| format!("{{tag}}:{at}").into_bytes());
    let binary = (0..=255u8).map(|byte| vec![byte, b'\r', b'\n', byte]);
    plain.chain(tagged).chain(binary).chain([Vec::new(), vec![b'k'; 20_000]]).collect()
}

/// From every node, with any COUNT, and with a call at each node in turn: every key once, hash tags and binary names
/// included, and only those of the session's database.
#[test]
fn every_node_tells_every_key() {
    let cluster = Cluster::start(3, &[PATIENT]);
    let expected = all_kinds();
    set_all(&mut cluster.connect(0), &expected);
    for database in 1..16 {
        let mut connection = cluster.connect(database % 3);
        connection.done(&format!("SELECT {database}"));
        set_all(
            &mut connection,
            &(0..database).map(|at| format!("of:{database}:{at}").into_bytes()).collect::<Vec<_>>(),
        );
    }
    for at in 0..3 {
        let mut connection = cluster.connect(at);
        for options in ["", "COUNT 1", "COUNT 1000", "COUNT 1000000 TYPE string"] {
            assert!(scan(&mut connection, options) == expected, "SCAN {options} at node {at}");
        }
        assert!(keys(&mut connection, "*") == expected, "KEYS at node {at}");
        assert_eq!(dbsize(&mut connection), expected.len());
        assert_eq!(keys(&mut connection, "{tag}:1?").len(), 10);
        assert_eq!(scan(&mut connection, "MATCH plain:??? COUNT 50").len(), 900);
        for database in 1..16 {
            connection.done(&format!("SELECT {database}"));
            assert_eq!(scan(&mut connection, "").len(), database, "database {database} at node {at}");
            assert_eq!((keys(&mut connection, "of*").len(), dbsize(&mut connection)), (database, database));
        }
    }
    let mut nodes: Vec<Connection> = (0..3).map(|at| cluster.connect(at)).collect();
    let (mut cursor, mut told) = ("0".to_owned(), BTreeSet::new());
    for at in (0..3).cycle() {
        let (next, keys) = scan_once(&mut nodes[at], &cursor, "COUNT 30");
        keys.into_iter().for_each(|key| assert!(told.insert(key)));
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert!(told == expected, "one scan at three nodes");
}

/// These are the keys of the database, by SCAN, KEYS and DBSIZE.
fn assert_all_told(connection: &mut Connection, options: &str, expected: &BTreeSet<Key>, place: &str) {
    assert!(scan(connection, options) == *expected, "SCAN {place}");
    assert!(keys(connection, "*") == *expected, "KEYS {place}");
    assert_eq!(dbsize(connection), expected.len(), "DBSIZE {place}");
}

/// Fewer nodes than partitions' homes, and nodes that are no home of most keys.
#[test]
fn a_node_that_keeps_few_of_the_keys_tells_them_all() {
    let cluster = Cluster::start(5, &[("storage-engine", "memory"), PATIENT]);
    let expected: BTreeSet<Key> = (0..500).map(|at| format!("key:{at}").into_bytes()).collect();
    set_all(&mut cluster.connect(3), &expected);
    for policy in ["N 3 R 2 W 2", "N 1 R 1 W 1", "N 5 R 3 W 3 SLOPPY no"] {
        cluster.set_policy(0, 1, policy);
        let mut writer = cluster.connect(4);
        writer.done("SELECT 1");
        set_all(&mut writer, &expected);
        for at in 0..5 {
            let mut connection = cluster.connect(at);
            connection.done("SELECT 1");
            assert_all_told(&mut connection, "COUNT 40", &expected, &format!("{policy} at node {at}"));
        }
        writer.done("FLUSHDB SYNC");
    }
}

/// Keys that lie on one of two homes only are told and counted: absence covers nothing. (They were written while one copy
/// was kept; nothing compares copies meanwhile.)
#[test]
fn a_home_that_lacks_keys_does_not_hide_them() {
    let cluster = Cluster::start(3, &[("exchange-interval-ms", "3600000"), PATIENT]);
    cluster.set_policy(0, 0, "N 1 R 1 W 1");
    let expected: BTreeSet<Key> = (0..400).map(|at| format!("key:{at}").into_bytes()).collect();
    set_all(&mut cluster.connect(1), &expected);
    cluster.set_policy(0, 0, "N 2 R 2 W 2");
    for at in 0..3 {
        assert_all_told(&mut cluster.connect(at), "COUNT 25", &expected, &format!("at node {at}"));
    }
}

/// A node whose disk was wiped tells all keys from its first reply on, and hides none from the others.
#[test]
fn a_wiped_node_hides_nothing() {
    let mut cluster = Cluster::start(3, &[PATIENT]);
    let expected: BTreeSet<Key> = (0..2000).map(|at| format!("key:{at}").into_bytes()).collect();
    set_all(&mut cluster.connect(0), &expected);
    cluster.nodes[2].kill9();
    std::fs::remove_dir_all(cluster.nodes[2].dir.join("objects")).expect("the engine's folder can be removed");
    cluster.nodes[2].restart();
    cluster.wait_until_reachable(2, &[0, 1, 2]);
    for at in [2, 0, 1] {
        assert_all_told(&mut cluster.connect(at), "COUNT 100", &expected, &format!("at node {at}"));
    }
}

/// What was deleted, overwritten with an expiry that has passed, or flushed while a node was down is not told by it when it
/// returns with the old copies.
#[test]
fn a_node_that_returns_with_old_copies_does_not_tell_them() {
    let mut cluster = Cluster::start(3, &[PATIENT]);
    let all: Vec<Key> = (0..600).map(|at| format!("key:{at}").into_bytes()).collect();
    set_all(&mut cluster.connect(0), &all);
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    let mut connection = cluster.connect(0);
    let (gone, left) = all.split_at(300);
    let (deleted, expired) = gone.split_at(200);
    let words: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(deleted.iter().map(Vec::as_slice)).collect();
    assert_eq!(connection.ask(&words).integer(), 200);
    for key in expired {
        connection.done(&format!("SET {} soon PX 1", String::from_utf8_lossy(key)));
    }
    cluster.nodes[2].restart();
    let left: BTreeSet<Key> = left.iter().cloned().collect();
    for at in [2, 0, 1] {
        let mut connection = cluster.connect(at);
        wait::until("all nodes can be read", 15, || !connection.run("SCAN 0").is_error());
        assert!(scan(&mut connection, "COUNT 70") == left, "SCAN at node {at}");
        assert!(keys(&mut connection, "*") == left, "KEYS at node {at}");
        assert_eq!(dbsize(&mut connection), left.len(), "DBSIZE at node {at}");
    }
}

/// While keys come and go, one node is killed and comes back, then another: whoever was there from start to end is told,
/// by redis-cli and by a scan that goes on at other nodes; what was never written is not.
#[test]
fn who_is_there_from_start_to_end_is_told_whatever_happens_meanwhile() {
    let mut cluster = Cluster::start(3, &[PATIENT]);
    let stable: BTreeSet<Key> = (0..3000).map(|at| format!("stable:{at}").into_bytes()).collect();
    set_all(&mut cluster.connect(0), &stable);
    let over = AtomicBool::new(false);
    let address = cluster.nodes[0].address;
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        scope.spawn(|| come_and_go(address, &over));
        let by_cli = scope.spawn(move || redis_cli(address, &["--scan"]).expect_well("redis-cli --scan"));

        let (mut cursor, mut told, mut calls) = ("0".to_owned(), BTreeSet::new(), 0);
        let mut at = 0;
        loop {
            match calls {
                20 => (cluster.nodes[1].kill9(), at = 2).1,
                60 => (cluster.nodes[1].restart(), at = 1).1,
                90 => (cluster.wait_until_reachable(0, &[0, 1, 2]), cluster.nodes[2].kill9(), at = 0).2,
                _ => {}
            }
            calls += 1;
            // While a node's death is news a call may be refused: it is made again.
            let reply = wait::found("SCAN answers", 15, || {
                let reply = cluster.nodes[at]
                    .try_connect()
                    .and_then(|mut connection| connection.try_ask(&["SCAN", &cursor, "COUNT", "25"]));
                reply.ok().filter(|reply| !reply.is_error())
            });
            told.extend(reply.items()[1].items().iter().map(bytes));
            cursor = reply.items()[0].text();
            if cursor == "0" {
                break;
            }
        }
        assert!(calls > 90, "all of it happened during the scan: {calls} calls");
        let written = |key: &Key| key.starts_with(b"stable:") || key.starts_with(b"passing:");
        assert!(told.is_superset(&stable), "{} are missing", stable.difference(&told).count());
        assert!(told.iter().all(written));
        let by_cli: BTreeSet<Key> =
            by_cli.join().expect("redis-cli ran").lines().map(|line| line.as_bytes().to_vec()).collect();
        assert!(by_cli.is_superset(&stable), "{} are missing", stable.difference(&by_cli).count());
        assert!(by_cli.iter().all(written));
    });
}

/// Lets the other threads end, also when this one panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes keys and deletes them again. A write may fail while a node dies.
fn come_and_go(address: std::net::SocketAddr, over: &AtomicBool) {
    let mut connection = Connection::open(address).expect("the node answers");
    for round in 0.. {
        for line in [format!("SET passing:{} x", round % 500), format!("DEL passing:{}", (round + 250) % 500)] {
            if over.load(Ordering::Relaxed) {
                return;
            }
            connection.run(&line);
        }
    }
}

/// RANDOMKEY: every key is named sooner or later, also where all lie in one slot; none that was deleted or has expired.
#[test]
fn every_key_may_be_the_random_one() {
    let cluster = Cluster::start(3, &[PATIENT]);
    let mut connection = cluster.connect(0);
    let expected: BTreeSet<Key> = (0..12).map(|at| format!("{{one-slot}}:{at}").into_bytes()).collect();
    set_all(&mut connection, &expected);
    (0..30).for_each(|at| drop(connection.done(&format!("SET expired:{at} x PX 1"))));
    (0..30).for_each(|at| drop(connection.done(&format!("SET deleted:{at} x"))));
    (0..30).for_each(|at| drop(connection.done(&format!("DEL deleted:{at}"))));
    wait::until("what expires has expired", 5, || connection.done("EXISTS expired:29").integer() == 0);
    for at in 0..3 {
        let mut connection = cluster.connect(at);
        let mut named = BTreeSet::new();
        wait::until("every key was named", 20, || {
            named.extend((0..20).map(|_| bytes(&connection.done("RANDOMKEY"))));
            assert!(named.is_subset(&expected));
            named.len() == expected.len()
        });
    }
    connection.done("SELECT 5");
    assert_eq!(connection.done("RANDOMKEY").to_string(), "nil");
}

/// R counts: with one of three nodes up, a scan at R=2 of a strict database is refused in words that say so, one at R=1 is not.
#[test]
fn the_sessions_r_counts() {
    let mut cluster = Cluster::start(3, &[("storage-engine", "memory"), PATIENT]);
    cluster.set_policy(0, 0, "N 3 R 2 W 2 SLOPPY no");
    let mut connection = cluster.connect(0);
    set_all(&mut connection, &[b"a".to_vec()]);
    cluster.nodes[1].kill9();
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0]);
    for line in ["SCAN 0", "KEYS *", "RANDOMKEY", "DBSIZE"] {
        let reply = connection.run(line).to_string();
        assert!(reply.starts_with("-NOREPLICAS ") && reply.contains("nothing was changed"), "{line}: {reply}");
    }
    connection.done("DYN.QUORUM R 1");
    assert_eq!(scan(&mut connection, ""), BTreeSet::from([b"a".to_vec()]));
    assert_eq!(keys(&mut connection, "*").len(), 1);
    assert_eq!((connection.done("RANDOMKEY").text(), dbsize(&mut connection)), ("a".to_owned(), 1));
}

/// redis-cli finds the longest values with SCAN, TYPE and STRLEN.
#[test]
fn redis_cli_finds_big_keys() {
    let cluster = Cluster::start(3, &[PATIENT]);
    let mut connection = cluster.connect(1);
    set_all(&mut connection, &(0..300).map(|at| format!("small:{at}").into_bytes()).collect::<Vec<_>>());
    connection.ask(&[&b"SET"[..], b"the-big-one", &[b'x'; 5000]]);
    let said = redis_cli(cluster.nodes[2].address, &["--bigkeys"]).expect_well("redis-cli --bigkeys");
    assert!(said.contains("Sampled 301 keys in the keyspace!"), "{said}");
    assert!(said.contains("\"the-big-one\"") && said.contains("has 5000 bytes"), "{said}");
}
