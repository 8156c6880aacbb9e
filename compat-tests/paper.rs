//! One test per claim of the paper (DeCandia et al., SOSP 2007) that stands so far; the section is in each test's doc.

mod membership;
mod placement;
mod repair;
mod versions;

use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Context (none: nil) and values of a DYN.GET.
fn context_and_values(reply: &Value) -> (Option<String>, Vec<String>) {
    let [context, values] = reply.items() else { panic!("DYN.GET answers context and values, not {reply}") };
    let context = matches!(context, Value::Bulk(_)).then(|| context.text());
    (context, values.items().iter().map(Value::text).collect())
}

/// The live values of a node's own copy.
fn local(cluster: &Cluster, at: usize, key: &str) -> Vec<String> {
    context_and_values(&cluster.connect(at).done(&format!("DYN.GET {key} LOCAL"))).1
}

/// §2.3 and §6: each service configures its own instance. Here each database has its own N, R, W and way of settling
/// conflicts, side by side in one cluster.
#[test]
fn each_database_is_an_instance_with_its_own_policy() {
    let cluster = Cluster::start(3, &[]);
    cluster.set_policy(0, 1, "CONFLICT newest");
    cluster.set_policy(0, 2, "N 1 R 1 W 1");
    let twice = |database: u8| {
        for (at, value) in ["one", "two"].iter().enumerate() {
            let mut connection = cluster.connect(at);
            connection.done(&format!("SELECT {database}"));
            connection.done(&format!("DYN.SET k {value}"));
        }
        let mut connection = cluster.connect(2);
        connection.done(&format!("SELECT {database}"));
        context_and_values(&connection.done("DYN.GET k")).1.len()
    };
    assert_eq!((twice(0), twice(1)), (2, 1), "database 0 keeps siblings, database 1 the newest");
    assert_eq!(cluster.homes(0, 0, "k").len(), 3);
    assert_eq!(cluster.homes(0, 2, "k").len(), 1);
}

/// §4.1: get answers the object, or conflicting versions, with a context; put takes the context back.
#[test]
fn get_gives_a_context_and_put_takes_it() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    assert_eq!(context_and_values(&connection.done("DYN.GET k")), (None, Vec::new()));
    let written = connection.done("DYN.SET k one").text();
    let (context, values) = context_and_values(&connection.done("DYN.GET k"));
    assert_eq!(values, ["one"]);
    assert_eq!(context.as_deref(), Some(written.as_str()), "the write's own context is what a reader sees");
    assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "printable: {written}");
    connection.done(&format!("DYN.SET k two CONTEXT {written}"));
    let (context, values) = context_and_values(&connection.done("DYN.GET k"));
    assert_eq!(values, ["two"]);
    connection.done(&format!("DYN.DEL k CONTEXT {}", context.expect("a context")));
    let (context, values) = context_and_values(&connection.done("DYN.GET k"));
    assert!(context.is_some() && values.is_empty(), "a deleted key has a context and no value");
}

/// §4.1: the system checks a put's context. A forged or damaged one is refused, and nothing is changed.
#[test]
fn a_forged_context_is_refused() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    let context = connection.done("DYN.SET k kept").text();
    let mut forgeries: Vec<String> = ["", "x", "AAAA", "null", "0", "=", "%00"].map(str::to_owned).to_vec();
    for at in 0..context.len() {
        let letter = if context.as_bytes()[at] == b'A' { "B" } else { "A" };
        forgeries.push(format!("{}{letter}{}", &context[..at], &context[at + 1..]));
    }
    forgeries.push(context[..context.len() - 1].to_owned());
    forgeries.push(format!("{context}A"));
    for forgery in forgeries {
        for words in [["DYN.SET", "k", "lost", "CONTEXT", &forgery].as_slice(), &["DYN.DEL", "k", "CONTEXT", &forgery]]
        {
            let reply = connection.ask(words);
            assert!(reply.is_error() && reply.error().starts_with("ERR invalid context"), "{words:?}: {reply}");
        }
    }
    assert_eq!(context_and_values(&connection.done("DYN.GET k")), (Some(context), vec!["kept".to_owned()]));
}

