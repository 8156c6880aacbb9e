//! Transactions over several nodes, through real clients, and while nodes die: what was queued runs whole and in order or not
//! at all, nil means that nothing ran, and what failed is told in its place.

use crate::harness::clients::python;
use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value, request};
use crate::harness::table::words;
use crate::harness::wait;
use std::io::Write;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

/// Sends lines in one write.
fn pipeline(connection: &mut Connection, lines: &[&str]) {
    let bytes: Vec<u8> = lines.iter().flat_map(|line| request(&words(line))).collect();
    connection.write(&bytes).expect("the node reads");
}

/// Sends lines in one write; their replies.
fn replies(connection: &mut Connection, lines: &[&str]) -> Vec<String> {
    pipeline(connection, lines);
    lines
        .iter()
        .map(|line| connection.receive().unwrap_or_else(|error| panic!("{line}: {error}")).to_string())
        .collect()
}

/// redis-py: its default pipeline is a transaction, its WATCH loops lose no count at one node.
#[test]
fn redis_py_s_transactions_work() {
    let cluster = Cluster::start(3, &[]);
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.address.to_string()).collect();
    for protocol in ["2", "3"] {
        let arguments: Vec<&str> = [protocol].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        python("transactions.py", &arguments);
    }
}

/// Several transactions in one write, with plain commands between them, and one that comes in pieces.
#[test]
fn transactions_can_be_pipelined_and_cut_anywhere() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    let lines = [
        "SET a 0", "MULTI", "SET a 1", "GET a", "EXEC", "GET a", "MULTI", "GET a", "SET b 1", "DEL a b", "EXEC",
        "WATCH b", "MULTI", "SET b 2", "EXEC", "MULTI", "NOSUCH", "EXEC", "GET b", "MULTI", "SET b 3", "DISCARD",
        "GET b",
    ];
    let unknown = "-ERR unknown command 'NOSUCH', with args beginning with: ";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    let wanted = [
        "+OK",
        "+OK",
        "+QUEUED",
        "+QUEUED",
        "[+OK, \"1\"]",
        "\"1\"",
        "+OK",
        "+QUEUED",
        "+QUEUED",
        "+QUEUED",
        "[\"1\", +OK, :2]",
        "+OK",
        "+OK",
        "+QUEUED",
        "[+OK]",
        "+OK",
        unknown,
        aborted,
        "\"2\"",
        "+OK",
        "+QUEUED",
        "+OK",
        "\"2\"",
    ];
    assert_eq!(replies(&mut connection, &lines), wanted);
    // Cut everywhere: each piece is a batch of its own.
    let bytes: Vec<u8> = lines.iter().flat_map(|line| request(&words(line))).collect();
    for piece in bytes.chunks(7) {
        connection.socket().write_all(piece).unwrap();
        std::thread::yield_now();
    }
    let cut: Vec<String> = lines.iter().map(|_| connection.receive().unwrap().to_string()).collect();
    assert_eq!(cut, wanted);
    // Longer than a batch.
    let sets: Vec<String> = (0..3000).map(|at| format!("SET long:{at} {at}")).collect();
    let long: Vec<&str> = ["MULTI"].into_iter().chain(sets.iter().map(String::as_str)).chain(["EXEC"]).collect();
    let answered = replies(&mut connection, &long);
    assert_eq!(answered[3001], format!("[{}]", vec!["+OK"; 3000].join(", ")));
    assert_eq!(cluster.connect(1).done("GET long:2999").text(), "2999");
}

