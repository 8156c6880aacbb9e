//! Clients that write through whichever node answers, and know afterwards what every key may hold.

use super::history::{History, Told};
use crate::harness::cluster::Cluster;
use crate::harness::random::Random;
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writers that begin at each node.
const WRITERS_PER_NODE: usize = 2;
/// Keys of one writer.
const KEYS_PER_WRITER: usize = 25;
/// Of so many keys one is written by plain SETs, the others in chains.
const ROW_EACH: usize = 5;
/// Of so many writes of a chain one is a delete.
const DELETE_EACH: usize = 6;
/// How long a client waits for a reply before it goes to another node.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a client waits before it tries the next node.
const PAUSE: Duration = Duration::from_millis(20);
/// How long so many writes may take to be acknowledged while nodes are at fault, in seconds.
const PROGRESS_SECONDS: u64 = 60;

/// Every key with what its writer was told.
pub type Histories = BTreeMap<String, History>;

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicUsize,
}

/// A load on all nodes of a cluster.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Histories>>,
}

impl Load {
    /// Starts writing. The same seed makes the same writers; `name` is the beginning of their keys.
    pub fn start(cluster: &Cluster, seed: u64, name: &str) -> Load {
        let shared = Arc::new(Shared::default());
        let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();
        let writers = (0..nodes.len() * WRITERS_PER_NODE).map(|number| {
            let writer = Writer {
                name: format!("{name}:{number}"),
                random: Random::new(seed.wrapping_add(number as u64 + 1)),
                at: number % nodes.len(),
                nodes: nodes.clone(),
                connection: None,
                contexts: BTreeMap::new(),
                histories: Histories::new(),
            };
            let shared = shared.clone();
            std::thread::spawn(move || writer.write(&shared))
        });
        Load { writers: writers.collect(), shared }
    }

    /// Waits until so many more writes were acknowledged.
    pub fn wait_for(&self, writes: usize) {
        let count = || self.shared.acknowledged.load(Ordering::Relaxed);
        let goal = count() + writes;
        wait::until(&format!("{writes} more writes are acknowledged"), PROGRESS_SECONDS, || count() >= goal);
    }

    /// Stops, and gives all that was told.
    pub fn stop(self) -> Histories {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.writers.into_iter().flat_map(|writer| writer.join().expect("a writer does not panic")).collect()
    }
}

/// One client. Nobody else writes its keys.
struct Writer {
    name: String,
    random: Random,
    nodes: Vec<SocketAddr>,
    at: usize,
    connection: Option<Connection>,
    /// Of each chain the context of the last acknowledged write.
    contexts: BTreeMap<String, String>,
    histories: Histories,
}

impl Writer {
    fn write(mut self, shared: &Shared) -> Histories {
        while !shared.stop.load(Ordering::Relaxed) {
            let Some(mut connection) = self.connected() else { continue };
            let number = self.random.below(KEYS_PER_WRITER);
            let key = format!("{}:{number}", self.name);
            let chain = !number.is_multiple_of(ROW_EACH);
            let history = self.histories.entry(key.clone()).or_insert_with(|| History { chain, writes: Vec::new() });
            let deletes = chain && self.random.below(DELETE_EACH) == 0;
            let value = (!deletes).then(|| format!("{key}={}", history.writes.len()));
            let context = self.contexts.get(&key);
            let reply = connection.try_ask(&words(chain, &key, value.as_deref(), context.map(String::as_str)));
            let told = match &reply {
                Ok(Value::Error(text)) if text.starts_with("NOQUORUM") => Told::Unknown,
                Ok(Value::Error(_)) => Told::Refused,
                Ok(_) => Told::Acknowledged,
                Err(_) => Told::Unknown,
            };
            history.writes.push((value, told));
            match (told, reply) {
                (Told::Acknowledged, Ok(Value::Bulk(context))) => {
                    self.contexts.insert(key, String::from_utf8_lossy(&context).into_owned());
                    self.keep(connection, shared);
                }
                (Told::Acknowledged, _) => self.keep(connection, shared),
                // As a client would: to another node.
                _ => self.at = self.random.below(self.nodes.len()),
            }
        }
        self.histories
    }

    fn keep(&mut self, connection: Connection, shared: &Shared) {
        self.connection = Some(connection);
        shared.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// The open connection, or one to this writer's node; none: that refuses, and the next one is tried next.
    fn connected(&mut self) -> Option<Connection> {
        if let Some(connection) = self.connection.take() {
            return Some(connection);
        }
        let opened = Connection::open(self.nodes[self.at]);
        let patient = opened.and_then(|open| open.socket().set_read_timeout(Some(PATIENCE)).map(|()| open));
        if patient.is_err() {
            std::thread::sleep(PAUSE);
            self.at = (self.at + 1) % self.nodes.len();
        }
        patient.ok()
    }
}

fn words<'a>(chain: bool, key: &'a str, value: Option<&'a str>, context: Option<&'a str>) -> Vec<&'a str> {
    let mut words = match (chain, value) {
        (false, Some(value)) => vec!["SET", key, value],
        (_, Some(value)) => vec!["DYN.SET", key, value],
        (_, None) => vec!["DYN.DEL", key],
    };
    if let Some(context) = context {
        words.extend(["CONTEXT", context]);
    }
    words
}
