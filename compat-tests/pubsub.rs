//! Channels over several nodes: a message published anywhere is heard everywhere, in order, and nobody who does not listen
//! any more costs the others anything.

use crate::harness::clients::{node, python, redis_cli};
use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value, request};
use crate::harness::wait;
use std::io::Read;
use std::net::SocketAddr;

/// What nodes are told whose messages are counted: a message is for those that can be reached, and who receives it counts if it
/// answers in time. So that a busy machine is no reason, nobody is given up for being slow.
const PATIENT: [(&str, &str); 2] = [("suspicion-timeout-ms", "30000"), ("request-timeout-ms", "15000")];

/// A connection that listens.
fn listener(cluster: &Cluster, at: usize, protocol: u8, request: &str) -> Connection {
    let mut connection = cluster.connect(at);
    connection.done(&format!("HELLO {protocol}"));
    connection.done(request);
    connection
}

/// The next message, as its words.
fn message(listener: &mut Connection) -> Vec<String> {
    listener.receive().expect("a message").items().iter().map(Value::text).collect()
}

fn publish(publisher: &mut Connection, channel: &str, message: &str) -> i64 {
    publisher.ask(&["PUBLISH", channel, message]).integer()
}

/// Publishes until as many clients receive it as should; then all subscriptions and links stand.
fn publish_to(publisher: &mut Connection, channel: &str, message: &str, receivers: i64) {
    wait::until(&format!("{receivers} receive what is published on {channel}"), 30, || {
        publish(publisher, channel, message) == receivers
    });
}

/// Subscribers of both protocols on every node hear what is published on every node, each publisher's messages in order.
#[test]
fn what_is_published_anywhere_is_heard_everywhere_in_order() {
    const EACH: usize = 200;
    let cluster = Cluster::start(3, &PATIENT);
    let mut listeners = Vec::new();
    for at in 0..3 {
        for protocol in [2, 3] {
            listeners.push((listener(&cluster, at, protocol, "SUBSCRIBE news"), 1));
            listeners.push((listener(&cluster, at, protocol, "PSUBSCRIBE ne*"), 2));
        }
    }
    let mut publishers: Vec<Connection> = (0..3).map(|at| cluster.connect(at)).collect();
    for publisher in &mut publishers {
        assert_eq!(publish(publisher, "nobody", "x"), 0);
        assert_eq!(publisher.run("PUBSUB NUMSUB news nobody").to_string(), "[\"news\", :6, \"nobody\", :0]");
        assert_eq!(publisher.run("PUBSUB CHANNELS n*").to_string(), "[\"news\"]");
        assert_eq!(publisher.run("PUBSUB NUMPAT").to_string(), ":1");
    }
    for (at, publisher) in publishers.iter_mut().enumerate() {
        let pipeline: Vec<u8> =
            (0..EACH).flat_map(|number| request(&["PUBLISH", "news", &format!("{at} {number}")])).collect();
        publisher.write(&pipeline).unwrap();
    }
    for publisher in &mut publishers {
        for _ in 0..EACH {
            assert_eq!(publisher.receive().unwrap().integer(), 12, "all listeners, wherever they are");
        }
    }
    for (listener, channel_at) in &mut listeners {
        let mut next = [0; 3];
        for _ in 0..3 * EACH {
            let words = message(listener);
            assert_eq!(words[*channel_at], "news");
            let (at, number) = words.last().unwrap().split_once(' ').unwrap();
            let at: usize = at.parse().unwrap();
            assert_eq!(number.parse(), Ok(next[at]), "from node {at}");
            next[at] += 1;
        }
    }
}

/// What was set before it was published can be read by who hears of it, also in one pipeline and on other nodes.
#[test]
fn a_message_comes_after_what_was_set_before_it() {
    let cluster = Cluster::start(3, &PATIENT);
    let mut hears = listener(&cluster, 2, 2, "SUBSCRIBE changed");
    let (mut writer, mut reader) = (cluster.connect(0), cluster.connect(2));
    publish_to(&mut writer, "changed", "ready", 1);
    for number in 0..200 {
        let value = number.to_string();
        let both = [request(&["SET", "key", &value]), request(&["PUBLISH", "changed", &value])].concat();
        writer.write(&both).unwrap();
        while message(&mut hears)[2] != value {}
        assert_eq!(reader.run("GET key").text(), value);
        assert_eq!((writer.receive().unwrap().to_string(), writer.receive().unwrap().integer()), ("+OK".to_owned(), 1));
    }
}

