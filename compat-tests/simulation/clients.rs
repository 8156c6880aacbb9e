//! Clients that write values nobody else writes, and remember what they were told.

use crate::counting::{AMOUNTS, Addition, COUNTERS};
use crate::faults::Plan;
use crate::resp::{Connection, Reply};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Longer than a coordinator takes to make up its mind.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// The port for clients on every machine.
pub const PORT: u16 = 6379;

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done; what came with that (a context, or nothing).
    Acknowledged(Option<String>),
    /// The node says that nothing was changed.
    Refused(String),
    /// It may have been done, or may yet be.
    Unsure(String),
}

/// A write, as its client knows it.
#[derive(Clone, Debug)]
pub struct Written {
    /// The key.
    pub key: String,
    /// The value; none: a delete.
    pub value: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// The words that were sent, for people.
    pub words: String,
    /// From when to when, in simulated milliseconds.
    pub time_ms: (u64, u64),
}

/// What all clients remember.
#[derive(Default)]
pub struct History {
    /// Every write that was sent.
    pub writes: RefCell<Vec<Written>>,
    /// Every value that a read showed: key and value.
    pub seen: RefCell<Vec<(String, String)>>,
    /// What was shown together with each context.
    pub shown: RefCell<BTreeMap<String, BTreeSet<String>>>,
    /// Everything that was to be added to counters.
    pub additions: RefCell<Vec<Addition>>,
    /// Reads that were answered.
    pub reads: Cell<u64>,
    next_value: Cell<u64>,
    stopped: Cell<bool>,
    running: Cell<usize>,
}

impl History {
    /// No client begins anything any more.
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// Whether every client has ended.
    pub fn is_over(&self) -> bool {
        self.running.get() == 0
    }
}

