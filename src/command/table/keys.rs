//! The rows of the commands for keys of any type, and of expiry.

use super::argument::{Argument, integer, key, one_of, token, unix_time};
use super::build::command;
use super::flag::{FAST, NOSCRIPT, READONLY, WRITE};
use super::{Command, Group};
use crate::command::{expiry, keys, wait};

const KEY: Argument = key("key");
const KEYS: Argument = key("key").multiple();
const SUM: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const CONDITION: Argument =
    one_of("condition", &[token("nx", "NX"), token("xx", "XX"), token("gt", "GT"), token("lt", "LT")]).optional();

pub(super) const COMMANDS: &[Command] = &[
    command("del", -2, WRITE, Group::Generic, keys::del)
        .keys(-1, 1, &["RM", "delete"])
        .tips(SUM)
        .costs("O(N) in the number of keys")
        .help("1.0.0", "Deletes keys and tells how many there were.")
        .takes_arguments(&[KEYS]),
    command("unlink", -2, WRITE | FAST, Group::Generic, keys::unlink)
        .keys(-1, 1, &["RM", "delete"])
        .tips(SUM)
        .costs("O(N) in the number of keys")
        .help("4.0.0", "Deletes keys and tells how many there were; memory is always given back in the background.")
        .takes_arguments(&[KEYS]),
    command("exists", -2, READONLY | FAST, Group::Generic, keys::exists)
        .keys(-1, 1, &["RO"])
        .tips(SUM)
        .costs("O(N) in the number of keys")
        .help("1.0.0", "Tells how many of the keys have a value; a key named twice counts twice.")
        .takes_arguments(&[KEYS]),
    command("touch", -2, READONLY | FAST, Group::Generic, keys::touch)
        .keys(-1, 1, &["RO"])
        .tips(SUM)
        .costs("O(N) in the number of keys")
        .help("3.2.1", "Reads keys without showing them and tells how many have a value.")
        .takes_arguments(&[KEYS]),
    command("type", 2, READONLY | FAST, Group::Generic, keys::type_of)
        .one_key(&["RO"])
        .help("1.0.0", "Tells the type of a key's value.")
        .takes_arguments(&[KEY]),
    command("ttl", 2, READONLY | FAST, Group::Generic, expiry::ttl)
        .one_key(&["RO", "access"])
        .tips(&["nondeterministic_output"])
        .help("1.0.0", "Tells how many seconds a key still lives.")
        .takes_arguments(&[KEY]),
    command("pttl", 2, READONLY | FAST, Group::Generic, expiry::pttl)
        .one_key(&["RO", "access"])
        .tips(&["nondeterministic_output"])
        .help("2.6.0", "Tells how many milliseconds a key still lives.")
        .takes_arguments(&[KEY]),
    command("expiretime", 2, READONLY | FAST, Group::Generic, expiry::expiretime)
        .one_key(&["RO", "access"])
        .help("7.0.0", "Tells the Unix second at which a key expires.")
        .takes_arguments(&[KEY]),
    command("pexpiretime", 2, READONLY | FAST, Group::Generic, expiry::pexpiretime)
        .one_key(&["RO", "access"])
        .help("7.0.0", "Tells the Unix millisecond at which a key expires.")
        .takes_arguments(&[KEY]),
    command("expire", -3, WRITE | FAST, Group::Generic, expiry::expire)
        .one_key(&["RW", "update"])
        .help("1.0.0", "Lets a key live for so many seconds from now.")
        .takes_arguments(&[KEY, integer("seconds"), CONDITION]),
    command("pexpire", -3, WRITE | FAST, Group::Generic, expiry::pexpire)
        .one_key(&["RW", "update"])
        .help("2.6.0", "Lets a key live for so many milliseconds from now.")
        .takes_arguments(&[KEY, integer("milliseconds"), CONDITION]),
    command("expireat", -3, WRITE | FAST, Group::Generic, expiry::expireat)
        .one_key(&["RW", "update"])
        .help("1.2.0", "Lets a key live until a Unix second.")
        .takes_arguments(&[KEY, unix_time("unix-time-seconds"), CONDITION]),
    command("pexpireat", -3, WRITE | FAST, Group::Generic, expiry::pexpireat)
        .one_key(&["RW", "update"])
        .help("2.6.0", "Lets a key live until a Unix millisecond.")
        .takes_arguments(&[KEY, unix_time("unix-time-milliseconds"), CONDITION]),
    command("persist", 2, WRITE | FAST, Group::Generic, expiry::persist)
        .one_key(&["RW", "update"])
        .help("2.2.0", "Lets a key live for ever again.")
        .takes_arguments(&[KEY]),
    command("wait", 3, NOSCRIPT, Group::Generic, wait::wait)
        .categories(&["connection"])
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .help("3.0.0", "Waits until so many other replicas have acknowledged all writes of this connection.")
        .takes_arguments(&[integer("numreplicas"), integer("timeout")]),
];
