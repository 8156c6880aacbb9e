//! Counters: what was acknowledged counts, once, whatever coordinators, partitions and crashes.
//!
//! Clients add one and know two things of it: it was acknowledged, or it may have counted. What a node refuses ("nothing was
//! changed") they ask for again elsewhere. So the number must lie between all acknowledged and all sent, on every node's own
//! disk.

use crate::harness::cluster::Cluster;
use crate::harness::random::Random;
use crate::harness::resp::{Connection, Value, request};
use crate::harness::wait;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// All that is added in the great count.
const SENT: usize = 30_000;
const CLIENTS: usize = 6;
/// The longest pipeline of one client.
const BURST: usize = 32;
const COUNTER: &str = "hits";
/// How long a client waits for a reply before it goes to another node.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits before it asks again for what was refused.
const PAUSE: Duration = Duration::from_millis(5);

/// Somebody who adds one, and again, until so many were sent.
struct Client<'a> {
    nodes: &'a [SocketAddr],
    at: usize,
    random: Random,
    connection: Option<Connection>,
    /// What all clients have sent.
    sent: &'a AtomicUsize,
}

impl Client<'_> {
    /// Adds so many times one; how many were acknowledged.
    fn count(mut self, times: usize) -> usize {
        let (mut sent, mut acknowledged) = (0, 0);
        while sent < times {
            let burst = (1 + self.random.below(BURST)).min(times - sent);
            let (counted, unsure) = self.burst(burst);
            acknowledged += counted;
            sent += counted + unsure;
            self.sent.fetch_add(counted + unsure, Ordering::Relaxed);
            if counted < burst {
                self.connection = None;
                self.at = self.random.below(self.nodes.len());
                thread::sleep(PAUSE);
            }
        }
        acknowledged
    }

    /// How many of a pipeline were acknowledged, and how many may have counted.
    fn burst(&mut self, burst: usize) -> (usize, usize) {
        let Some(connection) = self.connected() else { return (0, 0) };
        if connection.write(&request(&["INCR", COUNTER]).repeat(burst)).is_err() {
            return (0, burst);
        }
        let (mut counted, mut unsure, mut last) = (0, 0, 0);
        for answered in 0..burst {
            match connection.receive() {
                Ok(Value::Integer(number)) => {
                    assert!(number > last, "{number} after {last} on one connection");
                    (last, counted) = (number, counted + 1);
                }
                Ok(Value::Error(line)) if line.starts_with("NOQUORUM") => unsure += 1,
                Ok(Value::Error(_)) => {}
                Ok(other) => panic!("INCR answers {other}"),
                Err(_) => return (counted, unsure + burst - answered),
            }
        }
        (counted, unsure)
    }

    fn connected(&mut self) -> Option<&mut Connection> {
        if self.connection.is_none() {
            let opened = Connection::open(self.nodes[self.at]).ok()?;
            opened.socket().set_read_timeout(Some(PATIENCE)).ok()?;
            self.connection = Some(opened);
        }
        self.connection.as_mut()
    }
}

/// What a node's own disk says of the counter: every value that it would show.
fn held(cluster: &Cluster, at: usize) -> Vec<String> {
    let reply = cluster.connect(at).done(&format!("DYN.GET {COUNTER} LOCAL"));
    reply.items()[1].items().iter().map(Value::text).collect()
}

/// Waits until every node's own disk says the same, and gives the number.
fn settled(cluster: &Cluster) -> usize {
    let all = || (0..cluster.nodes.len()).map(|at| held(cluster, at)).collect::<Vec<_>>();
    wait::until("all nodes hold the same", 60, || all().windows(2).all(|pair| pair[0] == pair[1]));
    let values = held(cluster, 0);
    assert_eq!(values.len(), 1, "a counter is one value: {values:?}");
    values[0].parse().expect("a counter holds a number")
}

/// KeyDB kept 17,163 of 30,000.
#[test]
fn thirty_thousand_counted_at_three_nodes_under_partition_and_kill() {
    let Some(mut cluster) = Cluster::start_apart(3, &[("request-timeout-ms", "500")]) else { return };
    let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(|node| node.address).collect();
    let sent = AtomicUsize::new(0);
    let acknowledged: usize = thread::scope(|scope| {
        let (nodes, sent) = (&nodes[..], &sent);
        let begin = |at: usize| {
            let random = Random::new(at as u64 + 1);
            let client = Client { nodes, at: at % nodes.len(), random, connection: None, sent };
            scope.spawn(move || client.count(SENT / CLIENTS))
        };
        let clients: Vec<_> = (0..CLIENTS).map(begin).collect();
        let reached = |count: usize| {
            let what = format!("{count} are sent, and not only {}", sent.load(Ordering::Relaxed));
            wait::until(&what, 60, || sent.load(Ordering::Relaxed) >= count);
        };
        fail_in_turn(&mut cluster, reached);
        clients.into_iter().map(|client| client.join().expect("a client ends well")).sum()
    });
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    let number = settled(&cluster);
    println!("{acknowledged} acknowledged, {SENT} sent, {number} counted");
    assert!((acknowledged..=SENT).contains(&number), "{number} is not in {acknowledged}..={SENT}");
    assert!(acknowledged > SENT / 2, "{acknowledged} is too few to say anything");
    for at in 0..3 {
        assert_eq!(cluster.connect(at).done(&format!("GET {COUNTER}")).text(), number.to_string());
    }
}

