//! One read buffer's commands, from requests to answers.
//!
//! Contract: [`run`] begins every request as the table says (unknown names, wrong numbers of words and missing logins are
//! refused in Redis's words), in the order and rounds of [`super::rounds`], and gives one [`Answer`] for each request that
//! is to be answered, in order, with the protocol it is to be written in. Requests after QUIT are not begun.
//!
//! `DEL a b` is begun as `DEL a` and `DEL b`: a race on one key then repeats only that key, and the counts add up.

use super::face;
use super::failure;
use super::laps::{Laps, Moment};
use super::record::{self, Ran};
use super::rounds::{self, Begun, House};
use super::stats::CommandStats;
use super::step::{Step, Waiting};
use super::table::{self, Entry, Found, Group, flag};
use super::{Asked, Server, monitor, pubsub, text};
use crate::message::operation::{Operation, Outcome};
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::session::{Face, Scope, Session};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// As many bytes of an unknown command's arguments are shown.
const SHOWN_BYTES: usize = 128;

/// A reply and how to write it.
#[derive(Debug)]
pub struct Answer {
    /// The reply.
    pub reply: Reply,
    /// The protocol the connection spoke then.
    pub protocol: Protocol,
    /// So many items left for the connection ([`crate::session::outgoing`]) go before it.
    pub after: u64,
}

/// Whether the client is still there.
pub trait Presence {
    /// Ends when a command that waits is to be given up: the client is gone, or the node stops.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// Runs the requests of one read buffer: the answers, and whether the client is still there. When it is not, the answers
/// are those that came before the command it waited in.
pub async fn run<P: Presence + Sync>(
    server: &Arc<Server>,
    session: &mut Session,
    requests: &[Request],
    presence: &P,
) -> (Vec<Answer>, bool) {
    let laps = Laps::start();
    let now_ms = server.coordinator.now_ms();
    let mut batch = Batch::new(server, session, requests, presence, now_ms, laps);
    let is_here = rounds::run(&mut batch).await;
    let Batch { mut slots, mut laps, .. } = batch;
    if session.face == Face::ClusterView {
        slots.iter_mut().for_each(Slot::tell_in_cluster_words);
    }
    let took_us = laps.read();
    count(server, &slots, took_us, &laps);
    record::keep(server, session, took_us, ran(&slots, requests, &laps));
    (slots.into_iter().filter_map(Slot::answer).collect(), is_here)
}

/// The requests that ran.
fn ran<'a>(slots: &'a [Slot], requests: &'a [Request], laps: &'a Laps) -> impl Iterator<Item = Ran<'a>> + Clone {
    slots.iter().zip(requests).filter_map(|(slot, request)| {
        let entry = slot.found.filter(|_| !slot.rejected && slot.reply.is_some())?;
        let took_us = laps.between_us(slot.began, slot.answered);
        Some(Ran { entry, words: &request.words, database: slot.database, took_us })
    })
}

/// A request's place among the answers.
struct Slot {
    found: Option<&'static Entry>,
    /// Units not answered yet.
    left: usize,
    /// What the units' integers add up to.
    sum: i64,
    reply: Option<Reply>,
    protocol: Protocol,
    after: u64,
    /// The database of the connection when it had begun.
    database: u8,
    began: Moment,
    answered: Moment,
    scope: Scope,
    silent: bool,
    rejected: bool,
    /// On the cluster view: why it is not run here.
    refusal: Option<Box<Reply>>,
}

impl Slot {
    fn tell_in_cluster_words(&mut self) {
        self.reply = self.reply.take().map(face::in_cluster_words);
    }

    fn answer(self) -> Option<Answer> {
        let reply = match self.reply.filter(|_| !self.silent)? {
            Reply::Error(line) if self.sum > 0 && !self.found.is_some_and(|entry| entry.command.is(flag::READONLY)) => {
                failure::of_another_key(self.sum, &line)
            }
            reply => reply,
        };
        Some(Answer { reply, protocol: self.protocol, after: self.after })
    }

