//! Errands to other members that the driver does not wait for.

use crate::membership::neighbours::Neighbour;
use crate::membership::{Answer, Command, Done, Membership, NotDone};
use crate::message::control::{Control, JoinRequest, Refusal, Summary};
use crate::peer::link::{CallError, Link};
use crate::replica::clock::NodeClock;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long a member may take to compare, or to save what it was sent.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a member may take to say whether it holds data.
const SURVEY_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a member may take to answer that it knows that this node is about to stop.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(300);

/// How long to wait for a link that is not up yet before looking again.
const LINK_PAUSE: Duration = Duration::from_millis(10);

pub(super) async fn ask(link: &Link, question: Control, limit: Duration) -> Result<Control, String> {
    let answer = link.ask(question.encode(), limit).await.map_err(|error| error.to_string())?;
    Control::decode(&answer).map_err(|error| error.to_string())
}

/// Compares what is known here with what a member knows, and takes over its state when that differs.
pub(super) async fn compare(member: Neighbour, ours: Summary, membership: Weak<Membership>) {
    let asked = Instant::now();
    let answer = ask(&member.link, Control::Digest(ours), TIMEOUT).await;
    if answer.is_ok() {
        // Also of a member that no read goes to, because it was slow, is known how fast it is now.
        member.health.heard(asked.elapsed());
    }
    let command = match answer {
        Ok(Control::State(bytes)) => Command::Merge(Some(member.id), bytes),
        Ok(Control::Refused(refusal @ Refusal::OtherCluster { .. })) => Command::Foreign(refusal),
        Ok(Control::Same) => {
            if let Some(membership) = membership.upgrade() {
                membership.compared.send_replace(true);
            }
            return;
        }
        // No answer: the next comparison is a second away.
        _ => return,
    };
    if let Some(membership) = membership.upgrade() {
        // An error means that the node is stopping.
        drop(membership.commands.send(command).await);
    }
}

/// Looks at a member's clock. No answer says nothing.
pub(super) async fn look_at_clock(member: Neighbour, clock: Arc<NodeClock>) {
    let asked = Instant::now();
    if let Ok(Control::ClockShows(wall_ms)) = ask(&member.link, Control::Clock, TIMEOUT).await {
        let took_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        clock.told(member.id, wall_ms, took_ms);
    }
}

/// Sends a state to members. Who misses it hears of it when digests are compared.
pub(super) async fn push(members: Vec<Neighbour>, state: Vec<u8>) {
    drop(send_all(members, state).await);
}

/// Sends a state to members and reports whether all have saved it.
pub(super) async fn confirm(members: Vec<Neighbour>, state: Vec<u8>, done: oneshot::Sender<Result<(), String>>) {
    let failed = send_all(members, state).await;
    let outcome = if failed.is_empty() {
        Ok(())
    } else {
        let failed = failed.join("; ");
        Err(format!(
            "it is set and saved on this node and will spread, but not all members have confirmed it yet: {failed}"
        ))
    };
    // Whoever asked may have gone away meanwhile.
    drop(done.send(outcome));
}

/// Has members save a state that is saved here, and tells whoever asked.
pub(super) async fn spread(members: Vec<Neighbour>, state: Vec<u8>, done: Done) {
    let (told, hear) = oneshot::channel();
    confirm(members, state, told).await;
    let outcome = hear.await.unwrap_or_else(|_| Err("the node is stopping".to_owned()));
    // Whoever asked may have gone away meanwhile.
    drop(done.send(outcome.map_err(NotDone::NotEverywhere)));
}

/// Tells members that this node is about to stop; who does not answer in time finds out when it has stopped.
pub(super) async fn take_leave(members: Vec<Neighbour>, message: Control, done: oneshot::Sender<()>) {
    let mut tasks = JoinSet::new();
    for Neighbour { link, .. } in members {
        let message = message.clone();
        tasks.spawn(async move { drop(ask(&link, message, LEAVE_TIMEOUT).await) });
    }
    tasks.join_all().await;
    // Whoever stops may have stopped waiting.
    let _ = done.send(());
}

/// Gives a sentence for each member that did not take the state.
async fn send_all(members: Vec<Neighbour>, state: Vec<u8>) -> Vec<String> {
    let mut tasks = JoinSet::new();
    for Neighbour { id, link, .. } in members {
        let question = Control::SetState(state.clone());
        tasks.spawn(async move {
            match ask(&link, question, TIMEOUT).await {
                Ok(Control::Taken(_)) => None,
                Ok(Control::Refused(refusal)) => Some(format!("{id}: {refusal}")),
                Ok(_) => Some(format!("{id}: an answer that does not fit the question")),
                Err(sentence) => Some(format!("{id}: {sentence}")),
            }
        });
    }
    tasks.join_all().await.into_iter().flatten().collect()
}

/// Asks whether a member holds data, if need be once its link is up: while a cluster forms, links are young.
async fn ask_soon(link: &Link, question: Control) -> Option<bool> {
    loop {
        match link.ask(question.encode(), SURVEY_TIMEOUT).await {
            Err(CallError::NotSent) => sleep(LINK_PAUSE).await,
            answer => match Control::decode(&answer.ok()?) {
                Ok(Control::Holding(holds_data)) => return Some(holds_data),
                _ => return None,
            },
        }
    }
}

/// Asks all other members whether they hold data, and gives the outcome to the driver.
pub(super) async fn survey(
    members: Vec<Neighbour>,
    request: JoinRequest,
    answer: Answer,
    membership: Weak<Membership>,
) {
    let mut tasks = JoinSet::new();
    for Neighbour { id, link, .. } in members {
        tasks.spawn(async move {
            let answer = timeout(SURVEY_TIMEOUT, ask_soon(&link, Control::Survey)).await;
            answer.ok().flatten().ok_or(Refusal::MemberAway(id))
        });
    }
    let answers: Result<Vec<bool>, Refusal> = tasks.join_all().await.into_iter().collect();
    let holds_data = answers.map(|answers| answers.contains(&true));
    if let Some(membership) = membership.upgrade() {
        // An error means that the node is stopping; the asker's call then ends with the link.
        drop(membership.commands.send(Command::Surveyed { request, holds_data, answer }).await);
    }
}
