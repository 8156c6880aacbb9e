//! CLIENT TRACKING and its kin: telling clients when what they have read is stale.
//!
//! Contract: that is not done here, and said so: `TRACKING ON` is an error, everything else answers as Redis does for a
//! connection that is not tracked. A node learns of other coordinators' writes late or, for keys it is no home of, not at
//! all, so a client that trusted its messages would keep stale values for good.

use crate::command::arguments::{integer, is, syntax_error};
use crate::command::step::Step;
use crate::command::{Asked, done};
use crate::resp::reply::Reply;
use bytes::Bytes;

/// What `TRACKING ON` answers.
const REFUSED: &str = "ERR CLIENT TRACKING is not to be had: nodes cannot tell in time which keys others have changed; \
                       nothing was changed; cache with an expiry instead";

/// `CLIENT TRACKING ON|OFF [REDIRECT client-id] [PREFIX prefix …] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub fn tracking(asked: &mut Asked, words: &[Bytes]) -> Step {
    let is_known = |id: i64| asked.server.clients.all().iter().any(|client| client.id as i64 == id);
    done(match options(&words[3..], is_known) {
        Err(refusal) => refusal,
        Ok(()) if is(&words[2], "OFF") => Reply::Ok,
        Ok(()) if is(&words[2], "ON") => Reply::error(REFUSED),
        Ok(()) => syntax_error(),
    })
}

/// Reads the options, though nothing comes of them: what Redis would not understand is refused in its words.
fn options(words: &[Bytes], is_known: impl Fn(i64) -> bool) -> Result<(), Reply> {
    let (mut at, mut redirect) = (0, 0);
    while let Some(option) = words.get(at) {
        at += match words.get(at + 1) {
            _ if ["BCAST", "OPTIN", "OPTOUT", "NOLOOP"].iter().any(|flag| is(option, flag)) => 1,
            Some(_) if is(option, "PREFIX") => 2,
            Some(_) if is(option, "REDIRECT") && redirect != 0 => {
                return Err(Reply::error("ERR A client can only redirect to a single other client"));
            }
            Some(id) if is(option, "REDIRECT") => {
                redirect = integer(id)?;
                if !is_known(redirect) {
                    return Err(Reply::error("ERR The client ID you want redirect to does not exist"));
                }
                2
            }
            _ => return Err(syntax_error()),
        };
    }
    Ok(())
}

/// `CLIENT CACHING YES|NO`
pub fn caching(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
    ))
}

/// `CLIENT GETREDIR`: -1, nothing is redirected.
pub fn getredir(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Integer(-1))
}

/// `CLIENT TRACKINGINFO`
pub fn trackinginfo(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Map(vec![
        (Reply::text("flags"), Reply::Set(vec![Reply::text("off")])),
        (Reply::text("redirect"), Reply::Integer(-1)),
        (Reply::text("prefixes"), Reply::Array(Vec::new())),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::words;

    #[test]
    fn options_are_read_before_they_are_refused() {
        let read = |text: &str| options(&words(text), |id| id == 5);
        assert_eq!(read("bcast OPTIN optout NoLoop prefix a prefix b redirect 5"), Ok(()));
        assert_eq!(read("prefix"), Err(syntax_error()));
        assert_eq!(read("foo"), Err(syntax_error()));
        let refused = |text: &str| match read(text) {
            Err(Reply::Error(line)) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("redirect 6"), "ERR The client ID you want redirect to does not exist");
        assert_eq!(refused("redirect x"), "ERR value is not an integer or out of range");
        assert_eq!(refused("redirect 5 redirect 5"), "ERR A client can only redirect to a single other client");
    }
}
