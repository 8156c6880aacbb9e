//! Redis Cluster's client libraries under load while a node stops or dies under them.

use super::is_listed;
use crate::harness::clients::{folder, rust_clients};
use crate::harness::cluster::Cluster;
use crate::harness::wait;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a client goes on after the node is gone, before it is told to stop.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// A library that works.
struct Load {
    child: Child,
    output: BufReader<ChildStdout>,
}

/// What it told at the end.
#[derive(Debug)]
struct Told {
    operations: usize,
    failures: usize,
    gap_ms: usize,
    text: String,
}

impl Load {
    /// Starts a library's script and waits until it has written its keys. The names of older releases end in their number.
    fn start(library: &str, cluster: &Cluster) -> Load {
        let mut command = Command::new(match library {
            "redis-py" | "redis-py-7" => folder().join(".venv/bin/python"),
            "fred" | "redis" => rust_clients(),
            _ => "node".into(),
        });
        match library {
            "redis-py" => command.arg(folder().join("clients/view-load.py")),
            "redis-py-7" => {
                command.arg(folder().join("clients/view-load.py")).env("PYTHONPATH", folder().join(".venv/redis-7"))
            }
            "fred" | "redis" => command.args([library, "load", "3"]),
            _ => command.arg(folder().join("clients/view-load.mjs")).arg(library),
        };
        command.args(cluster.nodes.iter().map(|node| node.view.to_string()));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().expect("compat-tests/run installs what this needs");
        let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("its output is text");
        assert_eq!(line, "ready\n");
        Load { child, output }
    }

    fn stop(mut self) -> Told {
        self.child.stdin.take().expect("it was piped").write_all(b"stop\n").expect("it still reads");
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("its output is text");
        assert!(self.child.wait().expect("it ends").success(), "{text}");
        let number = |name: &str| {
            let line =
                text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
            line.trim().parse().expect("a number")
        };
        let (operations, failures, gap_ms) = (number("operations"), number("failures"), number("gap_ms"));
        Told { operations, failures, gap_ms, text }
    }
}

/// Lets a library work on so many nodes while something happens to node 1, and for a while after the others have dropped it.
fn during(library: &str, nodes: usize, settings: &[(&str, &str)], happens: impl FnOnce(&mut Cluster)) -> Told {
    let mut cluster = Cluster::start(nodes, settings);
    let load = Load::start(library, &cluster);
    happens(&mut cluster);
    wait::until("nobody lists it", 10, || (0..nodes).filter(|at| *at != 1).all(|at| !is_listed(&cluster, at, 1)));
    let since = Instant::now();
    wait::until("the client has worked on", 60, || since.elapsed() > AFTERWARDS);
    load.stop()
}

/// A node is told to stop: no library that follows MOVED loses one command.
#[test]
fn a_graceful_stop_fails_nothing() {
    for library in ["redis-py", "redis-py-7", "ioredis", "ioredis-5", "node-redis", "node-redis-5", "redis"] {
        let told = during(library, 4, &[("shutdown-drain-ms", "1500")], |cluster| cluster.nodes[1].tell_to_stop());
        println!("{library}, graceful stop: {told:?}");
        // node-redis throws away what it has queued for a node the moment the node is no longer listed.
        let own =
            told.text.lines().filter(|line| library.starts_with("node-redis") && line.ends_with("Disconnects client"));
        assert_eq!(told.failures, own.count(), "{library}: {}", told.text);
        assert!(told.operations > 100, "{library}: {}", told.text);
    }
}

/// A node of three or four is killed: these libraries find the next owner by themselves, within their own retries.
#[test]
fn a_killed_node_costs_most_libraries_nothing() {
    // While the dead node is still listed fred tries to reach it, and everything waits.
    for (library, nodes, gap_ms_max) in [
        ("redis-py", 4, 3000),
        ("ioredis", 4, 3000),
        ("redis-py", 3, 3000),
        ("redis-py-7", 3, 3000),
        ("ioredis", 3, 3000),
        ("ioredis-5", 3, 3000),
        ("fred", 3, 10_000),
        ("redis", 3, 3000),
    ] {
        let told = during(library, nodes, &[], |cluster| cluster.nodes[1].kill9());
        println!("{library}, kill -9: {told:?}");
        assert_eq!(told.failures, 0, "{library}: {}", told.text);
        assert!(told.operations > 100 && told.gap_ms < gap_ms_max, "{library}: {}", told.text);
    }
}

/// A node is killed: node-redis, which looks at CLUSTER SLOTS again only seconds later, heals by itself.
#[test]
fn node_redis_heals_after_a_kill() {
    let mut cluster = Cluster::start(4, &[]);
    let load = Load::start("node-redis", &cluster);
    cluster.nodes[1].kill9();
    let since = Instant::now();
    wait::until("the client has had its time", 60, || since.elapsed() > Duration::from_secs(15));
    let told = load.stop();
    println!("node-redis, kill -9: {told:?}");
    assert!(told.operations > 100 && told.gap_ms < 12_000, "{}", told.text);
}