/// Runs the clients of a plan until they are stopped.
pub async fn run(plan: Rc<Plan>, history: Rc<History>) -> turmoil::Result {
    for number in 0..plan.clients + plan.counting {
        history.running.set(history.running.get() + 1);
        let random = StdRng::seed_from_u64(plan.seed.wrapping_mul(1_000) + number as u64);
        let counts = number >= plan.clients;
        let (plan, history) = (plan.clone(), history.clone());
        let client = Client { plan, history, random, counts, at: None, contexts: Vec::new() };
        tokio::task::spawn_local(client.run());
    }
    while !history.is_over() {
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

struct Client {
    plan: Rc<Plan>,
    history: Rc<History>,
    random: StdRng,
    /// Whether it does nothing but add to counters.
    counts: bool,
    at: Option<(usize, Connection)>,
    /// Contexts it was given and has not used: key, context.
    contexts: Vec<(String, String)>,
}

impl Client {
    async fn run(mut self) {
        while !self.history.stopped.get() {
            if self.counts {
                self.count().await;
            } else {
                let key = format!("k{}", self.random.random_range(0..self.plan.keys));
                self.step(key).await;
            }
            let rest_ms = self.random.random_range(0..60);
            sleep(Duration::from_millis(rest_ms)).await;
            if self.random.random_bool(if self.plan.blind > 0 { 0.5 } else { 0.05 }) {
                self.at = None;
            }
        }
        self.history.running.set(self.history.running.get() - 1);
    }

    /// One thing a client does with a key.
    async fn step(&mut self, key: String) {
        if self.random.random_range(0..100) < self.plan.blind {
            return self.write(&key, true, |key, value| words(&["DYN.SET", key, value])).await;
        }
        if self.plan.deletes > 0 && self.random.random_range(0..100) < self.plan.deletes {
            return match self.random.random_bool(0.5) {
                true => self.write(&key, true, |key, value| words(&["SET", key, value])).await,
                false => self.write(&key, false, |key, _| words(&["DEL", key])).await,
            };
        }
        match self.random.random_range(0..100) {
            0..18 => self.write(&key, true, |key, value| words(&["SET", key, value])).await,
            18..30 => self.write(&key, true, |key, value| words(&["DYN.SET", key, value])).await,
            30..50 => self.answer(&key, true).await,
            50..60 => self.insist(&key).await,
            60..66 => self.write(&key, false, |key, _| words(&["DEL", key])).await,
            66..80 => self.answer(&key, false).await,
            80..84 => self.write(&key, false, |key, _| words(&["DYN.DEL", key])).await,
            84..87 => self.answer_late(&key).await,
            87..94 => self.get(&key).await,
            _ => self.mortal(&format!("ttl-{key}")).await,
        }
    }

    /// Adds to a counter.
    async fn count(&mut self) {
        let key = format!("n{}", self.random.random_range(0..COUNTERS));
        let amount = self.random.random_range(AMOUNTS);
        let at = self.history.additions.borrow().len();
        let outcome = Outcome::Unsure("under way".to_owned());
        self.history.additions.borrow_mut().push(Addition { key: key.clone(), amount, outcome });
        let (_, outcome) = self.outcome(&words(&["INCRBY", &key, &amount.to_string()])).await;
        self.history.additions.borrow_mut()[at].outcome = outcome;
    }

    /// Reads, and answers what it has read.
    async fn answer(&mut self, key: &str, with_value: bool) {
        let Some(context) = self.read(key).await else { return };
        if self.random.random_bool(0.1) {
            return self.contexts.push((key.to_owned(), context));
        }
        self.write_with(key, with_value, &context).await;
    }

    /// Answers something it has read long ago.
    async fn answer_late(&mut self, key: &str) {
        let Some(at) = self.contexts.iter().position(|(of, _)| of == key) else { return };
        let (_, context) = self.contexts.swap_remove(at);
        let with_value = self.random.random_bool(0.7);
        self.write_with(key, with_value, &context).await;
    }

    async fn write_with(&mut self, key: &str, with_value: bool, context: &str) {
        if with_value {
            self.write(key, true, |key, value| words(&["DYN.SET", key, value, "CONTEXT", context])).await;
        } else {
            self.write(key, false, |key, _| words(&["DYN.DEL", key, "CONTEXT", context])).await;
        }
    }

    /// Writes under a request id, again and again until the answer is sure.
    async fn insist(&mut self, key: &str) {
        let value = self.new_value();
        let words = words(&["DYN.SET", key, &value, "ID", &value]);
        for _ in 0..3 {
            let outcome = self.sent(key, Some(&value), &words).await;
            if !matches!(outcome, Outcome::Unsure(_)) {
                return;
            }
            self.at = None;
        }
    }

    /// Writes what will expire, or changes when it does.
    async fn mortal(&mut self, key: &str) {
        let ms = self.random.random_range(200..6_000).to_string();
        match self.random.random_range(0..4) {
            0 | 1 => self.write(key, true, |key, value| words(&["SET", key, value, "PX", &ms])).await,
            2 => self.write(key, true, |key, value| words(&["DYN.SET", key, value, "PX", &ms])).await,
            _ => drop(self.ask(&words(&["PEXPIRE", key, &ms])).await),
        }
    }

    async fn write(&mut self, key: &str, with_value: bool, words: impl FnOnce(&str, &str) -> Vec<String>) {
        let value = self.new_value();
        let words = words(key, &value);
        self.sent(key, with_value.then_some(&value), &words).await;
    }

    async fn sent(&mut self, key: &str, value: Option<&String>, words: &[String]) -> Outcome {
        let from_ms = now_ms();
        // Known before it is sent: whoever reads it meanwhile must find it written by somebody.
        let at = self.history.writes.borrow().len();
        self.history.writes.borrow_mut().push(Written {
            key: key.to_owned(),
            value: value.cloned(),
            outcome: Outcome::Unsure("under way".to_owned()),
            words: String::new(),
            time_ms: (from_ms, from_ms),
        });
        let (node, outcome) = self.outcome(words).await;
        let mut writes = self.history.writes.borrow_mut();
        writes[at].outcome = outcome.clone();
        writes[at].words = format!("{} at n{node}", words.join(" "));
        writes[at].time_ms.1 = now_ms();
        outcome
    }

    async fn outcome(&mut self, words: &[String]) -> (usize, Outcome) {
        let (node, reply) = match self.ask(words).await {
            Asked::Replied(node, reply) => (node, reply),
            Asked::NotSent => return (usize::MAX, Outcome::Refused("not sent".to_owned())),
            Asked::NoReply(node) => return (node, Outcome::Unsure("no reply".to_owned())),
        };
        let outcome = match reply {
            Reply::Error(line) if line.starts_with("NOQUORUM") => Outcome::Unsure(line),
            Reply::Error(line) => Outcome::Refused(line),
            Reply::Bulk(context) => Outcome::Acknowledged(context),
            // DEL deletes nothing where it finds nothing.
            Reply::Integer(0) if !self.counts => Outcome::Refused("nothing to delete".to_owned()),
            Reply::Simple(_) | Reply::Integer(_) | Reply::Array(_) => Outcome::Acknowledged(None),
        };
        (node, outcome)
    }

    async fn get(&mut self, key: &str) {
        let Asked::Replied(_, Reply::Bulk(Some(value))) = self.ask(&words(&["GET", key])).await else { return };
        self.history.reads.set(self.history.reads.get() + 1);
        self.history.seen.borrow_mut().push((key.to_owned(), value));
    }

    /// The context of what a key holds.
    async fn read(&mut self, key: &str) -> Option<String> {
        let Asked::Replied(_, Reply::Array(parts)) = self.ask(&words(&["DYN.GET", key])).await else { return None };
        self.history.reads.set(self.history.reads.get() + 1);
        let [Reply::Bulk(context), Reply::Array(values)] = &parts[..] else { panic!("{parts:?} answers DYN.GET") };
        let context = context.clone()?;
        let mut shown = self.history.shown.borrow_mut();
        let shown = shown.entry(context.clone()).or_default();
        for value in values {
            let Reply::Bulk(Some(value)) = value else { panic!("{value:?} is no value") };
            self.history.seen.borrow_mut().push((key.to_owned(), value.clone()));
            shown.insert(value.clone());
        }
        Some(context)
    }

    async fn ask(&mut self, words: &[String]) -> Asked {
        let (node, mut connection) = match self.at.take() {
            Some(at) => at,
            None => {
                let node = self.random.random_range(0..self.plan.nodes);
                let opening = Connection::open((crate::machine::name(node), PORT));
                match timeout(Duration::from_millis(300), opening).await {
                    Ok(Ok(connection)) => (node, connection),
                    _ => return Asked::NotSent,
                }
            }
        };
        match timeout(PATIENCE, connection.ask(words)).await {
            Ok(Ok(reply)) => {
                self.at = Some((node, connection));
                Asked::Replied(node, reply)
            }
            _ => Asked::NoReply(node),
        }
    }

    fn new_value(&mut self) -> String {
        let number = self.history.next_value.get();
        self.history.next_value.set(number + 1);
        format!("v{number}")
    }
}

enum Asked {
    Replied(usize, Reply),
    NotSent,
    NoReply(usize),
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn now_ms() -> u64 {
    turmoil::sim_elapsed().unwrap_or_default().as_millis() as u64
}
