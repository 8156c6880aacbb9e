//! Answering another member that compares itself with this node.

use crate::message::exchange::{Asked, ExchangeRequest, Sums, listing_body};
use crate::replica::Replica;
use std::sync::Arc;

/// The answer's body; none: it could not be read from the disk, and the asker's deadline speaks.
pub async fn serve(replica: Arc<Replica>, request: ExchangeRequest) -> Option<Vec<u8>> {
    let database = request.database;
    match request.asked {
        Asked::Sums(runs) => {
            let sums = replica.trees.sums(database, &runs);
            Some(Sums { filling: replica.is_filling(), databases: replica.trees.held(), sums }.into_body())
        }
        Asked::Keys { leaves, after } => {
            let listed = tokio::task::spawn_blocking(move || replica.list(database, &leaves, after.as_ref())).await;
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
