//! The table: every setting's facts, in the order of the manual.
//!
//! A row makes a field of [`Config`], its default, a line of the manual, a flag and an answer of `CONFIG GET`. To add a
//! setting, add a row; the manual's test then says what to paste into `config/dynamis.toml`.

use super::database::DatabaseSettings;
use super::output::OutputLimits;
use super::percentiles::Percentiles;
use super::range::{Range, Refusal};
use super::value::{AppendFsync, Conflict, DebugCommand, LogLevel, PortChoice, StorageEngine, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One setting's facts.
#[derive(Debug)]
pub struct Setting {
    /// Key, flag and `CONFIG GET` name, in kebab-case.
    pub name: &'static str,
    /// The part of the manual it stands in.
    pub group: &'static str,
    /// What its number counts; empty where it counts nothing.
    pub unit: &'static str,
    /// The default, as a text that it parses.
    pub default: &'static str,
    /// What values it takes.
    pub range: Range,
    /// What it means, and what follows from raising and lowering it.
    pub meaning: &'static str,
    /// Whether `CONFIG SET` may change it while the node runs.
    pub mutable: bool,
    /// Whether its value must not be printed.
    pub secret: bool,
    /// Shows the value, as `CONFIG GET` does.
    pub(super) get: fn(&Config, &Range) -> String,
    /// Parses, checks the range, stores.
    pub(super) set: fn(&mut Config, &str, &Range) -> Result<(), Refusal>,
}

/// Makes [`Config`], its default and [`SETTINGS`] from the rows.
macro_rules! settings {
    ($($group:literal { $(
        $field:ident($name:literal): $kind:ty = $default:literal, $unit:literal, $range:expr, $mutable:ident,
            $meaning:literal;
    )* })*) => {
        /// All settings, typed. Each field's range is its row's; [`Config::check`] holds them against each other.
        #[derive(Clone, PartialEq, Eq)]
        pub struct Config {
            $($(#[doc = $meaning] pub $field: $kind,)*)*
            /// The `[[database]]` tables, in the file's order.
            pub databases: Vec<DatabaseSettings>,
            /// What was set of [`super::inert`], by name, where that is not the default.
            pub inert: BTreeMap<&'static str, String>,
        }

        /// Every setting, in the order of the manual.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            name: $name,
            group: $group,
            unit: $unit,
            default: $default,
            range: $range,
            meaning: $meaning,
            mutable: settings!(@mutable $mutable),
            secret: matches!($name.as_bytes(), b"requirepass" | b"cluster-secret"),
            get: |config, range| config.$field.show(range),
            set: |config, text, range| config.$field.parse_over(text, range).map(|value| config.$field = value),
        },)*)*];

        impl Default for Config {
            /// What the table's default texts say.
            fn default() -> Config {
                Config {
                    $($($field: Value::parse($default, &$range).expect("the table's defaults are in range"),)*)*
                    databases: Vec::new(),
                    inert: BTreeMap::new(),
                }
            }
        }
    };
    (@mutable mutable) => { true };
    (@mutable at_start) => { false };
}

/// The largest number Redis takes for its own counts of seconds and clients.
const INT_MAX: u64 = i32::MAX as u64;

