//! Failures in Redis's words.
//!
//! Somebody reads these lines at three in the morning, in another program's log, without this manual. So each line says
//! what is known, whether anything was changed, and what to do now.
//!
//! # Contract
//! The prefix alone says whether repeating a request is safe:
//! - `NOREPLICAS`: too few replicas, or the nodes do not agree yet who keeps the key; nothing was changed.
//! - `NOQUORUM`: something was changed, or may yet be. No client library repeats it by itself.
//! - `LOADING`: the node has not found its cluster yet; nothing was changed.
//! - `MISCONF` (Redis's prefix for a disk that does not take writes) and `ERR`: nothing was changed.
//!
//! A failed read changed nothing and therefore never says `NOQUORUM`. No text contains a line break.

use crate::membership::NotDone;
use crate::message::operation::Failure;
use crate::resp::reply::Reply;

const NOTHING_CHANGED: &str = "nothing was changed";

/// What a node answers that has not found its cluster yet.
pub const LOOKING: &str = "LOADING Dynamis is looking for its cluster; nothing was changed; try again";

const TOO_FEW_TO_WRITE: &str = "NOREPLICAS Not enough good replicas to write.";
const TOO_FEW_TO_READ: &str = "NOREPLICAS Not enough good replicas to read.";

/// The answer to a write that failed.
pub fn reply(failure: Failure) -> Reply {
    if let Some(words) = redis_words(&failure) {
        return Reply::error(words);
    }
    let (known, advice) = (known(&failure), advice(&failure));
    Reply::Error(match in_doubt(&failure) {
        Some(state) => format!("NOQUORUM {known}; {state}; {advice}"),
        None => format!("{} {known}; {NOTHING_CHANGED}; {advice}", prefix(&failure, TOO_FEW_TO_WRITE)),
    })
}

/// The answer to a read that failed, also where a command reads before it writes.
pub fn reply_to_read(failure: Failure) -> Reply {
    let advice = if in_doubt(&failure).is_some() { "try again" } else { advice(&failure) };
    let (prefix, known) = (prefix(&failure, TOO_FEW_TO_READ), known(&failure));
    Reply::Error(format!("{prefix} {known}; {NOTHING_CHANGED}; {advice}"))
}

/// The answer to a command that wrote `keys` keys of which `acknowledged` were acknowledged. The worst failure speaks:
/// one that leaves a write in doubt before one that changed nothing. None: nothing failed.
pub fn reply_to_many(failures: &[Failure], acknowledged: usize, keys: usize) -> Option<Reply> {
    let worst = failures.iter().find(|failure| in_doubt(failure).is_some()).or_else(|| failures.first())?;
    let (known, advice) = (known(worst), advice(worst));
    let count = format!("{acknowledged} of {keys} keys of this command were acknowledged");
    Some(Reply::Error(match (in_doubt(worst), acknowledged) {
        (Some(state), _) => format!("NOQUORUM {known}; {state}; {count}; {advice}"),
        (None, 0) => {
            format!("{} {known}; {NOTHING_CHANGED}; {count}; {advice}", prefix(worst, TOO_FEW_TO_WRITE))
        }
        (None, _) => format!("NOQUORUM {known}; {count} and stay written, the others were not changed; {advice}"),
    }))
}

/// The answer to a command that all nodes were to carry out; `noun` and `participle` name what it does: "flush", "flushed".
pub fn of_all_nodes(outcome: Result<(), NotDone>, noun: &str, participle: &str) -> Reply {
    let one_line = |why: String| why.replace(char::is_control, " ");
    match outcome {
        Ok(()) => Reply::Ok,
        Err(NotDone::NothingChanged(why)) => Reply::Error(format!("ERR nothing was {participle}: {}", one_line(why))),
        Err(NotDone::NotEverywhere(why)) => {
            Reply::Error(format!("NOQUORUM the {noun} is not complete: {}", one_line(why)))
        }
    }
}

/// The answer to a command on several keys of which `changed` were changed and another failed with `line`.
pub fn of_another_key(changed: i64, line: &str) -> Reply {
    Reply::Error(format!("NOQUORUM {changed} keys of this command were changed and stay so; of another: {line}"))
}

