//! Several nodes that know each other.

use super::network::Network;
use super::node::Node;
use super::permits::Permit;
use super::resp::{Connection, Value};
use super::wait;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Ports are tried from here on: below those that the system gives to outgoing connections.
const FIRST_PORT: u16 = 21_000;
/// How many ports are tried before starting over.
const PORTS: u16 = 10_000;
/// How long a cluster may take to form, or to see a member die or return.
pub const VIEW_SECONDS: u64 = 30;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A cluster. Nodes are numbered from 0. Dropped, its processes end, then its directories and its network go.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Its network, if its nodes can be cut apart.
    pub network: Option<Network>,
    home: TempDir,
    _permit: Permit,
}

impl Cluster {
    /// One node, ready.
    pub fn single(settings: &[(&str, &str)]) -> Cluster {
        Cluster::start(1, settings)
    }

    /// A cluster on 127.0.0.1, formed and ready.
    pub fn start(count: usize, settings: &[(&str, &str)]) -> Cluster {
        let mut cluster = Cluster::prepared(count, settings, None);
        cluster.start_all();
        cluster
    }

    /// A cluster whose nodes can be cut apart, formed and ready; none where the system forbids it.
    pub fn start_apart(count: usize, settings: &[(&str, &str)]) -> Option<Cluster> {
        let mut cluster = Cluster::prepared_apart(count, settings)?;
        cluster.start_all();
        Some(cluster)
    }

    /// A cluster whose nodes can be cut apart, of which none runs yet; none where the system forbids it.
    pub fn prepared_apart(count: usize, settings: &[(&str, &str)]) -> Option<Cluster> {
        let network = Network::new(count)?;
        Some(Cluster::prepared(count, settings, Some(network)))
    }

    /// A cluster of which no node runs yet.
    pub fn prepared(count: usize, settings: &[(&str, &str)], network: Option<Network>) -> Cluster {
        let permit = Permit::take(count);
        let home = tempfile::Builder::new().prefix("dynamis-test-").tempdir().expect("a directory for the test");
        let places: Vec<Place> = (0..count).map(|node| place(network.as_ref(), node)).collect();
        let seeds: Vec<String> = places.iter().map(|place| place.bus.to_string()).collect();
        let seeds = if count > 1 { seeds.join(",") } else { String::new() };
        let nodes = places.iter().enumerate().map(|(at, place)| {
            let mut own = flags(place, network.is_some());
            own.push(("seeds".to_owned(), seeds.clone()));
            overlay(&mut own, settings);
            let namespace = network.as_ref().map(|network| network.namespace(at));
            Node::new(place.address, place.view, place.bus, &home.path().join(format!("node-{at}")), own, namespace)
        });
        Cluster { nodes: nodes.collect(), network, home, _permit: permit }
    }

    /// One more node, not running yet, with the seeds given.
    pub fn add(&mut self, seeds: &str, settings: &[(&str, &str)]) -> &mut Node {
        let at = self.nodes.len();
        let place = place(None, at);
        let mut own = flags(&place, false);
        own.push(("seeds".to_owned(), seeds.to_owned()));
        overlay(&mut own, settings);
        let home = self.home.path().join(format!("node-{at}"));
        self.nodes.push(Node::new(place.address, place.view, place.bus, &home, own, None));
        &mut self.nodes[at]
    }

    /// Starts every node that does not run, and waits until all know and reach each other.
    pub fn start_all(&mut self) {
        self.nodes.iter_mut().filter(|node| !node.runs()).for_each(Node::start);
        self.nodes.iter_mut().for_each(Node::wait_until_serving);
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        for at in &all {
            self.wait_until_reachable(*at, &all);
        }
        wait::until("all nodes know the same ring", VIEW_SECONDS, || {
            let mut rings = all.iter().map(|at| self.nodes[*at].connect().run("DYN.RING"));
            let first = rings.next();
            rings.all(|ring| Some(ring) == first)
        });
    }

