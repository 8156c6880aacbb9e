//! How many replicas must answer: for a connection (`DYN.QUORUM`), for a database (`DYN.DATABASE`).
//!
//! A shop has house rules (the database's [`Policy`], the same on every node), and a customer may ask for more or less
//! care for their own orders (the connection's R and W, §4.5). Neither can ask for more copies than are kept.
//!
//! # Contract
//! A setting that contradicts another is refused as a whole, with the two numbers that do not fit, and changes nothing.

use crate::command::Asked;
use crate::command::arguments::{integer, is, parse_integer, quorum, syntax_error};
use crate::command::step::Step;
use crate::key::DATABASES;
use crate::policy::{Conflict, Policy};
use crate::resp::reply::Reply;
use bytes::Bytes;

/// The policy of a stored database as it was set. A cluster with fewer members than N keeps fewer copies until it has grown; a
/// client may ask for R and W up to N all the same, so that what runs on many nodes also runs on one.
pub fn configured(asked: &Asked, database: u8) -> Policy {
    of(&asked.server.coordinator.view().configured, database)
}

/// The policy in force: N, R, W and DW are at most the number of members.
pub fn in_force(asked: &Asked, database: u8) -> Policy {
    of(&asked.server.coordinator.view().policies, database)
}

fn of(policies: &[Policy], database: u8) -> Policy {
    policies.get(usize::from(database)).copied().unwrap_or_default()
}

/// `DYN.QUORUM [R r] [W w]`: sets this connection's quorums for its next commands; 0 or DEFAULT takes the database's
/// again. Without arguments: the quorums in force.
pub fn quorums(asked: &mut Asked, words: &[Bytes]) -> Step {
    let database = asked.session.stored();
    let now = Quorums { r: asked.session.r, w: asked.session.w };
    if words.len() == 1 {
        return Step::Reply(now.shown(&in_force(asked, database)));
    }
    Step::Reply(match now.changed(&words[1..], configured(asked, database).n) {
        Ok(next) => {
            asked.session.r = next.r;
            asked.session.w = next.w;
            Reply::Ok
        }
        Err(reply) => reply,
    })
}

/// A connection's own quorums; none: the database's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Quorums {
    r: Option<u8>,
    w: Option<u8>,
}

impl Quorums {
    fn shown(self, policy: &Policy) -> Reply {
        let number = |quorum: u8| Reply::Integer(quorum.min(policy.n).into());
        Reply::Map(vec![
            (Reply::text("R"), number(self.r.unwrap_or(policy.r))),
            (Reply::text("W"), number(self.w.unwrap_or(policy.w))),
        ])
    }

    fn changed(mut self, words: &[Bytes], copies: u8) -> Result<Quorums, Reply> {
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(syntax_error()) };
            let read = |name| match value {
                value if is(value, "DEFAULT") || parse_integer(value) == Some(0) => Ok(None),
                value => quorum(value, name, copies).map(Some),
            };
            match name {
                name if is(name, "R") => self.r = read("R")?,
                name if is(name, "W") => self.w = read("W")?,
                _ => return Err(syntax_error()),
            }
        }
        Ok(self)
    }
}

/// `DYN.DATABASE index [N n] [R r] [W w] [DW d] [SLOPPY yes|no] [CONFLICT siblings|newest]`: shows a database's policy, or
/// sets it for the whole cluster.
pub fn database(asked: &mut Asked, words: &[Bytes]) -> Step {
    let index = match index(&words[1]) {
        Ok(index) => index,
        Err(reply) => return Step::Reply(reply),
    };
    let stored = asked.session.databases.stored(index);
    let policy = configured(asked, stored);
    if words.len() == 2 {
        return Step::Reply(shown(&policy));
    }
    match changed(policy, &words[2..]) {
        Ok(next) => {
            let set = asked.server.coordinator.set_policy(stored, next);
            Step::Wait(Box::pin(async move { set_answer(index, set.await) }))
        }
        Err(reply) => Step::Reply(reply),
    }
}

fn set_answer(index: u8, set: Result<(), String>) -> Reply {
    match set {
        Ok(()) => Reply::Ok,
        Err(reason) => {
            let reason = reason.replace(char::is_control, " ");
            Reply::error(format!("ERR the policy of database {index} could not be set: {reason}"))
        }
    }
}

fn index(word: &[u8]) -> Result<u8, Reply> {
    let index = u8::try_from(integer(word)?).ok().filter(|index| *index < DATABASES);
    index.ok_or_else(|| Reply::error("ERR DB index is out of range"))
}

fn shown(policy: &Policy) -> Reply {
    let number = |name: &str, value: u8| (Reply::text(name), Reply::Integer(value.into()));
    let text = |name: &str, value: &str| (Reply::text(name), Reply::text(value));
    Reply::Map(vec![
        number("n", policy.n),
        number("r", policy.r),
        number("w", policy.w),
        number("dw", policy.dw),
        text("sloppy", if policy.sloppy { "yes" } else { "no" }),
        text(
            "conflict",
            match policy.conflict {
                Conflict::Siblings => "siblings",
                Conflict::Newest => "newest",
            },
        ),
    ])
}

