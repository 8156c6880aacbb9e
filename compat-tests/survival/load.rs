//! Clients that write without pause and remember what was acknowledged.

use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writers on each node.
const WRITERS_PER_NODE: usize = 2;
/// How long a writer waits before it connects again to a node that refused.
const RECONNECT_AFTER: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    count: AtomicUsize,
    told: Mutex<Told>,
}

/// What the writers were told.
#[derive(Default)]
pub struct Told {
    /// Keys whose write was acknowledged; the value is the key.
    pub acknowledged: Vec<String>,
    /// Each writer's own key, with the last number acknowledged there.
    pub registers: BTreeMap<String, u64>,
    /// Error replies and broken connections, each with the node it came from.
    pub errors: Vec<(usize, String)>,
}

/// A load on all nodes of a cluster.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts writing.
    pub fn start(cluster: &Cluster) -> Load {
        let shared = Arc::new(Shared::default());
        let mut writers = Vec::new();
        for (node, place) in cluster.nodes.iter().enumerate() {
            for writer in 0..WRITERS_PER_NODE {
                let (shared, address) = (shared.clone(), place.address);
                writers
                    .push(std::thread::spawn(move || write(&shared, node, address, &format!("load:{node}:{writer}"))));
            }
        }
        Load { shared, writers }
    }

    /// Waits until so many more writes were acknowledged.
    pub fn wait_for(&self, writes: usize) {
        let goal = self.shared.count.load(Ordering::Relaxed) + writes;
        wait::until(&format!("{writes} more writes are acknowledged"), 60, || {
            self.shared.count.load(Ordering::Relaxed) >= goal
        });
    }

    /// Stops and tells.
    pub fn stop(self) -> Told {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().for_each(|writer| writer.join().expect("a writer does not panic"));
        std::mem::take(&mut self.shared.told.lock().expect("no writer panicked"))
    }
}

/// Writes through one node until told to stop: ever new keys, and one key of its own over and over. A broken connection is
/// told and opened again.
fn write(shared: &Shared, node: usize, address: SocketAddr, prefix: &str) {
    let mut connection = None;
    for at in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = write_once(shared, &mut connection, address, prefix, at) {
            shared.told.lock().expect("no writer panicked").errors.push((node, error));
        }
    }
}

/// One new key, and the writer's own key set to the number of the turn; the error is what the client saw.
fn write_once(
    shared: &Shared,
    connection: &mut Option<Connection>,
    address: SocketAddr,
    prefix: &str,
    turn: u64,
) -> Result<(), String> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => {
            Connection::open(address).inspect_err(|_| std::thread::sleep(RECONNECT_AFTER)).map_err(|e| e.to_string())?
        }
    };
    let (key, register, number) = (format!("{prefix}:{turn}"), format!("{prefix}:register"), turn.to_string());
    open.send(&["SET", &key, &key])
        .and_then(|()| open.send(&["SET", &register, &number]))
        .map_err(|e| e.to_string())?;
    let first = open.receive().map_err(|e| e.to_string())?;
    let acknowledged = |reply: &Value| matches!(reply, Value::Simple(_));
    if acknowledged(&first) {
        shared.told.lock().expect("no writer panicked").acknowledged.push(key);
        shared.count.fetch_add(1, Ordering::Relaxed);
    }
    let second = open.receive().map_err(|e| e.to_string())?;
    if acknowledged(&second) {
        shared.told.lock().expect("no writer panicked").registers.insert(register, turn);
    }
    *connection = Some(open);
    let refused = [first, second].into_iter().find(|reply| !acknowledged(reply));
    refused.map_or(Ok(()), |reply| Err(reply.to_string()))
}

impl Told {
    /// The errors that clients of these nodes saw.
    pub fn errors_of(&self, nodes: &[usize]) -> Vec<&str> {
        self.errors.iter().filter(|(node, _)| nodes.contains(node)).map(|(_, error)| error.as_str()).collect()
    }

    /// Acknowledged writes that a node does not read back, with what it said; at most ten. A key written over and over must
    /// show the last acknowledged value or one written after it.
    pub fn missing_at(&self, cluster: &Cluster, at: usize) -> Vec<String> {
        let mut connection = cluster.connect(at);
        let mut missing = Vec::new();
        for keys in self.acknowledged.chunks(200) {
            keys.iter().for_each(|key| connection.send(&["GET", key]).expect("a node that is up takes requests"));
            for key in keys {
                let reply = connection.receive().expect("a node that is up answers");
                if reply != Value::Bulk(key.clone().into_bytes()) {
                    missing.push(format!("{key}: {reply}"));
                }
            }
        }
        for (register, last) in &self.registers {
            let reply = connection.ask(&["GET", register]);
            let shown = match &reply {
                Value::Bulk(_) => reply.text().parse::<u64>().ok(),
                _ => None,
            };
            if shown.is_none_or(|shown| shown < *last) {
                missing.push(format!("{register}: {reply} where {last} was acknowledged"));
            }
        }
        missing.truncate(10);
        missing
    }
}
