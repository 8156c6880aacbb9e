//! Real clients work unchanged: redis-cli, redis-benchmark, redis-py, node-redis, ioredis, Rust's redis and fred, redis-rb, phpredis.

use crate::harness::clients::{
    folder, node, node_with, older_python, php, python, redis_benchmark, redis_cli, ruby, rust,
};
use crate::harness::cluster::Cluster;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

fn addresses(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| node.address.to_string()).collect()
}

fn with<'a>(first: &[&'a str], addresses: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(addresses.iter().map(String::as_str)).collect()
}

/// redis-cli: one command, other database, RESP3, from standard input, and its own loops.
#[test]
fn redis_cli_works() {
    let cluster = Cluster::start(3, &[]);
    let address = cluster.nodes[0].address;
    let cli = |arguments: &[&str]| redis_cli(address, arguments).expect_well("redis-cli");
    assert_eq!(cli(&["SET", "cli", "hello world"]), "OK\n");
    assert_eq!(cli(&["GET", "cli"]), "hello world\n");
    assert_eq!(cli(&["-3", "GET", "cli"]), "hello world\n");
    assert_eq!(cli(&["-n", "4", "GET", "cli"]), "\n");
    assert_eq!(cli(&["--no-raw", "MGET", "cli", "none"]), "1) \"hello world\"\n2) (nil)\n");
    assert_eq!(cli(&["-r", "3", "PING"]), "PONG\nPONG\nPONG\n");
    assert!(cli(&["GET"]).starts_with("ERR wrong number of arguments for 'get' command"));
    assert!(!redis_cli(address, &["-e", "GET"]).well, "-e makes an error reply an exit code");
    assert_eq!(cli(&["DYN.SET", "sib", "one"]).trim().len(), cli(&["DYN.DEL", "sib"]).trim().len());
    assert!(cli(&["INFO", "server"]).contains("redis_version:7."));
    assert!(cli(&["-c", "GET", "cli"]).contains("hello world"));
    assert!(cli(&["DYN.EXPLAIN", "cli"]).contains("home"));
    let check = cli(&["--cluster", "check", &address.to_string()]);
    assert!(check.contains("All 16384 slots covered") && check.contains("All nodes agree"), "{check}");
    let docs = cli(&["--no-raw", "COMMAND", "DOCS", "dyn.get"]);
    assert!(docs.contains("summary"), "{docs}");
}

/// redis-cli on a terminal: hints, help, another database, a transaction, listening and coming back.
#[test]
fn redis_cli_works_for_a_person() {
    let cluster = Cluster::start(3, &[]);
    python("interactive.py", &[&cluster.nodes[0].address.to_string()]);
}

/// redis-cli's loops: each runs for a moment and finds what it looks for.
#[test]
fn redis_cli_s_own_loops_work() {
    let cluster = Cluster::start(3, &[]);
    let address = cluster.nodes[0].address;
    cluster.connect(0).done("SET large 0123456789012345678901234567890123456789");
    (0..50).for_each(|at| drop(cluster.connect(0).done(&format!("SET small:{at} v"))));
    let cli = |arguments: &[&str]| redis_cli(address, arguments).expect_well("redis-cli");
    assert!(cli(&["--bigkeys"]).contains("Biggest string found '\"large\"' has 40 bytes"));
    assert!(cli(&["--memkeys"]).contains("Biggest string found '\"large\"' has"));
    assert_eq!(cli(&["--scan", "--pattern", "small:*"]).lines().count(), 50);
    assert!(cli(&["-r", "2", "-i", "0.1", "INFO", "clients"]).matches("connected_clients:").count() == 2);
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    // What is cut off after two seconds has written line by line.
    let briefly = |option: &str| {
        let arguments = ["-oL", "timeout", "2", "redis-cli", "-h", &host, "-p", &port, option];
        crate::harness::clients::run("stdbuf", &arguments)
    };
    let stat = briefly("--stat").output;
    assert!(stat.contains("keys") && stat.lines().any(|line| line.starts_with("51 ")), "{stat}");
    let latency = briefly("--latency").output;
    assert!(latency.trim().split(' ').count() >= 4 && !latency.contains("ERR"), "{latency}");
}