    /// Takes a unit's answer; `part`: of one key among others. The first error in doubt speaks, or else the first.
    fn take(&mut self, reply: Reply, part: bool) {
        self.left -= 1;
        if let (Reply::Integer(count), true) = (&reply, part) {
            self.sum += count;
        }
        let doubtful = |reply: &Reply| matches!(reply, Reply::Error(line) if failure::is_in_doubt(line));
        match (&reply, &self.reply) {
            (_, Some(Reply::Error(_))) if !doubtful(&reply) || self.reply.as_ref().is_some_and(doubtful) => {}
            (Reply::Integer(_), _) if part => self.reply = Some(Reply::Integer(self.sum)),
            _ => self.reply = Some(reply),
        }
    }
}

/// What begins on its own: a request, or one key of a request whose counts add up.
#[derive(Clone, Copy)]
struct Unit {
    slot: usize,
    /// The key's place among the words; 0: all of the request.
    word: usize,
}

struct Batch<'a, P> {
    server: &'a Arc<Server>,
    session: &'a mut Session,
    requests: &'a [Request],
    presence: &'a P,
    now_ms: u64,
    laps: Laps,
    slots: Vec<Slot>,
    units: Vec<Unit>,
}

impl<'a, P> Batch<'a, P> {
    fn new(
        server: &'a Arc<Server>,
        session: &'a mut Session,
        requests: &'a [Request],
        presence: &'a P,
        now_ms: u64,
        laps: Laps,
    ) -> Batch<'a, P> {
        let mut slots = Vec::with_capacity(requests.len());
        let mut units = Vec::with_capacity(requests.len());
        // Before commands are taken apart: Redis judges by all of their keys.
        let notice = (session.face == Face::ClusterView).then(|| server.notice());
        for (slot, request) in requests.iter().enumerate() {
            let found = match table::find(&request.words) {
                Found::Command(entry) => Some(entry),
                Found::NoSubcommand(_) | Found::Unknown => None,
            };
            let refusal = notice
                .as_ref()
                .zip(found)
                .and_then(|(notice, entry)| face::refusal(notice, entry.command, &request.words).map(Box::new));
            let words = request.words.len();
            if refusal.is_none() && words > 2 && found.is_some_and(|entry| entry.command.adds_up()) {
                units.extend((1..words).map(|word| Unit { slot, word }));
            } else {
                units.push(Unit { slot, word: 0 });
            }
            slots.push(Slot {
                found,
                left: 0,
                sum: 0,
                reply: None,
                protocol: session.protocol,
                after: 0,
                database: 0,
                began: Moment::default(),
                answered: Moment::default(),
                scope: Scope::default(),
                silent: false,
                rejected: false,
                refusal,
            });
        }
        units.iter().for_each(|unit| slots[unit.slot].left += 1);
        Batch { server, session, requests, presence, now_ms, laps, slots, units }
    }

    /// Runs a unit's handler, or refuses it.
    fn dispatch(&mut self, unit: Unit) -> Step {
        let words = &self.requests[unit.slot].words[..];
        let slot = &mut self.slots[unit.slot];
        let admitted = admit(slot.found, words, self.session);
        let handler = match admitted.and_then(|handler| slot.refusal.take().map_or(Ok(handler), |why| Err(*why))) {
            Ok(handler) => handler,
            Err(refusal) => {
                slot.rejected = true;
                return Step::Reply(refusal);
            }
        };
        let mut asked = Asked { session: self.session, server: self.server, now_ms: self.now_ms };
        match unit.word {
            0 => handler(&mut asked, words),
            word => handler(&mut asked, &[words[0].clone(), words[word].clone()]),
        }
    }

    /// Tells others what this connection is about to do.
    fn show(&self, entry: Option<&'static Entry>) {
        let client = &self.session.client;
        if let Some(entry) = entry {
            client.last_command.store(entry.number, Relaxed);
        }
        client.database.store(self.session.database, Relaxed);
    }
}

