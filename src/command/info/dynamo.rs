//! INFO's section of what only Dynamis has: members, copies, repair, settling, the disk.

use super::line;
use crate::command::Server;
use crate::repair::settling;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn dynamo(server: &Arc<Server>, out: &mut String) {
    let view = server.coordinator.view();
    let stats = &server.coordinator.stats;
    let members = server.coordinator.membership().stats();
    let replica = server.coordinator.replica();
    let store = replica.store().stats();
    let background = replica.background.stats();
    let settled = server.coordinator.settler().standing();
    let holder = view.index_of_tag(settled.holder).map(|at| view.nodes[at].id.to_string()).unwrap_or_default();
    super::facts!(out,
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
