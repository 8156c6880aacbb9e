//! The caretaker: one task that owns the cluster state, the failure detector and the links.

use crate::causality::NodeId;
use crate::gossip::detector::{Detector, Effect};
use crate::gossip::state::ClusterState;
use crate::membership::neighbours::Neighbours;
use crate::membership::seeds::Asking;
use crate::membership::view::{View, ring_of};
use crate::membership::{Answer, Command, Hands, Membership, Settings, StartError, spreading};
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

/// How often a member that is late is pinged.
const PING_PERIOD: Duration = Duration::from_millis(100);

/// How many members are asked each second whether they know the same.
const GOSSIP_PARTNERS: usize = 3;

/// Time for the last packets to leave before the links are closed.
const FAREWELL: Duration = Duration::from_millis(50);

pub(super) struct Driver {
    me: JoinRequest,
    settings: Settings,
    hands: Hands,
    membership: Weak<Membership>,
    /// None: in no cluster yet.
    pub(super) state: Option<ClusterState>,
    ring: Option<Arc<Ring>>,
    pub(super) neighbours: Neighbours,
    detector: Detector,
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

/// Answers a request that cannot be carried out; messages that want no answer get none.
pub(super) fn answer_refused(message: &Control, answer: Answer, refusal: Refusal) {
    match message {
        Control::Join(_) => answer(Control::JoinAnswer(Err(refusal)).encode()),
        Control::Swim(_) => {}
        _ => answer(Control::Refused(refusal).encode()),
    }
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
                _ = ping.tick() => self.neighbours.ping_late(),
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
        let Some(state) = &self.state else { return };
        for neighbour in self.neighbours.some(GOSSIP_PARTNERS, &mut self.random) {
            tokio::spawn(spreading::compare(neighbour.link, state.summary(), self.membership.clone()));
        }
    }

    async fn leave(&mut self) {
        let effects = self.detector.leave();
        self.effect(effects);
        sleep(FAREWELL).await;
        self.neighbours.stop();
    }