impl<P: Presence + Sync> House for Batch<'_, P> {
    fn count(&self) -> usize {
        self.units.len()
    }

    fn begin(&mut self, number: usize, again: bool) -> Begun {
        let unit = self.units[number];
        let reads_only = self.slots[unit.slot].found.is_some_and(|entry| entry.command.is(flag::READONLY));
        if again {
            self.server.stats.races.add(1);
            let now = self.session.swap_scope(self.slots[unit.slot].scope);
            let step = self.dispatch(unit);
            self.session.swap_scope(now);
            return Begun { step, reads_only };
        }
        if unit.word > 1 {
            return Begun { step: self.dispatch(unit), reads_only };
        }
        let wanted = self.session.take_reply();
        self.slots[unit.slot].scope = self.session.scope();
        self.slots[unit.slot].began = self.laps.now();
        self.show(self.slots[unit.slot].found);
        let step = self.dispatch(unit);
        let slot = &mut self.slots[unit.slot];
        slot.silent = (!wanted && !self.session.answered_anyway) || self.session.muted;
        slot.protocol = self.session.protocol;
        slot.after = self.session.after;
        slot.database = self.session.database;
        Begun { step, reads_only }
    }

    fn is_closing(&self) -> bool {
        self.session.closing
    }

    fn answer(&mut self, number: usize, reply: Reply) {
        let Unit { slot, word } = self.units[number];
        self.slots[slot].answered = self.laps.now();
        self.slots[slot].take(reply, word > 0);
    }

    async fn run(&mut self, operations: Vec<Operation>) -> Vec<Outcome> {
        self.laps.read();
        let outcomes = self.server.coordinator.run(operations, &self.session.acks).await;
        self.laps.read();
        outcomes
    }

    async fn wait(&mut self, waiting: Waiting) -> Option<Reply> {
        let _waiting = self.server.stats.wait();
        self.laps.read();
        let reply = tokio::select! {
            biased;
            reply = waiting => Some(reply),
            () = self.session.client.killed() => None,
            () = self.presence.gone() => None,
        };
        self.laps.read();
        reply
    }

    fn now_ms(&self) -> u64 {
        self.server.coordinator.now_ms()
    }
}

/// Lets a request through to its handler, or says in Redis's words why not.
fn admit(found: Option<&'static Entry>, words: &[Bytes], session: &Session) -> Result<table::Handler, Reply> {
    let Some(entry) = found else { return Err(Reply::error(not_found(words))) };
    let handler = entry.command.run.filter(|_| entry.command.takes(words.len()));
    let Some(handler) = handler else { return Err(super::arguments::wrong_number_of_arguments(&entry.name)) };
    if !session.authenticated && !entry.command.is(flag::NO_AUTH) {
        return Err(Reply::error("NOAUTH Authentication required."));
    }
    if session.is_subscribed() && session.protocol == Protocol::Resp2 && !pubsub::is_for_subscribers(&entry.name) {
        return Err(pubsub::not_for_subscribers(&entry.name));
    }
    if session.is_monitor && monitor::touches_keys(entry) {
        return Err(Reply::error(monitor::NO_KEYS));
    }
    Ok(handler)
}

/// The error for words that name nothing.
fn not_found(words: &[Bytes]) -> String {
    let first = |word: &Bytes| text(&word[..word.len().min(SHOWN_BYTES)]).into_owned();
    if let Found::NoSubcommand(container) = table::find(words) {
        let name = container.name.to_uppercase();
        return format!("ERR unknown subcommand '{}'. Try {name} HELP.", first(&words[1]));
    }
    let mut shown = String::new();
    for word in &words[1..] {
        if shown.len() >= SHOWN_BYTES {
            break;
        }
        shown.push_str(&format!("'{}' ", text(&word[..word.len().min(SHOWN_BYTES - shown.len())])));
    }
    format!("ERR unknown command '{}', with args beginning with: {shown}", first(&words[0]))
}

