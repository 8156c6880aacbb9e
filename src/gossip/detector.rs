//! Who is there and who is away: SWIM (§4.8.3), by the foca crate, as a machine.
//!
//! Every so often a node knocks at one neighbour's door. No answer: it asks three others to knock too. Still none: the
//! neighbour is suspected, aloud; who hears of a suspicion against himself says "I am well" louder than the rumour.
//! Who does not say so in time is held to be away, until heard from again.
//!
//! # Contract
//! Each call returns [`Effect`]s, to be carried out in order. Packets may be lost, doubled or late. A timer's token is
//! handed back once through [`Detector::handle_timer`], about when it was due; late is allowed.
//! With [`Settings::default`], a silent node is held to be away after 1 to 3 seconds.
//!
//! # Invariants
//! - [`Effect::Up`] and [`Effect::Down`] of one node alternate, beginning with Up; never for the own node.
//! - [`Effect::Suspected`] and [`Effect::Cleared`] of one node alternate, beginning with Suspected. Who is suspected still
//!   counts as there; nobody is suspected any more once it is away.
//! - A node's name here carries a number that only grows: its start number, then how often it had to contradict its own
//!   obituary in that life. So a node that was taken for dead comes back by itself, and a restarted one at once.
//! - [`Detector::tick`], called each second, calls upon members that are away. No other help is needed to heal.
//!
//! # What it refuses
//! Packets that cannot be read, or are larger than [`PACKET_BYTES_MAX`]: counted, not acted on.

use crate::causality::NodeId;
use foca::{
    AccumulatingRuntime, Config, Foca, Identity, OwnedNotification, PeriodicParams, PostcardCodec, State, Timer,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// The largest packet made or read, in bytes.
pub const PACKET_BYTES_MAX: usize = 8192;

/// How many members that are away [`Detector::tick`] calls upon at a time.
const CALLS_PER_TICK: usize = 8;

/// The pace of detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// One member is probed each such period.
    pub probe_period: Duration,
    /// A probed member that has not answered after this long is probed through others. Less than half the period.
    pub probe_rtt: Duration,
    /// A suspected member that has not contradicted after this long is down.
    pub suspicion: Duration,
}

impl Settings {
    /// One member is probed each such period; the rest follows from it.
    pub fn paced(probe_period: Duration, suspicion: Duration) -> Settings {
        Settings { probe_period, probe_rtt: probe_period * 3 / 8, suspicion }
    }

    /// The longest time until a node of so many members that falls silent is held to be away by this one, if no packet is
    /// lost: probes go round in an order drawn anew each time, so two to one member lie at most two rounds apart; then come
    /// the probe's own period and the suspicion. Others mostly find out sooner and say so.
    pub fn detection_max(&self, members: usize) -> Duration {
        let others = u32::try_from(members.saturating_sub(1)).unwrap_or(u32::MAX);
        self.probe_period.saturating_mul(others.saturating_mul(2)).saturating_add(self.suspicion)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::paced(Duration::from_millis(400), Duration::from_millis(1200))
    }
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this packet to that node, if possible; losing it is allowed.
    SendTo(NodeId, Vec<u8>),
    /// Hand this token to [`Detector::handle_timer`] after this long.
    Timer(Duration, u64),
    /// The node is there.
    Up(NodeId),
    /// The node is away.
    Down(NodeId),
    /// The node did not answer somebody, and has not contradicted yet.
    Suspected(NodeId),
    /// The node is not suspected any more: it is well, or it is away.
    Cleared(NodeId),
}

/// A node in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Life {
    id: NodeId,
    bump: u64,
}

impl Life {
    /// The start number in the high half leaves room for four thousand million obituaries.
    fn new(id: NodeId, start_number: u64) -> Life {
        Life { id, bump: start_number << 32 }
    }
}

impl Identity for Life {
    type Addr = NodeId;

    fn renew(&self) -> Option<Life> {
        Some(Life { bump: self.bump.saturating_add(1), ..*self })
    }

    fn addr(&self) -> NodeId {
        self.id
    }

    fn win_addr_conflict(&self, adversary: &Life) -> bool {
        self.bump > adversary.bump
    }
}

/// The failure detector of one node. See the module.
pub struct Detector {
    me: NodeId,
    foca: Foca<Life, PostcardCodec, StdRng, foca::NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Life>,
    timers: BTreeMap<u64, Timer<Life>>,
    next_token: u64,
    members: BTreeSet<NodeId>,
    up: BTreeSet<NodeId>,
    suspected: BTreeSet<NodeId>,
    next_call: usize,
    refused: u64,
}

impl Detector {
    /// The detector of node `me` in its life number `start_number`; all its randomness comes from `seed`.
    pub fn new(me: NodeId, start_number: u64, seed: u64, settings: Settings) -> Detector {
        let rng = StdRng::seed_from_u64(seed);
        Detector {
            me,
            foca: Foca::new(Life::new(me, start_number), config(settings), rng, PostcardCodec),
            runtime: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            next_token: 0,
            members: BTreeSet::new(),
            up: BTreeSet::new(),
            suspected: BTreeSet::new(),
            next_call: 0,
            refused: 0,
        }
    }

