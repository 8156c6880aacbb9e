//! The rows of the commands that see a string as bits.

use super::argument::{Argument, block, integer, key, one_of, string, token};
use super::build::command;
use super::flag::{DENYOOM, FAST, READONLY, WRITE};
use super::{Command, Group};
use crate::command::bits::{self, bitfield};

const KEY: Argument = key("key");
const UNIT: Argument = one_of("index_unit", &[token("byte", "BYTE"), token("bit", "BIT")]).optional();
const GET: Argument = block("encoding_offset", &[string("encoding"), integer("offset")]).after("GET");

pub(super) const COMMANDS: &[Command] = &[
    command("setbit", 4, WRITE | DENYOOM, Group::Bitmap, bits::setbit)
        .one_key(&["RW", "access", "update"])
        .costs("O(N) in the length of the value, which is read and written whole")
        .help("2.2.0", "Sets or clears one bit of a value and tells what it was before.")
        .takes_arguments(&[KEY, integer("offset"), integer("value")]),
    command("getbit", 3, READONLY | FAST, Group::Bitmap, bits::getbit)
        .one_key(&["RO", "access"])
        .help("2.2.0", "Shows one bit of a value.")
        .takes_arguments(&[KEY, integer("offset")]),
    command("bitcount", -2, READONLY, Group::Bitmap, bits::bitcount)
        .one_key(&["RO", "access"])
        .costs("O(N) in the length of the value")
        .help("2.6.0", "Counts the bits of a value that are set.")
        .takes_arguments(&[KEY, block("index", &[integer("start"), integer("end"), UNIT]).optional()]),
    command("bitpos", -3, READONLY, Group::Bitmap, bits::bitpos)
        .one_key(&["RO", "access"])
        .costs("O(N) in the length of the value")
        .help("2.8.7", "Finds the first bit of a value that is set, or clear.")
        .takes_arguments(&[
            KEY,
            integer("bit"),
            block("index", &[integer("start"), block("end_index", &[integer("end"), UNIT]).optional()]).optional(),
        ]),
    command("bitop", -4, WRITE | DENYOOM, Group::Bitmap, bits::bitop)
        .keys_from(2, 2, 1, &["OW", "update"])
        .keys_from(3, -1, 1, &["RO", "access"])
        .costs("O(N) in the length of the values")
        .help("2.6.0", "Joins the bits of several values (AND, OR, XOR, NOT), keeps the result under a key.")
        .takes_arguments(&[string("operation"), key("destkey"), key("key").of_second_keys().multiple()]),
    command("bitfield", -2, WRITE | DENYOOM, Group::Bitmap, bitfield::bitfield)
        .one_key(&["RW", "access", "update", "variable_flags"])
        .note("This command allows both access and modification of the key")
        .costs("O(N) in the length of the value, which is read and written whole")
        .help("3.2.0", "Reads, sets and adds to integers of any width within a value.")
        .takes_arguments(&[KEY, OPERATION.optional().multiple()]),
    command("bitfield_ro", -2, READONLY | FAST, Group::Bitmap, bitfield::bitfield_ro)
        .one_key(&["RO", "access"])
        .costs("O(1) for each integer")
        .help("6.0.0", "Reads integers of any width within a value.")
        .takes_arguments(&[KEY, GET.optional().multiple_with_token()]),
];

const OPERATION: Argument = one_of("operation", &[GET, CHANGE]);

const CHANGE: Argument = block(
    "write",
    &[
        one_of("wrap_sat_fail", &[token("wrap", "WRAP"), token("sat", "SAT"), token("fail", "FAIL")])
            .after("OVERFLOW")
            .optional(),
        one_of(
            "write_operation",
            &[
                block("encoding_offset_value", &[string("encoding"), integer("offset"), integer("value")]).after("SET"),
                block("encoding_offset_increment", &[string("encoding"), integer("offset"), integer("increment")])
                    .after("INCRBY"),
            ],
        ),
    ],
);
