//! CLIENT: who is connected, under which name, and whom to show out.
//!
//! Contract: the line that describes a client has Redis's fields in Redis's order. KILL takes all of Redis's filters
//! together.

pub mod hold;
pub mod tracking;

use super::arguments::{is, parse_integer, syntax_error};
use super::connection::{BAD_NAME, is_printable};
use super::step::Step;
use super::{Asked, done, help_lines, table, text};
use crate::resp::reply::Reply;
use crate::session::Replies;
use crate::session::client::{Client, Facts, NO_TRANSACTION};
use bytes::Bytes;
use std::sync::atomic::Ordering::Relaxed;

/// `CLIENT ID`
pub fn id(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Integer(asked.session.client.id as i64))
}

/// `CLIENT GETNAME`
pub fn getname(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let name = asked.session.client.facts.lock().name.clone();
    done(if name.is_empty() { Reply::Null } else { Reply::Bulk(name) })
}

/// `CLIENT SETNAME name`
pub fn setname(asked: &mut Asked, words: &[Bytes]) -> Step {
    if !is_printable(&words[2]) {
        return done(Reply::error(BAD_NAME));
    }
    asked.session.client.facts.lock().name = Bytes::copy_from_slice(&words[2]);
    done(Reply::Ok)
}

/// `CLIENT SETINFO LIB-NAME|LIB-VER value`
pub fn setinfo(asked: &mut Asked, words: &[Bytes]) -> Step {
    let field: fn(&mut Facts) -> &mut Bytes = match &words[2] {
        attribute if is(attribute, "LIB-NAME") => |facts| &mut facts.library_name,
        attribute if is(attribute, "LIB-VER") => |facts| &mut facts.library_version,
        other => return done(Reply::error(format!("ERR Unrecognized option '{}'", text(other)))),
    };
    if !is_printable(&words[3]) {
        let attribute = text(&words[2]).to_lowercase();
        return done(Reply::error(format!("ERR {attribute} cannot contain spaces, newlines or special characters.")));
    }
    *field(&mut asked.session.client.facts.lock()) = Bytes::copy_from_slice(&words[3]);
    done(Reply::Ok)
}

/// `CLIENT NO-EVICT ON|OFF`
pub fn no_evict(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(on_or_off(&words[2]).map_or_else(syntax_error, |on| {
        asked.session.client.no_evict.store(on, Relaxed);
        Reply::Ok
    }))
}

/// `CLIENT NO-TOUCH ON|OFF`
pub fn no_touch(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(on_or_off(&words[2]).map_or_else(syntax_error, |on| {
        asked.session.client.no_touch.store(on, Relaxed);
        Reply::Ok
    }))
}

fn on_or_off(word: &[u8]) -> Option<bool> {
    if is(word, "ON") { Some(true) } else { is(word, "OFF").then_some(false) }
}

/// `CLIENT REPLY ON|OFF|SKIP`
pub fn reply(asked: &mut Asked, words: &[Bytes]) -> Step {
    let session = &mut *asked.session;
    if is(&words[2], "ON") {
        session.replies = Replies::On;
        session.muted = false;
        session.answered_anyway = true;
    } else if is(&words[2], "OFF") {
        session.replies = Replies::Off;
        session.muted = true;
    } else if is(&words[2], "SKIP") {
        if session.replies != Replies::Off {
            session.replies = Replies::SkipNext;
        }
        session.muted = true;
    } else {
        return done(syntax_error());
    }
    done(Reply::Ok)
}

/// `CLIENT INFO`
pub fn info(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Verbatim(describe(&asked.session.client)))
}

/// `CLIENT LIST [TYPE type] [ID id …]`
pub fn list(asked: &mut Asked, words: &[Bytes]) -> Step {
    let mut wanted = asked.server.clients.all();
    match &words[2..] {
        [] => {}
        [option, kind] if is(option, "TYPE") => match Type::read(kind) {
            Ok(kind) => wanted.retain(|client| kind == Type::of(client)),
            Err(reply) => return done(reply),
        },
        [option, ids @ ..] if is(option, "ID") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|id| parse_integer(id)).collect();
            let Some(ids) = ids else { return done(Reply::error("ERR Invalid client ID")) };
            let all = std::mem::take(&mut wanted);
            let named = |id: i64| all.iter().find(|client| client.id as i64 == id).cloned();
            wanted = ids.into_iter().filter_map(named).collect();
        }
        _ => return done(syntax_error()),
    }
    done(Reply::Verbatim(wanted.iter().map(|client| describe(client)).collect()))
}

/// Redis's types of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// Asks and is answered; also one that watches with MONITOR.
    Normal,
    /// Has subscriptions.
    Pubsub,
    /// Redis's masters and replicas: nobody here.
    Nobody,
}

