//! What faults cost, measured: prints a Markdown table.
//!
//! ```text
//! benches/faults/run [--keys 200000] [--million 1000000] [--seconds 10] [--only kill,wipe,cut,difference]
//! ```
//!
//! Three nodes (N=3, R=W=2), each in a network of its own, release build. Clients of every node set and get keys that all hold
//! a value already; the third node is killed, killed and wiped, or cut off for three times `--seconds`, and comes back
//! while they go on.
//!
//! - *failed*: operations that were answered by an error or not at all, of the clients of the other two nodes, and of its own.
//! - *longest gap*: between two good answers that one client of the other two nodes got, from the fault to the end; beside it
//!   the same for as long a time just before the fault: what load and disk cost anyway. Times in which the whole (virtual)
//!   machine stood still are left out; how long those were, at the longest within one gap, is a column of its own.
//! - *lost*: keys whose last acknowledged version, or a later one, is on no node's disk in the end.
//! - *whole after*: from its return (it answers PING; the cut is healed) until its own disk holds, of every key, what
//!   was acknowledged before that. Looking takes time, too, which is in it.
//!
//! The last row: `--million` keys in a database that keeps no hints (strict); one of a thousand is changed while the third node
//! is down; how long comparing takes to make it whole, and how many bytes all nodes' comparisons cost in that time.

#[path = "../../compat-tests/harness/mod.rs"]
#[expect(dead_code, reason = "shared with the tests, `cargo test --test compat`, which use the rest of it")]
mod harness;
mod load;
mod standstill;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use harness::cluster::Cluster;
use harness::info;
use load::{Load, fill, held};
use standstill::Standstills;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const NODES: usize = 3;
/// The node that suffers.
const VICTIM: usize = 2;
/// When the last look is taken, after the load has ended, whatever it shows.
const WHOLE_SECONDS_MAX: u64 = 300;

/// What is done to the third node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Wipe,
    Cut,
}

