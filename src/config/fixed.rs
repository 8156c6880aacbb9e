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
    Fact { name: "rdbchecksum", value: "no", why: "there are no snapshot files" },
    Fact { name: "stop-writes-on-bgsave-error", value: "yes", why: "a disk that takes no writes has them refused" },
    Fact { name: "appendfilename", value: "", why: "there is no append only file; the store is in dir" },
    Fact { name: "appenddirname", value: "", why: "there is no append only file; the store is in dir" },
    Fact { name: "maxmemory-clients", value: "0", why: "clients are bounded one by one: client-query-buffer-limit" },
    Fact { name: "activedefrag", value: "no", why: "there is no fragmentation that could be repaired" },
    Fact {
        name: "replicaof",
        value: "",
        why: "every node is a master; nothing follows another node's stream of writes",
    },
    Fact { name: "slaveof", value: "", why: "every node is a master; nothing follows another node's stream of writes" },
    Fact {
        name: "masterauth",
        value: "",
        why: "every node is a master; nothing follows another node's stream of writes",
    },
    Fact {
        name: "masteruser",
        value: "",
        why: "every node is a master; nothing follows another node's stream of writes",
    },
    Fact {
        name: "min-replicas-to-write",
        value: "0",
        why: "W and DW say how many replicas must acknowledge a write: DYN.DATABASE",
    },
    Fact {
        name: "min-slaves-to-write",
        value: "0",
        why: "W and DW say how many replicas must acknowledge a write: DYN.DATABASE",
    },
    Fact {
        name: "replica-ignore-disk-write-errors",
        value: "no",
        why: "a replica that cannot write is no replica for that write",
    },
    Fact { name: "propagation-error-behavior", value: "ignore", why: "nothing is replicated as commands" },
    Fact { name: "cluster-require-full-coverage", value: "no", why: "a node answers for whatever it can" },
    Fact { name: "cluster-allow-reads-when-down", value: "yes", why: "a node answers for whatever it can" },
    Fact { name: "cluster-allow-pubsubshard-when-down", value: "yes", why: "a node answers for whatever it can" },
    Fact {
        name: "cluster-replica-no-failover",
        value: "yes",
        why: "there are no replicas that could take over or move",
    },
    Fact { name: "cluster-slave-no-failover", value: "yes", why: "there are no replicas that could take over or move" },
    Fact {
        name: "cluster-allow-replica-migration",
        value: "no",
        why: "there are no replicas that could take over or move",
    },
    Fact { name: "cluster-config-file", value: "", why: "the members are kept in dir" },
    Fact { name: "tls-port", value: "0", why: "clients are served without TLS; put a proxy in front" },
    Fact { name: "tls-cluster", value: "no", why: "nodes talk without TLS, and prove that they know cluster-secret" },
    Fact {
        name: "tls-replication",
        value: "no",
        why: "nodes talk without TLS, and prove that they know cluster-secret",
    },
    Fact { name: "unixsocket", value: "", why: "clients come in by TCP" },
    Fact { name: "unixsocketperm", value: "0", why: "clients come in by TCP" },
    Fact { name: "protected-mode", value: "no", why: "bind says who can come in; nothing else is refused" },
    Fact { name: "aclfile", value: "", why: "there are no users beside the default one" },
    Fact { name: "acl-pubsub-default", value: "allchannels", why: "there are no users beside the default one" },
    Fact {
        name: "daemonize",
        value: "no",
        why: "the process stays in the foreground and leaves that to who starts it",
    },
    Fact {
        name: "supervised",
        value: "no",
        why: "the process stays in the foreground and leaves that to who starts it",
    },
    Fact { name: "pidfile", value: "", why: "the process stays in the foreground and leaves that to who starts it" },
    Fact {
        name: "bind-source-addr",
        value: "",
        why: "the process stays in the foreground and leaves that to who starts it",
    },
    Fact {
        name: "oom-score-adj",
        value: "no",
        why: "the process stays in the foreground and leaves that to who starts it",
    },
    Fact {
        name: "socket-mark-id",
        value: "0",
        why: "the process stays in the foreground and leaves that to who starts it",
    },
    Fact { name: "logfile", value: "", why: "the log goes to standard error" },
    Fact { name: "syslog-enabled", value: "no", why: "the log goes to standard error" },
    Fact { name: "always-show-logo", value: "no", why: "the log goes to standard error" },
    Fact { name: "crash-log-enabled", value: "no", why: "the log goes to standard error" },
    Fact { name: "crash-memcheck-enabled", value: "no", why: "the log goes to standard error" },
    Fact { name: "ignore-warnings", value: "", why: "the log goes to standard error" },
    Fact { name: "set-proc-title", value: "no", why: "the process keeps the name it was started under" },
    Fact { name: "proc-title-template", value: "", why: "the process keeps the name it was started under" },
    Fact { name: "disable-thp", value: "no", why: "the system's settings and the allocator's are left as they are" },
    Fact {
        name: "jemalloc-bg-thread",
        value: "no",
        why: "the system's settings and the allocator's are left as they are",
    },
    Fact { name: "shutdown-timeout", value: "0", why: "a stop waits for nobody, and saves everything" },
    Fact { name: "shutdown-on-sigint", value: "default", why: "a stop waits for nobody, and saves everything" },
    Fact { name: "shutdown-on-sigterm", value: "default", why: "a stop waits for nobody, and saves everything" },
    Fact { name: "sanitize-dump-payload", value: "yes", why: "what RESTORE is given is always checked" },
    Fact { name: "enable-module-command", value: "no", why: "there are no modules" },
    Fact { name: "enable-protected-configs", value: "no", why: "what only a start can change is never changed later" },
];
