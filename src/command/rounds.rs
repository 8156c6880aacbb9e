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
//! - **What writes a key begins only when every read of that key before it is answered**, so in a later round. The read might
//!   see it otherwise: a read is done when R replicas have answered, and one that is asked late, because another was slow or
//!   failed, or that got the write by an exchange, a hint or a repair, holds what was written behind the read by then. No
//!   order of frames prevents that; not having written yet does. The reverse goes in one round: a write is in the
//!   coordinator's own copy, and in its frames, before a read behind it looks. So do any number of writes of one key, or of
//!   reads.
//! - Commands that only add to a number ([`Act::Increment`]) run in one round, and those on one key as one operation: each
//!   gets the number after its own amount, and a pipeline of them costs what one costs.
//! - A command of which an operation raced begins again, at most [`ATTEMPTS_MAX`] times; one that has changed something by
//!   then ([`Then::Committed`]) is told and goes on itself.
//! - [`Step::Wait`] begins when everything before it is answered; nothing after it begins meanwhile.
//! - [`Step::Start`] begins then, too; what is after it goes on at once, and its reply is waited for at the end.
//! - At a command that the house holds up ([`House::is_held`]) the rounds end, once everything before it is answered.
//! - With the answer to a command that is answered at once, or waited for, the house may put more commands right behind it
//!   (EXEC).

use super::step::{Operations, Outcomes, Step, Then, Waiting};
use crate::key::StorageKey;
use crate::message::operation::{Act, Basis, Counted, Failure, Operation, Outcome};
use crate::resp::reply::Reply;
use smallvec::smallvec;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

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

    /// Whether neither this command nor any after it is to begin (the connection closes).
    fn is_closing(&self, next: usize) -> bool;

    /// Whether a command must not begin yet (CLIENT PAUSE).
    fn is_held(&self, next: usize) -> bool;

    /// Takes a command's answer. Called once for each command that began.
    fn answer(&mut self, number: usize, reply: Reply);

    /// Runs operations; those on one key in order.
    fn run(&mut self, operations: Vec<Operation>) -> impl Future<Output = Vec<Outcome>> + Send;

    /// What a command's operations came to, before it goes on.
    fn came(&mut self, number: usize, outcomes: &Outcomes, now_ms: u64);

    /// Waits for a [`Step::Wait`], or until the client is gone (then nothing is to be answered).
    fn wait(&mut self, waiting: Waiting) -> impl Future<Output = Option<Reply>> + Send;

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
    manner: Manner,
    reads_only: bool,
    attempts: u8,
}

/// How a step goes with others on its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It is surely the command's last: whatever comes after it may go with it.
    SurelyDone,
    /// It only adds to a number: others that do may go with it.
    Adds,
    /// Nothing on its keys may go with it.
    Alone,
}

/// Where a task's outcomes are among those of its round.
enum Share {
    /// So many, the next ones.
    Own(usize),
    /// One amount of an operation that several tasks share.
    Amount { operation: usize, amount: usize },
}

/// How the rounds of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every command is answered, or was not to begin.
    Done,
    /// The client went away.
    Gone,
    /// This command is held up; all before it are answered, and it has not begun.
    Held(usize),
}

