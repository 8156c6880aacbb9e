//! The door's manners: whatever bytes come in, in whatever pieces, a node answers as Redis does, or closes, and lives on.

use crate::harness::cluster::Cluster;
use crate::harness::node::Node;
use crate::harness::random::Random;
use crate::harness::resp::{Connection, request};
use crate::harness::wait;
use std::io::Write;
use std::time::Duration;

/// Requests in one pipeline.
const PIPELINE: usize = 10_000;
/// Connections that announce a huge length and then say no more.
const BOASTERS: usize = 60;
/// Memory a node may gain from them, in KiB: far below what one of them announced.
const BOASTED_KIB_MAX: u64 = 64 * 1024;
/// Connections that send garbage.
const GARBAGE_CONNECTIONS: u64 = 400;

/// A request may have as many words as Redis 7 takes, which is more than Redis 6 took.
#[test]
fn a_million_words_and_more_are_one_request() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    let words = vec!["PING"; 1024 * 1024 + 1];
    assert_eq!(connection.ask(&words).to_string(), "-ERR wrong number of arguments for 'ping' command");
    assert_eq!(connection.run("PING").to_string(), "+PONG");
}

/// Inline commands: words at spaces, quotes, empty lines, bare line feeds.
#[test]
fn inline_commands() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    for (sent, reply) in [
        ("PING\r\n", "+PONG"),
        ("ping\n", "+PONG"),
        ("\r\n\r\n\nPING\r\n", "+PONG"),
        ("SET  inline   \"a b\\x41\\n\"\r\n", "+OK"),
        ("GET inline\r\n", "\"a bA\\n\""),
        ("SET inline 'it\\'s'\r\n", "+OK"),
        ("get 'inline'\r\n", "\"it\\'s\""),
        ("NOSUCH a\r\n", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' "),
        ("*0\r\nPING\r\n", "+PONG"),
        ("*-1\r\nPING\r\n", "+PONG"),
    ] {
        connection.write(sent.as_bytes()).unwrap();
        assert_eq!(connection.receive().unwrap().to_string(), reply, "{sent:?}");
    }
}

/// A pipeline of ten thousand requests is answered in order, though its replies are read only afterwards, and though the nodes
/// compare what they hold all the time, which gives a replica a later write before it is asked for an earlier one.
#[test]
fn a_deep_pipeline_keeps_its_order() {
    let cluster = Cluster::start(3, &[("exchange-interval-ms", "100"), ("request-timeout-ms", "15000")]);
    let mut connection = cluster.connect(0);
    let mut bytes = Vec::new();
    for at in 0..PIPELINE / 2 {
        bytes.extend(request(&["SET", &format!("pipe:{}", at % 97), &at.to_string()]));
        bytes.extend(request(&["GET", &format!("pipe:{}", at % 97)]));
    }
    let mut socket = connection.socket().try_clone().unwrap();
    let writer = std::thread::spawn(move || socket.write_all(&bytes));
    for at in 0..PIPELINE / 2 {
        assert_eq!(connection.receive().unwrap().to_string(), "+OK");
        assert_eq!(connection.receive().unwrap().to_string(), format!("\"{at}\""), "a GET sees the SET before it");
    }
    writer.join().unwrap().unwrap();
}

/// A pipeline whose replies nobody reads yet is not lost and does not stop other clients.
#[test]
fn a_client_that_does_not_read_harms_nobody() {
    let cluster = Cluster::single(&[]);
    let mut lazy = cluster.connect(0);
    let value = "x".repeat(10_000);
    lazy.ask(&["SET", "big", &value]);
    let mut socket = lazy.socket().try_clone().unwrap();
    let gets = request(&["GET", "big"]).repeat(2_000);
    let writer = std::thread::spawn(move || socket.write_all(&gets));
    let mut other = cluster.connect(0);
    for _ in 0..100 {
        assert_eq!(other.run("PING").to_string(), "+PONG");
    }
    for _ in 0..2_000 {
        assert_eq!(lazy.receive().unwrap().text().len(), value.len());
    }
    writer.join().unwrap().unwrap();
}

