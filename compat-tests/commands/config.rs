//! CONFIG: several settings at once or none, Redis's names, and the file rewritten.

use super::hold;
use crate::harness::cluster::Cluster;
use crate::harness::resp::Value;
use crate::harness::table::{Row, check};
use std::collections::BTreeSet;

/// The names of Redis 7.0's settings, as its CONFIG GET lists them.
const NAMES: &str = include_str!("config-names.txt");

const FAILED: &str = "-ERR CONFIG SET failed (possibly related to argument '";

/// What Redis answers, too.
const AS_REDIS: &[Row] = &[
    ("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command"),
    ("CONFIG REWRITE x", "-ERR wrong number of arguments for 'config|rewrite' command"),
    ("CONFIG REWRITE", "-ERR The server is running without a config file"),
    ("CONFIG SET foo", "-ERR wrong number of arguments for 'config|set' command"),
    ("CONFIG SET foo bar baz", "-ERR syntax error"),
    ("CONFIG SET foo bar", "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'"),
    ("CONFIG SET maxclients 100 FOO bar", "-ERR Unknown option or number of arguments for CONFIG SET - 'FOO'"),
    (
        "CONFIG SET maxclients abc tcp-backlog 9",
        "-ERR CONFIG SET failed (possibly related to argument 'tcp-backlog') - can't set immutable config",
    ),
    (
        "CONFIG SET timeout 1 timeout 2",
        "-ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter",
    ),
    (
        "CONFIG SET timeout 1 timeout 2 foo 3",
        "-ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter",
    ),
    ("CONFIG SET maxclients 77 timeout -1", "-ERR CONFIG SET failed (possibly related to argument 'timeout') - …"),
    (
        "CONFIG SET appendfsync foo",
        "-ERR CONFIG SET failed (possibly related to argument 'appendfsync') - argument(s) must be one of the following: …",
    ),
    (
        "CONFIG SET hz abc",
        "-ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer",
    ),
    (
        "CONFIG SET lazyfree-lazy-eviction x",
        "-ERR CONFIG SET failed (possibly related to argument 'lazyfree-lazy-eviction') - argument must be 'yes' or 'no'",
    ),
    (
        "CONFIG SET active-expire-effort 11",
        "-ERR CONFIG SET failed (possibly related to argument 'active-expire-effort') - argument must be between 1 and 10 \
         inclusive",
    ),
    (
        "CONFIG SET repl-backlog-size 10x",
        "-ERR CONFIG SET failed (possibly related to argument 'repl-backlog-size') - argument must be a memory value",
    ),
    (
        "CONFIG SET cluster-announce-hostname not_a_name",
        "-ERR CONFIG SET failed (possibly related to argument 'cluster-announce-hostname') - Hostnames may only contain \
         alphanumeric characters, hyphens or dots",
    ),
    (
        "CONFIG SET cluster-announce-port 65536",
        "-ERR CONFIG SET failed (possibly related to argument 'cluster-announce-port') - argument must be between 0 and \
         65535 inclusive",
    ),
    (
        "CONFIG SET cluster-announce-bus-port x",
        "-ERR CONFIG SET failed (possibly related to argument 'cluster-announce-bus-port') - argument couldn't be parsed \
         into an integer",
    ),
    (
        "CONFIG SET cluster-announce-hostname one.example CLUSTER-announce-port 1234 cluster-announce-bus-port 2345",
        "+OK",
    ),
    ("CONFIG GET cluster-announce-hostname", "{\"cluster-announce-hostname\": \"one.example\"}"),
    ("CONFIG GET cluster-announce-port", "{\"cluster-announce-port\": \"1234\"}"),
    ("CONFIG SET cluster-announce-ip 127.0.0.1 cluster-announce-hostname \"\"", "+OK"),
    ("CONFIG SET cluster-announce-ip \"\" cluster-announce-port 0 cluster-announce-bus-port 0", "+OK"),
    ("CONFIG SET list-max-listpack-size 5 set-max-intset-entries 7 TIMEOUT 3", "+OK"),
    ("CONFIG SET list-max-listpack-size -2 set-max-intset-entries 512 timeout 0", "+OK"),
    (
        "CONFIG SET io-threads 4",
        "-ERR CONFIG SET failed (possibly related to argument 'io-threads') - can't set immutable config",
    ),
    (
        "CONFIG SET server_cpulist 0-1",
        "-ERR CONFIG SET failed (possibly related to argument 'server_cpulist') - can't set immutable config",
    ),
    (
        "CONFIG SET cluster-node-timeout -1",
        "-ERR CONFIG SET failed (possibly related to argument 'cluster-node-timeout') - argument must be between 0 and \
         9223372036854775807 inclusive",
    ),
    (
        "CONFIG SET cluster-link-sendbuf-limit -1",
        "-ERR CONFIG SET failed (possibly related to argument 'cluster-link-sendbuf-limit') - argument must be a memory \
         value",
    ),
    (
        "CONFIG SET oom-score-adj-values 1",
        "-ERR CONFIG SET failed (possibly related to argument 'oom-score-adj-values') - wrong number of arguments",
    ),
    (
        "CONFIG SET oom-score-adj-values \"0 1 2001\"",
        "-ERR CONFIG SET failed (possibly related to argument 'oom-score-adj-values') - Invalid oom-score-adj-values, \
         elements must be between -2000 and 2000.…",
    ),
    (
        "CONFIG SET tls-auth-clients x",
        "-ERR CONFIG SET failed (possibly related to argument 'tls-auth-clients') - argument(s) must be one of the \
         following: no, yes, optional",
    ),
    ("CONFIG GET io-threads", "{\"io-threads\": \"1\"}"),
    ("CONFIG GET syslog-facility", "{\"syslog-facility\": \"local0\"}"),
    ("CONFIG GET oom-score-adj-values", "{\"oom-score-adj-values\": \"0 200 800\"}"),
    ("CONFIG GET cluster-preferred-endpoint-type", "{\"cluster-preferred-endpoint-type\": \"ip\"}"),
    ("CONFIG SET cluster-preferred-endpoint-type ip tls-session-cache-size 4 tls-cert-file x", "+OK"),
    ("CONFIG SET tls-session-cache-size 20480 tls-cert-file \"\"", "+OK"),
    ("CONFIG SET cluster-node-timeout 5000 cluster-link-sendbuf-limit 1mb cluster-announce-tls-port 1", "+OK"),
    ("CONFIG GET cluster-link-sendbuf-limit", "{\"cluster-link-sendbuf-limit\": \"1048576\"}"),
    ("CONFIG SET cluster-node-timeout 15000 cluster-link-sendbuf-limit 0 cluster-announce-tls-port 0", "+OK"),
    ("CONFIG SET maxmemory 0", "+OK"),
    ("CONFIG SET maxmemory-policy noeviction save \"\" notify-keyspace-events \"\"", "+OK"),
    ("CONFIG GET foo bar*", "{}"),
    ("CONFIG GET databases", "{\"databases\": \"16\"}"),
    ("CONFIG GET daTAbase? databases", "{\"databases\": \"16\"}"),
    ("CONFIG GET set-max-intset-entries SET-MAX-INTSET-ENTRIES", "{\"set-max-intset-entries\": \"512\"}"),
    ("CONFIG GET min-slaves-to-write", "{\"min-slaves-to-write\": \"0\"}"),
    ("CONFIG HELP", "[+CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:…"),
];