    /// Waits until node `at` knows all members and reaches exactly those named (itself is always one of them).
    pub fn wait_until_reachable(&self, at: usize, reachable: &[usize]) {
        let mut wanted: Vec<(String, bool)> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(other, node)| (node.address.to_string(), reachable.contains(&other)))
            .collect();
        wanted.sort();
        let what = format!("{} sees {wanted:?}", self.nodes[at].address);
        wait::until(&what, VIEW_SECONDS, || {
            let seen = self.nodes[at].try_connect().and_then(|mut connection| connection.try_ask(&["DYN.MEMBERS"]));
            seen.is_ok_and(|members| !members.is_error() && members_of(&members) == wanted)
        });
    }

    /// A number from a node's INFO.
    pub fn info(&self, at: usize, name: &str) -> usize {
        let info = self.connect(at).done("INFO dynamo").text();
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
    }

    /// A new connection to a node.
    pub fn connect(&self, at: usize) -> Connection {
        self.nodes[at].connect()
    }

    /// The node whose client address, or the address of its cluster view, is this.
    pub fn node_at(&self, address: &str) -> usize {
        let is = |node: &Node| [node.address, node.view].iter().any(|own| own.to_string() == address);
        let found = self.nodes.iter().position(is);
        found.unwrap_or_else(|| panic!("no node has the address {address}"))
    }

    /// The homes of a key, in order of preference, as node `at` explains them.
    pub fn homes(&self, at: usize, database: u8, key: &str) -> Vec<usize> {
        let mut connection = self.connect(at);
        connection.done(&format!("SELECT {database}"));
        let explanation = connection.ask(&["DYN.EXPLAIN", key]);
        let replicas = explanation.field("replicas").items();
        let homes = replicas.iter().filter(|replica| replica.field("role").text() == "home");
        homes.map(|replica| self.node_at(&replica.field("address").text())).collect()
    }

    /// Sets a database's policy on node `at` and waits until every node that runs shows it.
    pub fn set_policy(&self, at: usize, database: u8, options: &str) {
        let reply = self.connect(at).run(&format!("DYN.DATABASE {database} {options}"));
        assert_eq!(reply.to_string(), "+OK", "DYN.DATABASE {database} {options}");
        let ask = format!("DYN.DATABASE {database}");
        let wanted = self.connect(at).run(&ask);
        for node in self.nodes.iter().filter(|node| node.runs()) {
            wait::until("the policy is the same on every node", VIEW_SECONDS, || node.connect().run(&ask) == wanted);
        }
    }
}

/// Address and reachability of each member, sorted.
pub fn members_of(members: &Value) -> Vec<(String, bool)> {
    let member = |member: &Value| (member.field("address").text(), member.field("reachable").text() == "yes");
    let mut seen: Vec<(String, bool)> = members.items().iter().map(member).collect();
    seen.sort();
    seen
}

/// The flags that say where a node is.
fn flags(place: &Place, apart: bool) -> Vec<(String, String)> {
    let mut flags = vec![
        ("port", place.address.port().to_string()),
        ("cluster-view-port", place.view.port().to_string()),
        ("cluster-port", place.bus.port().to_string()),
    ];
    if apart {
        flags.push(("bind", "0.0.0.0".to_owned()));
        flags.push(("cluster-announce-ip", place.address.ip().to_string()));
    }
    flags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Lays a test's settings over the flags a node has anyway.
fn overlay(own: &mut Vec<(String, String)>, settings: &[(&str, &str)]) {
    own.retain(|(name, _)| settings.iter().all(|(given, _)| given != name));
    own.extend(settings.iter().map(|(name, value)| (name.to_string(), value.to_string())));
}

/// Where a node lives: its addresses for clients, for cluster clients, and for other nodes.
struct Place {
    address: SocketAddr,
    view: SocketAddr,
    bus: SocketAddr,
}

/// Where the next node lives.
fn place(network: Option<&Network>, node: usize) -> Place {
    let (ip, [port, view, bus]) = match network {
        Some(network) => (network.address(node), [6379, 7379, 16379]),
        None => (Ipv4Addr::LOCALHOST, std::array::from_fn(|_| free_port())),
    };
    let at = |port: u16| SocketAddr::from((ip, port));
    Place { address: at(port), view: at(view), bus: at(bus) }
}

/// A port of 127.0.0.1 that nobody listens on, and that no other test of this process was given.
pub fn free_port() -> u16 {
    let offset = (std::process::id() % u32::from(PORTS)) as u16;
    for _ in 0..PORTS {
        let port = FIRST_PORT + (offset + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % PORTS;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST_PORT} on")
}
