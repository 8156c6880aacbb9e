//! Redis's settings of things that do not exist here: readable, settable, and without effect.
//!
//! The switches of a machine that was never built in. Redis's clients, tests and configuration scripts turn them all the
//! same ("lists of up to so many elements are kept small"), and whoever turns them loses nothing by it: none of them
//! promises anything that would not hold here. They tune how Redis lays out types, files and threads of its own. What
//! would be a promise (`maxmemory`, `replicaof`, `tls-port`, `notify-keyspace-events` …) is a fact instead ([`super::fixed`]) and
//! refuses every value but the true one.
//!
//! # Contract
//! - A value must be of the kind that Redis takes; it is remembered until the process ends, so that who reads what it set,
//!   or puts back what it read, finds what it expects. `CONFIG REWRITE` does not write it.
//! - A setting of two names (`slave-…` and `replica-…`, `…-ziplist-…` and `…-listpack-…`) is one setting.
//! - What Redis reads only at its start (`io-threads`) may be given at the start, and `CONFIG SET` refuses it in Redis's words.
//! - Whoever sets one waits for nothing: `cluster-node-timeout` does not make a silent member be noticed sooner, as
//!   `probe-period-ms` and `suspicion-timeout-ms` do, and certificates are read by nobody while TLS cannot be turned on.

use super::range::Refusal;

/// What values Redis takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number from the first to the second.
    Number(i64, i64),
    /// An amount of memory, with Redis's units.
    Memory,
    /// yes or no.
    YesNo,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Three numbers from -2000 to 2000, separated by spaces.
    OomScores,
    /// Any text.
    Text,
}

/// A setting without effect.
#[derive(Clone, Copy, Debug)]
pub struct Inert {
    /// Its name in redis.conf.
    pub name: &'static str,
    /// Its other name, if it has one.
    pub alias: Option<&'static str>,
    /// Redis 7.0's default.
    pub default: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Whether Redis reads it only at its start.
    pub at_start: bool,
}

const INT_MAX: i64 = i32::MAX as i64;
const INT_MIN: i64 = i32::MIN as i64;
const LONG_MAX: i64 = i64::MAX;
const SYSLOG_FACILITIES: &[&str] =
    &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];

const fn inert(name: &'static str, default: &'static str, kind: Kind) -> Inert {
    Inert { name, alias: None, default, kind, at_start: false }
}

const fn number(name: &'static str, default: &'static str, least: i64, most: i64) -> Inert {
    inert(name, default, Kind::Number(least, most))
}

const fn yes_no(name: &'static str, default: &'static str) -> Inert {
    inert(name, default, Kind::YesNo)
}

const fn memory(name: &'static str, default: &'static str) -> Inert {
    inert(name, default, Kind::Memory)
}

const fn text(name: &'static str, default: &'static str) -> Inert {
    inert(name, default, Kind::Text)
}

impl Inert {
    const fn or(mut self, alias: &'static str) -> Inert {
        self.alias = Some(alias);
        self
    }

    const fn at_start(mut self) -> Inert {
        self.at_start = true;
        self
    }

    /// Whether that is one of its names, without regard to case.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// The text as `CONFIG GET` shows it, when it is of the right kind.
    pub fn read(&self, text: &str) -> Result<String, Refusal> {
        match self.kind {
            Kind::Number(least, most) => match text.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                Ok(_) => Err(Refusal::OutsideSigned(least, most)),
                Err(_) => Err(Refusal::NoNumber),
            },
            Kind::Memory => super::value::memory(text).map(|bytes| bytes.to_string()).ok_or(Refusal::NoMemory),
            Kind::YesNo => match text.to_ascii_lowercase().as_str() {
                word @ ("yes" | "no") => Ok(word.to_owned()),
                _ => Err(Refusal::NeitherYesNorNo),
            },
            Kind::OneOf(words) => match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                Some(word) => Ok((*word).to_owned()),
                None => Err(Refusal::NoneOf(words)),
            },
            Kind::OomScores => oom_scores(text),
            Kind::Text => Ok(text.to_owned()),
        }
    }
}

fn oom_scores(text: &str) -> Result<String, Refusal> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.len() != 3 {
        return Err(Refusal::WrongCount);
    }
    let is_score = |word: &&str| word.parse::<i32>().is_ok_and(|score| (-2000..=2000).contains(&score));
    if words.iter().all(is_score) { Ok(words.join(" ")) } else { Err(Refusal::NoOomScores) }
}

