//! One outgoing connection to one peer, kept up by itself.
//!
//! Our own pneumatic tube to one other house. Whoever wants to ask something drops a slip in and names who should get
//! the answer; if the tube is torn the slip comes straight back, and somebody is always mending it.
//!
//! ```text
//!            dial fails: pause, doubling             connection drops: pending calls fail
//!           +----------------------+                +-----------------------------+
//!           v                      |                v                             |
//!       [ down ] -- dial ------> [ ? ] -- ok --> [ up ] -- call, tell, answer -> [ up ]
//! ```
//!
//! # Contract
//! - [`Link::call`] and [`Link::tell`] never block and never wait. A call's `done` runs exactly once: on the caller's
//!   thread when nothing was sent, else on the link's task; it must not block there, and other answers wait behind it.
//! - When the connection breaks, `on_change(peer, false)` runs first, then every pending call fails.
//! - `on_change` runs on the link's task only, so ups and downs alternate.
//!
//! # What it refuses to do
//! It sends no call twice, and does not judge the peer's health: a link that is up says only that TCP believes so.

use super::frame::{HEAD_BYTES, Kind, head};
use super::handshake::Hello;
use super::outbox::{NotQueued, Outbox};
use super::seats::Seated;
use super::settings::{PeerSettings, PeerStats};
use crate::causality::NodeId;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

mod converse;
#[cfg(feature = "simulation")]
mod rehearsed;
mod upkeep;

/// The longest time a call is waited for, whatever it asks.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Receives the outcome of one call.
pub type Done = Box<dyn FnOnce(Result<Bytes, CallError>) + Send>;

/// Is told when a peer's link comes up (true) and goes down (false).
pub type OnChange = Arc<dyn Fn(NodeId, bool) + Send + Sync>;

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The link is down, its queue is full, or the body is over the frame limit. Nothing left this node.
    #[error("the call was not sent: the link is down or full; the peer did nothing")]
    NotSent,
    /// The link broke after the call may have been sent.
    #[error("the link broke before the answer came; the peer may have acted on the call")]
    Lost,
    /// The answer did not come in time; should it still come, it is ignored.
    #[error("no answer in time; the peer may have acted on the call, or still may")]
    Late,
}

struct Pending {
    deadline: Instant,
    /// The outbox batch its frame is in.
    batch: u64,
    done: Done,
}

#[derive(Default)]
struct State {
    /// There while the link is up.
    outbox: Option<Arc<Outbox>>,
    hello: Option<Hello>,
    /// Ordered, so that a broken link fails its calls in the order they were made.
    pending: BTreeMap<u64, Pending>,
    /// The sweep is running and need not be woken.
    sweeping: bool,
    /// Since when calls have gone out without a byte coming back.
    unheard_since: Option<Instant>,
    stopped: bool,
}

/// One outgoing connection to one peer. See the module for its contract.
pub struct Link {
    settings: Arc<PeerSettings>,
    address: String,
    peer: NodeId,
    on_change: OnChange,
    state: Mutex<State>,
    next_id: AtomicU64,
    retry: Notify,
    sweep: Notify,
    stop: watch::Sender<bool>,
}

impl Link {
    /// Starts a link to `peer` at `address` (host and port, resolved anew at each try). It runs on the current runtime
    /// until [`Link::stop`]; dropping the handle does not end it.
    pub fn start(settings: Arc<PeerSettings>, address: String, peer: NodeId, on_change: OnChange) -> Arc<Link> {
        let link = Arc::new(Link {
            settings,
            address,
            peer,
            on_change,
            state: Mutex::default(),
            next_id: AtomicU64::new(1),
            retry: Notify::new(),
            sweep: Notify::new(),
            stop: watch::Sender::new(false),
        });
        tokio::spawn(link.clone().run());
        link
    }