/// The answer to a command that is half done: what is known of the half that was done, and the line of the other.
pub fn of_half_done(known: &str, line: &str) -> Reply {
    Reply::Error(format!("NOQUORUM {known}: {line}"))
}

/// Whether an error line leaves a write in doubt.
pub fn is_in_doubt(line: &str) -> bool {
    line.starts_with("NOQUORUM ")
}

/// The answer when a command and its runner fell out of step: a defect of ours, told without guessing about the key.
pub fn out_of_step() -> Reply {
    Reply::error(
        "NOQUORUM this node lost track of the request (a defect: please report it); a write may have taken effect; \
         read the key before writing again",
    )
}

/// What Redis says of a number that cannot be added to; it has always meant that nothing was changed.
fn redis_words(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::NotInteger => Some("ERR value is not an integer or out of range"),
        Failure::Overflow => Some("ERR increment or decrement would overflow"),
        _ => None,
    }
}

/// What opens the line when nothing was changed.
fn prefix(failure: &Failure, too_few: &'static str) -> &'static str {
    match failure {
        Failure::NoReplicas { .. } | Failure::ReadShort { .. } => too_few,
        Failure::WriteUnsure { .. } | Failure::ForwardLost | Failure::NotHome => too_few,
        Failure::ClockSpent | Failure::Storage(_) => "MISCONF",
        Failure::SiblingsFull { .. } | Failure::ContextFull { .. } => "ERR",
        Failure::ContextFromFuture | Failure::Damaged => "ERR",
        Failure::NotInteger | Failure::Overflow => "ERR",
    }
}

/// What is known.
fn known(failure: &Failure) -> String {
    match failure {
        Failure::NoReplicas { reachable, needed } => format!("{reachable} of {needed} needed replicas can be reached"),
        Failure::ReadShort { answered, needed } => format!("{answered} of {needed} needed replicas answered in time"),
        Failure::WriteUnsure { acknowledged, needed } => format!("{acknowledged} of {needed} replicas acknowledged"),
        Failure::ForwardLost => "the node this request was forwarded to did not answer".to_owned(),
        Failure::SiblingsFull { limit } => {
            format!("the key holds {limit} concurrent values, as many as max-siblings allows")
        }
        Failure::ContextFull { limit } => {
            format!("the key's context would have more than {limit} entries, as many as one may have")
        }
        Failure::ContextFromFuture => "the context lies more than a day ahead of this node's clock".to_owned(),
        Failure::ClockSpent => "this node's clock has not been stored far enough ahead to name this write".to_owned(),
        Failure::Damaged => "this node's record of the key is damaged and no other replica could mend it".to_owned(),
        Failure::Storage(reason) => format!("this node's storage refuses writes ({})", one_line(reason)),
        Failure::NotHome => "the node this request was forwarded to has only just started".to_owned(),
        Failure::NotInteger => "the value is not an integer or out of range".to_owned(),
        Failure::Overflow => "the number would not fit 64 bits".to_owned(),
    }
}

/// Whether a write may have changed something; none: it did not.
fn in_doubt(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::WriteUnsure { .. } => Some("the write may still take effect"),
        Failure::ForwardLost => Some("the write may or may not have taken effect"),
        _ => None,
    }
}

/// What to do now.
fn advice(failure: &Failure) -> &'static str {
    match failure {
        Failure::NoReplicas { .. } => "try again when more nodes are up (DYN.MEMBERS shows them)",
        Failure::ReadShort { .. } => "try again, or ask for a lower R",
        Failure::WriteUnsure { .. } | Failure::ForwardLost => "read the key before writing it again",
        Failure::SiblingsFull { .. } => {
            "read it with DYN.GET and write the merged value with DYN.SET key value CONTEXT context"
        }
        Failure::ContextFull { .. } => "write it with SET or DEL, without CONTEXT and ID",
        Failure::ContextFromFuture => "check the nodes' clocks, or read the key again for a new context",
        Failure::ClockSpent => {
            "try again in a second; if that does not help, check this node's disk and the nodes' clocks"
        }
        Failure::Storage(_) => "write through another node and look at this one's disk and log",
        Failure::Damaged => "try again when the other nodes are up, and look at this one's disk and log",
        Failure::NotHome => "try again in a moment",
        Failure::NotInteger | Failure::Overflow => "look at the value",
    }
}