    /// Tells who belongs to the cluster (the own node may be among them). New ones are called upon at once.
    pub fn set_members(&mut self, members: impl IntoIterator<Item = NodeId>) -> Vec<Effect> {
        let members: BTreeSet<NodeId> = members.into_iter().filter(|id| *id != self.me).collect();
        let new: Vec<NodeId> = members.difference(&self.members).copied().collect();
        self.members = members;
        for id in new {
            self.call_upon(id);
        }
        self.effects()
    }

    /// Calls upon one member now: a link to it has just come up.
    pub fn greet(&mut self, id: NodeId) -> Vec<Effect> {
        if self.members.contains(&id) {
            self.call_upon(id);
        }
        self.effects()
    }

    /// A packet came in.
    pub fn handle_data(&mut self, packet: &[u8]) -> Vec<Effect> {
        let result = self.foca.handle_data(packet, &mut self.runtime);
        self.note(result)
    }

    /// A timer is due. Unknown tokens do nothing.
    pub fn handle_timer(&mut self, token: u64) -> Vec<Effect> {
        match self.timers.remove(&token) {
            Some(timer) => {
                let result = self.foca.handle_timer(timer, &mut self.runtime);
                self.note(result)
            }
            None => Vec::new(),
        }
    }

    /// To be called each second: calls upon some of the members that are away, in turn.
    pub fn tick(&mut self) -> Vec<Effect> {
        let away: Vec<NodeId> = self.members.difference(&self.up).copied().collect();
        for step in 0..away.len().min(CALLS_PER_TICK) {
            self.call_upon(away[(self.next_call + step) % away.len()]);
        }
        self.next_call = self.next_call.wrapping_add(CALLS_PER_TICK);
        self.effects()
    }

    /// Says goodbye: the others need not find out. Nothing but [`Detector::refused`] is to be called afterwards.
    pub fn leave(&mut self) -> Vec<Effect> {
        let result = self.foca.leave_cluster(&mut self.runtime);
        self.note(result)
    }

    /// How many packets or timers could not be made sense of.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Members that are there, the own node not counted.
    pub fn up(&self) -> &BTreeSet<NodeId> {
        &self.up
    }

    fn call_upon(&mut self, id: NodeId) {
        // A visit may name any life of the one visited, so the lowest will do.
        let visited = Life { id, bump: 0 };
        if self.foca.announce(visited, &mut self.runtime).is_err() {
            self.refused += 1;
        }
    }

    fn note(&mut self, result: Result<(), foca::Error>) -> Vec<Effect> {
        self.refused += u64::from(result.is_err());
        self.effects()
    }

    fn effects(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some((to, packet)) = self.runtime.to_send() {
            effects.push(Effect::SendTo(to.id, packet.to_vec()));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers.insert(self.next_token, timer);
            effects.push(Effect::Timer(after, self.next_token));
            self.next_token += 1;
        }
        let mut moved = false;
        while let Some(notification) = self.runtime.to_notify() {
            moved |= matches!(
                notification,
                OwnedNotification::MemberUp(_) | OwnedNotification::MemberDown(_) | OwnedNotification::Rename(..)
            );
        }
        if moved {
            let up: BTreeSet<NodeId> = self.foca.iter_members().map(|member| member.id().id).collect();
            effects.extend(self.up.difference(&up).map(|id| Effect::Down(*id)));
            effects.extend(up.difference(&self.up).map(|id| Effect::Up(*id)));
            self.up = up;
        }
        self.suspicions(&mut effects);
        effects
    }

    /// Foca tells of no suspicion, so the few that there are, are compared with those of last time.
    fn suspicions(&mut self, effects: &mut Vec<Effect>) {
        let suspects = self.foca.iter_members().filter(|member| member.state() == State::Suspect);
        let suspected: BTreeSet<NodeId> = suspects.map(|member| member.id().id).collect();
        if suspected != self.suspected {
            effects.extend(self.suspected.difference(&suspected).map(|id| Effect::Cleared(*id)));
            effects.extend(suspected.difference(&self.suspected).map(|id| Effect::Suspected(*id)));
            self.suspected = suspected;
        }
    }
}

fn config(settings: Settings) -> Config {
    let gossip = PeriodicParams { frequency: Duration::from_millis(200), num_members: some(3) };
    Config {
        probe_period: settings.probe_period,
        probe_rtt: settings.probe_rtt,
        num_indirect_probes: some(3),
        max_transmissions: NonZeroU8::MIN.saturating_add(9),
        suspect_to_down_after: settings.suspicion,
        // A node keeps its address and only ever comes back with a greater number: nothing piles up.
        remove_down_after: None,
        max_packet_size: some(PACKET_BYTES_MAX),
        notify_down_members: true,
        // `tick` does this, also when everybody else is away, which foca would not.
        periodic_announce: None,
        periodic_announce_to_down_members: None,
        periodic_gossip: Some(gossip),
    }
}

fn some(number: usize) -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(number - 1)
}

#[cfg(test)]
mod tests;
