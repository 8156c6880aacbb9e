//! Commands about the server and the cluster whose replies have shapes rather than fixed texts.

use crate::harness::cluster::Cluster;
use crate::harness::permits::alone;
use crate::harness::resp::{Connection, Value};
use crate::harness::table::check;
use crate::harness::wait;

fn ask3(cluster: &Cluster) -> Connection {
    let mut connection = cluster.connect(0);
    connection.done("HELLO 3");
    connection
}

/// HELLO tells the protocol in a map (RESP3) or a flat array (RESP2), and the reply is in the new protocol already.
#[test]
fn hello_switches_the_protocol() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    for (request, protocol) in [("HELLO", 2), ("HELLO 3", 3), ("HELLO", 3), ("HELLO 2", 2)] {
        let hello = connection.done(request);
        assert_eq!(matches!(hello, Value::Map(_)), protocol == 3, "{request}: {hello}");
        assert_eq!(hello.field("proto").integer(), protocol);
        assert_eq!(hello.field("server").text(), "redis");
        assert!(hello.field("version").text().starts_with("7."), "{hello}");
        assert!(hello.field("id").integer() > 0);
        assert_eq!(hello.field("role").text(), "master");
        assert!(hello.field("modules").items().is_empty());
    }
    connection.done("HELLO 3 SETNAME named");
    assert_eq!(connection.run("CLIENT GETNAME").text(), "named");
    connection.done("RESET");
    assert_eq!(connection.run("CLIENT GETNAME"), Value::Nil);
    assert!(matches!(connection.done("HELLO"), Value::Array(_)), "RESET goes back to RESP2");
}

/// With a password set, nothing but AUTH, HELLO, QUIT and RESET is answered before it is given.
#[test]
fn a_password_is_asked_for() {
    let cluster = Cluster::prepared(1, &[("requirepass", "s3cret")], None);
    let mut cluster = cluster;
    cluster.nodes[0].start();
    let address = cluster.nodes[0].address;
    wait::until("the node listens", 20, || Connection::open(address).is_ok());
    let mut connection = cluster.connect(0);
    check(
        &mut connection,
        &[
            ("PING", "-NOAUTH Authentication required."),
            ("GET k", "-NOAUTH Authentication required."),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
            (
                "HELLO 3",
                "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH \
                 <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
                 same time",
            ),
            ("AUTH wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH default wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("HELLO 3 AUTH default wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("AUTH s3cret", "+OK"),
            ("PING", "+PONG"),
            ("RESET", "+RESET"),
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH default s3cret", "+OK"),
            ("PING", "+PONG"),
        ],
    );
    let mut other = cluster.connect(0);
    assert!(matches!(other.run("HELLO 3 AUTH default s3cret SETNAME me"), Value::Map(_)));
    assert_eq!(other.run("CLIENT GETNAME").text(), "me");
    assert_eq!(cluster.connect(0).run("QUIT").to_string(), "+OK");
}

/// A node that does not find its cluster says so to everything that Redis refuses while it loads, on both ports, instead of
/// letting clients wait; a connection from then is served once the cluster is found.
#[test]
fn a_node_that_looks_for_its_cluster_says_loading() {
    let looking = "-LOADING Dynamis is looking for its cluster; nothing was changed; try again";
    let mut cluster = Cluster::prepared(2, &[], None);
    // Only the first seed founds a cluster.
    cluster.nodes[1].start();
    wait::until("the node listens", 20, || cluster.nodes[1].try_connect().is_ok());
    for mut connection in [cluster.connect(1), cluster.nodes[1].connect_view()] {
        check(
            &mut connection,
            &[
                ("PING", looking),
                ("SET k v", looking),
                ("GET k", looking),
                ("CLUSTER SLOTS", looking),
                ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
                ("MULTI", "+OK"),
                ("SET k v", looking),
                ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
                ("CONFIG GET timeout", "[\"timeout\", \"0\"]"),
                ("CLIENT SETNAME early", "+OK"),
            ],
        );
        let refused = connection.run("CONFIG SET cluster-announce-port 1");
        assert!(refused.error().contains("in no cluster yet; nothing changed"), "{refused}");
        assert!(connection.done("INFO persistence").text().contains("loading:1\r\n"));
        assert!(connection.done("HELLO 3").field("proto").integer() == 3);
        assert_eq!(connection.run("QUIT").to_string(), "+OK");
    }
    let mut early = cluster.connect(1);
    assert_eq!(early.run("PING").to_string(), looking);
    cluster.start_all();
    assert_eq!(early.run("SET k v").to_string(), "+OK");
    assert!(early.done("INFO persistence").text().contains("loading:0\r\n"));
}

/// SHUTDOWN ends also a node that looks for its cluster.
#[test]
fn a_node_that_looks_for_its_cluster_can_be_shut_down() {
    let mut cluster = Cluster::prepared(2, &[], None);
    cluster.nodes[1].start();
    wait::until("the node listens", 20, || cluster.nodes[1].try_connect().is_ok());
    cluster.connect(1).send(&["SHUTDOWN"]).unwrap();
    assert!(cluster.nodes[1].wait_until_ended().success());
}

/// QUIT answers OK and closes.
#[test]
fn quit_closes() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    connection.write(b"QUIT\r\nPING\r\n").unwrap();
    assert_eq!(connection.rest().unwrap(), b"+OK\r\n");
}

