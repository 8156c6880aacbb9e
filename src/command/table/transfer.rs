//! The rows of the commands that bring what one key, or one database, holds to another.

use super::argument::{Argument, integer, key, token};
use super::build::command;
use super::flag::{DENYOOM, FAST, WRITE};
use super::{Command, Group};
use crate::command::{swapdb, transfer};

const KEY: Argument = key("key");
const NEW_KEY: Argument = key("newkey").of_second_keys();
const COST: &str = "O(N) in the length of the values, which are read and written whole";

pub(super) const COMMANDS: &[Command] = &[
    command("rename", 3, WRITE, Group::Generic, transfer::rename)
        .one_key(&["RW", "access", "delete"])
        .keys_from(2, 2, 1, &["OW", "update"])
        .costs(COST)
        .help("1.0.0", "Brings what a key holds to another key, and deletes it: not one step for other clients.")
        .takes_arguments(&[KEY, NEW_KEY]),
    command("renamenx", 3, WRITE | FAST, Group::Generic, transfer::renamenx)
        .one_key(&["RW", "access", "delete"])
        .keys_from(2, 2, 1, &["OW", "insert"])
        .costs(COST)
        .help("1.0.0", "As RENAME, if the other key has no value yet.")
        .takes_arguments(&[KEY, NEW_KEY]),
    command("copy", -3, WRITE | DENYOOM, Group::Generic, transfer::copy)
        .one_key(&["RO", "access"])
        .keys_from(2, 2, 1, &["OW", "update"])
        .costs(COST)
        .help("6.2.0", "Copies what a key holds to another key.")
        .takes_arguments(&[
            key("source"),
            key("destination").of_second_keys(),
            integer("destination-db").after("DB").optional(),
            token("replace", "REPLACE").optional(),
        ]),
    command("move", 3, WRITE | FAST, Group::Generic, transfer::move_to)
        .one_key(&["RW", "access", "update"])
        .costs(COST)
        .help("1.0.0", "Brings what a key holds to another database: not one step for other clients.")
        .takes_arguments(&[KEY, integer("db")]),
    command("swapdb", 3, WRITE | FAST, Group::Server, swapdb::swapdb)
        .categories(&["keyspace", "dangerous"])
        .costs("O(N) in the number of nodes, whatever the databases hold")
        .help("4.0.0", "Swaps two databases, on all nodes.")
        .takes_arguments(&[integer("index1"), integer("index2")]),
];
