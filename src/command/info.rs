//! INFO: what operators, dashboards and client libraries read of a node.
//!
//! Contract: lines are `key:value` and CRLF under `# Section`; sections come in Redis's order, each once, however often it
//! is named. Unknown sections are ignored. The keys that tools read are all there (facts of the process come from /proc);
//! what we have no such thing of is 0. Nothing here asks other nodes: what is counted is this node's.

use super::step::Step;
use super::{Asked, DYNAMIS_VERSION, REDIS_VERSION, Server, done, latency, process, table};
use crate::key::DATABASES;
use crate::repair::settling;
use crate::resp::reply::Reply;
use crate::session::Face;
use crate::session::subscriptions::KINDS;
use bytes::Bytes;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const SECTIONS: [&str; 13] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
    "dynamo",
];

/// Sections that are shown only when named, or with `all`.
const ON_DEMAND: [&str; 2] = ["commandstats", "latencystats"];

/// `INFO [section …]`
pub fn info(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(Reply::Verbatim(render(asked.server, asked.session.face, &wanted(&words[1..]))))
}

/// The sections that the words name, in order.
fn wanted(words: &[Bytes]) -> Vec<&'static str> {
    let named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name.as_bytes()));
    let (all, default) = (named("all") || named("everything"), words.is_empty() || named("default"));
    let takes = |section: &&str| all || named(section) || (default && !ON_DEMAND.contains(section));
    SECTIONS.into_iter().filter(takes).collect()
}

