//! Clocks that are wrong: they lose nothing, decide nothing, and are named.
//!
//! What holds, with three members or more of which most have right clocks: a node whose clock is further off than
//! `max-clock-drift-ms` goes by the middle of all clocks instead, so that the times by which any two nodes stamp and expire
//! differ by that bound at most. A later write that has seen an earlier one wins whatever the clocks. Of two that have
//! not seen each other and lie further apart than the bound, the later is shown (and, under `newest`, kept).

use crate::harness::cluster::Cluster;
use crate::harness::resp::request;
use crate::harness::{info, wait};
use std::time::{Duration, Instant};

const HOUR_S: i64 = 3600;
const HOUR_MS: i64 = 1000 * HOUR_S;
/// `max-clock-drift-ms`, as is the default.
const DRIFT_MS: i64 = 500;
/// What reading a clock over a busy network may be wrong by, and the seconds that a slow machine takes between two readings.
const SLACK_MS: i64 = 2_000;

const FAST: usize = 0;
const RIGHT: usize = 1;
const SLOW: usize = 2;

/// Three nodes, one an hour ahead, one an hour behind, that know it.
fn three(mut cluster: Cluster) -> Cluster {
    for (at, ahead_s) in [(FAST, HOUR_S), (RIGHT, 0), (SLOW, -HOUR_S)] {
        cluster.nodes[at].set_clock(ahead_s);
    }
    cluster.start_all();
    for (at, ahead_s) in [(FAST, HOUR_S), (RIGHT, 0), (SLOW, -HOUR_S)] {
        wait_until_ahead(&cluster, at, ahead_s);
    }
    cluster
}

fn three_here(settings: &[(&str, &str)]) -> Cluster {
    three(Cluster::prepared(3, settings, None))
}

/// Waits until a node goes by a time that is not wrong by more than the bound, though its clock is wrong by so much.
fn wait_until_ahead(cluster: &Cluster, at: usize, ahead_s: i64) {
    wait::until(&format!("node {at}, {ahead_s} s ahead, goes by the others' clocks"), 20, || {
        let wrong_by_ms = 1000 * ahead_s + info::number(cluster, at, "clock_correction_ms");
        wrong_by_ms.abs() <= DRIFT_MS / 2 + SLACK_MS
    });
}

fn id(cluster: &Cluster, at: usize) -> String {
    cluster.connect(at).done("CLUSTER MYID").text()
}

/// The members that a node's INFO calls wrong: id, and milliseconds ahead.
fn named(cluster: &Cluster, at: usize) -> Vec<(String, i64)> {
    let lines = (0..3).map_while(|number| info::text(cluster, at, &format!("clock_drift_node{number}")));
    let parts = lines.map(|line| {
        let (id, ahead) =
            line.strip_prefix("id=").and_then(|rest| rest.split_once(",ahead_ms=")).expect("id and ahead");
        (id.to_owned(), ahead.parse().expect("a number"))
    });
    parts.collect()
}

/// INFO and log of every other node say which node's clock is wrong, and by how much; its own log says so, too.
#[test]
fn a_wrong_clock_is_named() {
    let cluster = three_here(&[]);
    let about = |ahead_ms: i64, wanted_ms: i64| (ahead_ms - wanted_ms).abs() <= SLACK_MS;
    for (wrong, ahead_ms) in [(FAST, HOUR_MS), (SLOW, -HOUR_MS)] {
        let id = id(&cluster, wrong);
        for at in (0..3).filter(|at| *at != wrong) {
            wait::until(&format!("node {at} names node {wrong} in INFO"), 10, || {
                named(&cluster, at).iter().any(|(named, ahead)| *named == id && about(*ahead, ahead_ms))
            });
            let log = cluster.nodes[at].log();
            let line = log.lines().find(|line| line.contains("this member's clock is wrong") && line.contains(&id));
            assert!(line.is_some(), "node {at} says nothing of {id} in its log:\n{log}");
            assert!(info::number(&cluster, at, "clock_drift_ms_max") >= HOUR_MS - SLACK_MS, "node {at}");
        }
        assert!(cluster.nodes[wrong].log().contains("this node's own clock is wrong"));
    }
    let right = id(&cluster, RIGHT);
    assert!(
        (0..3).all(|at| named(&cluster, at).iter().all(|(named, _)| *named != right)),
        "a right clock is not named"
    );
    assert!(!cluster.nodes[RIGHT].log().contains("own clock"));
}