/// Each face tells its own port, as a Redis that listened there alone would.
#[test]
fn info_names_the_port_that_is_asked() {
    let cluster = Cluster::single(&[]);
    let node = &cluster.nodes[0];
    for (mut connection, port) in [(node.connect(), node.address.port()), (node.connect_view(), node.view.port())] {
        let info = connection.done("INFO server").text();
        assert!(info.contains(&format!("\r\ntcp_port:{port}\r\n")), "{info}");
    }
}

/// INFO has the fields tools read, by sections, in Redis's form.
#[test]
fn info_has_what_tools_read() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    connection.done("SET k v");
    connection.done("GET k");
    let info = connection.done("INFO").text();
    for field in [
        "redis_version:7.",
        "redis_mode:",
        "arch_bits:64",
        "tcp_port:",
        "process_id:",
        "run_id:",
        "uptime_in_seconds:",
        "loading:0",
        "connected_clients:",
        "used_memory:",
        "maxmemory_policy:noeviction",
        "total_commands_processed:",
        "total_connections_received:",
        "keyspace_hits:",
        "role:master",
        "connected_slaves:0",
        "used_cpu_sys:",
        "cluster_enabled:1",
    ] {
        assert!(info.contains(&format!("\r\n{field}")), "INFO has no line {field}…:\n{info}");
    }
    assert!(info.contains("# Server\r\n"), "{info}");
    assert!(info.contains(&format!("process_id:{}\r\n", cluster.nodes[0].pid())));
    let server = connection.done("INFO server").text();
    assert!(server.contains("redis_version") && !server.contains("connected_clients"), "{server}");
    let two = connection.done("INFO server clients").text();
    assert!(two.contains("redis_version") && two.contains("connected_clients") && !two.contains("role:"), "{two}");
    assert!(connection.done("INFO commandstats").text().contains("cmdstat_get:calls=1,"));
    assert!(connection.done("INFO everything").text().contains("cmdstat_set:calls=1,"));
    assert_eq!(connection.done("INFO nosuch").text(), "");
    connection.run("NOSUCH");
    assert!(connection.done("INFO errorstats").text().contains("errorstat_ERR:count=1"));
    connection.done("CONFIG RESETSTAT");
    assert!(!connection.done("INFO commandstats").text().contains("cmdstat_get:"));
}

/// CONFIG GET takes several globs and tells Redis's names and ours; CONFIG SET changes what may change, all or nothing.
#[test]
fn config_shows_and_changes_settings() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    assert_eq!(connection.run("CONFIG GET save").to_string(), "[\"save\", \"\"]");
    assert_eq!(connection.run("CONFIG GET appendonly").to_string(), "[\"appendonly\", \"yes\"]");
    assert_eq!(connection.run("CONFIG GET nosuch*").to_string(), "[]");
    let several = connection.run("CONFIG GET max* request-timeout-ms");
    assert_eq!(several.field("maxclients").text(), "10000");
    assert_eq!(several.field("request-timeout-ms").text(), "1000");
    assert_eq!(several.field("maxmemory-policy").text(), "noeviction");
    assert_eq!(connection.run("CONFIG GET port").field("port").text(), cluster.nodes[0].address.port().to_string());
    connection.done("CONFIG SET request-timeout-ms 700 maxclients 900");
    assert_eq!(connection.run("CONFIG GET request-timeout-ms").field("request-timeout-ms").text(), "700");
    let refused = connection.run("CONFIG SET request-timeout-ms 800 maxclients none");
    assert!(refused.error().starts_with("ERR CONFIG SET failed (possibly related to argument 'maxclients') - "));
    assert_eq!(connection.run("CONFIG GET request-timeout-ms").field("request-timeout-ms").text(), "700");
    assert!(matches!(ask3(&cluster).run("CONFIG GET max*"), Value::Map(_)));
    let stars = connection.run("CONFIG GET *");
    assert_eq!(stars.field("cluster-enabled").text(), "yes");
    assert_eq!(stars.field("n").text(), "3");
}

