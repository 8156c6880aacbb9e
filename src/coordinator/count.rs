//! DBSIZE of the whole cluster: each partition is counted by the first of its homes that can be reached.

use super::Coordinator;
use crate::key::Partition;
use crate::message::data::Count;
use crate::message::operation::Failure;
use crate::world::spawn_blocking;
use std::sync::Arc;

impl Coordinator {
    /// How many live keys a database holds in the whole cluster.
    pub async fn count(self: &Arc<Self>, database: u8) -> Result<u64, Failure> {
        let view = self.view();
        let homes = usize::from(view.policies[usize::from(database)].n);
        let mut shares: Vec<Vec<u16>> = vec![Vec::new(); view.nodes.len()];
        for partition in 0..view.ring.partitions().count() as u16 {
            let preference = view.ring.preference(Partition(partition));
            let able = |node: &&u16| usize::from(**node) == view.me || view.nodes[usize::from(**node)].is_reachable();
            let counter = preference.iter().take(homes).find(able);
            let counter = counter.ok_or(Failure::NoReplicas { reachable: 0, needed: 1 })?;
            shares[usize::from(*counter)].push(partition);
        }
        let mut total = self.count_own(Count { database, partitions: std::mem::take(&mut shares[view.me]) }).await?;
        for (node, partitions) in shares.into_iter().enumerate().filter(|(_, share)| !share.is_empty()) {
            let short = Failure::ReadShort { answered: 0, needed: 1 };
            let Some(link) = &view.nodes[node].link else { return Err(short) };
            let body = Count { database, partitions }.into_body();
            let answer = link.ask(body, self.request_timeout()).await.map_err(|_| short.clone())?;
            let answer: [u8; 8] = answer.as_ref().try_into().map_err(|_| short)?;
            total += u64::from_le_bytes(answer);
        }
        Ok(total)
    }

    /// This node's part.
    pub(super) async fn count_own(self: &Arc<Self>, count: Count) -> Result<u64, Failure> {
        let replica = self.replica.clone();
        let partitions = self.view().ring.partitions();
        let counting = spawn_blocking(move || {
            replica.store().settle().map_err(|error| Failure::Storage(error.to_string()))?;
            let asked = count.partitions.into_iter().filter(|partition| u32::from(*partition) < partitions.count());
            asked
                .map(|partition| replica.count(partitions, Partition(partition), count.database))
                .sum::<Result<u64, _>>()
                .map_err(|error| {
                    tracing::error!(%error, "counting keys failed");
                    Failure::Storage(error.to_string())
                })
        });
        counting.await.unwrap_or_else(|error| Err(Failure::Storage(error.to_string())))
    }
}