/// CONFIG answers as in Redis 7.
#[test]
fn as_in_redis() {
    let subject = super::Subject::start();
    check(&mut subject.connect(3), AS_REDIS);
    hold(&[&[("CONFIG RESETSTAT", "+OK"), ("CONFIG RESETSTAT x", "-ERR wrong number…")]]);
}

/// A value that would be a promise nobody keeps is refused with the reason, and nothing of the command takes effect.
#[test]
fn promises_nobody_keeps_are_refused() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    for (name, value, reason) in [
        ("maxmemory", "100mb", "it is always '0' here, for values live on disk"),
        ("maxmemory-policy", "allkeys-lru", "it is always 'noeviction' here"),
        ("notify-keyspace-events", "KEA", "it is always '' here"),
        ("appendonly", "no", "it is always 'yes' here"),
        ("save", "\"900 1\"", "it is always '' here"),
        ("replicaof", "\"127.0.0.1 1\"", "it is always '' here"),
        ("tls-port", "6380", "it is always '0' here, for clients are served without TLS"),
        ("cluster-preferred-endpoint-type", "hostname", "it is always 'ip' here, for clients are told addresses"),
        ("min-replicas-to-write", "1", "it is always '0' here, for W and DW say"),
    ] {
        let refused = connection.run(&format!("CONFIG SET timeout 77 {name} {value}")).to_string();
        let expected = format!("{FAILED}{name}') - can't set immutable config: {reason}");
        assert!(refused.starts_with(&expected), "{refused}\n{expected}");
        check(&mut connection, &[("CONFIG GET timeout", "[\"timeout\", \"0\"]")]);
    }
}