/// Counts what a batch did. Runs of one command are added up first: a pipeline of GETs is one addition.
fn count(server: &Server, slots: &[Slot], microseconds: u64, laps: &Laps) {
    let answered = slots.iter().filter(|slot| slot.reply.is_some()).count() as u64;
    let each = microseconds / answered.max(1);
    let (mut hits, mut misses) = (0, 0);
    let tracks = server.config.load().latency_tracking;
    for run in slots.chunk_by(|a, b| a.found.map(|entry| entry.number) == b.found.map(|entry| entry.number)) {
        let (mut calls, mut rejected, mut failed) = (0, 0, 0);
        for slot in run {
            match &slot.reply {
                None => continue,
                Some(Reply::Error(line)) => {
                    server.stats.error(line);
                    failed += u64::from(!slot.rejected);
                }
                Some(reply) if slot.found.is_some_and(reads_values) => found_values(reply, &mut hits, &mut misses),
                Some(_) => {}
            }
            rejected += u64::from(slot.rejected);
            calls += u64::from(!slot.rejected);
        }
        if let Some(stats) = run[0].found.and_then(|entry| server.stats.commands.get(usize::from(entry.number))) {
            stats.calls.add(calls);
            stats.microseconds.add(calls * each);
            if tracks && calls > 0 {
                track(stats, run, laps);
            }
            for (counter, amount) in [(&stats.rejected, rejected), (&stats.failed, failed)] {
                if amount > 0 {
                    counter.add(amount);
                }
            }
        }
    }
    server.stats.commands_run.add(answered);
    for (counter, amount) in [(&server.stats.hits, hits), (&server.stats.misses, misses)] {
        if amount > 0 {
            counter.add(amount);
        }
    }
}

/// Counts how long the runs of one command took: those of one round at once.
fn track(stats: &CommandStats, run: &[Slot], laps: &Laps) {
    let times = stats.times.get_or_init(Box::default);
    for alike in run.chunk_by(|a, b| (a.began, a.answered) == (b.began, b.answered)) {
        let runs = alike.iter().filter(|slot| slot.reply.is_some() && !slot.rejected).count();
        if runs > 0 {
            times.add(laps.between_us(alike[0].began, alike[0].answered), runs as u64);
        }
    }
}

fn reads_values(entry: &'static Entry) -> bool {
    entry.command.group == Group::String && entry.command.is(flag::READONLY)
}

fn found_values(reply: &Reply, hits: &mut u64, misses: &mut u64) {
    match reply {
        Reply::Bulk(_) => *hits += 1,
        Reply::Null => *misses += 1,
        Reply::Array(replies) => replies.iter().for_each(|each| found_values(each, hits, misses)),
        _ => {}
    }
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
        match admit(found, &words, session) {
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

    /// What `del a b c` answers when its parts answer so.
    fn del(parts: &[Reply]) -> Reply {
        let Found::Command(entry) = table::find(&words("del a b c")) else { panic!("DEL is a command") };
        let mut slot = Slot {
            found: Some(entry),
            left: parts.len(),
            sum: 0,
            reply: None,
            protocol: Protocol::Resp2,
            after: 0,
            database: 0,
            began: Moment::default(),
            answered: Moment::default(),
            scope: Scope::default(),
            silent: false,
            rejected: false,
            refusal: None,
        };
        parts.iter().for_each(|part| slot.take(part.clone(), true));
        assert_eq!(slot.left, 0);
        slot.answer().unwrap().reply
    }

    #[test]
    fn a_key_that_failed_does_not_deny_those_that_were_deleted() {
        let refused = Reply::error("NOREPLICAS too few; nothing was changed; try again");
        let unsure = Reply::error("NOQUORUM 1 of 2; the write may still take effect; read");
        let (none, one) = (Reply::Integer(0), Reply::Integer(1));
        assert_eq!(del(&[one.clone(), none.clone(), one.clone()]), Reply::Integer(2));
        assert_eq!(del(&[none.clone(), refused.clone(), none.clone()]), refused, "nothing was changed indeed");
        assert_eq!(del(&[refused.clone(), unsure.clone(), none.clone()]), unsure, "the one in doubt speaks");
        assert_eq!(del(&[unsure.clone(), refused.clone(), none]), unsure);
        for parts in [[one.clone(), refused.clone(), one.clone()], [refused, one.clone(), one]] {
            let Reply::Error(line) = del(&parts) else { panic!("an error must be told") };
            let told = "NOQUORUM 2 keys of this command were changed and stay so; of another: NOREPLICAS too few; ";
            assert!(line.starts_with(told), "{line}");
        }
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