/// A changed setting takes effect: the limit of clients is told to the one too many, who is then closed.
#[test]
fn one_client_too_many_is_told_so() {
    let cluster = Cluster::single(&[]);
    let mut first = cluster.connect(0);
    first.done("CONFIG SET maxclients 2");
    wait::until("a second client is in", 5, || {
        cluster.connect(0).try_ask(&["PING"]).is_ok_and(|reply| !reply.is_error())
    });
    let second = wait::found("a second client stays in", 5, || {
        let mut connection = cluster.connect(0);
        connection.try_ask(&["PING"]).ok().filter(|reply| !reply.is_error()).map(|_| connection)
    });
    assert_eq!(cluster.connect(0).rest().unwrap(), b"-ERR max number of clients reached\r\n");
    drop(second);
    first.done("CONFIG SET maxclients 100");
    wait::until("a client is let in again", 5, || cluster.connect(0).run("PING").to_string() == "+PONG");
}

/// An idle client is closed after `timeout`.
#[test]
fn an_idle_client_is_closed() {
    let cluster = Cluster::single(&[("timeout", "1")]);
    let mut idle = cluster.connect(0);
    idle.done("PING");
    assert_eq!(idle.rest().unwrap(), b"");
}

/// CLIENT LIST and INFO show every connection; CLIENT KILL closes the one that is named.
#[test]
fn clients_are_listed_and_killed() {
    let cluster = Cluster::single(&[]);
    let (mut one, mut other) = (cluster.connect(0), cluster.connect(0));
    other.done("CLIENT SETNAME victim");
    other.done("CLIENT SETINFO LIB-NAME tests");
    other.done("CLIENT SETINFO LIB-VER 1.0");
    assert_eq!(one.run("CLIENT SETINFO FOO bar").to_string(), "-ERR Unrecognized option 'FOO'");
    other.done("SELECT 3");
    let id = other.run("CLIENT ID").integer();
    // The connection that saw the cluster ready may not be gone yet.
    let list = wait::found("only these two are listed", 10, || {
        let list = one.done("CLIENT LIST").text();
        (list.lines().count() == 2).then_some(list)
    });
    let line = list.lines().find(|line| line.contains("name=victim ")).expect("the other is listed");
    for part in [format!("id={id} "), "db=3 ".to_owned(), "cmd=client|id".to_owned(), "lib-name=tests".to_owned()] {
        assert!(line.contains(&part), "no {part} in {line}");
    }
    assert_eq!(one.done(&format!("CLIENT LIST ID {id}")).text().lines().count(), 1);
    assert!(other.done("CLIENT INFO").text().starts_with(&format!("id={id} ")));
    assert_eq!(
        one.run(&format!("CLIENT TRACKING ON REDIRECT {id} REDIRECT {id}")).to_string(),
        "-ERR A client can only redirect to a single other client"
    );
    assert_eq!(one.run(&format!("CLIENT KILL ID {id}")).integer(), 1);
    assert_eq!(other.rest().unwrap(), b"");
    let mut third = cluster.connect(0);
    third.done("PING");
    let local = third.socket().local_addr().unwrap();
    assert_eq!(one.run(&format!("CLIENT KILL {local}")).to_string(), "+OK");
    assert_eq!(third.rest().unwrap(), b"");
    let mut fourth = cluster.connect(0);
    fourth.done("PING");
    assert_eq!(one.run("CLIENT KILL TYPE normal").integer(), 1, "the caller is spared");
    assert_eq!(one.run("CLIENT KILL TYPE normal SKIPME no").integer(), 1, "unless it says not to");
}

/// CLIENT REPLY OFF silences, SKIP silences one reply, ON answers again.
#[test]
fn client_reply_silences() {
    let cluster = Cluster::single(&[]);
    let mut connection = cluster.connect(0);
    for line in ["CLIENT REPLY OFF", "SET k v", "CLIENT REPLY ON"] {
        connection.send(&crate::harness::table::words(line)).unwrap();
    }
    assert_eq!(connection.receive().unwrap().to_string(), "+OK");
    assert_eq!(connection.run("GET k").to_string(), "\"v\"");
    for line in ["CLIENT REPLY SKIP", "GET k", "PING"] {
        connection.send(&crate::harness::table::words(line)).unwrap();
    }
    assert_eq!(connection.receive().unwrap().to_string(), "+PONG");
    for silenced in ["CLIENT REPLY OFF", "CLIENT REPLY SKIP"] {
        connection.send(&crate::harness::table::words(silenced)).unwrap();
        assert_eq!(connection.run("RESET").to_string(), "+RESET", "it takes {silenced} back, and is heard itself");
    }
}

