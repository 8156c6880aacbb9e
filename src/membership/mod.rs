//! Who else is there, who can be reached, and who keeps what: the one picture of the cluster a node acts on.
//!
//! Think of the board in a clerk's office: a card for each house in town, a lamp beside each card that is lit while that
//! house can be reached, and the table of which house keeps which shelf. One caretaker updates the board; everyone else
//! only looks at it. The caretaker writes down in the book what he is about to put on the board before he puts it there.
//!
//! # Contract
//! - [`Membership::view`] is the board: cheap, never blocks, and consistent in itself. Indexes of [`View::nodes`] are
//!   those of [`Ring::members`](crate::ring::Ring::members).
//! - [`Membership::start`] takes what was saved in an earlier life. With it, the node is at once what it was. Without, it
//!   looks for its cluster (see [`forming`](crate::gossip::forming)) until [`Membership::formed`] returns; up to then the
//!   view shows the node alone, nothing may be served from it, and whoever asks to join is told to ask again.
//! - [`Membership::handle`] takes the control messages of other nodes.
//! - [`Membership::announce`] says something else of where this node is to be found, to all members.
//!
//! # Invariants
//! - A changed cluster state is saved *before* it is shown, acted on or acknowledged. If it cannot be saved, nothing changed.
//! - The ring is computed anew only when the members change. Links and lamps of members that did not move are kept.
//! - Nodes that missed a change hear of it by comparing digests each second; who is told of a change need not wait for that.
//!
//! # What it refuses to do
//! It never lets a new member into a cluster that holds data, or that may hold some on a member that cannot be asked. It
//! does not merge two clusters: it says so in the log, once for each such cluster.

pub mod flushing;
pub mod health;
pub mod view;
pub mod whereabouts;
mod swapping;
mod driver;
mod answering;
mod neighbours;
mod seeds;
mod spreading;
#[cfg(test)]
mod tests;

use crate::causality::NodeId;
use crate::gossip::detector;
use crate::gossip::state::StateError;
use crate::key::databases::Shown;
use crate::key::{DATABASES, Partitions};
use crate::message::control::{Control, JoinRequest, Reached, Refusal};
use crate::object::flush::FlushLines;
use crate::peer::settings::PeerSettings;
use crate::policy::Policy;
use crate::replica::clock::{NodeClock, wall_ms};
use arc_swap::ArcSwap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use view::View;
use whereabouts::Whereabouts;

/// How many messages may wait for the driver; more are refused.
const QUEUE: usize = 1024;

/// What a node brings along.
pub struct Settings {
    /// What this node says of itself. `cluster_id` is filled in from what was saved.
    pub me: JoinRequest,
    /// `seeds`: node addresses, host:cluster-port.
    pub seeds: Vec<String>,
    /// Q, for a cluster founded here.
    pub partitions: Partitions,
    /// The policies of the databases, for a cluster founded here.
    pub policies: [Policy; DATABASES as usize],
    /// What all links share.
    pub peers: Arc<PeerSettings>,
    /// The pace of failure detection.
    pub detector: detector::Settings,
    /// Where all randomness comes from: the id of a founded cluster, whom to gossip with.
    pub random_seed: u64,
}

/// The future of a save: done, or why not.
pub type Saving = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What membership needs done by others.
pub struct Hands {
    /// Saves these bytes durably in place of the last ones.
    pub save: Box<dyn Fn(Vec<u8>) -> Saving + Send + Sync>,
    /// Whether this node holds any data.
    pub holds_data: Box<dyn Fn() -> bool + Send + Sync>,
    /// Unix milliseconds.
    pub now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Is told who the members are, and what their clocks show.
    pub clock: Arc<NodeClock>,
    /// How far everyone has written in some databases (bit 0 is database 0), as far as this node knows.
    pub reached: Box<dyn Fn(u16) -> Reached + Send + Sync>,
    /// These flush lines hold from now on; they are saved.
    pub draw_lines: Box<dyn Fn(&FlushLines) + Send + Sync>,
}

/// Takes the encoded answer to a message.
pub type Answer = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Why membership cannot start. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What was saved cannot be read.
    #[error("the saved member list cannot be used: {0}")]
    Saved(#[from] StateError),
    /// What was saved belongs to another node, or this node may not come back.
    #[error("this node cannot return to its cluster: {0}")]
    Refused(#[from] Refusal),
    /// What was saved does not know this node.
    #[error(
        "the saved member list does not name this node, {0}: the directory is mixed of two nodes'; nothing changed; restore it, or start with an empty one"
    )]
    NotAMember(NodeId),
}

/// Why something is not done on every member that can be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// Nothing was changed.
    #[error("{0}")]
    NothingChanged(String),
    /// It is done and saved here, and spreads.
    #[error("{0}")]
    NotEverywhere(String),
}

/// Who waits until something is done everywhere.
type Done = oneshot::Sender<Result<(), NotDone>>;

/// A node's place in its cluster. See the module.
pub struct Membership {
    view: ArcSwap<View>,
    /// What the view says, for those who need only that.
    databases: Shown,
    commands: mpsc::Sender<Command>,
    formed: watch::Sender<bool>,
    /// Whether what another member knows was taken in since the start.
    compared: watch::Sender<bool>,
    detector: detector::Settings,
    counters: Counters,
    leaving: AtomicBool,
}

#[derive(Default)]
struct Counters {
    messages_dropped: AtomicU64,
    packets_refused: AtomicU64,
}

/// Figures for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Members that can be reached, this node included.
    pub members_up: usize,
    /// Members that cannot.
    pub members_down: usize,
    /// The longest time until a member that falls silent is held to be away.
    pub failure_detection_max: Duration,
    /// How often the failure detector has held a member to be away, over all members.
    pub downs: u64,
    /// How often a member was held to be unreachable for answering late several times running.
    pub lates: u64,
    /// Control messages not handled because too many waited.
    pub messages_dropped: u64,
    /// Packets of the failure detector that made no sense.
    pub packets_refused: u64,
}

