//! Concurrent writes are kept side by side until someone who has seen them settles it (§4.4).

use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use crate::harness::wait;

/// Context and values of a DYN.GET, the values sorted.
fn seen(reply: &Value) -> (Option<String>, Vec<String>) {
    let [context, values] = reply.items() else { panic!("DYN.GET answers context and values, not {reply}") };
    let mut values: Vec<String> = values.items().iter().map(Value::text).collect();
    values.sort();
    (matches!(context, Value::Bulk(_)).then(|| context.text()), values)
}

/// What all N replicas together hold of a key, asked through node `at`, as soon as all can be asked.
fn all(cluster: &Cluster, at: usize, key: &str) -> (String, Vec<String>) {
    wait::found(&format!("node {at} reads {key} from all three"), 30, || {
        let reply = cluster.connect(at).run(&format!("DYN.GET {key} R 3"));
        (!reply.is_error()).then(|| seen(&reply)).map(|(context, values)| (context.expect("a context"), values))
    })
}

fn lone(cluster: &Cluster, at: usize) -> Connection {
    let mut connection = cluster.connect(at);
    connection.done("DYN.QUORUM R 1 W 1");
    connection
}

/// Two DYN.SETs that saw nothing make two siblings; one context covers both; GET shows one of them, the same everywhere;
/// a DYN.SET with that context leaves one.
#[test]
fn writes_that_saw_nothing_stand_side_by_side() {
    let cluster = Cluster::start(3, &[]);
    cluster.connect(0).done("DYN.SET cart apples");
    cluster.connect(1).done("DYN.SET cart pears");
    let (context, values) = all(&cluster, 2, "cart");
    assert_eq!(values, ["apples", "pears"]);
    let shown: Vec<String> = (0..3).map(|at| cluster.connect(at).run("GET cart").text()).collect();
    assert_eq!(shown, ["pears"; 3], "GET shows the later one on every node");
    cluster.connect(0).ask(&["DYN.SET", "cart", "apples,pears", "CONTEXT", &context, "W", "3"]);
    for at in 0..3 {
        assert_eq!(seen(&cluster.connect(at).run("DYN.GET cart LOCAL")).1, ["apples,pears"], "node {at}");
    }
}

/// A context covers what its reader saw and nothing else: a sibling that came meanwhile stays.
#[test]
fn a_context_does_not_cover_what_its_reader_did_not_see() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    connection.done("DYN.SET k one");
    let (context, _) = all(&cluster, 0, "k");
    cluster.connect(1).done("DYN.SET k two");
    connection.ask(&["DYN.SET", "k", "three", "CONTEXT", &context]);
    assert_eq!(all(&cluster, 2, "k").1, ["three", "two"]);
    connection.ask(&["DYN.DEL", "k", "CONTEXT", &context]);
    assert_eq!(all(&cluster, 2, "k").1, ["three", "two"], "a delete, too, covers only what was seen");
    connection.done("DEL k");
    assert_eq!(all(&cluster, 2, "k").1, [""; 0]);
}

/// A plain SET replaces all its coordinator holds: whoever does not know of siblings makes none by writing in turn, once
/// each write has reached every home. Behind a quorum of two the third home may be a write behind, and keeps what it has
/// not seen beside its own; GET shows the last one everywhere all the same.
#[test]
fn plain_writes_in_turn_leave_one_value() {
    let cluster = Cluster::start(3, &[]);
    for at in 0..30 {
        let mut connection = cluster.connect(at % 3);
        connection.done("DYN.QUORUM W 3");
        connection.done(&format!("SET turn {at}"));
        cluster.connect(at % 3).done(&format!("SET quick {at}"));
        assert_eq!(cluster.connect((at + 1) % 3).run("GET quick").text(), at.to_string());
    }
    assert_eq!(all(&cluster, 0, "turn").1, ["29"]);
}

/// Two coordinators write one key while cut apart; after the cut both values come back with one context; a DYN.SET with
/// that context leaves one, on every node.
#[test]
fn writes_on_both_sides_of_a_cut_come_back_as_siblings() {
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    cluster.connect(0).done("SET k before");
    network.cut(&[0], &[1, 2]);
    lone(&cluster, 0).done("SET k left");
    lone(&cluster, 1).done("SET k right");
    assert_eq!(lone(&cluster, 0).run("GET k").text(), "left");
    assert_eq!(lone(&cluster, 1).run("GET k").text(), "right");
    assert!(cluster.connect(0).run("DYN.GET k R 3").is_error(), "the cut is a cut");
    assert!(cluster.connect(1).run("DYN.GET k R 3").is_error(), "the cut is a cut");
    network.heal(&[0], &[1, 2]);
    let (context, values) = all(&cluster, 2, "k");
    assert_eq!(values, ["left", "right"], "neither saw the other, both saw and replaced \"before\"");
    wait::until("the merged value is on all three", 20, || {
        !cluster.connect(1).ask(&["DYN.SET", "k", "merged", "CONTEXT", &context, "W", "3"]).is_error()
    });
    for at in 0..3 {
        let (_, values) = seen(&cluster.connect(at).run("DYN.GET k LOCAL"));
        assert_eq!(values, ["merged"], "node {at}");
    }
}

/// A value written beside a delete that did not see it stays.
#[test]
fn a_write_beside_a_delete_stays() {
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    cluster.connect(0).done("SET k before");
    network.cut(&[0], &[1, 2]);
    assert_eq!(lone(&cluster, 0).run("DEL k").integer(), 1);
    assert_eq!(lone(&cluster, 0).run("GET k"), Value::Nil);
    lone(&cluster, 1).done("SET k kept");
    network.heal(&[0], &[1, 2]);
    for at in 0..3 {
        assert_eq!(all(&cluster, at, "k").1, ["kept"], "node {at}");
    }
}

