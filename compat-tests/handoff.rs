//! Hinted handoff (§4.6): what fallbacks took in for a home that was away reaches that home's own disk, and they let go of it.

use crate::harness::cluster::Cluster;
use crate::harness::wait;

/// Keys written while a home is away.
const KEYS: usize = 300;
/// The node that goes away.
const AWAY: usize = 4;
/// How soon a returned home must have what it missed.
const DELIVERED_SECONDS: u64 = 15;

/// A key and its homes.
type Homed = (String, Vec<usize>);

/// Five nodes, N=3; one is killed, and keys are written through the others.
fn written_without_one(settings: &[(&str, &str)]) -> (Cluster, Vec<Homed>) {
    let mut cluster = Cluster::start(5, settings);
    let keys: Vec<Homed> = (0..KEYS)
        .map(|at| {
            let key = format!("handed:{at}");
            let homes = cluster.homes(0, 0, &key);
            assert_eq!(homes.len(), 3, "{key}");
            (key, homes)
        })
        .collect();
    cluster.nodes[AWAY].kill9();
    let up: Vec<usize> = (0..AWAY).collect();
    up.iter().for_each(|at| cluster.wait_until_reachable(*at, &up));
    assert_eq!(write(&cluster, &keys, "v"), [""; 0]);
    (cluster, keys)
}

/// Sets every key, through one node after the other; gives the errors.
fn write(cluster: &Cluster, keys: &[Homed], value: &str) -> Vec<String> {
    let mut connections: Vec<_> = (0..AWAY).map(|at| cluster.connect(at)).collect();
    let replies =
        keys.iter().enumerate().map(|(at, (key, _))| connections[at % AWAY].run(&format!("SET {key} {value}")));
    replies.filter(|reply| reply.is_error()).map(|reply| reply.to_string()).collect()
}

fn pending(cluster: &Cluster, nodes: &[usize]) -> Vec<usize> {
    nodes.iter().map(|at| cluster.info(*at, "hints_pending")).collect()
}

fn wait_until_delivered(cluster: &Cluster) {
    wait::until("no node keeps anything for another", DELIVERED_SECONDS, || {
        pending(cluster, &[0, 1, 2, 3, 4]).iter().all(|pending| *pending == 0)
    });
}

/// The values a node itself holds of a key; none when it has no record of it.
fn local(cluster: &Cluster, at: usize, key: &str) -> Option<Vec<String>> {
    let reply = cluster.connect(at).run(&format!("DYN.GET {key} LOCAL"));
    let known = reply.items()[0].to_string() != "nil";
    known.then(|| reply.items()[1].items().iter().map(|value| value.text()).collect())
}

