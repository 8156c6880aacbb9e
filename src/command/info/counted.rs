//! INFO's sections of what was counted: stats, commandstats, errorstats, latencystats.

use super::{facts, line};
use crate::command::{Server, table};
use crate::session::subscriptions::KINDS;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn stats(server: &Server, out: &mut String) {
    let stats = &server.stats;
    let subscriptions = KINDS.map(|kind| server.clients.subscriptions.read().count(kind));
    let rates = server.rates.per_second();
    let kilobytes = |bytes: f64| format!("{:.2}", bytes / 1024.0);
    facts!(out,
        "total_connections_received": stats.connections.sum(),
        "total_commands_processed": stats.commands_run.sum(),
        "instantaneous_ops_per_sec": rates.commands.round(),
        "total_net_input_bytes": stats.bytes_in.sum(),
        "total_net_output_bytes": stats.bytes_out.sum(),
        "total_net_repl_input_bytes": 0,
        "total_net_repl_output_bytes": 0,
        "instantaneous_input_kbps": kilobytes(rates.bytes_in),
        "instantaneous_output_kbps": kilobytes(rates.bytes_out),
        "instantaneous_input_repl_kbps": "0.00",
        "instantaneous_output_repl_kbps": "0.00",
        "rejected_connections": stats.connections_refused.sum(),
        "sync_full": 0,
        "sync_partial_ok": 0,
        "sync_partial_err": 0,
        "expired_keys": server.coordinator.replica().stats.expired.load(Relaxed),
        "expired_stale_perc": "0.00",
        "expired_time_cap_reached_count": 0,
        "expire_cycle_cpu_milliseconds": 0,
        "evicted_keys": 0,
        "evicted_clients": 0,
        "total_eviction_exceeded_time": 0,
        "current_eviction_exceeded_time": 0,
        "keyspace_hits": stats.hits.sum(),
        "keyspace_misses": stats.misses.sum(),
        "pubsub_channels": subscriptions[0],
        "pubsub_patterns": subscriptions[1],
        "pubsubshard_channels": subscriptions[2],
        "client_output_buffer_limit_disconnections": stats.slow_subscribers.sum(),
        "latest_fork_usec": 0,
        "total_forks": 0,
        "migrate_cached_sockets": 0,
        "slave_expires_tracked_keys": 0,
        "active_defrag_hits": 0,
        "active_defrag_misses": 0,
        "active_defrag_key_hits": 0,
        "active_defrag_key_misses": 0,
        "total_active_defrag_time": 0,
        "current_active_defrag_time": 0,
        "tracking_total_keys": 0,
        "tracking_total_items": 0,
        "tracking_total_prefixes": 0,
        "unexpected_error_replies": 0,
        "total_error_replies": stats.errors.sum(),
        "dump_payload_sanitizations": 0,
        "total_reads_processed": stats.reads.sum(),
        "total_writes_processed": stats.writes.sum(),
        "io_threaded_reads_processed": 0,
        "io_threaded_writes_processed": 0,
        "reply_buffer_shrinks": 0,
        "reply_buffer_expands": 0,
    );
}

pub(super) fn commands(server: &Server, out: &mut String) {
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

pub(super) fn errors(server: &Server, out: &mut String) {
    for (prefix, count) in server.stats.error_prefixes() {
        line(out, format_args!("errorstat_{prefix}:count={count}"));
    }
}