settings! {
    "Clients" {
        port("port"): u16 = "6379", "", Range::Between(0, 65535), at_start,
            "The TCP port where Redis clients come in. 0 lets the system choose a free one, and cluster-port must \
             then be set.";
        bind("bind"): Vec<String> = "127.0.0.1", "", Range::Hosts, at_start,
            "The addresses to listen on, for clients and for other nodes alike; * is every IPv4 address. The first \
             one is also what other nodes and clients are told, unless cluster-announce-ip is set. Anything wider \
             than 127.0.0.1 wants requirepass and cluster-secret, or a network you trust.";
        requirepass("requirepass"): String = "", "", Range::Text(512), mutable,
            "The password clients give with AUTH; empty: none is asked for. On a command line other users of the \
             machine can read it, so put it into the file. A change holds for connections made from then on.";
        timeout("timeout"): u64 = "0", "s", Range::Between(0, INT_MAX), mutable,
            "A client that has sent nothing for so long is disconnected; 0: never. Lower frees what dead clients hold \
             sooner, and breaks pools that keep idle connections.";
        tcp_keepalive("tcp-keepalive"): u64 = "300", "s", Range::Between(0, INT_MAX), mutable,
            "How long a client connection may be silent before the system asks whether the other end still lives; 0: \
             never. Lower finds vanished machines sooner, for a few more packets.";
        tcp_backlog("tcp-backlog"): u32 = "511", "connections", Range::Between(1, 65535), at_start,
            "How many connections may wait to be accepted. The system's own limit (net.core.somaxconn) holds too. \
             Raise it where thousands of clients connect at one moment, or some are refused.";
        maxclients("maxclients"): u32 = "10000", "connections", Range::Between(1, u32::MAX as u64), mutable,
            "How many clients may be connected; the next one is told so and closed. Each costs a file descriptor and \
             some kilobytes; the process's limit of open files (ulimit -n) must lie above it.";
        proto_max_bulk_len("proto-max-bulk-len"): u64 = "512mb", "bytes", Range::Memory(1 << 20, 2 << 30), mutable,
            "The longest key or value a client may send. Higher lets one value fill a node's memory N times over, as \
             it lies in the frames to the other homes too; lower refuses large values with an error.";
        client_query_buffer_limit("client-query-buffer-limit"): u64 = "1gb", "bytes", Range::Memory(1 << 20, 64 << 30),
            mutable,
            "The most memory the unanswered requests of one connection may take; beyond it the connection is closed. \
             It bounds a whole command, so an MSET of many values needs room for their sum. Lower protects the node \
             from greedy clients.";
        output_limits("client-output-buffer-limit"): OutputLimits =
            "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60", "", Range::OutputLimits, mutable,
            "How much of what others send it a client may leave unread: at the hard bytes, or above the soft ones for \
             longer than the seconds, it is disconnected; 0: no bound. pubsub bounds subscribers and MONITOR; the other \
             classes are Redis's and bound nothing here, where answers are never piled up. Lower protects the node from \
             slow subscribers, and cuts those that only pause.";
        request_timeout_ms("request-timeout-ms"): u64 = "1000", "ms", Range::Between(10, 600_000), mutable,
            "How long a coordinator waits for R or W replicas before it answers NOQUORUM. Lower fails sooner when \
             replicas stall, and gives up writes that would have succeeded; higher makes clients wait longer for the \
             same news.";
        hedge_percentile("hedge-percentile"): u8 = "99", "%", Range::Between(0, 99), mutable,
            "A read that waits for another home longer than this share of the answers of the last seconds took also \
             asks the next one, and takes the first that comes. 0: never. 99 costs one read in a hundred twice and \
             keeps a node that turns slow from slowing reads down; 50 asks half of them twice, for the smoothest reads \
             on nodes with room to spare.";
        max_siblings("max-siblings"): u32 = "100", "siblings", Range::Between(2, 10_000), mutable,
            "How many siblings a key may have before a client's write that would add one is refused. Clients that \
             never merge run into it; raising it makes each read of such a key heavier. Replication and repair are \
             not bound by it.";
        slowlog_log_slower_than("slowlog-log-slower-than"): i64 = "10000", "us", Range::AtLeast(-1), mutable,
            "A command that took at least so long, from its beginning to its answer, other nodes included, is kept in \
             SLOWLOG. 0: all are; -1: none. Commands of one pipeline that share a round share its time. Lower finds \
             more, and pushes older entries out sooner.";
        slowlog_max_len("slowlog-max-len"): u64 = "128", "entries", Range::Between(0, i64::MAX as u64), mutable,
            "How many entries SLOWLOG keeps; the oldest go first. Higher looks further back, for some kilobytes of \
             memory an entry at most.";
        latency_monitor_threshold("latency-monitor-threshold"): u64 = "0", "ms", Range::Between(0, i64::MAX as u64),
            mutable,
            "What took at least so long, a command or the forcing of the log to the disk, is kept as an event of \
             LATENCY; 0: nothing is. Lower shows more of what is usual, higher only what is rare.";
        latency_tracking("latency-tracking"): bool = "yes", "", Range::YesNo, mutable,
            "Whether the times of each command are counted, for LATENCY HISTOGRAM and INFO's latencystats. no saves an \
             addition for each kind of command in a batch, and 4 KB for each kind that ever ran.";
        latency_percentiles("latency-tracking-info-percentiles"): Percentiles = "50 99 99.9", "", Range::Percentiles,
            mutable,
            "Which percentiles of each command's times INFO latencystats shows. More of them make INFO longer; nothing \
             else depends on it.";
        enable_debug_command("enable-debug-command"): DebugCommand = "no", "", Range::OneOf(DebugCommand::WORDS), at_start,
            "Who may run DEBUG, with which tests hold connections and let expired keys lie. no: nobody. local: clients \
             that come from 127.0.0.1 or ::1. yes: everyone who may come in.";
        loglevel("loglevel"): LogLevel = "notice", "", Range::OneOf(LogLevel::WORDS), mutable,
            "The least important lines that are logged to standard error. debug logs each exchange between nodes and \
             slows a busy node down; warning logs only what needs someone's attention.";
    }
    "Storage" {
        dir("dir"): PathBuf = "./data", "", Range::Path, at_start,
            "Where this node keeps its replicas and its identity; made if missing, and locked while the node runs. A \
             directory belongs to one node of one cluster for good: with an empty one the node is a new member.";
        storage_engine("storage-engine"): StorageEngine = "fjall", "", Range::OneOf(StorageEngine::WORDS), at_start,
            "fjall keeps replicas on disk; memory keeps them in memory and forgets them when the process ends, which \
             suits tests and a cluster that is only a cache. All nodes of a cluster should agree.";
        appendfsync("appendfsync"): AppendFsync = "everysec", "", Range::OneOf(AppendFsync::WORDS), mutable,
            "When the log is forced to the disk. always: before each acknowledgement; slow disks make slow writes. \
             everysec: a power cut may lose this node's last second (up to three when its disk is slow; then writes wait \
             for it), which the other replicas still have unless they lose power too. no: when the system likes. A killed process loses nothing in any mode.";
        free_space_min_bytes("free-space-min-bytes"): u64 = "256mb", "bytes", Range::Memory(0, 1 << 50), mutable,
            "While the file system of dir has less free space than this, the node refuses writes, its own and other \
             nodes', and other nodes take its place; reads go on, and writes too once there is space again. It keeps \
             room for the work that makes room. 0: writes go on until the disk is full.";
        cache_bytes("cache-bytes"): u64 = "64mb", "bytes", Range::Memory(0, 1 << 40), at_start,
            "The memory for reading: half of it holds records read or written lately, half blocks of the disk's \
             tables. Higher spares reads of keys that are no longer in memory (a cold read costs about six times a \
             hot one); lower leaves memory to others.";
    }
    "Cluster" {
        cluster_port("cluster-port"): u16 = "0", "", Range::Between(0, 65535), at_start,
            "The TCP port where other nodes come in (the bus); 0: port + 10000. Firewalls must let the nodes reach \
             each other here.";
        cluster_announce_ip("cluster-announce-ip"): String = "", "", Range::Host, mutable,
            "The address other nodes and clients are told for this node; empty: the first one of bind. Needed where a \
             node listens on all addresses, or behind address translation. A wrong one makes a member nobody can \
             reach, until it is set right. Changed, all members are told at once, and dial anew.";
        cluster_announce_hostname("cluster-announce-hostname"): String = "", "", Range::HostName, mutable,
            "A host name that CLUSTER SLOTS, SHARDS and NODES tell beside this node's address, for clients that \
             would rather connect to names (certificates); empty: none.";
        cluster_announce_port("cluster-announce-port"): u16 = "0", "", Range::Between(0, 65535), mutable,
            "The port that CLUSTER SLOTS, SHARDS and NODES tell clients for this node; 0: cluster-view-port, or port \
             where that is off. Needed where address translation changes ports.";
        cluster_announce_bus_port("cluster-announce-bus-port"): u16 = "0", "", Range::Between(0, 65535), mutable,
            "The port at which other nodes are told to reach this one; 0: cluster-port. Needed where address \
             translation changes ports. Changed, all members are told at once, and dial anew.";
        cluster_view_port("cluster-view-port"): PortChoice = "auto", "", Range::PortOrAuto, at_start,
            "The TCP port for Redis Cluster's client libraries; auto: port + 1000, 0: none. It shows the same data as \
             port, in Redis Cluster's manners: each slot has a master (the first of its homes that can be reached), \
             SCAN, KEYS, DBSIZE and RANDOMKEY cover only the slots this node is master of, other nodes' slots are \
             MOVED, only database 0 is there. CLUSTER SLOTS, SHARDS and NODES announce it on both ports; with 0 they \
             announce port. Firewalls must let cluster clients in here.";
        shutdown_drain_ms("shutdown-drain-ms"): u64 = "500", "ms", Range::Between(0, 60_000), mutable,
            "How long a node that is told to stop sends the clients of its cluster view elsewhere (MOVED) before it \
             closes; it stops at once when there are none, or no other node. Higher gives clients that send seldom \
             time to learn; 0 drops them.";
        cluster_name("cluster-name"): String = "dynamis", "", Range::Word(1, 64), at_start,
            "The cluster's name. Nodes of different names refuse each other, so that a wrong seed cannot join two \
             clusters into one. A directory remembers its cluster; give each cluster its own name.";
        cluster_secret("cluster-secret"): String = "", "", Range::Text(512), at_start,
            "What nodes prove to each other that they know before anything else is said; empty: anyone who reaches \
             the bus may join. The same on all nodes. On a command line other users of the machine can read it, so \
             put it into the file.";
        seeds("seeds"): Vec<String> = "", "", Range::Endpoints, at_start,
            "Bus addresses (host:cluster-port) of nodes to ask to join when the directory is empty; names are \
             resolved again at each try. Empty: found a cluster of one. Give all nodes of a new cluster the same \
             list: the first of it founds the cluster when it finds none at the others. Ignored once the node is a \
             member.";
        zone("zone"): String = "", "", Range::Word(0, 64), at_start,
            "What fails together with this node: a rack, a room, a provider's zone. The copies of a key are spread \
             over as many zones as there are. Name either all nodes' zones or none; each node without one counts as a \
             zone of its own.";
        weight("weight"): u32 = "1", "", Range::Between(1, 1000), at_start,
            "This node's share of the data beside the other nodes' weights: a node of weight 2 is home to twice the \
             partitions of a node of weight 1. Raise it for larger machines.";
        partitions("partitions"): u16 = "256", "partitions", Range::PowerOfTwo(16384), at_start,
            "Into how many parts the keys are cut: the unit of placement and repair. Fixed when the cluster is \
             founded; other nodes take the cluster's. Higher balances many nodes more evenly (ten for each node is a \
             good least), and costs memory and messages for each.";
        exchange_interval_ms("exchange-interval-ms"): u64 = "1000", "ms", Range::Between(10, 86_400_000), mutable,
            "How often this node compares its copies with those of one other member, each in turn; one that comes \
             back is compared with within this time. Where nothing differs a comparison costs some kilobytes. Lower \
             finds stale copies sooner; higher spares small nodes.";
        background_latency_target_ms("background-latency-target-ms"): u64 = "50", "ms", Range::Between(1, 60_000), mutable,
            "While one in a hundred requests of clients takes longer than this, repair yields: what handoff, exchange, \
             filling up and reaping may move together is halved each second, down to a 32nd of \
             background-bytes-per-s-max. Lower favours clients on a busy node; higher makes copies whole sooner.";
        background_bytes_per_s_max("background-bytes-per-s-max"): u64 = "64mb", "bytes", Range::Memory(64 << 10, 64 << 30),
            mutable,
            "The most that handoff, exchange, filling up and reaping may move together in a second while clients are \
             served in time. Lower leaves disks and links to clients; higher makes a returned node whole sooner.";
        probe_period_ms("probe-period-ms"): u64 = "400", "ms", Range::Between(20, 60_000), at_start,
            "How often this node asks one other member, each in turn, whether it is there. Lower finds silent members \
             sooner, for more packets and more false alarms on busy machines; a refused connection or late answers are \
             noticed at once in any case. INFO shows what follows (failure_detection_ms_max). The same on all nodes.";
        suspicion_timeout_ms("suspicion-timeout-ms"): u64 = "1200", "ms", Range::Between(20, 600_000), at_start,
            "How long a member that did not answer may contradict before it is held to be away. Lower finds silent members \
             sooner; higher forgives longer pauses and flapping links. The same on all nodes.";
        hint_ttl_ms("hint-ttl-ms"): u64 = "10800000", "ms", Range::Between(100, 2_592_000_000), mutable,
            "How long this node remembers, key by key, what it keeps for a home that is away. Older copies stay, and are \
             looked for among all copies when the home is back, which takes longer than handing back what is noted. \
             Higher makes the return after a long absence cheaper.";
        hint_bytes_max("hint-bytes-max"): u64 = "1gb", "bytes", Range::Memory(1 << 10, 1 << 40), mutable,
            "How many bytes of copies this node notes for one home that is away; what is kept beyond that is looked for \
             among all copies when the home is back. No client is refused for it. Higher makes the return after a long \
             absence cheaper; lower bounds the notes on small nodes.";
        max_clock_drift_ms("max-clock-drift-ms"): u64 = "500", "ms", Range::Between(1, 86_400_000), mutable,
            "How far two nodes' clocks may differ. A node whose own is further than half of it from the middle of all \
             members' clocks goes by the middle; one that is merely heard of pulls no node further ahead. Who is \
             further off than the whole is named in the log and in INFO. It takes three members. Higher tolerates machines with worse clocks; lower keeps a wrong clock from \
             winning where two writes have not seen each other, and expiries exact.";
    }
    "Copies: every database's policy, unless its [[database]] says otherwise. Read when a cluster is founded, then \
     cluster state" {
        n("n"): u8 = "3", "copies", Range::Between(1, 16), at_start,
            "N: copies kept of each key, on as many nodes; a smaller cluster keeps one on each node. Higher survives \
             more failures at once, for as many times the disk and the traffic.";
        r("r"): u8 = "2", "replicas", Range::Between(1, 16), at_start,
            "R: replicas whose answer a read waits for. With R + W > N a read sees every write acknowledged before \
             it, as long as homes answer. Lower reads faster and staler; higher is slower and fails sooner when nodes \
             are away.";
        w("w"): u8 = "2", "replicas", Range::Between(1, 16), at_start,
            "W: replicas whose acknowledgement a write waits for. 1 is always writeable and rests on one node until \
             the others have it; N fails as soon as one home is away, unless sloppy finds another node.";
        dw("dw"): u8 = "0", "replicas", Range::Between(0, 16), at_start,
            "DW: how many of the W acknowledgements must come from replicas that have forced the write to disk. 1 \
             survives a power cut of all nodes at the price of one fsync per batch; 0 leaves it to appendfsync.";
        sloppy("sloppy"): bool = "yes", "", Range::YesNo, at_start,
            "yes: while homes are away, other nodes take their place and hand the writes back later, so writes go on. \
             no: only homes count, so fewer reads are stale and requests fail when too many homes are away.";
        conflict("conflict"): Conflict = "siblings", "", Range::OneOf(Conflict::WORDS), at_start,
            "What becomes of values written at one time by clients that did not see each other's. siblings: all are \
             kept, until a write that has seen them (DYN.GET and DYN.SET with its context). newest: the later clock \
             wins and the other write is lost.";
    }
}
