//! The rows of DUMP, RESTORE and OBJECT.

use super::argument::{Argument, integer, key, string, token};
use super::build::{command, container};
use super::flag::{DENYOOM, LOADING, READONLY, STALE, WRITE};
use super::{Command, Group};
use crate::command::{dump, object};

const KEY: Argument = key("key");
const VARIES: &[&str] = &["nondeterministic_output"];

const OBJECT: &[Command] = &[
    command("encoding", 3, READONLY, Group::Generic, object::encoding)
        .keys_from(2, 2, 1, &["RO"])
        .tips(VARIES)
        .help("2.2.3", "Tells how Redis would keep the value of a key.")
        .takes_arguments(&[KEY]),
    command("freq", 3, READONLY, Group::Generic, object::freq)
        .keys_from(2, 2, 1, &["RO"])
        .tips(VARIES)
        .help("4.0.0", "Answers that frequencies are not counted.")
        .takes_arguments(&[KEY]),
    command("idletime", 3, READONLY, Group::Generic, object::idletime)
        .keys_from(2, 2, 1, &["RO"])
        .tips(VARIES)
        .help("2.2.3", "Tells how many seconds ago a key was last written; reads leave no trace.")
        .takes_arguments(&[KEY]),
    command("refcount", 3, READONLY, Group::Generic, object::refcount)
        .keys_from(2, 2, 1, &["RO"])
        .tips(VARIES)
        .help("2.2.3", "Tells how many references Redis would count to the value of a key.")
        .takes_arguments(&[KEY]),
    command("help", 2, LOADING | STALE, Group::Generic, object::help).help("6.2.0", "Lists the subcommands."),
];

pub(super) const COMMANDS: &[Command] = &[
    command("dump", 2, READONLY, Group::Generic, dump::dump)
        .one_key(&["RO", "access"])
        .tips(VARIES)
        .costs("O(N) in the length of the value")
        .help("2.6.0", "Shows the value of a key in Redis's own format.")
        .takes_arguments(&[KEY]),
    command("restore", -4, WRITE | DENYOOM, Group::Generic, dump::restore)
        .one_key(&["OW", "update"])
        .categories(&["keyspace", "dangerous"])
        .costs("O(N) in the length of the value")
        .help("2.6.0", "Sets a key to a value that DUMP has shown, here or in a Redis.")
        .takes_arguments(&[
            KEY,
            integer("ttl"),
            string("serialized-value"),
            token("replace", "REPLACE").optional(),
            token("absttl", "ABSTTL").optional(),
            integer("seconds").after("IDLETIME").optional(),
            integer("frequency").after("FREQ").optional(),
        ]),
    container("object", Group::Generic, OBJECT).categories(&[]).help("2.2.3", "Tells how Redis would keep a value."),
];
