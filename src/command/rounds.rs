//! The order in which the commands of one read buffer run.
//!
//! Picture the head waiter at a table of eight. All orders that do not depend on each other go to the stove in one walk.
//! Someone who said "if there is no soup left, bring bread" is asked about in the first walk and served in the second,
//! and whoever wants of that same soup waits for them. Plates come back in the order of asking.
//!
//! # Contract
//! - Requests begin in order. What a request answers at once (SELECT, PING, an error) is answered at once.
//! - Each *round* is one call of [`House::run`] with the operations of every command that may run. A buffer of plain
//!   reads and writes costs one round and no allocation per command.
//! - Two commands that touch one key run in the order of the requests: in one round, in order, when the earlier one is
//!   surely done after it; otherwise in a later round. A command is *surely done* when its first step is its only one:
//!   it only reads ([`Begun::reads_only`]), or all it asks for are writes that cannot race. Every later step of a command touches only
//!   keys of its first.
//! - A command of which an operation raced begins again, at most [`ATTEMPTS_MAX`] times.
//! - [`Step::Wait`] begins when everything before it is answered; nothing after it begins meanwhile.
//! - [`Step::Start`] begins then, too; what is after it goes on at once, and its reply is waited for at the end.

use super::step::{Operations, Outcomes, Step, Then, Waiting};
use crate::key::StorageKey;
use crate::message::operation::{Act, Basis, Operation, Outcome};
use crate::resp::reply::Reply;
use std::collections::HashSet;

/// How often one command begins before it gives up.
pub const ATTEMPTS_MAX: u8 = 64;

/// What a command that raced [`ATTEMPTS_MAX`] times answers.
pub const RACED_OUT: &str = "ERR key changed too often while this command ran; nothing was changed";

/// A command that began.
pub struct Begun {
    /// What it does first.
    pub step: Step,
    /// Whether it never writes.
    pub reads_only: bool,
}

/// Who begins commands and runs operations.
pub trait House {
    /// How many commands the batch has.
    fn count(&self) -> usize;

    /// Begins a command, for the first time in order, or again after a race.
    fn begin(&mut self, number: usize, again: bool) -> Begun;

    /// Whether nothing after what began is to begin (the connection closes).
    fn is_closing(&self) -> bool;

    /// Takes a command's answer. Called once for each command that began.
    fn answer(&mut self, number: usize, reply: Reply);

    /// Runs operations; those on one key in order.
    fn run(&self, operations: Vec<Operation>) -> impl Future<Output = Vec<Outcome>> + Send;

    /// Waits for a [`Step::Wait`], or until the client is gone (then nothing is to be answered).
    fn wait(&self, waiting: Waiting) -> impl Future<Output = Option<Reply>> + Send;

    /// The wall clock in Unix milliseconds.
    fn now_ms(&self) -> u64;
}

/// What nothing may pass.
enum Barrier {
    /// A [`Step::Wait`].
    Wait(Waiting),
    /// A [`Step::Start`].
    Start(Box<dyn FnOnce() -> Waiting + Send>),
}

/// What began and is not answered yet.
type Started = Vec<(usize, Waiting)>;

/// A command that is not done.
struct Task {
    number: usize,
    operations: Operations,
    then: Then,
    /// Whether this step is surely its last.
    surely_done: bool,
    reads_only: bool,
    attempts: u8,
}

/// Runs all commands of a batch and answers each. False: the client went away meanwhile.
pub async fn run<H: House + Send>(house: &mut H) -> bool {
    let mut next = 0;
    let mut started = Started::new();
    while next < house.count() && !house.is_closing() {
        let mut tasks = Vec::new();
        let mut barrier = None;
        while barrier.is_none() && next < house.count() && !house.is_closing() {
            let begun = house.begin(next, false);
            barrier = take(house, &mut tasks, next, begun, 1);
            next += 1;
        }
        if !finish(house, tasks, &mut started).await {
            return false;
        }
        if let Some((number, barrier)) = barrier
            && !pass(house, number, barrier, &mut started).await
        {
            return false;
        }
    }
    for (number, waiting) in started {
        if !answer_later(house, number, waiting).await {
            return false;
        }
    }
    true
}

