use super::*;
use crate::causality::{Actor, Context, Dot, Hlc, NodeTag};
use crate::message::operation::{Basis, Put};
use crate::object::Object;
use crate::object::counter::{Entry, Numbers};
use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the fake commands do.
#[derive(Clone, Debug)]
enum Order {
    /// Reads a key.
    Get(u8),
    /// Writes a key blindly.
    Set(u8, u8),
    /// Reads keys, then writes the sum of what it saw, plus one, to all of them.
    Bump(Vec<u8>),
    /// Adds to a key.
    Add(u8, i8),
    /// Has changed something elsewhere already; tells whether its write raced.
    Commit(u8),
    /// Answers at once.
    Now,
    /// A barrier.
    Wait,
    /// Started behind what came before; its answer comes once so many others have been started, and says how many rounds
    /// had run when it started.
    Start(usize),
    /// Puts these behind itself once it is answered, at once or as a barrier.
    Open(Vec<Order>, bool),
    /// As [`Order::Get`], and is held up first.
    Held(u8),
    /// Closes.
    Quit,
}

/// A house whose store is a map; values travel in the expiry of an empty object, so that objects need no dots. Its reads are
/// answered as late as they may be: they see every write of their round, those behind them, too.
struct Fake {
    orders: Vec<Order>,
    store: Mutex<BTreeMap<Vec<u8>, u64>>,
    rounds: Arc<Mutex<Vec<usize>>>,
    started: Arc<Semaphore>,
    races_left: Mutex<u32>,
    answers: Vec<Option<Reply>>,
    closing: bool,
    /// How many held commands may go on.
    released: usize,
}

fn key(number: u8) -> StorageKey {
    StorageKey::new(0, &[number]).unwrap()
}

fn put(number: u8, value: u64, basis: Basis) -> Operation {
    let put = Put { value: Some(Bytes::from(value.to_string())), expiry: None, basis, id: None };
    Operation { key: key(number), act: Act::Put(put), r: None, w: None }
}

fn get(number: u8) -> Operation {
    Operation { key: key(number), act: Act::Get, r: None, w: None }
}

/// What a read saw: the fake store answers with the value as an HLC in a context of one entry.
fn seen(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Got(object) => object.context.highest().0,
        other => panic!("{other:?}"),
    }
}

/// The number after an addition.
fn after(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Counted(counted) => counted.numbers[0].unwrap(),
        other => panic!("{other:?}"),
    }
}

fn counted(numbers: Numbers) -> Outcome {
    let dot = Dot { hlc: Hlc(1), actor: Actor { node: NodeTag(1), birth: Hlc(1) } };
    let entry = Entry { sibling: dot, actor: dot.actor, hlc: dot.hlc };
    Outcome::Counted(Box::new(Counted { numbers, context: Default::default(), entry }))
}

fn holding(value: u64) -> Object {
    let actor = Actor { node: NodeTag(1), birth: Hlc(1) };
    Object { context: Context::from_iter([(actor, Hlc(value))]), siblings: Vec::new() }
}

impl Fake {
    fn new(orders: Vec<Order>) -> Fake {
        let answers = vec![None; orders.len()];
        Fake {
            orders,
            store: Mutex::default(),
            rounds: Arc::default(),
            started: Arc::new(Semaphore::new(0)),
            races_left: Mutex::default(),
            answers,
            closing: false,
            released: 0,
        }
    }

    fn done(&self) -> Vec<String> {
        self.answers.iter().map(|answer| format!("{answer:?}")).collect()
    }
}

impl House for Fake {
    fn count(&self) -> usize {
        self.orders.len()
    }

    fn came(&mut self, _number: usize, _outcomes: &Outcomes, _now_ms: u64) {}

