//! A request's place among the answers of its batch.
//!
//! Contract: a slot is answered once all units it began as are; counts add up, and the worst error speaks. The slots of the
//! requests asked for come first; those of the children of EXECs follow, in the order of their EXECs.

use crate::command::face;
use crate::command::failure;
use crate::command::guard;
use crate::command::laps::{Laps, Moment};
use crate::command::record::Ran;
use crate::command::table::{self, Entry, Found, flag};
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::session::Scope;

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

/// A request's place among the answers.
pub struct Slot {
    pub found: Option<&'static Entry>,
    /// Units not answered yet.
    pub left: usize,
    /// What the units' integers add up to.
    pub sum: i64,
    pub reply: Option<Reply>,
    pub protocol: Protocol,
    /// See [`Answer::after`].
    pub after: u64,
    /// The database of the connection when it had begun.
    pub database: u8,
    pub began: Moment,
    pub answered: Moment,
    pub scope: Scope,
    pub silent: bool,
    pub rejected: bool,
    /// It was put into a transaction.
    pub queued: bool,
    /// It was queued in a transaction that runs now.
    pub child: bool,
    /// How many requests it has put into the batch, if it is an EXEC that went on.
    /// Where they begin, and how many they are.
    pub children: Option<(usize, usize)>,
    /// On the cluster view: why it is not run here.
    pub refusal: Option<Box<Reply>>,
}