/// Requests cut in two at every byte, and sent byte by byte, are answered as if they had come whole.
#[test]
fn requests_may_be_split_at_any_byte() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    let mut bytes = request(&[&b"SET"[..], b"split", b"a\r\n$b*\x00"]);
    bytes.extend(request(&["GET", "split"]));
    bytes.extend(b"PING \"in line\"\r\n");
    bytes.extend(request(&["MGET", "split", "", "none"]));
    let expect = |connection: &mut Connection, at: usize| {
        for reply in ["+OK", "\"a\\r\\n$b*\\x00\"", "\"in line\"", "[\"a\\r\\n$b*\\x00\", nil, nil]"] {
            assert_eq!(connection.receive().unwrap().to_string(), reply, "split at {at}");
        }
    };
    for at in 1..bytes.len() {
        connection.write(&bytes[..at]).unwrap();
        // Long enough that the first piece is read alone, most times; the replies must be right either way.
        std::thread::sleep(Duration::from_millis(1));
        connection.write(&bytes[at..]).unwrap();
        expect(&mut connection, at);
    }
    for byte in &bytes {
        connection.write(std::slice::from_ref(byte)).unwrap();
    }
    expect(&mut connection, 0);
}

/// Malformed requests get Redis's own sentence, after the replies of what came before, and the connection is closed.
#[test]
fn malformed_requests_are_told_and_closed() {
    let cluster = Cluster::single(&[]);
    let long = "x".repeat(70_000);
    let cases: &[(&str, &str)] = &[
        ("*abc\r\n", "invalid multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*99999999999999999999\r\n", "invalid multibulk length"),
        ("*1x\r\n", "invalid multibulk length"),
        ("*1\r\nPING\r\n", "expected '$', got 'P'"),
        ("*1\r\n:1\r\n", "expected '$', got ':'"),
        ("*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        ("*1\r\n$abc\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("SET \"a\r\n", "unbalanced quotes in request"),
        ("SET \"a\"b\r\n", "unbalanced quotes in request"),
        ("SET 'a\r\n", "unbalanced quotes in request"),
        (&long, "too big inline request"),
    ];
    for (sent, told) in cases {
        let mut connection = cluster.connect(0);
        connection.write(format!("PING\r\n{sent}").as_bytes()).unwrap();
        let all = String::from_utf8(connection.rest().unwrap()).unwrap();
        let shown = &sent[..sent.len().min(40)];
        assert_eq!(all, format!("+PONG\r\n-ERR Protocol error: {told}\r\n"), "{shown:?}");
    }
}

/// A browser that was lured into speaking to a node is hung up on, and runs nothing.
#[test]
fn http_is_hung_up_on() {
    let cluster = Cluster::single(&[]);
    for opening in ["POST / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut connection = cluster.connect(0);
        connection.write(format!("{opening}SET http 1\r\nPING\r\n").as_bytes()).unwrap();
        let all = String::from_utf8(connection.rest().unwrap()).unwrap();
        assert!(!all.contains("PONG") && !all.contains("OK"), "{opening:?}: {all:?}");
    }
    assert_eq!(cluster.connect(0).run("GET http").to_string(), "nil");
}

/// Who has not given the password cannot make a node hold much: few words, short ones.
#[test]
fn strangers_have_less_room() {
    let mut cluster = Cluster::prepared(1, &[("requirepass", "s3cret")], None);
    cluster.nodes[0].start();
    wait::until("the node listens", 20, || cluster.nodes[0].try_connect().is_ok());
    for (sent, told) in
        [("*11\r\n", "unauthenticated multibulk length"), ("*2\r\n$16385\r\n", "unauthenticated bulk length")]
    {
        let mut connection = cluster.connect(0);
        connection.write(sent.as_bytes()).unwrap();
        let all = String::from_utf8(connection.rest().unwrap()).unwrap();
        assert_eq!(all, format!("-ERR Protocol error: {told}\r\n"), "{sent:?}");
    }
}

/// Announcing a huge length takes no memory; only bytes that came do.
#[test]
fn announced_lengths_take_no_memory() {
    let cluster = Cluster::single(&[]);
    cluster.connect(0).done("SET k v");
    let before = cluster.nodes[0].resident_kib();
    let mut open = Vec::new();
    for at in 0..BOASTERS {
        let mut connection = cluster.connect(0);
        connection.done("PING");
        let boast = match at % 3 {
            0 => "*1\r\n$536870912\r\nabc",
            1 => "*2147483647\r\n$3\r\nabc\r\n",
            _ => "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nabc",
        };
        connection.write(boast.as_bytes()).unwrap();
        open.push(connection);
    }
    alive(&cluster.nodes[0]);
    let after = cluster.nodes[0].resident_kib();
    assert!(after < before + BOASTED_KIB_MAX, "resident: {before} KiB before, {after} KiB after");
    assert_eq!(open.len(), BOASTERS);
}

/// Nested arrays, which once overflowed a parser's stack, are refused at the second level.
#[test]
fn nested_arrays_are_refused() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    connection.write("*1\r\n".repeat(100_000).as_bytes()).ok();
    let all = String::from_utf8(connection.rest().unwrap()).unwrap();
    assert_eq!(all, "-ERR Protocol error: expected '$', got '*'\r\n");
    alive(&cluster.nodes[0]);
}