    fn begin(&mut self, number: usize, _again: bool) -> Begun {
        let ok = Then::Plain(|_, _| Step::Reply(Reply::Ok));
        let (step, reads_only) = match self.orders[number].clone() {
            Order::Get(from) => {
                let then = Then::Plain(|outcomes, _| Step::Reply(Reply::Integer(seen(&outcomes[0]) as i64)));
                (Step::Ask([get(from)].into_iter().collect(), then), true)
            }
            Order::Set(to, value) => {
                (Step::Ask([put(to, value.into(), Basis::Local)].into_iter().collect(), ok), false)
            }
            Order::Bump(keys) => {
                let operations = keys.iter().map(|key| get(*key)).collect();
                let then = Then::With(Box::new(move |outcomes, _| {
                    let sum = outcomes.iter().map(seen).sum::<u64>() + 1;
                    let puts = keys.iter().map(|key| put(*key, sum, Basis::seen(Object::default()))).collect();
                    Step::Ask(puts, Then::With(Box::new(move |_, _| Step::Reply(Reply::Integer(sum as i64)))))
                }));
                (Step::Ask(operations, then), false)
            }
            Order::Add(to, amount) => {
                let act = Act::Increment([amount.into()].into_iter().collect());
                let operation = Operation { key: key(to), act, r: None, w: None };
                let then = Then::Plain(|outcomes, _| Step::Reply(Reply::Integer(after(&outcomes[0]))));
                (Step::Ask([operation].into_iter().collect(), then), false)
            }
            Order::Commit(to) => {
                let then = Then::Committed(Box::new(|outcomes, _| {
                    Step::Reply(Reply::Integer(matches!(outcomes[0], Outcome::Raced).into()))
                }));
                let write = put(to, 1, Basis::seen(Object::default()));
                (Step::Ask([write].into_iter().collect(), then), false)
            }
            Order::Held(from) => {
                let then = Then::Plain(|outcomes, _| Step::Reply(Reply::Integer(seen(&outcomes[0]) as i64)));
                (Step::Ask([get(from)].into_iter().collect(), then), true)
            }
            Order::Open(_, true) => (Step::Wait(Box::pin(async { Reply::Ok })), false),
            Order::Now | Order::Open(_, false) => (Step::Reply(Reply::Ok), false),
            Order::Wait => (Step::Wait(Box::pin(async { Reply::Null })), false),
            Order::Start(others) => {
                let (rounds, started) = (self.rounds.clone(), self.started.clone());
                let start = move || -> Waiting {
                    let rounds = rounds.lock().len() as i64;
                    started.add_permits(1);
                    Box::pin(async move {
                        let _all = started.acquire_many(1 + others as u32).await;
                        Reply::Integer(rounds)
                    })
                };
                (Step::Start(Box::new(start)), false)
            }
            Order::Quit => {
                self.closing = true;
                (Step::Reply(Reply::Ok), false)
            }
        };
        Begun { step, reads_only }
    }

    fn is_closing(&self, _next: usize) -> bool {
        self.closing
    }

    fn answer(&mut self, number: usize, reply: Reply) {
        assert!(self.answers[number].is_none(), "answered twice");
        self.answers[number] = Some(reply);
        if let Order::Open(orders, _) = self.orders[number].clone() {
            self.answers.splice(number + 1..number + 1, orders.iter().map(|_| None));
            self.orders.splice(number + 1..number + 1, orders);
        }
    }

    fn is_held(&self, next: usize) -> bool {
        let held = self.orders[..=next].iter().filter(|order| matches!(order, Order::Held(_))).count();
        matches!(self.orders[next], Order::Held(_)) && held > self.released
    }

    async fn run(&mut self, operations: Vec<Operation>) -> Vec<Outcome> {
        self.rounds.lock().push(operations.len());
        let mut store = self.store.lock();
        let mut write = |operation: Operation| match operation.act {
            Act::Put(put) if matches!(put.basis, Basis::Seen(_)) && *self.races_left.lock() > 0 => {
                *self.races_left.lock() -= 1;
                Outcome::Raced
            }
            Act::Put(put) => {
                let value = String::from_utf8(put.value.unwrap().to_vec()).unwrap().parse().unwrap();
                store.insert(operation.key.as_bytes().to_vec(), value);
                Outcome::Written(Default::default())
            }
            Act::Increment(_) if *self.races_left.lock() > 0 => {
                *self.races_left.lock() -= 1;
                Outcome::Raced
            }
            Act::Increment(amounts) => {
                let number = store.entry(operation.key.as_bytes().to_vec()).or_default();
                let add = |amount: i64| {
                    *number = number.wrapping_add_signed(amount);
                    Some(*number as i64)
                };
                counted(amounts.into_iter().map(add).collect())
            }
            act => unreachable!("{act:?}"),
        };
        let late = |operation: Operation| match operation.act {
            Act::Get => Err(operation.key),
            _ => Ok(write(operation)),
        };
        let begun: Vec<Result<Outcome, StorageKey>> = operations.into_iter().map(late).collect();
        let read = |key: StorageKey| Outcome::Got(holding(store.get(key.as_bytes()).copied().unwrap_or(0)));
        begun.into_iter().map(|outcome| outcome.unwrap_or_else(read)).collect()
    }

    async fn wait(&mut self, waiting: Waiting) -> Option<Reply> {
        Some(waiting.await)
    }

    fn now_ms(&self) -> u64 {
        0
    }
}

async fn rounds_of(orders: Vec<Order>) -> (Vec<String>, Vec<usize>) {
    let mut fake = Fake::new(orders);
    assert_eq!(run(&mut fake).await, Ended::Done);
    (fake.done(), fake.rounds.lock().clone())
}

