//! MONITOR, SLOWLOG and LATENCY answer as in Redis 7.

use super::Subject;
use crate::harness::resp::{Connection, Value};
use crate::harness::table::{Row, check};
use crate::harness::wait;

const ROWS: &[Row] = &[
    ("SLOWLOG", "-ERR wrong number of arguments for 'slowlog' command"),
    ("SLOWLOG foo", "-ERR unknown subcommand 'foo'. Try SLOWLOG HELP."),
    ("SLOWLOG RESET", "+OK"),
    ("SLOWLOG RESET x", "-ERR wrong number of arguments for 'slowlog|reset' command"),
    ("SLOWLOG LEN", ":0"),
    ("SLOWLOG GET", "[]"),
    ("SLOWLOG GET 0", "[]"),
    ("SLOWLOG GET -1", "[]"),
    ("SLOWLOG GET -2", "-ERR count should be greater than or equal to -1"),
    ("SLOWLOG GET x", "-ERR count should be greater than or equal to -1"),
    ("SLOWLOG get 1 2", "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP."),
    ("SLOWLOG HELP", "[+SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:, +GET [<count>], …"),
    (
        "CONFIG SET slowlog-log-slower-than x",
        "-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - argument couldn't be parsed \
         into an integer",
    ),
    (
        "CONFIG SET slowlog-log-slower-than -2",
        "-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - argument must be between -1 and \
         9223372036854775807 inclusive",
    ),
    (
        "CONFIG SET latency-tracking-info-percentiles 101",
        "-ERR CONFIG SET failed (possibly related to argument 'latency-tracking-info-percentiles') - \
         latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
    ),
    (
        "CONFIG SET latency-tracking-info-percentiles x",
        "-ERR CONFIG SET failed (possibly related to argument 'latency-tracking-info-percentiles') - Invalid \
         latency-tracking-info-percentiles parameters",
    ),
    (
        "CONFIG SET client-output-buffer-limit \"pubsub 1 2\"",
        "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Wrong number of arguments in \
         buffer limit configuration.",
    ),
    (
        "CONFIG SET client-output-buffer-limit \"master 1 2 3\"",
        "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Invalid client class \
         specified in buffer limit configuration.",
    ),
    (
        "CONFIG SET client-output-buffer-limit \"pubsub x 2 3\"",
        "-ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - Error in hard, soft or \
         soft_seconds setting in buffer limit configuration.",
    ),
    ("CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"", "+OK"),
    ("CONFIG SET latency-monitor-threshold 0", "+OK"),
    ("LATENCY", "-ERR wrong number of arguments for 'latency' command"),
    ("LATENCY foo", "-ERR unknown subcommand 'foo'. Try LATENCY HELP."),
    ("LATENCY HISTORY", "-ERR wrong number of arguments for 'latency|history' command"),
    ("LATENCY RESET", "*"),
    ("LATENCY LATEST", "[]"),
    ("LATENCY HISTORY nosuch", "[]"),
    ("LATENCY RESET nosuch other", ":0"),
    ("LATENCY GRAPH nosuch", "-ERR No samples available for event 'nosuch'"),
    (
        "LATENCY DOCTOR",
        "\"I\\'m sorry, Dave, I can\\'t do that. Latency monitoring is disabled in this Redis instance. …",
    ),
    ("CONFIG SET latency-monitor-threshold 100000", "+OK"),
    ("LATENCY DOCTOR", "\"Dave, no latency spike was observed during the lifetime of this Redis instance, …"),
    ("CONFIG SET latency-monitor-threshold 0", "+OK"),
    ("LATENCY HELP", "[+LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:, +DOCTOR, …"),
    ("LATENCY HELP x", "-ERR wrong number of arguments for 'latency|help' command"),
];

/// Words, errors and empty answers.
#[test]
fn watching_commands_answer_as_in_redis() {
    let subject = Subject::start();
    for protocol in [2, 3] {
        check(&mut subject.connect(protocol), ROWS);
    }
}

/// The slow log keeps what took long enough, shortened and without secrets, newest first.
#[test]
fn the_slow_log_keeps_what_redis_keeps() {
    let subject = Subject::start();
    let mut connection = subject.connect(2);
    connection.done("CLIENT SETNAME slowpoke");
    connection.done("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 6");
    connection.done("SLOWLOG RESET");
    connection.run("GET gone");
    connection.run("GET");
    connection.run("nosuch");
    connection.run("AUTH secret");
    connection.run(&format!("ECHO {}", "a".repeat(130)));
    let many: Vec<String> = (0..34).map(|number| format!("k{number}")).collect();
    connection.run(&format!("EXISTS {}", many.join(" ")));
    connection.run("CONFIG SET requirepass \"\"");
    let log = connection.run("SLOWLOG GET -1");
    connection.done("CONFIG SET slowlog-log-slower-than 10000 slowlog-max-len 128");
    let entries = log.items();
    let words: Vec<Vec<String>> =
        entries.iter().map(|entry| entry.items()[3].items().iter().map(Value::text).collect()).collect();
    let exists: Vec<&str> =
        ["EXISTS"].into_iter().chain(many[..30].iter().map(String::as_str)).chain(["... (4 more arguments)"]).collect();
    let long = format!("{}... (2 more bytes)", "a".repeat(128));
    let expected = [
        vec!["CONFIG", "SET", "requirepass", "(redacted)"],
        exists,
        vec!["ECHO", &long],
        vec!["AUTH", "(redacted)"],
        vec!["GET", "gone"],
        vec!["SLOWLOG", "RESET"],
    ];
    assert_eq!(words, expected);
    let ids: Vec<i64> = entries.iter().map(|entry| entry.items()[0].integer()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1] + 1), "{ids:?}");
    for entry in entries {
        let [_, at_s, took_us, _, address, name] = entry.items() else { panic!("six parts: {entry}") };
        assert!(at_s.integer() > 1_700_000_000 && (0..10_000_000).contains(&took_us.integer()), "{entry}");
        assert!(address.text().starts_with("127.0.0.1:") && name.text() == "slowpoke", "{entry}");
    }
}

