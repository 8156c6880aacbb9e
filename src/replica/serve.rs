//! Answering a coordinator's frame: all its reads and writes in order, one storage batch, one answer.

use super::{Replica, refusal};
use crate::message::data::{Answer, Refusal, Request};
use crate::object::Object;
use crate::policy::Policy;
use crate::storage::batch::Batch;
use std::sync::Arc;

impl Replica {
    /// Serves the requests of one frame and gives the answers, encoded, to `reply` once its writes are committed; on the
    /// caller's thread when there is nothing to wait for, else on the store's.
    pub fn serve(
        self: &Arc<Self>,
        requests: Vec<Request>,
        policies: &[Policy; 16],
        reply: impl FnOnce(Vec<u8>) + Send + 'static,
    ) {
        let mut batch = Batch::new();
        let mut sync = false;
        let mut answers: Vec<Answer> = Vec::with_capacity(requests.len());
        for request in requests {
            sync |= matches!(request, Request::Write { sync: true, .. });
            answers.push(self.serve_one(&mut batch, request, policies));
        }
        if batch.is_empty() && !sync {
            return reply(encode(&answers));
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
            reply(encode(&answers));
        };
        self.submit(batch, sync, Box::new(done));
    }

    fn serve_one(&self, batch: &mut Batch, request: Request, policies: &[Policy; 16]) -> Answer {
        match request {
            Request::Read { key, known } => match self.read_as_home(&key) {
                Ok(object) if object.digest(&key) == known => Answer::Same,
                Ok(object) => Answer::Object(object),
                Err(refusal) => Answer::Refused(refusal),
            },
            Request::Write { key, object, home, .. } => {
                let Ok(object) = Object::decode(&object) else { return Answer::Refused(Refusal::Malformed) };
                let conflict = policies[usize::from(key.database())].conflict;
                match self.merge(batch, &key, object, conflict, home) {
                    Ok(()) => Answer::Applied { durable: false },
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
        }
    }
}

fn encode(answers: &[Answer]) -> Vec<u8> {
    let mut body = Vec::new();
    answers.iter().for_each(|answer| answer.encode(&mut body));
    body
}
