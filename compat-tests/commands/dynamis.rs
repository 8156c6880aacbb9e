//! What only Dynamis has, and what its documentation promises to have.

use crate::harness::table::Row;

/// The commands of the documentation.
pub const PROMISED: &str = "ping echo hello auth select quit reset command client config info time dbsize flushdb flushall get set setnx \
    incr decr incrby decrby incrbyfloat \
    setex psetex getset getdel getex mget mset del unlink exists touch strlen type ttl pttl expiretime pexpiretime expire \
    pexpire expireat pexpireat persist cluster wait scan keys randomkey append getrange substr setrange lcs msetnx \
    rename renamenx copy move swapdb dump restore object \
    setbit getbit bitcount bitpos bitop bitfield bitfield_ro dyn.get dyn.set dyn.del dyn.explain dyn.quorum dyn.database dyn.ring \
    subscribe unsubscribe psubscribe punsubscribe ssubscribe sunsubscribe publish spublish pubsub monitor slowlog latency \
    multi exec discard watch unwatch \
    dyn.members";

/// On one node; the default policy is N=3, R=2, W=2.
pub const ROWS: &[Row] = &[
    ("DEL d", "*"),
    ("DYN.GET never-written", "[nil, []]"),
    ("DYN.GET never-written LOCAL", "[nil, []]"),
    ("DYN.SET d one", "\"…"),
    ("DYN.GET d R 1", "[\"…"),
    ("DYN.GET d R 0", "-ERR R must be between 1 and 3, the copies (N) this database keeps"),
    ("DYN.GET d R 4", "-ERR R must be between 1 and 3, the copies (N) this database keeps"),
    ("DYN.GET d R x", "-ERR value is not an integer or out of range"),
    ("DYN.GET d R", "-ERR syntax error"),
    ("DYN.GET d FOO", "-ERR syntax error"),
    ("DYN.GET d R 1 LOCAL", "-ERR syntax error"),
    ("DYN.GET", "-ERR wrong number of arguments for 'dyn.get' command"),
    ("DYN.SET d", "-ERR wrong number of arguments for 'dyn.set' command"),
    ("DYN.SET d v W 4", "-ERR W must be between 1 and 3, the copies (N) this database keeps"),
    ("DYN.SET d v CONTEXT", "-ERR syntax error"),
    ("DYN.SET d v NX", "-ERR syntax error"),
    ("DYN.SET d v CONTEXT forged", "-ERR invalid context: …"),
    ("DYN.SET d v EX 0", "-ERR invalid expire time in 'dyn.set' command"),
    ("DYN.SET d v EX 1 PX 1", "-ERR syntax error"),
    ("DYN.SET d v ID \"\"", "-ERR ID must be 1 to 256 bytes long; nothing was changed"),
    ("DYN.DEL d CONTEXT forged", "-ERR invalid context: …"),
    ("DYN.DEL d EX 10", "-ERR syntax error"),
    ("GET d", "\"one\""),
    ("DYN.DEL d", "\"…"),
    ("GET d", "nil"),
    ("DYN.SET d two EX 100", "\"…"),
    ("TTL d", "(:99..100)"),
    ("DYN.SET d three PXAT 4102444800123", "\"…"),
    ("PEXPIRETIME d", ":4102444800123"),
    // R + W is not above N: nothing is said of a read behind it.
    ("DYN.SET d four W 1", "\"…"),
    ("SET d plain", "+OK"),
    ("GET d", "\"plain\""),
    ("DYN.QUORUM R 3", "+OK"),
    ("DYN.QUORUM W 1", "+OK"),
    ("DYN.QUORUM R 4", "-ERR R must be between 1 and 3, the copies (N) this database keeps"),
    ("DYN.QUORUM R", "-ERR syntax error"),
    ("DYN.QUORUM N 1", "-ERR syntax error"),
    ("DYN.QUORUM R 0 W DEFAULT", "+OK"),
    ("DYN.DATABASE 16", "-ERR DB index is out of range"),
    ("DYN.DATABASE x", "-ERR value is not an integer or out of range"),
    ("DYN.DATABASE 3 R 4", "-ERR r (4) must not exceed n (3); nothing was changed"),
    ("DYN.DATABASE 3 W 4", "-ERR w (4) must not exceed n (3); nothing was changed"),
    ("DYN.DATABASE 3 DW 3", "-ERR dw (3) must not exceed w (2); nothing was changed"),
    ("DYN.DATABASE 3 SLOPPY maybe", "-ERR syntax error"),
    ("DYN.DATABASE 3 CONFLICT oldest", "-ERR syntax error"),
    ("DYN.DATABASE 3 N", "-ERR syntax error"),
    ("DYN.DATABASE 3 R 1 SLOPPY no CONFLICT newest", "+OK"),
    ("DYN.DATABASE 3 R 2 SLOPPY yes CONFLICT siblings", "+OK"),
    ("DYN.EXPLAIN", "-ERR wrong number of arguments for 'dyn.explain' command"),
    ("DYN.EXPLAIN d", "*"),
    ("DYN.RING", "*"),
    ("DYN.MEMBERS", "*"),
];