/// Two alone cannot know which is wrong, but each says that the other differs.
#[test]
fn two_that_differ_name_each_other() {
    let mut cluster = Cluster::prepared(2, &[], None);
    cluster.nodes[0].set_clock(HOUR_S);
    cluster.start_all();
    for (at, other, sign) in [(0, 1, -1), (1, 0, 1)] {
        let id = id(&cluster, other);
        wait::until("each names the other", 10, || {
            named(&cluster, at).iter().any(|(named, ahead)| *named == id && ahead.signum() == sign)
        });
        assert_eq!(info::number(&cluster, at, "clock_correction_ms"), 0, "nobody is corrected");
    }
    cluster.connect(0).done("SET k fast");
    // It has to stamp an hour ahead of its own clock, and has not persisted its lease so far when it is asked first.
    wait::until("the other overwrites it", 5, || !cluster.connect(1).run("SET k later").is_error());
    assert_eq!(cluster.connect(0).run("GET k").text(), "later", "who has seen the other's write still wins");
    let log = cluster.nodes[1].log();
    let tag = &id(&cluster, 0)[..16];
    assert!(log.contains("a write is stamped further ahead") && log.contains(tag), "{log}");
}

/// Every write overwrites the one before it, through whichever node, whatever that node's clock says: with siblings, none
/// are made, and with `newest` none is lost.
#[test]
fn later_writes_win_whatever_the_clocks() {
    let cluster = three_here(&[]);
    cluster.set_policy(RIGHT, 1, "CONFLICT newest");
    for database in [0, 1] {
        let mut nodes: Vec<_> = (0..3).map(|at| cluster.connect(at)).collect();
        nodes.iter_mut().for_each(|node| drop(node.done(&format!("SELECT {database}"))));
        for turn in 0..60 {
            let (writer, key) = ([FAST, SLOW, RIGHT, FAST, RIGHT, SLOW][turn % 6], format!("turn:{}", turn % 4));
            nodes[writer].done(&format!("SET {key} {turn}"));
            for reader in &mut nodes {
                assert_eq!(reader.run(&format!("GET {key}")).text(), turn.to_string(), "database {database}");
            }
            if turn % 5 == 4 {
                assert_eq!(nodes[(writer + 1) % 3].run(&format!("DEL {key}")).integer(), 1);
                assert_eq!(nodes[writer].run(&format!("GET {key}")).to_string(), "nil", "database {database}");
            }
        }
        let counted = nodes[0].done("DYN.GET turn:2");
        assert_eq!(counted.items()[1].items().len(), 1, "no siblings: {counted}");
    }
}

/// An expiry set through any node means the same on all of them: a value with a minute to live is there, everywhere, and one
/// with three seconds is gone everywhere after three seconds, give or take the bound.
#[test]
fn expiries_mean_the_same_everywhere() {
    let cluster = three_here(&[]);
    for writer in 0..3 {
        cluster.connect(writer).done(&format!("SET long:{writer} v EX 60"));
        cluster.connect(writer).done(&format!("SET set:{writer} v"));
        cluster.connect((writer + 1) % 3).done(&format!("EXPIRE set:{writer} 60"));
        for reader in 0..3 {
            for key in ["long", "set"] {
                let left = cluster.connect(reader).run(&format!("PTTL {key}:{writer}")).integer();
                let right = (60_000 - DRIFT_MS - SLACK_MS..=60_000 + DRIFT_MS + SLACK_MS).contains(&left);
                assert!(right, "{key}:{writer} has {left} ms left on node {reader}");
            }
        }
        let begun = Instant::now();
        cluster.connect(writer).done(&format!("SET short:{writer} v PX 3000"));
        let there = |reader: usize| cluster.connect(reader).run(&format!("GET short:{writer}")).to_string() == "\"v\"";
        assert!((0..3).all(there) || begun.elapsed() > Duration::from_secs(1), "gone before its time");
        wait::until("it is gone everywhere", 8, || !(0..3).any(there));
        let lived = begun.elapsed();
        assert!(lived > Duration::from_millis(3000 - DRIFT_MS as u64 - 100), "it lived {lived:?}");
    }
}