/// A node dies: listeners of the others go on hearing each other's nodes; when it is back, its new listeners hear all.
#[test]
fn a_dead_node_is_missed_by_nobody_and_hears_again_when_it_is_back() {
    let mut cluster = Cluster::start(3, &[]);
    let mut stay: Vec<Connection> = (0..2).map(|at| listener(&cluster, at, 3, "SUBSCRIBE news")).collect();
    let gone = listener(&cluster, 2, 2, "SUBSCRIBE news");
    let mut publisher = cluster.connect(0);
    publish_to(&mut publisher, "news", "before", 3);
    cluster.nodes[2].kill9();
    drop(gone);
    for number in 0..50 {
        // The link is seen to be broken at once, or the answer is not waited for.
        assert_eq!(publish(&mut publisher, "news", &number.to_string()), 2);
    }
    for listener in &mut stay {
        while message(listener)[2] != "0" {}
        (1..50).for_each(|number| assert_eq!(message(listener)[2], number.to_string()));
    }
    cluster.start_all();
    let mut back = listener(&cluster, 2, 3, "SUBSCRIBE news");
    publish_to(&mut publisher, "news", "again", 3);
    publish_to(&mut cluster.connect(2), "news", "from there", 3);
    while message(&mut back)[2] != "from there" {}
    for listener in &mut stay {
        while message(listener)[2] != "from there" {}
    }
}

/// On the cluster view a message reaches everyone, too; who listens is told by each node for itself, as clients add up.
#[test]
fn the_cluster_view_tells_of_its_own_node() {
    let cluster = Cluster::start(2, &PATIENT);
    let mut listeners: Vec<Connection> = (0..2).map(|at| listener(&cluster, at, 3, "SUBSCRIBE news")).collect();
    listeners[0].done("PSUBSCRIBE n*");
    let mut views: Vec<Connection> =
        (0..2).map(|at| Connection::open(cluster.nodes[at].view).expect("the view is served")).collect();
    assert_eq!(views[1].run("PUBLISH news hi").integer(), 3);
    listeners.iter_mut().for_each(|listener| while message(listener).last().unwrap() != "hi" {});
    assert_eq!(views[0].run("PUBSUB NUMSUB news").to_string(), "[\"news\", :1]");
    assert_eq!(cluster.connect(0).run("PUBSUB NUMSUB news").to_string(), "[\"news\", :2]");
    assert_eq!((views[0].run("PUBSUB NUMPAT").integer(), views[1].run("PUBSUB NUMPAT").integer()), (1, 0));
    assert_eq!(views[1].run("PUBSUB CHANNELS").to_string(), "[\"news\"]");
}

/// Who leaves, by whatever door, is no subscriber any more.
#[test]
fn who_leaves_is_no_subscriber_any_more() {
    let cluster = Cluster::start(2, &PATIENT);
    let mut asker = cluster.connect(1);
    let mut listens = |count: i64| {
        wait::until(&format!("{count} listen"), 10, || asker.run("PUBSUB NUMSUB a").items()[1].integer() == count);
    };
    let mut by_name = listener(&cluster, 0, 3, "SUBSCRIBE a");
    let mut by_reset = listener(&cluster, 0, 2, "SUBSCRIBE a");
    let mut by_quit = listener(&cluster, 0, 2, "SUBSCRIBE a");
    let by_closing = listener(&cluster, 0, 2, "SUBSCRIBE a");
    let killed = listener(&cluster, 0, 2, "SUBSCRIBE a");
    listens(5);
    let list = cluster.connect(0).done("CLIENT LIST TYPE pubsub").text();
    assert_eq!(list.lines().count(), 5, "{list}");
    assert!(list.lines().all(|line| line.contains(" flags=P ") && line.contains(" sub=1 psub=0 ssub=0 ")), "{list}");
    by_name.done("UNSUBSCRIBE a");
    listens(4);
    by_reset.done("RESET");
    listens(3);
    by_quit.done("QUIT");
    listens(2);
    drop(by_closing);
    listens(1);
    assert_eq!(cluster.connect(0).run("CLIENT KILL TYPE pubsub").integer(), 1);
    listens(0);
    drop(killed);
    assert!(cluster.connect(0).done("INFO stats").text().contains("\r\npubsub_channels:0\r\n"));
}

