//! Clients whose every operation is timed, each with keys of its own.

use crate::harness::resp::{Connection, Value};
use crate::standstill::Standstills;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients of each node: few, so that two cores are not so busy that a gap is only a wait for one of them.
const CLIENTS_PER_NODE: usize = 2;
/// Requests sent before their replies are read, where nothing is timed.
const PORTION: usize = 500;
/// Shorter times between two answers are not noted.
const GAP_MIN: Duration = Duration::from_millis(1);
/// How long a client waits before it connects again to a node that refuses.
const RECONNECT_AFTER: Duration = Duration::from_millis(5);

/// The name of a key.
pub fn key(number: usize) -> String {
    format!("key:{number:09}")
}

/// A value of 100 bytes that tells its version.
pub fn value(version: u64) -> String {
    format!("{version:020}{}", "v".repeat(80))
}

/// The version that a value tells.
pub fn version(value: &Value) -> Option<u64> {
    match value {
        Value::Bulk(bytes) => std::str::from_utf8(bytes.get(..20)?).ok()?.parse().ok(),
        _ => None,
    }
}

/// Writes `version` under the keys, through all nodes; every write must be acknowledged.
pub fn fill(addresses: &[SocketAddr], keys: std::ops::Range<usize>, version: u64) {
    let value = value(version);
    std::thread::scope(|scope| {
        for (at, address) in addresses.iter().enumerate() {
            let (keys, value, nodes) = (keys.clone(), value.as_str(), addresses.len());
            scope.spawn(move || {
                let mut connection = Connection::open(*address).expect("a node takes connections");
                let mine: Vec<String> = keys.skip(at).step_by(nodes).map(key).collect();
                for portion in mine.chunks(PORTION) {
                    portion.iter().for_each(|key| connection.send(&["SET", key, value]).expect("it takes requests"));
                    for key in portion {
                        let reply = connection.receive().expect("it answers");
                        assert_eq!(reply.to_string(), "+OK", "{key}");
                    }
                }
            });
        }
    });
}

/// The versions of keys on a node's own disk; 0 where there is none. None: the node does not answer.
pub fn held(address: SocketAddr, keys: &[usize]) -> Option<Vec<u64>> {
    let mut connection = Connection::open(address).ok()?;
    let mut held = Vec::with_capacity(keys.len());
    for portion in keys.chunks(PORTION) {
        for number in portion {
            connection.send(&["DYN.GET", &key(*number), "LOCAL"]).ok()?;
        }
        for _ in portion {
            let reply = connection.receive().ok()?;
            let Value::Array(parts) = &reply else { return None };
            held.push(parts[1].items().iter().filter_map(version).max().unwrap_or(0));
        }
    }
    Some(held)
}

/// What one client saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Operations that were answered well.
    pub done: u64,
    /// Errors and broken connections; failed attempts to connect are not operations.
    pub failed: u64,
    /// Times between two good answers that were not short.
    pub gaps: Vec<Gap>,
}

/// When a good answer came, and when the next one did.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    pub from: Instant,
    pub to: Instant,
}

struct Shared {
    stop: AtomicBool,
    /// The highest version acknowledged, for each key.
    acknowledged: Vec<AtomicU64>,
    /// Times of what happened before this are forgotten.
    seen: Vec<Mutex<Seen>>,
}

impl Seen {
    /// The longest gap and when it ended, the times left out in which the whole machine stood still.
    pub fn longest_gap(&self, standstills: &Standstills) -> (Duration, Option<Instant>) {
        let own = |gap: &Gap| (gap.to - gap.from) - standstills.within(gap.from, gap.to);
        self.gaps.iter().map(|gap| (own(gap), Some(gap.to))).max().unwrap_or_default()
    }
}

/// A load: every client sets one of its keys and gets it, in turn.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts clients on every node, over keys that hold version 1.
    pub fn start(addresses: &[SocketAddr], keys: usize) -> Load {
        let clients = addresses.len() * CLIENTS_PER_NODE;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            acknowledged: (0..keys).map(|_| AtomicU64::new(1)).collect(),
            seen: (0..clients).map(|_| Mutex::default()).collect(),
        });
        let start = |client: usize| {
            let (shared, address) = (shared.clone(), addresses[client % addresses.len()]);
            std::thread::spawn(move || run(&shared, client, clients, address))
        };
        Load { clients: (0..clients).map(start).collect(), shared }
    }

    /// Forgets what the clients have seen so far.
    pub fn begin(&self) {
        self.shared.seen.iter().for_each(|seen| *seen.lock().expect("no client panicked") = Seen::default());
    }

    /// What the clients of a node have seen, together.
    pub fn seen(&self, node: usize, nodes: usize) -> Seen {
        let mine = self.shared.seen.iter().skip(node).step_by(nodes);
        mine.map(|seen| seen.lock().expect("no client panicked").clone()).fold(Seen::default(), |sum, seen| Seen {
            done: sum.done + seen.done,
            failed: sum.failed + seen.failed,
            gaps: [sum.gaps, seen.gaps].concat(),
        })
    }

    /// The highest acknowledged version of every key.
    pub fn acknowledged(&self) -> Vec<u64> {
        self.shared.acknowledged.iter().map(|version| version.load(Ordering::Acquire)).collect()
    }

    /// Stops the clients.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().expect("a client does not panic"));
    }
}

fn run(shared: &Shared, client: usize, clients: usize, address: SocketAddr) {
    let mut connection = None;
    let mut last = Instant::now();
    // A step that visits its keys in no order.
    let mine = shared.acknowledged.len() / clients;
    for turn in 0u64.. {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let Some(open) = connection.take().or_else(|| Connection::open(address).ok()) else {
            std::thread::sleep(RECONNECT_AFTER);
            continue;
        };
        let number = (turn as usize).wrapping_mul(7919) % mine * clients + client;
        let (open, good) = operate(shared, open, number, turn + 2);
        let mut seen = shared.seen[client].lock().expect("no client panicked");
        match good {
            true => {
                seen.done += 2;
                let now = Instant::now();
                if now - last >= GAP_MIN {
                    seen.gaps.push(Gap { from: last, to: now });
                }
                last = now;
            }
            false => seen.failed += 1,
        }
        connection = open;
    }
}

/// One SET and one GET; gives the connection, if it still stands, and whether both were answered well.
fn operate(shared: &Shared, mut open: Connection, number: usize, version: u64) -> (Option<Connection>, bool) {
    let key = key(number);
    match open.try_ask(&["SET", &key, &value(version)]) {
        Ok(Value::Simple(_)) => shared.acknowledged[number].fetch_max(version, Ordering::AcqRel),
        Ok(_) => return (Some(open), false),
        Err(_) => return (None, false),
    };
    match open.try_ask(&["GET", &key]) {
        Ok(Value::Bulk(_)) => (Some(open), true),
        Ok(_) => (Some(open), false),
        Err(_) => (None, false),
    }
}
