//! What this node does for other nodes: the receiving end of the peer links.

use super::Coordinator;
use crate::causality::NodeId;
use crate::message::control::Control;
use crate::message::data::{Count, read_requests};
use crate::message::data_plane::{CONTROL, DATA, Question};
use crate::message::forward;
use crate::peer::handshake::Hello;
use crate::peer::listener::{Answer, Service};
use bytes::Bytes;
use std::sync::Arc;

/// The receiving end of the peer links. Control messages go to membership.
pub struct Desk(pub Arc<Coordinator>);

impl Service for Desk {
    fn call(&self, from: NodeId, body: Bytes, answer: Answer) {
        match body.first() {
            Some(&DATA) if body.len() >= 2 => self.data(from, body, answer),
            Some(&CONTROL) => self.control(from, &body, Box::new(|reply| answer.send(reply))),
            // A frame this version does not know: no answer, the asker's deadline speaks.
            _ => tracing::warn!(%from, "a peer sent a frame of an unknown kind; it is ignored"),
        }
    }

    fn tell(&self, from: NodeId, body: Bytes) {
        if body.first() == Some(&CONTROL) {
            self.control(from, &body, Box::new(drop));
        }
    }

    fn greeted(&self, hello: &Hello) {
        self.0.membership.greeted(hello.node_id);
    }
}

impl Desk {
    fn control(&self, from: NodeId, body: &[u8], answer: crate::membership::Answer) {
        match Control::decode(body) {
            Ok(message) => self.0.membership.handle(from, message, answer),
            Err(error) => tracing::warn!(%from, %error, "a peer's control message could not be read; it is ignored"),
        }
    }

    fn data(&self, from: NodeId, body: Bytes, answer: Answer) {
        let coordinator = self.0.clone();
        let rest = body.slice(2..);
        let malformed = match Question::from_byte(body[1]) {
            Some(Question::Replicate) => read_requests(&rest).map(|requests| {
                let policies = coordinator.view().policies;
                coordinator.replica.serve(requests, &policies, move |reply| answer.send(reply));
            }),
            Some(Question::Forward) => forward::read_request(&rest).map(|operations| {
                tokio::spawn(async move {
                    answer.send(forward::answer_body(&coordinator.run_here(operations).await));
                });
            }),
            Some(Question::Count) => Count::read(&rest).map(|count| {
                tokio::spawn(async move {
                    if let Ok(total) = coordinator.count_own(count).await {
                        answer.send(total.to_le_bytes().to_vec());
                    }
                });
            }),
            None => Err(crate::codec::Damaged::Malformed("question")),
        };
        if let Err(damage) = malformed {
            tracing::warn!(%from, %damage, "a peer's frame could not be read; it is ignored");
        }
    }
}
