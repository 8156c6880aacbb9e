//! TIME and ROLE.

use super::step::Step;
use super::{Asked, done};
use crate::resp::reply::Reply;
use bytes::Bytes;
use std::time::{SystemTime, UNIX_EPOCH};

/// `TIME`
pub fn time(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    done(Reply::Array(vec![Reply::text(now.as_secs().to_string()), Reply::text(now.subsec_micros().to_string())]))
}

/// `ROLE`: every node is a master without replicas; there is no stream of writes with an offset.
pub fn role(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Array(vec![Reply::text("master"), Reply::Integer(0), Reply::Array(vec![])]))
}
