//! WAIT: how many other replicas have acknowledged what this connection wrote.
//!
//! Contract: inside EXEC it does not wait, and answers with what is known. CLIENT UNBLOCK ends it as if its time were over,
//! or with an error.

use super::arguments::{integer, parse_integer};
use super::step::Step;
use super::{Asked, done};
use crate::resp::reply::Reply;
use crate::session::client::Unblock;
use bytes::Bytes;
use std::time::Duration;

/// `WAIT numreplicas timeout`: the timeout is in milliseconds; 0: for ever.
pub fn wait(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (replicas, timeout) = match read(&words[1], &words[2]) {
        Ok(read) => read,
        Err(reply) => return done(reply),
    };
    let acks = asked.session.acks.clone();
    let view = asked.server.coordinator.view();
    let copies = view.policies[usize::from(asked.session.stored())].n;
    let others = usize::from(copies).min(view.nodes.len()).saturating_sub(1);
    let known = |acknowledged: usize| Reply::Integer(i64::try_from(acknowledged).unwrap_or(i64::MAX));
    if !asked.may_wait {
        return Step::Wait(Box::pin(async move { known(acks.wait(replicas, Some(Duration::ZERO), others).await) }));
    }
    let (server, client) = (asked.server.clone(), asked.session.client.share());
    Step::Wait(Box::pin(async move {
        let _waiting = server.stats.wait();
        let _blocked = client.block();
        let unblocked = tokio::select! {
            biased;
            acknowledged = acks.wait(replicas, timeout, others) => return known(acknowledged),
            how = client.unblocked() => how,
        };
        match unblocked {
            Unblock::TimedOut => known(acks.wait(replicas, Some(Duration::ZERO), others).await),
            Unblock::WithError => Reply::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        }
    }))
}

/// How many replicas, and how long; a negative number of replicas is none.
fn read(replicas: &[u8], timeout: &[u8]) -> Result<(usize, Option<Duration>), Reply> {
    let replicas = integer(replicas)?;
    match parse_integer(timeout) {
        None => Err(Reply::error("ERR timeout is not an integer or out of range")),
        Some(timeout_ms) if timeout_ms < 0 => Err(Reply::error("ERR timeout is negative")),
        Some(timeout_ms) => {
            let timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms as u64));
            Ok((usize::try_from(replicas).unwrap_or(0), timeout))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_refused_in_redis_s_words() {
        let refused = |a: &str, b: &str| read(a.as_bytes(), b.as_bytes()).unwrap_err();
        assert_eq!(refused("x", "1"), Reply::error("ERR value is not an integer or out of range"));
        assert_eq!(refused("1", "x"), Reply::error("ERR timeout is not an integer or out of range"));
        assert_eq!(refused("1", "-1"), Reply::error("ERR timeout is negative"));
        assert_eq!(read(b"-1", b"0"), Ok((0, None)));
        assert_eq!(read(b"2", b"5"), Ok((2, Some(Duration::from_millis(5)))));
    }
}