/// Runs the commands of a batch and answers each.
pub async fn run<H: House + Send>(house: &mut H) -> Ended {
    let mut next = 0;
    let mut started = Started::new();
    while next < house.count() && !house.is_closing(next) && !house.is_held(next) {
        let mut tasks = Vec::with_capacity(house.count() - next);
        let mut barrier = None;
        while barrier.is_none() && next < house.count() && !house.is_closing(next) && !house.is_held(next) {
            let begun = house.begin(next, false);
            barrier = take(house, &mut tasks, next, begun, 1);
            next += 1;
        }
        if !finish(house, tasks, &mut started).await {
            return Ended::Gone;
        }
        if let Some((number, barrier)) = barrier
            && !pass(house, number, barrier, &mut started).await
        {
            return Ended::Gone;
        }
    }
    for (number, waiting) in started {
        if !answer_later(house, number, waiting).await {
            return Ended::Gone;
        }
    }
    let held = next < house.count() && !house.is_closing(next);
    if held { Ended::Held(next) } else { Ended::Done }
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
            let manner = match &operations[..] {
                _ if begun.reads_only || operations.iter().all(writes_blindly) => Manner::SurelyDone,
                [Operation { act: Act::Increment(_), .. }] => Manner::Adds,
                _ => Manner::Alone,
            };
            tasks.push(Task { number, operations, then, manner, reads_only: begun.reads_only, attempts });
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
        let (operations, shares) = gather(&mut going);
        let asked = operations.len();
        let outcomes = house.run(operations).await;
        debug_assert_eq!(outcomes.len(), asked, "one outcome for each operation");
        let now_ms = house.now_ms();
        let mut counts: HashMap<usize, Outcome> = HashMap::new();
        for at in shared(&shares) {
            counts.entry(at).or_insert_with(|| outcomes[at].clone());
        }
        let mut own = outcomes.into_iter().enumerate().filter(|(at, _)| !counts.contains_key(at));
        tasks = Vec::with_capacity(staying.len());
        for (task, share) in going.into_iter().zip(shares) {
            let outcomes: Outcomes = match share {
                Share::Own(count) => own.by_ref().take(count).map(|(_, outcome)| outcome).collect(),
                Share::Amount { operation, amount } => smallvec![of_amount(counts.get(&operation), amount)],
            };
            if let Some((number, barrier)) = advance(house, &mut tasks, task, outcomes, now_ms)
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

/// The operations of a round, and which of their outcomes are whose. What several tasks add to one key is one operation.
fn gather(going: &mut [Task]) -> (Vec<Operation>, Vec<Share>) {
    let mut operations: Vec<Operation> = Vec::with_capacity(going.len());
    let mut shares = Vec::with_capacity(going.len());
    let mut adding: HashMap<StorageKey, usize> = HashMap::new();
    for task in going {
        if task.manner != Manner::Adds {
            shares.push(Share::Own(task.operations.len()));
            operations.extend(task.operations.drain(..));
            continue;
        }
        for operation in task.operations.drain(..) {
            let at = adding.get(&operation.key).copied().filter(|at| {
                let other = &operations[*at];
                (other.r, other.w) == (operation.r, operation.w)
            });
            let at = at.unwrap_or(operations.len());
            match (operations.get_mut(at).map(|other| &mut other.act), &operation.act) {
                (Some(Act::Increment(amounts)), Act::Increment(more)) => {
                    shares.push(Share::Amount { operation: at, amount: amounts.len() });
                    amounts.extend_from_slice(more);
                }
                _ => {
                    shares.push(Share::Amount { operation: at, amount: 0 });
                    adding.insert(operation.key.clone(), at);
                    operations.push(operation);
                }
            }
        }
    }
    (operations, shares)
}

/// The operations whose outcomes are shared.
fn shared(shares: &[Share]) -> impl Iterator<Item = usize> {
    shares.iter().filter_map(|share| match share {
        Share::Amount { operation, .. } => Some(*operation),
        Share::Own(_) => None,
    })
}

/// What an operation that several tasks share came to for one of them.
fn of_amount(outcome: Option<&Outcome>, amount: usize) -> Outcome {
    match outcome {
        Some(Outcome::Counted(counted)) => {
            let numbers = counted.numbers.get(amount).copied().into_iter().collect();
            Outcome::Counted(Box::new(Counted { numbers, context: counted.context.clone(), entry: counted.entry }))
        }
        Some(outcome) => outcome.clone(),
        None => Outcome::Failed(Failure::ForwardLost),
    }
}

/// Goes on with a task whose operations ran.
fn advance<H: House>(
    house: &mut H,
    tasks: &mut Vec<Task>,
    task: Task,
    outcomes: Outcomes,
    now_ms: u64,
) -> Option<(usize, Barrier)> {
    let begins_again = !matches!(task.then, Then::Committed(_));
    let raced = begins_again && outcomes.iter().any(|outcome| matches!(outcome, Outcome::Raced));
    if raced && task.attempts >= ATTEMPTS_MAX {
        house.answer(task.number, Reply::error(RACED_OUT));
        return None;
    }
    let (begun, attempts) = if raced {
        (house.begin(task.number, true), task.attempts + 1)
    } else {
        house.came(task.number, &outcomes, now_ms);
        let step = task.then.run(outcomes, now_ms);
        (Begun { step, reads_only: task.reads_only }, task.attempts)
    };
    take(house, tasks, task.number, begun, attempts)
}

/// Parts the tasks into those of the next round and those that wait for an earlier one's key.
fn part(tasks: Vec<Task>) -> (Vec<Task>, Vec<Task>) {
    if go_together(&tasks) {
        return (tasks, Vec::new());
    }
    let mut waits = waiting(&tasks).into_iter();
    tasks.into_iter().partition(|_| waits.next() == Some(false))
}

/// Whether no task can wait for another, whatever their keys: no number of writes, nor of reads behind them, does.
fn go_together(tasks: &[Task]) -> bool {
    let mut has_read = false;
    tasks.iter().all(|task| {
        has_read |= task.reads_only;
        task.manner == Manner::SurelyDone && (task.reads_only || !has_read)
    })
}

/// Which tasks wait for an earlier one's key.
fn waiting(tasks: &[Task]) -> Vec<bool> {
    let mut holds: HashMap<&StorageKey, Hold> = HashMap::with_capacity(tasks.len());
    let mut waits = Vec::with_capacity(tasks.len());
    for task in tasks {
        let held = |operation: &Operation| holds.get(&operation.key).is_some_and(|hold| hold.keeps(task, operation));
        let is_waiting = task.operations.iter().any(held);
        if let Some(hold) = Hold::by(task, is_waiting) {
            for operation in &task.operations {
                match holds.entry(&operation.key) {
                    Entry::Vacant(free) => drop(free.insert(hold)),
                    Entry::Occupied(other) if *other.get() == hold => {}
                    Entry::Occupied(mut other) => drop(other.insert(Hold::All)),
                }
            }
        }
        waits.push(is_waiting);
    }
    waits
}

/// Whom a task that comes before keeps from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// Who writes it: it is being read.
    Writers,
    /// All but who adds to it, too.
    AllButAdders,
    /// Everybody.
    All,
}

impl Hold {
    /// What a task, which waits or not, holds of its keys.
    fn by(task: &Task, is_waiting: bool) -> Option<Hold> {
        match task.manner {
            _ if is_waiting => Some(Hold::All),
            Manner::SurelyDone => task.reads_only.then_some(Hold::Writers),
            Manner::Adds => Some(Hold::AllButAdders),
            Manner::Alone => Some(Hold::All),
        }
    }

    /// Whether a task's operation on the key has to wait.
    fn keeps(self, task: &Task, operation: &Operation) -> bool {
        match self {
            Hold::Writers => !matches!(operation.act, Act::Get),
            Hold::AllButAdders => task.manner != Manner::Adds,
            Hold::All => true,
        }
    }
}

#[cfg(test)]
mod tests;
