//! A look inside: who the members are, who keeps what, and what each replica of a key holds.
//!
//! The notice board in the entrance hall: names and rooms of everyone who lives here, who keeps which drawers, and, for
//! one drawer, what each keeper says is in it.
//!
//! # Contract
//! DYN.RING and DYN.MEMBERS tell what this node knows and ask nobody. DYN.EXPLAIN asks every replica of one key and
//! changes nothing: it repairs no one, so that what it shows can be looked at again.

use crate::causality::{Dot, NodeTag, token};
use crate::command::Asked;
use crate::command::arguments::target::{Target, settle};
use crate::command::dynamis::policy;
use crate::command::step::Step;
use crate::coordinator::explain::{Explanation, ReplicaView};
use crate::gossip::state::address;
use crate::key::Partition;
use crate::membership::view::View;
use crate::object::{Object, Sibling};
use crate::resp::reply::Reply;
use bytes::Bytes;

/// `DYN.RING`: epoch, number of partitions, N of the connection's database, and for each partition its first and last
/// slot and the addresses of its homes, in order.
pub fn ring(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let copies = policy::in_force(asked, asked.session.stored()).n;
    Step::Reply(shown_ring(&asked.server.coordinator.view(), copies))
}

/// `DYN.MEMBERS`: for each member its id, address, bus port, zone, weight, whether it can be reached, how many
/// microseconds it takes to answer as a rule (0: nobody knows), about how many bytes are kept here for it, whether it is this node, and of how many partitions it is a home in the connection's database.
pub fn members(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let copies = policy::in_force(asked, asked.session.stored()).n;
    let replica = asked.server.coordinator.replica();
    Step::Reply(shown_members(&asked.server.coordinator.view(), copies, |home| replica.hinted_bytes(home)))
}

/// `DYN.EXPLAIN key`: slot and partition, and for each replica in the order of the preference list who it is, whether it
/// is a home, can be reached and agrees with the merge of all, and what it holds.
pub fn explain(asked: &mut Asked, words: &[Bytes]) -> Step {
    let now_ms = asked.now_ms;
    settle(Target::named(asked, &words[1]).map(|target| {
        let explanation = asked.server.coordinator.explain(target.key().clone());
        Step::Wait(Box::pin(async move { shown_explanation(&explanation.await, now_ms) }))
    }))
}

fn number(name: &str, value: impl Into<u64>) -> (Reply, Reply) {
    (Reply::text(name), Reply::Integer(i64::try_from(value.into()).unwrap_or(i64::MAX)))
}

fn text(name: &str, value: impl Into<String>) -> (Reply, Reply) {
    (Reply::text(name), Reply::text(value))
}

fn yes_or_no(name: &str, value: bool) -> (Reply, Reply) {
    text(name, if value { "yes" } else { "no" })
}

/// A partition's homes: the first N of its preference list, as places in the view's nodes.
fn homes(view: &View, partition: Partition, copies: u8) -> impl Iterator<Item = usize> {
    view.ring.preference(partition).iter().take(copies.into()).copied().map(usize::from)
}

fn partitions(view: &View) -> impl Iterator<Item = Partition> {
    // Q is at most 16384, so every number fits.
    (0..view.ring.partitions().count()).map(|number| Partition(number as u16))
}

fn shown_ring(view: &View, copies: u8) -> Reply {
    let home = |place: usize| view.nodes.get(place).map(|node| Reply::text(address(&node.host, node.port)));
    let rows = partitions(view).map(|partition| {
        let (first, last) = view.ring.partitions().slots(partition);
        let homes = homes(view, partition, copies).filter_map(home).collect();
        Reply::Array(vec![Reply::Integer(first.into()), Reply::Integer(last.into()), Reply::Array(homes)])
    });
    Reply::Map(vec![
        number("epoch", view.epoch),
        number("partitions", view.ring.partitions().count()),
        number("n", copies),
        (Reply::text("homes"), Reply::Array(rows.collect())),
    ])
}

fn shown_members(view: &View, copies: u8, hinted_bytes: impl Fn(NodeTag) -> u64) -> Reply {
    let mut home_of = vec![0u64; view.nodes.len()];
    for place in partitions(view).flat_map(|partition| homes(view, partition, copies)) {
        if let Some(count) = home_of.get_mut(place) {
            *count += 1;
        }
    }
    let rows = view.nodes.iter().zip(home_of).enumerate().map(|(place, (node, home_of))| {
        Reply::Map(vec![
            text("id", node.id.to_string()),
            text("address", address(&node.host, node.port)),
            number("cluster-port", node.cluster_port),
            text("zone", &*node.zone),
            number("weight", node.weight),
            yes_or_no("reachable", node.is_reachable()),
            number("answers-us", node.health.typical_us()),
            number("hinted-bytes", hinted_bytes(node.tag)),
            yes_or_no("myself", place == view.me),
            number("home-of-partitions", home_of),
        ])
    });
    Reply::Array(rows.collect())
}