/// Replies of one pipeline keep their places among each other, and no message comes after the word that it would not.
#[test]
fn replies_and_messages_keep_their_order() {
    let cluster = Cluster::start(2, &PATIENT);
    let mut publisher = cluster.connect(1);
    let mut listener = cluster.connect(0);
    listener.done("HELLO 3");
    let words: [&[&str]; 5] =
        [&["ECHO", "1"], &["SUBSCRIBE", "a", "b"], &["ECHO", "2"], &["UNSUBSCRIBE", "b"], &["PING"]];
    listener.write(&words.iter().flat_map(|words| request(words)).collect::<Vec<u8>>()).unwrap();
    for expected in [
        "\"1\"",
        ">[\"subscribe\", \"a\", :1]",
        ">[\"subscribe\", \"b\", :2]",
        "\"2\"",
        ">[\"unsubscribe\", \"b\", :1]",
        "+PONG",
    ] {
        assert_eq!(listener.receive().unwrap().to_string(), expected);
    }
    for round in 0..100 {
        // A pipeline of messages is under way while the listener turns away and back.
        let pipeline: Vec<u8> = (0..20).flat_map(|_| request(&["PUBLISH", "a", "x"])).collect();
        publisher.write(&pipeline).unwrap();
        listener.write(&[request(&["UNSUBSCRIBE", "a"]), request(&["SUBSCRIBE", "a"])].concat()).unwrap();
        let mut listens = true;
        loop {
            let reply = listener.receive().unwrap();
            match reply.items()[0].text().as_str() {
                "message" => assert!(listens, "round {round}: a message came after the end of the subscription"),
                "unsubscribe" => listens = false,
                "subscribe" => break,
                other => panic!("{other}"),
            }
        }
        (0..20).for_each(|_| drop(publisher.receive().unwrap()));
    }
}

/// Who ends a subscription while messages are waiting gets all of them first, and none after the reply.
#[test]
fn what_waits_comes_before_the_end_of_the_subscription() {
    let cluster = Cluster::single(&[]);
    let mut publisher = cluster.connect(0);
    let mut late = cluster.connect(0);
    let id = late.done("CLIENT ID").integer();
    late.done("SUBSCRIBE a");
    let text = "x".repeat(64 << 10);
    let mut sent = 0;
    wait::until("messages wait", 20, || {
        sent += publish(&mut publisher, "a", &text);
        waiting_bytes(&mut publisher, id).is_some_and(|bytes| bytes > 1 << 20)
    });
    (0..20).for_each(|_| sent += publish(&mut publisher, "a", &text));
    late.write(&request(&["UNSUBSCRIBE", "a"])).unwrap();
    for number in 0..sent {
        assert_eq!(late.receive().unwrap().items()[0].text(), "message", "{number} of {sent} came");
    }
    assert_eq!(late.receive().unwrap().to_string(), "[\"unsubscribe\", \"a\", :0]");
    assert_eq!(late.run("PING").to_string(), "+PONG");
}

/// A client of RESP3 hears itself; the message follows the reply, as in Redis 7.2.
#[test]
fn who_publishes_may_listen_too() {
    let cluster = Cluster::single(&[]);
    let mut both = listener(&cluster, 0, 3, "SUBSCRIBE a");
    assert_eq!(both.run("PUBLISH a hi").to_string(), ":1");
    assert_eq!(both.receive().unwrap().to_string(), ">[\"message\", \"a\", \"hi\"]");
    both.done("RESET");
    assert_eq!(both.run("PUBLISH a hi").to_string(), ":0");
}

/// The bytes that wait for a listener, as CLIENT LIST tells them; none when it is gone.
fn waiting_bytes(asker: &mut Connection, id: i64) -> Option<usize> {
    let line = asker.done(&format!("CLIENT LIST ID {id}")).text();
    let after = line.split_once(" omem=")?.1;
    Some(after.split(' ').next().unwrap().parse().unwrap())
}