/// Every home holds every key, and nobody else holds anything.
fn assert_at_home(cluster: &Cluster, keys: &[Homed], value: &str) {
    let mut wrong = Vec::new();
    for (key, homes) in keys {
        for at in 0..cluster.nodes.len() {
            let held = local(cluster, at, key);
            let right = match &held {
                Some(values) => homes.contains(&at) && values.iter().any(|held| held == value),
                None => !homes.contains(&at),
            };
            if !right {
                wrong.push(format!("{key}, homes {homes:?}: node {at} holds {held:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    for at in 0..cluster.nodes.len() {
        let homed = keys.iter().filter(|(_, homes)| homes.contains(&at)).count();
        let keyspace = cluster.connect(at).done("INFO keyspace").text();
        assert!(keyspace.contains(&format!("db0:keys={homed},")), "node {at} is home of {homed} keys: {keyspace}");
    }
}

/// A home is killed, written without, and started again: within seconds it has every key it is home of on its own disk, no
/// hint is pending anywhere, and whoever stood in holds nothing any more.
#[test]
fn a_returned_home_gets_what_it_missed_and_fallbacks_let_go() {
    let (mut cluster, keys) = written_without_one(&[]);
    let missed = keys.iter().filter(|(_, homes)| homes.contains(&AWAY)).count();
    // More, when a living node was so slow that it was stood in for, too. The last copy may still be on its way: the client
    // was answered by two others.
    wait::until("there is a hint for each key that the dead node is home of", DELIVERED_SECONDS, || {
        pending(&cluster, &[0, 1, 2, 3]).iter().sum::<usize>() >= missed
    });
    let (key, homes) = keys.iter().find(|(_, homes)| homes.contains(&AWAY)).expect("it is home of some");
    let holders = (0..AWAY).filter(|at| !homes.contains(at) && local(&cluster, *at, key).is_some());
    assert_eq!(holders.count(), 1, "one fallback holds {key}");
    cluster.nodes[AWAY].restart();
    wait_until_delivered(&cluster);
    assert_at_home(&cluster, &keys, "v");
    let delivered: usize = (0..AWAY).map(|at| cluster.info(at, "hints_delivered")).sum();
    assert!(delivered >= missed, "{delivered} of {missed} delivered");
    let given_back: usize = (0..AWAY).map(|at| cluster.info(at, "copies_given_back")).sum();
    assert!(given_back >= missed, "{given_back} of {missed} were let go of by nodes that are no homes");
}

/// The same, but whoever keeps copies for the dead home is killed, too, before it can deliver: started again, it knows how
/// many hints it has, and delivers them.
#[test]
fn hints_survive_the_death_of_their_holder() {
    let (mut cluster, keys) = written_without_one(&[]);
    let before = pending(&cluster, &[0, 1, 2, 3]);
    let holder = (0..AWAY).max_by_key(|at| before[*at]).expect("four nodes");
    assert!(before[holder] > 0, "{before:?}");
    cluster.nodes[holder].kill9();
    cluster.nodes[holder].restart();
    assert_eq!(pending(&cluster, &[holder]), [before[holder]], "counted right after the start");
    cluster.nodes[holder].kill9();
    cluster.nodes[AWAY].restart();
    cluster.nodes[holder].restart();
    wait_until_delivered(&cluster);
    assert_at_home(&cluster, &keys, "v");
}

/// Keys are overwritten while their older versions are being handed back: the newest is on every home's disk in the end,
/// no fallback keeps anything, and no write is refused. (While the home starts, a write forwarded to it may be in doubt.)
#[test]
fn writes_go_on_while_copies_are_handed_back() {
    let (mut cluster, keys) = written_without_one(&[]);
    cluster.nodes[AWAY].start();
    for turn in 0..8 {
        let errors = write(&cluster, &keys, &format!("v{turn}"));
        assert!(errors.iter().all(|error| error.starts_with("-NOQUORUM")), "{errors:?}");
    }
    cluster.nodes[AWAY].wait_until_serving();
    assert_eq!(write(&cluster, &keys, "last"), [""; 0]);
    wait_until_delivered(&cluster);
    assert_at_home(&cluster, &keys, "last");
}

/// What a fallback coordinated for homes that are all away, deletes included, reaches them, and the next write it makes of
/// such a key carries a name of its own: the one before is not mistaken for seen.
#[test]
fn a_fallback_that_gave_a_key_back_writes_it_under_a_new_name() {
    let mut cluster = Cluster::start(4, &[]);
    cluster.set_policy(0, 0, "N 1 R 1 W 1");
    let key = (0..).map(|at| format!("alone:{at}")).find(|key| cluster.homes(0, 0, key) == [3]).expect("some key");
    cluster.nodes[3].kill9();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    cluster.connect(0).done(&format!("DYN.SET {key} one"));
    assert_eq!(local(&cluster, 0, &key), Some(vec!["one".to_owned()]));
    cluster.nodes[3].restart();
    (0..4).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2, 3]));
    wait::until("the home has it and node 0 nothing", DELIVERED_SECONDS, || {
        local(&cluster, 3, &key).is_some() && local(&cluster, 0, &key).is_none()
    });
    cluster.nodes[3].kill9();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    cluster.connect(0).done(&format!("DYN.SET {key} two"));
    cluster.nodes[3].restart();
    wait::until("the home has both", DELIVERED_SECONDS, || {
        local(&cluster, 3, &key) == Some(vec!["one".to_owned(), "two".to_owned()])
    });
}

/// Sums a number over nodes.
fn sum(cluster: &Cluster, nodes: &[usize], name: &str) -> usize {
    nodes.iter().map(|at| cluster.info(*at, name)).sum()
}

/// More is written for a home that is away than may be noted for it: no client is refused, and when it is back it gets every
/// key nevertheless, also from a holder that was killed in between; whoever stood in holds nothing in the end.
#[test]
fn hints_beyond_the_bound_are_dropped_and_their_copies_are_found_again() {
    let (mut cluster, keys) = written_without_one(&[("hint-bytes-max", "1kb")]);
    let up: Vec<usize> = (0..AWAY).collect();
    wait::until("some hints are dropped", DELIVERED_SECONDS, || sum(&cluster, &up, "hints_dropped") > 0);
    assert_eq!(write(&cluster, &keys, "w"), [""; 0]);
    let holder = (0..AWAY).max_by_key(|at| cluster.info(*at, "hints_dropped")).expect("four nodes");
    assert!(cluster.info(holder, "hints_homes_marked") > 0);
    cluster.nodes[holder].kill9();
    cluster.nodes[holder].restart();
    wait::until("the mark is found again", DELIVERED_SECONDS, || cluster.info(holder, "hints_homes_marked") > 0);
    cluster.nodes[AWAY].restart();
    wait::until("every copy was hinted and delivered", 3 * DELIVERED_SECONDS, || {
        let all = [0, 1, 2, 3, 4];
        sum(&cluster, &all, "hints_homes_marked") == 0 && pending(&cluster, &all) == [0; 5]
    });
    assert_at_home(&cluster, &keys, "w");
}

/// The same for hints that grew too old, where the copy is the only one there is (N=1): nobody else could bring it back.
#[test]
fn a_copy_that_is_the_only_one_outlives_its_hint() {
    let mut cluster = Cluster::start(4, &[("hint-ttl-ms", "300")]);
    cluster.set_policy(0, 0, "N 1 R 1 W 1");
    let homed = |key: &String| cluster.homes(0, 0, key) == [3];
    let keys: Vec<String> = (0..).map(|at| format!("only:{at}")).filter(homed).take(50).collect();
    cluster.nodes[3].kill9();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    keys.iter().for_each(|key| drop(cluster.connect(0).done(&format!("SET {key} {key}"))));
    wait::until("every hint is too old", DELIVERED_SECONDS, || pending(&cluster, &[0, 1, 2]) == [0, 0, 0]);
    assert_eq!(sum(&cluster, &[0, 1, 2], "hints_delivered"), 0);
    cluster.nodes[3].restart();
    wait::until("the home has them all and nobody else any", 2 * DELIVERED_SECONDS, || {
        keys.iter().all(|key| {
            local(&cluster, 3, key) == Some(vec![key.clone()]) && (0..3).all(|at| local(&cluster, at, key).is_none())
        })
    });
}