/// Where a database says `newest`, one value comes back after the cut, the later one, on every node (§6).
#[test]
fn newest_keeps_the_later_one() {
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    cluster.set_policy(0, 0, "CONFLICT newest");
    let network = cluster.network.as_ref().expect("it was started with one");
    cluster.connect(0).done("SET k before");
    network.cut(&[0], &[1, 2]);
    lone(&cluster, 0).done("SET k earlier");
    // The clocks of both sides are this machine's: two milliseconds make the order sure.
    std::thread::sleep(std::time::Duration::from_millis(2));
    lone(&cluster, 1).done("SET k later");
    network.heal(&[0], &[1, 2]);
    for at in 0..3 {
        assert_eq!(all(&cluster, at, "k").1, ["later"], "node {at}");
    }
}

/// Many clients on all nodes change one key at the same time, each merging what it read: nothing that was acknowledged is
/// missing in the end.
#[test]
fn concurrent_changes_all_count() {
    let cluster = Cluster::start(3, &[]);
    std::thread::scope(|scope| {
        for client in 0..6 {
            let mut connection = cluster.connect(client % 3);
            scope.spawn(move || (0..25).for_each(|at| add(&mut connection, &format!("{client}.{at}"))));
        }
    });
    let mut items: Vec<String> =
        all(&cluster, 0, "set").1.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect();
    items.sort();
    items.dedup();
    let mut expected: Vec<String> = (0..6).flat_map(|client| (0..25).map(move |at| format!("{client}.{at}"))).collect();
    expected.sort();
    assert_eq!(items, expected);
}

/// Reads the set with all its siblings, and writes it merged and with one more item.
fn add(connection: &mut Connection, item: &str) {
    let (context, values) = seen(&connection.done("DYN.GET set"));
    let mut items: Vec<&str> = values.iter().flat_map(|value| value.split(',')).collect();
    items.push(item);
    items.sort_unstable();
    items.dedup();
    let merged = items.join(",");
    let mut words = vec!["DYN.SET", "set", &merged];
    if let Some(context) = &context {
        words.extend(["CONTEXT", context]);
    }
    let reply = connection.ask(&words);
    assert!(!reply.is_error(), "{reply}");
}

/// A retried put with one ID makes no second sibling, whichever node the retry goes to.
#[test]
fn a_retried_put_makes_no_second_sibling() {
    let cluster = Cluster::start(3, &[]);
    cluster.connect(0).done("DYN.SET k other");
    for at in [0, 0, 1, 2] {
        cluster.connect(at).done("DYN.SET k paid ID order-17");
    }
    assert_eq!(all(&cluster, 0, "k").1, ["other", "paid"]);
    let (context, _) = all(&cluster, 0, "k");
    cluster.connect(0).ask(&["DYN.SET", "k", "settled", "CONTEXT", &context, "W", "3"]);
    cluster.connect(1).done("DYN.SET k paid ID order-17");
    assert_eq!(all(&cluster, 2, "k").1, ["settled"], "a late retry does not bring back what was settled");
}

/// A retry on the other side of a cut, too.
#[test]
fn a_put_retried_across_a_cut_makes_no_second_sibling() {
    let Some(cluster) = Cluster::start_apart(3, &[]) else { return };
    let network = cluster.network.as_ref().expect("it was started with one");
    cluster.connect(0).done("SET unrelated v");
    network.cut(&[0], &[1, 2]);
    lone(&cluster, 0).done("DYN.SET k paid ID order-17");
    lone(&cluster, 1).done("DYN.SET k paid ID order-17");
    network.heal(&[0], &[1, 2]);
    assert_eq!(all(&cluster, 2, "k").1, ["paid"]);
}

/// Siblings are bounded for clients, with an error that says what to do; settling makes room again.
#[test]
fn too_many_siblings_are_refused() {
    let cluster = Cluster::start(3, &[("max-siblings", "5")]);
    let mut connection = cluster.connect(0);
    (0..5).for_each(|at| drop(connection.done(&format!("DYN.SET k {at} W 3"))));
    let refused = connection.run("DYN.SET k one-more");
    assert!(refused.error().contains("max-siblings") && refused.error().contains("nothing was changed"), "{refused}");
    let (context, values) = all(&cluster, 0, "k");
    assert_eq!(values.len(), 5);
    connection.ask(&["DYN.SET", "k", "merged", "CONTEXT", &context, "W", "3"]);
    connection.done("DYN.SET k one-more");
    assert_eq!(all(&cluster, 1, "k").1, ["merged", "one-more"]);
}

/// An expiry goes with the key and not with one sibling: EXPIRE makes no sibling and holds for all of them.
#[test]
fn an_expiry_makes_no_sibling() {
    let cluster = Cluster::start(3, &[]);
    cluster.connect(0).done("DYN.SET k one");
    cluster.connect(1).done("DYN.SET k two");
    assert_eq!(all(&cluster, 0, "k").1, ["one", "two"]);
    assert_eq!(cluster.connect(2).run("EXPIRE k 100").integer(), 1);
    assert_eq!(all(&cluster, 0, "k").1, ["one", "two"]);
    assert_eq!(cluster.connect(0).run("PEXPIRE k 60").integer(), 1);
    wait::until("both have expired on every node", 10, || {
        (0..3).all(|at| cluster.connect(at).run("GET k") == Value::Nil && all(&cluster, at, "k").1.is_empty())
    });
}
