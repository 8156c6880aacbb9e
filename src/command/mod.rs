//! Commands: from a request's words to a reply.
//!
//! Picture a kitchen. The board ([`table`]) says what can be had; the head waiter ([`batch`]) takes a whole table's
//! orders at once, sends what can cook together to the stove in one go ([`rounds`]), and brings the plates in the order
//! they were asked for. Each cook (a handler) knows one dish, never walks to the stove, and says in a
//! [`step::Step`] what must be fetched first.
//!
//! # Contract
//! - A handler is `fn(&mut Asked, &[Bytes]) -> Step`; the first word is the command's name, and the number of words has
//!   been held against the table's arity. It may change the session and the server, and never waits.
//! - A handler may be called again for the same request ([`crate::message::operation::Outcome::Raced`]), so one whose
//!   first step asks for operations changes nothing else.
//!
//! It refuses to read sockets, to know nodes' addresses on the wire, and to decide quorums.

pub mod step;
pub mod failure;
pub mod arguments;
pub mod stats;
pub mod rate;
pub mod strings;
pub mod substrings;
pub mod lcs;
pub mod bits;
pub mod long_double;
pub mod counters;
pub mod keys;
pub mod scan;
pub mod expiry;
pub mod transfer;
pub mod dump;
pub mod object;
pub mod dynamis;
pub mod pubsub;
pub mod laps;
pub mod shown;
pub mod record;
pub mod monitor;
pub mod slowlog;
pub mod latency;
pub mod connection;
pub mod client;
pub mod config;
pub mod command_info;
pub mod server;
pub mod save;
pub mod shutdown;
pub mod function;
pub mod lolwut;
pub mod process;
pub mod memory;
pub mod debug;
pub mod flush;
pub mod swapdb;
pub mod info;
pub mod handback;
pub mod notice;
pub mod face;
pub mod cluster;
pub mod wait;
pub mod transaction;
pub mod table;
pub mod rounds;
pub mod guard;
pub mod batch;

use crate::config::Config;
use crate::coordinator::Coordinator;
use crate::key::StorageKey;
use crate::message::operation::{Act, Operation};
use crate::resp::reply::Reply;
use crate::session::Session;
use crate::session::clients::Clients;
use crate::session::pause::Pause;
use crate::world::{Instant, random_bytes};
use arc_swap::ArcSwap;
use bytes::Bytes;
use latency::events::Events;
use notice::{Notice, NoticeBoard};
use parking_lot::Mutex;
use rate::Rates;
use save::Saves;
use shutdown::Shutdown;
use slowlog::log::SlowLog;
use stats::Stats;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use step::Step;

/// The version of Redis whose behaviour we answer with: clients read features off it.
pub const REDIS_VERSION: &str = "7.2.4";

/// Our own version.
pub const DYNAMIS_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What else is to be done when settings changed.
pub type Apply = Box<dyn Fn(&Config) + Send + Sync>;

/// What all connections share.
pub struct Server {
    /// Runs operations, and knows the members.
    pub coordinator: Arc<Coordinator>,
    /// The settings; `CONFIG SET` swaps a whole new one in.
    pub config: ArcSwap<Config>,
    /// Everyone connected.
    pub clients: Arc<Clients>,
    /// What cluster clients are told, and how many there are.
    pub notices: NoticeBoard,
    /// Whether they are held up.
    pub pause: Pause,
    /// What was counted.
    pub stats: Stats,
    /// The commands that took long.
    pub slow_log: Mutex<SlowLog>,
    /// What took long, by event.
    pub events: Mutex<Events>,
    /// When the process started.
    pub started: Instant,
    /// Bytes of memory in RAM when the door opened.
    pub startup_bytes: u64,
    /// How much is happening just now.
    pub rates: Rates,
    /// What SAVE and BGSAVE did.
    pub saves: Saves,
    /// Whether the node is not in its cluster yet: then only what Redis answers while it loads is answered.
    looking: AtomicBool,
    /// Where SHUTDOWN rings.
    pub shutdown: Shutdown,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// The configuration file, if there is one.
    pub config_file: Option<PathBuf>,
    /// Held by a `CONFIG SET` that changes where this node is to be found, until it is done.
    pub announcing: tokio::sync::Mutex<()>,
    /// Carries settings that changed to where they take effect.
    pub apply: Apply,
}