/// CLUSTER tells slots, nodes and shards in the forms that cluster libraries read, the same on every node.
#[test]
fn cluster_commands_describe_three_nodes() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    assert_eq!(connection.run("CLUSTER KEYSLOT foo").integer(), 12182);
    assert_eq!(connection.run("CLUSTER KEYSLOT {user1000}.following").integer(), 3443);
    let info = connection.done("CLUSTER INFO").text();
    for line in [
        "cluster_state:ok",
        "cluster_slots_assigned:16384",
        "cluster_slots_ok:16384",
        "cluster_slots_pfail:0",
        "cluster_slots_fail:0",
        "cluster_known_nodes:3",
        "cluster_size:3",
        "cluster_current_epoch:",
        "cluster_my_epoch:",
    ] {
        assert!(info.contains(line), "no {line} in {info}");
    }
    let id = connection.done("CLUSTER MYID").text();
    assert!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    every_slot_has_one_master(&cluster, &connection.done("CLUSTER SLOTS"));
    let nodes = connection.done("CLUSTER NODES").text();
    assert!(nodes.ends_with('\n') && nodes.lines().count() == 3, "{nodes}");
    let mine = nodes.lines().find(|line| line.starts_with(&id)).expect("this node is among the nodes");
    assert!(mine.contains("myself,master - "), "{mine}");
    for (node, line) in cluster.nodes.iter().zip(1..) {
        let place = format!(" {}@{}", node.view, node.bus.port());
        assert!(nodes.contains(&place), "node {line} is not listed as{place}: {nodes}");
    }
    let shards = ask3(&cluster).done("CLUSTER SHARDS");
    assert_eq!(shards.items().len(), 3, "{shards}");
    for shard in shards.items() {
        assert!(shard.field("slots").items().len() >= 2);
        let node = &shard.field("nodes").items()[0];
        assert_eq!(node.field("health").text(), "online");
        cluster.node_at(&format!("{}:{}", node.field("ip").text(), node.field("port").integer()));
    }
    for other in 1..3 {
        assert_eq!(cluster.connect(other).done("CLUSTER SLOTS"), connection.done("CLUSTER SLOTS"));
    }
}

fn every_slot_has_one_master(cluster: &Cluster, slots: &Value) {
    let mut ranges: Vec<(i64, i64, usize)> = slots
        .items()
        .iter()
        .map(|range| {
            let master = range.items()[2].items();
            assert_eq!(master[2].text().len(), 40);
            let address = format!("{}:{}", master[0].text(), master[1].integer());
            (range.items()[0].integer(), range.items()[1].integer(), cluster.node_at(&address))
        })
        .collect();
    ranges.sort_unstable();
    let mut next = 0;
    for (first, last, _) in &ranges {
        assert_eq!(*first, next, "a gap or an overlap in {ranges:?}");
        next = last + 1;
    }
    assert_eq!(next, 16384);
    for node in 0..3 {
        let own: i64 = ranges.iter().filter(|range| range.2 == node).map(|range| range.1 - range.0 + 1).sum();
        assert!((4000..7000).contains(&own), "node {node} answers first for {own} of 16384 slots");
    }
}

/// WAIT tells how many replicas acknowledged this connection's last write, beside the coordinator itself.
#[test]
fn wait_counts_replicas() {
    let mut cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    assert!((0..=2).contains(&connection.run("WAIT 0 100").integer()));
    connection.done("SET k v");
    assert_eq!(connection.run("WAIT 2 5000").integer(), 2);
    assert_eq!(connection.run("WAIT x 1").to_string(), "-ERR value is not an integer or out of range");
    assert_eq!(connection.run("WAIT 1 x").to_string(), "-ERR timeout is not an integer or out of range");
    assert_eq!(connection.run("WAIT 1 -1").to_string(), "-ERR timeout is negative");
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    connection.done("SET k w");
    assert_eq!(connection.run("WAIT 2 200").integer(), 1);
}

/// WAIT counts the replicas of writes that another node had to coordinate, too.
#[test]
fn wait_counts_replicas_of_forwarded_writes() {
    let cluster = Cluster::start(5, &[]);
    let mut connection = cluster.connect(0);
    for key in 0..12 {
        connection.done(&format!("SET key:{key} v"));
        assert_eq!(connection.run("WAIT 2 5000").integer(), 2, "key:{key}");
        connection.done(&format!("EXPIRE key:{key} 1000"));
        assert_eq!(connection.run("WAIT 2 5000").integer(), 2, "the expiry of key:{key}");
    }
}

/// WAIT keeps to its time, also when a home that would have to be asked hangs.
#[test]
fn wait_keeps_to_its_time() {
    let _alone = alone();
    let cluster = Cluster::start(5, &[]);
    let mut connection = cluster.connect(0);
    for key in 0..24 {
        connection.done(&format!("SET key:{key} v"));
    }
    cluster.nodes[4].freeze();
    let begun = std::time::Instant::now();
    assert!((1..=2).contains(&connection.run("WAIT 4 200").integer()));
    let took = begun.elapsed();
    assert!(took < std::time::Duration::from_millis(900), "{took:?} for 200 ms");
    cluster.nodes[4].thaw();
}