/// A value as large as `proto-max-bulk-len` comes back whole; a larger one is refused.
#[test]
fn the_largest_value_is_kept_and_a_larger_one_refused() {
    let cluster = Cluster::single(&[("proto-max-bulk-len", "1mb")]);
    let mut connection = cluster.connect(0);
    let value = "v".repeat(1 << 20);
    assert_eq!(connection.ask(&["SET", "large", &value]).to_string(), "+OK");
    assert_eq!(connection.ask(&["GET", "large"]).text(), value);
    connection.write(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", (1 << 20) + 1).as_bytes()).unwrap();
    assert_eq!(connection.rest().unwrap(), b"-ERR Protocol error: invalid bulk length\r\n");
}

/// Random bytes, random pieces of the protocol and mutilated commands, in random pieces: the node never falls over, its
/// log tells of no panic, and other clients are served all the while.
#[test]
fn garbage_never_harms_a_node() {
    let cluster = Cluster::single(&[]);
    let pid = cluster.nodes[0].pid();
    for seed in 0..GARBAGE_CONNECTIONS {
        let mut random = Random::new(seed);
        let Ok(mut connection) = cluster.nodes[0].try_connect() else { panic!("refused at seed {seed}") };
        for _ in 0..1 + random.below(4) {
            // The node may have hung up by now, as it should.
            if connection.write(&garbage(&mut random)).is_err() {
                break;
            }
        }
        if seed % 20 == 0 {
            alive(&cluster.nodes[0]);
        }
    }
    alive(&cluster.nodes[0]);
    assert_eq!(cluster.nodes[0].pid(), pid);
    let log = std::fs::read_to_string(&cluster.nodes[0].log).unwrap();
    assert!(!log.contains("panicked"), "{}", cluster.nodes[0].log_tail());
}

/// The bus port, too, takes any garbage: the link is closed and the cluster goes on.
#[test]
fn garbage_on_the_bus_never_harms_a_node() {
    let cluster = Cluster::start(3, &[]);
    for seed in 0..GARBAGE_CONNECTIONS / 2 {
        let mut random = Random::new(seed);
        let mut connection =
            Connection::open(cluster.nodes[0].bus).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        // The node may have hung up by now, as it should.
        let _ = connection.write(&garbage(&mut random));
    }
    let mut connection = cluster.connect(1);
    assert_eq!(connection.run("SET after-garbage v").to_string(), "+OK");
    alive(&cluster.nodes[0]);
    let log = std::fs::read_to_string(&cluster.nodes[0].log).unwrap();
    assert!(!log.contains("panicked"), "{}", cluster.nodes[0].log_tail());
}

fn alive(node: &Node) {
    let mut connection = node.connect();
    assert_eq!(connection.run("PING still-here").to_string(), "\"still-here\"");
}

/// Some bytes: anything from noise to almost a command.
fn garbage(random: &mut Random) -> Vec<u8> {
    const PIECES: &[&str] = &[
        "*",
        "$",
        "\r\n",
        "\n",
        "\r",
        "*1\r\n",
        "*3\r\n",
        "$3\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "SET",
        "GET",
        "\"",
        "'",
        "\\x",
        "*-1\r\n",
        "*2147483647\r\n",
        "$536870912\r\n",
        ":1\r\n",
        "+OK\r\n",
        "-ERR\r\n",
        "%1\r\n",
        "_\r\n",
        "$3\r\nSET\r\n",
        "$3\r\nGET\r\n",
        "$1\r\nk\r\n",
        "$7\r\nDYN.SET\r\n",
        "$5\r\nHELLO\r\n",
        "$1\r\n3\r\n",
        "EX",
        "$7\r\nCONTEXT\r\n",
        "$4\r\nAAAA\r\n",
        "PING\r\n",
        "\0",
        "\u{fffd}",
        " ",
        "9999999999999999999999",
    ];
    let mut bytes = Vec::new();
    match random.below(3) {
        0 => (0..random.below(2_000)).for_each(|_| bytes.push(random.next() as u8)),
        1 => (0..random.below(200)).for_each(|_| bytes.extend_from_slice(random.pick(PIECES).as_bytes())),
        _ => {
            let words = [
                "SET",
                "DYN.GET",
                "DYN.SET",
                "k",
                "v",
                "EX",
                "-1",
                "CONTEXT",
                "CLIENT",
                "MSET",
                "18446744073709551616",
            ];
            let count = 1 + random.below(6);
            let words: Vec<&str> = (0..count).map(|_| *random.pick(&words)).collect();
            bytes = request(&words).repeat(1 + random.below(3));
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = random.next() as u8;
            }
        }
    }
    bytes
}
