//! Asking about stretches of the ring, not about a key: each stretch is asked of R of those who keep it.
//!
//! # Contract
//! - Who is asked, who stands in, and when it is enough or lost, is [`Get`]'s to say, for each stretch: as for a read.
//! - One question to each node for all stretches it is asked about; one who fails is replaced for each of them.
//! - What homes and fallbacks say is kept apart: a node that is both is asked twice.

use super::place::{candidates, typical_us};
use crate::causality::Hlc;
use crate::key::Slots;
use crate::membership::view::View;
use crate::message::operation::Failure;
use crate::policy::Policy;
use crate::quorum::Verdict;
use crate::quorum::get::{Asks, Get, Wanted, quickest_first};
use crate::walk::cover::Stretch;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What one node is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The node.
    pub node: u16,
    /// Whether it is asked as a fallback.
    pub lent: bool,
    /// Which of the stretches, in order.
    pub stretches: Vec<usize>,
    /// How long it may take.
    pub timeout: Duration,
}

impl Question {
    /// The slots it is about.
    pub fn slots(&self, stretches: &[Stretch]) -> Vec<Slots> {
        self.stretches.iter().map(|at| stretches[*at].slots).collect()
    }
}

/// The reads of a database: its policy, with another R if one was asked for.
pub fn policy(view: &View, database: u8, r: Option<u8>) -> Policy {
    let policy = view.policies[usize::from(database)];
    Policy { r: r.unwrap_or(policy.r).min(policy.n), ..policy }
}

/// Asks about each stretch until R have answered; `ask` gives nothing when the node refused or failed. The answers come
/// with their questions.
pub async fn survey<A, F>(
    view: &View,
    policy: Policy,
    stretches: &[Stretch],
    deadline: Instant,
    ask: impl Fn(Question) -> F,
) -> Result<Vec<(Question, A)>, Failure>
where
    A: Send + 'static,
    F: Future<Output = Option<A>> + Send + 'static,
{
    let mut gets = Vec::with_capacity(stretches.len());
    let mut open = Open::default();
    for (at, stretch) in stretches.iter().enumerate() {
        let (get, asks) = start(view, policy, stretch)?;
        open.add(at, &get, &asks);
        gets.push(get);
    }
    let mut asked = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        for ((node, lent), stretches) in std::mem::take(&mut open.0) {
            let left = deadline.saturating_duration_since(Instant::now());
            // Leave time to turn to another node, if there is one.
            let hurry = stretches.iter().any(|at| gets[*at].has_spare());
            let question = Question { node, lent, stretches, timeout: if hurry { left * 2 / 5 } else { left } };
            let answer = ask(question.clone());
            asked.spawn(async move { (question, answer.await) });
        }
        match asked.join_next().await {
            Some(Ok((question, Some(answer)))) => {
                question.stretches.iter().for_each(|at| gets[*at].counted(question.node));
                answers.push((question, answer));
            }
            Some(Ok((question, None))) => {
                for at in question.stretches {
                    let asks = gets[at].failed(question.node);
                    open.add(at, &gets[at], &asks);
                }
            }
            // A task that broke off: what it asked for stays unanswered.
            Some(Err(_)) => {}
            None => break,
        }
    }
    match gets.iter().find(|get| get.verdict() != Verdict::Won) {
        Some(lost) => Err(Failure::ReadShort { answered: lost.answers(), needed: lost.needed() }),
        None => Ok(answers),
    }
}

/// Whom to ask, and about which stretches, by node and whether it is asked as a fallback.
#[derive(Default)]
struct Open(BTreeMap<(u16, bool), Vec<usize>>);

impl Open {
    fn add(&mut self, stretch: usize, get: &Get, asks: &Asks) {
        for node in asks {
            self.0.entry((*node, !get.is_home(*node))).or_default().push(stretch);
        }
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
