//! Clients that write without pause and remember what was acknowledged.

use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Writers on each node.
const WRITERS_PER_NODE: usize = 2;

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

/// Writes new keys through one node until told to stop, or until the connection breaks.
fn write(shared: &Shared, node: usize, address: SocketAddr, prefix: &str) {
    let mut connection = match Connection::open(address) {
        Ok(connection) => connection,
        Err(error) => {
            shared.told.lock().expect("no writer panicked").errors.push((node, error.to_string()));
            return;
        }
    };
    for at in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let key = format!("{prefix}:{at}");
        let reply = connection.try_ask(&["SET", &key, &key]);
        let mut told = shared.told.lock().expect("no writer panicked");
        match reply {
            Ok(Value::Simple(_)) => {
                told.acknowledged.push(key);
                shared.count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(other) => told.errors.push((node, other.to_string())),
            Err(error) => {
                told.errors.push((node, error.to_string()));
                return;
            }
        }
    }
}

impl Told {
    /// The errors that clients of these nodes saw.
    pub fn errors_of(&self, nodes: &[usize]) -> Vec<&str> {
        self.errors.iter().filter(|(node, _)| nodes.contains(node)).map(|(_, error)| error.as_str()).collect()
    }

    /// Acknowledged keys that a node does not read back, with what it said; at most ten.
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
        missing.truncate(10);
        missing
    }
}
