//! The rehearsal: whole nodes on one thread inside turmoil, and whatever they take from the world drawn from a seed.
//!
//! # Contract
//! - A host's software calls [`enter`] first, in each of its lives: from then on its clock is [`Host`]'s, and its dice.
//! - What would block runs as a task of the host, some simulated milliseconds later.
//! - All of it belongs to the thread the simulation runs on: simulations on several threads do not see each other.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::task::JoinHandle;

pub use tokio::time::Instant;

/// The longest that something which would block takes, in simulated milliseconds.
const BLOCKED_MS_MAX: u64 = 3;

/// One simulated machine: what stays the same when its software is started anew.
pub struct Host {
    skew_ms: AtomicI64,
    random: Mutex<StdRng>,
}

impl Host {
    /// A machine whose clock is right, with dice of this seed.
    pub fn new(seed: u64) -> Arc<Host> {
        Arc::new(Host { skew_ms: AtomicI64::new(0), random: Mutex::new(StdRng::seed_from_u64(seed)) })
    }

    /// Sets how far its wall clock is ahead of the simulation's, in milliseconds.
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

thread_local! {
    /// The runtime of each host's present life.
    static STAGE: RefCell<Vec<(Id, Arc<Host>)>> = const { RefCell::new(Vec::new()) };
}

/// The current runtime is this host's.
pub fn enter(host: &Arc<Host>) {
    let id = Handle::current().id();
    STAGE.with_borrow_mut(|stage| {
        stage.retain(|(_, known)| !Arc::ptr_eq(known, host));
        stage.push((id, host.clone()));
    });
}

/// Forgets all hosts of this thread.
pub fn leave() {
    STAGE.with_borrow_mut(Vec::clear);
}

fn current() -> Option<Arc<Host>> {
    let id = Handle::try_current().ok()?.id();
    STAGE.with_borrow(|stage| stage.iter().find(|(known, _)| *known == id).map(|(_, host)| host.clone()))
}

/// The host's wall clock, in Unix milliseconds; the simulation's where no host is running.
pub fn wall_ms() -> u64 {
    let now = turmoil::since_epoch().unwrap_or_default().as_millis() as u64;
    let skew_ms = current().map_or(0, |host| host.skew_ms.load(Ordering::Relaxed));
    now.saturating_add_signed(skew_ms)
}

/// Bytes of the host's dice.
pub fn random_bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    match current() {
        Some(host) => host.random.lock().fill_bytes(&mut bytes),
        None => rand::rng().fill_bytes(&mut bytes),
    }
    bytes
}

/// Some time, up to so many milliseconds.
pub fn some_time(ms_max: u64) -> Duration {
    let drawn = |host: Arc<Host>| host.random.lock().random_range(0..=ms_max);
    Duration::from_millis(current().map_or(0, drawn))
}

/// Runs what would block, as a task and after some time.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let after = some_time(BLOCKED_MS_MAX);
    tokio::spawn(async move {
        tokio::time::sleep(after).await;
        work()
    })
}
