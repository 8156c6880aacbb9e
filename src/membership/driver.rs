//! The caretaker: one task that owns the cluster state, the failure detector and the links.

use crate::causality::NodeId;
use crate::gossip::detector::{Detector, Effect};
use crate::gossip::state::ClusterState;
use crate::membership::neighbours::{Neighbour, Neighbours};
use crate::membership::seeds::Asking;
use crate::membership::view::{View, ring_of};
use crate::membership::{Command, Done, Hands, Membership, Settings, StartError, spreading};
use crate::message::control::{Control, JoinRequest, Refusal};
use crate::ring::Ring;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

const SECOND: Duration = Duration::from_secs(1);

/// How often a member that is late, or of which others say that it is away, is pinged.
const PING_PERIOD: Duration = Duration::from_millis(100);

/// How many members are asked each second whether they know the same.
const GOSSIP_PARTNERS: usize = 3;

/// Time for the last packets to leave before the links are closed.
const FAREWELL: Duration = Duration::from_millis(50);

pub(super) struct Driver {
    pub(super) me: JoinRequest,
    settings: Settings,
    pub(super) hands: Hands,
    pub(super) membership: Weak<Membership>,
    /// None: in no cluster yet.
    pub(super) state: Option<ClusterState>,
    ring: Option<Arc<Ring>>,
    pub(super) neighbours: Neighbours,
    pub(super) detector: Detector,
    timers: BTreeSet<(Instant, u64)>,
    random: StdRng,
    /// What has been said in the log already and need not be said again.
    mentioned: BTreeSet<String>,
}

/// Brings up the driver's task. What was saved is taken over before this returns.
pub(super) async fn start(
    membership: Arc<Membership>,
    settings: Settings,
    hands: Hands,
    saved: Option<Vec<u8>>,
    queue: mpsc::Receiver<Command>,
) -> Result<(), StartError> {
    let mut random = StdRng::seed_from_u64(settings.random_seed);
    let me = settings.me.clone();
    let mut driver = Driver {
        detector: Detector::new(me.id, me.start_number, random.random(), settings.detector),
        neighbours: Neighbours::new(me.id, settings.peers.clone()),
        membership: Arc::downgrade(&membership),
        state: None,
        ring: None,
        timers: BTreeSet::new(),
        mentioned: BTreeSet::new(),
        me,
        settings,
        hands,
        random,
    };
    let returning = saved.is_some();
    if let Some(bytes) = saved {
        driver.take_up(&bytes).await?;
    }
    let asking = Asking {
        peers: driver.settings.peers.clone(),
        seeds: driver.settings.seeds.clone(),
        me: driver.me.clone(),
        membership: Arc::downgrade(&membership),
    };
    if returning {
        tokio::spawn(asking.return_to_cluster());
    } else {
        tokio::spawn(asking.find_cluster());
    }
    tokio::spawn(driver.run(queue));
    Ok(())
}