/// Writes that have not seen each other, made on both sides of a cut: the later one is shown, and with `newest` it alone is
/// kept, whichever node's clock is fast. (They lie the bound apart; nearer ones may go either way.)
#[test]
fn a_fast_clock_wins_no_tie_by_more_than_the_bound() {
    let Some(cluster) = Cluster::prepared_apart(3, &[("r", "1"), ("w", "1")]) else { return };
    let cluster = three(cluster);
    cluster.set_policy(RIGHT, 1, "CONFLICT newest");
    let network = cluster.network.as_ref().expect("it was started with one");
    let set = |at: usize, key: &str| {
        for database in [0, 1] {
            let mut connection = cluster.connect(at);
            connection.done(&format!("SELECT {database}"));
            connection.done(&format!("SET {key} from-{at}"));
        }
    };
    let orders = [(FAST, SLOW), (SLOW, FAST), (FAST, RIGHT), (RIGHT, SLOW)];
    network.cut(&[0], &[1, 2]);
    network.cut(&[1], &[2]);
    orders.iter().enumerate().for_each(|(at, (earlier, _))| set(*earlier, &format!("tie:{at}")));
    // The time between the writes is what is tested.
    std::thread::sleep(Duration::from_millis(DRIFT_MS as u64 + 250));
    orders.iter().enumerate().for_each(|(at, (_, later))| set(*later, &format!("tie:{at}")));
    network.heal(&[0], &[1, 2]);
    network.heal(&[1], &[2]);
    for (at, (_, later)) in orders.iter().enumerate() {
        for (database, values) in [(0, 2), (1, 1)] {
            for reader in 0..3 {
                let mut connection = cluster.connect(reader);
                connection.done(&format!("SELECT {database}"));
                wait::until("the nodes have met again", 30, || {
                    let reply = connection.run(&format!("DYN.GET tie:{at} R 3"));
                    !reply.is_error() && reply.items()[1].items().len() == values
                });
                let shown = connection.run(&format!("GET tie:{at}")).text();
                assert_eq!(shown, format!("from-{later}"), "tie {at}, database {database}, node {reader}");
            }
        }
    }
}

/// The fast node is killed and started again with a right clock: it stamps no dot twice, takes writes at once, overwrites
/// what it wrote before, and is named no more.
#[test]
fn a_fast_node_whose_clock_is_put_right_goes_on() {
    let mut cluster = three_here(&[]);
    let fast = id(&cluster, FAST);
    for at in 0..20 {
        cluster.connect(FAST).done(&format!("SET own:{at} before"));
        cluster.connect(FAST).done(&format!("DYN.SET both:{at} before"));
    }
    cluster.nodes[FAST].kill9();
    cluster.nodes[FAST].set_clock(0);
    cluster.nodes[FAST].restart();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    for at in 0..20 {
        cluster.connect(FAST).done(&format!("SET own:{at} after"));
        cluster.connect(FAST).done(&format!("DYN.SET both:{at} after"));
        for reader in 0..3 {
            assert_eq!(cluster.connect(reader).run(&format!("GET own:{at}")).text(), "after");
            let both = cluster.connect(reader).done(&format!("DYN.GET both:{at}"));
            assert_eq!(both.items()[1].items().len(), 2, "a dot given twice hides one of them: {both}");
        }
    }
    for at in [RIGHT, SLOW] {
        wait::until("it is named no more", 10, || named(&cluster, at).iter().all(|(named, _)| *named != fast));
        assert!(cluster.nodes[at].log().contains("right again"));
    }
}