/// CLIENT REPLY holds for transactions as a whole, and HELLO in one changes the protocol.
#[test]
fn replies_of_a_transaction_are_whole_or_none() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    pipeline(&mut connection, &["CLIENT REPLY OFF", "MULTI", "SET a 1", "EXEC", "CLIENT REPLY ON", "GET a"]);
    assert_eq!(
        [connection.receive().unwrap().to_string(), connection.receive().unwrap().to_string()],
        ["+OK", "\"1\""]
    );
    pipeline(&mut connection, &["MULTI", "CLIENT REPLY OFF", "GET a", "EXEC", "PING", "CLIENT REPLY ON"]);
    let got: Vec<String> = (0..5).map(|_| connection.receive().unwrap().to_string()).collect();
    assert_eq!(got, ["+OK", "+QUEUED", "+QUEUED", "[+OK, \"1\"]", "+OK"]);
    pipeline(&mut connection, &["MULTI", "HELLO 3", "GET none", "EXEC", "GET none"]);
    let got: Vec<Value> = (0..5).map(|_| connection.receive().unwrap()).collect();
    assert_eq!(got[3].items()[0].field("proto").integer(), 3);
    assert_eq!((got[3].items()[1].clone(), got[4].clone()), (Value::Nil, Value::Nil));
}

/// A client that goes away before EXEC has changed nothing, and QUIT in a transaction runs none of it.
#[test]
fn a_client_that_vanishes_before_exec_has_changed_nothing() {
    let cluster = Cluster::single(&[]);
    let mut gone = cluster.connect(0);
    replies(&mut gone, &["MULTI", "SET k 1", "DEL l"]);
    drop(gone);
    let mut quits = cluster.connect(0);
    assert_eq!(replies(&mut quits, &["MULTI", "SET k 1", "QUIT"]), ["+OK", "+QUEUED", "+OK"]);
    assert!(quits.rest().unwrap().is_empty());
    let mut connection = cluster.connect(0);
    wait::until("they are gone", 20, || connection.done("CLIENT LIST").text().lines().count() == 1);
    assert_eq!(connection.run("GET k"), Value::Nil);
}

/// What is queued counts as unread: beyond client-query-buffer-limit the connection is closed, and nothing of it runs.
#[test]
fn a_queue_is_bounded_by_the_query_buffer_limit() {
    let cluster = Cluster::single(&[("client-query-buffer-limit", "1mb")]);
    let mut connection = cluster.connect(0);
    connection.done("MULTI");
    let value = "v".repeat(100_000);
    let mut answered = Vec::new();
    while let Ok(reply) = connection.try_ask(&["SET", "k", &value]) {
        answered.push(reply.to_string());
    }
    assert!((9..=10).contains(&answered.iter().filter(|reply| *reply == "+QUEUED").count()), "{answered:?}");
    assert_eq!(answered.last().unwrap(), "-ERR queued commands exceed client-query-buffer-limit");
    assert_eq!(cluster.connect(0).run("GET k"), Value::Nil);
}

/// A watched key that is changed at another node, deleted there, or expires, makes EXEC answer nil; nothing ran.
#[test]
fn watch_sees_what_other_nodes_did() {
    let cluster = Cluster::start(3, &[]);
    let (mut here, mut there) = (cluster.connect(0), cluster.connect(1));
    here.done("SET other 0");
    for change in ["SET k 2", "DEL k", "EXPIRE k 1000", "DYN.SET k sibling", "GETSET k 3", "FLUSHALL"] {
        there.done("SET k 1");
        wait::until("the first value is here", 20, || here.run("GET k").to_string() == "\"1\"");
        here.done("WATCH k");
        there.done(change);
        let got = replies(&mut here, &["MULTI", "SET other 1", "SET k mine", "EXEC"]);
        assert_eq!(got[3], "nil", "{change}");
        assert_ne!(there.run("GET other").to_string(), "\"1\"", "{change}");
        assert_ne!(there.run("GET k").to_string(), "\"mine\"", "{change}");
    }
    here.done("SET k 1 PX 800");
    here.done("WATCH k");
    wait::until("it expires", 20, || here.run("GET k") == Value::Nil);
    assert_eq!(replies(&mut here, &["MULTI", "SET k mine", "EXEC"])[2], "nil");
    // Expired before it was watched, and swept away meanwhile: nobody touched it.
    here.done("WATCH k");
    assert_eq!(replies(&mut here, &["MULTI", "SET k mine", "EXEC"])[2], "[+OK]");
}

