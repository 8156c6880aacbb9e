//! The register of all visitors: who is in the house, since when, and whom to show out.
//!
//! # Contract
//! - [`Clients::enter`] refuses above the limit it is given; an [`Entry`] leaves the register when dropped.
//! - Ids rise and are never used twice while the process runs.
//! - [`Client::kill`] and [`Client::send`] are seen by the connection's task even if they came before the task looked.
//! - Who is subscribed to what stands in [`Clients::subscriptions`]; an [`Entry`] that is dropped leaves that, too. A
//!   subscription is entered or struck under its lock for writing, and messages are left under it for reading, so that
//!   [`Outgoing::come`] tells, under the lock, which messages came before the change.

use super::outgoing::{Left, Outgoing};
use super::subscriptions::{Counts, KINDS, Register};
use crate::config::OutputLimit;
use crate::resp::encode::Protocol;
use crate::world::Instant;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// No command yet, as [`Client::last_command`] says it.
pub const NO_COMMAND: u16 = u16::MAX;

/// Bits of [`Client::called`]: somebody killed it.
const KILLED: u8 = 1;

/// Bits of [`Client::called`]: something was left for it.
const LEFT: u8 = 2;

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
    /// Asks its task to close the connection.
    pub fn kill(&self) {
        self.called.fetch_or(KILLED, Ordering::Release);
        self.wake.notify_one();
    }

    /// Ends when somebody killed it. Only the connection's task may wait here.
    pub async fn killed(&self) {
        while !self.is_killed() {
            self.wake.notified().await;
        }
    }

    /// Ends when somebody killed it or left something. Only the connection's task may wait here.
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

    /// It sent something just now.
    pub fn heard(&self) {
        self.last_heard_ms.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
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

/// All connections of the door.
#[derive(Debug, Default)]
pub struct Clients {
    last_id: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
    /// Who is subscribed to what.
    pub subscriptions: RwLock<Register<Arc<Client>>>,
    /// Who watches all commands, by id.
    monitors: RwLock<BTreeMap<u64, Arc<Client>>>,
    watched: AtomicBool,
}

impl Clients {
    /// Nobody is here yet.
    pub fn new() -> Arc<Clients> {
        Arc::new(Clients::default())
    }

    /// Lets a connection in; `None` when `limit` are here.
    pub fn enter(
        self: &Arc<Self>,
        limit: usize,
        address: String,
        local_address: String,
        descriptor: i32,
    ) -> Option<Entry> {
        let mut open = self.open.lock();
        if open.len() >= limit {
            return None;
        }
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
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
        });
        open.insert(client.id, client.clone());
        Some(Entry { client, clients: self.clone() })
    }

    /// Everyone here, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open.lock().values().cloned().collect()
    }

    /// Whether anybody watches all commands: one look at a byte.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Calls `each` for everyone who watches all commands.
    pub fn monitors(&self, each: impl FnMut(&Arc<Client>)) {
        self.monitors.read().values().for_each(each);
    }

    /// How many are here.
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }
}

/// A client's place in the register.
#[derive(Debug)]
pub struct Entry {
    client: Arc<Client>,
    clients: Arc<Clients>,
}

