//! Asking the seeds: the hands of the [`Forming`] machine, and the way back for a node whose neighbours have all moved.

use crate::gossip::forming::{Effect, Forming, SeedAnswer};
use crate::gossip::state::address;
use crate::membership::whereabouts::Whereabouts;
use crate::membership::{Command, Membership};
use crate::message::control::{Control, JoinRequest, Refusal};
use crate::peer::greet::{AskError, DialError, ask_address};
use crate::peer::handshake::{self, Discord};
use crate::peer::settings::PeerSettings;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How long a seed may take to answer; it asks its own neighbours first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest pause between two rounds of a member that finds nobody.
const RETURN_PAUSE_MAX: Duration = Duration::from_secs(30);

/// What is needed to ask.
pub(super) struct Asking {
    pub(super) peers: Arc<PeerSettings>,
    pub(super) seeds: Vec<String>,
    pub(super) me: JoinRequest,
    pub(super) membership: Weak<Membership>,
}

impl Asking {
    /// Looks for a cluster until this node is in one.
    pub(super) async fn find_cluster(self) {
        let mut forming = Forming::new(&self.seeds, &address(&self.me.host, self.me.cluster_port));
        let mut effect = forming.start();
        let mut mentioned = BTreeSet::new();
        loop {
            let outcome = match effect {
                Effect::Ask { after_ms } => {
                    sleep(Duration::from_millis(after_ms)).await;
                    effect = self.round(&mut forming, &mut mentioned).await;
                    continue;
                }
                Effect::Found => self.tell(Command::Found).await,
                Effect::Join(state) => self.tell(|done| Command::Join(state, done)).await,
            };
            match outcome {
                Some(Ok(())) | None => return,
                Some(Err(sentence)) if mentioned.insert(sentence.clone()) => tracing::error!("{sentence}"),
                Some(Err(_)) => {}
            }
            sleep(ANSWER_TIMEOUT).await;
            effect = forming.start();
        }
    }

    /// Asks each seed once. An outcome that repeats is mentioned once, not in every round.
    async fn round(&self, forming: &mut Forming, mentioned: &mut BTreeSet<String>) -> Effect {
        loop {
            for seed in &self.seeds {
                let (answer, sentence) = self.ask(seed).await;
                // One's own name among the seeds is as it should be.
                if !matches!(answer, SeedAnswer::Myself) && mentioned.insert(sentence.clone()) {
                    tracing::info!(seed, "asked to join: {sentence}");
                }
                if let Some(effect) = forming.answered(answer) {
                    return effect;
                }
            }
        }
    }

