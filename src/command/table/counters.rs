//! The counters' rows.

use super::argument::{Argument, double, integer, key};
use super::build::command;
use super::flag::{DENYOOM, FAST, WRITE};
use super::{Command, Group};
use crate::command::{Asked, counters, step::Step};
use bytes::Bytes;

const KEY: Argument = key("key");

const fn counter(name: &'static str, words: i8, run: fn(&mut Asked, &[Bytes]) -> Step) -> Command {
    command(name, words, WRITE | DENYOOM | FAST, Group::String, run).one_key(&["RW", "access", "update"])
}

pub(super) const COMMANDS: &[Command] = &[
    counter("incr", 2, counters::incr).help("1.0.0", "Adds one to the number of a key.").takes_arguments(&[KEY]),
    counter("decr", 2, counters::decr).help("1.0.0", "Takes one from the number of a key.").takes_arguments(&[KEY]),
    counter("incrby", 3, counters::incrby)
        .help("1.0.0", "Adds to the number of a key.")
        .takes_arguments(&[KEY, integer("increment")]),
    counter("decrby", 3, counters::decrby)
        .help("1.0.0", "Takes from the number of a key.")
        .takes_arguments(&[KEY, integer("decrement")]),
    counter("incrbyfloat", 3, counters::incrbyfloat)
        .help("2.6.0", "Adds to the floating-point number of a key: a read, then a write.")
        .takes_arguments(&[KEY, double("increment")]),
];
