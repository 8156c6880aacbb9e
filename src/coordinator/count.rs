//! Counting the keys of a database: the sum of what the nodes keep count of.
//!
//! Contract: each partition is asked of R of those who keep it. Where they do not agree (a copy is on its way, or missing), it is
//! walked through, as SCAN would, if [`crate::walk::tally`] says so: a copy that is missing hides no key.

use super::Coordinator;
use super::survey::{policy, slots, survey};
use super::walk::Walk;
use crate::membership::view::View;
use crate::message::keys::{Count, read_counts};
use crate::message::operation::Failure;
use crate::walk::Position;
use crate::walk::cover::{Cover, Stretch};
use crate::walk::survey::Question;
use crate::walk::tally::{Tally, add_up};
use crate::world::spawn_blocking;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Coordinator {
    /// How many live keys a database holds in the slots of `cover`, in the whole cluster. `r`: how many copies are asked;
    /// none: as the database says.
    pub async fn count(self: &Arc<Self>, database: u8, r: Option<u8>, cover: &Cover) -> Result<u64, Failure> {
        let view = self.view();
        let stretches: Vec<Stretch> = cover.ahead(&Position::token(0), view.ring.partitions()).collect();
        let ask = |question: Question, timeout| {
            let count = Count { database, slots: slots(&question, &stretches) };
            self.clone().count_of(view.clone(), question.node, count, timeout)
        };
        let deadline = Instant::now() + self.request_timeout();
        let answers = survey(&view, policy(&view, database, r), &stretches, deadline, ask).await?;
        let mut tallies = vec![Tally::default(); stretches.len()];
        for (question, counts) in answers {
            question.stretches.iter().zip(counts).for_each(|(at, count)| tallies[*at].add(count));
        }
        let sum = add_up(&tallies);
        let mut total = sum.known;
        for at in sum.to_walk {
            total += self.count_by_walking(database, r, stretches[at]).await?;
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

    async fn count_of(
        self: Arc<Self>,
        view: Arc<View>,
        node: u16,
        count: Count,
        timeout: Duration,
    ) -> Option<Vec<u64>> {
        let Some(link) = &view.nodes[usize::from(node)].link else { return self.count_own(count).await };
        let runs = count.slots.len();
        let answer = link.ask(count.into_body(), timeout).await.ok()?;
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