/// All of them.
pub const INERT: &[Inert] = &[
    // How small values of types are laid out.
    number("hash-max-listpack-entries", "512", 0, LONG_MAX).or("hash-max-ziplist-entries"),
    number("hash-max-listpack-value", "64", 0, LONG_MAX).or("hash-max-ziplist-value"),
    number("list-max-listpack-size", "-2", INT_MIN, INT_MAX).or("list-max-ziplist-size"),
    number("list-compress-depth", "0", 0, INT_MAX),
    number("set-max-intset-entries", "512", 0, LONG_MAX),
    number("zset-max-listpack-entries", "128", 0, LONG_MAX).or("zset-max-ziplist-entries"),
    number("zset-max-listpack-value", "64", 0, LONG_MAX).or("zset-max-ziplist-value"),
    number("hll-sparse-max-bytes", "3000", 0, LONG_MAX),
    memory("stream-node-max-bytes", "4096"),
    number("stream-node-max-entries", "100", 0, LONG_MAX),
    // The pace of work in the background of one thread, and of memory that is given back.
    number("hz", "10", 0, INT_MAX),
    yes_no("dynamic-hz", "yes"),
    number("active-expire-effort", "1", 1, 10),
    yes_no("activerehashing", "yes"),
    number("active-defrag-cycle-min", "1", 1, 99),
    number("active-defrag-cycle-max", "25", 1, 99),
    number("active-defrag-threshold-lower", "10", 0, 1000),
    number("active-defrag-threshold-upper", "100", 0, 1000),
    number("active-defrag-max-scan-fields", "1000", 1, LONG_MAX),
    memory("active-defrag-ignore-bytes", "104857600"),
    yes_no("lazyfree-lazy-eviction", "no"),
    yes_no("lazyfree-lazy-expire", "no"),
    yes_no("lazyfree-lazy-server-del", "no"),
    yes_no("lazyfree-lazy-user-del", "no"),
    yes_no("lazyfree-lazy-user-flush", "no"),
    // Eviction, of which there is none.
    number("maxmemory-samples", "5", 1, 64),
    number("maxmemory-eviction-tenacity", "10", 0, 100),
    number("lfu-log-factor", "10", 0, INT_MAX),
    number("lfu-decay-time", "1", 0, INT_MAX),
    // Snapshots and the append only file, as files.
    yes_no("rdbcompression", "yes"),
    yes_no("rdb-save-incremental-fsync", "yes"),
    yes_no("rdb-del-sync-files", "no"),
    yes_no("aof-load-truncated", "yes"),
    yes_no("aof-use-rdb-preamble", "yes"),
    yes_no("aof-rewrite-incremental-fsync", "yes"),
    yes_no("aof-timestamp-enabled", "no"),
    yes_no("aof-disable-auto-gc", "no"),
    yes_no("no-appendfsync-on-rewrite", "no"),
    memory("auto-aof-rewrite-min-size", "67108864"),
    number("auto-aof-rewrite-percentage", "100", 0, INT_MAX),
    // The stream of writes from a master to its replicas.
    memory("repl-backlog-size", "1048576"),
    number("repl-backlog-ttl", "3600", 0, LONG_MAX),
    yes_no("repl-disable-tcp-nodelay", "no"),
    yes_no("repl-diskless-sync", "yes"),
    number("repl-diskless-sync-delay", "5", 0, INT_MAX),
    number("repl-diskless-sync-max-replicas", "0", 0, INT_MAX),
    inert("repl-diskless-load", "disabled", Kind::OneOf(&["disabled", "on-empty-db", "swapdb"])),
    number("repl-ping-replica-period", "10", 1, INT_MAX).or("repl-ping-slave-period"),
    number("repl-timeout", "60", 1, INT_MAX),
    number("min-replicas-max-lag", "10", 0, INT_MAX).or("min-slaves-max-lag"),
    number("replica-priority", "100", 0, INT_MAX).or("slave-priority"),
    yes_no("replica-announced", "yes"),
    text("replica-announce-ip", "").or("slave-announce-ip"),
    number("replica-announce-port", "0", 0, 65535).or("slave-announce-port"),
    yes_no("replica-read-only", "yes").or("slave-read-only"),
    yes_no("replica-serve-stale-data", "yes").or("slave-serve-stale-data"),
    yes_no("replica-ignore-maxmemory", "yes").or("slave-ignore-maxmemory"),
    yes_no("replica-lazy-flush", "no").or("slave-lazy-flush"),
    // Failover of a master to its replica, of which there is neither.
    number("cluster-migration-barrier", "1", 0, INT_MAX),
    number("cluster-replica-validity-factor", "10", 0, INT_MAX).or("cluster-slave-validity-factor"),
    // The bus of Redis's nodes.
    number("cluster-node-timeout", "15000", 0, LONG_MAX),
    memory("cluster-link-sendbuf-limit", "0"),
    number("cluster-announce-tls-port", "0", 0, 65535),
    // Redis's threads, and where they and the log's lines go.
    number("io-threads", "1", 1, 128).at_start(),
    yes_no("io-threads-do-reads", "no").at_start(),
    text("server_cpulist", "").at_start(),
    text("bio_cpulist", "").at_start(),
    text("aof_rewrite_cpulist", "").at_start(),
    text("bgsave_cpulist", "").at_start(),
    inert("oom-score-adj-values", "0 200 800", Kind::OomScores),
    text("syslog-ident", "redis").at_start(),
    inert("syslog-facility", "local0", Kind::OneOf(SYSLOG_FACILITIES)).at_start(),
    // How TLS would be spoken; it cannot be turned on.
    text("tls-cert-file", ""),
    text("tls-key-file", ""),
    text("tls-key-file-pass", ""),
    text("tls-client-cert-file", ""),
    text("tls-client-key-file", ""),
    text("tls-client-key-file-pass", ""),
    text("tls-dh-params-file", ""),
    text("tls-ca-cert-file", ""),
    text("tls-ca-cert-dir", ""),
    text("tls-protocols", ""),
    text("tls-ciphers", ""),
    text("tls-ciphersuites", ""),
    yes_no("tls-prefer-server-ciphers", "no"),
    yes_no("tls-session-caching", "yes"),
    number("tls-session-cache-size", "20480", 0, INT_MAX),
    number("tls-session-cache-timeout", "300", 0, INT_MAX),
    inert("tls-auth-clients", "yes", Kind::OneOf(&["no", "yes", "optional"])),
    // Scripts, access lists and tracking, of which there are none.
    number("busy-reply-threshold", "5000", 0, LONG_MAX).or("lua-time-limit"),
    number("acllog-max-len", "128", 0, LONG_MAX),
    number("tracking-table-max-keys", "1000000", 0, LONG_MAX),
];