/// Loops of WATCH, GET, SET at one node: each EXEC that is not nil counts, none is lost.
#[test]
fn compare_and_set_at_one_node_loses_nothing() {
    let cluster = Cluster::start(3, &[]);
    let won: i64 = std::thread::scope(|scope| {
        let count = || {
            let mut connection = cluster.connect(0);
            let mut won = 0;
            for _ in 0..150 {
                connection.done("WATCH n");
                let value: i64 = match connection.run("GET n") {
                    Value::Nil => 0,
                    value => value.text().parse().expect("a count"),
                };
                let set = format!("SET n {}", value + 1);
                won += i64::from(replies(&mut connection, &["MULTI", &set, "EXEC"])[2] == "[+OK]");
            }
            won
        };
        let loops: Vec<_> = (0..6).map(|_| scope.spawn(count)).collect();
        loops.into_iter().map(|each| each.join().unwrap()).sum()
    });
    assert!(won > 0);
    assert_eq!(cluster.connect(0).done("GET n").text(), won.to_string());
}

/// Where a quorum is missed inside EXEC that command's error stands in its place, and the others run. Where the watched keys
/// cannot be read, nothing runs.
#[test]
fn a_missed_quorum_is_told_in_its_place() {
    let mut cluster = Cluster::start(3, &[("sloppy", "no")]);
    cluster.set_policy(0, 1, "N 3 R 1 W 1 SLOPPY no");
    let mut connection = cluster.connect(0);
    connection.done("SET k 1");
    connection.done("WATCH k");
    for node in [1, 2] {
        cluster.nodes[node].kill9();
    }
    cluster.wait_until_reachable(0, &[0]);
    let got = replies(&mut connection, &["MULTI", "SET l 1", "EXEC"]);
    let start =
        "-EXECABORT Transaction discarded because a watched key could not be read: NOREPLICAS Not enough good replicas";
    assert!(got[2].starts_with(start) && got[2].contains("nothing was changed"), "{}", got[2]);
    assert!(connection.run("WATCH k").to_string().starts_with("-NOREPLICAS "));
    let got = replies(&mut connection, &["MULTI", "SET l 1", "EXEC"]);
    assert!(got[2].starts_with("-EXECABORT Transaction discarded because a WATCH before it failed"), "{}", got[2]);

    let got =
        replies(&mut connection, &["MULTI", "SET k 2", "SELECT 1", "SET k 2", "GET k", "SELECT 0", "GET k", "EXEC"]);
    let refused =
        "[-NOREPLICAS Not enough good replicas to write. 1 of 2 needed replicas can be reached; nothing was changed";
    assert!(got[7].starts_with(refused) && got[7].contains(", +OK, +OK, \"2\", +OK, -NOREPLICAS "), "{}", got[7]);
}

