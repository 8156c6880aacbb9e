//! Where this node is to be found, and what all members do when it says something else.
//!
//! # Contract
//! - [`Membership::announce`] rewrites this node's line in the member list, under its next generation, as a node does that
//!   comes back from elsewhere. Once it returns the line is saved and shown here, and on its way to every member; who misses
//!   it hears of it when digests are compared.
//! - What another member has taken already is refused, and nothing changes.
//! - Members that are told another host or node port leave the old one and dial the new one. If nobody is there, this node
//!   still reaches them by its own links, and can say something better.

use super::driver::Driver;
use super::{Command, Membership, spreading};
use crate::config::Config;
use crate::message::control::{Announced, JoinRequest, Refusal};
use tokio::sync::oneshot;

/// Where a node is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The host name or address under which the others reach it.
    pub host: String,
    /// The port for nodes.
    pub cluster_port: u16,
    /// What cluster clients are told of it.
    pub announced: Announced,
}

impl Whereabouts {
    /// What a node with these settings says of itself.
    pub fn of(config: &Config) -> Whereabouts {
        Whereabouts {
            host: config.announced_host().to_owned(),
            cluster_port: config.announced_cluster_port(),
            announced: Announced {
                port: config.announced_view_port(),
                hostname: config.cluster_announce_hostname.clone(),
            },
        }
    }

    /// A node's request to join, from there.
    pub fn put_into(self, request: JoinRequest) -> JoinRequest {
        let Whereabouts { host, cluster_port, announced } = self;
        JoinRequest { host, cluster_port, announced, ..request }
    }
}

impl Membership {
    /// Tells all members where this node is to be found from now on. Returns once that is saved and shown here. An error
    /// says why nothing changed.
    pub async fn announce(&self, whereabouts: Whereabouts) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let stopped = || "the node is stopping; nothing changed".to_owned();
        self.commands.send(Command::Announce { whereabouts, done }).await.map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Driver {
    /// Says it here, then to the others.
    pub(super) async fn announce(&mut self, whereabouts: Whereabouts) -> Result<(), Refusal> {
        let me = whereabouts.put_into(self.me.clone());
        let mut state = self.state.clone().ok_or(Refusal::NoClusterYet)?;
        let admitted = state.admit(&me, true)?;
        self.adopt(state).await?;
        self.me = me;
        tracing::info!(address = self.me.host, port = self.me.cluster_port, ?admitted, "announced anew");
        // Also to those that cannot be reached by what was announced before: the way from here to there may stand.
        tokio::spawn(spreading::push(self.neighbours.iter().cloned().collect(), self.encoded()));
        Ok(())
    }
}