impl Slot {
    /// The slot of a request; `refuse` says why a command is not run here.
    pub fn of(request: &Request, protocol: Protocol, refuse: impl FnOnce(&'static Entry) -> Option<Reply>) -> Slot {
        let found = match table::find(&request.words) {
            Found::Command(entry) => Some(entry),
            Found::NoSubcommand(_) | Found::Unknown => None,
        };
        Slot {
            found,
            left: 0,
            sum: 0,
            reply: None,
            protocol,
            after: 0,
            database: 0,
            began: Moment::default(),
            answered: Moment::default(),
            scope: Scope::default(),
            silent: false,
            rejected: false,
            queued: false,
            child: false,
            children: None,
            refusal: found.and_then(refuse).map(Box::new),
        }
    }

    /// Whether its handler was let run and it was answered, or is by its children.
    pub fn has_run(&self) -> bool {
        !self.rejected && !self.queued && (self.reply.is_some() || self.children.is_some())
    }

    pub fn is(&self, flag: u16) -> bool {
        self.found.is_some_and(|entry| entry.command.is(flag))
    }

    pub fn runs_queue(&self) -> bool {
        self.found.is_some_and(|entry| entry.command.runs_queue())
    }

    pub fn tell_in_cluster_words(&mut self) {
        self.reply = self.reply.take().map(face::in_cluster_words);
    }

    pub fn answer(self) -> Option<Answer> {
        let reply = match self.reply.filter(|_| !self.silent)? {
            Reply::Error(line) if self.sum > 0 && !self.found.is_some_and(|entry| entry.command.is(flag::READONLY)) => {
                failure::of_another_key(self.sum, &line)
            }
            reply => reply,
        };
        Some(Answer { reply, protocol: self.protocol, after: self.after })
    }

    /// Takes a unit's answer; `part`: of one key among others. The first error in doubt speaks, or else the first.
    pub fn take(&mut self, reply: Reply, part: bool) {
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
pub struct Unit {
    pub slot: usize,
    /// The key's place among the words; 0: all of the request.
    pub word: usize,
}

/// Gives a request of so many words its slot, and the units it begins as.
pub fn seat(slots: &mut Vec<Slot>, units: &mut Vec<Unit>, mut seated: Slot, words: usize) {
    let slot = slots.len();
    if seated.refusal.is_none() && words > 2 && seated.found.is_some_and(|entry| entry.command.adds_up()) {
        seated.left = words - 1;
        units.extend((1..words).map(|word| Unit { slot, word }));
    } else {
        seated.left = 1;
        units.push(Unit { slot, word: 0 });
    }
    slots.push(seated);
}

/// The requests that ran, the commands of a transaction before its EXEC; `asked`: the slots of those that were asked for, which
/// are the first of `slots`.
pub fn ran<'a>(
    asked: &'a [Slot],
    slots: &'a [Slot],
    requests: &'a [Request],
    laps: &'a Laps,
) -> impl Iterator<Item = Ran<'a>> + Clone {
    let with_children = |(at, slot): (usize, &Slot)| {
        let (first, count) = slot.children.unwrap_or_default();
        (first..first + count).chain([at])
    };
    asked.iter().enumerate().flat_map(with_children).filter_map(move |at| {
        let slot = &slots[at];
        let entry = slot.found.filter(|_| slot.has_run())?;
        let took_us = laps.between_us(slot.began, slot.answered);
        Some(Ran { entry, words: &requests[at].words, database: slot.database, took_us })
    })
}

/// The answers to the first `asked` requests; the others are children of EXECs, in the order of those.
pub fn answers(mut slots: Vec<Slot>, asked: usize) -> Vec<Answer> {
    let mut children = slots.split_off(asked).into_iter();
    let mut answers = Vec::with_capacity(asked);
    for mut slot in slots {
        if let Some((_, count)) = slot.children {
            let came_late = children.as_slice().get(..count).is_some_and(found_touched);
            let whole: Vec<Answer> = children.by_ref().take(count).filter_map(Slot::answer).collect();
            // Commands of the transaction may have changed the protocol, as the last one shows.
            slot.protocol = whole.last().map_or(slot.protocol, |last| last.protocol);
            slot.after = whole.iter().map(|answer| answer.after).fold(slot.after, u64::max);
            slot.reply = match whole.len() == count {
                true if came_late => Some(Reply::NullArray),
                true => Some(Reply::Array(whole.into_iter().map(|answer| answer.reply).collect())),
                // The client was gone before the end.
                false => None,
            };
        }
        answers.extend(slot.answer());
    }
    answers
}

/// Whether an EXEC changed nothing because somebody was quicker ([`guard`]): then it answers nil, as if it had seen so at
/// its first look.
fn found_touched(children: &[Slot]) -> bool {
    let first = children.iter().find(|child| !child.is(flag::READONLY));
    first.is_some_and(|child| {
        child.sum == 0 && matches!(&child.reply, Some(Reply::Error(line)) if line == guard::TOUCHED)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn words(text: &str) -> Vec<Bytes> {
        text.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    /// What `del a b c` answers when its parts answer so.
    fn del(parts: &[Reply]) -> Reply {
        let request = Request { words: words("del a b c").into() };
        let mut slot = Slot { left: parts.len(), ..Slot::of(&request, Protocol::Resp2, |_| None) };
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

    /// What an EXEC answers whose commands are these and answered so.
    fn exec(children: &[(&str, Option<Reply>)]) -> Option<Reply> {
        let slot = |line: &str, reply| {
            let request = Request { words: words(line).into() };
            Slot { reply, ..Slot::of(&request, Protocol::Resp2, |_| None) }
        };
        let mut slots = vec![Slot { children: Some((1, children.len())), ..slot("exec", None) }];
        slots.extend(children.iter().map(|(line, reply)| slot(line, reply.clone())));
        let mut answers = answers(slots, 1);
        assert!(answers.len() <= 1);
        answers.pop().map(|answer| answer.reply)
    }

    #[test]
    fn an_exec_answers_with_what_its_commands_answered_or_nil_if_somebody_was_quicker_than_its_first_write() {
        let touched = || Some(Reply::error(guard::TOUCHED));
        let (ok, value) = (|| Some(Reply::Ok), Reply::Bulk(Bytes::from_static(b"v")));
        let whole = exec(&[("get a", Some(value.clone())), ("set a v", ok())]);
        assert_eq!(whole, Some(Reply::Array(vec![value.clone(), Reply::Ok])));
        assert_eq!(exec(&[("get a", Some(value.clone())), ("set a v", touched())]), Some(Reply::NullArray));
        let late = exec(&[("set b v", ok()), ("set a v", touched())]);
        assert_eq!(late, Some(Reply::Array(vec![Reply::Ok, Reply::error(guard::TOUCHED)])), "b was written");
        assert_eq!(exec(&[("get a", Some(value)), ("set a v", None)]), None, "the client was gone before the end");
    }
}
