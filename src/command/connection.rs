//! PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET: the visitor and the door.
//!
//! Contract: error texts are Redis's. A wrong password costs as much time as a right one. A refused HELLO changes nothing
//! but, as in Redis, the login that came before the refusal in the same command.

use super::arguments::{database, integer, is, syntax_error, wrong_number_of_arguments};
use super::step::Step;
use super::{Asked, REDIS_VERSION, done, pubsub};
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use crate::session::{Face, Session};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure \
                           your configuration is correct?";
const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const HELLO_UNAUTHENTICATED: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                                     HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
/// What a name with a space or control character is told.
pub const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

/// `PING [message]`
pub fn ping(asked: &mut Asked, words: &[Bytes]) -> Step {
    if asked.session.is_subscribed() && asked.session.protocol == Protocol::Resp2 {
        return done(pubsub::ping(words));
    }
    done(match words {
        [_] => Reply::Simple("PONG"),
        [_, message] => Reply::Bulk(message.clone()),
        _ => wrong_number_of_arguments("ping"),
    })
}

/// `ECHO message`
pub fn echo(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(Reply::Bulk(words[1].clone()))
}

/// `SELECT index`
pub fn select(asked: &mut Asked, words: &[Bytes]) -> Step {
    let elsewhere = |index: i64| index != 0 && i32::try_from(index).is_ok();
    if asked.session.face == Face::ClusterView && integer(&words[1]).is_ok_and(elsewhere) {
        return done(Reply::error("ERR SELECT is not allowed in cluster mode"));
    }
    done(database(&words[1]).map_or_else(
        |error| error,
        |index| {
            asked.session.database = index;
            Reply::Ok
        },
    ))
}

/// `ASKING`: slots do not move between nodes by hand, so it changes nothing.
pub fn asking(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Ok)
}

/// `READONLY`: any owner of a key may answer what this connection reads, though its master has come back.
pub fn readonly(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.session.guest.reads_anywhere = true;
    done(Reply::Ok)
}

/// `READWRITE`: takes READONLY back.
pub fn readwrite(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.session.guest.reads_anywhere = false;
    done(Reply::Ok)
}

/// `QUIT`
pub fn quit(asked: &mut Asked, _words: &[Bytes]) -> Step {
    asked.session.closing = true;
    done(Reply::Ok)
}

/// `RESET`
pub fn reset(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let open = asked.server.config.load().requirepass.is_empty();
    asked.session.reset(open);
    done(Reply::Simple("RESET"))
}

/// `AUTH [username] password`
pub fn auth(asked: &mut Asked, words: &[Bytes]) -> Step {
    let required = &asked.server.config.load().requirepass;
    done(log_in(asked.session, &words[1..], required).err().unwrap_or(Reply::Ok))
}

/// `HELLO [protover [AUTH username password] [SETNAME clientname]]`
pub fn hello(asked: &mut Asked, words: &[Bytes]) -> Step {
    let required = &asked.server.config.load().requirepass;
    done(greet(asked.session, &words[1..], required).unwrap_or_else(|refusal| refusal))
}

/// Logs in with `[username] password`.
fn log_in(session: &mut Session, words: &[Bytes], required: &str) -> Result<(), Reply> {
    let (user, password): (&[u8], &Bytes) = match words {
        [_] if required.is_empty() => return Err(Reply::error(NO_PASSWORD)),
        [password] => (b"default", password),
        [user, password] => (user, password),
        _ => return Err(syntax_error()),
    };
    let right = required.is_empty() || same_secret(password, required.as_bytes());
    if !right || user != b"default" {
        return Err(Reply::error(WRONG_PASSWORD));
    }
    session.authenticated = true;
    Ok(())
}

/// Compares without telling by the time taken how much was right, or how long the secret is.
fn same_secret(given: &[u8], required: &[u8]) -> bool {
    bool::from(Sha256::digest(given).as_slice().ct_eq(Sha256::digest(required).as_slice()))
}

/// What HELLO asks for.
#[derive(Default)]
struct Greeting<'a> {
    login: Option<&'a [Bytes]>,
    name: Option<&'a Bytes>,
}

fn read_greeting(options: &[Bytes]) -> Result<Greeting<'_>, Reply> {
    let mut greeting = Greeting::default();
    let mut at = 0;
    while let Some(option) = options.get(at) {
        match &options[at + 1..] {
            [_, _, ..] if is(option, "AUTH") => {
                greeting.login = Some(&options[at + 1..at + 3]);
                at += 3;
            }
            [name, ..] if is(option, "SETNAME") => {
                if !is_printable(name) {
                    return Err(Reply::error(BAD_NAME));
                }
                greeting.name = Some(name);
                at += 2;
            }
            _ => return Err(Reply::error(format!("ERR Syntax error in HELLO option '{}'", super::text(option)))),
        }
    }
    Ok(greeting)
}

