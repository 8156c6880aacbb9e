//! The past is forgotten, and stays past: deletes and expiries leave no record once they are settled, and whoever was away
//! or asleep meanwhile brings nothing back (DESIGN "Settling").

use crate::harness::cluster::Cluster;
use crate::harness::resp::Value;
use crate::harness::{info, wait};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How soon what everyone has is forgotten by everyone.
const SOON_SECONDS: u64 = 25;
const ALL: [usize; 3] = [0, 1, 2];
const KEYS: Range<usize> = 0..20;

fn for_all_keys(cluster: &Cluster, at: &[usize], command: &str) {
    for key in KEYS {
        cluster.connect(at[key % at.len()]).done(&command.replace("KEY", &format!("key:{key}")));
    }
}

/// The values a node itself holds of a key.
fn local(cluster: &Cluster, at: usize, key: usize) -> usize {
    cluster.connect(at).done(&format!("DYN.GET key:{key} LOCAL")).items()[1].items().len()
}

fn assert_nothing_lives(cluster: &Cluster, at: &[usize]) {
    for at in at {
        KEYS.for_each(|key| assert_eq!(local(cluster, *at, key), 0, "key:{key} lives again on node {at}"));
        assert_eq!(cluster.connect(*at).done("DBSIZE").integer(), 0);
    }
}

fn wait_until_forgotten(cluster: &Cluster) {
    wait::until("every node has forgotten what was deleted", SOON_SECONDS, || {
        ALL.iter().all(|at| info::number(cluster, *at, "tombstones") == 0)
    });
    assert!(ALL.iter().all(|at| info::number(cluster, *at, "tombstones_reaped") > 0));
}

fn wait_until_all_reachable(cluster: &Cluster) {
    ALL.iter().for_each(|at| cluster.wait_until_reachable(*at, &ALL));
}

#[test]
fn deleted_keys_are_forgotten_and_stay_deleted() {
    let mut cluster = Cluster::start(3, &[]);
    for_all_keys(&cluster, &ALL, "DYN.SET KEY value W 3");
    for_all_keys(&cluster, &[1, 2, 0], "DEL KEY");
    wait_until_forgotten(&cluster);
    assert_nothing_lives(&cluster, &ALL);
    for at in ALL {
        cluster.nodes[at].kill9();
        cluster.nodes[at].restart();
        wait_until_all_reachable(&cluster);
        assert_nothing_lives(&cluster, &ALL);
    }
}

/// A node that holds the values while the others delete them holds up all forgetting; once it is back nothing lives again.
#[test]
fn who_is_away_during_deletes_brings_nothing_back() {
    let mut cluster = Cluster::start(3, &[]);
    for_all_keys(&cluster, &ALL, "DYN.SET KEY value W 3");
    cluster.nodes[2].kill9();
    (0..2).for_each(|at| cluster.wait_until_reachable(at, &[0, 1]));
    for_all_keys(&cluster, &[0, 1], "DEL KEY");
    assert_nothing_lives(&cluster, &[0, 1]);
    // That nothing happens takes time to see: with all three there it would all be forgotten by then.
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        assert!((0..2).all(|at| info::number(&cluster, at, "tombstones") == KEYS.len() as i64), "nothing is forgotten");
        std::thread::sleep(Duration::from_millis(200));
    }
    cluster.nodes[2].restart();
    wait_until_all_reachable(&cluster);
    wait_until_forgotten(&cluster);
    assert_nothing_lives(&cluster, &ALL);
}

/// The context a node itself holds of a key, as printed; none: it holds no record.
fn local_context(cluster: &Cluster, at: usize, key: usize) -> Option<String> {
    match &cluster.connect(at).done(&format!("DYN.GET key:{key} LOCAL")).items()[0] {
        Value::Bulk(context) => Some(String::from_utf8_lossy(context).into_owned()),
        _ => None,
    }
}

/// A node that sleeps through the deletes with the values in its memory, longer than it takes to be given up, wakes up in
/// the middle of everything it was doing: it brings nothing back.
#[test]
fn who_sleeps_through_deletes_brings_nothing_back() {
    let cluster = Cluster::start(3, &[]);
    for_all_keys(&cluster, &ALL, "DYN.SET KEY value W 3");
    cluster.nodes[2].freeze();
    (0..2).for_each(|at| cluster.wait_until_reachable(at, &[0, 1]));
    for_all_keys(&cluster, &[0, 1], "DEL KEY");
    assert_nothing_lives(&cluster, &[0, 1]);
    cluster.nodes[2].thaw();
    wait_until_all_reachable(&cluster);
    wait_until_forgotten(&cluster);
    assert_nothing_lives(&cluster, &ALL);
}

/// What has expired leaves nothing behind on any node, whether one was away when it expired or not.
#[test]
fn expired_values_are_forgotten_and_do_not_come_back() {
    let mut cluster = Cluster::start(3, &[]);
    for_all_keys(&cluster, &ALL, "DYN.SET KEY value PX 1500 W 3");
    cluster.nodes[2].kill9();
    (0..2).for_each(|at| cluster.wait_until_reachable(at, &[0, 1]));
    wait::until("the values have expired", 10, || {
        KEYS.into_iter().all(|key| cluster.connect(0).done(&format!("EXISTS key:{key}")).integer() == 0)
    });
    cluster.nodes[2].restart();
    wait_until_all_reachable(&cluster);
    wait::until("no node has any record of them", SOON_SECONDS, || {
        ALL.iter().all(|at| KEYS.into_iter().all(|key| local_context(&cluster, *at, key).is_none()))
    });
    assert_nothing_lives(&cluster, &ALL);
}

/// A key that many have written, in many lives, remembers them only until all is settled; its value stays.
#[test]
fn contexts_shrink_to_what_their_values_need() {
    let mut cluster = Cluster::start(3, &[]);
    let longest = |cluster: &Cluster, at: usize| {
        KEYS.map(|key| local_context(cluster, at, key).expect("it holds the key").len()).max().expect("there are keys")
    };
    let mut most = 0;
    for life in 0..3 {
        for at in ALL {
            for_all_keys(&cluster, &[at], &format!("DYN.SET KEY value:{life}:{at} W 3"));
            for_all_keys(&cluster, &[at], &format!("SET KEY value:{life}:{at}"));
        }
        most = most.max(longest(&cluster, 0));
        for at in ALL {
            cluster.nodes[at].kill9();
            cluster.nodes[at].restart();
            wait_until_all_reachable(&cluster);
        }
    }
    // One entry, as a key has that was written once.
    cluster.connect(0).done("DYN.SET once value W 3");
    let one = cluster.connect(0).done("DYN.GET once").items()[0].text().len();
    assert!(most > 3 * one, "{most} bytes of context, {one} for one writer: there is nothing to shrink");
    wait::until("contexts have shrunk on every node", SOON_SECONDS, || {
        ALL.iter().all(|at| longest(&cluster, *at) <= 2 * one)
    });
    for key in KEYS {
        for at in ALL {
            let reply = cluster.connect(at).done(&format!("DYN.GET key:{key} LOCAL"));
            assert_eq!(
                reply.items()[1].items().iter().map(Value::text).collect::<Vec<_>>(),
                ["value:2:2"],
                "key:{key}"
            );
        }
    }
}