/// A clock that is set an hour ahead, then an hour behind, while the node serves: no write is refused or lost, later ones
/// win, expiries hold; put right, it is named no more.
#[test]
fn a_clock_that_jumps_while_the_node_runs_loses_nothing() {
    let mut cluster = Cluster::prepared(3, &[], None);
    cluster.nodes.iter_mut().for_each(|node| node.set_clock(0));
    cluster.start_all();
    cluster.connect(RIGHT).done("SET kept v EX 600");
    let steps = [HOUR_S, 0, -HOUR_S, HOUR_S, 0];
    for (step, ahead_s) in steps.into_iter().enumerate() {
        cluster.nodes[FAST].set_clock(ahead_s);
        let mut turn = 0;
        wait::until(&format!("the clock that was set {ahead_s} s ahead is known to be"), 20, || {
            turn += 1;
            for (at, reader) in [(FAST, RIGHT), (RIGHT, FAST)] {
                cluster.connect(at).done(&format!("SET jump:{step} {at}-{turn}"));
                let value = cluster.connect(reader).run(&format!("GET jump:{step}")).text();
                assert_eq!(value, format!("{at}-{turn}"));
                assert_eq!(cluster.connect(at).run("GET kept").text(), "v", "it does not expire before its time");
            }
            let correction_ms = info::number(&cluster, FAST, "clock_correction_ms");
            let named = named(&cluster, RIGHT).iter().any(|(_, ahead_ms)| ahead_ms.signum() == ahead_s.signum());
            if ahead_s == 0 {
                correction_ms == 0 && !named
            } else {
                correction_ms.signum() == -ahead_s.signum() && named
            }
        });
    }
    let left = cluster.connect(SLOW).run("TTL kept").integer();
    assert!((500..=600).contains(&left), "{left} s");
}

/// A clean stop leaves nothing to be careful about: however soon and often a node is started again, it stamps by the time
/// that all go by.
#[test]
fn a_node_that_was_stopped_and_started_stamps_by_everybody_s_time() {
    let mut cluster = Cluster::start(3, &[]);
    for round in 0..3 {
        assert_eq!(cluster.nodes[0].sigterm().code(), Some(0));
        cluster.nodes[0].restart();
        (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
        assert_eq!(cluster.connect(0).done(&format!("SET k {round}")).text(), "OK");
        wait::until("node 1 has it", 10, || cluster.connect(1).done("GET k").text() == round.to_string());
    }
    let ahead_ms = info::number(&cluster, 1, "clock_drift_ms_max");
    assert!(ahead_ms < SLACK_MS, "{ahead_ms} ms");
}

/// After kill -9 nobody knows how far a node had stamped, so it stamps some seconds ahead, and again some after the next: who
/// overwrites that elsewhere waits for its own clock to be stored as far, and is not refused; a pipeline keeps its order.
#[test]
fn what_a_node_that_was_killed_stamps_ahead_is_overwritten_everywhere() {
    const KEYS: usize = 100;
    let mut cluster = Cluster::start(3, &[]);
    for _ in 0..3 {
        cluster.nodes[0].kill9();
        cluster.nodes[0].restart();
        (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
        for at in 0..3 {
            let mut connection = cluster.connect(at);
            let names = (0..KEYS).map(|key| format!("k{key}"));
            let two = |name: String| {
                [request(&["SET", &name, "first"]), request(&["SET", &name, "last"]), request(&["GET", &name])]
            };
            connection.write(&names.flat_map(two).flatten().collect::<Vec<u8>>()).unwrap();
            for key in 0..KEYS {
                let replies = [(); 3].map(|()| connection.receive().unwrap());
                assert_eq!(replies.map(|reply| reply.text()), ["OK", "OK", "last"], "key {key} at node {at}");
            }
        }
    }
}
