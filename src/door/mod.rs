//! The door: where clients come in.
//!
//! Picture a porter with one clerk for each visitor. The porter lets people in until the house is full, and tells the next
//! one so. A clerk takes every whole letter that lies on the counter, has them worked on together, and hands all answers
//! back at once; while that goes on the clerk takes nothing new, so a visitor who sends faster than the house works is
//! slowed down, not piled up. When the house closes, each clerk finishes the letters in hand and sees the visitor out.
//!
//! # Contract
//! - [`Door::open`] takes sockets that listen already: whether a port is free is found out before anything else starts.
//! - One task for each connection ([`connection`]); what it holds in memory is bounded ([`pace`]).
//! - [`Door::stop`] takes no one new, lets batches that run finish for at most [`STOP_PATIENCE`], then closes what is left.
//!
//! It refuses to know commands: requests go to [`crate::command::batch`].

pub mod connection;
pub mod pace;

use crate::command::Server;
use crate::resp::reply::Reply;
use crate::session::{Face, Session};
use crate::world::net::{self, TcpListener, TcpStream, Vigilance};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

/// How long [`Door::stop`] lets batches finish.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long the porter rests when the system has no socket left for the next client.
const REST: Duration = Duration::from_millis(100);

/// An open door.
pub struct Door {
    server: Arc<Server>,
    stopping: watch::Sender<bool>,
    inside: mpsc::Receiver<()>,
}

impl Door {
    /// Lets clients in at every one of these sockets: those of `port`, and those of the cluster view.
    pub fn open(plain: Vec<TcpListener>, view: Vec<TcpListener>, server: Arc<Server>) -> Door {
        let (stopping, stop) = watch::channel(false);
        // Every task holds a sender; when the last is gone, so is the last connection.
        let (presence, inside) = mpsc::channel(1);
        let faces = plain.into_iter().map(|listener| (listener, Face::Plain));
        for (listener, face) in faces.chain(view.into_iter().map(|listener| (listener, Face::ClusterView))) {
            let porter = Porter { server: server.clone(), face, stop: stop.clone(), presence: presence.clone() };
            tokio::spawn(porter.let_in(listener));
        }
        Door { server, stopping, inside }
    }

    /// Closes. Ends when the last connection has gone.
    pub async fn stop(mut self) {
        // Fails only when no task is left to hear it.
        let _ = self.stopping.send(true);
        // Whoever comes in after this look sees the watch.
        self.server.clients.all().iter().for_each(|client| client.see_out());
        if tokio::time::timeout(STOP_PATIENCE, self.inside.recv()).await.is_err() {
            self.server.clients.all().iter().for_each(|client| client.kill());
            if tokio::time::timeout(STOP_PATIENCE, self.inside.recv()).await.is_err() {
                tracing::warn!("{} connections did not end in time and are cut", self.server.clients.count());
            }
        }
    }
}

/// Lets clients in at one listener.
#[derive(Clone)]
struct Porter {
    server: Arc<Server>,
    face: Face,
    stop: watch::Receiver<bool>,
    presence: mpsc::Sender<()>,
}

impl Porter {
    async fn let_in(mut self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stopping| *stopping) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => self.welcome(stream, from),
                Err(why) => {
                    tracing::warn!("a client could not be let in: {why}");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    fn welcome(&self, stream: TcpStream, from: SocketAddr) {
        let config = self.server.config.load();
        if let Err(why) = prepare(&stream, config.tcp_keepalive) {
            tracing::debug!("a connection from {from} went away at once: {why}");
            return;
        }
        let local = stream.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let limit = config.maxclients as usize;
        let entered = self.server.clients.enter(limit, from.to_string(), local, net::descriptor(&stream));
        let Some(client) = entered else {
            self.server.stats.connections_refused.add(1);
            turn_away(stream);
            return;
        };
        self.server.stats.connections.add(1);
        let mut session = Session::new(client, config.requirepass.is_empty());
        session.face = self.face;
        let visit = (self.face == Face::ClusterView).then(|| self.server.notices.visit());
        if visit.is_some() {
            session.guest.since = self.server.notice().handback().number();
        }
        let (server, stop, presence) = (self.server.clone(), self.stop.clone(), self.presence.clone());
        tokio::spawn(async move {
            connection::serve(stream, session, server, stop).await;
            drop((presence, visit));
        });
    }
}

/// Small replies must not wait for company, and vanished clients must be noticed.
fn prepare(stream: &TcpStream, keepalive_s: u64) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive_s > 0 {
        let every = Duration::from_secs(keepalive_s);
        let vigilance = Vigilance { silence: every, interval: every / 3 + REST, probes: Some(3), unheard: None };
        net::watch(stream, vigilance)?;
    }
    Ok(())
}

/// Tells one too many so. What the socket does not take at once is not sent.
fn turn_away(mut stream: TcpStream) {
    tokio::spawn(async move {
        let mut out = BytesMut::new();
        Reply::error("ERR max number of clients reached").encode(Default::default(), &mut out);
        let _ = tokio::time::timeout(REST, stream.write_all(&out)).await;
    });
}