/// The setting of that name.
pub fn find(name: &str) -> Option<&'static Inert> {
    INERT.iter().find(|inert| inert.is_called(name))
}

/// All their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    INERT.iter().flat_map(|inert| [Some(inert.name), inert.alias]).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_default_is_of_its_kind() {
        for inert in INERT {
            assert_eq!(inert.read(inert.default).as_deref(), Ok(inert.default), "{}", inert.name);
        }
    }

    #[test]
    fn what_is_set_is_remembered_under_both_names() {
        let mut config = Config::default();
        config.change("list-max-ziplist-size", "7").unwrap();
        assert_eq!(config.get("list-max-listpack-size").as_deref(), Some("7"));
        assert_eq!(config.get("LIST-MAX-ZIPLIST-SIZE").as_deref(), Some("7"));
        config.change("list-max-listpack-size", "-2").unwrap();
        assert_eq!(config, Config::default());
        config.change("auto-aof-rewrite-min-size", "1mb").unwrap();
        assert_eq!(config.get("auto-aof-rewrite-min-size").as_deref(), Some("1048576"));
    }

    #[test]
    fn refusals_are_redis_s() {
        let refused = |name: &str, text: &str| Config::default().change(name, text).unwrap_err().reason();
        assert_eq!(refused("hz", "abc"), "argument couldn't be parsed into an integer");
        assert_eq!(refused("active-expire-effort", "11"), "argument must be between 1 and 10 inclusive");
        assert_eq!(refused("lazyfree-lazy-eviction", "x"), "argument must be 'yes' or 'no'");
        assert_eq!(refused("repl-backlog-size", "10x"), "argument must be a memory value");
        assert_eq!(
            refused("repl-diskless-load", "x"),
            "argument(s) must be one of the following: disabled, on-empty-db, swapdb"
        );
        assert_eq!(refused("oom-score-adj-values", "1 2"), "wrong number of arguments");
        for text in ["1 2 x", "0 200 2001"] {
            let reason = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
            assert_eq!(refused("oom-score-adj-values", text), reason);
        }
    }

    #[test]
    fn what_redis_reads_at_its_start_can_be_given_there_and_not_changed() {
        let mut config = Config::default();
        config.set("io-threads", "4").unwrap();
        assert_eq!(config.get("io-threads").as_deref(), Some("4"));
        assert_eq!(config.change("io-threads", "4").unwrap_err().reason(), "can't set immutable config");
        assert_eq!(Config::mutable("io-threads"), Some(false));
        assert_eq!(Config::mutable("cluster-node-timeout"), Some(true));
    }
}
