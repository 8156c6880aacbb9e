//! §4.6 and §4.7: who stands in for a home that is away, and how it becomes whole again.

use super::local;
use crate::harness::cluster::Cluster;
use crate::harness::{info, wait};

/// Keys written while a home is away.
const KEYS: usize = 40;

fn key(at: usize) -> String {
    format!("handed:{at}")
}

/// The nodes that hold a key themselves.
fn holders(cluster: &Cluster, key: &str) -> Vec<usize> {
    let running = (0..cluster.nodes.len()).filter(|at| cluster.nodes[*at].runs());
    running.filter(|at| !local(cluster, *at, key).is_empty()).collect()
}

/// §4.6: while a home is away another node keeps its copy, with a hint that says whose it is, so that there are N copies at
/// any time; the hint goes only after the home has the copy: whenever no hint is left, the home holds everything.
#[test]
fn there_are_n_copies_while_a_home_is_away_and_hints_go_only_after_delivery() {
    // No comparison of homes does the hints' work.
    let mut cluster = Cluster::start(5, &[("exchange-interval-ms", "3600000")]);
    let away = cluster.homes(0, 0, &key(0))[0];
    let up: Vec<usize> = (0..5).filter(|at| *at != away).collect();
    let missed: Vec<String> = (0..KEYS).map(key).filter(|key| cluster.homes(up[0], 0, key).contains(&away)).collect();
    cluster.nodes[away].kill9();
    up.iter().for_each(|at| cluster.wait_until_reachable(*at, &up));
    for (at, key) in missed.iter().enumerate() {
        cluster.connect(up[at % 4]).done(&format!("DYN.SET {key} v W 3"));
        assert_eq!(holders(&cluster, key).len(), 3, "N copies of {key} with one home away");
    }
    let pending = |cluster: &Cluster| up.iter().map(|at| info::number(cluster, *at, "hints_pending")).sum::<i64>();
    assert!(pending(&cluster) >= missed.len() as i64);
    cluster.nodes[away].start();
    wait::until("no hint is left", 30, || pending(&cluster) == 0);
    for key in &missed {
        assert_eq!(local(&cluster, away, key), ["v"], "{key}: the hint is gone, and the home has it");
        let homes = cluster.homes(up[0], 0, key);
        let mut holders = holders(&cluster, key);
        holders.retain(|at| !homes.contains(at));
        assert_eq!(holders, [0; 0], "{key}: whoever stood in has let go of it");
    }
}

/// §4.6: a home that takes connections and answers nothing gets no hint struck off: only its acknowledgement does that.
#[test]
fn a_home_that_does_not_answer_keeps_its_hints() {
    let cluster = Cluster::start(5, &[("exchange-interval-ms", "3600000")]);
    let away = cluster.homes(0, 0, &key(0))[0];
    let up: Vec<usize> = (0..5).filter(|at| *at != away).collect();
    cluster.nodes[away].freeze();
    up.iter().for_each(|at| cluster.wait_until_reachable(*at, &up));
    cluster.connect(up[0]).done(&format!("DYN.SET {} v W 3", key(0)));
    let numbers = |name: &str| up.iter().map(|at| info::number(&cluster, *at, name)).sum::<i64>();
    assert!(numbers("hints_pending") >= 1);
    assert_eq!(numbers("hints_delivered"), 0);
    cluster.nodes[away].thaw();
    wait::until("the home has signed for it", 30, || numbers("hints_pending") == 0);
    assert_eq!(local(&cluster, away, &key(0)), ["v"]);
}

/// §4.6: objects are "replicated across multiple data centers": the loss of a whole one takes nothing along, and reads and
/// writes go on in the other.
#[test]
fn the_loss_of_a_whole_zone_loses_nothing() {
    let mut cluster = Cluster::prepared(4, &[("n", "2"), ("r", "1"), ("w", "1"), ("zone", "east")], None);
    cluster.nodes[2].set("zone", "west");
    cluster.nodes[3].set("zone", "west");
    cluster.start_all();
    for at in 0..KEYS {
        cluster.connect(at % 4).done(&format!("DYN.SET {} before W 2", key(at)));
    }
    cluster.nodes[0].kill9();
    cluster.nodes[1].kill9();
    [2, 3].iter().for_each(|at| cluster.wait_until_reachable(*at, &[2, 3]));
    for at in 0..KEYS {
        let mut west = cluster.connect(2 + at % 2);
        assert_eq!(west.run(&format!("GET {}", key(at))).to_string(), "\"before\"", "{}", key(at));
        assert_eq!(west.run(&format!("SET {} after", key(at))).to_string(), "+OK");
    }
    [0, 1].iter().for_each(|at| cluster.nodes[*at].restart());
    for at in 0..KEYS {
        let homes = cluster.homes(2, 0, &key(at));
        wait::until("both zones hold what was written", 30, || {
            homes.iter().all(|home| local(&cluster, *home, &key(at)) == ["after"])
        });
    }
}

/// §4.7: "Merkle trees … minimize the amount of data that needs to be transferred": what two homes send each other to become
/// the same grows with what differs, not with what they hold.
#[test]
fn bytes_on_the_wire_grow_with_the_difference() {
    const HELD: usize = 12_000;
    const WIDE: usize = 1500;
    const NARROW: usize = 15;
    let value = "v".repeat(100);
    // Strict, so that nobody keeps hints: comparing is all there is.
    let mut cluster = Cluster::start(2, &[("n", "2"), ("r", "1"), ("w", "1"), ("exchange-interval-ms", "200")]);
    // Both hold it all when one of them is killed.
    cluster.set_policy(0, 0, "W 2 SLOPPY no");
    let write = |cluster: &Cluster, keys: usize, text: &str| {
        let mut connection = cluster.connect(0);
        for portion in (0..keys).collect::<Vec<_>>().chunks(100) {
            portion.iter().for_each(|at| connection.send(&["SET", &key(*at), text]).expect("a request can be sent"));
            portion.iter().for_each(|_| assert_eq!(connection.receive().expect("a reply").to_string(), "+OK"));
        }
    };
    write(&cluster, HELD, &value);
    cluster.set_policy(0, 0, "W 1 SLOPPY no");
    let mut spent = Vec::new();
    for (turn, changed) in [NARROW, WIDE].into_iter().enumerate() {
        cluster.nodes[1].kill9();
        cluster.wait_until_reachable(0, &[0]);
        let text = format!("{turn}{value}");
        write(&cluster, changed, &text);
        let before = info::number(&cluster, 0, "exchange_bytes");
        cluster.nodes[1].restart();
        (0..2).for_each(|at| cluster.wait_until_reachable(at, &[0, 1]));
        wait::until("the returned node holds what was changed", 30, || {
            (0..changed).rev().step_by(7).all(|at| local(&cluster, 1, &key(at)) == [text.as_str()])
        });
        // The returned node counts anew.
        let bytes = info::number(&cluster, 0, "exchange_bytes") - before + info::number(&cluster, 1, "exchange_bytes");
        println!("{changed} of {HELD} keys of 100 bytes differ: {bytes} bytes");
        spent.push(bytes);
    }
    let [narrow, wide] = spent[..] else { unreachable!("two turns") };
    assert!(wide > narrow * 3, "{WIDE} differ for {wide} bytes, {NARROW} for {narrow}");
    assert!(narrow < (HELD * value.len()) as i64 / 2, "{NARROW} of {HELD} cost {narrow} bytes");
}
