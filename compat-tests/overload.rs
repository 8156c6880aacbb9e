//! More than a node can do: it slows its clients down, and does not grow, fail or fall over; work in the background yields.

use crate::harness::cluster::Cluster;
use crate::harness::info::number as info;
use crate::harness::resp::Connection;
use crate::harness::wait;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// A client that asks for large values without end and never reads an answer: the node stops reading from it, so that in
/// the end it can send no more, and holds a few of its answers and not all; other clients are served as before.
#[test]
fn a_client_that_does_not_read_is_stopped() {
    let cluster = Cluster::single(&[]);
    let value = "v".repeat(100_000);
    cluster.connect(0).ask(&["SET", "large", &value]);
    let before_kib = cluster.nodes[0].resident_kib();
    let mut stream = TcpStream::connect(cluster.nodes[0].address).expect("the node takes connections");
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a timeout can be set");
    let requests = "GET large\r\n".repeat(10_000);
    let mut sent = 0;
    let stopped = loop {
        match stream.write(requests.as_bytes()) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
        assert!(sent < 64 * MIB, "the node reads on and on");
    };
    assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&stopped.kind()), "{stopped}");
    let grown_mib = cluster.nodes[0].resident_kib().saturating_sub(before_kib) / 1024;
    assert!(grown_mib < 400, "{grown_mib} MiB more for one client that does not read");
    assert_eq!(cluster.connect(0).ask(&["GET", "large"]).text(), value);
}

/// A client whose pipeline of small values turns into one of large ones: the node has a bounded number of them in memory, also
/// right after a start, when it has not seen any yet.
#[test]
fn a_pipeline_that_turns_to_large_values_is_held_a_few_at_a_time() {
    let mut cluster = Cluster::single(&[]);
    let value = "v".repeat(4 * MIB);
    cluster.connect(0).ask(&["SET", "large", &value]);
    cluster.connect(0).ask(&["SET", "small", "v"]);
    for killed in [false, true] {
        if killed {
            // What is remembered of a value's size is a second old at most.
            std::thread::sleep(Duration::from_secs(2));
            cluster.nodes[0].kill9();
            cluster.nodes[0].restart();
        }
        let before_kib = cluster.nodes[0].resident_kib();
        let mut stream = TcpStream::connect(cluster.nodes[0].address).expect("the node takes connections");
        let mut read = BufReader::new(stream.try_clone().expect("a socket can be shared"));
        let mut pass = |bytes: usize| {
            std::io::copy(&mut (&mut read).take(bytes as u64), &mut std::io::sink()).expect("it answers")
        };
        // Until batches are as large as they get.
        for _ in 0..8 {
            stream.write_all("GET small\r\n".repeat(1024).as_bytes()).expect("it is taken");
            pass(1024 * "$1\r\nv\r\n".len());
        }
        stream.write_all("GET large\r\n".repeat(600).as_bytes()).expect("it is taken");
        pass(MIB);
        let grown_mib = cluster.nodes[0].resident_kib().saturating_sub(before_kib) / 1024;
        assert!(grown_mib < 300, "{grown_mib} MiB for 600 reads of 4 MiB (after a crash: {killed})");
    }
}

/// One client's pipeline: a few hundred writes at a time.
fn press(connection: &mut Connection, name: &str, turn: usize) {
    for at in 0..300 {
        connection.send(&["SET", &format!("{name}:{}", (turn * 300 + at) % 5_000), "some value"]).expect("it is taken");
    }
    for _ in 0..300 {
        let reply = connection.receive().expect("it is answered");
        assert_eq!(reply.to_string(), "+OK");
    }
}

/// While clients keep nodes so busy that their requests take longer than they should, handing back yields: the budget sinks
/// to its floor, though never to nothing. When they leave it rises again, and the rest is handed back.
#[test]
fn work_in_the_background_yields_to_clients_and_goes_on_after() {
    const MOST: i64 = 4 << 20;
    let settings = [
        ("background-latency-target-ms", "1"),
        ("background-bytes-per-s-max", "4mb"),
        // How fast this machine is, is not the question.
        ("request-timeout-ms", "15000"),
    ];
    let mut cluster = Cluster::start(4, &settings);
    let value = "v".repeat(16 * 1024);
    cluster.nodes[3].kill9();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    let mut connection = cluster.connect(0);
    for at in 0..1_500 {
        assert_eq!(connection.ask(&["SET", &format!("missed:{at}"), &value]).to_string(), "+OK");
    }
    let sum = |cluster: &Cluster, name: &str| (0..3).map(|at| info(cluster, at, name)).sum::<i64>();
    let missed = sum(&cluster, "hints_pending");
    assert!(missed * value.len() as i64 > 3 * MOST, "{missed} hints");
    let stop = AtomicBool::new(false);
    let addresses: Vec<_> = cluster.nodes.iter().map(|node| node.address).collect();
    let left = std::thread::scope(|scope| {
        for client in 0..8 {
            let (address, stop) = (addresses[client % 3], &stop);
            scope.spawn(move || {
                let mut connection = Connection::open(address).expect("the node takes connections");
                for turn in 0.. {
                    press(&mut connection, &format!("busy:{client}"), turn);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let at_floor = |cluster: &Cluster| (0..3).all(|at| info(cluster, at, "background_budget") == MOST / 32);
        wait::until("the budgets sink to the floor", 30, || at_floor(&cluster));
        cluster.nodes[3].restart();
        wait::until("handing back waits for its budget, and goes on", 30, || {
            sum(&cluster, "background_waiting") > 0 && sum(&cluster, "hints_delivered") > 0
        });
        let left = sum(&cluster, "hints_pending");
        stop.store(true, Ordering::Relaxed);
        left
    });
    assert!(left > 0, "it was handed back at once");
    wait::until("the budgets rise again", 60, || (0..3).all(|at| info(&cluster, at, "background_budget") == MOST));
    wait::until("all is handed back", 60, || sum(&cluster, "hints_pending") == 0);
}

/// Many clients at once, each with a pipeline of megabytes: together far more than can be done within a request's time. They
/// take turns; none is told that a quorum was missed.
#[test]
fn many_large_pipelines_at_once_are_slowed_down_and_not_failed() {
    const CLIENTS: usize = 32;
    const VALUES: usize = 128;
    let cluster = Cluster::start(3, &[("request-timeout-ms", "2000")]);
    let value = "v".repeat(64 * 1024);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (cluster, value) = (&cluster, &value);
            scope.spawn(move || {
                let mut connection = cluster.connect(client % 3);
                for at in 0..VALUES {
                    connection.send(&["SET", &format!("large:{client}:{at}"), value]).expect("it is taken");
                }
                for at in 0..VALUES {
                    let reply = connection.receive().expect("it is answered");
                    assert_eq!(reply.to_string(), "+OK", "client {client}, value {at}");
                }
            });
        }
    });
}