/// The histogram counts every run of a command; INFO has its percentiles.
#[test]
fn histograms_count_every_run() {
    let subject = Subject::start();
    for protocol in [2, 3] {
        let mut connection = subject.connect(protocol);
        connection.done("CONFIG RESETSTAT");
        (0..3).for_each(|_| drop(connection.run("GET gone")));
        connection.run("GET");
        connection.done("CLIENT ID");
        let histograms = connection.run("LATENCY HISTOGRAM get nosuch client|id");
        assert_eq!(histograms.field("get").field("calls").integer(), 3, "{histograms}");
        assert_eq!(histograms.field("client|id").field("calls").integer(), 1, "{histograms}");
        let buckets = histograms.field("get").field("histogram_usec");
        let last = match buckets {
            Value::Map(entries) => entries.last().unwrap().1.integer(),
            flat => flat.items().last().unwrap().integer(),
        };
        assert_eq!(last, 3, "{buckets}");
        let of_client = connection.run("LATENCY HISTOGRAM client");
        assert!(of_client.to_string().contains("client|id") && !of_client.to_string().contains("get"), "{of_client}");
        let info = connection.done("INFO latencystats").text();
        assert!(info.contains("\r\nlatency_percentiles_usec_get:p50="), "{info}");
        assert!(info.lines().any(|line| line.starts_with("latency_percentiles_usec_client|id:p50=")), "{info}");
        connection.done("CONFIG SET latency-tracking no");
        connection.done("CONFIG RESETSTAT");
        connection.run("GET gone");
        assert!(!connection.done("INFO latencystats").text().contains("_get"));
        connection.done("CONFIG SET latency-tracking yes");
    }
}

/// The next line a monitor shows, without time and port.
fn shown(monitor: &mut Connection) -> String {
    let Value::Simple(line) = monitor.receive().expect("a line") else { panic!("a line is a simple string") };
    let (time, rest) = line.split_once(" [").expect("a time");
    let (seconds, micros) = time.split_once('.').expect("seconds and microseconds");
    assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000) && micros.len() == 6, "{time}");
    let (client, words) = rest.split_once("] ").expect("a client");
    let (database, address) = client.split_once(' ').expect("a database");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    format!("{database} {words}")
}

/// A monitor sees what other clients run, and not what is secret or for operators.
#[test]
fn a_monitor_sees_what_runs() {
    let subject = Subject::start();
    for protocol in [2, 3] {
        let mut other = subject.connect(2);
        let mut monitor = subject.connect(protocol);
        monitor.done("MONITOR");
        other.run("GET gone");
        other.run("GET");
        other.run("nosuch");
        other.run("SELECT 5");
        other.run("CONFIG GET save");
        other.run("AUTH secret");
        other.run("HELLO 2 AUTH a secret");
        other.run("ECHO \"a\\x00\\xff\\n\\\"q \"");
        for expected in [
            "0 \"GET\" \"gone\"",
            "5 \"SELECT\" \"5\"",
            "5 \"AUTH\" \"(redacted)\"",
            "5 \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
            "5 \"ECHO\" \"a\\x00\\xff\\n\\\"q \"",
        ] {
            assert_eq!(shown(&mut monitor), expected);
        }
        let list = other.done("CLIENT LIST").text();
        assert_eq!(list.lines().filter(|line| line.contains(" flags=O ")).count(), 1, "{list}");
        assert_eq!(monitor.run("GET k").error(), "ERR Replica can't interact with the keyspace");
        assert_eq!(monitor.run("PING").to_string(), "+PONG");
        assert_eq!(shown(&mut monitor), "0 \"PING\"");
        assert_eq!(monitor.run("RESET").to_string(), "+RESET");
        other.run("PING");
        assert_eq!(monitor.run("GET gone").to_string(), "nil");
        wait::until("nobody watches", 5, || !other.done("CLIENT LIST").text().contains(" flags=O "));
    }
}