fn greet(session: &mut Session, words: &[Bytes], required: &str) -> Result<Reply, Reply> {
    let protocol = match words.first() {
        None => None,
        Some(version) => Some(match super::arguments::parse_integer(version) {
            None => return Err(Reply::error("ERR Protocol version is not an integer or out of range")),
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err(Reply::error("NOPROTO unsupported protocol version")),
        }),
    };
    let greeting = read_greeting(words.get(1..).unwrap_or_default())?;
    if let Some(login) = greeting.login {
        log_in(session, login, required)?;
    }
    if !session.authenticated {
        return Err(Reply::error(HELLO_UNAUTHENTICATED));
    }
    if let Some(name) = greeting.name {
        session.client.facts.lock().name = Bytes::copy_from_slice(name);
    }
    if let Some(protocol) = protocol {
        session.speak(protocol);
    }
    let version = if session.protocol == Protocol::Resp3 { 3 } else { 2 };
    let entry = |name: &str, value: Reply| (Reply::text(name), value);
    Ok(Reply::Map(vec![
        entry("server", Reply::text("redis")),
        entry("version", Reply::text(REDIS_VERSION)),
        entry("proto", Reply::Integer(version)),
        entry("id", Reply::Integer(session.client.id as i64)),
        entry("mode", Reply::text(if session.face == Face::ClusterView { "cluster" } else { "standalone" })),
        entry("role", Reply::text("master")),
        entry("modules", Reply::Array(Vec::new())),
    ]))
}

/// Whether a name can stand in `CLIENT LIST`: printable ASCII without spaces.
pub fn is_printable(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clients::Clients;

    fn session(authenticated: bool) -> Session {
        Session::new(Clients::new().enter(1, "a:1".into(), "b:2".into(), 3).unwrap(), authenticated)
    }

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').filter(|word| !word.is_empty()).map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn refusal(session: &mut Session, text: &str, required: &str) -> String {
        match greet(session, &words(text), required) {
            Err(Reply::Error(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn hello_refuses_in_redis_s_words() {
        let mut session = session(true);
        assert_eq!(refusal(&mut session, "4", ""), "NOPROTO unsupported protocol version");
        assert_eq!(refusal(&mut session, "x", ""), "ERR Protocol version is not an integer or out of range");
        assert_eq!(refusal(&mut session, "3 foo", ""), "ERR Syntax error in HELLO option 'foo'");
        assert_eq!(refusal(&mut session, "3 auth a", ""), "ERR Syntax error in HELLO option 'auth'");
        assert_eq!(refusal(&mut session, "3 SETNAME a\nb", ""), BAD_NAME);
        assert_eq!(session.protocol, Protocol::Resp2);
    }

    #[test]
    fn hello_logs_in_names_and_switches_at_once_or_not_at_all() {
        let mut session = session(false);
        assert_eq!(refusal(&mut session, "3", "secret"), HELLO_UNAUTHENTICATED);
        assert_eq!(refusal(&mut session, "3 AUTH default wrong SETNAME x", "secret"), WRONG_PASSWORD);
        assert_eq!((session.protocol, session.authenticated), (Protocol::Resp2, false));
        assert!(session.client.facts.lock().name.is_empty());
        greet(&mut session, &words("3 AUTH default secret SETNAME x"), "secret").unwrap();
        assert_eq!((session.protocol, session.authenticated), (Protocol::Resp3, true));
        assert_eq!(session.client.facts.lock().name, "x");
        greet(&mut session, &[], "secret").unwrap();
        assert_eq!(session.protocol, Protocol::Resp3);
    }

    #[test]
    fn auth_knows_one_user() {
        let mut session = session(false);
        let mut tell = |text: &str, required: &str| log_in(&mut session, &words(text), required);
        assert_eq!(tell("a", ""), Err(Reply::error(NO_PASSWORD)));
        assert_eq!(tell("default anything", ""), Ok(()));
        assert_eq!(tell("other anything", ""), Err(Reply::error(WRONG_PASSWORD)));
        assert_eq!(tell("a b c", "p"), Err(syntax_error()));
        assert_eq!(tell("q", "p"), Err(Reply::error(WRONG_PASSWORD)));
        assert_eq!(tell("p", "p"), Ok(()));
    }
}
