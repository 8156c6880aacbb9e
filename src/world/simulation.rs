//! The rehearsal: whole nodes on one thread inside turmoil, and whatever they take from the world drawn from a seed.
//!
//! # Contract
//! - A host's software calls [`enter`] first, in each of its lives: from then on its clock is [`Host`]'s, and its dice.
//! - What would block runs as a task of the host, some simulated milliseconds later.
//! - All of it belongs to the thread the simulation runs on: simulations on several threads do not see each other.

use super::random_u64;
use crate::causality::{Context, Dot};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::runtime::{Handle, Id};
use tokio::task::JoinHandle;

pub use tokio::time::Instant;

/// The longest that something which would block takes, in simulated milliseconds.
const BLOCKED_MS_MAX: u64 = 3;

/// The longest time after which a frame is sent once more, in simulated milliseconds.
const AGAIN_MS_MAX: u64 = 3_000;

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

/// Forgets all hosts of this thread, what they minted, and the mutation.
pub fn leave() {
    STAGE.with_borrow_mut(Vec::clear);
    MINTED.with_borrow_mut(Vec::clear);
    MUTATION.set(None);
    DOUBLED.set(0);
}

/// A write event as the replica that named it saw it: the truth against which a checker holds what is left of it.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The storage key.
    pub key: Vec<u8>,
    /// Its name.
    pub dot: Dot,
    /// What was written; none: a delete.
    pub value: Option<Vec<u8>>,
    /// Whether it can expire.
    pub expires: bool,
    /// The siblings it replaced where it was minted.
    pub replaced: Vec<Dot>,
    /// The context that a client gave with it.
    pub given: Option<Context>,
}

/// A rule to be broken on purpose, to see that the simulation notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Merging keeps only the newest of concurrent siblings.
    MergeDropsSibling,
    /// A put with a context is computed as a merge.
    PutIsMerge,
    /// An actor is continued after an unclean stop.
    ActorSurvivesCrash,
    /// A hint goes whatever became of the copy on its way to the home.
    HintGoesUnacknowledged,
    /// No hint is noted for a copy kept for a home that is away.
    HintForgotten,
    /// A comparison overlooks some leaves of the trees.
    ExchangeSkipsLeaves,
    /// The past is forgotten after some time, whoever has missed it.
    ReapsByTimer,
    /// Copies older than something forgotten are taken for news.
    OldCopiesTaken,
    /// A word is given as soon as the clock is read: whoever missed something, whatever is under way or not fsynced.
    WordWithoutWaiting,
    /// Words go on after a change of lives without the homes having compared.
    RoundSkipped,
    /// Adding goes on in the name of before an unclean stop.
    CountsUnderOldName,
    /// A copy that arrives replaces what was added to the one that is here.
    CountsReplaced,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Mutation; 12] = [
        Mutation::MergeDropsSibling,
        Mutation::PutIsMerge,
        Mutation::ActorSurvivesCrash,
        Mutation::HintGoesUnacknowledged,
        Mutation::HintForgotten,
        Mutation::ExchangeSkipsLeaves,
        Mutation::ReapsByTimer,
        Mutation::OldCopiesTaken,
        Mutation::WordWithoutWaiting,
        Mutation::RoundSkipped,
        Mutation::CountsUnderOldName,
        Mutation::CountsReplaced,
    ];
}

thread_local! {
    static MINTED: RefCell<Vec<Minted>> = const { RefCell::new(Vec::new()) };
    static MUTATION: Cell<Option<Mutation>> = const { Cell::new(None) };
    static DOUBLED: Cell<u64> = const { Cell::new(0) };
}

/// From now on this rule is broken on this thread.
pub fn mutate(mutation: Option<Mutation>) {
    MUTATION.set(mutation);
}

/// Whether this rule is to be broken.
pub fn is_broken(mutation: Mutation) -> bool {
    MUTATION.get() == Some(mutation)
}

/// From now on one frame in so many is sent twice; zero: none.
pub fn double_one_in(frames: u64) {
    DOUBLED.set(frames);
}

/// After what time a frame is sent once more; none: never.
pub fn sent_again_after() -> Option<Duration> {
    let frames = DOUBLED.get();
    (frames > 0 && random_u64().is_multiple_of(frames)).then(|| some_time(AGAIN_MS_MAX))
}

/// A replica has named a write event.
pub fn minted(event: Minted) {
    MINTED.with_borrow_mut(|all| all.push(event));
}

/// All write events of this thread's simulation, in the order in which they were named.
pub fn all_minted() -> Vec<Minted> {
    MINTED.with_borrow(Clone::clone)
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