/// Text that fits an error line.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSURE: Failure = Failure::WriteUnsure { acknowledged: 1, needed: 2 };
    const TOO_FEW: Failure = Failure::NoReplicas { reachable: 1, needed: 2 };

    fn every_failure() -> Vec<Failure> {
        vec![
            TOO_FEW,
            UNSURE,
            Failure::ReadShort { answered: 0, needed: 2 },
            Failure::ForwardLost,
            Failure::SiblingsFull { limit: 100 },
            Failure::ContextFromFuture,
            Failure::ClockSpent,
            Failure::Damaged,
            Failure::Storage("disk full\r\nreally".to_owned()),
            Failure::ContextFull { limit: 4096 },
            Failure::NotHome,
        ]
    }

    fn text(reply: Reply) -> String {
        match reply {
            Reply::Error(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_changed_on_all_nodes_is_told_by_the_first_word() {
        let line = |why| text(of_all_nodes(Err(why), "flush", "flushed"));
        assert_eq!(line(NotDone::NothingChanged("disk\r\nfull".into())), "ERR nothing was flushed: disk  full");
        assert_eq!(line(NotDone::NotEverywhere("it spreads".into())), "NOQUORUM the flush is not complete: it spreads");
        assert_eq!(of_all_nodes(Ok(()), "swap", "swapped"), Reply::Ok);
    }

    #[test]
    fn the_two_lines_operators_know() {
        let too_few = "NOREPLICAS Not enough good replicas to write. 1 of 2 needed replicas can be reached; \
                       nothing was changed";
        assert!(text(reply(TOO_FEW)).starts_with(too_few));
        let unsure = "NOQUORUM 1 of 2 replicas acknowledged; the write may still take effect";
        assert!(text(reply(UNSURE)).starts_with(unsure));
    }

    #[test]
    fn only_writes_in_doubt_say_noquorum() {
        for failure in every_failure() {
            let written = text(reply(failure.clone()));
            assert_eq!(written.starts_with("NOQUORUM "), in_doubt(&failure).is_some(), "{written}");
            assert_eq!(written.contains(NOTHING_CHANGED), in_doubt(&failure).is_none(), "{written}");
            let read = text(reply_to_read(failure));
            assert!(!read.contains("NOQUORUM") && read.contains(NOTHING_CHANGED), "{read}");
            assert!(!read.contains("write may") && !read.contains("writing"), "{read}");
            for line in [written, read] {
                assert!(!line.contains(char::is_control), "{line}");
                assert!(line.split(' ').next().unwrap().chars().all(|letter| letter.is_ascii_uppercase()), "{line}");
            }
        }
    }

    #[test]
    fn of_many_keys_the_one_in_doubt_speaks() {
        let line = text(reply_to_many(&[TOO_FEW, UNSURE], 3, 5).unwrap());
        assert!(
            line.starts_with("NOQUORUM 1 of 2 replicas acknowledged; the write may still take effect; 3 of 5 keys")
        );
    }

    #[test]
    fn of_many_keys_a_refusal_beside_a_success_is_no_refusal_of_the_command() {
        let line = text(reply_to_many(&[TOO_FEW], 1, 2).unwrap());
        assert!(
            line.starts_with("NOQUORUM ") && line.contains("1 of 2 keys of this command were acknowledged"),
            "{line}"
        );
        assert!(!line.contains(NOTHING_CHANGED), "{line}");
    }

    #[test]
    fn of_many_keys_none_acknowledged_and_none_in_doubt_changed_nothing() {
        let line = text(reply_to_many(&[TOO_FEW, TOO_FEW], 0, 2).unwrap());
        assert!(line.starts_with("NOREPLICAS ") && line.contains(NOTHING_CHANGED), "{line}");
        assert_eq!(reply_to_many(&[], 2, 2), None);
    }
}