/// Waits at a barrier, or starts what stands there. False: the client went away meanwhile.
async fn pass<H: House + Send>(house: &mut H, number: usize, barrier: Barrier, started: &mut Started) -> bool {
    match barrier {
        Barrier::Wait(waiting) => return answer_later(house, number, waiting).await,
        Barrier::Start(start) => started.push((number, start())),
    }
    true
}

/// Answers a command when its reply has come. False: the client went away meanwhile.
async fn answer_later<H: House + Send>(house: &mut H, number: usize, waiting: Waiting) -> bool {
    let reply = house.wait(waiting).await;
    let is_here = reply.is_some();
    reply.into_iter().for_each(|reply| house.answer(number, reply));
    is_here
}

/// Answers a step, or keeps it as a task; gives back what nothing may pass.
fn take<H: House>(
    house: &mut H,
    tasks: &mut Vec<Task>,
    number: usize,
    begun: Begun,
    attempts: u8,
) -> Option<(usize, Barrier)> {
    match begun.step {
        Step::Reply(reply) => house.answer(number, reply),
        Step::Wait(waiting) => return Some((number, Barrier::Wait(waiting))),
        Step::Start(start) => return Some((number, Barrier::Start(start))),
        Step::Ask(operations, then) => {
            let surely_done = begun.reads_only || operations.iter().all(writes_blindly);
            tasks.push(Task { number, operations, then, surely_done, reads_only: begun.reads_only, attempts });
        }
    }
    None
}

/// Whether an operation writes whatever is there, so that it cannot race and nothing follows from what it finds.
fn writes_blindly(operation: &Operation) -> bool {
    matches!(&operation.act, Act::Put(put) if !matches!(put.basis, Basis::Seen(_)))
}

/// Runs rounds until no task is left.
async fn finish<H: House + Send>(house: &mut H, mut tasks: Vec<Task>, started: &mut Started) -> bool {
    while !tasks.is_empty() {
        let (mut going, staying) = part(tasks);
        let mut operations = Vec::with_capacity(going.len());
        let mut counts = Vec::with_capacity(going.len());
        for task in &mut going {
            counts.push(task.operations.len());
            operations.extend(task.operations.drain(..));
        }
        let asked = operations.len();
        let outcomes = house.run(operations).await;
        debug_assert_eq!(outcomes.len(), asked, "one outcome for each operation");
        let mut outcomes = outcomes.into_iter();
        tasks = Vec::with_capacity(staying.len());
        for (task, count) in going.into_iter().zip(counts) {
            let outcomes: Outcomes = outcomes.by_ref().take(count).collect();
            if let Some((number, barrier)) = advance(house, &mut tasks, task, outcomes)
                && !pass(house, number, barrier, started).await
            {
                return false;
            }
        }
        tasks.extend(staying);
        tasks.sort_unstable_by_key(|task| task.number);
    }
    true
}

/// Goes on with a task whose operations ran.
fn advance<H: House>(house: &mut H, tasks: &mut Vec<Task>, task: Task, outcomes: Outcomes) -> Option<(usize, Barrier)> {
    let raced = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Raced));
    if raced && task.attempts >= ATTEMPTS_MAX {
        house.answer(task.number, Reply::error(RACED_OUT));
        return None;
    }
    let (begun, attempts) = if raced {
        (house.begin(task.number, true), task.attempts + 1)
    } else {
        let step = task.then.run(outcomes, house.now_ms());
        (Begun { step, reads_only: task.reads_only }, task.attempts)
    };
    take(house, tasks, task.number, begun, attempts)
}

/// Parts the tasks into those of the next round and those that wait for an earlier one's key.
fn part(tasks: Vec<Task>) -> (Vec<Task>, Vec<Task>) {
    if tasks.iter().all(|task| task.surely_done) {
        return (tasks, Vec::new());
    }
    let mut held: HashSet<StorageKey> = HashSet::new();
    let (mut going, mut staying) = (Vec::with_capacity(tasks.len()), Vec::new());
    for task in tasks {
        let waits = task.operations.iter().any(|operation| held.contains(&operation.key));
        if waits || !task.surely_done {
            held.extend(task.operations.iter().map(|operation| operation.key.clone()));
        }
        if waits { staying.push(task) } else { going.push(task) }
    }
    (going, staying)
}

#[cfg(test)]
mod tests;
