//! TIME and DBSIZE.

use super::step::Step;
use super::{Asked, done, failure};
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::time::{SystemTime, UNIX_EPOCH};

/// `TIME`
pub fn time(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    done(Reply::Array(vec![Reply::text(now.as_secs().to_string()), Reply::text(now.subsec_micros().to_string())]))
}

/// `DBSIZE`: the keys of the session's database in the whole cluster.
pub fn dbsize(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let (coordinator, database) = (asked.server.coordinator.clone(), asked.session.database);
    Step::Wait(Box::pin(async move {
        match coordinator.count(database).await {
            Ok(count) => Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX)),
            Err(failed) => failure::reply_to_read(failed),
        }
    }))
}