/// What the driver is asked to do.
enum Command {
    Message { from: NodeId, message: Control, answer: Answer },
    Surveyed { request: JoinRequest, holds_data: Result<bool, Refusal>, answer: Answer },
    LinkUp(NodeId),
    Found(oneshot::Sender<Result<(), String>>),
    Join(Vec<u8>, oneshot::Sender<Result<(), String>>),
    Merge(Option<NodeId>, Vec<u8>),
    Foreign(Refusal),
    SetPolicy { index: u8, policy: Policy, done: oneshot::Sender<Result<(), String>> },
    Flush { databases: u16, done: Done },
    Collected { databases: u16, collected: flushing::Collected, done: Done },
    Swap { pair: (u8, u8), done: Done },
    Announce { whereabouts: Whereabouts, done: oneshot::Sender<Result<(), String>> },
    Leave(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

impl Membership {
    /// Starts with what an earlier life saved, or looks for a cluster. The node's listener should be up already, so that
    /// the node can recognise itself among the seeds.
    pub async fn start(
        settings: Settings,
        hands: Hands,
        saved: Option<Vec<u8>>,
    ) -> Result<Arc<Membership>, StartError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let membership = Arc::new(Membership {
            view: ArcSwap::from_pointee(View::alone(&settings.me, settings.partitions, &settings.policies)),
            databases: Shown::default(),
            commands,
            formed: watch::Sender::new(false),
            compared: watch::Sender::new(false),
            detector: settings.detector,
            counters: Counters::default(),
            leaving: AtomicBool::new(false),
        });
        driver::start(membership.clone(), settings, hands, saved, queue).await?;
        Ok(membership)
    }

    /// The cluster as this node sees it now.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Whether the node is in a cluster.
    pub fn is_formed(&self) -> bool {
        *self.formed.borrow()
    }

    /// Returns once the node is in a cluster.
    pub async fn formed(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let mut formed = self.formed.subscribe();
        let waited = formed.wait_for(|formed| *formed).await;
        drop(waited);
    }

    /// Returns once this node knows what some other member knew after its start, or `limit` later. One that has been away
    /// learns here what was flushed meanwhile. At once when there is no other member.
    pub async fn caught_up(&self, limit: Duration) {
        if self.view().nodes.len() > 1 {
            let mut compared = self.compared.subscribe();
            // Either way it goes on: the others may all be away.
            drop(timeout(limit, compared.wait_for(|compared| *compared)).await);
        }
    }

    /// Takes a control message of another node. Never blocks; `answer` is called at most once, later or now, and not at
    /// all for messages that want no answer.
    pub fn handle(&self, from: NodeId, message: Control, answer: Answer) {
        match message {
            Control::Ping => return answer(Control::Pong.encode()),
            // Without waiting in the queue: that would make it show the past.
            Control::Clock => return answer(Control::ClockShows(wall_ms()).encode()),
            _ => {}
        }
        let command = Command::Message { from, message, answer };
        if let Err(error) = self.commands.try_send(command) {
            self.counters.messages_dropped.fetch_add(1, Ordering::Relaxed);
            if let Command::Message { message, answer, .. } = error.into_inner() {
                answering::answer_refused(&message, answer, Refusal::Busy);
            }
        }
    }

    /// A node has dialed us: a link to it that waits to try again should try now.
    pub fn greeted(&self, id: NodeId) {
        let view = self.view();
        if let Some(link) = view.index_of(&id).and_then(|index| view.nodes[index].link.as_ref()) {
            link.nudge();
        }
    }

    /// Sets a database's policy on every member. Returns once it is saved here and on every member that can be reached;
    /// the others take it when they return. An error says which of the two did not happen.
    pub async fn set_policy(&self, index: u8, policy: Policy) -> Result<(), String> {
        if index >= DATABASES {
            return Err(format!("there are {DATABASES} databases, from 0; nothing changed"));
        }
        policy.check().map_err(|error| format!("{error}; nothing changed"))?;
        let (done, outcome) = oneshot::channel();
        let stopped = || "the node is stopping; nothing changed".to_owned();
        self.commands.send(Command::SetPolicy { index, policy, done }).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Figures for INFO.
    pub fn stats(&self) -> Stats {
        let view = self.view();
        let members_up = view.nodes.iter().filter(|node| node.is_reachable()).count();
        let fallen = view.nodes.iter().map(|node| node.health.fallen());
        let (downs, lates) = fallen.fold((0, 0), |sum, fallen| (sum.0 + fallen.0, sum.1 + fallen.1));
        Stats {
            members_up,
            failure_detection_max: self.detector.detection_max(view.nodes.len()),
            downs,
            lates,
            members_down: view.nodes.len() - members_up,
            messages_dropped: self.counters.messages_dropped.load(Ordering::Relaxed),
            packets_refused: self.counters.packets_refused.load(Ordering::Relaxed),
        }
    }

    /// Tells the members that can be reached that this node is about to stop, so that cluster clients are sent elsewhere.
    /// It goes on doing its work until [`Membership::stop`]. Returns once they know, or do not answer.
    pub async fn leave_service(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        let (done, told) = oneshot::channel();
        if self.commands.send(Command::Leave(done)).await.is_ok() {
            // An error means that the driver has ended already.
            drop(told.await);
        }
    }

    /// Whether this node is about to stop.
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Says goodbye to the others, and stops links and driver.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // An error means that the driver has ended already.
            drop(stopped.await);
        }
    }
}
