//! What the others see of a visitor, and how they call on them.
//!
//! Contract: [`Client::kill`] and [`Client::send`] are seen by the connection's task even if they came before the task looked.

use super::outgoing::{Left, Outgoing};
use super::subscriptions::KINDS;
use crate::config::OutputLimit;
use crate::resp::encode::Protocol;
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;
use tokio::time::Instant;

/// No command yet, as [`Client::last_command`] says it.
pub const NO_COMMAND: u16 = u16::MAX;

/// Bits of [`Client::called`]: somebody killed it.
const KILLED: u8 = 1;

/// Bits of [`Client::called`]: something was left for it.
const LEFT: u8 = 2;

/// Bits of [`Client::called`]: the house closes.
const STOPPING: u8 = 4;

/// No transaction is open, as [`Client::queued`] says it.
pub const NO_TRANSACTION: i32 = -1;

/// How `CLIENT UNBLOCK` ends what a client waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unblock {
    /// As if its time were over.
    TimedOut,
    /// With an error.
    WithError,
}

/// Whether a client waits in a command, and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    /// It does not wait, or nobody may end it.
    #[default]
    No,
    /// It waits.
    Yes,
    /// It was told to go on.
    Ended(Unblock),
}

/// What a client says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `CLIENT SETNAME`; empty: none.
    pub name: Bytes,
    /// `CLIENT SETINFO LIB-NAME`.
    pub library_name: Bytes,
    /// `CLIENT SETINFO LIB-VER`.
    pub library_version: Bytes,
}

/// What other connections see of a connection.
#[derive(Debug)]
pub struct Client {
    /// Its number, from 1.
    pub id: u64,
    /// Its address, host:port.
    pub address: String,
    /// The address it came in at, host:port.
    pub local_address: String,
    /// Its file descriptor.
    pub descriptor: i32,
    /// When it came.
    pub since: Instant,
    /// What it says of itself.
    pub facts: Mutex<Facts>,
    /// Its database.
    pub database: AtomicU8,
    /// 2 or 3.
    pub protocol: AtomicU8,
    /// The number of its last command in the command table, or [`NO_COMMAND`].
    pub last_command: AtomicU16,
    /// Milliseconds after `since` at which it last sent something.
    pub last_heard_ms: AtomicU64,
    /// Bytes received and not yet answered.
    pub unread_bytes: AtomicUsize,
    /// Bytes its read buffer can still take.
    pub unread_room_bytes: AtomicUsize,
    /// Bytes its reply buffer holds memory for.
    pub reply_room_bytes: AtomicUsize,
    /// `CLIENT NO-EVICT on`.
    pub no_evict: AtomicBool,
    /// `CLIENT NO-TOUCH on`.
    pub no_touch: AtomicBool,
    /// What others left for it.
    pub outgoing: Outgoing,
    /// How many subscriptions of each kind it has.
    pub subscriptions: [AtomicU32; KINDS.len()],
    /// Whether it watches all commands (MONITOR).
    pub is_monitor: AtomicBool,
    called: AtomicU8,
    /// How many commands its transaction holds, or [`NO_TRANSACTION`].
    pub queued: AtomicI32,
    /// About how much memory they take, in bytes.
    pub queued_bytes: AtomicUsize,
    /// Whether a command of it waits: for replicas, or for the end of a pause.
    pub blocked: AtomicBool,
    waiting: Mutex<Waiting>,
    unblocked: Notify,
    wake: Notify,
}

impl Client {
    /// A client that has just come in.
    pub(super) fn new(id: u64, address: String, local_address: String, descriptor: i32) -> Client {
        Client {
            id,
            address,
            local_address,
            descriptor,
            since: Instant::now(),
            facts: Mutex::new(Facts::default()),
            database: AtomicU8::new(0),
            protocol: AtomicU8::new(2),
            last_command: AtomicU16::new(NO_COMMAND),
            last_heard_ms: AtomicU64::new(0),
            unread_bytes: AtomicUsize::new(0),
            unread_room_bytes: AtomicUsize::new(0),
            reply_room_bytes: AtomicUsize::new(0),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            outgoing: Outgoing::default(),
            subscriptions: Default::default(),
            is_monitor: AtomicBool::new(false),
            called: AtomicU8::new(0),
            queued: AtomicI32::new(NO_TRANSACTION),
            queued_bytes: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            waiting: Mutex::default(),
            unblocked: Notify::new(),
            wake: Notify::new(),
        }
    }

    /// Asks its task to close the connection.
    pub fn kill(&self) {
        self.called.fetch_or(KILLED, Ordering::Release);
        self.wake.notify_one();
    }

