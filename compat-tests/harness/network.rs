//! A network of one's own for each node, with roads that can be blocked.
//!
//! Every node lives in a network namespace with one cable to a common switch, on which the test itself sits too. A road from
//! one node to another is blocked by telling the one a hardware address for the other that nobody has: its packets leave and
//! arrive nowhere, as with a pulled cable. Nobody is told, no connection is reset, and clients still reach both sides.
//!
//! It needs root and the kernel's consent; where either is missing, [`Network::new`] says so loudly and gives none.

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Once;
use std::sync::atomic::{AtomicU8, Ordering};

/// A hardware address nobody has.
const NOBODY: &str = "02:00:00:00:00:01";
/// The last part of the first node's address.
const FIRST_NODE: u8 = 11;

/// The last part of the first relay's address.
const FIRST_RELAY: u8 = 111;

/// What netem does to each packet.
const NETEM: [&str; 7] = ["netem", "delay", "40ms", "30ms", "loss", "3%", "25%"];
/// The narrow gate: less than a loaded node sends, and a queue of a few packets.
const NARROW: [&str; 7] = ["tbf", "rate", "800kbit", "burst", "3kb", "limit", "15kb"];

static NO_NETEM: Once = Once::new();
static NETWORKS: AtomicU8 = AtomicU8::new(0);

/// A switch and the namespaces on it; all are removed when it is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
    subnet: [u8; 3],
    nodes: usize,
}

impl Network {
    /// A network for so many nodes; none where the system forbids it.
    pub fn new(nodes: usize) -> Option<Network> {
        clear_remains();
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // Test processes run one after the other; the number alone keeps this process's networks apart.
        let subnet = [10, 64 + (pid % 64) as u8, number];
        let network = Network { name: format!("dy{pid}-{number}"), subnet, nodes };
        match network.build() {
            Ok(()) => Some(network),
            Err(why) => {
                say(&format!("SKIPPED, NOT TESTED: nodes cannot be cut apart on this machine: {why}"));
                None
            }
        }
    }

    fn build(&self) -> Result<(), String> {
        let bridge = self.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}/24", self.host()), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for node in 0..self.nodes {
            let (namespace, cable) = (self.namespace(node), format!("{}v{node}", self.name));
            ip(&["netns", "add", &namespace])?;
            ip(&["link", "add", &cable, "type", "veth", "peer", "name", "bus", "netns", &namespace])?;
            ip(&["link", "set", &cable, "master", &bridge, "up"])?;
            let address = format!("{}/24", self.address(node));
            ip(&["-n", &namespace, "addr", "add", &address, "dev", "bus"])?;
            ip(&["-n", &namespace, "link", "set", "bus", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    /// The namespace of a node.
    pub fn namespace(&self, node: usize) -> String {
        format!("{}n{node}", self.name)
    }

    /// The address of a node.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, FIRST_NODE + node as u8)
    }

    /// One more address on the test's own side, for whatever stands before a node.
    pub fn second_address(&self, node: usize) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        let address = Ipv4Addr::new(a, b, c, FIRST_RELAY + node as u8);
        ip(&["addr", "add", &format!("{address}/24"), "dev", &self.bridge()]).expect("an address can be added");
        address
    }

    fn host(&self) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, 1)
    }

    fn bridge(&self) -> String {
        format!("{}br", self.name)
    }

    /// Blocks the roads between each of these and each of those, both ways.
    pub fn cut(&self, these: &[usize], those: &[usize]) {
        for (one, other) in pairs(these, those) {
            self.cut_one_way(one, other);
            self.cut_one_way(other, one);
        }
    }

    /// Blocks the road from one to another; the way back stays open.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        let address = self.address(to).to_string();
        let namespace = self.namespace(from);
        let blocked =
            ["-n", &namespace, "neigh", "replace", &address, "lladdr", NOBODY, "nud", "permanent", "dev", "bus"];
        ip(&blocked).expect("a road can be blocked");
    }

    /// Makes what a node sends arrive late, and not all of it: by netem where the kernel has it; otherwise, said loudly, through
    /// a gate so narrow that packets queue up before it and those that find the queue full are dropped.
    pub fn roughen(&self, node: usize) {
        let namespace = self.namespace(node);
        let begin = ["-n", &namespace, "qdisc", "replace", "dev", "bus", "root"];
        if run("tc", &[&begin[..], &NETEM].concat()).is_err() {
            NO_NETEM.call_once(|| {
                say("NO NETEM in this kernel: delay and loss come from a narrow gate (tbf) instead, and cannot be set exactly");
            });
            run("tc", &[&begin[..], &NARROW].concat()).expect("a queueing discipline can be set");
        }
    }

    /// Ends what [`Network::roughen`] began.
    pub fn smooth(&self, node: usize) {
        run("tc", &["-n", &self.namespace(node), "qdisc", "del", "dev", "bus", "root"]).expect("it was set");
    }

    /// Opens the roads between each of these and each of those, both ways.
    pub fn heal(&self, these: &[usize], those: &[usize]) {
        for (one, other) in pairs(these, those).flat_map(|(one, other)| [(one, other), (other, one)]) {
            let address = self.address(other).to_string();
            // An open road has no such entry to delete.
            let _ = ip(&["-n", &self.namespace(one), "neigh", "del", &address, "dev", "bus"]);
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 0..self.nodes {
            // Whatever was not built cannot be removed, and need not be.
            let _ = ip(&["netns", "del", &self.namespace(node)]);
        }
        let _ = ip(&["link", "del", &self.bridge()]);
    }
}

fn pairs<'a>(these: &'a [usize], those: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    these.iter().flat_map(move |one| those.iter().map(move |other| (*one, *other)))
}

fn ip(arguments: &[&str]) -> Result<Output, String> {
    run("ip", arguments)
}

/// Runs a program of iproute2; what it says on failure is the error.
fn run(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let shown = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Straight to the terminal: what a passing test prints is swallowed otherwise.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("\n{line}\n").as_bytes());
}

/// Removes what test processes that were killed left behind.
fn clear_remains() {
    let left = |name: &str| -> bool {
        let pid =
            name.strip_prefix("dy").and_then(|rest| rest.split('-').next()).filter(|pid| pid.parse::<u32>().is_ok());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let names = |arguments: &[&str]| -> Vec<String> {
        let output = ip(arguments).map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&output).into_owned();
        text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    };
    for namespace in names(&["netns", "list"]).iter().filter(|name| left(name)) {
        let _ = ip(&["netns", "del", namespace]);
    }
    for bridge in names(&["-br", "link", "show", "type", "bridge"]).iter().filter(|name| left(name)) {
        let _ = ip(&["link", "del", bridge]);
    }
}