impl Type {
    fn read(kind: &[u8]) -> Result<Type, Reply> {
        match kind {
            kind if is(kind, "NORMAL") => Ok(Type::Normal),
            kind if is(kind, "PUBSUB") => Ok(Type::Pubsub),
            kind if ["MASTER", "SLAVE", "REPLICA"].iter().any(|other| is(kind, other)) => Ok(Type::Nobody),
            other => Err(Reply::error(format!("ERR Unknown client type '{}'", text(other)))),
        }
    }

    fn of(client: &Client) -> Type {
        if client.is_subscribed() { Type::Pubsub } else { Type::Normal }
    }
}

/// One line of `CLIENT LIST`, with its line end.
fn describe(client: &Client) -> String {
    let facts = client.facts.lock().clone();
    let (flags, queued) = (flags(client), client.queued.load(Relaxed));
    let queued_bytes = client.queued_bytes.load(Relaxed);
    let (unread, room) = (client.unread_bytes.load(Relaxed), client.unread_room_bytes.load(Relaxed));
    let replies = client.reply_room_bytes.load(Relaxed);
    let (left, left_bytes) = client.outgoing.load();
    let [channels, patterns, shards] = client.subscriptions.each_ref().map(|count| count.load(Relaxed));
    let command = table::table().entries.get(usize::from(client.last_command.load(Relaxed)));
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={flags} db={} sub={channels} psub={patterns} ssub={shards} \
         multi={queued} qbuf={unread} qbuf-free={room} argv-mem=0 multi-mem={queued_bytes} rbs={replies} rbp={replies} \
         obl=0 oll={left} omem={left_bytes} \
         tot-mem={} events=r cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}\n",
        client.id,
        client.address,
        client.local_address,
        client.descriptor,
        text(&facts.name),
        client.age_s(),
        client.idle_s(),
        client.database.load(Relaxed),
        unread + room + replies + left_bytes + queued_bytes + size_of::<Client>(),
        command.map_or("NULL", |entry| &entry.name),
        client.protocol.load(Relaxed),
        text(&facts.library_name),
        text(&facts.library_version),
    )
}

/// One letter for each thing that is special about a client, or `N`.
fn flags(client: &Client) -> String {
    let special = [
        ('O', client.is_monitor.load(Relaxed)),
        ('P', client.is_subscribed()),
        ('x', client.queued.load(Relaxed) != NO_TRANSACTION),
        ('b', client.blocked.load(Relaxed)),
        ('e', client.no_evict.load(Relaxed)),
        ('T', client.no_touch.load(Relaxed)),
    ];
    let letters: String = special.into_iter().filter(|(_, holds)| *holds).map(|(letter, _)| letter).collect();
    if letters.is_empty() { "N".to_owned() } else { letters }
}

/// Whom to show out.
#[derive(Debug, Default)]
struct Filter {
    id: Option<u64>,
    address: Option<String>,
    local_address: Option<String>,
    kind: Option<Type>,
    keep_me: bool,
    oldest_s: Option<u64>,
}

impl Filter {
    fn read(options: &[Bytes]) -> Result<Filter, Reply> {
        let mut filter = Filter { keep_me: true, ..Filter::default() };
        for pair in options.chunks(2) {
            let [name, value] = pair else { return Err(syntax_error()) };
            match name {
                name if is(name, "ID") => filter.id = Some(positive(value, "client-id")?),
                name if is(name, "TYPE") => filter.kind = Some(Type::read(value)?),
                name if is(name, "USER") && value.as_ref() != b"default" => {
                    return Err(Reply::error(format!("ERR No such user '{}'", text(value))));
                }
                name if is(name, "USER") => {}
                name if is(name, "ADDR") => filter.address = Some(text(value).into_owned()),
                name if is(name, "LADDR") => filter.local_address = Some(text(value).into_owned()),
                name if is(name, "SKIPME") && is(value, "YES") => filter.keep_me = true,
                name if is(name, "SKIPME") && is(value, "NO") => filter.keep_me = false,
                name if is(name, "MAXAGE") => filter.oldest_s = Some(positive(value, "maxage")?),
                _ => return Err(syntax_error()),
            }
        }
        Ok(filter)
    }

    fn takes(&self, client: &Client, me: u64) -> bool {
        let spared = self.keep_me && client.id == me;
        !spared
            && self.kind.is_none_or(|kind| kind == Type::of(client))
            && self.id.is_none_or(|id| client.id == id)
            && self.address.as_ref().is_none_or(|address| client.address == *address)
            && self.local_address.as_ref().is_none_or(|address| client.local_address == *address)
            && self.oldest_s.is_none_or(|age| client.age_s() >= age)
    }
}

