//! The caretaker's counter: what other nodes ask, and what they are told.

use crate::causality::NodeId;
use crate::membership::driver::Driver;
use crate::membership::{Answer, spreading};
use crate::message::control::{Control, JoinRequest, Refusal};
use crate::replica::clock::wall_ms;

/// Answers a request that cannot be carried out; messages that want no answer get none.
pub(super) fn answer_refused(message: &Control, answer: Answer, refusal: Refusal) {
    match message {
        Control::Join(_) => answer(Control::JoinAnswer(Err(refusal)).encode()),
        Control::Swim(_) => {}
        _ => answer(Control::Refused(refusal).encode()),
    }
}

impl Driver {
    pub(super) async fn message(&mut self, from: NodeId, message: Control, answer: Answer) {
        self.notice(from);
        let Some(state) = &self.state else {
            return match message {
                Control::Survey => answer(Control::Holding((self.hands.holds_data)()).encode()),
                other => answer_refused(&other, answer, Refusal::NoClusterYet),
            };
        };
        let reply = match message {
            Control::Join(request) => return self.asked_to_join(from, request, answer).await,
            Control::Swim(packet) => {
                if state.members.contains_key(&from) {
                    let effects = self.detector.handle_data(&packet);
                    self.effect(effects);
                }
                return;
            }
            Control::Digest(theirs) if theirs.cluster_id != state.cluster_id => {
                Control::Refused(Refusal::OtherCluster { ours: state.cluster_id, theirs: theirs.cluster_id })
            }
            Control::Digest(theirs) if theirs == state.summary() => Control::Same,
            Control::Digest(_) | Control::Pull => Control::State(state.encode()),
            Control::SetState(bytes) => match self.merge(Some(from), &bytes).await {
                Ok(()) => self.state.as_ref().map_or(Control::Same, |state| Control::Taken(state.summary())),
                Err(refusal) => {
                    self.mention(&refusal);
                    Control::Refused(refusal)
                }
            },
            Control::Survey => Control::Holding((self.hands.holds_data)()),
            Control::Leaving(life) => {
                if let Some(neighbour) = self.neighbours.get(&from) {
                    neighbour.health.leaves(life);
                }
                Control::Same
            }
            Control::Ping => Control::Pong,
            Control::Clock => Control::ClockShows(wall_ms()),
            Control::Reach(databases) => Control::Reached((self.hands.reached)(databases)),
            other => Control::Refused(Refusal::Malformed(format!("an answer without a question: {}", name(&other)))),
        };
        answer(reply.encode());
    }

    /// Who speaks to us can be spoken to: a link that is waiting to try again should try now.
    fn notice(&self, from: NodeId) {
        if let Some(neighbour) = self.neighbours.get(&from).filter(|neighbour| !neighbour.health.is_link_up()) {
            neighbour.link.nudge();
        }
    }

    /// A member that returns is let in at once; for a stranger the others are asked first whether they hold data.
    async fn asked_to_join(&mut self, from: NodeId, request: JoinRequest, answer: Answer) {
        let Some(state) = &self.state else {
            return answer(Control::JoinAnswer(Err(Refusal::NoClusterYet)).encode());
        };
        let holds_data = (self.hands.holds_data)();
        let tried = if from == request.id {
            state.clone().admit(&request, holds_data)
        } else {
            Err(Refusal::Malformed("a request in the name of another node".to_owned()))
        };
        match tried {
            Err(refusal) => answer(Control::JoinAnswer(Err(refusal)).encode()),
            Ok(_) if state.is_stranger(&request) => {
                let others = self.neighbours.iter().cloned().collect();
                tokio::spawn(spreading::survey(others, request, answer, self.membership.clone()));
            }
            Ok(_) => {
                let outcome = self.admit(&request, holds_data).await;
                answer(Control::JoinAnswer(outcome).encode());
            }
        }
    }
}

fn name(message: &Control) -> &'static str {
    match message {
        Control::JoinAnswer(_) => "join answer",
        Control::Same => "same",
        Control::State(_) => "state",
        Control::Taken(_) => "taken",
        Control::Pong => "pong",
        Control::ClockShows(_) => "clock",
        Control::Holding(_) => "holding",
        Control::Refused(_) => "refused",
        Control::Reached(_) => "reached",
        _ => "request",
    }
}
