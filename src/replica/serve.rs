//! Answering a coordinator's frame: all its reads and writes in order, one storage batch, one answer.

use super::{Replica, refusal};
use crate::key::StorageKey;
use crate::message::data::{Answer, Refusal, Request};
use crate::object::Object;
use crate::policy::Policy;
use crate::storage::batch::Batch;
use std::sync::Arc;

/// A write that was not made because its copy may be older than something forgotten here ([`Refusal::Old`]).
#[derive(Clone, Debug, PartialEq)]
pub struct OldCopy {
    /// Which of the frame's requests it is.
    pub at: usize,
    /// The key.
    pub key: StorageKey,
    /// The copy.
    pub object: Object,
    /// Whether it is to be fsynced before it is acknowledged.
    pub sync: bool,
}

impl Replica {
    /// Serves the requests of one frame and gives the answers to `reply` once its writes are committed, with the copies
    /// among them that are still to be judged; on the caller's thread when there is nothing to wait for, else on the
    /// store's.
    pub fn serve(
        self: &Arc<Self>,
        requests: Vec<Request>,
        policies: &[Policy; 16],
        reply: impl FnOnce(Vec<Answer>, Vec<OldCopy>) + Send + 'static,
    ) {
        let mut batch = Batch::new();
        let mut sync = false;
        let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
        let mut old = Vec::new();
        for request in requests {
            sync |= matches!(request, Request::Write { sync: true, .. });
            let answer = self.serve_one(&mut batch, &request, policies);
            if let (Answer::Refused(Refusal::Old), Request::Write { key, object, sync, .. }) = (&answer, request)
                && let Ok(object) = Object::decode(&object)
            {
                old.push(OldCopy { at: answers.len(), key, object, sync });
            }
            answers.push(answer);
        }
        if batch.is_empty() && !sync {
            return reply(answers, old);
        }
        let done = move |result: Result<crate::storage::store::Committed, _>| {
            for answer in &mut answers {
                if let Answer::Applied { durable } = answer {
                    match &result {
                        Ok(committed) => *durable = committed.durable,
                        Err(error) => *answer = Answer::Refused(refusal("storing copies failed", error)),
                    }
                }
            }
            reply(answers, old);
        };
        self.submit(batch, sync, Box::new(done));
    }

    fn serve_one(&self, batch: &mut Batch, request: &Request, policies: &[Policy; 16]) -> Answer {
        match request {
            Request::Read { key, known } => match self.read_as_home(key) {
                Ok(object) if object.digest(key) == *known => Answer::Same,
                Ok(object) => Answer::Object(object),
                Err(refusal) => Answer::Refused(refusal),
            },
            Request::Write { key, object, home, floor, .. } => {
                let Ok(object) = Object::decode(object) else { return Answer::Refused(Refusal::Malformed) };
                let conflict = policies[usize::from(key.database())].conflict;
                match self.merge(batch, key, object, *floor, conflict, *home) {
                    Ok(()) => Answer::Applied { durable: false },
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
        }
    }
}