fn changed(mut policy: Policy, words: &[Bytes]) -> Result<Policy, Reply> {
    for pair in words.chunks(2) {
        let [name, value] = pair else { return Err(syntax_error()) };
        match name {
            name if is(name, "N") => policy.n = count(value)?,
            name if is(name, "R") => policy.r = count(value)?,
            name if is(name, "W") => policy.w = count(value)?,
            name if is(name, "DW") => policy.dw = count(value)?,
            name if is(name, "SLOPPY") => policy.sloppy = one_of(value, [("yes", true), ("no", false)])?,
            name if is(name, "CONFLICT") => {
                policy.conflict = one_of(value, [("siblings", Conflict::Siblings), ("newest", Conflict::Newest)])?;
            }
            _ => return Err(syntax_error()),
        }
    }
    policy.check().map_err(|error| Reply::error(format!("ERR {error}; nothing was changed")))?;
    Ok(policy)
}

fn count(word: &[u8]) -> Result<u8, Reply> {
    u8::try_from(integer(word)?).map_err(|_| Reply::error("ERR value is not an integer or out of range"))
}

fn one_of<T>(word: &[u8], choices: [(&str, T); 2]) -> Result<T, Reply> {
    choices.into_iter().find(|(name, _)| is(word, name)).map(|(_, choice)| choice).ok_or_else(syntax_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::words;

    #[test]
    fn a_connection_sets_one_quorum_or_both_and_takes_them_back() {
        let none = Quorums::default();
        let set = none.changed(&words("r 1"), 3).unwrap();
        assert_eq!(set, Quorums { r: Some(1), w: None });
        let set = set.changed(&words("W 3"), 3).unwrap();
        assert_eq!(set, Quorums { r: Some(1), w: Some(3) });
        assert_eq!(set.changed(&words("W 0 R default"), 3), Ok(none));
    }

    #[test]
    fn a_connection_cannot_ask_for_more_than_is_kept() {
        let none = Quorums::default();
        for text in ["r 4", "w 300", "r -1", "r 1 w 4", "r x"] {
            assert!(
                matches!(none.changed(&words(text), 3), Err(Reply::Error(line)) if line.starts_with("ERR ")),
                "{text}"
            );
        }
        for text in ["r", "r 1 w", "n 1", "1 r"] {
            assert_eq!(none.changed(&words(text), 3), Err(syntax_error()), "{text}");
        }
    }

    #[test]
    fn the_quorums_in_force_are_shown() {
        let number = |name: &str, value| (Reply::text(name), Reply::Integer(value));
        let shown = Quorums { r: Some(1), w: None }.shown(&Policy::default());
        assert_eq!(shown, Reply::Map(vec![number("R", 1), number("W", 2)]));
        let alone = Quorums { r: Some(3), w: None }.shown(&Policy::default().capped(1));
        assert_eq!(alone, Reply::Map(vec![number("R", 1), number("W", 1)]));
    }

    #[test]
    fn a_policy_is_changed_where_it_is_named() {
        let next = changed(Policy::default(), &words("w 3 Sloppy NO conflict newest DW 1 r 1 n 4")).unwrap();
        let expected = Policy { n: 4, r: 1, w: 3, dw: 1, sloppy: false, conflict: Conflict::Newest };
        assert_eq!(next, expected);
        assert_eq!(changed(next, &words("sloppy yes")), Ok(Policy { sloppy: true, ..expected }));
    }

    #[test]
    fn a_policy_that_contradicts_itself_is_refused_as_a_whole() {
        let refused = changed(Policy::default(), &words("n 1"));
        assert_eq!(refused, Err(Reply::error("ERR r (2) must not exceed n (1); nothing was changed")));
        for text in ["n", "n 1 r", "x 1", "sloppy maybe", "conflict oldest"] {
            assert_eq!(changed(Policy::default(), &words(text)), Err(syntax_error()), "{text}");
        }
        for text in ["n 256", "n -1", "w x", "n 0", "dw 3"] {
            assert!(changed(Policy::default(), &words(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn databases_are_numbered_as_select_does() {
        assert_eq!(index(b"15"), Ok(15));
        for text in ["16", "-1", "256"] {
            assert_eq!(index(text.as_bytes()), Err(Reply::error("ERR DB index is out of range")), "{text}");
        }
        assert_eq!(index(b"x"), Err(Reply::error("ERR value is not an integer or out of range")));
    }

    #[test]
    fn a_shown_policy_names_every_setting() {
        let Reply::Map(entries) = shown(&Policy::default()) else { panic!("no map") };
        let names: Vec<Reply> = entries.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, ["n", "r", "w", "dw", "sloppy", "conflict"].map(Reply::text));
    }

    #[test]
    fn a_policy_that_the_cluster_did_not_take_is_one_line() {
        assert_eq!(set_answer(3, Ok(())), Reply::Ok);
        let line = "ERR the policy of database 3 could not be set: no majority";
        assert_eq!(set_answer(3, Err("no\nmajority".to_owned())), Reply::error(line));
    }
}
