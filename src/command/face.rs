//! The manners of the cluster view: which requests are sent elsewhere, and in which words failures are told there.
//!
//! The same house has two doors. At the front door everything is taken in, whoever it is for. At the side door, where the
//! regular carriers come, the clerk looks at the address first: what belongs to another house is handed back with that
//! house's address on it, so that the carrier goes there straight the next time.
//!
//! # Contract
//! - [`refusal`] is Redis Cluster's: keys of two slots are `CROSSSLOT`; a key whose slot this node does not answer for, or has
//!   handed back while the guest was here ([`super::handback`]), is `MOVED` to its master. What it lets through may be run here,
//!   but for commands that would leave database 0 ([`leaves_the_database`]).
//! - [`in_cluster_words`] changes only the first word, and only where nothing was changed: `CLUSTERDOWN`, which cluster
//!   libraries repeat. What is in doubt stays `NOQUORUM`, and errors inside other replies (of EXEC) stay as they are: their
//!   neighbours may have been applied.

use super::arguments::{integer, is};
use super::notice::Notice;
use super::table::{self, Command, Found, flag};
use crate::key;
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::session::Guest;
use bytes::Bytes;

/// What a plain client reads of too few replicas, and what a cluster client is to read.
const TOO_FEW: (&str, &str) = ("NOREPLICAS ", "CLUSTERDOWN ");

/// Why a request is not run here, if so. A wrong number of words is not its business.
pub fn refusal(notice: &Notice, guest: Guest, command: &Command, words: &[Bytes]) -> Option<Reply> {
    if !command.takes(words.len()) {
        return None;
    }
    let since = if guest.reads_anywhere && command.is(flag::READONLY) { u32::MAX } else { guest.since };
    refusal_of(notice, since, slots(command, words))
}

/// Why an EXEC of these requests is not run here, if so: all their keys must lie in one slot, and still here.
pub fn refusal_of_all<'a>(
    notice: &Notice,
    guest: Guest,
    requests: impl IntoIterator<Item = &'a Request>,
) -> Option<Reply> {
    let found = requests.into_iter().filter_map(|request| match table::find(&request.words) {
        Found::Command(entry) => Some(slots(entry.command, &request.words)),
        Found::NoSubcommand(_) | Found::Unknown => None,
    });
    refusal_of(notice, guest.since, found.flatten())
}

fn slots<'a>(command: &'a Command, words: &'a [Bytes]) -> impl Iterator<Item = u16> + 'a {
    command.key_places(words.len()).map(|place| key::slot(&words[place]))
}

fn refusal_of(notice: &Notice, since: u32, mut slots: impl Iterator<Item = u16>) -> Option<Reply> {
    let slot = slots.next()?;
    if slots.any(|other| other != slot) {
        return Some(Reply::error("CROSSSLOT Keys in request don't hash to the same slot"));
    }
    (!notice.is_own(slot) || notice.handback().is_since(slot, since)).then(|| notice.moved(slot))
}

/// Redis's words for commands that name another database. In a transaction they are queued like others.
pub fn leaves_the_database(words: &[Bytes]) -> Option<Reply> {
    let name = words.first()?;
    if is(name, "MOVE") || is(name, "SWAPDB") {
        let name = if is(name, "MOVE") { "MOVE" } else { "SWAPDB" };
        return Some(Reply::Error(format!("ERR {name} is not allowed in cluster mode")));
    }
    let elsewhere = |pair: &[Bytes]| is(&pair[0], "DB") && integer(&pair[1]).is_ok_and(|index| index != 0);
    let copies = is(name, "COPY") && words.get(3..).is_some_and(|options| options.windows(2).any(elsewhere));
    copies.then(|| Reply::error("ERR Copying to another database is not allowed in cluster mode"))
}

/// A reply as cluster clients are to read it.
pub fn in_cluster_words(reply: Reply) -> Reply {
    match reply {
        Reply::Error(line) => Reply::Error(match line.strip_prefix(TOO_FEW.0) {
            Some(rest) => format!("{}{rest}", TOO_FEW.1),
            None => line,
        }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::words;
    use crate::command::failure;
    use crate::message::operation::Failure;

    fn line(reply: Reply) -> String {
        match reply {
            Reply::Error(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_changed_nothing_is_clusterdown() {
        let told = |failure| line(in_cluster_words(failure::reply(failure)));
        let too_few = told(Failure::NoReplicas { reachable: 1, needed: 2 });
        assert!(too_few.starts_with("CLUSTERDOWN Not enough good replicas to write. 1 of 2"), "{too_few}");
        assert!(too_few.contains("nothing was changed"), "{too_few}");
        for failure in [Failure::WriteUnsure { acknowledged: 1, needed: 2 }, Failure::ForwardLost] {
            assert!(told(failure).starts_with("NOQUORUM "));
        }
        let partly =
            line(in_cluster_words(failure::of_another_key(1, "NOREPLICAS Not enough good replicas to write.")));
        assert!(partly.starts_with("NOQUORUM "), "{partly}");
        let inside = Reply::Array(vec![Reply::Ok, Reply::error("NOREPLICAS x")]);
        assert_eq!(in_cluster_words(inside.clone()), inside, "the other commands of an EXEC were applied");
        assert_eq!(in_cluster_words(Reply::Ok), Reply::Ok);
    }

    #[test]
    fn there_is_one_database() {
        let refused = |text: &str| leaves_the_database(&words(text)).map(line);
        assert_eq!(refused("move a 1").as_deref(), Some("ERR MOVE is not allowed in cluster mode"));
        assert_eq!(refused("SwapDB 0 1").as_deref(), Some("ERR SWAPDB is not allowed in cluster mode"));
        let copying = "ERR Copying to another database is not allowed in cluster mode";
        assert_eq!(refused("copy {a}1 {a}2 REPLACE db 3").as_deref(), Some(copying));
        for fine in ["copy {a}1 {a}2 DB 0", "copy {a}1 {a}2", "copy DB 3", "get move"] {
            assert_eq!(refused(fine), None, "{fine}");
        }
    }
}
