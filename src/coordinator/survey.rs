//! Asking about stretches of the ring, not about a key: the hands and feet of [`crate::walk::survey`].

use super::place::{candidates, typical_us};
use crate::causality::Hlc;
use crate::key::Slots;
use crate::membership::view::View;
use crate::message::operation::Failure;
use crate::policy::Policy;
use crate::quorum::get::{Asks, Get, Wanted, quickest_first};
use crate::walk::cover::Stretch;
use crate::walk::survey::{Question, Survey};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The slots that a question is about.
pub fn slots(question: &Question, stretches: &[Stretch]) -> Vec<Slots> {
    question.stretches.iter().map(|at| stretches[*at].slots).collect()
}

/// The reads of a database: its policy, with another R if one was asked for.
pub fn policy(view: &View, database: u8, r: Option<u8>) -> Policy {
    let policy = view.policies[usize::from(database)];
    Policy { r: r.unwrap_or(policy.r).min(policy.n), ..policy }
}

/// Asks about each stretch until R have answered. `ask` puts a question to its node, which may take so long, and gives nothing
/// when that refused or failed. The answers come with their questions.
pub async fn survey<A, F>(
    view: &View,
    policy: Policy,
    stretches: &[Stretch],
    deadline: Instant,
    ask: impl Fn(Question, Duration) -> F,
) -> Result<Vec<(Question, A)>, Failure>
where
    A: Send + 'static,
    F: Future<Output = Option<A>> + Send + 'static,
{
    let mut survey = Survey::default();
    for stretch in stretches {
        survey.add(start(view, policy, stretch)?);
    }
    let mut asked = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        for question in survey.questions() {
            let left = deadline.saturating_duration_since(Instant::now());
            // Leave time to turn to another node, if there is one.
            let timeout = if question.has_spare { left * 2 / 5 } else { left };
            let answer = ask(question.clone(), timeout);
            asked.spawn(async move { (question, answer.await) });
        }
        match asked.join_next().await {
            Some(Ok((question, Some(answer)))) => {
                survey.answered(&question);
                answers.push((question, answer));
            }
            Some(Ok((question, None))) => survey.failed(&question),
            // A task that broke off: what it asked for stays unanswered.
            Some(Err(_)) => {}
            None => break,
        }
    }
    match survey.missed() {
        Some((answered, needed)) => Err(Failure::ReadShort { answered, needed }),
        None => Ok(answers),
    }
}

fn start(view: &View, policy: Policy, stretch: &Stretch) -> Result<(Get, Asks), Failure> {
    let reachable = |node: u16| usize::from(node) == view.me || view.nodes[usize::from(node)].is_reachable();
    let mut candidates = candidates(view, stretch.partition, policy.n, reachable);
    let me = view.me as u16;
    quickest_first(&mut candidates, me, |node| typical_us(view, node));
    // Nothing is merged by it, so the floor does not matter.
    let wanted = Wanted { n: policy.n, r: policy.r, sloppy: policy.sloppy, conflict: policy.conflict, floor: Hlc(0) };
    Get::start(me, candidates, wanted)
        .map_err(|few| Failure::NoReplicas { reachable: few.reachable, needed: few.needed })
}
