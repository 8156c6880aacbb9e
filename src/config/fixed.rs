//! Facts that Redis's users ask for by `CONFIG GET` and that are no settings here.
//!
//! They are true of every node and cannot be turned: there is always a log, never an eviction, no snapshot file. Tools
//! read them to find out what kind of server they face (redis-benchmark asks for `save` and `appendonly`). Setting one to
//! the value it has is allowed; any other value would be a promise that is not kept, and is refused with the reason.
//! What Redis only tunes stands in [`super::inert`].

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

/// Every fact.
pub fn facts() -> impl Iterator<Item = Fact> {
    let of = |&(why, facts): &Reason| facts.iter().map(move |&(name, value)| Fact { name, value, why });
    BY_REASON.iter().flat_map(of)
}

/// The fact of this name, without regard to case.
pub fn find(name: &str) -> Option<Fact> {
    facts().find(|fact| fact.name.eq_ignore_ascii_case(name))
}

/// Why something is so, and the names and values of what is so for that reason.
type Reason = (&'static str, &'static [(&'static str, &'static str)]);

const BY_REASON: &[Reason] = &[
    ("a database's index has one byte's place in each key, and a policy of its own", &[("databases", "16")]),
    ("there are no snapshots by time; the log holds everything", &[("save", "")]),
    (
        "every write goes to the log before it is acknowledged; appendfsync says when that is synced",
        &[("appendonly", "yes")],
    ),
    ("there is no snapshot file", &[("dbfilename", "")]),
    ("values live on disk, so memory does not bound them", &[("maxmemory", "0")]),
    ("nothing acknowledged is thrown away to make room", &[("maxmemory-policy", "noeviction")]),
    ("a node alone is a cluster of one", &[("cluster-enabled", "yes")]),
    ("no keyspace events are published", &[("notify-keyspace-events", "")]),
    ("there are no snapshot files", &[("rdbchecksum", "no")]),
    ("a disk that takes no writes has them refused", &[("stop-writes-on-bgsave-error", "yes")]),
    ("there is no append only file; the store is in dir", &[("appendfilename", ""), ("appenddirname", "")]),
    ("clients are bounded one by one: client-query-buffer-limit", &[("maxmemory-clients", "0")]),
    ("there is no fragmentation that could be repaired", &[("activedefrag", "no")]),
    (
        "every node is a master; nothing follows another node's stream of writes",
        &[("replicaof", ""), ("slaveof", ""), ("masterauth", ""), ("masteruser", "")],
    ),
    (
        "W and DW say how many replicas must acknowledge a write: DYN.DATABASE",
        &[("min-replicas-to-write", "0"), ("min-slaves-to-write", "0")],
    ),
    ("a replica that cannot write is no replica for that write", &[("replica-ignore-disk-write-errors", "no")]),
    ("nothing is replicated as commands", &[("propagation-error-behavior", "ignore")]),
    (
        "a node answers for whatever it can",
        &[
            ("cluster-require-full-coverage", "no"),
            ("cluster-allow-reads-when-down", "yes"),
            ("cluster-allow-pubsubshard-when-down", "yes"),
        ],
    ),
    (
        "there are no replicas that could take over or move",
        &[
            ("cluster-replica-no-failover", "yes"),
            ("cluster-slave-no-failover", "yes"),
            ("cluster-allow-replica-migration", "no"),
        ],
    ),
    ("clients are told addresses, and host names beside them", &[("cluster-preferred-endpoint-type", "ip")]),
    ("the members are kept in dir", &[("cluster-config-file", "")]),
    ("clients are served without TLS; put a proxy in front", &[("tls-port", "0")]),
    (
        "nodes talk without TLS, and prove that they know cluster-secret",
        &[("tls-cluster", "no"), ("tls-replication", "no")],
    ),
    ("clients come in by TCP", &[("unixsocket", ""), ("unixsocketperm", "0")]),
    ("bind says who can come in; nothing else is refused", &[("protected-mode", "no")]),
    ("there are no users beside the default one", &[("aclfile", ""), ("acl-pubsub-default", "allchannels")]),
    (
        "the process stays in the foreground and leaves that to who starts it",
        &[
            ("daemonize", "no"),
            ("supervised", "no"),
            ("pidfile", ""),
            ("bind-source-addr", ""),
            ("oom-score-adj", "no"),
            ("socket-mark-id", "0"),
        ],
    ),
    (
        "the log goes to standard error",
        &[
            ("logfile", ""),
            ("syslog-enabled", "no"),
            ("always-show-logo", "no"),
            ("crash-log-enabled", "no"),
            ("crash-memcheck-enabled", "no"),
            ("ignore-warnings", ""),
        ],
    ),
    ("the process keeps the name it was started under", &[("set-proc-title", "no"), ("proc-title-template", "")]),
    (
        "the system's settings and the allocator's are left as they are",
        &[("disable-thp", "no"), ("jemalloc-bg-thread", "no")],
    ),
    (
        "a stop waits for nobody, and saves everything",
        &[("shutdown-timeout", "0"), ("shutdown-on-sigint", "default"), ("shutdown-on-sigterm", "default")],
    ),
    ("what RESTORE is given is always checked", &[("sanitize-dump-payload", "yes")]),
    ("there are no modules", &[("enable-module-command", "no")]),
    ("what only a start can change is never changed later", &[("enable-protected-configs", "no")]),
];