/// One node after the other is cut off, killed, cut off and killed, or hears nothing, while clients go on.
fn fail_in_turn(cluster: &mut Cluster, reached: impl Fn(usize)) {
    let cut = |cluster: &Cluster, node: usize, those: &[usize]| network(cluster).cut(&[node], those);
    let heal = |cluster: &Cluster, node: usize, those: &[usize]| network(cluster).heal(&[node], those);
    reached(SENT / 10);
    cut(cluster, 0, &[1, 2]);
    reached(SENT * 2 / 10);
    heal(cluster, 0, &[1, 2]);
    reached(SENT * 3 / 10);
    cluster.nodes[1].kill9();
    reached(SENT * 4 / 10);
    cluster.nodes[1].restart();
    reached(SENT * 5 / 10);
    cut(cluster, 2, &[0, 1]);
    reached(SENT * 6 / 10);
    cluster.nodes[2].kill9();
    heal(cluster, 2, &[0, 1]);
    cluster.nodes[2].restart();
    reached(SENT * 7 / 10);
    network(cluster).cut_one_way(1, 0);
    network(cluster).cut_one_way(2, 0);
    reached(SENT * 8 / 10);
    heal(cluster, 0, &[1, 2]);
    cluster.nodes[0].kill9();
    reached(SENT * 9 / 10);
    cluster.nodes[0].restart();
}

fn network(cluster: &Cluster) -> &crate::harness::network::Network {
    cluster.network.as_ref().expect("the nodes can be cut apart")
}

/// Both sides of a cut begin the same counter, and go on with it: all of it counts, and it is one value.
#[test]
fn counters_begun_on_both_sides_of_a_cut_add_up() {
    let Some(cluster) = Cluster::start_apart(5, &[]) else { return };
    let sides = [vec![0, 1], vec![2, 3, 4]];
    network(&cluster).cut(&sides[0], &sides[1]);
    for side in &sides {
        side.iter().for_each(|at| cluster.wait_until_reachable(*at, side));
    }
    let mut sum = 0;
    for (at, amount) in [(0, 1), (2, 10), (1, 100), (4, 1_000), (3, 10_000), (0, 100_000)] {
        cluster.connect(at).done(&format!("INCRBY {COUNTER} {amount}"));
        sum += amount;
    }
    network(&cluster).heal(&sides[0], &sides[1]);
    wait::until("both sides count", 60, || {
        (0..5).all(|at| cluster.connect(at).run(&format!("GET {COUNTER}")).to_string() == format!("\"{sum}\""))
    });
    let read = cluster.connect(3).done(&format!("DYN.GET {COUNTER} R 3"));
    assert_eq!(read.items()[1].to_string(), format!("[\"{sum}\"]"));
    assert_eq!(cluster.connect(1).done(&format!("DECRBY {COUNTER} 1")).integer(), sum - 1);
    cluster.connect(2).done(&format!("DEL {COUNTER}"));
    assert_eq!(cluster.connect(4).done(&format!("INCR {COUNTER}")).integer(), 1, "a delete takes all of it");
}

/// Through nodes that are no home: replies, WAIT, and a pipeline that adds to one key and to others.
#[test]
fn forwarded_counts_are_counted_once_and_waited_for() {
    let cluster = Cluster::start(5, &[("storage-engine", "memory")]);
    for at in 0..5 {
        let mut connection = cluster.connect(at);
        let commands = ["INCR", "INCR", "GET", "INCR"].map(|name| request(&[name, COUNTER])).concat();
        connection.write(&[commands, request(&["INCR", "other"]), request(&["WAIT", "2", "5000"])].concat()).unwrap();
        let before = 3 * at as i64;
        let wanted = [
            format!(":{}", before + 1),
            format!(":{}", before + 2),
            format!("\"{}\"", before + 2),
            format!(":{}", before + 3),
            format!(":{}", at + 1),
            ":2".to_owned(),
        ];
        let replies: Vec<String> = wanted.iter().map(|_| connection.receive().unwrap().to_string()).collect();
        assert_eq!(replies, wanted);
    }
}