/// What changes slots and roles in a Redis Cluster, and what would need a leader: refused, in the words of what holds here.
pub const REFUSED: &[Row] = &[
    ("CLUSTER ADDSLOTS 1", "-ERR CLUSTER ADDSLOTS has nothing to change here: slots follow from the member list, …"),
    ("CLUSTER ADDSLOTSRANGE 1 2", "-ERR CLUSTER ADDSLOTSRANGE has nothing to change here: …"),
    ("CLUSTER BUMPEPOCH", "-ERR CLUSTER BUMPEPOCH has nothing to change here: …"),
    ("CLUSTER DELSLOTS 1", "-ERR CLUSTER DELSLOTS has nothing to change here: …"),
    ("CLUSTER DELSLOTSRANGE 1 2", "-ERR CLUSTER DELSLOTSRANGE has nothing to change here: …"),
    ("CLUSTER FAILOVER", "-ERR CLUSTER FAILOVER has nothing to change here: …"),
    ("CLUSTER FAILOVER FORCE", "-ERR CLUSTER FAILOVER has nothing to change here: …"),
    ("CLUSTER FAILOVER TAKEOVER", "-ERR CLUSTER FAILOVER has nothing to change here: …"),
    ("CLUSTER FLUSHSLOTS", "-ERR CLUSTER FLUSHSLOTS has nothing to change here: …"),
    ("CLUSTER FORGET x", "-ERR CLUSTER FORGET has nothing to change here: …"),
    ("CLUSTER MEET 127.0.0.1 1", "-ERR CLUSTER MEET has nothing to change here: …"),
    ("CLUSTER REPLICATE x", "-ERR CLUSTER REPLICATE has nothing to change here: …"),
    ("CLUSTER RESET", "-ERR CLUSTER RESET has nothing to change here: …"),
    ("CLUSTER RESET HARD", "-ERR CLUSTER RESET has nothing to change here: …"),
    ("CLUSTER RESET SOFT", "-ERR CLUSTER RESET has nothing to change here: …"),
    ("CLUSTER SET-CONFIG-EPOCH 1", "-ERR CLUSTER SET-CONFIG-EPOCH has nothing to change here: …"),
    ("CLUSTER SETSLOT 1 IMPORTING x", "-ERR CLUSTER SETSLOT has nothing to change here: …"),
    ("CLUSTER SETSLOT 1 MIGRATING x", "-ERR CLUSTER SETSLOT has nothing to change here: …"),
    ("CLUSTER SETSLOT 1 NODE x", "-ERR CLUSTER SETSLOT has nothing to change here: …"),
    ("CLUSTER SETSLOT 1 STABLE", "-ERR CLUSTER SETSLOT has nothing to change here: …"),
    ("CLUSTER SETSLOT 1", "-ERR wrong number of arguments for 'cluster|setslot' command"),
    ("CLUSTER HELP", "[+CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:…"),
    ("CLIENT TRACKING ON", "-ERR CLIENT TRACKING is not to be had: …"),
    ("CLIENT TRACKING ON BCAST PREFIX a", "-ERR CLIENT TRACKING is not to be had: …"),
    ("CLIENT TRACKING ON OPTIN NOLOOP", "-ERR CLIENT TRACKING is not to be had: …"),
    ("CLIENT TRACKING ON OPTOUT", "-ERR CLIENT TRACKING is not to be had: …"),
    ("CLIENT NO-TOUCH ON", "+OK"),
    ("CLIENT NO-TOUCH OFF", "+OK"),
    ("CLIENT NO-TOUCH x", "-ERR syntax error"),
];