    /// Tells seeds that this member is back, in case nobody is where the saved list says, or the seeds belong to another
    /// cluster by mistake. One round, and more only while nobody can be reached.
    pub(super) async fn return_to_cluster(self) {
        let mut mentioned = BTreeSet::new();
        let mut pause = Duration::from_secs(1);
        loop {
            for seed in &self.seeds {
                let (answer, _) = self.ask(seed).await;
                let command = match answer {
                    SeedAnswer::Admitted(state) => Command::Merge(None, state),
                    SeedAnswer::Refused(refusal) if mentioned.insert(refusal.to_string()) => Command::Foreign(refusal),
                    _ => continue,
                };
                let Some(membership) = self.membership.upgrade() else { return };
                if membership.commands.send(command).await.is_err() {
                    return;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETURN_PAUSE_MAX);
            let Some(membership) = self.membership.upgrade() else { return };
            let view = membership.view();
            if view.nodes.len() == 1 || view.nodes.iter().any(|node| node.link.is_some() && node.is_reachable()) {
                return;
            }
        }
    }

    async fn tell(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Command,
    ) -> Option<Result<(), String>> {
        let (done, outcome) = oneshot::channel();
        self.membership.upgrade()?.commands.send(command(done)).await.ok()?;
        outcome.await.ok()
    }

    /// This node, where it says now that it is.
    fn me_now(&self) -> JoinRequest {
        let Some(membership) = self.membership.upgrade() else { return self.me.clone() };
        let view = membership.view();
        let own = view.own();
        let (host, cluster_port, announced) = (own.host.clone(), own.cluster_port, own.announced.clone());
        Whereabouts { host, cluster_port, announced }.put_into(self.me.clone())
    }

    /// Asks one seed; also says in a sentence what became of it.
    async fn ask(&self, seed: &str) -> (SeedAnswer, String) {
        let question = Control::Join(self.me_now()).encode();
        match ask_address(&self.peers, seed, question, ANSWER_TIMEOUT).await {
            Ok((_, answer)) => read_answer(&answer),
            Err(error) => (classify(&error), error.to_string()),
        }
    }
}

fn read_answer(bytes: &[u8]) -> (SeedAnswer, String) {
    match Control::decode(bytes) {
        Ok(Control::JoinAnswer(Ok(state))) => (SeedAnswer::Admitted(state), "welcome".to_owned()),
        Ok(Control::JoinAnswer(Err(refusal)) | Control::Refused(refusal)) => {
            let sentence = refusal.to_string();
            let answer =
                if refusal == Refusal::NoClusterYet { SeedAnswer::NoClusterYet } else { SeedAnswer::Refused(refusal) };
            (answer, sentence)
        }
        Ok(_) => (SeedAnswer::Stranger, "the answer does not fit the question".to_owned()),
        Err(error) => (SeedAnswer::Stranger, error.to_string()),
    }
}

fn classify(error: &AskError) -> SeedAnswer {
    use handshake::Refusal::SameNode;
    match error {
        AskError::Dial(DialError::Discord(Discord::Ours(SameNode) | Discord::Theirs(SameNode))) => SeedAnswer::Myself,
        AskError::Dial(DialError::Io(_) | DialError::TimedOut) => SeedAnswer::Unreachable,
        // It shook hands, so it is a node of a cluster of this name; whether it has one already is not known.
        AskError::Lost | AskError::Late => SeedAnswer::Stranger,
        AskError::Dial(_) => SeedAnswer::Stranger,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::NodeId;

    #[test]
    fn answers_are_told_apart() {
        let read = |message: Control| read_answer(&message.encode()).0;
        assert_eq!(read(Control::JoinAnswer(Ok(vec![4]))), SeedAnswer::Admitted(vec![4]));
        assert_eq!(read(Control::JoinAnswer(Err(Refusal::NoClusterYet))), SeedAnswer::NoClusterYet);
        assert_eq!(read(Control::JoinAnswer(Err(Refusal::HoldsData))), SeedAnswer::Refused(Refusal::HoldsData));
        assert_eq!(read(Control::Refused(Refusal::Busy)), SeedAnswer::Refused(Refusal::Busy));
        assert_eq!(read(Control::Pong), SeedAnswer::Stranger);
        assert_eq!(read_answer(b"junk").0, SeedAnswer::Stranger);
    }

    #[test]
    fn only_silence_counts_as_nobody() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(&DialError::Io(refused).into()), SeedAnswer::Unreachable);
        assert_eq!(classify(&DialError::TimedOut.into()), SeedAnswer::Unreachable);
        assert_eq!(classify(&AskError::Late), SeedAnswer::Stranger);
        let myself = Discord::Theirs(handshake::Refusal::SameNode);
        assert_eq!(classify(&DialError::Discord(myself).into()), SeedAnswer::Myself);
        let secret = Discord::Ours(handshake::Refusal::Secret);
        assert_eq!(classify(&DialError::Discord(secret).into()), SeedAnswer::Stranger);
        let other = DialError::OtherNode { expected: NodeId([1; 20]), found: NodeId([2; 20]) };
        assert_eq!(classify(&other.into()), SeedAnswer::Stranger);
    }
}
