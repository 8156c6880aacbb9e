//! INFO: Redis's sections and fields, and figures that are measured.

use super::Subject;
use crate::harness::cluster::Cluster;
use crate::harness::resp::Connection;
use crate::harness::wait;

/// The fields of Redis 7.0.15, by section.
const FIELDS: &[(&str, &str)] = &[
    (
        "Server",
        "redis_version redis_git_sha1 redis_git_dirty redis_build_id redis_mode os arch_bits monotonic_clock \
         multiplexing_api atomicvar_api gcc_version process_id process_supervised run_id tcp_port \
         server_time_usec uptime_in_seconds uptime_in_days hz configured_hz lru_clock executable config_file \
         io_threads_active",
    ),
    (
        "Clients",
        "connected_clients cluster_connections maxclients client_recent_max_input_buffer \
         client_recent_max_output_buffer blocked_clients tracking_clients clients_in_timeout_table",
    ),
    (
        "Memory",
        "used_memory used_memory_human used_memory_rss used_memory_rss_human used_memory_peak \
         used_memory_peak_human used_memory_peak_perc used_memory_overhead used_memory_startup \
         used_memory_dataset used_memory_dataset_perc allocator_allocated allocator_active allocator_resident \
         total_system_memory total_system_memory_human used_memory_lua used_memory_vm_eval \
         used_memory_lua_human used_memory_scripts_eval number_of_cached_scripts number_of_functions \
         number_of_libraries used_memory_vm_functions used_memory_vm_total used_memory_vm_total_human \
         used_memory_functions used_memory_scripts used_memory_scripts_human maxmemory maxmemory_human \
         maxmemory_policy allocator_frag_ratio allocator_frag_bytes allocator_rss_ratio allocator_rss_bytes \
         rss_overhead_ratio rss_overhead_bytes mem_fragmentation_ratio mem_fragmentation_bytes \
         mem_not_counted_for_evict mem_replication_backlog mem_total_replication_buffers mem_clients_slaves \
         mem_clients_normal mem_cluster_links mem_aof_buffer mem_allocator active_defrag_running \
         lazyfree_pending_objects lazyfreed_objects",
    ),
    (
        "Persistence",
        "loading async_loading current_cow_peak current_cow_size current_cow_size_age current_fork_perc \
         current_save_keys_processed current_save_keys_total rdb_changes_since_last_save \
         rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status rdb_last_bgsave_time_sec \
         rdb_current_bgsave_time_sec rdb_saves rdb_last_cow_size rdb_last_load_keys_expired \
         rdb_last_load_keys_loaded aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled \
         aof_last_rewrite_time_sec aof_current_rewrite_time_sec aof_last_bgrewrite_status aof_rewrites \
         aof_rewrites_consecutive_failures aof_last_write_status aof_last_cow_size module_fork_in_progress \
         module_fork_last_cow_size",
    ),
    (
        "Stats",
        "total_connections_received total_commands_processed instantaneous_ops_per_sec total_net_input_bytes \
         total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes \
         instantaneous_input_kbps instantaneous_output_kbps instantaneous_input_repl_kbps \
         instantaneous_output_repl_kbps rejected_connections sync_full sync_partial_ok sync_partial_err \
         expired_keys expired_stale_perc expired_time_cap_reached_count expire_cycle_cpu_milliseconds \
         evicted_keys evicted_clients total_eviction_exceeded_time current_eviction_exceeded_time \
         keyspace_hits keyspace_misses pubsub_channels pubsub_patterns pubsubshard_channels latest_fork_usec \
         total_forks migrate_cached_sockets slave_expires_tracked_keys active_defrag_hits \
         active_defrag_misses active_defrag_key_hits active_defrag_key_misses total_active_defrag_time \
         current_active_defrag_time tracking_total_keys tracking_total_items tracking_total_prefixes \
         unexpected_error_replies total_error_replies dump_payload_sanitizations total_reads_processed \
         total_writes_processed io_threaded_reads_processed io_threaded_writes_processed reply_buffer_shrinks \
         reply_buffer_expands",
    ),
    (
        "Replication",
        "role connected_slaves master_failover_state master_replid master_replid2 master_repl_offset \
         second_repl_offset repl_backlog_active repl_backlog_size repl_backlog_first_byte_offset \
         repl_backlog_histlen",
    ),
    (
        "CPU",
        "used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread \
         used_cpu_user_main_thread",
    ),
    ("Cluster", "cluster_enabled"),
];

