//! The roof: puts a node together, starts it, and stops it.
//!
//! Moving into a house: first see whether the doors are free and the cellar is yours, then wind the clock, hang up the
//! board with the neighbours, and only when the neighbours know you unlock the front door. Moving out goes backwards, and
//! begins with a note at the side door where the regular carriers are to go from now on.
//!
//! # Contract
//! - Whatever makes a start impossible is one clear sentence, before anything was changed for others.
//! - Clients are served once the node is in a cluster. Until then their connections wait, for a second at most; then they
//!   are answered `LOADING`, and what Redis answers while it loads.
//! - After [`Node::stop`] everything acknowledged is on disk and the next start is quick.

pub mod dev_cluster;
mod listen;
pub mod logging;
mod start;

use crate::command::Server;
use crate::coordinator::Coordinator;
use crate::door::Door;
use crate::membership::Membership;
use crate::replica::Replica;
use crate::storage::home::Home;
use crate::world::spawn_blocking;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

pub use start::StartError;

/// The name under which a clean stop leaves the key counters.
const COUNTS_FILE: &str = "counts";

/// The name under which a clean stop leaves how far everyone has written, and what was flushed is swept away.
const FLUSHES_FILE: &str = "flushes";

/// The name under which a clean stop leaves what the copies add up to.
const TREES_FILE: &str = "trees";

/// How often a node that stops looks whether the clients of its cluster view have left.
const DRAIN_LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running node.
pub struct Node {
    home: Arc<Home>,
    replica: Arc<Replica>,
    membership: Arc<Membership>,
    coordinator: Arc<Coordinator>,
    server: Arc<Server>,
    door: Door,
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    /// What commands see of the node.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The coordinator.
    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    /// Stops: cluster clients are sent elsewhere, no new requests, goodbye to the others, everything on disk.
    pub async fn stop(self) {
        self.drain().await;
        self.door.stop().await;
        self.membership.stop().await;
        self.tasks.iter().for_each(JoinHandle::abort);
        let (replica, home) = (self.replica, self.home);
        let stopped = spawn_blocking(move || {
            replica.stop_giving_back();
            if let Err(error) = replica.store().settle() {
                tracing::error!(%error, "the last writes could not be stored");
            }
            // The trees name this life and are taken only with it; so they come last.
            let saved = home
                .write_sealed(COUNTS_FILE, &replica.counts_saved())
                .and_then(|()| home.write_sealed(FLUSHES_FILE, &replica.flushes_saved(home.start_number())))
                .and_then(|()| home.write_sealed(TREES_FILE, &replica.trees_saved(home.start_number())));
            if let Err(error) = saved {
                tracing::warn!(%error, "the key counters could not be saved; the next start counts anew");
            }
            replica.store().stop();
            // Else the next life would stamp ahead of everybody's time, by as much as this one was allowed to.
            if let Err(error) = home.write_lease(replica.clock.end()) {
                tracing::warn!(%error, "the clock could not be noted; the next life stamps some seconds ahead");
            }
        });
        if let Err(error) = stopped.await {
            tracing::error!(%error, "stopping the storage failed");
        }
        tracing::info!("stopped");
    }

    /// Has the clients of the cluster view sent to other nodes, for `shutdown-drain-ms` or until they have left. Everybody
    /// else is served as ever meanwhile.
    async fn drain(&self) {
        let view = self.membership.view();
        if !view.nodes.iter().any(|node| node.link.is_some() && node.is_in_service()) {
            return;
        }
        self.membership.leave_service().await;
        let drain = Duration::from_millis(self.server.config.load().shutdown_drain_ms);
        let notices = &self.server.notices;
        let left = async {
            while notices.visitors() > 0 {
                tokio::time::sleep(DRAIN_LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(drain, left).await.is_err() {
            tracing::info!("{} connections of the cluster view have not left within {drain:?}", notices.visitors());
        }
    }
}