/// A listener that stops reading is cut at the hard limit, what waits for it is bounded, and others hear on.
#[test]
fn who_does_not_read_is_cut_and_costs_others_nothing() {
    const LIMIT: usize = 1 << 20;
    const MESSAGE: usize = 64 << 10;
    let cluster = Cluster::start(2, &PATIENT);
    cluster.connect(0).done(&format!("CONFIG SET client-output-buffer-limit \"pubsub {LIMIT} 0 0\""));
    let mut asker = cluster.connect(0);
    let mut publisher = cluster.connect(1);
    let mut stuck = cluster.connect(0);
    let id = stuck.done("CLIENT ID").integer();
    stuck.done("SUBSCRIBE a");
    let mut hears = listener(&cluster, 0, 2, "SUBSCRIBE a");
    let text = "x".repeat(MESSAGE);
    let mut most = 0;
    publish_to(&mut publisher, "a", "ready", 2);
    while message(&mut hears)[2] != "ready" {}
    // What the system takes into its own buffers comes first, and is not counted.
    let sent = (1..4000).find(|_| {
        let receivers = publish(&mut publisher, "a", &text);
        assert_eq!(message(&mut hears)[2].len(), MESSAGE, "the other one hears on");
        let waiting = waiting_bytes(&mut asker, id);
        most = most.max(waiting.unwrap_or(0));
        receivers == 1 && waiting.is_none()
    });
    assert!(sent.is_some(), "it was never cut; at most {most} bytes waited");
    assert!(most > LIMIT / 2 && most <= LIMIT + 2 * MESSAGE, "{most} bytes waited at most");
    let info = asker.done("INFO stats").text();
    assert!(info.contains("\r\nclient_output_buffer_limit_disconnections:1\r\n"), "{info}");
    assert_eq!(publish(&mut publisher, "a", "on"), 1);
    assert!(reads_to_its_end(&stuck), "the connection is closed");
}

fn reads_to_its_end(connection: &Connection) -> bool {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match connection.socket().read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Above the soft limit a listener is cut when it has not read for as long as it may, though nothing more comes.
#[test]
fn who_pauses_for_too_long_is_cut() {
    let cluster = Cluster::single(&[]);
    let mut asker = cluster.connect(0);
    asker.done("CONFIG SET client-output-buffer-limit \"pubsub 0 100kb 1\"");
    let mut stuck = cluster.connect(0);
    let id = stuck.done("CLIENT ID").integer();
    stuck.done("SUBSCRIBE a");
    let text = "x".repeat(64 << 10);
    wait::until("more waits than may for long", 20, || {
        publish(&mut asker, "a", &text);
        waiting_bytes(&mut asker, id).is_some_and(|bytes| bytes > 200 << 10)
    });
    wait::until("it is cut", 20, || waiting_bytes(&mut asker, id).is_none());
    assert_eq!(publish(&mut asker, "a", "x"), 0);
}

/// A listener is not disconnected for being quiet, as in Redis.
#[test]
fn listeners_may_be_quiet() {
    let cluster = Cluster::single(&[("timeout", "1")]);
    let mut quiet = listener(&cluster, 0, 2, "SUBSCRIBE a");
    let mut idle = cluster.connect(0);
    idle.done("PING");
    assert!(reads_to_its_end(&idle), "an idle client is");
    assert_eq!(publish(&mut cluster.connect(0), "a", "still here"), 1);
    assert_eq!(message(&mut quiet)[2], "still here");
}

/// redis-cli listens and publishes.
#[test]
fn redis_cli_listens_and_publishes() {
    let cluster = Cluster::start(3, &[]);
    let address: SocketAddr = cluster.nodes[1].address;
    let listening = std::thread::spawn(move || {
        // It leaves when standard input and the timeout end.
        crate::harness::clients::run(
            "timeout",
            &[
                "10",
                "redis-cli",
                "-h",
                &address.ip().to_string(),
                "-p",
                &address.port().to_string(),
                "SUBSCRIBE",
                "news",
            ],
        )
    });
    wait::until("redis-cli listens", 10, || {
        let said = redis_cli(cluster.nodes[0].address, &["PUBLISH", "news", "hello"]);
        said.expect_well("redis-cli").trim() == "1"
    });
    cluster.connect(1).done("CLIENT KILL TYPE pubsub");
    let said = listening.join().expect("redis-cli ran").output;
    assert!(said.starts_with("subscribe\nnews\n1\nmessage\nnews\nhello\n"), "{said}");
}

/// The libraries' own listeners: redis-py, ioredis and node-redis, in both protocols, at and from every node.
#[test]
fn libraries_listen_and_publish() {
    let cluster = Cluster::start(3, &[]);
    let addresses: Vec<String> = cluster.nodes.iter().map(|node| node.address.to_string()).collect();
    for protocol in ["2", "3"] {
        let arguments: Vec<&str> = [protocol].into_iter().chain(addresses.iter().map(String::as_str)).collect();
        python("listen.py", &arguments);
        node("ioredis-listen.mjs", &arguments);
        node("node-redis-listen.mjs", &arguments);
    }
}