fn main() {
    let matches = command().get_matches();
    if !matches.get_flag("measure") {
        // A plain `cargo bench` weighs the hot parts; this one takes minutes.
        println!("what faults cost is measured by benches/faults/run");
        return;
    }
    let number = |name: &str| *matches.get_one::<usize>(name).expect("has a default");
    let (keys, seconds) = (number("keys"), number("seconds") as u64);
    if wanted(&matches, "kill") || wanted(&matches, "wipe") || wanted(&matches, "cut") {
        println!(
            "| of three nodes, one is | operations | failed, others' clients | failed, its own | longest gap, others (ms) | which ended after (s) | the longest without a fault (ms) | machine stood still (ms) | lost | whole after (s) |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    }
    let standstills = Standstills::watch();
    for (name, fault) in [("kill", Fault::Kill), ("wipe", Fault::Wipe), ("cut", Fault::Cut)] {
        if wanted(&matches, name) {
            suffer(fault, keys, Duration::from_secs(seconds), &standstills);
        }
    }
    if wanted(&matches, "difference") {
        converge(number("million"));
    }
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str| {
        Arg::new(name).long(name).default_value(default).value_parser(value_parser!(usize))
    };
    Command::new("faults").about("Measures what faults cost").args([
        Arg::new("measure").long("measure").action(ArgAction::SetTrue).help("Does it"),
        Arg::new("bench").long("bench").action(ArgAction::SetTrue).hide(true),
        number("keys", "200000").help("Keys that are there before the fault"),
        number("million", "1000000").help("Keys of the last row"),
        number("seconds", "10").help("How long the node is away; cut off: three times that"),
        Arg::new("only").long("only").default_value("kill,wipe,cut,difference"),
    ])
}

fn wanted(matches: &ArgMatches, name: &str) -> bool {
    matches.get_one::<String>("only").expect("has a default").split(',').any(|wanted| wanted == name)
}

fn cluster() -> Cluster {
    Cluster::start_apart(NODES, &[]).expect("measuring needs networks of one's own: root, and iproute2")
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.address).collect()
}

/// One row of the first table.
fn suffer(fault: Fault, keys: usize, away: Duration, standstills: &Standstills) {
    let mut cluster = cluster();
    let addresses = addresses(&cluster);
    fill(&addresses, 0..keys, 1);
    let mut load = Load::start(&addresses, keys);
    std::thread::sleep(away / 5);
    load.begin();
    let others = [0, 1];
    std::thread::sleep(away);
    let before = longest_gap(&load, others, standstills).0;
    load.begin();
    let begun = Instant::now();
    let name = match fault {
        Fault::Kill | Fault::Wipe => {
            cluster.nodes[VICTIM].kill9();
            if fault == Fault::Wipe {
                let objects = cluster.nodes[VICTIM].dir.join("objects");
                std::fs::remove_dir_all(objects).expect("the engine's folder can be removed");
            }
            std::thread::sleep(away);
            cluster.nodes[VICTIM].restart();
            format!(
                "{}, back after {} s",
                if fault == Fault::Wipe { "killed and wiped" } else { "killed" },
                away.as_secs()
            )
        }
        Fault::Cut => {
            let network = cluster.network.as_ref().expect("it was started with one");
            network.cut(&[VICTIM], &others);
            std::thread::sleep(3 * away);
            network.heal(&[VICTIM], &others);
            format!("cut off for {} s", 3 * away.as_secs())
        }
    };
    let returned = Instant::now();
    let whole = whole_after(addresses[VICTIM], &load.acknowledged(), returned);
    let (gap, ended) = longest_gap(&load, others, standstills);
    let stood_still = others.map(|node| load.seen(node, NODES).gaps);
    let stood_still = stood_still.iter().flatten().map(|gap| standstills.within(gap.from, gap.to)).max();
    let seen: Vec<_> = (0..NODES).map(|node| load.seen(node, NODES)).collect();
    load.stop();
    let lost = lost(&addresses, &load.acknowledged());
    println!(
        "| {name} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {lost} | {} |",
        seen.iter().map(|seen| seen.done).sum::<u64>(),
        others.map(|node| seen[node].failed).iter().sum::<u64>(),
        seen[VICTIM].failed,
        milliseconds(gap),
        ended.map_or(0.0, |ended| ended.saturating_duration_since(begun).as_secs_f64()),
        milliseconds(before),
        milliseconds(stood_still.unwrap_or_default()),
        whole.map_or(format!("not within {WHOLE_SECONDS_MAX}"), |whole| format!("{:.1}", whole.as_secs_f64())),
    );
}

/// The longest gap that a client of these nodes saw, and when it ended.
fn longest_gap(load: &Load, nodes: [usize; 2], standstills: &Standstills) -> (Duration, Option<Instant>) {
    nodes.map(|node| load.seen(node, NODES).longest_gap(standstills)).into_iter().max().unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// When a node's own disk holds at least these versions; keys that do are not looked at again.
fn whole_after(address: SocketAddr, wanted: &[u64], since: Instant) -> Option<Duration> {
    let mut left: Vec<usize> = (0..wanted.len()).collect();
    while since.elapsed() < Duration::from_secs(WHOLE_SECONDS_MAX) {
        if let Some(held) = held(address, &left) {
            let mut versions = held.into_iter();
            left.retain(|number| versions.next().is_none_or(|version| version < wanted[*number]));
            if left.is_empty() {
                return Some(since.elapsed());
            }
        }
        std::thread::sleep(harness::wait::LOOK_EVERY);
    }
    None
}

/// Keys of which no node's disk holds what was acknowledged.
fn lost(addresses: &[SocketAddr], acknowledged: &[u64]) -> usize {
    let all: Vec<usize> = (0..acknowledged.len()).collect();
    let held: Vec<Vec<u64>> = addresses.iter().map(|address| held(*address, &all).expect("all nodes are up")).collect();
    all.iter().filter(|number| held.iter().all(|held| held[**number] < acknowledged[**number])).count()
}

/// The row of the million keys.
fn converge(keys: usize) {
    let mut cluster = cluster();
    cluster.set_policy(0, 0, "SLOPPY no");
    let addresses = addresses(&cluster);
    fill(&addresses, 0..keys, 1);
    let whole = format!("db0:keys={keys},");
    harness::wait::until("all nodes hold all keys", WHOLE_SECONDS_MAX, || {
        cluster.nodes.iter().all(|node| node.connect().done("INFO keyspace").text().contains(&whole))
    });
    cluster.nodes[VICTIM].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    let changed: Vec<usize> = (0..keys).step_by(1000).collect();
    change(addresses[0], &changed);
    let before: i64 = [0, 1].iter().map(|node| info::number(&cluster, *node, "exchange_bytes")).sum();
    cluster.nodes[VICTIM].restart();
    let returned = Instant::now();
    let mut wanted = vec![1; keys];
    changed.iter().for_each(|number| wanted[*number] = 2);
    let wholly = whole_changed(addresses[VICTIM], &changed, returned);
    let spent = info::total(&cluster, "exchange_bytes") - before;
    assert_eq!(lost(&addresses, &wanted), 0);
    println!(
        "\n| keys on each of three nodes | changed while one was down | whole after (s) | bytes of comparisons | bytes a changed key |"
    );
    println!("|--:|--:|--:|--:|--:|");
    let after = wholly.map_or(format!("not within {WHOLE_SECONDS_MAX}"), |after| format!("{:.1}", after.as_secs_f64()));
    println!("| {keys} | {} | {after} | {spent} | {} |", changed.len(), spent / changed.len() as i64);
}

/// Gives these keys version 2.
fn change(address: SocketAddr, keys: &[usize]) {
    let mut connection = harness::resp::Connection::open(address).expect("a node takes connections");
    for number in keys {
        let reply = connection.ask(&["SET", &load::key(*number), &load::value(2)]);
        assert_eq!(reply.to_string(), "+OK");
    }
}

/// When a node's own disk holds version 2 of all these keys.
fn whole_changed(address: SocketAddr, changed: &[usize], since: Instant) -> Option<Duration> {
    while since.elapsed() < Duration::from_secs(WHOLE_SECONDS_MAX) {
        if held(address, changed).is_some_and(|held| held.iter().all(|version| *version == 2)) {
            return Some(since.elapsed());
        }
        std::thread::sleep(harness::wait::LOOK_EVERY);
    }
    None
}
