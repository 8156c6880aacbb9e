//! `--dev-cluster N`: N nodes as N processes on this machine, to try things out.
//!
//! Each node is this very program with a port and a directory of its own, from 127.0.0.1:7001 or `--port` on (cluster view
//! +1000, node ports +10000).
//! The first process only starts them, says where they are, and stops them all when it is told to stop. Should it be
//! killed outright, the nodes follow it ([`follow_parent`]).

use crate::config::load::Loaded;
use crate::config::{CLUSTER_PORT_OFFSET, DevCluster, VIEW_PORT_OFFSET};
use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

/// Set for the nodes, so that they end with the process that started them.
const PARENT_VARIABLE: &str = "DYNAMIS_DEV_CLUSTER_PARENT";

/// Flags of which each node gets its own value.
const OWN_FLAGS: [&str; 2] = ["port", "dir"];

/// How long the nodes may take to find each other.
const READY: Duration = Duration::from_secs(60);

/// How long the nodes may take to stop.
const STOPPED: Duration = Duration::from_secs(20);

/// Why the nodes were not started, or did not become ready. Those that ran have been stopped.
#[derive(Debug, thiserror::Error)]
pub enum DevClusterError {
    /// The program could not be started again.
    #[error("node {port} could not be started: {why}")]
    Spawn {
        /// Its port.
        port: u16,
        /// The system's words.
        why: std::io::Error,
    },
    /// A node ended by itself; its own words stand above.
    #[error("node {port} ended ({status}); its reason is printed above; the others have been stopped")]
    Ended {
        /// Its port.
        port: u16,
        /// How it ended.
        status: String,
    },
    /// The nodes did not find each other.
    #[error("the nodes did not find each other within {} s; they have been stopped", READY.as_secs())]
    NotReady,
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

struct DevNode {
    port: u16,
    dir: PathBuf,
    child: Child,
}

/// Starts the nodes, prints where they are, waits for Ctrl-C, and stops them.
pub async fn run(cluster: DevCluster, loaded: &Loaded) -> Result<(), DevClusterError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DevClusterError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DevClusterError::Signals)?;
    let mut nodes = Vec::new();
    let result = tokio::select! {
        result = start_and_watch(cluster, loaded, &mut nodes) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    stop(&mut nodes).await;
    result
}

async fn start_and_watch(
    cluster: DevCluster,
    loaded: &Loaded,
    nodes: &mut Vec<DevNode>,
) -> Result<(), DevClusterError> {
    let given = loaded.overrides.iter().find(|(name, _)| name == "dir").map(|(_, dir)| PathBuf::from(dir));
    let base = given.unwrap_or_else(|| PathBuf::from("dev-cluster"));
    for index in 0..cluster.nodes {
        nodes.push(spawn(index, cluster, &base, loaded)?);
    }
    let deadline = Instant::now() + READY;
    while !all_know_all(nodes, &loaded.config.requirepass).await {
        ended(nodes)?;
        if Instant::now() > deadline {
            return Err(DevClusterError::NotReady);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    announce(nodes);
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // One node killed by hand is what a dev cluster is for; the others go on.
        if nodes.iter_mut().all(|node| matches!(node.child.try_wait(), Ok(Some(_)))) {
            return ended(nodes);
        }
    }
}

fn spawn(index: u16, cluster: DevCluster, base: &Path, loaded: &Loaded) -> Result<DevNode, DevClusterError> {
    let port = cluster.first_port + index;
    let dir = base.join(format!("node-{}", index + 1));
    let seeds: Vec<String> = (0..cluster.nodes)
        .map(|other| format!("127.0.0.1:{}", cluster.first_port + other + CLUSTER_PORT_OFFSET))
        .collect();
    let program = std::env::current_exe().map_err(|why| DevClusterError::Spawn { port, why })?;
    let mut command = Command::new(program);
    command.args(&loaded.file);
    for (name, value) in loaded.overrides.iter().filter(|(name, _)| !OWN_FLAGS.contains(&name.as_str())) {
        command.arg(format!("--{name}")).arg(value);
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--seeds", &seeds.join(",")]);
    command.args(["--cluster-port", &(port + CLUSTER_PORT_OFFSET).to_string()]).arg("--dir").arg(&dir);
    command.args(["--cluster-view-port", &(port + VIEW_PORT_OFFSET).to_string()]);
    command.env(PARENT_VARIABLE, std::process::id().to_string()).kill_on_drop(true);
    // A process group of its own: Ctrl-C reaches this process, which then stops the nodes one clean way.
    command.process_group(0);
    let child = command.spawn().map_err(|why| DevClusterError::Spawn { port, why })?;
    Ok(DevNode { port, dir, child })
}

fn ended(nodes: &mut [DevNode]) -> Result<(), DevClusterError> {
    for node in nodes {
        if let Ok(Some(status)) = node.child.try_wait() {
            return Err(DevClusterError::Ended { port: node.port, status: status.to_string() });
        }
    }
    Ok(())
}

/// Whether every node answers and knows and reaches all others.
async fn all_know_all(nodes: &[DevNode], password: &str) -> bool {
    let wanted = format!("cluster_known_nodes:{}\r", nodes.len());
    for node in nodes {
        match ask(node.port, password).await {
            Ok(answer) if answer.contains(&wanted) && answer.contains("cluster_slots_pfail:0\r") => {}
            _ => return false,
        }
    }
    true
}

/// What a node answers to CLUSTER INFO, after what it says to the password.
async fn ask(port: u16, password: &str) -> std::io::Result<String> {
    let login = match password.len() {
        0 => String::new(),
        length => format!("*2\r\n$4\r\nAUTH\r\n${length}\r\n{password}\r\n"),
    };
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("{login}CLUSTER INFO\r\nQUIT\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
    tokio::time::timeout(Duration::from_secs(2), exchange).await.map_err(late)?
}

fn announce(nodes: &[DevNode]) {
    println!("{} nodes, one keyspace:", nodes.len());
    for node in nodes {
        let pid = node.child.id().unwrap_or_default();
        println!("  127.0.0.1:{}  pid {pid}  {}", node.port, node.dir.display());
    }
    let port = |index: usize| nodes[index.min(nodes.len() - 1)].port;
    println!("Try, each at another node:");
    println!("  redis-cli -p {} SET greeting hello", port(0));
    println!("  redis-cli -p {} GET greeting", port(1));
    println!("  redis-cli -p {} DYN.EXPLAIN greeting", port(2));
    println!("Redis Cluster libraries start at 127.0.0.1:{}.", port(0) + VIEW_PORT_OFFSET);
    println!("Ctrl-C stops them all.");
}

async fn stop(nodes: &mut [DevNode]) {
    for node in nodes.iter() {
        if let Some(pid) = node.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            // An error means that the node has ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let deadline = Instant::now() + STOPPED;
    for node in nodes {
        if tokio::time::timeout_at(deadline, node.child.wait()).await.is_err() {
            eprintln!("dynamis-server: node {} did not stop in time and is killed", node.port);
            // It ends with us in any case (kill_on_drop).
            let _ = node.child.kill().await;
        }
    }
}

/// Makes a node of a dev cluster end when the process that started it is gone.
pub fn follow_parent() {
    let Some(parent) = std::env::var(PARENT_VARIABLE).ok().and_then(|pid| pid.parse().ok()) else { return };
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let current = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
            if current != Some(parent) {
                let own = rustix::process::getpid();
                // Ends this process cleanly, as Ctrl-C at the parent would have.
                let _ = kill_process(own, Signal::TERM);
                return;
            }
        }
    });
}