#[tokio::test]
async fn plain_commands_cost_one_round() {
    let orders = vec![Order::Set(1, 7), Order::Get(1), Order::Now, Order::Get(2), Order::Set(3, 8)];
    let (answers, rounds) = rounds_of(orders).await;
    assert_eq!(answers, ["Some(Ok)", "Some(Integer(7))", "Some(Ok)", "Some(Integer(0))", "Some(Ok)"]);
    assert_eq!(rounds, [5 - 1]);
}

#[tokio::test]
async fn reads_of_one_key_go_together_and_so_do_writes() {
    let (answers, rounds) = rounds_of(vec![Order::Set(1, 1), Order::Set(1, 2), Order::Set(1, 3)]).await;
    assert_eq!((answers.len(), rounds), (3, vec![3]));
    let (answers, rounds) = rounds_of(vec![Order::Get(1), Order::Get(1), Order::Get(1)]).await;
    assert_eq!((answers.len(), rounds), (3, vec![3]));
}

#[tokio::test]
async fn a_write_waits_for_the_reads_of_its_key_before_it_and_for_no_others() {
    let orders =
        vec![Order::Get(1), Order::Get(2), Order::Set(1, 7), Order::Set(3, 8), Order::Get(1), Order::Set(1, 9)];
    let (answers, rounds) = rounds_of(orders).await;
    let wanted = ["Some(Integer(0))", "Some(Integer(0))", "Some(Ok)", "Some(Ok)", "Some(Integer(7))", "Some(Ok)"];
    assert_eq!(answers, wanted);
    assert_eq!(rounds, [3, 2, 1]);
    let (answers, rounds) = rounds_of(vec![Order::Get(1), Order::Add(1, 2), Order::Get(2)]).await;
    assert_eq!(answers, ["Some(Integer(0))", "Some(Integer(2))", "Some(Integer(0))"]);
    assert_eq!(rounds, [2, 1]);
}

#[tokio::test]
async fn a_second_step_goes_with_others_and_holds_only_its_keys() {
    let orders = vec![Order::Bump(vec![1]), Order::Bump(vec![2]), Order::Get(3), Order::Get(1)];
    let (answers, rounds) = rounds_of(orders).await;
    assert_eq!(answers, ["Some(Integer(1))", "Some(Integer(1))", "Some(Integer(0))", "Some(Integer(1))"]);
    assert_eq!(rounds, [3, 2, 1]);
}

#[tokio::test]
async fn waits_are_barriers_and_nothing_begins_after_quit() {
    let orders = vec![Order::Set(1, 1), Order::Wait, Order::Get(1), Order::Quit, Order::Get(1)];
    let (answers, rounds) = rounds_of(orders).await;
    assert_eq!(answers, ["Some(Ok)", "Some(Null)", "Some(Integer(1))", "Some(Ok)", "None"]);
    assert_eq!(rounds, [1, 1]);
}

#[tokio::test]
async fn what_is_started_waits_for_what_came_before_and_holds_up_nothing() {
    let orders = vec![Order::Set(1, 1), Order::Start(1), Order::Get(1), Order::Start(1), Order::Start(0)];
    let (answers, rounds) = rounds_of(orders).await;
    assert_eq!(
        answers,
        ["Some(Ok)", "Some(Integer(1))", "Some(Integer(1))", "Some(Integer(2))", "Some(Integer(2))"],
        "the first is answered only when another has been started behind it"
    );
    assert_eq!(rounds, [1, 1]);
}

#[tokio::test]
async fn races_begin_again_up_to_a_bound() {
    let mut fake = Fake::new(vec![Order::Bump(vec![1]), Order::Get(1)]);
    fake.races_left = Mutex::new(u32::from(ATTEMPTS_MAX) - 1);
    assert_eq!(run(&mut fake).await, Ended::Done);
    assert_eq!(fake.done(), ["Some(Integer(1))", "Some(Integer(1))"]);
    let mut fake = Fake::new(vec![Order::Bump(vec![1]), Order::Get(1)]);
    fake.races_left = Mutex::new(u32::from(ATTEMPTS_MAX));
    assert_eq!(run(&mut fake).await, Ended::Done);
    assert_eq!(fake.answers[0], Some(Reply::error(RACED_OUT)));
    assert_eq!(fake.answers[1], Some(Reply::Integer(0)));
}

#[tokio::test]
async fn a_command_that_has_changed_something_is_told_of_a_race_and_does_not_begin_again() {
    for (races, told) in [(1, 1), (0, 0)] {
        let mut fake = Fake::new(vec![Order::Commit(1), Order::Get(1)]);
        fake.races_left = Mutex::new(races);
        assert_eq!(run(&mut fake).await, Ended::Done);
        assert_eq!(fake.done(), [format!("Some(Integer({told}))"), format!("Some(Integer({}))", 1 - told)]);
    }
}