    /// Tells its task that the house closes: what is in hand is finished, nothing more is taken.
    pub fn see_out(&self) {
        self.called.fetch_or(STOPPING, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether the house closes.
    pub fn is_seen_out(&self) -> bool {
        self.called.load(Ordering::Acquire) & STOPPING != 0
    }

    /// Ends when somebody killed it. Only the connection's task may wait here.
    pub async fn killed(&self) {
        while !self.is_killed() {
            self.wake.notified().await;
        }
    }

    /// Ends when somebody killed it or left something, or the house closes. Only the connection's task may wait here.
    pub async fn called(&self) {
        while self.called.load(Ordering::Acquire) == 0 {
            self.wake.notified().await;
        }
    }

    /// Whether somebody killed it.
    pub fn is_killed(&self) -> bool {
        self.called.load(Ordering::Acquire) & KILLED != 0
    }

    /// Whether something was left for it since [`Client::looked`].
    pub fn is_left_something(&self) -> bool {
        self.called.load(Ordering::Acquire) & LEFT != 0
    }

    /// The connection's task is about to take what was left.
    pub fn looked(&self) {
        self.called.fetch_and(!LEFT, Ordering::AcqRel);
    }

    /// Leaves something for it. False: that was too much, and it is being shown out now.
    pub fn send(&self, item: Bytes, limit: &OutputLimit) -> bool {
        let left = self.outgoing.leave(item, limit);
        match left {
            Left::First | Left::Behind => {
                self.called.fetch_or(LEFT, Ordering::Release);
                // Behind others it need not be woken: the task sleeps only when it has taken all.
                if left == Left::First {
                    self.wake.notify_one();
                }
            }
            Left::Closed => {}
            Left::TooMuch => {
                self.kill();
                return false;
            }
        }
        true
    }

    /// The protocol it speaks just now.
    pub fn protocol(&self) -> Protocol {
        if self.protocol.load(Ordering::Relaxed) == 3 { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    /// Whether it has a subscription of any kind.
    pub fn is_subscribed(&self) -> bool {
        self.subscriptions.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Bytes its buffers hold memory for.
    pub fn buffer_bytes(&self) -> usize {
        let buffers = [&self.unread_bytes, &self.unread_room_bytes, &self.reply_room_bytes];
        buffers.into_iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// Shows it as blocked until the guard is dropped.
    pub fn block(&self) -> Blocked<'_> {
        self.blocked.store(true, Ordering::Relaxed);
        Blocked(&self.blocked)
    }

    /// Waits until `CLIENT UNBLOCK` ends it, which only finds it while this is waited for: only the connection's task may
    /// wait here.
    pub async fn unblocked(&self) -> Unblock {
        *self.waiting.lock() = Waiting::Yes;
        let _stops = StopsWaiting(&self.waiting);
        loop {
            self.unblocked.notified().await;
            if let Waiting::Ended(how) = *self.waiting.lock() {
                return how;
            }
        }
    }

    /// Ends what it waits in; false: it does not wait.
    pub fn unblock(&self, how: Unblock) -> bool {
        let mut waiting = self.waiting.lock();
        let waits = *waiting == Waiting::Yes;
        if waits {
            *waiting = Waiting::Ended(how);
            self.unblocked.notify_one();
        }
        waits
    }

    /// It sent something, which is looked at now.
    pub fn heard(&self, now: Instant) {
        self.last_heard_ms.store(now.duration_since(self.since).as_millis() as u64, Ordering::Relaxed);
    }

    /// Whole seconds since it came.
    pub fn age_s(&self) -> u64 {
        self.since.elapsed().as_secs()
    }

    /// Whole seconds since it last sent something.
    pub fn idle_s(&self) -> u64 {
        (self.since.elapsed().as_millis() as u64).saturating_sub(self.last_heard_ms.load(Ordering::Relaxed)) / 1000
    }

    /// `RESET`: forgets its name and flags.
    pub fn reset(&self) {
        self.facts.lock().name = Bytes::new();
        self.no_evict.store(false, Ordering::Relaxed);
        self.no_touch.store(false, Ordering::Relaxed);
    }
}

/// A client that is shown as blocked.
pub struct Blocked<'a>(&'a AtomicBool);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Ends a wait however it is left.
struct StopsWaiting<'a>(&'a Mutex<Waiting>);

impl Drop for StopsWaiting<'_> {
    fn drop(&mut self) {
        *self.0.lock() = Waiting::No;
    }
}
