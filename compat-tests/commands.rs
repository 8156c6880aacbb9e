//! Commands answer as Redis 7 does: replies, options, arity and error texts, to the byte, in RESP2 and RESP3.
//!
//! The tables can be held against a real Redis: with `COMPAT_ORACLE=host:port` set, the tables of Redis's commands run there
//! (its databases are emptied key by key as the tables go). What only Dynamis has stands in tables of its own.

mod bits;
mod counters;
mod config;
mod described;
mod dump;
mod dynamis;
mod info;
mod keyspace;
mod pubsub;
mod scan;
mod server;
mod substrings;
mod tables;
mod transactions;
mod transfer;
mod watching;
mod upkeep;

use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::table::{Row, check};
use std::collections::BTreeSet;

/// What the tests talk to: a node of its own, or the Redis that the tables are held against.
struct Subject {
    cluster: Option<Cluster>,
}

impl Subject {
    fn start() -> Subject {
        let asked_for = std::env::var("COMPAT_ORACLE").is_ok();
        Subject { cluster: (!asked_for).then(|| Cluster::single(&[("enable-debug-command", "yes")])) }
    }

    fn connect(&self, protocol: u8) -> Connection {
        let mut connection = match &self.cluster {
            Some(cluster) => cluster.connect(0),
            None => {
                let address = std::env::var("COMPAT_ORACLE").expect("COMPAT_ORACLE was set at the start");
                Connection::open(address.parse().expect("COMPAT_ORACLE is host:port")).expect("the oracle answers")
            }
        };
        connection.done(&format!("HELLO {protocol}"));
        connection
    }
}

fn hold(tables: &[&[Row]]) {
    let subject = Subject::start();
    for protocol in [2, 3] {
        for table in tables {
            check(&mut subject.connect(protocol), table);
        }
    }
}

/// GET, SET with every option in any order, and their kin answer as in Redis 7.
#[test]
fn strings() {
    hold(&[tables::SET_AND_GET, tables::SET_OPTIONS, tables::SET_ERRORS, tables::OTHER_STRINGS, tables::GETEX]);
}

/// Parts of strings, LCS, bits and bit fields answer as in Redis 7.
#[test]
fn parts_of_strings_and_bits() {
    hold(&[substrings::PARTS, substrings::LCS, bits::BITS, bits::BITOP, bits::BITFIELD]);
    check(&mut Subject::start().connect(2), substrings::LCS_RESP2);
}

/// INCR, DECR, INCRBY, DECRBY and INCRBYFLOAT answer as in Redis 7, and every other command takes a counter for a string.
#[test]
fn counters() {
    hold(&[counters::COUNTERS, counters::COUNTERS_EXPIRY, counters::COUNTERS_ERRORS, counters::FLOATS]);
}

/// RENAME, RENAMENX, COPY, MOVE and SWAPDB answer as in Redis 7.
#[test]
fn keys_that_move() {
    hold(&[transfer::RENAME, transfer::COPY, transfer::MOVE, transfer::SWAPDB]);
}

/// DUMP gives and RESTORE takes Redis's own bytes; OBJECT answers as in Redis 7.
#[test]
fn dump_restore_and_object() {
    hold(&[dump::PARCELS, dump::RESTORE, dump::OBJECT]);
}

/// DEL, UNLINK, EXISTS, TOUCH, TYPE, FLUSHDB, FLUSHALL and all commands about expiry answer as in Redis 7.
#[test]
fn keys() {
    hold(&[keyspace::KEYS, keyspace::FLUSH, keyspace::EXPIRY, keyspace::EXPIRY_CONDITIONS, keyspace::EXPIRY_ERRORS]);
}

/// SCAN, KEYS and RANDOMKEY answer as in Redis 7.
#[test]
fn lists_of_keys() {
    hold(&[scan::LISTS, scan::ERRORS]);
}

/// The same on five nodes, through one that is no home of most keys: forwarding changes no reply.
#[test]
fn forwarded_commands() {
    let cluster = Cluster::start(5, &[("storage-engine", "memory")]);
    let tables = [
        tables::SET_AND_GET,
        tables::SET_OPTIONS,
        tables::SET_ERRORS,
        tables::OTHER_STRINGS,
        tables::GETEX,
        substrings::PARTS,
        substrings::LCS,
        bits::BITS,
        bits::BITOP,
        bits::BITFIELD,
        counters::COUNTERS,
        counters::COUNTERS_EXPIRY,
        counters::COUNTERS_ERRORS,
        counters::FLOATS,
        transfer::RENAME,
        transfer::COPY,
        transfer::MOVE,
        transfer::SWAPDB,
        dump::RESTORE,
        keyspace::KEYS,
        keyspace::FLUSH,
        keyspace::EXPIRY,
        keyspace::EXPIRY_CONDITIONS,
        keyspace::EXPIRY_ERRORS,
        scan::LISTS,
        transactions::MULTI,
        transactions::SPOILT,
        transactions::WATCH,
        dynamis::ROWS,
    ];
    for at in 0..5 {
        tables.iter().for_each(|table| check(&mut cluster.connect(at), table));
    }
}

/// PING, ECHO, SELECT, HELLO, AUTH, RESET, QUIT, CLIENT answer as in Redis 7.
#[test]
fn connections() {
    hold(&[tables::CONNECTION, tables::CLIENT, transactions::CLIENT]);
}