fn shown_explanation(explanation: &Explanation, now_ms: u64) -> Reply {
    let replicas = explanation.replicas.iter().map(|replica| shown_replica(replica, now_ms)).collect();
    Reply::Map(vec![
        number("slot", explanation.slot),
        number("partition", explanation.partition),
        (Reply::text("replicas"), Reply::Array(replicas)),
    ])
}

fn shown_replica(replica: &ReplicaView, now_ms: u64) -> Reply {
    let mut entries = vec![
        text("node", &*replica.node),
        text("address", &*replica.address),
        text("role", if replica.home { "home" } else { "fallback" }),
        yes_or_no("reachable", replica.reachable),
    ];
    match &replica.answer {
        Ok(object) => {
            entries.push(yes_or_no("agrees", replica.agrees));
            entries.push(shown_context(object));
            let siblings = object.siblings.iter().map(|sibling| shown_sibling(sibling, now_ms)).collect();
            entries.push((Reply::text("siblings"), Reply::Array(siblings)));
        }
        Err(reason) => entries.push(text("error", &**reason)),
    }
    Reply::Map(entries)
}

fn shown_context(object: &Object) -> (Reply, Reply) {
    let token = if object.context.is_empty() { Reply::Null } else { Reply::text(token::encode(&object.context)) };
    (Reply::text("context"), token)
}

fn shown_sibling(sibling: &Sibling, now_ms: u64) -> Reply {
    let state = match &sibling.value {
        None => "tombstone",
        Some(_) if sibling.is_live(now_ms) => "live",
        Some(_) => "expired",
    };
    let bytes = sibling.value.as_ref().map_or(0, |value| value.len() as u64);
    let mut entries = vec![
        text("dot", dot_name(&sibling.dot)),
        text("minted-by", sibling.minter.to_string()),
        number("age-ms", now_ms.saturating_sub(sibling.dot.hlc.ms())),
        text("state", state),
        number("bytes", bytes),
    ];
    if sibling.counter {
        entries.push(yes_or_no("counter", true));
    }
    if !sibling.increments.is_empty() {
        entries.push(text("added", sibling.added().to_string()));
    }
    if let Some(at) = sibling.expiry.1 {
        entries.push(number("expires-at-ms", at));
    }
    Reply::Map(entries)
}

/// A dot as people compare it: node, birth, HLC, each as 16 hex digits.
fn dot_name(dot: &Dot) -> String {
    format!("{}-{:016x}@{:016x}", dot.actor.node, dot.actor.birth.0, dot.hlc.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::arguments::target::trial::{NOW_MS, object};

    fn entry<'a>(map: &'a Reply, name: &str) -> Option<&'a Reply> {
        match map {
            Reply::Map(entries) => entries.iter().find(|(key, _)| *key == Reply::text(name)).map(|(_, value)| value),
            other => panic!("{other:?}"),
        }
    }

    fn replica(answer: Result<Object, String>) -> ReplicaView {
        ReplicaView {
            node: "ab".to_owned(),
            address: "127.0.0.1:7001".to_owned(),
            home: true,
            reachable: answer.is_ok(),
            agrees: answer.is_ok(),
            answer,
        }
    }

    #[test]
    fn an_explanation_shows_what_each_replica_holds() {
        let held = object(&[(1, Some("four"), None), (2, None, None), (3, Some("x"), Some(NOW_MS))]);
        let replicas = vec![replica(Ok(held)), replica(Err("timed out".to_owned()))];
        let shown = shown_explanation(&Explanation { slot: 12182, partition: 190, replicas }, NOW_MS);
        assert_eq!(entry(&shown, "slot"), Some(&Reply::Integer(12182)));
        assert_eq!(entry(&shown, "partition"), Some(&Reply::Integer(190)));
        let Some(Reply::Array(replicas)) = entry(&shown, "replicas") else { panic!("{shown:?}") };
        let Some(Reply::Array(siblings)) = entry(&replicas[0], "siblings") else { panic!("{replicas:?}") };
        let states: Vec<&Reply> = siblings.iter().filter_map(|sibling| entry(sibling, "state")).collect();
        assert_eq!(states, [&Reply::text("live"), &Reply::text("tombstone"), &Reply::text("expired")]);
        assert_eq!(entry(&siblings[0], "bytes"), Some(&Reply::Integer(4)));
        assert_eq!(entry(&siblings[0], "expires-at-ms"), None);
        assert_eq!(entry(&siblings[2], "expires-at-ms"), Some(&Reply::Integer(NOW_MS as i64)));
        assert_eq!(entry(&replicas[1], "error"), Some(&Reply::text("timed out")));
        assert_eq!(entry(&replicas[1], "siblings"), None);
        assert_eq!(entry(&replicas[1], "reachable"), Some(&Reply::text("no")));
    }

    #[test]
    fn a_replica_that_knows_nothing_of_the_key_has_no_context() {
        let shown = shown_replica(&replica(Ok(Object::default())), NOW_MS);
        assert_eq!(entry(&shown, "context"), Some(&Reply::Null));
        assert_eq!(entry(&shown, "siblings"), Some(&Reply::Array(Vec::new())));
    }
}
