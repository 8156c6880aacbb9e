//! The rows of the commands on parts of strings.

use super::argument::{Argument, integer, key, string, token};
use super::build::command;
use super::flag::{DENYOOM, FAST, READONLY, WRITE};
use super::{Command, Group};
use crate::command::{lcs, substrings};

const KEY: Argument = key("key");

pub(super) const COMMANDS: &[Command] = &[
    command("append", 3, WRITE | DENYOOM | FAST, Group::String, substrings::append)
        .one_key(&["RW", "insert"])
        .costs("O(N) in the length of the value, which is read and written whole")
        .help("2.0.0", "Adds bytes to the end of a key's value and tells its new length.")
        .takes_arguments(&[KEY, string("value")]),
    command("getrange", 4, READONLY, Group::String, substrings::getrange)
        .one_key(&["RO", "access"])
        .costs("O(N) in the length of the value")
        .help("2.4.0", "Shows the bytes of a value between two indexes, both included.")
        .takes_arguments(&[KEY, integer("start"), integer("end")]),
    command("substr", 4, READONLY, Group::String, substrings::substr)
        .one_key(&["RO", "access"])
        .costs("O(N) in the length of the value")
        .help("1.0.0", "The old name of GETRANGE.")
        .deprecated("2.0.0", "`GETRANGE`")
        .takes_arguments(&[KEY, integer("start"), integer("end")]),
    command("setrange", 4, WRITE | DENYOOM, Group::String, substrings::setrange)
        .one_key(&["RW", "update"])
        .costs("O(N) in the length of the value, which is read and written whole")
        .help("2.2.0", "Writes over part of a value and tells its new length; a gap is filled with zeros.")
        .takes_arguments(&[KEY, integer("offset"), string("value")]),
    command("lcs", -3, READONLY, Group::String, lcs::lcs)
        .keys(2, 1, &["RO", "access"])
        .costs("O(N*M) in the lengths of the values")
        .help("7.0.0", "Finds the longest sequence of bytes that two values have in common.")
        .takes_arguments(&[
            key("key1"),
            key("key2"),
            token("len", "LEN").optional(),
            token("idx", "IDX").optional(),
            integer("len").after("MINMATCHLEN").optional(),
            token("withmatchlen", "WITHMATCHLEN").optional(),
        ]),
];
