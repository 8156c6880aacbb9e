//! INFO's sections about this process: server, clients, memory, persistence, replication, cpu, keyspace.

use super::{facts, line};
use crate::command::memory::Memory;
use crate::command::{DYNAMIS_VERSION, REDIS_VERSION, Server, process};
use crate::key::DATABASES;
use crate::session::Face;
use crate::session::client::Client;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn server(server: &Server, face: Face, out: &mut String) {
    let config = server.config.load();
    let uptime_s = server.started.elapsed().as_secs();
    let executable = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    let now_ms = server.coordinator.now_ms();
    facts!(out,
        "redis_version": REDIS_VERSION,
        "redis_git_sha1": "00000000",
        "redis_git_dirty": 0,
        "redis_build_id": format_args!("dynamis-{DYNAMIS_VERSION}"),
        "dynamis_version": DYNAMIS_VERSION,
        "redis_mode": if face == Face::ClusterView { "cluster" } else { "standalone" },
        "os": process::system(),
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "tokio",
        "atomicvar_api": "rust",
        "gcc_version": "0.0.0",
        "process_id": std::process::id(),
        "process_supervised": "no",
        "run_id": server.run_id,
        // Of the face that is asked, as of a Redis that listens there alone.
        "tcp_port": if face == Face::ClusterView { config.view_port().unwrap_or(config.port) } else { config.port },
        "cluster_port": config.cluster_port(),
        "server_time_usec": now_ms * 1000,
        "uptime_in_seconds": uptime_s,
        "uptime_in_days": uptime_s / 86_400,
        "hz": 10,
        "configured_hz": 10,
        "lru_clock": (now_ms / 1000) & 0xff_ffff,
        "executable": executable,
        "config_file": server.config_file.as_deref().unwrap_or(Path::new("")).display(),
        "io_threads_active": 0,
    );
}

pub(super) fn clients(server: &Server, out: &mut String) {
    let all = server.clients.all();
    let most = |bytes: fn(&Client) -> usize| all.iter().map(|client| bytes(client)).max().unwrap_or(0);
    facts!(out,
        "connected_clients": all.len(),
        "cluster_connections": server.coordinator.view().nodes.iter().filter(|node| node.link.is_some()).count(),
        "maxclients": server.config.load().maxclients,
        "client_recent_max_input_buffer":
            most(|client| client.unread_bytes.load(Relaxed) + client.unread_room_bytes.load(Relaxed)),
        "client_recent_max_output_buffer": most(|client| client.reply_room_bytes.load(Relaxed)),
        "blocked_clients": server.stats.waiting(),
        "tracking_clients": 0,
        "clients_in_timeout_table": 0,
    );
}

