//! What the house knows of one visitor.
//!
//! Picture the card a clerk keeps for each visitor at the counter: which shelf they are reading from, which tongue they
//! asked for, whether they have shown their pass, how sure they want to be of an answer. The card ([`Session`]) lies with
//! the clerk alone. A few facts of it hang on the wall where everyone in the house may read them, and anyone may ask
//! for that visitor to be shown out ([`clients`]).
//!
//! # Contract
//! - A [`Session`] belongs to one connection task; nothing else reads or changes it, so it has no locks.
//! - What other connections see or ask for goes through [`client::Client`].
//! - [`Scope`] is what a plain command needs of the session to name its operations. It is copied when a command starts,
//!   so a command that starts again later still speaks of the same database and quorums, whatever was swapped meanwhile.
//!
//! It refuses to know any command, and to do I/O.

pub mod outgoing;
pub mod subscriptions;
pub mod client;
pub mod clients;
pub mod pause;
pub mod transaction;

use crate::coordinator::acks::AckLog;
use crate::key::databases::Databases;
use crate::resp::encode::Protocol;
use client::NO_TRANSACTION;
use clients::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use subscriptions::Counts;
use transaction::{Transaction, WatchList};

/// What of a session the operations of a command depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// What the indexes mean to the command.
    pub databases: Databases,
    /// Redis's SELECT index, below [`crate::key::DATABASES`].
    pub database: u8,
    /// R for plain commands (`DYN.QUORUM`); none: the database's.
    pub r: Option<u8>,
    /// W for plain commands (`DYN.QUORUM`); none: the database's.
    pub w: Option<u8>,
}

/// Which replies the client wants to see (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None until it says ON.
    Off,
    /// Not the next one.
    SkipNext,
}

/// The manners a connection is met with, by the port it came in at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Face {
    /// `port`: any node takes any command for the whole cluster.
    #[default]
    Plain,
    /// `cluster-view-port`: Redis Cluster's manners.
    ClusterView,
}

/// What of a connection of the cluster view decides where its requests go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// The number of what this node had handed back when it came in.
    pub since: u32,
    /// It has said READONLY: any owner of a key may answer what it reads.
    pub reads_anywhere: bool,
}

/// One connection's state.
pub struct Session {
    /// Where it came in.
    pub face: Face,
    /// On the cluster view: where its requests go.
    pub guest: Guest,
    /// What others see of it; leaves the register when the session is dropped.
    pub client: Entry,
    /// What the indexes mean to the command being run: what this node knew when it began, or when its EXEC looked at the
    /// watched keys.
    pub databases: Databases,
    /// Redis's SELECT index. Where its keys lie is [`Session::stored`].
    pub database: u8,
    /// R for plain commands (`DYN.QUORUM`); none: the database's.
    pub r: Option<u8>,
    /// W for plain commands (`DYN.QUORUM`); none: the database's.
    pub w: Option<u8>,
    /// RESP2 until HELLO says otherwise.
    pub protocol: Protocol,
    /// Whether it may run commands: no password is asked for, or it was given.
    pub authenticated: bool,
    /// Which replies are sent.
    pub replies: Replies,
    /// The command being run is not to be answered (`CLIENT REPLY OFF` and `SKIP` themselves).
    pub muted: bool,
    /// The command being run is to be answered although replies were off before (`CLIENT REPLY ON`).
    pub answered_anyway: bool,
    /// Nothing more is read or run; the connection closes once what was answered is written.
    pub closing: bool,
    /// How many subscriptions of each kind it has.
    pub subscriptions: Counts,
    /// Whether it watches all commands (MONITOR).
    pub is_monitor: bool,
    /// So many items had been left for it when the command being run changed what is left for it: they are written before
    /// its reply, and later ones after it. 0: it did not.
    pub after: u64,
    /// Which replicas acknowledged this connection's writes, for WAIT.
    pub acks: Arc<AckLog>,
    /// What was asked for since MULTI; none: no transaction is open.
    pub transaction: Option<Transaction>,
    /// The keys that must not have been touched by EXEC.
    pub watches: Arc<WatchList>,
}

impl Session {
    /// A fresh connection at `port`; `authenticated` when no password is asked for.
    pub fn new(client: Entry, authenticated: bool) -> Session {
        Session {
            face: Face::Plain,
            guest: Guest::default(),
            client,
            databases: Databases::default(),
            database: 0,
            r: None,
            w: None,
            protocol: Protocol::Resp2,
            authenticated,
            replies: Replies::On,
            muted: false,
            answered_anyway: false,
            closing: false,
            subscriptions: Counts::default(),
            is_monitor: false,
            after: 0,
            acks: Arc::new(AckLog::default()),
            transaction: None,
            watches: Arc::default(),
        }
    }

