//! Counting the keys of a database: the sum of what the nodes keep count of.
//!
//! # Contract
//! - Each partition is asked of R of those who keep it. Where all name one number, that is it.
//! - Where they do not (a copy is on its way, or missing), the partition is walked through, as SCAN would, as long as not more
//!   than [`WALKED_MAX`] keys are to be looked at in all. Beyond that the greatest number counts: a copy that is missing
//!   hides no key.

use super::Coordinator;
use super::survey::{Question, policy, survey};
use super::walk::Walk;
use crate::membership::view::View;
use crate::message::keys::{Count, read_counts};
use crate::message::operation::Failure;
use crate::walk::Position;
use crate::walk::cover::{Cover, Stretch};
use crate::world::spawn_blocking;
use std::sync::Arc;
use tokio::time::Instant;

/// How many keys one count looks at because nodes disagree.
const WALKED_MAX: u64 = 50_000;

/// What the nodes asked about one stretch keep count of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    least: Option<u64>,
    greatest: u64,
}

impl Tally {
    fn add(&mut self, count: u64) {
        self.least = Some(self.least.map_or(count, |least| least.min(count)));
        self.greatest = self.greatest.max(count);
    }

    fn is_agreed(&self) -> bool {
        self.least == Some(self.greatest)
    }
}

impl Coordinator {
    /// How many live keys a database holds in the slots of `cover`, in the whole cluster. `r`: how many copies are asked;
    /// none: as the database says.
    pub async fn count(self: &Arc<Self>, database: u8, r: Option<u8>, cover: &Cover) -> Result<u64, Failure> {
        let view = self.view();
        let stretches: Vec<Stretch> = cover.ahead(&Position::token(0), view.ring.partitions()).collect();
        let ask = |question: Question| {
            let count = Count { database, slots: question.slots(&stretches) };
            self.clone().count_of(view.clone(), question, count)
        };
        let deadline = Instant::now() + self.request_timeout();
        let answers = survey(&view, policy(&view, database, r), &stretches, deadline, ask).await?;
        let mut tallies = vec![Tally::default(); stretches.len()];
        for (question, counts) in answers {
            question.stretches.iter().zip(counts).for_each(|(at, count)| tallies[*at].add(count));
        }
        let (mut total, mut walked) = (0, 0);
        for (tally, stretch) in tallies.iter().zip(stretches) {
            total += if tally.is_agreed() || walked + tally.greatest > WALKED_MAX {
                tally.greatest
            } else {
                walked += tally.greatest;
                self.count_by_walking(database, r, stretch).await?
            };
        }
        Ok(total)
    }

    async fn count_by_walking(self: &Arc<Self>, database: u8, r: Option<u8>, stretch: Stretch) -> Result<u64, Failure> {
        let mut walk = Walk::new(self, database, r, Cover::of([stretch.slots]), 0);
        let mut live = 0;
        while !walk.is_over() {
            live += walk.step(usize::MAX).await?.keys.len() as u64;
        }
        Ok(live)
    }

    async fn count_of(self: Arc<Self>, view: Arc<View>, question: Question, count: Count) -> Option<Vec<u64>> {
        let Some(link) = &view.nodes[usize::from(question.node)].link else { return self.count_own(count).await };
        let runs = count.slots.len();
        let answer = link.ask(count.into_body(), question.timeout).await.ok()?;
        read_counts(&answer, runs).ok().flatten()
    }

    /// What this node keeps count of in each run of slots; none: it has lost copies, or cannot read them.
    pub(super) async fn count_own(self: &Arc<Self>, count: Count) -> Option<Vec<u64>> {
        if self.replica.is_filling() {
            return None;
        }
        let replica = self.replica.clone();
        let counting = spawn_blocking(move || {
            // Where each key is looked at, only what is committed is seen.
            replica.store().settle()?;
            count.slots.iter().map(|run| replica.count(*run, count.database)).collect()
        });
        match counting.await {
            Ok(Ok(counts)) => Some(counts),
            Ok(Err(error)) => {
                tracing::error!(%error, "counting keys failed");
                None
            }
            Err(_) => None,
        }
    }
}
