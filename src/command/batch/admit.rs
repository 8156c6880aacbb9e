//! Who is let through to a handler, and what the others are told.
//!
//! Contract: what is refused, and in which order reasons are looked for, is as in Redis: a name that nobody has, a wrong
//! number of words, a login that is missing, a command that may not stand in a transaction.

use crate::command::arguments::wrong_number_of_arguments;
use crate::command::table::{self, Entry, Found, flag};
use crate::command::{monitor, pubsub, text};
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use crate::session::Session;
use bytes::Bytes;

/// As many bytes of an unknown command's arguments are shown.
const SHOWN_BYTES: usize = 128;

/// Lets a request through to its handler, or says in Redis's words why not. `child`: it was queued, and let through then;
/// a name and a number of words it still needs.
pub fn admit(
    found: Option<&'static Entry>,
    words: &[Bytes],
    session: &Session,
    child: bool,
) -> Result<table::Handler, Reply> {
    let Some(entry) = found else { return Err(Reply::error(not_found(words))) };
    let handler = entry.command.run.filter(|_| entry.command.takes(words.len()));
    let Some(handler) = handler else { return Err(wrong_number_of_arguments(&entry.name)) };
    if child {
        return Ok(handler);
    }
    if !session.authenticated && !entry.command.is(flag::NO_AUTH) {
        return Err(Reply::error("NOAUTH Authentication required."));
    }
    if session.transaction.is_some() && entry.command.is(flag::NO_MULTI) {
        return Err(Reply::error("ERR Command not allowed inside a transaction"));
    }
    if session.is_subscribed() && session.protocol == Protocol::Resp2 && !pubsub::is_for_subscribers(&entry.name) {
        return Err(pubsub::not_for_subscribers(&entry.name));
    }
    if session.is_monitor && monitor::touches_keys(entry) {
        return Err(Reply::error(monitor::NO_KEYS));
    }
    Ok(handler)
}

/// What C would print of a word: all before its first NUL.
fn printed(word: &[u8]) -> &[u8] {
    word.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The error for words that name nothing.
fn not_found(words: &[Bytes]) -> String {
    let first = |word: &Bytes| text(printed(&word[..word.len().min(SHOWN_BYTES)])).into_owned();
    if let Found::NoSubcommand(container) = table::find(words) {
        let name = container.name.to_uppercase();
        return format!("ERR unknown subcommand '{}'. Try {name} HELP.", first(&words[1]));
    }
    let mut shown = String::new();
    for word in &words[1..] {
        if shown.len() >= SHOWN_BYTES {
            break;
        }
        shown.push_str(&format!("'{}' ", text(printed(&word[..word.len().min(SHOWN_BYTES - shown.len())]))));
    }
    format!("ERR unknown command '{}', with args beginning with: {shown}", first(&words[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clients::Clients;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn refusal(text: &str, authenticated: bool) -> String {
        refusal_to(&stranger(authenticated), text)
    }

    fn stranger(authenticated: bool) -> Session {
        Session::new(Clients::new().enter(1, "a:1".into(), "b:2".into(), 3).unwrap(), authenticated)
    }

    fn refusal_to(session: &Session, text: &str) -> String {
        let words = words(text);
        let found = match table::find(&words) {
            Found::Command(entry) => Some(entry),
            _ => None,
        };
        match admit(found, &words, session, false) {
            Err(Reply::Error(text)) => text,
            Err(other) => panic!("{other:?}"),
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn refusals_are_redis_s() {
        assert_eq!(refusal("foo a b", true), "ERR unknown command 'foo', with args beginning with: 'a' 'b' ");
        assert_eq!(refusal("FOO", true), "ERR unknown command 'FOO', with args beginning with: ");
        assert_eq!(refusal("client foo", true), "ERR unknown subcommand 'foo'. Try CLIENT HELP.");
        assert_eq!(
            refusal("CLIENT MAINT_NOTIFICATIONS ON", true),
            "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."
        );
        assert_eq!(refusal("GET", true), "ERR wrong number of arguments for 'get' command");
        assert_eq!(refusal("get a b", true), "ERR wrong number of arguments for 'get' command");
        assert_eq!(refusal("CLIENT", true), "ERR wrong number of arguments for 'client' command");
        assert_eq!(refusal("CLIENT setname", true), "ERR wrong number of arguments for 'client|setname' command");
        assert_eq!(refusal("get a", true), "");
    }

    #[test]
    fn long_arguments_are_cut_where_redis_cuts_them() {
        let long = "a".repeat(200);
        let expected = format!("ERR unknown command 'foo', with args beginning with: '{}' ", "a".repeat(128));
        assert_eq!(refusal(&format!("foo {long} b"), true), expected);
    }

    #[test]
    fn subscribers_of_resp2_only_subscribe_and_leave() {
        let mut session = stranger(true);
        session.subscriptions = [0, 0, 1];
        let context = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";
        assert_eq!(refusal_to(&session, "GET a"), format!("ERR Can't execute 'get': {context}"));
        assert_eq!(refusal_to(&session, "client ID"), format!("ERR Can't execute 'client|id': {context}"));
        assert_eq!(refusal_to(&session, "get"), "ERR wrong number of arguments for 'get' command");
        for allowed in ["ping", "SUBSCRIBE a", "punsubscribe", "ssubscribe a", "quit", "reset"] {
            assert_eq!(refusal_to(&session, allowed), "", "{allowed}");
        }
        session.protocol = Protocol::Resp3;
        assert_eq!(refusal_to(&session, "get a"), "");
    }

    #[test]
    fn strangers_may_only_log_in_and_leave() {
        assert_eq!(refusal("get a", false), "NOAUTH Authentication required.");
        assert_eq!(refusal("get", false), "ERR wrong number of arguments for 'get' command");
        for open in ["auth x", "hello", "hello 3", "quit", "reset"] {
            assert_eq!(refusal(open, false), "", "{open}");
        }
    }
}