    /// Ends the link: pending calls fail, later ones are not sent, and nothing is dialed any more.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.stop.send_replace(true);
        for (done, error) in self.close() {
            done(Err(error));
        }
    }

    /// Asks the peer. Never blocks; `done` runs exactly once (see [`Done`] and the module).
    pub fn call(&self, body: Vec<u8>, timeout: Duration, done: Done) {
        if let Err(done) = self.try_call(body, timeout, done) {
            done(Err(CallError::NotSent));
        }
    }

    fn try_call(&self, body: Vec<u8>, timeout: Duration, done: Done) -> Result<(), Done> {
        let deadline = Instant::now() + timeout.min(TIMEOUT_MAX);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let head = head(Kind::Call, id, &body);
        // Held over the push: the answer must not overtake the entry it belongs to.
        let mut state = self.state.lock();
        #[cfg(feature = "simulation")]
        rehearsed::send_again(state.outbox.clone(), &body);
        let Some(batch) = self.push(&state, head, body) else { return Err(done) };
        state.pending.insert(id, Pending { deadline, batch, done });
        if state.unheard_since.is_none() {
            state.unheard_since = Some(Instant::now());
        }
        if !std::mem::replace(&mut state.sweeping, true) {
            self.sweep.notify_one();
        }
        Ok(())
    }

    /// Tells the peer something. Dropped when the link is down or its queue full; nobody learns whether it arrived.
    pub fn tell(&self, body: Vec<u8>) {
        let head = head(Kind::Tell, 0, &body);
        self.push(&self.state.lock(), head, body);
    }

    fn push(&self, state: &State, head: [u8; HEAD_BYTES], body: Vec<u8>) -> Option<u64> {
        let outbox = state.outbox.as_ref()?;
        let fits = body.len() < self.settings.limits.frame_bytes_max - HEAD_BYTES;
        let pushed = if fits { outbox.push(head, body) } else { Err(NotQueued::Full) };
        match pushed {
            Ok(_) => PeerStats::add(&self.settings.stats.frames_out, 1),
            Err(NotQueued::Full) => PeerStats::add(&self.settings.stats.sends_refused, 1),
            Err(NotQueued::Closed) => {}
        }
        pushed.ok()
    }

    /// [`Link::call`] for those who can wait.
    pub async fn ask(&self, body: Vec<u8>, timeout: Duration) -> Result<Bytes, CallError> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have gone away meanwhile; then the answer is of no use to anybody.
        self.call(body, timeout, Box::new(move |outcome| drop(sender.send(outcome))));
        receiver.await.unwrap_or(Err(CallError::Lost))
    }

    /// Whether the connection stands, as far as is known.
    pub fn is_up(&self) -> bool {
        self.state.lock().outbox.is_some()
    }

    /// Whom the link leads to.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// The address it dials.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the peer said of itself, while the link is up.
    pub fn hello(&self) -> Option<Hello> {
        self.state.lock().hello.clone()
    }

    /// Bytes not yet given to the kernel.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().outbox.as_ref().map_or(0, |outbox| outbox.load())
    }

    /// Whether [`Link::writable`] would not wait.
    pub fn is_writable(&self) -> bool {
        self.state.lock().outbox.as_ref().is_none_or(|outbox| outbox.has_room())
    }

    /// The connection that the peer has to this node, if it has one.
    pub fn incoming(&self) -> Option<Seated> {
        self.settings.seats.latest(self.peer)
    }

    /// Back-pressure: waits while more than `Limits::queue_bytes` are unsent. Returns at once when the link is down.
    pub async fn writable(&self) {
        let outbox = self.state.lock().outbox.clone();
        if let Some(outbox) = outbox {
            outbox.room().await;
        }
    }

    /// Tries to connect now instead of at the end of the pause. For when the peer has just dialed us.
    pub fn nudge(&self) {
        if !self.is_up() {
            self.retry.notify_one();
        }
    }

    /// Takes the connection away from callers; gives every pending call with what is known of it.
    fn close(&self) -> Vec<(Done, CallError)> {
        let mut state = self.state.lock();
        state.hello = None;
        let unsent = state.outbox.take().map(|outbox| outbox.close());
        let known =
            |batch| if unsent.is_some_and(|unsent| batch >= unsent) { CallError::NotSent } else { CallError::Lost };
        let pending = std::mem::take(&mut state.pending);
        pending.into_values().map(|call| (call.done, known(call.batch))).collect()
    }
}
