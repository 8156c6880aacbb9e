//! RENAME, RENAMENX, COPY, MOVE: what one key holds comes to another.
//!
//! Moving house without a day of being nowhere: everything is carried to the new flat first; only when it is known to
//! stand there is the old one cleared, and only if it is still as it was when the boxes were packed. What was put into
//! the old flat meanwhile is carried over, too.
//!
//! # Contract
//! - Both keys are read at R in the first step. The new key is written at W, if it still is as it was read; only once that
//!   is acknowledged, the old one is deleted at W, if *it* still is as it was read. If it is not, it is read and carried
//!   over again, at most [`PASSES_MAX`] times.
//! - **All live siblings are carried**, in the order of their dots, each with its expiry, counters as the number they show: nothing that
//!   somebody has written and nobody has merged is lost, and GET shows under the new key what it showed under the old. They are new writes: a
//!   context read from the old key says nothing of them. What the new key held is replaced, as by SET, or the command is
//!   refused where Redis refuses it.
//! - Not one step for others: for a moment both keys are there, but never neither. A write to the old key through another
//!   coordinator, which this one has not seen, stays under the old key; an increment or expiry there goes with it.
//! - A failure says how far it came. Until the new key is acknowledged the old one is untouched.

use crate::causality::Context;
use crate::command::Asked;
use crate::command::arguments::target::{Target, acknowledged, got, got_one, put, settle};
use crate::command::arguments::{database, is, syntax_error};
use crate::command::failure;
use crate::command::step::{Operations, Outcomes, Step, Then};
use crate::message::operation::{Act, Basis, Outcome};
use crate::object::Object;
use crate::resp::reply::Reply;
use bytes::Bytes;
use smallvec::smallvec;

/// How often a key that changes while it is moved is carried over.
pub const PASSES_MAX: u8 = 64;

/// `RENAME key newkey`
pub fn rename(asked: &mut Asked, words: &[Bytes]) -> Step {
    let answers = Answers { missing: Reply::error("ERR no such key"), done: Reply::Ok };
    within(asked, words, Transfer { moves: true, replaces: true, answers })
}

/// `RENAMENX key newkey`: 1, or 0 when the new key has a value.
pub fn renamenx(asked: &mut Asked, words: &[Bytes]) -> Step {
    let answers = Answers { missing: Reply::error("ERR no such key"), done: Reply::Integer(1) };
    within(asked, words, Transfer { moves: true, replaces: false, answers })
}

/// `COPY source destination [DB index] [REPLACE]`: 1, or 0 when there is nothing to copy or something in the way.
pub fn copy(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(CopyOptions::read(&words[3..], asked.session.database).and_then(|options| {
        let transfer = Transfer { moves: false, replaces: options.replaces, answers: Answers::count() };
        transfer.across(asked, &words[1], &words[2], options.database)
    }))
}

/// `MOVE key index`: 1, or 0 when there is nothing to move or something in the way.
pub fn move_to(asked: &mut Asked, words: &[Bytes]) -> Step {
    settle(database(&words[2]).and_then(|database| {
        let transfer = Transfer { moves: true, replaces: false, answers: Answers::count() };
        transfer.across(asked, &words[1], &words[1], database)
    }))
}

/// RENAME and RENAMENX. A key that is given its own name is only looked for.
fn within(asked: &mut Asked, words: &[Bytes], transfer: Transfer) -> Step {
    settle(Target::named(asked, &words[1]).and_then(|from| {
        let to = Target::named(asked, &words[2])?;
        Ok(if from.key() == to.key() { transfer.onto_itself(from) } else { transfer.begin(from, to) })
    }))
}

struct CopyOptions {
    database: u8,
    replaces: bool,
}

impl CopyOptions {
    fn read(words: &[Bytes], here: u8) -> Result<CopyOptions, Reply> {
        let (mut options, mut at) = (CopyOptions { database: here, replaces: false }, 0);
        while let Some(word) = words.get(at) {
            match words.get(at + 1) {
                _ if is(word, "REPLACE") => options.replaces = true,
                Some(index) if is(word, "DB") => {
                    options.database = database(index)?;
                    at += 1;
                }
                _ => return Err(syntax_error()),
            }
            at += 1;
        }
        Ok(options)
    }
}

/// What a command of this kind does.
#[derive(Clone, Debug)]
struct Transfer {
    /// Whether the old key goes.
    moves: bool,
    /// Whether a value under the new key is replaced; otherwise the answer is 0.
    replaces: bool,
    answers: Answers,
}

/// What it answers.
#[derive(Clone, Debug)]
struct Answers {
    /// To a key without a value.
    missing: Reply,
    /// When it is done.
    done: Reply,
}

impl Answers {
    fn count() -> Answers {
        Answers { missing: Reply::Integer(0), done: Reply::Integer(1) }
    }
}

impl Transfer {
    /// From the session's database to another.
    fn across(self, asked: &mut Asked, from: &Bytes, to: &Bytes, database: u8) -> Result<Step, Reply> {
        let (from, to) = (Target::named(asked, from)?, Target::in_database(asked, database, to)?);
        if from.key() == to.key() {
            return Err(Reply::error("ERR source and destination objects are the same"));
        }
        Ok(self.begin(from, to))
    }

    fn onto_itself(self, key: Target) -> Step {
        key.get(move |object, now_ms| {
            Ok(Step::Reply(match object.shown(now_ms) {
                None => self.answers.missing,
                Some(_) if self.replaces => self.answers.done,
                Some(_) => Reply::Integer(0),
            }))
        })
    }

