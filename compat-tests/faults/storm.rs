//! What can happen to a node of a cluster, and its end.

use crate::harness::cluster::Cluster;
use crate::harness::random::Random;

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// kill -9; it ends with a restart.
    Killed(usize),
    /// SIGSTOP; it ends with SIGCONT.
    Frozen(usize),
    /// Cut from all others, both ways.
    Cut(usize),
    /// What it sends to the others arrives nowhere; it hears them.
    Mute(usize),
    /// It hears nothing of the others; what it sends arrives.
    Deaf(usize),
    /// What it sends, to clients too, arrives late, and not all of it.
    Rough(usize),
}

/// All kinds.
const KINDS: [fn(usize) -> Fault; 6] =
    [Fault::Killed, Fault::Frozen, Fault::Cut, Fault::Mute, Fault::Deaf, Fault::Rough];

impl Fault {
    /// One of each kind, in an order and on nodes that the random numbers say.
    pub fn each(random: &mut Random, nodes: usize) -> Vec<Fault> {
        let mut left = KINDS.to_vec();
        let mut faults = Vec::new();
        while !left.is_empty() {
            let kind = left.swap_remove(random.below(left.len()));
            faults.push(kind(random.below(nodes)));
        }
        faults
    }

    /// Two at a time, on different nodes.
    pub fn pair(random: &mut Random, nodes: usize) -> [Fault; 2] {
        let one = random.below(nodes);
        let other = (one + 1 + random.below(nodes - 1)) % nodes;
        [one, other].map(|node| random.pick(&KINDS)(node))
    }

    fn node(self) -> usize {
        match self {
            Fault::Killed(node) | Fault::Frozen(node) | Fault::Cut(node) => node,
            Fault::Mute(node) | Fault::Deaf(node) | Fault::Rough(node) => node,
        }
    }

    /// It begins.
    pub fn begin(self, cluster: &mut Cluster) {
        let node = self.node();
        let others: Vec<usize> = (0..cluster.nodes.len()).filter(|other| *other != node).collect();
        let network = cluster.network.as_ref().expect("the nodes can be cut apart");
        match self {
            Fault::Killed(node) => cluster.nodes[node].kill9(),
            Fault::Frozen(node) => cluster.nodes[node].freeze(),
            Fault::Cut(node) => network.cut(&[node], &others),
            Fault::Mute(node) => others.iter().for_each(|other| network.cut_one_way(node, *other)),
            Fault::Deaf(node) => others.iter().for_each(|other| network.cut_one_way(*other, node)),
            Fault::Rough(node) => network.roughen(node),
        }
    }

    /// It ends. Roads that another fault blocks, too, are opened as well: the next fault blocks others.
    pub fn end(self, cluster: &mut Cluster) {
        let node = self.node();
        let others: Vec<usize> = (0..cluster.nodes.len()).filter(|other| *other != node).collect();
        match self {
            Fault::Killed(node) => cluster.nodes[node].restart(),
            Fault::Frozen(node) => cluster.nodes[node].thaw(),
            Fault::Cut(_) | Fault::Mute(_) | Fault::Deaf(_) => {
                cluster.network.as_ref().expect("the nodes can be cut apart").heal(&[node], &others);
            }
            Fault::Rough(node) => cluster.network.as_ref().expect("the nodes can be cut apart").smooth(node),
        }
    }
}
