//! §4.4 and §6.3: deleted items, and how often a reader meets more than one version.

use super::{context_and_values, local};
use crate::harness::cluster::Cluster;
use crate::harness::random::Random;
use crate::harness::resp::Connection;
use crate::harness::{info, wait};
use std::collections::BTreeMap;

const ITEMS: [&str; 4] = ["milk", "bread", "salt", "rice"];

fn item(name: &str) -> String {
    format!("{{cart}}:{name}")
}

/// §4.4: in the paper "deleted items can resurface" when carts are merged. Here each item is a key of the cart's hash tag: one
/// that was taken out on one side of a cut, while the other side put others in, stays out; one that was put in anew on the other
/// side, by somebody who did not see it taken out, stays in.
#[test]
fn deleted_items_do_not_resurface() {
    let Some(cluster) = Cluster::start_apart(3, &[("r", "1"), ("w", "1")]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    for name in ["milk", "bread"] {
        cluster.connect(0).done(&format!("DYN.SET {} 1 W 3", item(name)));
    }
    network.cut(&[0], &[1, 2]);
    for name in ["milk", "bread"] {
        let (context, _) = context_and_values(&cluster.connect(0).done(&format!("DYN.GET {}", item(name))));
        cluster.connect(0).done(&format!("DYN.DEL {} CONTEXT {}", item(name), context.expect("it was read")));
    }
    cluster.connect(1).done(&format!("DYN.SET {} 1", item("salt")));
    cluster.connect(2).done(&format!("DYN.SET {} 2", item("bread")));
    cluster.connect(0).done(&format!("DYN.SET {} 1", item("rice")));
    network.heal(&[0], &[1, 2]);
    for at in 0..3 {
        wait::until("the sides have met", 30, || {
            let cart = ITEMS.map(|name| !local(&cluster, at, &item(name)).is_empty());
            cart == [false, true, true, true]
        });
        assert_eq!(local(&cluster, at, &item("bread")), ["2"], "node {at}: only what was put in anew");
    }
    // Whatever reads and comparisons do from here on, it stays out.
    let compared = info::total(&cluster, "exchanges") + 6;
    wait::until("the homes compare themselves again", 30, || info::total(&cluster, "exchanges") >= compared);
    for at in 0..3 {
        assert_eq!(cluster.connect(at).done(&format!("GET {}", item("milk"))).to_string(), "nil", "node {at}");
    }
}

/// Shoppers on each node.
const SHOPPERS_PER_NODE: usize = 2;
/// Adds of each.
const ADDS: usize = 250;
/// Carts of a shopper.
const CARTS: usize = 10;
/// One of so many adds goes to a cart that robots fill from everywhere.
const ROBOT_EACH: usize = 50;

/// §6.3: "99.94 % of requests saw exactly one version", and what made more was not failures but "busy robots". Most carts have
/// one shopper, who may come in at any node; one is filled by all at once. What share of the reads saw one version is printed.
#[test]
fn nearly_all_reads_see_one_version() {
    let cluster = Cluster::start(3, &[]);
    let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        let shoppers = (0..3 * SHOPPERS_PER_NODE).map(|shopper| {
            let cluster = &cluster;
            scope.spawn(move || shop(cluster, shopper))
        });
        let shoppers: Vec<_> = shoppers.collect();
        for (versions, reads) in shoppers.into_iter().flat_map(|shopper| shopper.join().expect("a shopper ends well")) {
            *seen.entry(versions).or_default() += reads;
        }
    });
    let reads: usize = seen.values().sum();
    let share = |count: usize| 100.0 * count as f64 / reads as f64;
    let one = seen.get(&0).unwrap_or(&0) + seen.get(&1).unwrap_or(&0);
    println!("of {reads} reads {:.2} % saw one version (or none yet); {seen:?}", share(one));
    let several = reads - one;
    let counted: i64 = info::total(&cluster, "reads_with_siblings");
    assert!(counted >= several as i64, "INFO counts {counted} of {several} reads that saw several");
    assert!(share(one) >= 97.0, "{seen:?}");
    for robot in 0..3 {
        let (_, values) = context_and_values(&cluster.connect(robot).done("DYN.GET robots R 3"));
        assert!(!values.is_empty(), "the robots' cart is there");
    }
}

/// Adds items one by one, reading before; gives how many reads saw how many versions.
fn shop(cluster: &Cluster, shopper: usize) -> BTreeMap<usize, usize> {
    let mut random = Random::new(shopper as u64 + 1);
    let mut nodes: Vec<Connection> = (0..3).map(|at| cluster.connect(at)).collect();
    let mut seen = BTreeMap::new();
    for add in 0..ADDS {
        let cart = match random.below(ROBOT_EACH) {
            0 => "robots".to_owned(),
            _ => format!("cart:{shopper}:{}", random.below(CARTS)),
        };
        let node = random.below(3);
        let (context, values) = context_and_values(&nodes[node].done(&format!("DYN.GET {cart}")));
        *seen.entry(values.len()).or_default() += 1;
        let mut words = vec!["DYN.SET".to_owned(), cart, format!("{shopper}-{add}")];
        words.extend(context.into_iter().flat_map(|context| ["CONTEXT".to_owned(), context]));
        let reply = nodes[node].ask(&words);
        assert!(!reply.is_error(), "an add is never rejected: {reply}");
    }
    seen
}
