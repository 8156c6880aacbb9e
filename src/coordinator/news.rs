//! Messages of channels, to every node: PUBLISH, and who listens where.
//!
//! # Contract
//! - [`Coordinator::publish`] has handed a message to the subscribers here and to the link of every member that can be
//!   reached when it returns; what comes back later is how many received it. So the messages of one caller reach each
//!   subscriber in the order of the calls.
//! - At most once, as in Redis: a member that cannot be reached, or whose link is full, does not get the message.
//!   Nothing is kept for later, and nothing is sent twice.
//! - A member that does not answer within `request-timeout-ms` counts no receivers. The message itself waits for nothing.

use super::Coordinator;
use crate::message::publish::{Published, Subscribed, Survey, read_surveyed};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use tokio::sync::oneshot;

/// What knows this node's subscribers. Its methods are called on the links' tasks and must not block.
pub trait Newsroom: Send + Sync {
    /// Hands a message to the subscribers here; says how many there were.
    fn publish(&self, published: &Published) -> u64;
    /// What clients here are subscribed to.
    fn survey(&self, survey: &Survey) -> Subscribed;
}

/// What will be found, by name: of each how many subscribe.
pub type Found = Pin<Box<dyn Future<Output = BTreeMap<Bytes, u64>> + Send>>;

impl Coordinator {
    /// Says who knows the subscribers here. Until then there are none. A second call changes nothing.
    pub fn open_newsroom(&self, newsroom: Box<dyn Newsroom>) {
        // An error gives back the one of the second call.
        let _ = self.newsroom.set(newsroom);
    }

    /// Hands a message to the subscribers of this node.
    pub(super) fn publish_here(&self, published: &Published) -> u64 {
        self.newsroom.get().map_or(0, |newsroom| newsroom.publish(published))
    }

    pub(super) fn survey_here(&self, survey: &Survey) -> Subscribed {
        self.newsroom.get().map_or_else(Vec::new, |newsroom| newsroom.survey(survey))
    }

    /// Sends a message to the subscribers of all nodes that can be reached; then tells how many received it.
    pub fn publish(&self, published: &Published) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        let here = self.publish_here(published);
        let answers = self.ask_others(|| published.body());
        Box::pin(async move {
            let mut received = here;
            for answer in answers {
                let counted = answer.await.ok().flatten();
                received += counted.and_then(|count| count.as_ref().try_into().ok()).map_or(0, u64::from_le_bytes);
            }
            received
        })
    }

    /// What clients of this node, or of all that can be reached, are subscribed to.
    pub fn survey(&self, survey: &Survey, everywhere: bool) -> Found {
        let here = self.survey_here(survey);
        let answers = if everywhere { self.ask_others(|| survey.body()) } else { Vec::new() };
        Box::pin(async move {
            let mut counts: BTreeMap<Bytes, u64> = BTreeMap::new();
            let mut add = |subscribed: Subscribed| {
                for (name, count) in subscribed {
                    *counts.entry(name).or_default() += u64::from(count);
                }
            };
            add(here);
            for answer in answers {
                let body = answer.await.ok().flatten();
                body.and_then(|body| read_surveyed(&body).ok()).into_iter().for_each(&mut add);
            }
            counts
        })
    }

    /// Sends a question to every other member that can be reached, now; gives the answers to come.
    fn ask_others(&self, body: impl Fn() -> Vec<u8>) -> Vec<oneshot::Receiver<Option<Bytes>>> {
        let (view, patience) = (self.view(), self.request_timeout());
        let others = view.nodes.iter().filter(|node| node.is_reachable()).filter_map(|node| node.link.as_ref());
        others
            .map(|link| {
                let (sender, receiver) = oneshot::channel();
                // Nobody may be waiting for the answer any more.
                link.call(body(), patience, Box::new(move |answer| drop(sender.send(answer.ok()))));
                receiver
            })
            .collect()
    }
}
