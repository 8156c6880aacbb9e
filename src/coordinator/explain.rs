//! DYN.EXPLAIN: who holds what of a key.

use super::Coordinator;
use super::slot::Evidence;
use crate::key::StorageKey;
use crate::message::data::{Answer, Requests, read_answers};
use crate::object::Object;
use crate::object::digest::Digest;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Nodes asked beyond the homes: fallbacks that may hold a copy on loan.
const FALLBACKS_ASKED: usize = 8;

/// Where a key lies, and what each node of its preference list holds.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The key's slot.
    pub slot: u16,
    /// The key's partition.
    pub partition: u16,
    /// In preference order.
    pub replicas: Vec<ReplicaView>,
}

/// One node's copy.
#[derive(Clone, Debug)]
pub struct ReplicaView {
    /// The node's id.
    pub node: String,
    /// host:port for clients.
    pub address: String,
    /// Whether it is one of the key's homes; else a fallback.
    pub home: bool,
    /// Whether it seems to answer.
    pub reachable: bool,
    /// What it holds, or why that is not known.
    pub answer: Result<Object, String>,
    /// Whether it holds what all together hold.
    pub agrees: bool,
}

impl Coordinator {
    /// Asks every node of a key's preference list for its copy, one after the other's answer at the same time.
    pub fn explain(self: &Arc<Self>, key: StorageKey) -> Pin<Box<dyn Future<Output = Explanation> + Send>> {
        let coordinator = self.clone();
        Box::pin(async move { coordinator.explain_key(key).await })
    }

    async fn explain_key(self: Arc<Self>, key: StorageKey) -> Explanation {
        let view = self.view();
        let partition = view.ring.partitions().of(key.token());
        let policy = view.policies[usize::from(key.database())];
        let homes = usize::from(policy.n);
        let listed: Vec<u16> = view.ring.preference(partition).iter().take(homes + FALLBACKS_ASKED).copied().collect();
        let asking: Vec<_> = listed.iter().map(|node| self.clone().copy_at(*node, key.clone())).collect();
        let mut answers = Vec::with_capacity(asking.len());
        for asked in asking.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
            answers.push(asked.await.unwrap_or_else(|error| Err(error.to_string())));
        }
        let whole = answers.iter().flatten().cloned().fold(Object::default(), |a, b| a.merge(b, policy.conflict));
        let digest = whole.digest(&key);
        let replicas = listed.iter().zip(answers).enumerate().map(|(at, (node, answer))| {
            let entry = &view.nodes[usize::from(*node)];
            ReplicaView {
                node: entry.id.to_string(),
                address: format!("{}:{}", entry.host, entry.port),
                home: at < homes,
                reachable: usize::from(*node) == view.me || entry.is_reachable(),
                agrees: answer.as_ref().is_ok_and(|object| object.digest(&key) == digest),
                answer,
            }
        });
        Explanation { slot: key.token().slot(), partition: partition.0, replicas: replicas.collect() }
    }

    /// How many of a key's homes hold a write, and how many homes there are.
    pub(super) async fn holders(self: &Arc<Self>, key: &StorageKey, write: &Evidence) -> (u8, u8) {
        let view = self.view();
        let homes = usize::from(view.policies[usize::from(key.database())].n);
        let homes = view.ring.homes(view.ring.partitions().of(key.token()), homes);
        let asking: Vec<_> = homes.iter().map(|node| tokio::spawn(self.clone().copy_at(*node, key.clone()))).collect();
        let mut holders = 0;
        for asked in asking {
            holders += u8::from(matches!(asked.await, Ok(Ok(object)) if write.is_in(&object)));
        }
        (holders, u8::try_from(homes.len()).unwrap_or(u8::MAX))
    }

    async fn copy_at(self: Arc<Self>, node: u16, key: StorageKey) -> Result<Object, String> {
        let view = self.view();
        if usize::from(node) == view.me {
            return self.replica.read(&key).map_err(|_| "its record is damaged".to_owned());
        }
        let link =
            view.nodes.get(usize::from(node)).and_then(|node| node.link.clone()).ok_or("there is no link to it")?;
        let mut requests = Requests::default();
        requests.read(&key, Digest::default());
        let answer = link.ask(requests.into_body(), self.request_timeout()).await.map_err(|error| error.to_string())?;
        match read_answers(&answer, 1).map_err(|error| error.to_string())?.pop() {
            Some(Answer::Object(object)) => Ok(object),
            Some(Answer::Same) => Ok(Object::default()),
            _ => Err("its record is damaged".to_owned()),
        }
    }
}