/// A node dies while clients run transactions at the others: every EXEC is answered with an array, and a command that was
/// answered OK in it is there, whatever became of the others.
#[test]
fn a_node_that_dies_takes_no_acknowledged_command_of_a_transaction_with_it() {
    let mut cluster = Cluster::start(3, &[]);
    let (stop, run) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = cluster.nodes[0].address;
    let acknowledged = std::thread::scope(|scope| {
        let writer = |of: usize| {
            let (stop, run) = (&stop, &run);
            move || {
                let mut connection = Connection::open(address).unwrap();
                let (mut acknowledged, mut at) = (Vec::new(), 0);
                while !stop.load(Relaxed) {
                    let keys: Vec<String> = (0..5).map(|part| format!("tx:{of}:{at}:{part}")).collect();
                    let sets: Vec<String> = keys.iter().map(|key| format!("SET {key} {at}")).collect();
                    let watch = format!("WATCH {}", keys[0]);
                    let lines: Vec<&str> = [&watch[..], "MULTI"]
                        .into_iter()
                        .chain(sets.iter().map(String::as_str))
                        .chain(["EXEC"])
                        .collect();
                    pipeline(&mut connection, &lines);
                    let answers: Vec<Value> = lines.iter().map(|_| connection.receive().unwrap()).collect();
                    match answers.last().unwrap() {
                        Value::Array(parts) => {
                            assert_eq!(parts.len(), 5, "{answers:?}");
                            let done = keys.iter().zip(parts).filter(|(_, part)| part.to_string() == "+OK");
                            acknowledged.extend(done.map(|(key, _)| (key.clone(), at)));
                        }
                        Value::Error(line) => assert!(line.starts_with("EXECABORT "), "{line}"),
                        other => panic!("nobody else writes these keys: {other}"),
                    }
                    at += 1;
                    run.fetch_add(1, Relaxed);
                }
                acknowledged
            }
        };
        let writers: Vec<_> = (0..4).map(|of| scope.spawn(writer(of))).collect();
        let reached = |count| wait::until("transactions are run", 60, || run.load(Relaxed) >= count);
        reached(100);
        cluster.nodes[2].kill9();
        reached(run.load(Relaxed) + 200);
        stop.store(true, Relaxed);
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<(String, usize)>>()
    });
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    let mut reader = cluster.connect(1);
    for (key, at) in acknowledged {
        assert_eq!(reader.done(&format!("GET {key}")).text(), at.to_string(), "{key}");
    }
}

/// The line of a connection in CLIENT LIST.
fn line_of(connection: &mut Connection, id: i64) -> String {
    connection.done(&format!("CLIENT LIST ID {id}")).text()
}

/// CLIENT PAUSE WRITE holds writes and EXECs that write, at this node only, until UNPAUSE or its end; PAUSE ALL everything.
#[test]
fn a_pause_holds_what_it_says() {
    let cluster = Cluster::start(3, &[]);
    let mut operator = cluster.connect(0);
    let (mut plain, mut queues) = (cluster.connect(0), cluster.connect(0));
    let id = plain.done("CLIENT ID").integer();
    replies(&mut queues, &["MULTI", "SET b 1"]);
    operator.done("CLIENT PAUSE 100000 WRITE");
    assert_eq!(replies(&mut operator, &["GET a", "MULTI", "GET a", "EXEC", "SET", "PING"])[3], "[nil]");
    pipeline(&mut plain, &["GET a", "SET a 1", "GET a"]);
    pipeline(&mut queues, &["EXEC"]);
    assert_eq!(plain.receive().unwrap(), Value::Nil, "what came before it is answered");
    wait::until("both are held", 20, || operator.done("INFO clients").text().contains("blocked_clients:2\r\n"));
    assert!(line_of(&mut operator, id).contains(" flags=b "));
    assert_eq!(operator.done(&format!("CLIENT UNBLOCK {id}")).integer(), 0, "a pause is not ended so");
    assert_eq!(cluster.connect(1).done("SET c 1").text(), "OK", "other nodes are not held");
    assert_eq!(operator.run("GET a"), Value::Nil);
    operator.done("CLIENT UNPAUSE");
    assert_eq!(plain.receive().unwrap().to_string(), "+OK");
    assert_eq!(plain.receive().unwrap().to_string(), "\"1\"");
    assert_eq!(queues.receive().unwrap().to_string(), "[+OK]");
    assert!(line_of(&mut operator, id).contains(" flags=N "));

    let begun = Instant::now();
    operator.done("CLIENT PAUSE 300");
    plain.done("PING");
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // Who goes away, or is shown out, while held up is gone.
    operator.done("CLIENT PAUSE 100000 WRITE");
    pipeline(&mut plain, &["SET a 2"]);
    wait::until("it is held", 20, || line_of(&mut operator, id).contains(" flags=b "));
    assert_eq!(operator.done(&format!("CLIENT KILL ID {id}")).integer(), 1);
    assert!(plain.rest().unwrap().is_empty());
    let mut publisher = cluster.connect(0);
    pipeline(&mut publisher, &["PUBLISH news x"]);
    wait::until("a message is held, too", 20, || {
        operator.done("INFO clients").text().contains("blocked_clients:1\r\n")
    });
    operator.done("CLIENT UNPAUSE");
    assert_eq!(publisher.receive().unwrap().integer(), 0);
    assert_eq!(operator.done("GET a").text(), "1");
}