/// §4.4: a version that has seen another replaces it by itself (syntactic reconciliation); versions that have not seen
/// each other stay until a client merges them (semantic reconciliation).
#[test]
fn later_versions_replace_earlier_ones_and_concurrent_ones_stay() {
    let cluster = Cluster::start(3, &[]);
    let mut context = cluster.connect(0).done("DYN.SET k v0").text();
    for at in 1..=20 {
        let line = format!("DYN.SET k v{at} CONTEXT {context}");
        context = cluster.connect(at % 3).done(&line).text();
    }
    assert_eq!(context_and_values(&cluster.connect(1).done("DYN.GET k R 3")).1, ["v20"]);
    cluster.connect(0).done(&format!("DYN.SET k left CONTEXT {context}"));
    cluster.connect(1).done(&format!("DYN.SET k right CONTEXT {context}"));
    let (both, mut values) = context_and_values(&cluster.connect(2).done("DYN.GET k R 3"));
    values.sort();
    assert_eq!(values, ["left", "right"]);
    cluster.connect(2).done(&format!("DYN.SET k merged W 3 CONTEXT {}", both.expect("a context")));
    assert_eq!(context_and_values(&cluster.connect(0).done("DYN.GET k")).1, ["merged"]);
}

/// §4.4: "an add to cart operation can never be forgotten or rejected". Shoppers on both sides of a cut add to one cart, each
/// merging what it reads; afterwards every item is in it.
#[test]
fn an_add_to_the_cart_is_never_lost() {
    let Some(cluster) = Cluster::start_apart(3, &[("r", "1"), ("w", "1")]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    let mut expected = BTreeSet::new();
    let mut shop = |at: usize, item: String| {
        add_to_cart(&mut cluster.connect(at), &item);
        expected.insert(item);
    };
    (0..3).for_each(|at| shop(at, format!("before-{at}")));
    network.cut(&[0], &[1, 2]);
    for round in 0..5 {
        (0..3).for_each(|at| shop(at, format!("cut-{round}-{at}")));
    }
    network.heal(&[0], &[1, 2]);
    (0..3).for_each(|at| shop(at, format!("after-{at}")));
    for at in 0..3 {
        let cart = wait::found("all three replicas answer", 30, || {
            let reply = cluster.connect(at).run("DYN.GET cart R 3");
            (!reply.is_error()).then(|| items(&context_and_values(&reply).1))
        });
        assert_eq!(cart, expected, "node {at}");
    }
}

fn add_to_cart(connection: &mut Connection, item: &str) {
    let (context, values) = context_and_values(&connection.done("DYN.GET cart"));
    let mut cart = items(&values);
    cart.insert(item.to_owned());
    let cart = cart.into_iter().collect::<Vec<_>>().join(",");
    let mut words = vec!["DYN.SET", "cart", &cart];
    if let Some(context) = &context {
        words.extend(["CONTEXT", context]);
    }
    let reply = connection.ask(&words);
    assert!(!reply.is_error(), "an add is never rejected: {reply}");
}

fn items(values: &[String]) -> BTreeSet<String> {
    values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect()
}

/// §4.5: any node takes any get and put, home or not, and with R + W > N a read sees the write that was acknowledged before
/// it, wherever either came in.
#[test]
fn any_node_takes_any_request() {
    let cluster = Cluster::start(5, &[("storage-engine", "memory")]);
    for at in 0..25 {
        let (writer, reader) = (at % 5, (at / 5 + at) % 5);
        assert_eq!(cluster.connect(writer).run(&format!("SET any:{at} v{at}")).to_string(), "+OK");
        assert_eq!(cluster.connect(reader).run(&format!("GET any:{at}")).text(), format!("v{at}"));
        assert_eq!(cluster.connect(writer).run(&format!("DEL any:{at}")).integer(), 1);
        assert_eq!(cluster.connect(reader).run(&format!("GET any:{at}")), Value::Nil);
    }
    let keys: Vec<String> = (0..40).map(|at| format!("many:{at}")).collect();
    let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), "v"]).collect();
    assert_eq!(cluster.connect(3).ask(&[&["MSET"], &pairs[..]].concat()).to_string(), "+OK");
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let values = cluster.connect(1).ask(&[&["MGET"], &names[..]].concat());
    assert!(values.items().iter().all(|value| value.to_string() == "\"v\""), "{values}");
}