/// The releases before: redis-py 7, node-redis 5, ioredis 5.
#[test]
fn older_libraries_work() {
    let cluster = Cluster::start(3, &[]);
    let addresses = addresses(&cluster);
    for protocol in ["2", "3"] {
        older_python("client.py", &with(&["single", protocol], &addresses[..1]));
        older_python("client.py", &with(&["cluster", protocol], &addresses));
        node_with("redis-5", "node-redis.mjs", &with(&["single", protocol], &addresses[..1]));
        node_with("redis-5", "node-redis.mjs", &with(&["cluster", protocol], &addresses));
    }
    node_with("ioredis-5", "ioredis.mjs", &with(&["single"], &addresses[..1]));
    node_with("ioredis-5", "ioredis.mjs", &with(&["cluster"], &addresses));
    for protocol in ["2", "3"] {
        let everywhere = with(&[protocol], &addresses);
        older_python("transactions.py", &everywhere);
        older_python("listen.py", &everywhere);
        node_with("redis-5", "node-redis-listen.mjs", &everywhere);
        node_with("ioredis-5", "ioredis-listen.mjs", &everywhere);
    }
}

/// A library's work with its client for one node and with that for a cluster, told each protocol.
fn alone_and_in_a_cluster(protocols: &[&[&str]], work: impl Fn(&[&str])) {
    let cluster = Cluster::start(3, &[]);
    let addresses = addresses(&cluster);
    for protocol in protocols {
        work(&with(&[&["single"], *protocol].concat(), &addresses[..1]));
        work(&with(&[&["cluster"], *protocol].concat(), &addresses));
    }
}

/// redis-rb, one node and its cluster client.
#[test]
fn redis_rb_works() {
    alone_and_in_a_cluster(&[&[]], |words| ruby("client.rb", words));
}

/// phpredis, one node and RedisCluster, and PHP's sessions on both.
#[test]
fn phpredis_works() {
    alone_and_in_a_cluster(&[&[]], |words| php("client.php", words));
}

/// redis-cli --pipe, whose end marker is an ECHO of random bytes.
#[test]
fn redis_cli_pipes() {
    let cluster = Cluster::single(&[]);
    let port = cluster.nodes[0].address.port().to_string();
    let mut pipe = Command::new("redis-cli")
        .args(["-p", &port, "--pipe"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-cli is there; compat-tests/run installs it");
    let mut input = pipe.stdin.take().expect("it was piped");
    for at in 0..2000 {
        input.write_all(&crate::harness::resp::request(&["SET", &format!("mass:{at}"), "v"])).unwrap();
    }
    drop(input);
    let output = pipe.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("errors: 0, replies: 2000"), "{said}");
    assert_eq!(cluster.connect(0).run("DBSIZE").integer(), 2000);
}

/// redis-benchmark with -t ping,set,get,incr,mset and any -c, -P, -r, -d, --threads, -3: every test runs to its end without an
/// error, on one node and on three, and blind overwriting of one key makes no siblings.
#[test]
fn redis_benchmark_works() {
    let cluster = Cluster::start(3, &[]);
    let address = cluster.nodes[0].address;
    for options in [
        &["-c", "1"][..],
        &["-c", "50"],
        &["-c", "20", "-P", "16"],
        &["-c", "10", "-P", "100", "-r", "1000"],
        &["-c", "20", "-d", "3000", "-r", "100"],
        &["-c", "20", "--threads", "2", "-P", "4", "-r", "100"],
        &["-c", "20", "-3", "-r", "100"],
        &["-c", "20", "--cluster", "-r", "100"],
        &["-c", "5", "--dbnum", "3"],
    ] {
        let arguments = [&["-t", "ping,set,get,incr,mset", "-n", "1000"], options].concat();
        let said = redis_benchmark(address, &arguments).expect_well(&format!("redis-benchmark {options:?}"));
        for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"] {
            assert!(said.contains(test), "{options:?} did not run {test}: {said}");
        }
        assert!(!said.contains("Error"), "{options:?}: {said}");
    }
    let values = cluster.connect(1).done("DYN.GET key:__rand_int__ R 3");
    assert_eq!(values.items()[1].items().len(), 1, "one value, however often it was overwritten");
}

