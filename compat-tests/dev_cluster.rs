//! `--dev-cluster 3`: the README's first command.

use crate::harness::clients::run;
use crate::harness::node::{BINARY, command};
use crate::harness::permits::Permit;
use crate::harness::resp::Connection;
use crate::harness::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// The ports are fixed, so one at a time.
static PORTS: Mutex<()> = Mutex::new(());

/// A line about one node.
struct Line {
    address: SocketAddr,
    pid: i32,
    dir: PathBuf,
}

/// A running dev cluster and all it printed.
struct DevCluster {
    parent: Child,
    nodes: Vec<Line>,
    commands: Vec<String>,
    dir: TempDir,
}

impl DevCluster {
    fn start() -> DevCluster {
        DevCluster::start_with(&[])
    }

    fn start_with(flags: &[&str]) -> DevCluster {
        let dir = tempfile::tempdir().unwrap();
        let mut parent = command(None)
            .args(["--dev-cluster", "3"])
            .args(flags)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.path().join("log")).expect("a log can be written"))
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(parent.stdout.take().expect("its output was piped"));
        let (mut nodes, mut commands) = (Vec::new(), Vec::new());
        for line in output.lines().map(|line| line.expect("its output is text")) {
            if let Some(node) = node_of(&line, dir.path()) {
                nodes.push(node);
            } else if line.trim_start().starts_with("redis-cli ") {
                commands.push(line.trim().to_owned());
            } else if line.contains("Ctrl-C") {
                break;
            }
        }
        DevCluster { parent, nodes, commands, dir }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.parent.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own child takes signals");
    }

    fn all_gone(&self) -> bool {
        self.nodes.iter().all(|node| !is_ours(node.pid))
            && self.nodes.iter().all(|node| TcpListener::bind(node.address).is_ok())
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        // Both may be over already; then there is nothing to do.
        let _ = self.parent.kill();
        let _ = self.parent.wait();
        for pid in self.nodes.iter().filter(|node| is_ours(node.pid)).filter_map(|node| Pid::from_raw(node.pid)) {
            let _ = kill_process(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("---- the log of the dev cluster:\n{log}");
        }
    }
}

/// Whether a process runs, and is the binary under test.
fn is_ours(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(BINARY))
}

/// `127.0.0.1:7001  pid 123  directory`
fn node_of(line: &str, base: &Path) -> Option<Line> {
    let mut words = line.split_whitespace();
    let address = words.next()?.parse().ok()?;
    let (_, pid, dir) = (words.next().filter(|word| *word == "pid")?, words.next()?.parse().ok()?, words.next()?);
    Some(Line { address, pid, dir: base.join(dir) })
}

/// Three processes on 7001 to 7003, each with its own directory; the three printed commands work; Ctrl-C stops them all,
/// and the next start has the data.
#[test]
fn three_nodes_to_try_and_ctrl_c_stops_them_all() {
    let _permit = Permit::take(3);
    let _ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = DevCluster::start();
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]);
    for (at, node) in cluster.nodes.iter().enumerate() {
        assert!(is_ours(node.pid), "pid {} is a process of this program", node.pid);
        assert!(node.dir.is_dir(), "{} is a directory", node.dir.display());
        let bus = SocketAddr::new(node.address.ip(), node.address.port() + 10_000);
        assert!(TcpListener::bind(bus).is_err(), "the bus port is taken");
        let others = &cluster.nodes[at + 1..];
        assert!(others.iter().all(|other| other.pid != node.pid && other.dir != node.dir));
    }
    assert_eq!(cluster.commands.len(), 3);
    for line in &cluster.commands {
        let words: Vec<&str> = line.split(' ').collect();
        let said = run(words[0], &words[1..]).expect_well(line);
        assert!(!said.starts_with("ERR") && !said.contains("(error)"), "{line}: {said}");
    }
    let mut connection = Connection::open(cluster.nodes[2].address).unwrap();
    connection.done("SET kept yes");
    cluster.signal(Signal::INT);
    assert!(cluster.parent.wait().unwrap().success(), "Ctrl-C is a clean end");
    assert!(cluster.all_gone(), "no node outlives it");
}

/// `--port` and `--dir` say where the nodes are, also where a password is asked for; what each must have of its own is refused, not ignored.
#[test]
fn the_nodes_are_where_the_flags_say() {
    let _permit = Permit::take(3);
    let _ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = DevCluster::start_with(&["--port", "7640", "--dir", "elsewhere", "--requirepass", "open sesame"]);
    for (at, node) in cluster.nodes.iter().enumerate() {
        assert_eq!(node.address.to_string(), format!("127.0.0.1:764{at}"));
        assert_eq!(node.dir, cluster.dir.path().join(format!("elsewhere/node-{}", at + 1)));
        let mut connection = Connection::open(node.address).unwrap();
        connection.ask(&["AUTH", "open sesame"]);
        let nodes = connection.done("CLUSTER NODES").text();
        assert!(nodes.contains(" 127.0.0.1:8640@17640 "), "{nodes}");
    }
    for (flag, value) in [("--cluster-view-port", "0"), ("--seeds", "a:1"), ("--port", "55534")] {
        let refused = command(None).args(["--dev-cluster", "3", flag, value]).output().expect("the program starts");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "as every other mistake on the command line");
        assert!(said.starts_with(&format!("dynamis-server: {flag} ")) && said.contains("--dev-cluster"), "{said}");
    }
}

/// One node killed by hand: the other two go on, as the README invites to try.
#[test]
fn a_node_killed_by_hand_does_not_stop_the_others() {
    let _permit = Permit::take(3);
    let _ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = DevCluster::start();
    Connection::open(cluster.nodes[0].address).unwrap().done("SET k v");
    kill_process(Pid::from_raw(cluster.nodes[1].pid).expect("a process id"), Signal::KILL).unwrap();
    for node in [0, 2] {
        let mut connection = Connection::open(cluster.nodes[node].address).unwrap();
        assert_eq!(connection.run("GET k").text(), "v");
        connection.done("SET k v");
    }
    assert!(cluster.parent.try_wait().unwrap().is_none(), "the parent goes on");
}

/// Killed outright, the parent leaves no node behind.
#[test]
fn the_nodes_follow_a_killed_parent() {
    let _permit = Permit::take(3);
    let _ports = PORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = DevCluster::start();
    cluster.signal(Signal::KILL);
    cluster.parent.wait().unwrap();
    wait::until("all nodes have followed", 20, || cluster.all_gone());
}