/// The process's memory as the system counts it; the allocator keeps no second book, so its figures are the same.
pub(super) fn memory(server: &Server, out: &mut String) {
    let memory = Memory::of(server);
    let (used, peak) = (memory.used, memory.peak);
    facts!(out,
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": used,
        "used_memory_rss_human": human(used),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_peak_perc": format_args!("{:.2}%", memory.peak_percent()),
        "used_memory_overhead": memory.overhead(),
        "used_memory_startup": memory.startup,
        "used_memory_dataset": memory.dataset(),
        "used_memory_dataset_perc": format_args!("{:.2}%", memory.dataset_percent()),
        "allocator_allocated": used,
        "allocator_active": used,
        "allocator_resident": used,
        "total_system_memory": memory.machine,
        "total_system_memory_human": human(memory.machine),
        "used_memory_lua": 0,
        "used_memory_vm_eval": 0,
        "used_memory_lua_human": "0B",
        "used_memory_scripts_eval": 0,
        "number_of_cached_scripts": 0,
        "number_of_functions": 0,
        "number_of_libraries": 0,
        "used_memory_vm_functions": 0,
        "used_memory_vm_total": 0,
        "used_memory_vm_total_human": "0B",
        "used_memory_functions": 0,
        "used_memory_scripts": 0,
        "used_memory_scripts_human": "0B",
        "maxmemory": 0,
        "maxmemory_human": "0B",
        "maxmemory_policy": "noeviction",
        "allocator_frag_ratio": "1.00",
        "allocator_frag_bytes": 0,
        "allocator_rss_ratio": "1.00",
        "allocator_rss_bytes": 0,
        "rss_overhead_ratio": "1.00",
        "rss_overhead_bytes": 0,
        "mem_fragmentation_ratio": "1.00",
        "mem_fragmentation_bytes": 0,
        "mem_not_counted_for_evict": 0,
        "mem_replication_backlog": 0,
        "mem_total_replication_buffers": 0,
        "mem_clients_slaves": 0,
        "mem_clients_normal": memory.clients,
        "mem_cluster_links": 0,
        "mem_aof_buffer": server.coordinator.replica().store().stats().queued_bytes,
        "mem_allocator": if cfg!(feature = "mimalloc") { "mimalloc" } else { "libc" },
        "active_defrag_running": 0,
        "lazyfree_pending_objects": 0,
        "lazyfreed_objects": 0,
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

/// There are no snapshots and no rewrites; a "save" is an fsync of everything, and the "append only file" is the store.
pub(super) fn persistence(server: &Server, out: &mut String) {
    let config = server.config.load();
    let (saves, store) = (&server.saves, server.coordinator.replica().store().stats());
    let puts = server.coordinator.stats.puts.load(Relaxed);
    facts!(out,
        "loading": u8::from(server.is_looking()),
        "async_loading": 0,
        "current_cow_peak": 0,
        "current_cow_size": 0,
        "current_cow_size_age": 0,
        "current_fork_perc": "0.00",
        "current_save_keys_processed": 0,
        "current_save_keys_total": 0,
        "rdb_changes_since_last_save": puts.saturating_sub(saves.puts.load(Relaxed)),
        "rdb_bgsave_in_progress": u8::from(saves.running.load(Relaxed)),
        "bgsave_in_progress": u8::from(saves.running.load(Relaxed)),
        "rdb_last_save_time": saves.last_s.load(Relaxed),
        "rdb_last_bgsave_status": if saves.failed.load(Relaxed) { "err" } else { "ok" },
        "rdb_last_bgsave_time_sec": saves.took_s.load(Relaxed),
        "rdb_current_bgsave_time_sec": -1,
        "rdb_saves": saves.count.load(Relaxed),
        "rdb_last_cow_size": 0,
        "rdb_last_load_keys_expired": 0,
        "rdb_last_load_keys_loaded": 0,
        "aof_enabled": 1,
        "aof_rewrite_in_progress": 0,
        "aof_rewrite_scheduled": 0,
        "aof_last_rewrite_time_sec": -1,
        "aof_current_rewrite_time_sec": -1,
        "aof_last_bgrewrite_status": "ok",
        "aof_rewrites": 0,
        "aof_rewrites_consecutive_failures": 0,
        "aof_last_write_status": if server.coordinator.replica().is_writable() { "ok" } else { "err" },
        "aof_last_cow_size": 0,
        "module_fork_in_progress": 0,
        "module_fork_last_cow_size": 0,
        "aof_current_size": store.disk_bytes,
        "aof_base_size": 0,
        "aof_pending_rewrite": 0,
        "aof_buffer_length": store.queued_bytes,
        "aof_pending_bio_fsync": u8::from(store.number > store.durable_number),
        "aof_delayed_fsync": 0,
        "storage_engine": config.get("storage-engine").unwrap_or_default(),
        "appendfsync": config.get("appendfsync").unwrap_or_default(),
    );
}

pub(super) fn replication(server: &Server, out: &mut String) {
    facts!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": server.run_id,
        "master_replid2": "0000000000000000000000000000000000000000",
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": 0,
        "repl_backlog_size": 0,
        "repl_backlog_first_byte_offset": 0,
        "repl_backlog_histlen": 0,
    );
}

pub(super) fn cpu(out: &mut String) {
    let cpu = process::cpu();
    facts!(out,
        "used_cpu_sys": format_args!("{:.6}", cpu.system),
        "used_cpu_user": format_args!("{:.6}", cpu.user),
        "used_cpu_sys_children": format_args!("{:.6}", cpu.children_system),
        "used_cpu_user_children": format_args!("{:.6}", cpu.children_user),
        "used_cpu_sys_main_thread": format_args!("{:.6}", cpu.main_system),
        "used_cpu_user_main_thread": format_args!("{:.6}", cpu.main_user),
    );
}

/// This node's own copies, as in a Redis Cluster; DBSIZE counts the whole cluster.
pub(super) fn keyspace(server: &Arc<Server>, out: &mut String) {
    let meant = server.coordinator.databases();
    for database in 0..DATABASES {
        let (keys, expires) = server.coordinator.replica().keyspace(meant.stored(database));
        if keys > 0 {
            line(out, format_args!("db{database}:keys={keys},expires={expires},avg_ttl=0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_for_people() {
        assert_eq!(human(100), "100B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(5 << 30), "5.00G");
    }
}