/// redis-py, RESP2 and RESP3, one node and its cluster client.
#[test]
fn redis_py_works() {
    alone_and_in_a_cluster(&[&["2"], &["3"]], |words| python("client.py", words));
}

/// node-redis, RESP2 and RESP3, one node and its cluster client.
#[test]
fn node_redis_works() {
    alone_and_in_a_cluster(&[&["2"], &["3"]], |words| node("node-redis.mjs", words));
}

/// ioredis, one node and its cluster client.
#[test]
fn ioredis_works() {
    alone_and_in_a_cluster(&[&[]], |words| node("ioredis.mjs", words));
}

/// Rust's redis and fred, RESP2 and RESP3, one node and their cluster clients.
#[test]
fn rust_s_libraries_work() {
    let cluster = Cluster::start(3, &[]);
    let addresses = addresses(&cluster);
    for library in ["redis", "fred"] {
        for protocol in ["2", "3"] {
            rust(&with(&[library, "single", protocol], &addresses));
            rust(&with(&[library, "cluster", protocol], &addresses));
        }
    }
}

/// Runs a script that does its work, says "ready", and does it again; in between a node is killed, and every other one knows.
fn through_a_death(interpreter: &str, script: &str, words: &[&str], cluster: &mut Cluster, victim: usize) {
    let mut script = Command::new(interpreter)
        .arg(folder().join("clients").join(script))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("compat-tests/run installs what this needs");
    let mut output = BufReader::new(script.stdout.take().expect("it was piped"));
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    if line != "ready\n" {
        output.read_to_string(&mut line).unwrap();
        panic!("{line}");
    }
    cluster.nodes[victim].kill9();
    let others: Vec<usize> = (0..3).filter(|at| *at != victim).collect();
    others.iter().for_each(|at| cluster.wait_until_reachable(*at, &others));
    script.stdin.take().expect("it was piped").write_all(b"go\n").unwrap();
    let mut said = String::new();
    output.read_to_string(&mut said).unwrap();
    assert!(script.wait().unwrap().success(), "{said}");
}

fn python_here() -> String {
    folder().join(".venv/bin/python").to_string_lossy().into_owned()
}

/// redis-py's cluster client, a node killed under it: after it has looked at CLUSTER SLOTS again, every key is there and can
/// be written, and no call fails.
#[test]
fn a_cluster_client_survives_the_death_of_a_node() {
    let mut cluster = Cluster::start(3, &[]);
    let addresses = addresses(&cluster);
    through_a_death(&python_here(), "failover.py", &with(&[], &addresses), &mut cluster, 1);
}

/// phpredis's RedisCluster and its sessions, and redis-rb's cluster client, likewise.
#[test]
fn php_s_and_ruby_s_cluster_clients_survive_the_death_of_a_node() {
    for (interpreter, script) in [("php", "client.php"), ("ruby", "client.rb")] {
        let mut cluster = Cluster::start(3, &[]);
        let addresses = addresses(&cluster);
        through_a_death(interpreter, script, &with(&["failover"], &addresses), &mut cluster, 1);
    }
}

/// Django's cache and sessions, django-redis, Flask-Session, cachelib and dogpile.cache, unchanged, before and after a node dies
/// that none of them is connected to.
#[test]
fn python_s_caches_and_session_stores_work() {
    let mut cluster = Cluster::start(3, &[]);
    let addresses = addresses(&cluster);
    through_a_death(&python_here(), "applications.py", &with(&[], &addresses[..2]), &mut cluster, 2);
}

/// keyv and connect-redis, likewise.
#[test]
fn node_s_caches_and_session_stores_work() {
    let mut cluster = Cluster::start(3, &[]);
    let addresses = addresses(&cluster);
    through_a_death("node", "applications.mjs", &with(&[], &addresses[..1]), &mut cluster, 2);
}