impl Driver {
    /// Takes over what an earlier life saved, and notes in it that this life has begun.
    async fn take_up(&mut self, bytes: &[u8]) -> Result<(), StartError> {
        let mut state = ClusterState::decode(bytes)?;
        let Some(line) = state.members.get(&self.me.id) else { return Err(StartError::NotAMember(self.me.id)) };
        if line.zone != self.me.zone || line.weight != self.me.weight {
            tracing::warn!(
                zone = line.zone,
                weight = line.weight,
                "zone and weight stay what they were when this node joined; changing them is not supported yet"
            );
        }
        state.admit(&self.me, true)?;
        self.me.cluster_id = Some(state.cluster_id);
        self.adopt(state).await?;
        Ok(())
    }

    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut second = interval(SECOND);
        let mut ping = interval(PING_PERIOD);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.timers.first().map(|(due, _)| *due);
            tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.fire(),
                _ = second.tick() => self.each_second(),
                _ = ping.tick() => {
                    self.neighbours.ping_doubtful();
                    self.neighbours.iter().for_each(|neighbour| neighbour.health.look());
                }
                command = queue.recv() => match command {
                    Some(Command::Stop(done)) => {
                        self.leave().await;
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.carry_out(command).await,
                    None => return self.leave().await,
                },
            }
        }
    }

    fn fire(&mut self) {
        if let Some((_, token)) = self.timers.pop_first() {
            let effects = self.detector.handle_timer(token);
            self.effect(effects);
        }
    }

    fn each_second(&mut self) {
        let effects = self.detector.tick();
        self.effect(effects);
        if let Some(membership) = self.membership.upgrade() {
            membership.counters.packets_refused.store(self.detector.refused(), Ordering::Relaxed);
        }
        self.neighbours.iter().for_each(|neighbour| neighbour.health.age());
        let partners = self.neighbours.some(GOSSIP_PARTNERS, &mut self.random);
        self.compare_with(partners);
    }

    /// Compares what is known, and the clocks.
    fn compare_with(&self, partners: Vec<Neighbour>) {
        let Some(ours) = self.state.as_ref().map(ClusterState::summary) else { return };
        for neighbour in partners {
            tokio::spawn(spreading::look_at_clock(neighbour.clone(), self.hands.clock.clone()));
            tokio::spawn(spreading::compare(neighbour, ours, self.membership.clone()));
        }
    }

    async fn leave(&mut self) {
        let effects = self.detector.leave();
        self.effect(effects);
        sleep(FAREWELL).await;
        self.neighbours.stop();
    }

    pub(super) fn effect(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SendTo(id, packet) => {
                    if let Some(neighbour) = self.neighbours.get(&id) {
                        neighbour.link.tell(Control::Swim(packet).encode());
                    }
                }
                Effect::Timer(after, token) => {
                    self.timers.insert((Instant::now() + after, token));
                }
                Effect::Up(id) => self.lamp(id, true),
                Effect::Down(id) => self.lamp(id, false),
                Effect::Suspected(id) => self.suspect(id, true),
                Effect::Cleared(id) => self.suspect(id, false),
            }
        }
    }

    fn lamp(&self, id: NodeId, up: bool) {
        let Some(neighbour) = self.neighbours.get(&id) else { return };
        let member = self.state.as_ref().and_then(|state| state.members.get(&id));
        let left = member.is_some_and(|member| neighbour.health.has_left(member.start_number));
        neighbour.health.swim(up, left);
        if up {
            neighbour.link.nudge();
            return tracing::info!(member = %id, "member is there");
        }
        match neighbour.health.is_reachable() {
            true => tracing::info!(member = %id, "others hold a member to be away that answers here"),
            false => tracing::warn!(member = %id, "member is away"),
        }
        self.neighbours.ping_doubtful();
    }

    fn suspect(&self, id: NodeId, suspected: bool) {
        if let Some(neighbour) = self.neighbours.get(&id) {
            neighbour.health.suspect(suspected);
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Message { from, message, answer } => self.message(from, message, answer).await,
            Command::Surveyed { request, holds_data, answer } => {
                let outcome = match holds_data {
                    Ok(holds_data) => self.admit(&request, holds_data).await,
                    Err(refusal) => Err(refusal),
                };
                answer(Control::JoinAnswer(outcome).encode());
            }
            Command::LinkUp(id) => {
                let effects = self.detector.greet(id);
                self.effect(effects);
                self.compare_with(self.neighbours.get(&id).cloned().into_iter().collect());
            }
            Command::Found(done) => drop(done.send(self.found().await.map_err(|refusal| refusal.to_string()))),
            Command::Join(state, done) => drop(done.send(self.join(&state).await)),
            Command::Merge(from, bytes) => {
                if let Err(refusal) = self.merge(from, &bytes).await {
                    self.mention(&refusal);
                }
            }
            Command::Foreign(refusal) => self.mention(&refusal),
            Command::SetPolicy { index, policy, done } => {
                let Some(mut state) = self.state.clone() else {
                    return drop(done.send(Err(Refusal::NoClusterYet.to_string())));
                };
                state.set_policy(index, policy, (self.hands.now_ms)(), self.me.id.tag());
                match self.adopt(state).await {
                    Ok(()) => drop(tokio::spawn(spreading::confirm(self.reachable(), self.encoded(), done))),
                    Err(refusal) => drop(done.send(Err(refusal.to_string()))),
                }
            }
            Command::Leave(done) => {
                let message = Control::Leaving(self.me.start_number);
                drop(tokio::spawn(spreading::take_leave(self.reachable(), message, done)));
            }
            Command::Flush { databases, done } => self.begin_flush(databases, done),
            Command::Collected { databases, collected, done } => self.draw_line(databases, collected, done).await,
            Command::Swap { pair, done } => self.swap(pair, done).await,
            Command::Announce { whereabouts, done } => {
                // Whoever asked may have gone away meanwhile.
                drop(done.send(self.announce(whereabouts).await.map_err(|refusal| refusal.to_string())));
            }
            Command::Stop(done) => {
                let _ = done.send(());
            }
        }
    }

    /// Lets a node in and tells the others. Gives the encoded state.
    pub(super) async fn admit(&mut self, request: &JoinRequest, holds_data: bool) -> Result<Vec<u8>, Refusal> {
        let mut state = self.state.clone().ok_or(Refusal::NoClusterYet)?;
        // Also what was written here while the others were asked counts.
        let admitted = state.admit(request, holds_data || (self.hands.holds_data)())?;
        tracing::info!(member = %request.id, address = request.host, port = request.cluster_port, ?admitted, "join");
        self.adopt(state).await?;
        tokio::spawn(spreading::push(self.reachable(), self.encoded()));
        Ok(self.encoded())
    }

    async fn found(&mut self) -> Result<(), Refusal> {
        let Settings { partitions, policies, .. } = &self.settings;
        let id = self.random.random::<u64>().max(1);
        let mut state = ClusterState::found(&self.me.cluster_name, id, *partitions, policies, self.me.id.tag());
        state.admit(&self.me, false)?;
        self.adopt(state).await?;
        tracing::info!(cluster = format!("{id:016x}"), name = self.me.cluster_name, "founded a cluster");
        Ok(())
    }

    async fn join(&mut self, bytes: &[u8]) -> Result<(), String> {
        let state = ClusterState::decode(bytes).map_err(|error| error.to_string())?;
        if state.cluster_name != self.me.cluster_name || !state.present().any(|member| member.id == self.me.id) {
            return Err("the answer to the request to join is of a cluster without this node; nothing changed".into());
        }
        if state.partitions != self.settings.partitions.count() {
            let (theirs, ours) = (state.partitions, self.settings.partitions.count());
            tracing::warn!(
                "this cluster was founded with {theirs} partitions; the {ours} of the configuration are not used"
            );
        }
        let (id, members) = (state.cluster_id, state.present().count());
        self.adopt(state).await.map_err(|refusal| refusal.to_string())?;
        tracing::info!(cluster = format!("{id:016x}"), name = self.me.cluster_name, members, "joined a cluster");
        self.compared();
        Ok(())
    }

    /// Merges another's state. What others believe of this node is put right, and the sender is told what it misses.
    pub(super) async fn merge(&mut self, from: Option<NodeId>, bytes: &[u8]) -> Result<(), Refusal> {
        let theirs = ClusterState::decode(bytes).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let mut state = self.state.clone().ok_or(Refusal::NoClusterYet)?;
        let changed =
            state.merge(&theirs).map_err(|other| Refusal::OtherCluster { ours: other.ours, theirs: other.theirs })?;
        if changed {
            state.admit(&self.me, true)?;
            self.adopt(state).await?;
        }
        if self.state.as_ref() != Some(&theirs) {
            let sender = from.and_then(|id| self.neighbours.get(&id)).cloned().into_iter().collect();
            tokio::spawn(spreading::push(sender, self.encoded()));
        }
        self.compared();
        Ok(())
    }

    /// What another member knows is known here.
    fn compared(&self) {
        if let Some(membership) = self.membership.upgrade() {
            membership.compared.send_replace(true);
        }
    }

    /// Saves a state, then acts on it and shows it.
    pub(super) async fn adopt(&mut self, mut state: ClusterState) -> Result<(), Refusal> {
        state.tend_swaps(self.me.id.tag());
        (self.hands.save)(state.encode()).await.map_err(Refusal::NotSaved)?;
        (self.hands.draw_lines)(&state.flushes);
        let same_members = self.state.as_ref().is_some_and(|old| old.members == state.members);
        if !same_members || self.ring.is_none() {
            self.ring = ring_of(&state).map(Arc::new);
            self.neighbours.follow(&state, &self.membership);
            self.hands.clock.time.follow(self.neighbours.iter().map(|neighbour| neighbour.id));
        }
        self.me.cluster_id = Some(state.cluster_id);
        let way = |id: &NodeId| self.neighbours.get(id).map(|way| (way.link.clone(), way.health.clone()));
        let view = self.ring.clone().and_then(|ring| View::of(&state, self.me.id, ring, way));
        if let (Some(membership), Some(view)) = (self.membership.upgrade(), view) {
            membership.databases.set(view.places.databases());
            membership.view.store(Arc::new(view));
            membership.formed.send_replace(true);
        }
        let present: Vec<NodeId> = state.present().map(|member| member.id).collect();
        self.state = Some(state);
        let effects = self.detector.set_members(present);
        self.effect(effects);
        Ok(())
    }

    /// Has every member that can be reached save what is saved here, then tells whoever asked.
    pub(super) fn spread(&self, done: Done) {
        tokio::spawn(spreading::spread(self.reachable(), self.encoded(), done));
    }

    pub(super) fn reachable(&self) -> Vec<Neighbour> {
        self.neighbours.reachable().cloned().collect()
    }

    pub(super) fn encoded(&self) -> Vec<u8> {
        self.state.as_ref().map(ClusterState::encode).unwrap_or_default()
    }

    /// Says in the log what another node's message was refused for; once, however often it comes.
    pub(super) fn mention(&mut self, refusal: &Refusal) {
        const MENTIONED_MAX: usize = 1000;
        if self.mentioned.len() < MENTIONED_MAX && self.mentioned.insert(refusal.to_string()) {
            tracing::error!("{refusal}");
        }
    }
}
