//! The board: the cluster as one node sees it at one moment.
//!
//! # Invariants
//! - [`View::nodes`] is sorted by id and has the same indexes as the ring's members; `me` is among them.
//! - A view never changes, except that its lamps ([`Health`]) go on and off.

use crate::causality::{NodeId, NodeTag};
use crate::gossip::state::{ClusterState, Member, address};
use crate::gossip::swaps::Places;
use crate::key::{DATABASES, Partitions};
use crate::membership::health::Health;
use crate::message::control::{Announced, JoinRequest};
use crate::peer::link::Link;
use crate::policy::Policy;
use crate::ring::{Ring, RingMember};
use std::sync::Arc;

/// One policy for each database.
pub type Policies = [Policy; DATABASES as usize];

/// The cluster as one node sees it.
pub struct View {
    /// The index of this node in `nodes`.
    pub me: usize,
    /// The members, sorted by id.
    pub nodes: Vec<Node>,
    /// Who keeps what.
    pub ring: Arc<Ring>,
    /// Rises with every change of the members; 0 while the node is in no cluster.
    pub epoch: u64,
    /// What words are about ([`crate::settling`]); 0 while the node is in no cluster.
    pub settling_tag: u64,
    /// Which stored database each index means.
    pub places: Places,
    /// The policies in force, of the stored databases: capped by the number of members.
    pub policies: Policies,
    /// The policies as set.
    pub configured: Policies,
    /// The cluster's name.
    pub cluster_name: String,
    /// The cluster's id; 0 while the node is in none.
    pub cluster_id: u64,
}

/// One member.
pub struct Node {
    /// Its name for life.
    pub id: NodeId,
    /// Which of its lives this is: its start number.
    pub life: u64,
    /// The first 64 bits of it.
    pub tag: NodeTag,
    /// The host name or address under which others reach it.
    pub host: String,
    /// Its port for clients.
    pub port: u16,
    /// Its port for nodes.
    pub cluster_port: u16,
    /// What cluster clients are told of it.
    pub announced: Announced,
    /// Its zone; empty: none.
    pub zone: String,
    /// Its share of the partitions, relative to the others'.
    pub weight: u32,
    /// The way to it; none: it is this node.
    pub link: Option<Arc<Link>>,
    /// Its lamp.
    pub health: Arc<Health>,
}

impl Node {
    /// Whether it makes sense to ask this member for anything. This node itself can always be asked.
    pub fn is_reachable(&self) -> bool {
        self.link.is_none() || self.health.is_reachable()
    }

    /// Whether it has said that it is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.health.has_left(self.life)
    }

    /// Whether cluster clients are to be sent to it.
    pub fn is_in_service(&self) -> bool {
        self.is_reachable() && !self.health.is_suspected() && !self.is_leaving()
    }

    /// The port where cluster clients find it.
    pub fn announced_port(&self) -> u16 {
        if self.announced.port == 0 { self.port } else { self.announced.port }
    }

    /// Its node port: host:cluster_port.
    pub fn address(&self) -> String {
        address(&self.host, self.cluster_port)
    }
}

impl View {
    /// What a node sees that is in no cluster yet: itself.
    pub fn alone(me: &JoinRequest, partitions: Partitions, policies: &Policies) -> View {
        let member = RingMember { id: me.id, zone: me.zone.clone(), weight: me.weight, joined: 1, left: None };
        let node = Node {
            id: me.id,
            life: me.start_number,
            tag: me.id.tag(),
            host: me.host.clone(),
            port: me.port,
            cluster_port: me.cluster_port,
            announced: me.announced.clone(),
            zone: me.zone.clone(),
            weight: me.weight,
            link: None,
            health: Arc::new(Health::default()),
        };
        View {
            me: 0,
            nodes: vec![node],
            ring: Arc::new(Ring::new(&[member], partitions)),
            epoch: 0,
            settling_tag: 0,
            places: Places::default(),
            policies: policies.map(|policy| policy.capped(1)),
            configured: *policies,
            cluster_name: me.cluster_name.clone(),
            cluster_id: 0,
        }
    }