/// The sections, in order.
const SECTIONS: &str = "Server Clients Memory Persistence Stats Replication CPU Modules Commandstats Errorstats Latencystats \
                        Cluster Keyspace";

fn text(connection: &mut Connection, request: &str) -> String {
    connection.done(request).text()
}

fn field(text: &str, name: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("INFO has no {name}:\n{text}")).to_owned()
}

fn number(connection: &mut Connection, name: &str) -> f64 {
    let text = text(connection, "INFO everything");
    field(&text, name).parse().unwrap_or_else(|_| panic!("{name} is no number:\n{text}"))
}

fn titles(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
}

/// Every section and field of Redis is there, in its section, sections in Redis's order.
#[test]
fn every_field_of_redis_is_there() {
    let subject = Subject::start();
    let mut connection = subject.connect(2);
    let everything = text(&mut connection, "INFO everything");
    let ours: Vec<&str> = titles(&everything).into_iter().filter(|title| *title != "Dynamo").collect();
    assert_eq!(ours.join(" "), SECTIONS);
    for (title, fields) in FIELDS {
        let section = text(&mut connection, &format!("INFO {title}"));
        assert_eq!(titles(&section), [*title]);
        for name in fields.split(' ') {
            field(&section, name);
        }
    }
}

/// `default` leaves out what is long, `all` does not, and sections may be named together, in any case, once each.
#[test]
fn sections_are_chosen() {
    let subject = Subject::start();
    let mut connection = subject.connect(2);
    connection.done("PING");
    let all = SECTIONS.split(' ').collect::<Vec<_>>();
    let without = |left_out: &[&str]| all.iter().filter(|title| !left_out.contains(title)).copied().collect::<Vec<_>>();
    let mut chosen = |request: &str| {
        let text = text(&mut connection, request);
        titles(&text).into_iter().filter(|title| *title != "Dynamo").map(str::to_owned).collect::<Vec<_>>()
    };
    let default = without(&["Commandstats", "Latencystats"]);
    assert_eq!(chosen("INFO"), default);
    assert_eq!(chosen("INFO default"), default);
    assert_eq!(chosen("INFO DEFAULT commandSTATS"), without(&["Latencystats"]));
    assert_eq!(chosen("INFO everything"), all);
    assert_eq!(chosen("INFO cpu server CPU nosuch"), ["Server", "CPU"]);
    assert_eq!(chosen("INFO nosuch"), [""; 0]);
}

/// What INFO counts moves with what happens.
#[test]
fn figures_are_measured() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    let before = number(&mut connection, "total_net_output_bytes");
    connection.done(&format!("ECHO {}", "x".repeat(5000)));
    assert!(number(&mut connection, "total_net_output_bytes") >= before + 5000.0);
    assert!(number(&mut connection, "total_net_input_bytes") >= 5000.0);
    assert!(number(&mut connection, "total_reads_processed") >= 3.0);
    assert!(number(&mut connection, "used_memory") > 1_000_000.0);
    assert!(number(&mut connection, "used_memory_peak") >= number(&mut connection, "used_memory_startup"));
    connection.run("GET");
    connection.run("SETEX k 0 v");
    assert_eq!(number(&mut connection, "total_error_replies"), 2.0);
    let everything = text(&mut connection, "INFO everything");
    assert!(field(&everything, "errorstat_ERR").starts_with("count=2"));
    assert!(field(&everything, "cmdstat_get").ends_with("rejected_calls=1,failed_calls=0"), "{everything}");
    assert!(field(&everything, "cmdstat_setex").ends_with("rejected_calls=0,failed_calls=1"), "{everything}");
    connection.done("SET k v");
    assert_eq!(number(&mut connection, "rdb_changes_since_last_save"), 1.0);
    connection.done("SAVE");
    assert_eq!(number(&mut connection, "rdb_changes_since_last_save"), 0.0);
    assert_eq!(number(&mut connection, "rdb_saves"), 1.0);
    connection.done("GET k");
    connection.done("GET nothing");
    assert_eq!((number(&mut connection, "keyspace_hits"), number(&mut connection, "keyspace_misses")), (1.0, 1.0));
}

