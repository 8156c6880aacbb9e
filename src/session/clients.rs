//! The register of all visitors: who is in the house, since when, and whom to show out.
//!
//! # Contract
//! - [`Clients::enter`] refuses above the limit it is given; an [`Entry`] leaves the register when dropped.
//! - Ids rise and are never used twice while the process runs.
//! - [`Client::kill`] is seen by the connection's task even if it came before the task looked.

use crate::world::Instant;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// No command yet, as [`Client::last_command`] says it.
pub const NO_COMMAND: u16 = u16::MAX;

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
    /// Bytes received and not yet run.
    pub unread_bytes: AtomicUsize,
    /// Bytes its read buffer can still take.
    pub unread_room_bytes: AtomicUsize,
    /// Bytes its reply buffer holds memory for.
    pub reply_room_bytes: AtomicUsize,
    /// `CLIENT NO-EVICT on`.
    pub no_evict: AtomicBool,
    /// `CLIENT NO-TOUCH on`.
    pub no_touch: AtomicBool,
    killed: AtomicBool,
    wake: Notify,
}

impl Client {
    /// Asks its task to close the connection.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Ends when somebody killed it. Only the connection's task may wait here.
    pub async fn killed(&self) {
        while !self.killed.load(Ordering::Acquire) {
            self.wake.notified().await;
        }
    }

    /// Whether somebody killed it.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
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

/// All connections of the door.
#[derive(Debug, Default)]
pub struct Clients {
    last_id: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
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
            killed: AtomicBool::new(false),
            wake: Notify::new(),
        });
        open.insert(client.id, client.clone());
        Some(Entry { client, clients: self.clone() })
    }

    /// Everyone here, by id.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open.lock().values().cloned().collect()
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
}

impl Deref for Entry {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.clients.open.lock().remove(&self.client.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