#[tokio::test]
async fn what_is_added_to_one_key_is_one_operation() {
    let orders = vec![Order::Set(1, 5), Order::Add(1, 1), Order::Add(2, 1), Order::Add(1, 2), Order::Get(3)];
    let (answers, rounds) = rounds_of(orders).await;
    assert_eq!(answers, ["Some(Ok)", "Some(Integer(6))", "Some(Integer(1))", "Some(Integer(8))", "Some(Integer(0))"]);
    assert_eq!(rounds, [4]);
}

#[tokio::test]
async fn whoever_reads_or_writes_a_number_waits_for_what_is_added_before() {
    let orders = vec![Order::Add(1, 1), Order::Get(1), Order::Add(1, 1), Order::Set(1, 5), Order::Add(1, 2)];
    let (answers, rounds) = rounds_of(orders).await;
    let wanted = ["Some(Integer(1))", "Some(Integer(1))", "Some(Integer(2))", "Some(Ok)", "Some(Integer(7))"];
    assert_eq!(answers, wanted);
    assert_eq!(rounds, [1, 1, 1, 2], "a write and what comes after it go together");
}

#[tokio::test]
async fn what_is_put_behind_a_command_runs_there_and_shares_rounds() {
    for (waits, wanted) in [(false, vec![2, 2]), (true, vec![1, 1, 2])] {
        let opened = Order::Open(vec![Order::Get(1), Order::Set(1, 2)], waits);
        let (answers, rounds) = rounds_of(vec![Order::Set(1, 1), opened, Order::Get(1)]).await;
        assert_eq!(answers, ["Some(Ok)", "Some(Ok)", "Some(Integer(1))", "Some(Ok)", "Some(Integer(2))"]);
        assert_eq!(rounds, wanted);
    }
}

#[tokio::test]
async fn at_what_is_held_up_the_rounds_end() {
    let orders = vec![Order::Held(1), Order::Set(1, 1), Order::Held(1), Order::Get(1)];
    let mut fake = Fake::new(orders.clone());
    fake.released = 1;
    assert_eq!(run(&mut fake).await, Ended::Held(2));
    assert_eq!(fake.done(), ["Some(Integer(0))", "Some(Ok)", "None", "None"]);
    let mut fake = Fake::new(orders);
    fake.released = 2;
    assert_eq!(run(&mut fake).await, Ended::Done);
    assert_eq!(fake.done(), ["Some(Integer(0))", "Some(Ok)", "Some(Integer(1))", "Some(Integer(1))"]);
}

/// The commands run one after the other.
fn one_by_one(orders: &[Order]) -> Vec<Option<Reply>> {
    let mut store = BTreeMap::new();
    let mut answers = Vec::new();
    for order in orders {
        answers.push(Some(match order {
            Order::Get(key) => Reply::Integer(store.get(key).copied().unwrap_or(0)),
            Order::Set(key, value) => {
                store.insert(*key, i64::from(*value));
                Reply::Ok
            }
            Order::Bump(keys) => {
                let sum = keys.iter().map(|key| store.get(key).copied().unwrap_or(0)).sum::<i64>() + 1;
                keys.iter().for_each(|key| {
                    store.insert(*key, sum);
                });
                Reply::Integer(sum)
            }
            Order::Add(key, amount) => {
                let number = store.entry(*key).or_insert(0);
                *number += i64::from(*amount);
                Reply::Integer(*number)
            }
            Order::Wait => Reply::Null,
            Order::Start(_) => unreachable!("its answer depends on the rounds"),
            Order::Commit(_) => unreachable!("its answer depends on races"),
            Order::Now | Order::Quit | Order::Open(..) => Reply::Ok,
            Order::Held(key) => Reply::Integer(store.get(key).copied().unwrap_or(0)),
        }));
    }
    answers
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![
        (0u8..4).prop_map(Order::Get),
        (0u8..4, any::<u8>()).prop_map(|(key, value)| Order::Set(key, value)),
        proptest::collection::vec(0u8..4, 1..3).prop_map(Order::Bump),
        (0u8..4, 0i8..100).prop_map(|(key, amount)| Order::Add(key, amount)),
        (0u8..2, 0i8..100).prop_map(|(key, amount)| Order::Add(key, amount)),
        Just(Order::Now),
        Just(Order::Wait),
    ]
}

proptest! {
    #[test]
    fn answers_are_those_of_one_by_one(orders in proptest::collection::vec(any_order(), 0..30), races in 0u32..20) {
        // Commands with several keys may be written in part before a race on another key: only one-key commands race here.
        let alone = orders.iter().all(|order| !matches!(order, Order::Bump(keys) if keys.len() > 1));
        let mut fake = Fake::new(orders.clone());
        fake.races_left = Mutex::new(if alone { races } else { 0 });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(run(&mut fake)), Ended::Done);
        prop_assert_eq!(fake.answers, one_by_one(&orders));
    }
}