/// Every name that Redis 7.0's CONFIG GET lists can be read here: those of `config-names.txt`.
#[test]
fn every_name_of_redis_can_be_read() {
    let subject = super::Subject::start();
    let listed = subject.connect(2).done("CONFIG GET *");
    let known: BTreeSet<String> = listed.items().iter().step_by(2).map(Value::text).collect();
    let missing: Vec<&str> = NAMES.lines().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What has no effect is remembered, and one setting with two names is one.
#[test]
fn what_has_no_effect_is_remembered() {
    let cluster = Cluster::single(&[("hash-max-listpack-entries", "64")]);
    check(
        &mut cluster.connect(0),
        &[
            ("CONFIG GET hash-max-ziplist-entries", "[\"hash-max-ziplist-entries\", \"64\"]"),
            ("CONFIG SET lua-time-limit 9", "+OK"),
            ("CONFIG GET busy-reply-threshold", "[\"busy-reply-threshold\", \"9\"]"),
        ],
    );
}

/// CONFIG REWRITE enters what was set into the file, leaves notes and everything else, and the next start goes by it.
#[test]
fn the_file_is_rewritten() {
    let mut cluster = Cluster::single(&[]);
    let file = cluster.nodes[0].dir.with_extension("toml");
    let text = "# My notes.\ntimeout = 5 # seconds\nproto-max-bulk-len = '64mb'\n\n[[database]]\nindex = 3\nn = 1\nr = 1\nw = 1\n";
    std::fs::write(&file, text).unwrap();
    cluster.nodes[0].sigterm();
    cluster.nodes[0].file = Some(file.clone());
    cluster.nodes[0].restart();
    let mut connection = cluster.connect(0);
    connection.done("CONFIG SET timeout 0 maxclients 321 hz 50");
    connection.done("CONFIG REWRITE");
    let rewritten = std::fs::read_to_string(&file).unwrap();
    assert!(rewritten.starts_with("# My notes.\ntimeout = 0 # seconds\nproto-max-bulk-len = '64mb'\n"), "{rewritten}");
    assert!(rewritten.ends_with("\n[[database]]\nindex = 3\nn = 1\nr = 1\nw = 1\n"), "{rewritten}");
    assert!(rewritten.contains("\nmaxclients = 321\n") && !rewritten.contains("hz"), "{rewritten}");
    connection.done("CONFIG REWRITE");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), rewritten, "the second time there is nothing to change");
    drop(connection);
    cluster.nodes[0].sigterm();
    cluster.nodes[0].restart();
    let mut connection = cluster.connect(0);
    check(
        &mut connection,
        &[
            ("CONFIG GET maxclients timeout", "[\"timeout\", \"0\", \"maxclients\", \"321\"]"),
            ("CONFIG GET proto-max-bulk-len", "[\"proto-max-bulk-len\", \"67108864\"]"),
        ],
    );
    std::fs::write(&file, "prot = 1").unwrap();
    connection.done("CONFIG SET timeout 1");
    let refused = connection.run("CONFIG REWRITE").to_string();
    assert!(refused.starts_with("-ERR Rewriting config file: ") && refused.contains("nearest known one"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "prot = 1");
}