impl Server {
    /// Keeps an eye on how much is happening, and on what the cluster view's clients are told: what this node leads meanwhile
    /// must be known even if nobody asks it just then. For ever.
    pub async fn watch_rates(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(rate::SAMPLE_EVERY);
        loop {
            ticks.tick().await;
            self.rates.sample(&self.stats);
            if self.notices.visitors() > 0 {
                self.notice();
            }
        }
    }

    /// A server of a node that looks for its cluster. `apply` is called after each `CONFIG SET`, with the new settings.
    pub fn new(
        coordinator: Arc<Coordinator>,
        config: Config,
        config_file: Option<PathBuf>,
        apply: Apply,
    ) -> Arc<Server> {
        let run_id = random_bytes::<20>().iter().map(|byte| format!("{byte:02x}")).collect();
        let saves = Saves::new(coordinator.now_ms() / 1000);
        let server = Arc::new(Server {
            coordinator,
            config: ArcSwap::from_pointee(config),
            clients: Clients::new(),
            notices: NoticeBoard::default(),
            pause: Pause::default(),
            stats: Stats::new(table::table().entries.len()),
            slow_log: Mutex::default(),
            events: Mutex::default(),
            started: Instant::now(),
            startup_bytes: process::resident_bytes(),
            rates: Rates::default(),
            saves,
            looking: AtomicBool::new(true),
            shutdown: Shutdown::default(),
            run_id,
            config_file,
            announcing: tokio::sync::Mutex::default(),
            apply,
        });
        server.coordinator.open_newsroom(Box::new(pubsub::desk::Desk::new(&server)));
        server
    }

    /// Whether the node is not in its cluster yet.
    pub fn is_looking(&self) -> bool {
        self.looking.load(Ordering::Relaxed)
    }

    /// The node is in its cluster: from now on everything is answered.
    pub fn found_cluster(&self) {
        self.looking.store(false, Ordering::Relaxed);
    }

    /// What cluster clients are told now.
    pub fn notice(&self) -> Arc<Notice> {
        self.notices.current(self.coordinator.membership(), || self.coordinator.now_ms())
    }
}

/// What a handler is given.
pub struct Asked<'a> {
    /// The connection that asks.
    pub session: &'a mut Session,
    /// What all connections share.
    pub server: &'a Arc<Server>,
    /// The wall clock in Unix milliseconds, one reading for the batch.
    pub now_ms: u64,
    /// Whether it may keep the connection waiting: not inside EXEC.
    pub may_wait: bool,
}

impl Asked<'_> {
    /// An operation on a key of the session's database, with the session's quorums.
    pub fn operation(&self, key: &Bytes, act: Act) -> Result<Operation, Reply> {
        let key = StorageKey::new(self.session.stored(), key)
            .map_err(|why| Reply::error(format!("ERR {why}; nothing was changed")))?;
        Ok(Operation { key, act, r: self.session.r, w: self.session.w })
    }
}

/// The step of a command that is done.
pub fn done(reply: Reply) -> Step {
    Step::Reply(reply)
}

/// A word as text for a reply: what is not UTF-8 is replaced.
pub fn text(word: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(word)
}

/// An array of simple lines: what the HELP subcommands answer.
pub fn help_lines(title: &'static str, lines: &[&'static str]) -> Step {
    let lines = [title].into_iter().chain(lines.iter().copied()).chain(["HELP", "    Print this help."]);
    done(Reply::Array(lines.map(Reply::Simple).collect()))
}