/// MULTI, EXEC, DISCARD, WATCH, UNWATCH answer as in Redis 7, whatever spoils a transaction included.
#[test]
fn transactions() {
    hold(&[transactions::MULTI, transactions::WAIT, transactions::SPOILT, transactions::WATCH]);
}

/// Too few or too many words, unknown commands and subcommands: Redis's own sentences.
#[test]
fn arity_and_unknown_commands() {
    hold(&[tables::ARITY, tables::UNKNOWN]);
}

/// TIME, DBSIZE, WAIT, CONFIG, COMMAND COUNT and GETKEYS, CLUSTER KEYSLOT answer as in Redis 7.
#[test]
fn server_commands() {
    hold(&[tables::SERVER]);
}

/// The DYN.* commands: forms, options, and errors that say whether something was changed; and what is refused for good.
#[test]
fn dyn_commands() {
    let cluster = Cluster::single(&[]);
    for protocol in [2, 3] {
        let mut connection = cluster.connect(0);
        connection.done(&format!("HELLO {protocol}"));
        check(&mut connection, dynamis::ROWS);
        check(&mut connection, dynamis::REFUSED);
    }
}

/// Every command the documentation names is listed by COMMAND, and nothing is listed that does not work.
#[test]
fn command_lists_what_works_and_nothing_else() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    let listed: BTreeSet<String> = connection.run("COMMAND LIST").items().iter().map(Value::text).collect();
    let promised = dynamis::PROMISED.split_whitespace().map(str::to_owned);
    let missing: Vec<String> = promised.filter(|name| !listed.contains(name)).collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
    // Redis lists subcommands here, and counts them not.
    let whole = listed.iter().filter(|name| !name.contains('|')).count();
    assert_eq!(connection.run("COMMAND COUNT").integer() as usize, whole);
    assert_eq!(connection.run("COMMAND").items().len(), whole);

    for entry in connection.run("COMMAND").items() {
        answers_something(&cluster, entry);
        for subcommand in entry.items()[9].items() {
            answers_something(&cluster, subcommand);
        }
    }
}

/// Sends a listed command's bare name, and with one word more than it can have; neither may be unknown.
fn answers_something(cluster: &Cluster, entry: &Value) {
    let fields = entry.items();
    assert_eq!(fields.len(), 10, "an entry of COMMAND has ten fields: {entry}");
    let (name, arity) = (fields[0].text(), fields[1].integer());
    let mut words: Vec<String> = name.split('|').map(str::to_owned).collect();
    if arity == words.len() as i64 {
        words.push("one".to_owned());
        words.push("too-many".to_owned());
    }
    if name == "shutdown" {
        words.push("not-yet".to_owned());
    }
    let reply = cluster.connect(0).ask(&words).to_string();
    assert!(!reply.contains("unknown command") && !reply.contains("unknown subcommand"), "{words:?}: {reply}");
    if arity < 0 && words.len() as i64 >= -arity {
        return;
    }
    // Redis says of EXEC what it says of every EXEC that fails.
    let start = if name == "exec" { "-EXECABORT Transaction discarded because of:" } else { "-ERR" };
    assert_eq!(reply, format!("{start} wrong number of arguments for '{name}' command"), "arity {arity}");
}

/// COMMAND INFO tells arity, flags and where the keys are, as cluster libraries need it.
#[test]
fn command_info_tells_where_the_keys_are() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    let wanted = [
        ("get", 2, (1, 1, 1)),
        ("set", -3, (1, 1, 1)),
        ("mget", -2, (1, -1, 1)),
        ("mset", -3, (1, -1, 2)),
        ("del", -2, (1, -1, 1)),
        ("exists", -2, (1, -1, 1)),
        ("dyn.get", -2, (1, 1, 1)),
        ("dyn.set", -3, (1, 1, 1)),
        ("ping", -1, (0, 0, 0)),
        ("client", -2, (0, 0, 0)),
    ];
    for (name, arity, keys) in wanted {
        let reply = connection.run(&format!("COMMAND INFO {name}"));
        let fields = reply.items()[0].items();
        let number = |at: usize| fields[at].integer();
        assert_eq!(fields[0].text(), name);
        assert_eq!((number(1), (number(3), number(4), number(5))), (arity, keys), "{name}");
    }
    assert_eq!(connection.run("COMMAND INFO nosuch").to_string(), "[nil]");
}

/// COMMAND DOCS documents every listed command: redis-cli makes its hints and its help of it.
#[test]
fn command_docs_documents_every_command() {
    let cluster = Cluster::single(&[]);
    for protocol in [2, 3] {
        let mut connection = cluster.connect(0);
        connection.done(&format!("HELLO {protocol}"));
        let docs = connection.run("COMMAND DOCS");
        for name in connection.run("COMMAND LIST").items().iter().map(Value::text) {
            let doc = match name.split_once('|') {
                Some((container, _)) => docs.field(container).field("subcommands").field(&name),
                None => docs.field(&name),
            };
            for part in ["summary", "since", "group"] {
                assert!(!doc.field(part).text().is_empty(), "{name} has no {part}");
            }
        }
        let arguments = docs.field("set").field("arguments").items();
        assert!(arguments.len() >= 4, "SET has key, value, condition, get and expiry: {arguments:?}");
        assert_eq!(arguments[0].field("type").text(), "key");
    }
}
