//! The string commands' rows.

use super::argument::{Argument, block, integer, key, one_of, string, token, unix_time};
use super::build::command;
use super::flag::{DENYOOM, FAST, READONLY, WRITE};
use super::{Command, Group};
use crate::command::strings;

const KEY: Argument = key("key");
const VALUE: Argument = string("value");
const EXPIRATION: [Argument; 5] = [
    integer("seconds").after("EX"),
    integer("milliseconds").after("PX"),
    unix_time("unix-time-seconds").after("EXAT"),
    unix_time("unix-time-milliseconds").after("PXAT"),
    token("keepttl", "KEEPTTL"),
];

pub(super) const COMMANDS: &[Command] = &[
    command("get", 2, READONLY | FAST, Group::String, strings::get)
        .one_key(&["RO", "access"])
        .help("1.0.0", "Shows the value of a key: of several siblings the latest.")
        .takes_arguments(&[KEY]),
    command("set", -3, WRITE | DENYOOM, Group::String, strings::set)
        .one_key(&["RW", "access", "update", "variable_flags"])
        .note("RW and ACCESS due to the optional `GET` argument")
        .help("1.0.0", "Sets a key to a value, replacing everything its coordinator holds of it.")
        .takes_arguments(&[
            KEY,
            VALUE,
            one_of("condition", &[token("nx", "NX"), token("xx", "XX")]).optional(),
            token("get", "GET").optional(),
            one_of("expiration", &EXPIRATION).optional(),
        ]),
    command("setnx", 3, WRITE | DENYOOM | FAST, Group::String, strings::setnx)
        .one_key(&["OW", "insert"])
        .help("1.0.0", "Sets a key that has no value yet.")
        .takes_arguments(&[KEY, VALUE]),
    command("setex", 4, WRITE | DENYOOM, Group::String, strings::setex)
        .one_key(&["OW", "update"])
        .help("2.0.0", "Sets a key and the seconds it lives.")
        .takes_arguments(&[KEY, integer("seconds"), VALUE]),
    command("psetex", 4, WRITE | DENYOOM, Group::String, strings::psetex)
        .one_key(&["OW", "update"])
        .help("2.6.0", "Sets a key and the milliseconds it lives.")
        .takes_arguments(&[KEY, integer("milliseconds"), VALUE]),
    command("getset", 3, WRITE | DENYOOM | FAST, Group::String, strings::getset)
        .one_key(&["RW", "access", "update"])
        .help("1.0.0", "Sets a key and shows what it was before.")
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .takes_arguments(&[KEY, VALUE]),
    command("getdel", 2, WRITE | FAST, Group::String, strings::getdel)
        .one_key(&["RW", "access", "delete"])
        .help("6.2.0", "Shows the value of a key and deletes it.")
        .takes_arguments(&[KEY]),
    command("getex", -2, WRITE | FAST, Group::String, strings::getex)
        .one_key(&["RW", "access", "update"])
        .note("RW and UPDATE because it changes the TTL")
        .help("6.2.0", "Shows the value of a key and sets or drops its expiry.")
        .takes_arguments(&[
            KEY,
            one_of(
                "expiration",
                &[EXPIRATION[0], EXPIRATION[1], EXPIRATION[2], EXPIRATION[3], token("persist", "PERSIST")],
            )
            .optional(),
        ]),
    command("mget", -2, READONLY | FAST, Group::String, strings::mget)
        .keys(-1, 1, &["RO", "access"])
        .tips(&["request_policy:multi_shard"])
        .costs("O(N) in the number of keys")
        .help("1.0.0", "Shows the values of several keys.")
        .takes_arguments(&[key("key").multiple()]),
    command("mset", -3, WRITE | DENYOOM, Group::String, strings::mset)
        .keys(-1, 2, &["OW", "update"])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .costs("O(N) in the number of keys")
        .help("1.0.1", "Sets several keys, each on its own: not one step for other clients.")
        .takes_arguments(&[block("key_value", &[KEY, VALUE]).multiple()]),
    command("msetnx", -3, WRITE | DENYOOM, Group::String, strings::msetnx)
        .keys(-1, 2, &["OW", "insert"])
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .costs("O(N) in the number of keys")
        .help("1.0.1", "Sets several keys if none has a value yet, each on its own: not one step for other clients.")
        .takes_arguments(&[block("key_value", &[KEY, VALUE]).multiple()]),
    command("strlen", 2, READONLY | FAST, Group::String, strings::strlen)
        .one_key(&["RO"])
        .help("2.2.0", "Tells how many bytes the value of a key has.")
        .takes_arguments(&[KEY]),
];
