//! The register of all visitors: who is in the house, since when, and whom to show out.
//!
//! # Contract
//! - [`Clients::enter`] refuses above the limit it is given; an [`Entry`] leaves the register when dropped.
//! - Ids rise and are never used twice while the process runs.
//! - Who is subscribed to what stands in [`Clients::subscriptions`]; an [`Entry`] that is dropped leaves that, too. A
//!   subscription is entered or struck under its lock for writing, and messages are left under it for reading, so that
//!   [`Outgoing::come`](super::outgoing::Outgoing::come) tells, under the lock, which messages came before the change.

use super::client::Client;
use super::subscriptions::{Counts, Register};
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(id, address, local_address, descriptor));
        open.insert(client.id, client.clone());
        Some(Entry { client, clients: self.clone() })
    }

    /// Everyone here, by id. Who was shown out is gone, as in Redis, though its task may have to be told yet.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.open.lock().values().filter(|client| !client.is_killed()).cloned().collect()
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
    use crate::config::OutputLimit;
    use crate::session::client::Unblock;
    use crate::session::subscriptions::Kind;
    use bytes::Bytes;

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
        assert!(clients.all().is_empty(), "nobody counts it, or kills it once more");
        waiting.await.unwrap();
        client.killed().await;
        assert!(client.is_killed());
    }
}
