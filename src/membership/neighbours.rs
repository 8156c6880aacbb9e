//! The ways to the other members: one link and one lamp each, kept while the member stays where it is.

use crate::causality::NodeId;
use crate::gossip::state::{ClusterState, Member};
use crate::membership::health::Health;
use crate::membership::{Command, Membership};
use crate::message::control::Control;
use crate::peer::link::{Link, OnChange};
use crate::peer::settings::PeerSettings;
use crate::replica::clock::wall_ms;
use rand::Rng;
use rand::seq::IteratorRandom;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long a ping may take. Shorter than the pause after which a stalled member is noticed by other means.
const PING_TIMEOUT: Duration = Duration::from_millis(300);

/// One other member.
#[derive(Clone)]
pub(super) struct Neighbour {
    pub(super) id: NodeId,
    pub(super) link: Arc<Link>,
    pub(super) health: Arc<Health>,
}

/// All other members.
pub(super) struct Neighbours {
    me: NodeId,
    settings: Arc<PeerSettings>,
    all: BTreeMap<NodeId, Neighbour>,
}

impl Neighbours {
    pub(super) fn new(me: NodeId, settings: Arc<PeerSettings>) -> Neighbours {
        Neighbours { me, settings, all: BTreeMap::new() }
    }

    /// Starts and stops links until they are those of `state`'s members.
    pub(super) fn follow(&mut self, state: &ClusterState, membership: &Weak<Membership>) {
        let wanted: BTreeMap<NodeId, &Member> =
            state.present().filter(|member| member.id != self.me).map(|member| (member.id, member)).collect();
        self.all.retain(|id, neighbour| {
            let stays = wanted.get(id).is_some_and(|member| member.address() == neighbour.link.address());
            if !stays {
                neighbour.link.stop();
            }
            stays
        });
        for (id, member) in wanted {
            let start = || start(self.settings.clone(), member, membership.clone());
            self.all.entry(id).or_insert_with(start);
        }
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Neighbour> {
        self.all.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Neighbour> {
        self.all.values()
    }

    pub(super) fn reachable(&self) -> impl Iterator<Item = &Neighbour> {
        self.all.values().filter(|neighbour| neighbour.health.is_reachable())
    }

    /// Up to `count` members that can be reached, chosen at random.
    pub(super) fn some(&self, count: usize, random: &mut impl Rng) -> Vec<Neighbour> {
        self.reachable().cloned().sample(random, count)
    }

    /// Pings those that are unreachable only because their answers came late, or that others hold to be away.
    pub(super) fn ping_doubtful(&self) {
        for neighbour in self.all.values().filter(|neighbour| neighbour.health.wants_ping()) {
            let health = neighbour.health.clone();
            let done = Box::new(move |outcome: Result<_, _>| health.pinged(outcome.is_ok()));
            neighbour.link.call(Control::Ping.encode(), PING_TIMEOUT, done);
        }
    }

    pub(super) fn stop(&mut self) {
        for neighbour in std::mem::take(&mut self.all).into_values() {
            neighbour.link.stop();
        }
    }
}

fn start(settings: Arc<PeerSettings>, member: &Member, membership: Weak<Membership>) -> Neighbour {
    let health = Arc::new(Health::default());
    let lamp = health.clone();
    let on_change: OnChange = Arc::new(move |id, up| {
        lamp.link(up, wall_ms());
        if let Some(membership) = membership.upgrade().filter(|_| up) {
            // When the queue is full the failure detector finds out by itself, a second later.
            drop(membership.commands.try_send(Command::LinkUp(id)));
        }
    });
    let link = Link::start(settings, member.address(), member.id, on_change);
    Neighbour { id: member.id, link, health }
}