    /// The view of node `me` on `state`; none when `me` is not present in it. `ring` is that of `state`; `way` gives the
    /// link and lamp of each other member.
    pub(super) fn of(
        state: &ClusterState,
        me: NodeId,
        ring: Arc<Ring>,
        way: impl Fn(&NodeId) -> Option<(Arc<Link>, Arc<Health>)>,
    ) -> Option<View> {
        let nodes: Vec<Node> = state.present().map(|member| node(member, way(&member.id))).collect();
        let configured: Policies = std::array::from_fn(|index| state.policy(index as u8));
        Some(View {
            me: nodes.iter().position(|node| node.id == me)?,
            ring,
            epoch: state.epoch(),
            settling_tag: state.settling_tag(),
            places: state.swaps.places(),
            policies: configured.map(|policy| policy.capped(nodes.len())),
            configured,
            cluster_name: state.cluster_name.clone(),
            cluster_id: state.cluster_id,
            nodes,
        })
    }

    /// This node.
    pub fn own(&self) -> &Node {
        &self.nodes[self.me]
    }

    /// The index of the member with this id.
    pub fn index_of(&self, id: &NodeId) -> Option<usize> {
        self.nodes.binary_search_by(|node| node.id.cmp(id)).ok()
    }

    /// The index of the member with this tag.
    pub fn index_of_tag(&self, tag: NodeTag) -> Option<usize> {
        self.nodes.binary_search_by(|node| node.tag.cmp(&tag)).ok()
    }
}

/// The ring of a cluster state, from all members there ever were.
pub(super) fn ring_of(state: &ClusterState) -> Option<Ring> {
    let members: Vec<RingMember> = state
        .members
        .values()
        .map(|member| RingMember {
            id: member.id,
            zone: member.zone.clone(),
            weight: member.weight,
            joined: member.joined,
            left: member.left,
        })
        .collect();
    Some(Ring::new(&members, Partitions::new(state.partitions)?))
}

fn node(member: &Member, way: Option<(Arc<Link>, Arc<Health>)>) -> Node {
    let (link, health) = way.map_or_else(|| (None, Arc::default()), |(link, health)| (Some(link), health));
    Node {
        id: member.id,
        life: member.start_number,
        tag: member.id.tag(),
        host: member.host.clone(),
        port: member.port,
        cluster_port: member.cluster_port,
        announced: member.announced.clone(),
        zone: member.zone.clone(),
        weight: member.weight,
        link,
        health,
    }
}

#[cfg(test)]
impl View {
    /// Five members, N=3, seen from the first; no links, so that all can be reached.
    pub(crate) fn five() -> View {
        use crate::ring::RingMember;
        let ids: Vec<NodeId> = (1..=5).map(|n| NodeId([n; 20])).collect();
        let member = |id: &NodeId| RingMember { id: *id, zone: String::new(), weight: 1, joined: 1, left: None };
        let members: Vec<RingMember> = ids.iter().map(member).collect();
        let node = |id: NodeId| Node {
            id,
            life: 1,
            tag: id.tag(),
            host: String::new(),
            port: 0,
            cluster_port: 0,
            announced: Announced::default(),
            zone: String::new(),
            weight: 1,
            link: None,
            health: Arc::new(Health::default()),
        };
        let policies = [Policy { n: 3, ..Policy::default() }; 16];
        View {
            me: 0,
            nodes: ids.into_iter().map(node).collect(),
            ring: Arc::new(Ring::new(&members, Partitions::new(16).unwrap())),
            epoch: 1,
            settling_tag: 1,
            places: Places::default(),
            policies,
            configured: policies,
            cluster_name: String::new(),
            cluster_id: 1,
        }
    }
}
