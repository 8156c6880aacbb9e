//! A copy that may be older than something forgotten here: is it the past, or has this home lost it?
//!
//! Somebody brings a letter from years ago that is not in the drawer. Perhaps it was answered and burnt; perhaps the drawer
//! has a hole. The clerk asks every other house that should have it, takes in whatever they have, and only then leaves
//! the letter where it came from.
//!
//! # Contract
//! - What the other homes hold is merged first: they were asked after this node's floor was known, so they are no older.
//! - A sibling is ignored only when *every* other home has answered and none had it. If one cannot be asked, the whole copy
//!   is refused ([`Refusal::Old`]) and nothing of it is stored: whoever brought it keeps it and comes again.

use super::Coordinator;
use crate::causality::Hlc;
use crate::key::StorageKey;
use crate::membership::view::View;
use crate::message::data::{Answer, Refusal, Requests, read_answers};
use crate::object::Object;
use crate::object::digest::Digest;
use crate::replica::serve::OldCopy;
use crate::storage::batch::Batch;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Judges the old copies of one frame, one after the other, and puts in what became of each.
pub async fn judge(coordinator: Arc<Coordinator>, answers: &mut [Answer], copies: Vec<OldCopy>) {
    for copy in copies {
        let at = copy.at;
        answers[at] = match coordinator.judge_one(copy).await {
            Ok(durable) => Answer::Applied { durable },
            Err(refusal) => Answer::Refused(refusal),
        };
    }
}

impl Coordinator {
    async fn judge_one(&self, copy: OldCopy) -> Result<bool, Refusal> {
        let OldCopy { key, mut object, sync, .. } = copy;
        let view = self.view();
        let conflict = view.policies[usize::from(key.database())].conflict;
        let floor = self.replica.floor().max(Hlc(1));
        let mut batch = Batch::new();
        for theirs in self.ask_other_homes(&view, &key).await? {
            self.replica.merge(&mut batch, &key, theirs, floor, conflict, None)?;
        }
        let held = self.replica.read(&key)?;
        let forgotten = object.drop_forgotten(self.replica.floor(), &held);
        self.replica.stats.resurrections_refused.fetch_add(forgotten as u64, Ordering::Relaxed);
        self.replica.merge(&mut batch, &key, object, self.replica.floor().max(Hlc(1)), conflict, None)?;
        let (told, hear) = oneshot::channel();
        self.replica.submit(batch, sync, Box::new(move |result| drop(told.send(result))));
        match hear.await {
            Ok(Ok(committed)) => Ok(committed.durable),
            _ => Err(Refusal::Storage),
        }
    }

    /// What every other home of the key holds.
    async fn ask_other_homes(&self, view: &View, key: &StorageKey) -> Result<Vec<Object>, Refusal> {
        let n = usize::from(view.policies[usize::from(key.database())].n);
        let homes = view.ring.homes(view.ring.partitions().of(key.token()), n);
        if !homes.iter().any(|home| usize::from(*home) == view.me) {
            return Err(Refusal::Old);
        }
        let mut held = Vec::new();
        for home in homes.iter().map(|home| &view.nodes[usize::from(*home)]) {
            let Some(link) = &home.link else { continue };
            if !home.is_reachable() {
                return Err(Refusal::Old);
            }
            let mut requests = Requests::default();
            requests.read(key, Digest(0));
            let answer = link.ask(requests.into_body(), self.request_timeout()).await.map_err(|_| Refusal::Old)?;
            match read_answers(&answer, 1).ok().and_then(|answers| answers.into_iter().next()) {
                Some(Answer::Same) => {}
                Some(Answer::Object(object)) => held.push(object),
                _ => return Err(Refusal::Old),
            }
        }
        Ok(held)
    }
}
