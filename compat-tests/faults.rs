//! Whatever fails, writes are taken and nothing acknowledged is lost: five real processes, each in a network of its own, under
//! a load that knows what every key may hold, and every fault one machine can play.
//!
//! What counts is each node's own copy, not what the nodes answer together: `DYN.GET key LOCAL` at every home. When all is
//! healed all homes hold the same; what was acknowledged is there, or was overwritten by a later write of the same client;
//! what was overwritten or deleted is not; and nothing is there that nobody wrote.
//!
//! A run is named by its seed, which fixes the faults, their nodes and their order, but not the moment at which a packet
//! meets a fault. `compat-tests/soak-processes` runs on with ever new seeds.

mod history;
mod load;
mod storm;

use crate::harness::cluster::Cluster;
use crate::harness::random::Random;
use crate::harness::wait;
use load::{Histories, Load};
use std::time::{Duration, Instant};
use storm::Fault;

const NODES: usize = 5;
/// Writes acknowledged under each fault, and again after it.
const WRITES_PER_FAULT: usize = 400;
/// Pairs of faults in a run.
const PAIRS: usize = 4;
/// How soon after the last fault all homes must hold the same.
const WHOLE_SECONDS: u64 = 60;
/// What makes a run; another one is run by `compat-tests/soak-processes --seed`.
const SEED: u64 = 7;
/// Where the soak script leaves its wishes.
const SOAK_MINUTES: &str = "DYNAMIS_SOAK_MINUTES";
const SOAK_SEED: &str = "DYNAMIS_SOAK_SEED";

/// One fault after the other, then two at a time.
#[test]
fn faults_in_turn_and_together_lose_nothing() {
    let Some(mut cluster) = Cluster::start_apart(NODES, &[]) else { return };
    run(&mut cluster, SEED);
}

/// The same with ever new seeds on one cluster, for as long as the environment says.
#[test]
#[ignore = "it takes minutes, with new seeds each time: compat-tests/soak-processes"]
fn soak() {
    let wish = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().expect(name));
    let until = Instant::now() + Duration::from_secs(60 * wish(SOAK_MINUTES, 10));
    let mut seed = wish(SOAK_SEED, u64::from(std::process::id()));
    let mut cluster = Cluster::start_apart(NODES, &[]).expect("soaking needs networks of one's own");
    loop {
        let begun = Instant::now();
        let (keys, writes) = run(&mut cluster, seed);
        println!("seed {seed}: {writes} writes of {keys} keys accounted for in {:.0?}", begun.elapsed());
        if Instant::now() >= until {
            return;
        }
        seed += 1;
    }
}

/// One run; gives how many keys and writes were accounted for.
fn run(cluster: &mut Cluster, seed: u64) -> (usize, usize) {
    println!("seed {seed}; again: compat-tests/soak-processes --seed {seed} --minutes 0");
    let mut random = Random::new(seed);
    let load = Load::start(cluster, seed, &format!("run-{seed}"));
    load.wait_for(WRITES_PER_FAULT);
    for fault in Fault::each(&mut random, NODES) {
        suffer(cluster, &load, &[fault]);
    }
    for _ in 0..PAIRS {
        let pair = Fault::pair(&mut random, NODES);
        suffer(cluster, &load, &pair);
    }
    let histories = load.stop();
    (0..NODES).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2, 3, 4]));
    let homes: Vec<_> = histories.keys().map(|key| (key.as_str(), cluster.homes(0, 0, key))).collect();
    wait_until_whole(cluster, &homes);
    let complaints = complaints(cluster, &histories, &homes);
    assert!(complaints.is_empty(), "seed {seed}: {} keys are wrong:\n{}", complaints.len(), complaints.join("\n"));
    (homes.len(), histories.values().map(|history| history.writes.len()).sum())
}

/// The faults begin and end in the same order, with writes before, between and after.
fn suffer(cluster: &mut Cluster, load: &Load, faults: &[Fault]) {
    let begun = Instant::now();
    for fault in faults {
        fault.begin(cluster);
        load.wait_for(WRITES_PER_FAULT);
    }
    for fault in faults {
        fault.end(cluster);
        load.wait_for(WRITES_PER_FAULT);
    }
    println!("  {faults:?}: {:.1?}", begun.elapsed());
}

/// The live values of each key on a node's own disk, sorted; none where it has no record.
fn held(cluster: &Cluster, at: usize, keys: &[(&str, Vec<usize>)]) -> Vec<Option<Vec<String>>> {
    let mut connection = cluster.connect(at);
    keys.chunks(100)
        .flat_map(|portion| {
            portion.iter().for_each(|(key, _)| connection.send(&["DYN.GET", key, "LOCAL"]).expect("a node takes it"));
            let mut replies = Vec::new();
            for _ in portion {
                let reply = connection.receive().expect("a node answers");
                let [context, values] = reply.items() else { panic!("context and values, not {reply}") };
                let mut values: Vec<String> = values.items().iter().map(|value| value.text()).collect();
                values.sort();
                replies.push((context.to_string() != "nil").then_some(values));
            }
            replies
        })
        .collect()
}

/// Waits until all homes of every key hold the same, and nobody else holds anything.
fn wait_until_whole(cluster: &Cluster, keys: &[(&str, Vec<usize>)]) {
    let begun = Instant::now();
    let deadline = begun + Duration::from_secs(WHOLE_SECONDS);
    loop {
        let held: Vec<_> = (0..NODES).map(|at| held(cluster, at, keys)).collect();
        let unlike = keys.iter().enumerate().filter(|(number, (_, homes))| {
            let at_homes = homes.iter().all(|home| held[*home][*number] == held[homes[0]][*number]);
            let elsewhere = (0..NODES).filter(|at| !homes.contains(at)).any(|at| held[at][*number].is_some());
            !at_homes || elsewhere
        });
        let shown = |(number, (key, homes)): (usize, &(&str, Vec<usize>))| {
            let copies: Vec<_> = held.iter().map(|held| &held[number]).collect();
            format!("{key}, homes {homes:?}: {copies:?}")
        };
        let unlike: Vec<String> = unlike.map(shown).collect();
        if unlike.is_empty() {
            println!("  all homes hold the same {:.1?} after the last fault", begun.elapsed());
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{} keys differ on their homes:\n{}",
            unlike.len(),
            unlike[..unlike.len().min(10)].join("\n")
        );
        std::thread::sleep(wait::LOOK_EVERY);
    }
}

/// What is wrong with the copies of the first home, which are those of all.
fn complaints(cluster: &Cluster, histories: &Histories, keys: &[(&str, Vec<usize>)]) -> Vec<String> {
    let held: Vec<_> = (0..NODES).map(|at| held(cluster, at, keys)).collect();
    let wrong = keys.iter().enumerate().filter_map(|(number, (key, homes))| {
        let values = held[homes[0]][number].clone().unwrap_or_default();
        let complaint = histories[*key].complaint(&values)?;
        Some(format!("{key}: {complaint}; its history: {:?}", histories[*key].writes))
    });
    wrong.collect()
}
