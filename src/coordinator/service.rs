//! What this node does for other nodes: the receiving end of the peer links.

use super::{Coordinator, old};
use crate::causality::NodeId;
use crate::codec::Damaged;
use crate::message::control::{Control, Refusal};
use crate::message::data::{self, read_requests};
use crate::message::data_plane::{CONTROL, DATA, Question};
use crate::message::exchange::ExchangeRequest;
use crate::message::fill::FillRequest;
use crate::message::forward;
use crate::message::keys::{Count, KeysPage, KeysRequest, counts_body};
use crate::message::operation::{Failure, Outcome};
use crate::message::publish::{Published, Survey, surveyed_body};
use crate::peer::handshake::Hello;
use crate::peer::listener::{Answer, Service};
use crate::repair::exchange::serve;
use crate::repair::fill;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// The receiving end of the peer links. It is there before the coordinator, so that a node can recognise itself among
/// its seeds; what comes before [`Desk::open`] gets no answer, and the asker tries again.
#[derive(Default)]
pub struct Desk(OnceLock<Arc<Coordinator>>);

impl Service for Desk {
    fn call(&self, from: NodeId, body: Bytes, answer: Answer) {
        let Some(coordinator) = self.0.get() else { return not_yet(&body, answer) };
        match body.first() {
            Some(&DATA) if body.len() >= 2 => data(coordinator.clone(), from, body, answer),
            Some(&CONTROL) => control(coordinator, from, &body, Box::new(|reply| answer.send(reply))),
            // A frame this version does not know: no answer, the asker's deadline speaks.
            _ => tracing::warn!(%from, "a peer sent a frame of an unknown kind; it is ignored"),
        }
    }

    fn tell(&self, from: NodeId, body: Bytes) {
        if let (Some(coordinator), Some(&CONTROL)) = (self.0.get(), body.first()) {
            control(coordinator, from, &body, Box::new(drop));
        }
    }

    fn greeted(&self, hello: &Hello) {
        if let Some(coordinator) = self.0.get() {
            coordinator.membership.greeted(hello.node_id);
        }
    }
}

impl Desk {
    /// Opens the desk. A second call changes nothing.
    pub fn open(&self, coordinator: Arc<Coordinator>) {
        // An error gives back the coordinator of the second call.
        let _ = self.0.set(coordinator);
    }
}

/// The desk is not open yet. Whoever asks need not wait to hear so: there is no cluster to join here, no copy is read or
/// taken in, and what was forwarded was not begun and can be placed elsewhere.
fn not_yet(body: &Bytes, answer: Answer) {
    if let Ok(Control::Join(_)) = Control::decode(body) {
        return answer.send(Control::JoinAnswer(Err(Refusal::NoClusterYet)).encode());
    }
    let (Some(&DATA), Some(question)) = (body.first(), body.get(1)) else { return };
    let rest = body.slice(2..);
    match Question::from_byte(*question) {
        Some(Question::Replicate) => {
            if let Ok(requests) = read_requests(&rest) {
                let mut reply = Vec::new();
                requests.iter().for_each(|_| data::Answer::Refused(data::Refusal::Filling).encode(&mut reply));
                answer.send(reply);
            }
        }
        Some(Question::Forward) => {
            if let Ok(operations) = forward::read_request(&rest) {
                let refused = vec![Outcome::Failed(Failure::NotHome); operations.len()];
                answer.send(forward::answer_body(&refused));
            }
        }
        // There is nothing to count or list yet.
        Some(Question::Count | Question::Keys) => answer.send(Vec::new()),
        _ => {}
    }
}

fn control(coordinator: &Coordinator, from: NodeId, body: &[u8], answer: crate::membership::Answer) {
    match Control::decode(body) {
        Ok(Control::Report(report)) => coordinator.settler.heard(from, report),
        Ok(message) => coordinator.membership.handle(from, message, answer),
        Err(error) => tracing::warn!(%from, %error, "a peer's control message could not be read; it is ignored"),
    }
}

fn replicate(coordinator: &Arc<Coordinator>, requests: Vec<data::Request>, answer: Answer) {
    let policies = coordinator.view().policies;
    let desk = coordinator.clone();
    let runtime = tokio::runtime::Handle::current();
    coordinator.replica.serve(requests, &policies, move |mut answers, old| {
        if old.is_empty() {
            return answer.send(data::answers_body(&answers));
        }
        let ticket = desk.replica.under_way.ticket();
        runtime.spawn(async move {
            let _ticket = ticket;
            old::judge(desk, &mut answers, old).await;
            answer.send(data::answers_body(&answers));
        });
    });
}

fn data(coordinator: Arc<Coordinator>, from: NodeId, body: Bytes, answer: Answer) {
    let rest = body.slice(2..);
    let read = match Question::from_byte(body[1]) {
        Some(Question::Replicate) => read_requests(&rest).map(|requests| replicate(&coordinator, requests, answer)),
        Some(Question::Forward) => forward::read_request(&rest).map(|operations| {
            // What they have seen was read by the asker: from here on it is under way here.
            let ticket = coordinator.replica.under_way.ticket();
            tokio::spawn(async move {
                let _ticket = ticket;
                answer.send(forward::answer_body(&coordinator.run_here(operations).await));
            });
        }),
        Some(Question::Count) => Count::read(&rest).map(|count| {
            tokio::spawn(async move {
                let counts = coordinator.count_own(count).await;
                answer.send(counts.as_deref().map(counts_body).unwrap_or_default());
            });
        }),
        Some(Question::Keys) => KeysRequest::read(&rest).map(|request| {
            tokio::spawn(async move {
                let page = coordinator.keys_own(request).await;
                answer.send(page.map(KeysPage::into_body).unwrap_or_default());
            });
        }),
        Some(Question::Fill) => FillRequest::read(&rest).map(|request| {
            tokio::spawn(async move {
                let page = fill::serve(&coordinator.membership, coordinator.replica.clone(), request).await;
                if let Some(page) = page {
                    answer.send(page);
                }
            });
        }),
        Some(Question::Exchange) => ExchangeRequest::read(&rest).map(|request| {
            tokio::spawn(async move {
                if let Some(body) = serve::serve(coordinator.replica.clone(), from, request).await {
                    answer.send(body);
                }
            });
        }),
        Some(Question::Durable) => {
            tokio::spawn(async move {
                if coordinator.settler.make_durable(from).await {
                    answer.send(Vec::new());
                }
            });
            Ok(())
        }
        Some(Question::Publish) => Published::read(&rest).map(|published| {
            // On the link's own task, so that messages stay in the order they were sent in.
            answer.send(coordinator.publish_here(&published).to_le_bytes().to_vec());
        }),
        Some(Question::Subscriptions) => Survey::read(&rest).map(|survey| {
            tokio::spawn(async move { answer.send(surveyed_body(&coordinator.survey_here(&survey))) });
        }),
        None => Err(Damaged::Malformed("question")),
    };
    if let Err(damage) = read {
        tracing::warn!(%from, %damage, "a peer's frame could not be read; it is ignored");
    }
}
