//! The rows of the commands about transactions.

use super::argument::key;
use super::build::command;
use super::flag::{ALLOW_BUSY, AT_ONCE, FAST, LOADING, NOSCRIPT, SKIP_SLOWLOG, STALE};
use super::{Command, Group};
use crate::command::transaction;

const PLAIN: u16 = NOSCRIPT | LOADING | STALE | FAST | ALLOW_BUSY;

pub(super) const COMMANDS: &[Command] = &[
    command("multi", 1, PLAIN | AT_ONCE, Group::Transactions, transaction::multi)
        .help("1.2.0", "Starts a transaction: what follows is queued until EXEC."),
    command("exec", 1, NOSCRIPT | LOADING | STALE | SKIP_SLOWLOG | AT_ONCE, Group::Transactions, transaction::exec)
        .costs("Depends on commands in the transaction")
        .help("1.2.0", "Runs what was queued since MULTI, or nothing when a watched key was touched."),
    command("discard", 1, PLAIN | AT_ONCE, Group::Transactions, transaction::discard)
        .costs("O(N), when N is the number of queued commands")
        .help("2.0.0", "Drops what was queued since MULTI."),
    command("watch", -2, PLAIN | AT_ONCE, Group::Transactions, transaction::watch)
        .keys(-1, 1, &["RO"])
        .costs("O(1) for every key")
        .help("2.2.0", "Has the next EXEC run only if these keys are not touched by then.")
        .takes_arguments(&[key("key").multiple()]),
    command("unwatch", 1, PLAIN, Group::Transactions, transaction::unwatch).help("2.2.0", "Forgets all watched keys."),
];