fn positive(word: &[u8], name: &str) -> Result<u64, Reply> {
    match parse_integer(word) {
        Some(number) if number > 0 => Ok(number as u64),
        _ => Err(Reply::error(format!("ERR {name} should be greater than 0"))),
    }
}

/// `CLIENT KILL addr` or `CLIENT KILL filter value …`
pub fn kill(asked: &mut Asked, words: &[Bytes]) -> Step {
    let (filter, old_form) = match &words[2..] {
        [address] => (Filter { address: Some(text(address).into_owned()), ..Filter::default() }, true),
        options => match Filter::read(options) {
            Ok(filter) => (filter, false),
            Err(reply) => return done(reply),
        },
    };
    let me = asked.session.client.id;
    let mut killed = 0;
    for client in asked.server.clients.all() {
        if !filter.takes(&client, me) {
            continue;
        }
        killed += 1;
        if client.id == me {
            asked.session.closing = true;
        } else {
            client.kill();
        }
    }
    done(match (old_form, killed) {
        (true, 0) => Reply::error("ERR No such client"),
        (true, _) => Reply::Ok,
        (false, killed) => Reply::Integer(killed),
    })
}

/// `CLIENT HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "CACHING (YES|NO)",
            "    Say whether the next command's keys are tracked; nothing is tracked here.",
            "GETNAME",
            "    Tell this connection's name.",
            "GETREDIR",
            "    Tell which connection is told of stale keys in this one's place: -1, none.",
            "ID",
            "    Tell this connection's number.",
            "INFO",
            "    Describe this connection.",
            "KILL <ip:port>",
            "    Close the connection from that address.",
            "KILL <option> <value> [<option> <value> ...]",
            "    Close connections: ID, TYPE, USER, ADDR, LADDR, SKIPME (yes|no), MAXAGE.",
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> ...]",
            "    Describe connections.",
            "NO-EVICT (ON|OFF)",
            "    Say whether this connection is spared when clients take too much memory.",
            "NO-TOUCH (ON|OFF)",
            "    Say whether this connection's reads count as use of a key.",
            "PAUSE <milliseconds> [WRITE|ALL]",
            "    Hold up this node's clients, or just their writes.",
            "REPLY (ON|OFF|SKIP)",
            "    Say which replies this connection wants.",
            "SETINFO (LIB-NAME|LIB-VER) <value>",
            "    Tell which library uses this connection.",
            "SETNAME <name>",
            "    Name this connection.",
            "TRACKING (ON|OFF) [<option> ...]",
            "    Be told of stale keys; ON is refused here.",
            "TRACKINGINFO",
            "    Tell what is tracked for this connection: nothing.",
            "UNBLOCK <client-id> [TIMEOUT|ERROR]",
            "    Let a connection that waits for replicas go on.",
            "UNPAUSE",
            "    End the pause.",
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::clients::Clients;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn filters_hold_together_and_spare_the_asker() {
        let clients = Clients::new();
        let a = clients.enter(9, "h:1".into(), "l:9".into(), 4).unwrap();
        let b = clients.enter(9, "h:2".into(), "l:9".into(), 5).unwrap();
        let takes = |text: &str| {
            let filter = Filter::read(&words(text)).unwrap();
            (filter.takes(&a, a.id), filter.takes(&b, a.id))
        };
        assert_eq!(takes("laddr l:9"), (false, true));
        assert_eq!(takes("LADDR l:9 SKIPME no"), (true, true));
        assert_eq!(takes("laddr l:9 addr h:1 skipme no"), (true, false));
        assert_eq!(takes("type pubsub skipme no"), (false, false));
        assert_eq!(takes("id 2 user default"), (false, true));
        assert_eq!(takes("maxage 1000"), (false, false));
        let refused = |text: &str| Filter::read(&words(text)).unwrap_err();
        assert_eq!(refused("id 0"), Reply::error("ERR client-id should be greater than 0"));
        assert_eq!(refused("type x"), Reply::error("ERR Unknown client type 'x'"));
        assert_eq!(refused("user xx"), Reply::error("ERR No such user 'xx'"));
        assert_eq!(refused("id"), syntax_error());
    }

    #[test]
    fn a_line_has_redis_s_fields() {
        let client = Clients::new().enter(9, "h:1".into(), "l:9".into(), 4).unwrap();
        client.facts.lock().name = "x".into();
        let line = describe(&client);
        assert!(line.starts_with("id=1 addr=h:1 laddr=l:9 fd=4 name=x age=0 idle=0 flags=N db=0 sub=0 "), "{line}");
        assert!(line.ends_with(" cmd=NULL user=default redir=-1 resp=2 lib-name= lib-ver=\n"), "{line}");
    }

    #[test]
    fn numbers_of_clients_are_whole() {
        assert!(positive(b"1.5", "x").is_err());
        assert_eq!(positive(b"3", "x"), Ok(3));
    }
}
