//! Facts that Redis's users ask for by `CONFIG GET` and that are no settings here.
//!
//! They are true of every node and cannot be turned: there is always a log, never an eviction, no snapshot file. Tools
//! read them to find out what kind of server they face (redis-benchmark asks for `save` and `appendonly`).

/// A fact: its name in redis.conf, and its one value.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// The name in redis.conf.
    pub name: &'static str,
    /// The value, here and always.
    pub value: &'static str,
    /// Why it is so.
    pub why: &'static str,
}

/// The facts.
pub const FIXED: &[Fact] = &[
    Fact {
        name: "databases",
        value: "16",
        why: "a database's index has one byte's place in each key, and a policy of its own",
    },
    Fact { name: "save", value: "", why: "there are no snapshots by time; the log holds everything" },
    Fact {
        name: "appendonly",
        value: "yes",
        why: "every write goes to the log before it is acknowledged; appendfsync says when that is synced",
    },
    Fact { name: "dbfilename", value: "", why: "there is no snapshot file" },
    Fact { name: "maxmemory", value: "0", why: "values live on disk, so memory does not bound them" },
    Fact { name: "maxmemory-policy", value: "noeviction", why: "nothing acknowledged is thrown away to make room" },
    Fact { name: "cluster-enabled", value: "yes", why: "a node alone is a cluster of one" },
    Fact { name: "notify-keyspace-events", value: "", why: "no keyspace events are published" },
    Fact { name: "hz", value: "10", why: "nothing here runs by a fixed beat; tools want Redis's default" },
];