/// CLIENT UNBLOCK lets a WAIT go on, with what is known or with an error; inside EXEC WAIT never waits.
#[test]
fn a_wait_can_be_ended() {
    let mut cluster = Cluster::start(3, &[]);
    let (mut waits, mut operator) = (cluster.connect(0), cluster.connect(0));
    let id = waits.done("CLIENT ID").integer();
    cluster.nodes[2].kill9();
    waits.done("SET k 1");
    for (how, answer) in [("", ":1"), (" TIMEOUT", ":1"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")]
    {
        waits.done("SET k 1");
        pipeline(&mut waits, &["WAIT 2 0"]);
        wait::until("it waits", 20, || line_of(&mut operator, id).contains(" flags=b "));
        let unblock = format!("CLIENT UNBLOCK {id}{how}");
        wait::until("it is let go", 20, || operator.done(&unblock).integer() == 1);
        assert_eq!(waits.receive().unwrap().to_string(), answer, "{how}");
    }
    assert_eq!(operator.done(&format!("CLIENT UNBLOCK {id}")).integer(), 0);
    let got = replies(&mut waits, &["MULTI", "SET k 2", "WAIT 2 0", "EXEC"]);
    assert!(got[3] == "[+OK, :1]" || got[3] == "[+OK, :0]", "{}", got[3]);
}

/// CLIENT LIST shows what a transaction holds, and CLIENT KILL filters hold together.
#[test]
fn clients_are_listed_and_shown_out() {
    let cluster = Cluster::single(&[]);
    let mut operator = cluster.connect(0);
    let (mut a, mut b) = (cluster.connect(0), cluster.connect(0));
    let ids = [a.done("CLIENT ID").integer(), b.done("CLIENT ID").integer()];
    replies(&mut a, &["MULTI", "SET k 1", "GET k"]);
    let line = line_of(&mut operator, ids[0]);
    assert!(line.contains(" flags=x ") && line.contains(" multi=2 ") && !line.contains(" multi-mem=0 "), "{line}");
    assert!(line_of(&mut operator, ids[1]).contains(" multi=-1 "));
    let listed = operator.done(&format!("CLIENT LIST ID {} 999999 {} {}", ids[1], ids[0], ids[1])).text();
    let listed: Vec<&str> = listed.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(
        listed,
        [ids[1], ids[0], ids[1]].map(|id| format!("id={id}")),
        "as often, and in the order, as asked for"
    );
    assert_eq!(operator.done(&format!("CLIENT KILL ID {} TYPE pubsub", ids[0])).integer(), 0);
    assert_eq!(operator.done(&format!("CLIENT KILL ID {} TYPE normal USER default", ids[0])).integer(), 1);
    assert!(a.rest().unwrap().is_empty());
    // Whoever looked whether the node was up has closed; the node may have been too busy to hear of it.
    wait::until("only two are left", 10, || operator.done("CLIENT LIST").text().lines().count() == 2);
    assert_eq!(replies(&mut b, &["MULTI", "CLIENT KILL SKIPME no", "SET k 1", "EXEC"])[3], "[:2, +OK]");
    assert!(b.rest().unwrap().is_empty());
    assert_eq!(cluster.connect(0).done("GET k").text(), "1", "an EXEC runs to its end");
}