    fn effect(&mut self, effects: Vec<Effect>) {
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
            }
        }
    }

    fn lamp(&self, id: NodeId, up: bool) {
        if let Some(neighbour) = self.neighbours.get(&id) {
            neighbour.health.swim(up);
            if up {
                neighbour.link.nudge();
                tracing::info!(member = %id, "member is there");
            } else {
                tracing::warn!(member = %id, "member is away");
            }
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
            }
            Command::Found(done) => drop(done.send(self.found().await.map_err(|refusal| refusal.to_string()))),
            Command::Join(state, done) => drop(done.send(self.join(&state).await)),
            Command::Merge(bytes) => {
                if let Err(refusal) = self.merge(&bytes).await {
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
            Command::Stop(done) => {
                let _ = done.send(());
            }
        }
    }

    async fn message(&mut self, from: NodeId, message: Control, answer: Answer) {
        self.notice(from);
        let Some(state) = &self.state else {
            return match message {
                Control::Survey => answer(Control::Holding((self.hands.holds_data)()).encode()),
                other => answer_refused(&other, answer, Refusal::NoClusterYet),
            };
        };
        let reply = match message {
            Control::Join(request) => return self.asked_to_join(from, request, answer).await,
            Control::Swim(packet) => {
                if state.members.contains_key(&from) {
                    let effects = self.detector.handle_data(&packet);
                    self.effect(effects);
                }
                return;
            }
            Control::Digest(theirs) if theirs.cluster_id != state.cluster_id => {
                Control::Refused(Refusal::OtherCluster { ours: state.cluster_id, theirs: theirs.cluster_id })
            }
            Control::Digest(theirs) if theirs == state.summary() => Control::Same,
            Control::Digest(_) | Control::Pull => Control::State(state.encode()),
            Control::SetState(bytes) => match self.merge(&bytes).await {
                Ok(()) => self.state.as_ref().map_or(Control::Same, |state| Control::Taken(state.summary())),
                Err(refusal) => {
                    self.mention(&refusal);
                    Control::Refused(refusal)
                }
            },
            Control::Survey => Control::Holding((self.hands.holds_data)()),
            Control::Ping => Control::Pong,
            other => Control::Refused(Refusal::Malformed(format!("an answer without a question: {}", name(&other)))),
        };
        answer(reply.encode());
    }

    /// Who speaks to us can be spoken to: a link that is waiting to try again should try now.
    fn notice(&self, from: NodeId) {
        if let Some(neighbour) = self.neighbours.get(&from).filter(|neighbour| !neighbour.health.is_link_up()) {
            neighbour.link.nudge();
        }
    }

    /// A member that returns is let in at once; for a stranger the others are asked first whether they hold data.
    async fn asked_to_join(&mut self, from: NodeId, request: JoinRequest, answer: Answer) {
        let Some(state) = &self.state else {
            return answer(Control::JoinAnswer(Err(Refusal::NoClusterYet)).encode());
        };
        let holds_data = (self.hands.holds_data)();
        let tried = if from == request.id {
            state.clone().admit(&request, holds_data)
        } else {
            Err(Refusal::Malformed("a request in the name of another node".to_owned()))
        };
        match tried {
            Err(refusal) => answer(Control::JoinAnswer(Err(refusal)).encode()),
            Ok(_) if state.is_stranger(&request) => {
                let others = self.neighbours.iter().cloned().collect();
                tokio::spawn(spreading::survey(others, request, answer, self.membership.clone()));
            }
            Ok(_) => {
                let outcome = self.admit(&request, holds_data).await;
                answer(Control::JoinAnswer(outcome).encode());
            }
        }
    }

    /// Lets a node in and tells the others. Gives the encoded state.
    async fn admit(&mut self, request: &JoinRequest, holds_data: bool) -> Result<Vec<u8>, Refusal> {
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
        Ok(())
    }

    /// Merges another's state. What others believe of this node is put right.
    async fn merge(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let theirs = ClusterState::decode(bytes).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let mut state = self.state.clone().ok_or(Refusal::NoClusterYet)?;
        let changed =
            state.merge(&theirs).map_err(|other| Refusal::OtherCluster { ours: other.ours, theirs: other.theirs })?;
        if changed {
            state.admit(&self.me, true)?;
            self.adopt(state).await?;
        }
        if self.state.as_ref() != Some(&theirs) {
            // The sender does not know all of this yet; it will find out within a second, and others too.
            tokio::spawn(spreading::push(self.neighbours.some(GOSSIP_PARTNERS, &mut self.random), self.encoded()));
        }
        Ok(())
    }

    /// Saves a state, then acts on it and shows it.
    async fn adopt(&mut self, state: ClusterState) -> Result<(), Refusal> {
        (self.hands.save)(state.encode()).await.map_err(Refusal::NotSaved)?;
        let same_members = self.state.as_ref().is_some_and(|old| old.members == state.members);
        if !same_members || self.ring.is_none() {
            self.ring = ring_of(&state).map(Arc::new);
            self.neighbours.follow(&state, &self.membership);
        }
        self.me.cluster_id = Some(state.cluster_id);
        let way = |id: &NodeId| self.neighbours.get(id).map(|way| (way.link.clone(), way.health.clone()));
        let view = self.ring.clone().and_then(|ring| View::of(&state, self.me.id, ring, way));
        if let (Some(membership), Some(view)) = (self.membership.upgrade(), view) {
            membership.view.store(Arc::new(view));
            membership.formed.send_replace(true);
        }
        let present: Vec<NodeId> = state.present().map(|member| member.id).collect();
        self.state = Some(state);
        let effects = self.detector.set_members(present);
        self.effect(effects);
        Ok(())
    }

    fn reachable(&self) -> Vec<crate::membership::neighbours::Neighbour> {
        self.neighbours.reachable().cloned().collect()
    }

    fn encoded(&self) -> Vec<u8> {
        self.state.as_ref().map(ClusterState::encode).unwrap_or_default()
    }

    /// Says in the log what another node's message was refused for; once, however often it comes.
    fn mention(&mut self, refusal: &Refusal) {
        const MENTIONED_MAX: usize = 1000;
        if self.mentioned.len() < MENTIONED_MAX && self.mentioned.insert(refusal.to_string()) {
            tracing::error!("{refusal}");
        }
    }
}

fn name(message: &Control) -> &'static str {
    match message {
        Control::JoinAnswer(_) => "join answer",
        Control::Same => "same",
        Control::State(_) => "state",
        Control::Taken(_) => "taken",
        Control::Pong => "pong",
        Control::Holding(_) => "holding",
        Control::Refused(_) => "refused",
        _ => "request",
    }
}