    /// What a command that starts now depends on.
    pub fn scope(&self) -> Scope {
        Scope { databases: self.databases, database: self.database, r: self.r, w: self.w }
    }

    /// The stored database behind the index of SELECT.
    pub fn stored(&self) -> u8 {
        self.databases.stored(self.database)
    }

    /// Puts back what a command that starts again depends on; gives what was there.
    pub fn swap_scope(&mut self, scope: Scope) -> Scope {
        let before = self.scope();
        (self.databases, self.database, self.r, self.w) = (scope.databases, scope.database, scope.r, scope.w);
        before
    }

    /// Back to how a fresh connection is (`RESET`). Its id, its library's name and its writes so far stay.
    pub fn reset(&mut self, authenticated: bool) {
        self.swap_scope(Scope::default());
        self.unlisten();
        self.speak(Protocol::Resp2);
        self.authenticated = authenticated;
        self.replies = Replies::On;
        (self.muted, self.answered_anyway) = (false, true);
        self.guest.reads_anywhere = false;
        self.end_transaction();
        self.watches.take();
        self.client.reset();
    }

    /// Speaks this protocol from now on. What is left for a listener from now on is in it, too.
    pub fn speak(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        let number = if protocol == Protocol::Resp3 { 3 } else { 2 };
        if self.is_subscribed() {
            // Nobody leaves a message meanwhile.
            self.after = self.client.resubscribe(|_, client| client.protocol.store(number, Relaxed)).2;
        } else {
            self.client.protocol.store(number, Relaxed);
        }
    }

    /// Whether it has a subscription of any kind.
    pub fn is_subscribed(&self) -> bool {
        self.subscriptions != Counts::default()
    }

    /// Whether others may leave something for it.
    pub fn is_listening(&self) -> bool {
        self.is_monitor || self.is_subscribed()
    }

    /// Ends all its subscriptions, and MONITOR.
    fn unlisten(&mut self) {
        if self.is_subscribed() {
            let (_, counts, come) = self.client.resubscribe(|register, client| register.leave(client.id));
            (self.subscriptions, self.after) = (counts, come);
        }
        if std::mem::take(&mut self.is_monitor) {
            self.after = self.client.unwatch();
        }
    }

    /// Opens a transaction.
    pub fn begin_transaction(&mut self) {
        self.transaction = Some(Transaction::default());
        self.client.queued.store(0, Relaxed);
    }

    /// Ends the transaction, if there is one, and gives it back. Watched keys stay watched.
    pub fn end_transaction(&mut self) -> Option<Transaction> {
        self.client.queued.store(NO_TRANSACTION, Relaxed);
        self.client.queued_bytes.store(0, Relaxed);
        self.transaction.take()
    }

    /// Takes one reply off: whether the command that starts now is to be answered.
    pub fn take_reply(&mut self) -> bool {
        (self.muted, self.answered_anyway, self.after) = (false, false, 0);
        match self.replies {
            Replies::On => true,
            Replies::Off => false,
            Replies::SkipNext => {
                self.replies = Replies::On;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::clients::Clients;
    use super::*;

    fn session() -> Session {
        Session::new(Clients::new().enter(1, "127.0.0.1:5".into(), "127.0.0.1:6379".into(), 7).unwrap(), true)
    }

    #[test]
    fn skip_silences_one_reply_and_off_all() {
        let mut session = session();
        assert!(session.take_reply());
        session.replies = Replies::SkipNext;
        assert!(!session.take_reply());
        assert!(session.take_reply());
        session.replies = Replies::Off;
        assert!(!session.take_reply());
        assert!(!session.take_reply());
    }

    #[test]
    fn reset_forgets_what_the_client_chose_but_not_who_it_is() {
        let mut session = session();
        let id = session.client.id;
        session.database = 3;
        session.w = Some(1);
        session.guest = Guest { since: 7, reads_anywhere: true };
        session.protocol = Protocol::Resp3;
        session.client.facts.lock().name = "x".into();
        session.begin_transaction();
        session.watches.fail();
        session.reset(false);
        assert!(session.transaction.is_none() && !session.watches.has_failed());
        assert_eq!(session.scope(), Scope::default());
        assert_eq!(session.guest, Guest { since: 7, reads_anywhere: false });
        assert_eq!(session.protocol, Protocol::Resp2);
        assert!(!session.authenticated);
        assert_eq!((session.client.id, session.client.facts.lock().name.len()), (id, 0));
    }
}
