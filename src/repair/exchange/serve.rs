//! Answering another member that compares itself with this node.

use crate::causality::NodeId;
use crate::message::exchange::{Asked, ExchangeRequest, Standing, Sums, listing_body};
use crate::replica::Replica;
use crate::world::{Instant, spawn_blocking};
use std::sync::Arc;

/// The answer's body; none: it could not be read from the disk, and the asker's deadline speaks.
pub async fn serve(replica: Arc<Replica>, from: NodeId, request: ExchangeRequest) -> Option<Vec<u8>> {
    let database = request.database;
    let standing = standing(&replica, from, request.repairing);
    match request.asked {
        Asked::Sums(runs) => {
            let sums = if standing == Standing::Open { replica.trees.sums(database, &runs) } else { Vec::new() };
            Some(Sums { standing, databases: replica.trees.held(), sums }.into_body())
        }
        Asked::Keys { leaves, after } => {
            let listed = spawn_blocking(move || replica.list(database, &leaves, after.as_ref())).await;
            match listed {
                Ok(Ok(listing)) => Some(listing_body(&listing)),
                Ok(Err(error)) => {
                    tracing::error!(%error, "listing keys for a home that compares failed");
                    None
                }
                Err(_) => None,
            }
        }
    }
}

/// Whether this node can be compared with now; takes or ends the asker's turn.
fn standing(replica: &Replica, from: NodeId, repairing: bool) -> Standing {
    let now = Instant::now();
    let free = match repairing {
        true => replica.turn.take(from, now),
        false => {
            replica.turn.end(from);
            replica.turn.is_free(from, now)
        }
    };
    match free {
        _ if replica.is_filling() => Standing::Filling,
        true if replica.is_writable() && !replica.is_sweeping() => Standing::Open,
        _ => Standing::Busy,
    }
}
