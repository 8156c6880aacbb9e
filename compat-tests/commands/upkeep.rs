//! Saving, stopping, MEMORY, DEBUG, FUNCTION FLUSH: what operators and tests do with a node.

use super::{Subject, hold};
use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::table::{Row, check};
use crate::harness::wait;

const UPKEEP: &[Row] = &[
    ("SAVE", "+OK"),
    ("SAVE x", "-ERR wrong number of arguments for 'save' command"),
    ("BGREWRITEAOF x", "-ERR wrong number of arguments for 'bgrewriteaof' command"),
    ("BGSAVE x", "-ERR syntax error"),
    ("BGSAVE SCHEDULE x", "-ERR syntax error"),
    ("LASTSAVE", "(:1700000000..9999999999)"),
    ("ROLE", "[\"master\", :0, []]"),
    ("ROLE x", "-ERR wrong number of arguments for 'role' command"),
    ("LOLWUT VERSION x", "-ERR value is not an integer or out of range"),
    ("LOLWUT", "*"),
    ("LOLWUT 5 6 7 8", "*"),
    ("SHUTDOWN x", "-ERR syntax error"),
    ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error"),
    ("SHUTDOWN ABORT NOW", "-ERR syntax error"),
    ("SHUTDOWN NOSAVE ABORT", "-ERR syntax error"),
    ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
    ("FUNCTION FLUSH", "+OK"),
    ("FUNCTION FLUSH sync", "+OK"),
    ("FUNCTION FLUSH ASYNC", "+OK"),
    ("FUNCTION FLUSH x", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
    ("FUNCTION FLUSH SYNC x", "-ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP."),
    ("FUNCTION x", "-ERR unknown subcommand 'x'. Try FUNCTION HELP."),
    ("FUNCTION HELP", "[+FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:…"),
];

const MEMORY: &[Row] = &[
    ("DEL nokey", "*"),
    ("SET foo bar", "+OK"),
    ("MEMORY", "-ERR wrong number of arguments for 'memory' command"),
    ("MEMORY x", "-ERR unknown subcommand 'x'. Try MEMORY HELP."),
    ("MEMORY USAGE", "-ERR wrong number of arguments for 'memory|usage' command"),
    ("MEMORY USAGE foo", "(:10..300)"),
    ("MEMORY USAGE foo SAMPLES", "-ERR syntax error"),
    ("MEMORY USAGE foo SAMPLES x", "-ERR value is not an integer or out of range"),
    ("MEMORY USAGE foo SAMPLES -1", "-ERR syntax error"),
    ("MEMORY USAGE foo samples 0", "(:10..300)"),
    ("MEMORY USAGE foo x 5", "-ERR syntax error"),
    ("MEMORY USAGE nokey", "nil"),
    ("MEMORY USAGE nokey x", "-ERR syntax error"),
    ("MEMORY DOCTOR", "*"),
    ("MEMORY DOCTOR x", "-ERR wrong number of arguments for 'memory|doctor' command"),
    ("MEMORY PURGE", "+OK"),
    ("MEMORY MALLOC-STATS", "*"),
    ("MEMORY STATS", "*"),
    ("MEMORY HELP", "[+MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:…"),
    ("DEL foo", ":1"),
];

const DEBUG: &[Row] = &[
    ("DEL nokey n", "*"),
    ("SET foo bar", "+OK"),
    ("SET n 70000", "+OK"),
    ("DEBUG", "-ERR wrong number of arguments for 'debug' command"),
    ("DEBUG x", "-ERR unknown subcommand or wrong number of arguments for 'x'. Try DEBUG HELP."),
    ("DEBUG JMAP", "-ERR unknown subcommand or wrong number of arguments for 'JMAP'. Try DEBUG HELP."),
    ("DEBUG SLEEP", "-ERR unknown subcommand or wrong number of arguments for 'SLEEP'. Try DEBUG HELP."),
    ("DEBUG SLEEP 0", "+OK"),
    ("DEBUG SLEEP x", "+OK"),
    ("DEBUG SLEEP 0.01", "+OK"),
    ("DEBUG OBJECT", "-ERR unknown subcommand or wrong number of arguments for 'OBJECT'. Try DEBUG HELP."),
    ("DEBUG OBJECT nokey", "-ERR no such key"),
    ("DEBUG OBJECT foo", "+Value at:0x…"),
    ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK"),
    ("DEBUG SET-ACTIVE-EXPIRE 1", "+OK"),
    (
        "DEBUG SET-ACTIVE-EXPIRE",
        "-ERR unknown subcommand or wrong number of arguments for 'SET-ACTIVE-EXPIRE'. Try DEBUG HELP.",
    ),
    ("DEBUG ERROR \"FOO bar\"", "-FOO bar"),
    ("DEBUG LOG hello", "+OK"),
    ("DEBUG PROTOCOL string", "\"Hello World\""),
    ("DEBUG PROTOCOL integer", ":12345"),
    ("DEBUG PROTOCOL null", "nil"),
    ("DEBUG PROTOCOL array", "[:0, :1, :2]"),
    ("DEBUG PROTOCOL SET", "[:0, :1, :2]"),
    ("DEBUG PROTOCOL verbatim", "\"This is a verbatim\\nstring\""),
    (
        "DEBUG PROTOCOL x",
        "-ERR Wrong protocol type name. Please use one of the following: \
         string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
    ),
    ("DEBUG HELP", "[+DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:…"),
    ("DEL foo n", ":2"),
];

/// SAVE, BGSAVE, LASTSAVE, ROLE, LOLWUT, SHUTDOWN's refusals and FUNCTION answer as in Redis 7.
#[test]
fn upkeep() {
    hold(&[UPKEEP]);
}

/// MEMORY answers as in Redis 7.
#[test]
fn memory() {
    hold(&[MEMORY]);
}

/// DEBUG answers as in Redis 7 where it is allowed.
#[test]
fn debug() {
    hold(&[DEBUG]);
    let subject = Subject::start();
    let raw = |protocol: u8, request: &str, bytes: &[u8]| {
        let mut connection = subject.connect(protocol);
        connection.write(format!("{request}\r\nQUIT\r\n").as_bytes()).unwrap();
        let expected = [bytes, b"+OK\r\n"].concat();
        let got = connection.rest().unwrap();
        assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{request} in RESP{protocol}");
    };
    raw(2, "DEBUG PROTOCOL double", b"$5\r\n3.141\r\n");
    raw(3, "DEBUG PROTOCOL double", b",3.141\r\n");
    raw(2, "DEBUG PROTOCOL map", b"*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n");
    raw(3, "DEBUG PROTOCOL map", b"%3\r\n:0\r\n#f\r\n:1\r\n#t\r\n:2\r\n#f\r\n");
    raw(2, "DEBUG PROTOCOL true", b":1\r\n");
    raw(3, "DEBUG PROTOCOL false", b"#f\r\n");
    raw(3, "DEBUG PROTOCOL bignum", b"(1234567999999999999999999999999999999\r\n");
    raw(2, "DEBUG PROTOCOL bignum", b"$37\r\n1234567999999999999999999999999999999\r\n");
    raw(2, "DEBUG PROTOCOL push", b"-ERR RESP2 is not supported by this command\r\n");
    raw(
        3,
        "DEBUG PROTOCOL push",
        b">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
    );
    raw(
        3,
        "DEBUG PROTOCOL attrib",
        b"|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\nSome real reply following the attribute\r\n",
    );
    raw(2, "DEBUG PROTOCOL attrib", b"$39\r\nSome real reply following the attribute\r\n");
    raw(3, "DEBUG PROTOCOL verbatim", b"=29\r\ntxt:This is a verbatim\nstring\r\n");
}

/// DEBUG is refused unless the configuration allows it.
#[test]
fn debug_is_refused_by_default() {
    let refusal = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
                   from a local connection, otherwise you need to set this option in the configuration file, and then \
                   restart the server.";
    let cluster = Cluster::single(&[]);
    check(
        &mut cluster.connect(0),
        &[
            ("DEBUG SLEEP 0", refusal),
            (
                "CONFIG SET enable-debug-command yes",
                "-ERR CONFIG SET failed (possibly related to argument 'enable-debug-command') - can't set immutable config",
            ),
            ("DEBUG HELP", refusal),
        ],
    );
    let cluster = Cluster::single(&[("enable-debug-command", "local")]);
    check(&mut cluster.connect(0), &[("DEBUG SLEEP 0", "+OK")]);
}

/// What cluster clients say before they ask a replica, and what has no meaning here.
#[test]
fn manners_are_taken_and_reloading_is_refused() {
    let cluster = Cluster::single(&[("enable-debug-command", "yes")]);
    check(
        &mut cluster.connect(0),
        &[
            ("READONLY", "+OK"),
            ("READWRITE", "+OK"),
            ("ASKING", "+OK"),
            (
                "DEBUG RELOAD",
                "-ERR DEBUG RELOAD has no meaning here: nothing is ever loaded as a whole; nothing was changed",
            ),
            ("REPLICAOF NO ONE", "-ERR unknown command 'REPLICAOF', with args beginning with: 'NO' 'ONE' "),
            ("FUNCTION LOAD x", "-ERR unknown subcommand 'LOAD'. Try FUNCTION HELP."),
        ],
    );
    let picture = cluster.connect(0).done("LOLWUT").text();
    assert!(picture.contains("Redis ver. ") && picture.contains("Dynamis ver. ") && picture.contains('a'), "{picture}");
}

/// A save in the background ends, is the last save then, and has forced everything to the disk.
#[test]
fn a_background_save_is_the_last_save() {
    let cluster = Cluster::single(&[("appendfsync", "no")]);
    let mut connection = cluster.connect(0);
    let syncs = |connection: &mut Connection| info(connection, "fsyncs").parse::<u64>().unwrap();
    connection.done("SET k v");
    let (before, synced) = (connection.run("LASTSAVE").integer(), syncs(&mut connection));
    wait::until("the clock moves on", 5, || connection.run("TIME").items()[0].text().parse::<i64>().unwrap() > before);
    assert_eq!(connection.run("BGSAVE").to_string(), "+Background saving started");
    wait::until("the save is the last one", 10, || connection.run("LASTSAVE").integer() > before);
    assert!(syncs(&mut connection) > synced, "nothing was synced");
    assert_eq!(info(&mut connection, "rdb_last_bgsave_status"), "ok");
    assert_eq!(info(&mut connection, "rdb_bgsave_in_progress"), "0");
    let rewriting = connection.run("BGREWRITEAOF").to_string();
    assert_eq!(rewriting, "+Background append only file rewriting started");
}

/// SHUTDOWN answers nothing, stops the process as SIGTERM does, and everything acknowledged is there afterwards.
#[test]
fn shutdown_stops_the_node_and_keeps_everything() {
    for request in ["SHUTDOWN", "SHUTDOWN NOSAVE NOW FORCE"] {
        let mut cluster = Cluster::single(&[]);
        let mut connection = cluster.connect(0);
        connection.done("SET k v");
        connection.write(format!("{request}\r\n").as_bytes()).unwrap();
        assert_eq!(connection.rest().unwrap(), b"", "{request}");
        assert!(cluster.nodes[0].wait_until_ended().success(), "{request}");
        cluster.nodes[0].restart();
        assert_eq!(cluster.connect(0).run("GET k").to_string(), "\"v\"", "{request}");
    }
}

/// DEBUG SLEEP holds its own connection and no other.
#[test]
fn debug_sleep_holds_one_connection() {
    let cluster = Cluster::single(&[("enable-debug-command", "yes")]);
    let mut sleeper = cluster.connect(0);
    let begun = std::time::Instant::now();
    sleeper.write(b"DEBUG SLEEP 0.7\r\n").unwrap();
    assert_eq!(cluster.connect(0).run("PING").to_string(), "+PONG");
    assert!(begun.elapsed().as_millis() < 600, "PING waited for another's sleep");
    assert_eq!(sleeper.receive().unwrap(), Value::Simple("OK".to_owned()));
    assert!(begun.elapsed().as_millis() >= 690);
}

/// What a key takes grows with its value, and MEMORY STATS is a map of numbers.
#[test]
fn memory_is_measured() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    let mut usage = |bytes: usize| {
        connection.done(&format!("SET k {}", "x".repeat(bytes)));
        connection.run("MEMORY USAGE k").integer()
    };
    assert_eq!(usage(5000) - usage(1000), 4000, "4000 bytes more take 4000 bytes more");
    let stats = connection.run("MEMORY STATS");
    assert!(stats.field("total.allocated").integer() > 1 << 20);
    assert!(stats.field("peak.allocated").integer() >= stats.field("total.allocated").integer());
    assert_eq!(stats.field("keys.count").integer(), 1);
    assert_eq!(stats.field("db.0").field("overhead.hashtable.main").integer(), 0);
}

fn info(connection: &mut Connection, field: &str) -> String {
    let text = connection.done("INFO everything").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("INFO has no {field}:\n{text}")).to_owned()
}