fn render(server: &Arc<Server>, face: Face, wanted: &[&'static str]) -> String {
    let mut out = String::new();
    for section in wanted {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        let title = section[..1].to_uppercase() + &section[1..];
        let title = if *section == "cpu" { "CPU" } else { &title };
        line(&mut out, format_args!("# {title}"));
        match *section {
            "server" => about_server(server, face, &mut out),
            "clients" => about_clients(server, &mut out),
            "memory" => about_memory(&mut out),
            "persistence" => about_persistence(server, &mut out),
            "stats" => about_stats(server, &mut out),
            "replication" => about_replication(server, &mut out),
            "cpu" => about_cpu(&mut out),
            "commandstats" => about_commands(server, &mut out),
            "errorstats" => about_errors(server, &mut out),
            "latencystats" => {
                latency::info_lines(server).iter().for_each(|text| line(&mut out, format_args!("{text}")));
            }
            "cluster" => line(&mut out, format_args!("cluster_enabled:1")),
            "keyspace" => about_keyspace(server, &mut out),
            _ => about_dynamo(server, &mut out),
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{text}\r\n");
}

/// Writes `name:value` lines.
macro_rules! facts {
    ($out:expr, $($name:literal: $value:expr),* $(,)?) => { $(line($out, format_args!(concat!($name, ":{}"), $value));)* };
}

fn about_server(server: &Server, face: Face, out: &mut String) {
    let config = server.config.load();
    let uptime_s = server.started.elapsed().as_secs();
    let executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    facts!(out,
        "redis_version": REDIS_VERSION,
        "dynamis_version": DYNAMIS_VERSION,
        "redis_mode": if face == Face::ClusterView { "cluster" } else { "standalone" },
        "os": format_args!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "arch_bits": usize::BITS,
        "multiplexing_api": "tokio",
        "process_id": std::process::id(),
        "run_id": server.run_id,
        "tcp_port": config.port,
        "cluster_port": config.cluster_port(),
        "server_time_usec": server.coordinator.now_ms() * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / 86_400,
        "executable": executable,
        "config_file": server.config_file.as_deref().unwrap_or(Path::new("")).display(),
    );
}

fn about_clients(server: &Server, out: &mut String) {
    facts!(out,
        "connected_clients": server.clients.count(),
        "cluster_connections": server.coordinator.view().nodes.iter().filter(|node| node.link.is_some()).count(),
        "maxclients": server.config.load().maxclients,
        "blocked_clients": server.stats.waiting(),
        "tracking_clients": 0,
    );
}

fn about_memory(out: &mut String) {
    let (now, peak) = (process::resident_bytes(), process::resident_peak_bytes());
    facts!(out,
        "used_memory": now,
        "used_memory_human": human(now),
        "used_memory_rss": now,
        "used_memory_rss_human": human(now),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "total_system_memory": process::machine_bytes(),
        "total_system_memory_human": human(process::machine_bytes()),
        "maxmemory": 0,
        "maxmemory_human": "0B",
        "maxmemory_policy": "noeviction",
        "mem_fragmentation_ratio": "1.00",
        "mem_allocator": if cfg!(feature = "mimalloc") { "mimalloc" } else { "libc" },
    );
}

/// Bytes for people, as Redis writes them.
fn human(bytes: u64) -> String {
    let (mut amount, mut unit) = (bytes as f64, "B");
    for next in ["K", "M", "G", "T"] {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, next);
    }
    if unit == "B" { format!("{bytes}B") } else { format!("{amount:.2}{unit}") }
}

fn about_persistence(server: &Server, out: &mut String) {
    let config = server.config.load();
    facts!(out,
        "loading": 0,
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "bgsave_in_progress": 0,
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_last_write_status": if server.coordinator.replica().is_writable() { "ok" } else { "err" },
        "storage_engine": config.get("storage-engine").unwrap_or_default(),
        "appendfsync": config.get("appendfsync").unwrap_or_default(),
    );
}

fn about_stats(server: &Server, out: &mut String) {
    let subscriptions = KINDS.map(|kind| server.clients.subscriptions.read().count(kind));
    let stats = &server.stats;
    facts!(out,
        "total_connections_received": stats.connections.sum(),
        "total_commands_processed": stats.commands_run.sum(),
        "instantaneous_ops_per_sec": stats.commands_per_second(),
        "total_net_input_bytes": stats.bytes_in.sum(),
        "total_net_output_bytes": stats.bytes_out.sum(),
        "rejected_connections": stats.connections_refused.sum(),
        "expired_keys": 0,
        "evicted_keys": 0,
        "keyspace_hits": stats.hits.sum(),
        "keyspace_misses": stats.misses.sum(),
        "pubsub_channels": subscriptions[0],
        "pubsub_patterns": subscriptions[1],
        "pubsubshard_channels": subscriptions[2],
        "client_output_buffer_limit_disconnections": stats.slow_subscribers.sum(),
        "total_error_replies": stats.errors.sum(),
    );
}

fn about_replication(server: &Server, out: &mut String) {
    facts!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_replid": server.run_id,
        "master_repl_offset": 0,
    );
}

fn about_cpu(out: &mut String) {
    let (system, user) = process::cpu_seconds();
    facts!(out,
        "used_cpu_sys": format_args!("{system:.6}"),
        "used_cpu_user": format_args!("{user:.6}"),
    );
}

fn about_commands(server: &Server, out: &mut String) {
    for (entry, stats) in table::table().entries.iter().zip(&server.stats.commands) {
        let (calls, microseconds) = (stats.calls.sum(), stats.microseconds.sum());
        if calls + stats.rejected.sum() > 0 {
            let each = microseconds as f64 / calls.max(1) as f64;
            line(
                out,
                format_args!(
                    "cmdstat_{}:calls={calls},usec={microseconds},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                    entry.name,
                    stats.rejected.sum(),
                    stats.failed.sum(),
                ),
            );
        }
    }
}

fn about_errors(server: &Server, out: &mut String) {
    for (prefix, count) in server.stats.error_prefixes() {
        line(out, format_args!("errorstat_{prefix}:count={count}"));
    }
}

/// This node's own copies, as in a Redis Cluster; DBSIZE counts the whole cluster.
fn about_keyspace(server: &Server, out: &mut String) {
    for database in 0..DATABASES {
        let (keys, expires) = server.coordinator.replica().keyspace(database);
        if keys > 0 {
            line(out, format_args!("db{database}:keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}

fn about_dynamo(server: &Server, out: &mut String) {
    let view = server.coordinator.view();
    let stats = &server.coordinator.stats;
    let members = server.coordinator.membership().stats();
    let replica = server.coordinator.replica();
    let store = replica.store().stats();
    let background = replica.background.stats();
    let settled = server.coordinator.settler().standing();
    let holder = view.index_of_tag(settled.holder).map(|at| view.nodes[at].id.to_string()).unwrap_or_default();
    facts!(out,
        "node_id": view.nodes[view.me].id,
        "members": view.nodes.len(),
        "members_up": members.members_up,
        "members_down": members.members_down,
        "failure_detection_ms_max": members.failure_detection_max.as_millis(),
        "members_down_total": members.downs,
        "members_late_total": members.lates,
        "members_epoch": view.epoch,
        "partitions": view.ring.partitions().count(),
        "coordinated_gets": stats.gets.load(Relaxed),
        "coordinated_puts": stats.puts.load(Relaxed),
        "forwarded": stats.forwarded.load(Relaxed),
        "forwarded_in": stats.forwarded_in.load(Relaxed),
        "hedged_reads": stats.hedged_reads.load(Relaxed),
        "read_repairs": stats.read_repairs.load(Relaxed),
        "reads_with_siblings": stats.reads_with_siblings.load(Relaxed),
        "quorums_missed": stats.quorums_missed.load(Relaxed),
        "hints_placed": stats.hints_placed.load(Relaxed),
        "hints_taken": replica.stats.hints_taken.load(Relaxed),
        "hints_pending": store.hints,
        "hints_bytes": replica.hints_bytes(),
        "hints_dropped": replica.stats.hints_dropped.load(Relaxed),
        "hints_homes_marked": replica.marked_homes().len(),
        "hints_delivered": replica.stats.hints_delivered.load(Relaxed),
        "handoff_bytes": replica.stats.handoff_bytes.load(Relaxed),
        "copies_given_back": replica.stats.copies_given_back.load(Relaxed),
        "exchange_interval_ms": server.config.load().get("exchange-interval-ms").unwrap_or_default(),
        "exchanges": replica.stats.exchanges.load(Relaxed),
        "keys_repaired": replica.stats.keys_repaired.load(Relaxed),
        "exchange_bytes": replica.stats.exchange_bytes.load(Relaxed),
        "background_budget": background.bytes_per_s,
        "background_waiting": background.waiting,
        "background_bytes": background.bytes,
        "foreground_p99_us": background.p99_us,
        "siblings_max": replica.stats.siblings_max.load(Relaxed),
        "tombstones": replica.past.tombstones(),
        "tombstones_reaped": replica.stats.tombstones_reaped.load(Relaxed),
        "resurrections_refused": replica.stats.resurrections_refused.load(Relaxed),
        "mark_lag_ms": settling::lag_ms(settled.mark, replica.clock.last()).map_or(-1, |lag| lag as i64),
        "mark_held_by": holder,
        "settling_round": u8::from(settled.in_round),
        "clock_drift_ms_max": replica.clock.drift_ms_seen(),
        "clock_correction_ms": replica.clock.time.correction_ms(),
        "filling": u8::from(replica.is_filling()),
        "records_damaged": replica.stats.damaged.load(Relaxed),
        "disk_writable": u8::from(replica.is_writable()),
        "disk_free_bytes": store.free_bytes,
        "disk_recoveries": store.recoveries,
        "commits": store.commits,
        "commits_failed": replica.stats.commits_failed.load(Relaxed),
        "commit_keys_most": store.commit_keys_most,
        "fsyncs": store.syncs,
        "fsync_last_us": store.sync_last_us,
        "command_races": server.stats.races.sum(),
    );
    for (at, wrong) in replica.clock.time.wrong_clocks().into_iter().enumerate() {
        line(out, format_args!("clock_drift_node{at}:id={},ahead_ms={}", wrong.member, wrong.ahead_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(text: &str) -> Vec<&'static str> {
        let words: Vec<Bytes> = text.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        wanted(&words)
    }

    #[test]
    fn sections_come_once_and_in_order() {
        assert_eq!(sections("keyspace SERVER server nothing"), ["server", "keyspace"]);
        assert_eq!(sections("everything"), SECTIONS);
        assert_eq!(sections("all"), SECTIONS);
        assert!(!sections("").contains(&"commandstats"));
        assert_eq!(sections("default latencystats commandstats"), SECTIONS);
        assert!(sections("nothing").is_empty());
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(human(100), "100B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(5 << 30), "5.00G");
    }
}
