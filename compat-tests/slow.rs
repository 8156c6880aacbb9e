//! Slow replicas (§4.5, §6.1): reads go round them, and nobody holds them for dead.

use crate::harness::cluster::Cluster;
use crate::harness::network::Network;
use crate::harness::permits::alone;
use crate::harness::relay::Relay;
use crate::harness::resp::Connection;
use crate::harness::wait;
use std::time::{Duration, Instant};

/// Keys read, one after the other.
const KEYS: usize = 600;
/// How slow the slow node is.
const DELAY_MS: u64 = 200;

/// Writes a key; how soon is not what is tested.
fn write(connection: &mut Connection, key: &str, value: usize) {
    wait::until("it is written", 20, || connection.run(&format!("SET {key} {value}")).to_string() == "+OK");
}

fn write_keys(cluster: &Cluster) {
    let mut connection = cluster.connect(0);
    (0..KEYS).for_each(|at| write(&mut connection, &format!("slow:{at}"), at));
    // So that nothing is on its way any more that a later answer would wait behind.
    wait::until("every node has every key", 20, || {
        (0..3).all(|at| cluster.connect(at).done("INFO keyspace").text().contains(&format!("db0:keys={KEYS},")))
    });
}

/// Reads every key through node 0, where each must be found; gives how long each took, the longest last.
fn read_keys(cluster: &Cluster) -> Vec<Duration> {
    let mut connection = cluster.connect(0);
    let mut took: Vec<Duration> = (0..KEYS)
        .map(|at| {
            let begun = Instant::now();
            assert_eq!(connection.done(&format!("GET slow:{at}")).text(), at.to_string());
            begun.elapsed()
        })
        .collect();
    took.sort();
    took
}

fn percentile(sorted: &[Duration], percentile: usize) -> Duration {
    sorted[sorted.len() * percentile / 100]
}

/// How many microseconds a node takes to answer node 0, as that believes.
fn answers_us(cluster: &Cluster, at: usize) -> i64 {
    let members = cluster.connect(0).done("DYN.MEMBERS");
    let address = cluster.nodes[at].address.to_string();
    let row = members.items().iter().find(|member| member.field("address").text() == address).expect("it is a member");
    row.field("answers-us").integer()
}

/// The other node that node 0 surely asks, and the one that it may ask.
fn quicker_first(cluster: &Cluster) -> [usize; 2] {
    if answers_us(cluster, 1) < answers_us(cluster, 2) { [1, 2] } else { [2, 1] }
}

/// A home stands still: reads at R=2 through another node do not notice, not even those that were to be answered by it before
/// it is known to be away. Without hedging the first ones wait for it.
#[test]
fn reads_do_not_wait_for_a_home_that_stands_still() {
    let _alone = alone();
    let cluster = Cluster::start(3, &[]);
    write_keys(&cluster);
    read_keys(&cluster);
    let before = cluster.info(0, "hedged_reads");
    let [asked, _] = quicker_first(&cluster);
    cluster.nodes[asked].freeze();
    let took = read_keys(&cluster);
    cluster.nodes[asked].thaw();
    assert!(percentile(&took, 99) < Duration::from_millis(100), "{:?}", &took[KEYS - 20..]);
    assert!(took[KEYS - 1] < Duration::from_millis(300), "{:?}", &took[KEYS - 20..]);
    assert!(cluster.info(0, "hedged_reads") > before);
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    cluster.connect(0).done("CONFIG SET hedge-percentile 0");
    let before = cluster.info(0, "hedged_reads");
    // Most likely the other one now: the first is still remembered to be slow, and asked last.
    let [asked, _] = quicker_first(&cluster);
    cluster.nodes[asked].freeze();
    let took = read_keys(&cluster);
    cluster.nodes[asked].thaw();
    assert!(took[KEYS - 1] >= Duration::from_millis(300), "nobody was hurt: {:?}", &took[KEYS - 20..]);
    assert_eq!(cluster.info(0, "hedged_reads"), before);
}

/// The same through a node that is no home of the keys, and forwards its reads to one that stands still.
#[test]
fn forwarded_reads_do_not_wait_for_a_coordinator_that_stands_still() {
    let _alone = alone();
    let cluster = Cluster::start(5, &[]);
    let abroad = |at: &usize| !cluster.homes(0, 0, &format!("far:{at}")).contains(&0);
    let keys: Vec<usize> = (0..).filter(abroad).take(200).collect();
    let mut connection = cluster.connect(0);
    keys.iter().for_each(|at| write(&mut connection, &format!("far:{at}"), *at));
    let mut read = || -> Vec<Duration> {
        let one = |at: &usize| {
            let begun = Instant::now();
            assert_eq!(connection.done(&format!("GET far:{at}")).text(), at.to_string());
            begun.elapsed()
        };
        let mut took: Vec<Duration> = keys.iter().map(one).collect();
        took.sort();
        took
    };
    read();
    // The quickest: of the keys it is a home of, some are surely forwarded to it, whoever else is held for as quick.
    let frozen = (1..5).min_by_key(|at| answers_us(&cluster, *at)).expect("there are four others");
    cluster.nodes[frozen].freeze();
    let took = read();
    cluster.nodes[frozen].thaw();
    // Who waits for it waits a second, and then for another.
    assert!(took[took.len() - 1] < Duration::from_millis(800), "{:?}", &took[took.len() - 20..]);
    assert!(cluster.info(0, "hedged_reads") > 0);
}

/// Everything sent to a home takes 200 ms: reads go round it, by a hedge at first and then by its latency, and no node holds
/// it for dead. When the road is good again, it is asked again.
#[test]
fn a_slow_home_is_gone_round_and_not_declared_dead() {
    let _alone = alone();
    let Some(network) = Network::new(3) else { return };
    let mut cluster = Cluster::prepared(3, &[], Some(network));
    let network = cluster.network.as_ref().expect("it was given one");
    let relays: Vec<Relay> = (1..3).map(|at| Relay::before(network, at, &mut cluster.nodes[at])).collect();
    cluster.start_all();
    write_keys(&cluster);
    read_keys(&cluster);
    let [slow, _] = quicker_first(&cluster);
    let relay = &relays[slow - 1];
    relay.delay(DELAY_MS);
    let hedged = read_keys(&cluster);
    assert!(percentile(&hedged, 99) < Duration::from_millis(DELAY_MS / 2), "{:?}", &hedged[KEYS - 20..]);
    assert!(cluster.info(0, "hedged_reads") > 0);
    cluster.connect(0).done("CONFIG SET hedge-percentile 0");
    let by_latency = read_keys(&cluster);
    assert!(percentile(&by_latency, 99) < Duration::from_millis(DELAY_MS / 2), "{:?}", &by_latency[KEYS - 20..]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        for at in [0, 3 - slow] {
            assert_eq!(cluster.info(at, "members_down"), 0, "node {at} gave it up");
        }
        cluster.connect(0).done("SET slow:0 0");
    }
    for at in [0, 3 - slow] {
        assert_eq!(cluster.info(at, "members_down_total"), 0, "node {at} gave it up");
    }
    assert!(answers_us(&cluster, slow) >= DELAY_MS as i64 * 500, "its slowness can be seen");
    relay.delay(0);
    wait::until("it is known to be quick again", 60, || answers_us(&cluster, slow) < DELAY_MS as i64 * 50);
}