    /// Reads both keys, and decides.
    fn begin(self, from: Target, to: Target) -> Step {
        let reads = [&from, &to].map(|target| target.clone().operation(Act::Get)).into_iter().collect();
        let then = move |outcomes: Outcomes, now_ms| {
            let objects: Result<Vec<Object>, Reply> = outcomes.into_iter().map(got).collect();
            settle(objects.and_then(|mut objects| {
                let (Some(new), Some(old)) = (objects.pop(), objects.pop()) else { return Err(failure::out_of_step()) };
                let Some(carried) = Carried::of(&old, now_ms) else { return Err(self.answers.missing) };
                if !self.replaces && new.shown(now_ms).is_some() {
                    return Err(Reply::Integer(0));
                }
                let way = Way { from, to, moves: self.moves, done: self.answers.done, pass: 1 };
                Ok(way.carry(carried, old, Basis::seen(new)))
            }))
        };
        Step::Ask(reads, Then::With(Box::new(then)))
    }
}

/// The values to carry, each with its expiry: the oldest, and the others in the order of their dots.
struct Carried {
    oldest: (Bytes, Option<u64>),
    others: Vec<(Bytes, Option<u64>)>,
}

impl Carried {
    /// What a key holds; none: no live value.
    fn of(object: &Object, now_ms: u64) -> Option<Carried> {
        let mut values = object.shown_siblings(now_ms).map(|(sibling, value)| (value, sibling.expiry.1));
        Some(Carried { oldest: values.next()?, others: values.collect() })
    }
}

/// A transfer under way.
struct Way {
    from: Target,
    to: Target,
    moves: bool,
    done: Reply,
    pass: u8,
}

impl Way {
    /// Writes the oldest value in place of what `basis` names, then the others beside it.
    fn carry(self, carried: Carried, old: Object, basis: Basis) -> Step {
        let (value, expiry) = carried.oldest;
        let first = self.to.clone().operation(put(Some(value), expiry, basis));
        let beside = |(value, expiry)| self.to.clone().operation(put(Some(value), expiry, Basis::Nothing));
        let others: Operations = carried.others.into_iter().map(beside).collect();
        let then = move |mut outcomes: Outcomes, _| match outcomes.pop() {
            Some(Outcome::Written(context)) if others.is_empty() => self.clear(old, context),
            Some(Outcome::Written(context)) => self.carry_others(others, old, context),
            Some(Outcome::Failed(failure)) => Step::Reply(self.not_carried(failure::reply(failure))),
            _ => Step::Reply(failure::out_of_step()),
        };
        Step::Ask(smallvec![first], Then::With(Box::new(then)))
    }

    fn carry_others(self, others: Operations, old: Object, mut written: Context) -> Step {
        let then = move |outcomes: Outcomes, _| {
            for outcome in &outcomes {
                if let Outcome::Written(context) = outcome {
                    written.join(context);
                }
            }
            match acknowledged(outcomes) {
                Ok(_) => self.clear(old, written),
                Err(reply) => {
                    Step::Reply(half_done("the new key has not all values of the old one, which is as it was", reply))
                }
            }
        };
        Step::Ask(others, Then::With(Box::new(then)))
    }

    /// What is answered when nothing of this pass was carried.
    fn not_carried(&self, reply: Reply) -> Reply {
        match &reply {
            _ if self.pass > 1 => half_done("the new key was written, the old one has changed since and stays", reply),
            Reply::Error(line) if failure::is_in_doubt(line) => {
                half_done("the new key may have been written, the old one is as it was", reply)
            }
            _ => reply,
        }
    }

    /// Deletes the old key, if it is as it was read. `written`: what the writes to the new key have seen.
    fn clear(self, old: Object, written: Context) -> Step {
        if !self.moves {
            return Step::Reply(self.done);
        }
        let delete = self.from.clone().operation(put(None, None, Basis::seen(old)));
        let then = move |mut outcomes: Outcomes, _| match outcomes.pop() {
            Some(Outcome::Written(_)) => Step::Reply(self.done),
            Some(Outcome::Raced) => self.again(written),
            Some(Outcome::Failed(failure)) => Step::Reply(half_done(
                "the new key was written, the old one may still be there",
                failure::reply(failure),
            )),
            _ => Step::Reply(failure::out_of_step()),
        };
        Step::Ask(smallvec![delete], Then::Committed(Box::new(then)))
    }

    /// The old key has changed since it was read: carries it over again, in place of what was carried before.
    fn again(mut self, written: Context) -> Step {
        if self.pass >= PASSES_MAX {
            let changed = Reply::error("it changed too often while this command ran");
            return Step::Reply(half_done("the new key was written, the old one is still there", changed));
        }
        self.pass += 1;
        let read = self.from.clone().operation(Act::Get);
        let then = move |outcomes: Outcomes, now_ms| match got_one(outcomes) {
            Ok(old) => match Carried::of(&old, now_ms) {
                Some(carried) => self.carry(carried, old, Basis::given(written)),
                // Somebody else has deleted it: it is where it should be.
                None => Step::Reply(self.done),
            },
            Err(reply) => Step::Reply(half_done("the new key was written, the old one may still be there", reply)),
        };
        Step::Ask(smallvec![read], Then::Committed(Box::new(then)))
    }
}

fn half_done(known: &str, reply: Reply) -> Reply {
    match reply {
        Reply::Error(line) => failure::of_half_done(known, &line),
        other => other,
    }
}

#[cfg(test)]
mod tests;