/// §4.5 and §4.6: always writeable. With W=1 a single node of three takes writes; sloppy, a key whose homes are all
/// but one away is written at W=2, on fallbacks that keep it for them; strict, it is refused.
#[test]
fn writes_go_on_while_homes_are_away() {
    let mut cluster = Cluster::start(5, &[("storage-engine", "memory")]);
    cluster.set_policy(0, 1, "SLOPPY no");
    let homes = cluster.homes(0, 0, "k");
    assert_eq!(homes, cluster.homes(0, 1, "k"), "placement does not depend on the database");
    homes[1..].iter().for_each(|home| cluster.nodes[*home].kill9());
    let up: Vec<usize> = (0..5).filter(|at| !homes[1..].contains(at)).collect();
    up.iter().for_each(|at| cluster.wait_until_reachable(*at, &up));
    for at in &up {
        let mut connection = cluster.connect(*at);
        assert_eq!(connection.run(&format!("SET k from-{at}")).to_string(), "+OK");
        assert_eq!(connection.run("GET k").text(), format!("from-{at}"));
        connection.done("SELECT 1");
        assert!(connection.run("SET k v").error().starts_with("NOREPLICAS"), "strict: one of three homes is up");
    }
    let explanation = cluster.connect(up[0]).done("DYN.EXPLAIN k");
    let replicas = explanation.field("replicas").items();
    let holding = replicas.iter().filter(|replica| {
        let text = replica.to_string();
        replica.field("role").text() == "fallback" && text.contains("live")
    });
    assert_eq!(holding.count(), 2, "two fallbacks hold what two homes should: {explanation}");
    for at in &up[1..] {
        cluster.nodes[*at].kill9();
    }
    cluster.wait_until_reachable(up[0], &up[..1]);
    let mut last = cluster.connect(up[0]);
    assert!(last.run("SET k v").error().starts_with("NOREPLICAS"), "W=2 with one node");
    last.done("DYN.QUORUM W 1 R 1");
    assert_eq!(last.run("SET k last").to_string(), "+OK");
    assert_eq!(last.run("GET k").text(), "last");
}

