//! What RENAME, COPY and MOVE keep: every sibling, its expiry, and what is written while they run (§4.4).

use crate::harness::cluster::Cluster;
use crate::harness::resp::{Connection, Value};
use std::sync::atomic::{AtomicBool, Ordering};

/// The values of a key, oldest first.
fn values(connection: &mut Connection, key: &str) -> Vec<String> {
    let reply = connection.run(&format!("DYN.GET {key} R 3"));
    reply.items()[1].items().iter().map(Value::text).collect()
}

/// Two values that nobody has merged are both there after a RENAME, a COPY and a MOVE, each with its expiry, and GET shows
/// what it showed before; what the new key held is gone.
#[test]
fn siblings_move_together() {
    let cluster = Cluster::start(3, &[]);
    let mut connection = cluster.connect(0);
    connection.done("SET new other");
    connection.done("DYN.SET old apples EX 1000");
    cluster.connect(1).done("DYN.SET old pears");
    let shown = connection.run("GET old").text();
    connection.done("RENAME old new");
    assert_eq!(values(&mut connection, "new"), ["apples", "pears"]);
    assert_eq!(values(&mut connection, "old"), [""; 0]);
    assert_eq!(cluster.connect(2).run("GET new").text(), shown);

    assert_eq!(cluster.connect(1).run("COPY new third").integer(), 1);
    assert_eq!(cluster.connect(2).run("MOVE new 5").integer(), 1);
    assert_eq!(values(&mut connection, "third"), ["apples", "pears"]);
    connection.done("SELECT 5");
    assert_eq!(values(&mut connection, "new"), ["apples", "pears"]);
    connection.done("DYN.DEL new");
    connection.done("SELECT 0");

    let context = connection.run("DYN.GET third").items()[0].text();
    connection.ask(&["DYN.SET", "third", "both", "CONTEXT", &context]);
    assert_eq!(values(&mut connection, "third"), ["both"], "the copies are known by the context read from them");
}

/// Somebody writes a key through one node while somebody else keeps renaming it through another: the last write that was
/// acknowledged is under one of the two names.
#[test]
fn what_is_written_while_it_is_renamed_is_not_lost() {
    const WRITES: usize = 300;
    let cluster = Cluster::start(3, &[]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut renamer = cluster.connect(1);
            while !done.load(Ordering::Relaxed) {
                let reply = renamer.run("RENAME old new").to_string();
                assert!(["+OK", "-ERR no such key"].contains(&reply.as_str()), "{reply}");
            }
        });
        let mut writer = cluster.connect(0);
        for number in 1..=WRITES {
            writer.done(&format!("SET old {number:03}"));
        }
        done.store(true, Ordering::Relaxed);
    });
    let mut connection = cluster.connect(2);
    let mut found = values(&mut connection, "old");
    found.extend(values(&mut connection, "new"));
    assert_eq!(found.iter().max(), Some(&format!("{WRITES:03}")), "{found:?}");
}