impl Entry {
    /// The client, to keep beyond the borrow.
    pub fn share(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// Watches all commands from now on; gives how much had been left for it before.
    pub fn watch(&self) -> u64 {
        let mut monitors = self.clients.monitors.write();
        monitors.insert(self.client.id, self.client.clone());
        self.clients.watched.store(true, Ordering::Relaxed);
        self.client.is_monitor.store(true, Ordering::Relaxed);
        self.client.outgoing.come()
    }

    /// Watches no longer; gives how much had been left for it before.
    pub fn unwatch(&self) -> u64 {
        let mut monitors = self.clients.monitors.write();
        monitors.remove(&self.client.id);
        self.clients.watched.store(!monitors.is_empty(), Ordering::Relaxed);
        self.client.is_monitor.store(false, Ordering::Relaxed);
        self.client.outgoing.come()
    }

    /// Changes its subscriptions: what `change` gives, how many it then has, and how much had been left for it before.
    pub fn resubscribe<T>(
        &self,
        change: impl FnOnce(&mut Register<Arc<Client>>, &Arc<Client>) -> T,
    ) -> (T, Counts, u64) {
        let mut register = self.clients.subscriptions.write();
        let changed = change(&mut register, &self.client);
        let counts = register.counts(self.client.id);
        for (shown, count) in self.client.subscriptions.iter().zip(counts) {
            shown.store(count, Ordering::Relaxed);
        }
        (changed, counts, self.client.outgoing.come())
    }
}

impl Deref for Entry {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.client.is_subscribed() {
            self.clients.subscriptions.write().leave(self.client.id);
        }
        if self.client.is_monitor.load(Ordering::Relaxed) {
            self.unwatch();
        }
        self.clients.open.lock().remove(&self.client.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::subscriptions::Kind;

    fn enter(clients: &Arc<Clients>, limit: usize) -> Option<Entry> {
        clients.enter(limit, "a:1".into(), "b:2".into(), 3)
    }

    #[test]
    fn the_register_holds_the_limit_and_ids_are_not_reused() {
        let clients = Clients::new();
        let first = enter(&clients, 2).unwrap();
        let second = enter(&clients, 2).unwrap();
        assert!(enter(&clients, 2).is_none());
        assert_eq!((first.id, second.id, clients.count()), (1, 2, 2));
        drop(first);
        assert_eq!(enter(&clients, 2).unwrap().id, 3);
        assert_eq!(clients.all().iter().map(|client| client.id).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn who_leaves_is_subscribed_to_nothing() {
        let clients = Clients::new();
        let entry = enter(&clients, 1).unwrap();
        let (_, counts, come) = entry.resubscribe(|register, client| {
            register.subscribe(client.id, client, Kind::Channel, b"a");
        });
        assert_eq!((counts, come, entry.is_subscribed()), ([1, 0, 0], 0, true));
        drop(entry);
        assert_eq!(clients.subscriptions.read().clients(), 0);
    }

    #[test]
    fn nobody_watches_once_the_last_monitor_has_left() {
        let clients = Clients::new();
        let (one, other) = (enter(&clients, 2).unwrap(), enter(&clients, 2).unwrap());
        one.watch();
        other.watch();
        one.unwatch();
        assert!(clients.is_watched());
        let mut ids = Vec::new();
        clients.monitors(|client| ids.push(client.id));
        assert_eq!(ids, [other.id]);
        drop(other);
        assert!(!clients.is_watched());
    }

    #[tokio::test]
    async fn what_is_left_calls_the_task_and_too_much_kills() {
        let limit = OutputLimit { hard_bytes: 200, soft_bytes: 0, soft_s: 0 };
        let clients = Clients::new();
        let entry = enter(&clients, 1).unwrap();
        let shared = entry.share();
        let waiting = tokio::spawn(async move { shared.called().await });
        tokio::task::yield_now().await;
        assert!(entry.send(Bytes::from_static(b"x"), &limit));
        waiting.await.unwrap();
        assert!(entry.is_left_something() && !entry.is_killed());
        entry.looked();
        assert!(!entry.is_left_something());
        assert!(entry.send(Bytes::from_static(b"x"), &limit));
        assert!(entry.is_left_something());
        assert!(!entry.send(Bytes::from(vec![0; 100]), &limit));
        assert!(entry.is_killed());
        assert!(entry.send(Bytes::from_static(b"x"), &limit), "who is being shown out is shown out once");
    }

    #[tokio::test]
    async fn only_who_waits_can_be_unblocked_and_once() {
        let clients = Clients::new();
        let client = enter(&clients, 1).unwrap();
        assert!(!client.unblock(Unblock::TimedOut));
        let shared = client.share();
        let waiting = tokio::spawn(async move { shared.unblocked().await });
        tokio::task::yield_now().await;
        assert!(client.unblock(Unblock::WithError));
        assert!(!client.unblock(Unblock::TimedOut), "it goes on already");
        assert_eq!(waiting.await.unwrap(), Unblock::WithError);
        assert!(!client.unblock(Unblock::TimedOut));
        let shared = client.share();
        let waiting = tokio::spawn(async move { shared.unblocked().await });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err());
        assert!(!client.unblock(Unblock::TimedOut), "it gave up waiting");
    }

    #[tokio::test]
    async fn a_kill_is_seen_whenever_it_came() {
        let clients = Clients::new();
        let client = enter(&clients, 1).unwrap();
        let shared = client.share();
        let waiting = tokio::spawn(async move { shared.killed().await });
        tokio::task::yield_now().await;
        client.kill();
        waiting.await.unwrap();
        client.killed().await;
        assert!(client.is_killed());
    }
}