/// §4.8.3: failure is seen locally, from the traffic. Where one road is cut, both its ends serve at once with the third
/// node's help, and the ring stays as it is; when the road is open again it is used again, unasked.
#[test]
fn a_cut_road_is_gone_round() {
    let Some(cluster) = Cluster::start_apart(3, &[("request-timeout-ms", "1000")]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    let ring = cluster.connect(2).done("DYN.RING");
    network.cut(&[0], &[1]);
    let begun = Instant::now();
    for at in 0..20 {
        for node in 0..3 {
            let reply = cluster.connect(node).run(&format!("SET road:{at} {node}"));
            assert_eq!(reply.to_string(), "+OK", "node {node}, {:?} after the cut", begun.elapsed());
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "60 writes took {:?}", begun.elapsed());
    assert_eq!(cluster.connect(2).done("DYN.RING"), ring, "a cut changes no membership");
    network.heal(&[0], &[1]);
    wait::until("both ends reach all three again", 30, || {
        [0, 1].iter().all(|at| !cluster.connect(*at).run("DYN.SET healed v W 3").is_error())
    });
}

/// §4.8.3: failure is each node's own view. Where a road is cut in one direction only, both its ends serve on, and the third
/// node, to which nothing happened, sees everyone.
#[test]
fn a_road_cut_in_one_direction_is_seen_by_its_ends_only() {
    let Some(cluster) = Cluster::start_apart(3, &[("request-timeout-ms", "1000")]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    network.cut_one_way(0, 1);
    let begun = Instant::now();
    let mut turn = 0;
    while begun.elapsed() < Duration::from_secs(4) {
        for node in 0..3 {
            let reply = cluster.connect(node).run(&format!("SET one-way:{turn} {node}"));
            assert_eq!(reply.to_string(), "+OK", "node {node}, {:?} after the cut", begun.elapsed());
            assert_eq!(cluster.connect((node + 1) % 3).run(&format!("GET one-way:{turn}")).text(), node.to_string());
        }
        let members = cluster.connect(2).done("DYN.MEMBERS");
        let unseen = members.items().iter().filter(|member| member.field("reachable").text() != "yes").count();
        assert_eq!(unseen, 0, "nothing happened to the third node's roads: {members}");
        turn += 1;
    }
    network.heal(&[0], &[1]);
    wait::until("both ends reach all three again", 30, || {
        [0, 1].iter().all(|at| !cluster.connect(*at).run("DYN.SET healed v W 3").is_error())
    });
}

/// §5: read repair. A node that missed a write gets it from the first read that finds it stale, after the reply.
#[test]
fn a_stale_replica_is_repaired_by_a_read() {
    // No comparison of homes comes before the read.
    let mut cluster = Cluster::start(3, &[("exchange-interval-ms", "3600000")]);
    cluster.connect(0).done("DYN.SET k old W 3");
    cluster.nodes[2].kill9();
    cluster.wait_until_reachable(0, &[0, 1]);
    cluster.connect(0).done("SET k new");
    cluster.nodes[2].restart();
    (0..3).for_each(|at| cluster.wait_until_reachable(at, &[0, 1, 2]));
    assert_eq!(cluster.connect(2).run("GET k").text(), "new", "R + W > N: a stale home does not win by being near");
    wait::until("the returned node holds the new value", 10, || {
        cluster.connect(0).done("DYN.GET k R 3");
        local(&cluster, 2, "k") == ["new"]
    });
}

/// §6: the three ways services use Dynamo ship as configurations that found a cluster with those policies: merged by the
/// application, newest wins, read engine with R=1 and W=N.
#[test]
fn the_three_uses_ship_as_configurations() {
    let uses = [
        ("business-merge.toml", (3, 2, 2, "siblings")),
        ("newest-wins.toml", (3, 2, 2, "newest")),
        ("read-engine.toml", (3, 1, 3, "newest")),
    ];
    for (name, (n, r, w, conflict)) in uses {
        let mut cluster = Cluster::prepared(1, &[], None);
        cluster.nodes[0].file = Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name));
        cluster.start_all();
        let policy = cluster.connect(0).done("DYN.DATABASE 0");
        let number = |field: &str| policy.field(field).integer();
        assert_eq!((number("n"), number("r"), number("w")), (n, r, w), "{name}");
        assert_eq!(policy.field("conflict").text(), conflict, "{name}");
    }
}

/// §6, "high performance read engine": with R=1 and W=N every copy has every acknowledged write, so any one node's answer is
/// the newest.
#[test]
fn a_read_engine_reads_the_newest_from_one() {
    let cluster = Cluster::start(3, &[("r", "1"), ("w", "3"), ("sloppy", "no")]);
    for at in 0..30 {
        cluster.connect(at % 3).done(&format!("SET page {at}"));
        for node in 0..3 {
            assert_eq!(local(&cluster, node, "page"), [at.to_string()], "node {node}'s own copy");
            assert_eq!(cluster.connect(node).run("GET page").text(), at.to_string());
        }
    }
}
