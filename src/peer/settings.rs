//! What a node's links have in common: who it is, what it allows, and what it has counted.

use super::seats::Seats;
use crate::causality::NodeId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Who this node says it is. Name and host together have to stay far below the 4 KiB of a handshake frame.
pub struct Identity {
    /// The cluster's name; nodes of other names are refused.
    pub cluster_name: String,
    /// The cluster's secret; it never crosses the wire.
    pub secret: Vec<u8>,
    /// This node.
    pub node_id: NodeId,
    /// Which life of this node it is; rises with every start.
    pub start_number: u64,
    /// The host under which others reach this node, as it was at the start; the member list has the one of now.
    pub host: String,
    /// The port, at that host, of this node's listener; as it was at the start.
    pub cluster_port: u16,
}

/// Bounds and times. The defaults are meant for use; tests and simulations shorten them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest frame after the handshake: Redis's 512 MiB value, and room for what surrounds it.
    pub frame_bytes_max: usize,
    /// Longest frame of the handshake.
    pub greeting_bytes_max: usize,
    /// `Link::writable` waits above this many unsent bytes.
    pub queue_bytes: usize,
    /// Above this many unsent bytes nothing more is queued at all; at least `queue_bytes`.
    pub queue_bytes_max: usize,
    /// An incoming link is not read while its unanswered calls and unsent answers weigh more than this.
    pub load_bytes_max: usize,
    /// Incoming connections that have not finished their handshake.
    pub greetings_max: usize,
    /// Time to connect and finish the handshake.
    pub greeting: Duration,
    /// First and longest pause between two tries to connect; in between they double.
    pub pause: (Duration, Duration),
    /// A link that stayed up this long is dialed again at once when it drops.
    pub steady: Duration,
    /// How often overdue calls are looked for, while there are any calls.
    pub sweep: Duration,
    /// When a call is late and nothing at all was heard for this long, the link is taken for dead and dialed again.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            frame_bytes_max: 516 * MIB,
            greeting_bytes_max: 4096,
            queue_bytes: 8 * MIB,
            queue_bytes_max: 64 * MIB,
            load_bytes_max: 16 * MIB,
            greetings_max: 256,
            greeting: Duration::from_secs(2),
            pause: (Duration::from_millis(50), Duration::from_secs(2)),
            steady: Duration::from_millis(100),
            sweep: Duration::from_millis(10),
            silence: Duration::from_secs(5),
        }
    }
}

/// Counts over all links of a node, in and out; they only rise.
#[derive(Debug, Default)]
pub struct PeerStats {
    /// Frames received after the handshake.
    pub frames_in: AtomicU64,
    /// Frames queued to be sent after the handshake.
    pub frames_out: AtomicU64,
    /// Bytes received after the handshake.
    pub bytes_in: AtomicU64,
    /// Bytes given to the kernel after the handshake.
    pub bytes_out: AtomicU64,
    /// Frames that failed a check; each closed its link.
    pub frames_corrupt: AtomicU64,
    /// Times an outgoing link came up again after having been up before.
    pub reconnects: AtomicU64,
    /// Calls that ended without an answer in time.
    pub calls_late: AtomicU64,
    /// Answers that came when nobody waited for them any more.
    pub answers_late: AtomicU64,
    /// Answers not queued because the asking node does not read.
    pub answers_dropped: AtomicU64,
    /// Calls and tells not queued because the peer does not read, or because they are over the frame limit.
    pub sends_refused: AtomicU64,
    /// Handshakes, in or out, that one side ended with a refusal.
    pub greetings_refused: AtomicU64,
}

impl PeerStats {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, amount: usize) {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// Reads a counter.
    pub fn read(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// Shared by all links and the listener of one node.
pub struct PeerSettings {
    /// Who this node is.
    pub identity: Identity,
    /// What it allows.
    pub limits: Limits,
    /// What it has counted.
    pub stats: PeerStats,
    /// Who is connected to this node.
    pub seats: Seats,
    random: Mutex<StdRng>,
}

impl PeerSettings {
    /// Settings whose nonces and pauses come from `seed`. Outside simulations the seed has to be unguessable: see
    /// [`PeerSettings::random_seed`].
    pub fn new(identity: Identity, limits: Limits, seed: [u8; 32]) -> PeerSettings {
        let random = Mutex::new(StdRng::from_seed(seed));
        PeerSettings { identity, limits, stats: PeerStats::default(), seats: Seats::default(), random }
    }

    /// A seed from the operating system.
    pub fn random_seed() -> [u8; 32] {
        crate::world::random_bytes()
    }

    /// A nonce for one handshake.
    pub(super) fn nonce(&self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.random.lock().fill_bytes(&mut nonce);
        nonce
    }

    /// A number from 0.5 up to 1, to keep many nodes from dialing in step.
    pub(super) fn jitter(&self) -> f64 {
        self.random.lock().random_range(0.5..1.0)
    }
}