/// What Redis 7.0.15 counts as found and as missed, command by command.
#[test]
fn keys_are_found_or_missed() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    connection.done("MSET a 5 b x");
    for (line, hits, misses) in [
        ("BITOP AND d a b none", 2.0, 1.0),
        ("COPY a c", 1.0, 0.0),
        ("COPY none c", 0.0, 1.0),
        ("COPY a b", 1.0, 0.0),
        ("BITFIELD a GET u8 0", 1.0, 0.0),
        ("BITFIELD a GET u8 0 SET u8 0 53", 0.0, 0.0),
        ("GETSET a 1", 1.0, 0.0),
        ("SETNX a 1", 0.0, 0.0),
        ("SET a 1", 0.0, 0.0),
        ("SET a 1 NX GET", 1.0, 0.0),
        ("GETEX a", 1.0, 0.0),
        ("GETDEL none", 0.0, 1.0),
        ("EXPIRE a 100", 0.0, 0.0),
        ("APPEND a 1", 0.0, 0.0),
        ("INCR a", 0.0, 0.0),
        ("RENAME a e", 0.0, 0.0),
        ("DEL e", 0.0, 0.0),
        ("OBJECT ENCODING b", 1.0, 0.0),
        ("EXISTS b b none", 2.0, 1.0),
        ("TTL b", 1.0, 0.0),
        ("DUMP b", 1.0, 0.0),
        ("MEMORY USAGE b", 0.0, 0.0),
        ("STRLEN b", 1.0, 0.0),
        ("GETRANGE none 0 1", 0.0, 1.0),
        ("LCS b none", 1.0, 1.0),
        ("MGET a b c", 2.0, 1.0),
    ] {
        connection.done("CONFIG RESETSTAT");
        connection.run(line);
        let counted = (number(&mut connection, "keyspace_hits"), number(&mut connection, "keyspace_misses"));
        assert_eq!(counted, (hits, misses), "{line}");
    }
}

/// The rate of commands is that of the last seconds: it rises with work and falls to nearly nothing after it.
#[test]
fn rates_are_of_just_now() {
    let cluster = Cluster::single(&[("storage-engine", "memory")]);
    let mut connection = cluster.connect(0);
    let pings = [&b"PING\r\n"[..]; 500].concat();
    wait::until("there is much to do", 20, || {
        connection.write(&pings).unwrap();
        (0..500).for_each(|_| drop(connection.receive().unwrap()));
        number(&mut connection, "instantaneous_ops_per_sec") > 100.0
            && number(&mut connection, "instantaneous_input_kbps") > 0.5
    });
    wait::until("there is little to do", 20, || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        number(&mut connection, "instantaneous_ops_per_sec") < 20.0
    });
    connection.done("CONFIG RESETSTAT");
    assert!(number(&mut connection, "total_commands_processed") < 3.0);
}

/// What has expired and was removed from the disk is counted; while the reaper rests it is not removed, and not seen.
#[test]
fn expired_keys_are_counted_once_they_are_gone() {
    let cluster = Cluster::single(&[("enable-debug-command", "yes"), ("max-clock-drift-ms", "1")]);
    let mut connection = cluster.connect(0);
    connection.done("DEBUG SET-ACTIVE-EXPIRE 0");
    for key in ["a", "b", "c"] {
        connection.done(&format!("SET {key} v PX 1"));
    }
    wait::until("they have expired", 10, || connection.run("EXISTS a b c").integer() == 0);
    assert_eq!(number(&mut connection, "expired_keys"), 0.0);
    assert!(text(&mut connection, "INFO keyspace").contains("db0:keys=3,expires=3,"));
    connection.done("DEBUG SET-ACTIVE-EXPIRE 1");
    wait::until("they are gone from the disk", 40, || number(&mut connection, "expired_keys") >= 3.0);
    assert!(!text(&mut connection, "INFO keyspace").contains("db0:"));
}
