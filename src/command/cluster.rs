//! CLUSTER: the cluster as Redis Cluster's clients and tools want to see it.
//!
//! Contract: what SLOTS, SHARDS and NODES tell hangs on the notice board ([`super::notice`]), the same on both faces. Every
//! member is a master of the slots it answers for first; tools that compare the nodes' answers find them equal.
//! `cluster_state` is `ok` as long as this node runs: it coordinates whatever it is asked (availability before agreement).
//!
//! It refuses to change anything: who answers for what follows from the members alone.

use super::arguments::integer;
use super::notice::Notice;
use super::step::Step;
use super::{Asked, done, help_lines, text};
use crate::key;
use crate::membership::view::Node;
use crate::resp::reply::Reply;
use crate::world::spawn_blocking;
use bytes::Bytes;

/// `CLUSTER INFO`
pub fn info(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let notice = asked.server.notice();
    let view = notice.view();
    let slots = key::SLOTS;
    done(Reply::Verbatim(format!(
        "cluster_state:ok\r\ncluster_slots_assigned:{slots}\r\ncluster_slots_ok:{slots}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:{}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n",
        view.nodes.len(),
        notice.masters(),
        epoch = view.epoch,
    )))
}

/// `CLUSTER MYID`
pub fn myid(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    done(Reply::text(view.own().id.to_string()))
}

/// `CLUSTER MYSHARDID`: each member is a shard of its own.
pub fn myshardid(asked: &mut Asked, words: &[Bytes]) -> Step {
    myid(asked, words)
}

/// `CLUSTER KEYSLOT key`
pub fn keyslot(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(Reply::Integer(key::slot(&words[2]).into()))
}

/// `CLUSTER NODES`
pub fn nodes(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Verbatim(asked.server.notice().nodes()))
}

/// `CLUSTER SLOTS`
pub fn slots(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Encoded(asked.server.notice().slots(asked.session.protocol)))
}

/// `CLUSTER SHARDS`
pub fn shards(asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Encoded(asked.server.notice().shards(asked.session.protocol)))
}

/// `CLUSTER LINKS`: this node's links to the others and theirs to it, those that are up.
pub fn links(asked: &mut Asked, _words: &[Bytes]) -> Step {
    let view = asked.server.coordinator.view();
    let entry = |name: &str, value| (Reply::text(name), value);
    let number = |number: u64| Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let described = |direction, node: &Node, since_ms, queued_bytes: usize| {
        Reply::Map(vec![
            entry("direction", Reply::text(direction)),
            entry("node", Reply::text(node.id.to_string())),
            entry("create-time", number(since_ms)),
            entry("events", Reply::text(if queued_bytes > 0 { "rw" } else { "r" })),
            entry("send-buffer-allocated", number(queued_bytes as u64)),
            entry("send-buffer-used", number(queued_bytes as u64)),
        ])
    };
    let mut links = Vec::new();
    for (node, link) in view.nodes.iter().filter_map(|node| Some((node, node.link.as_ref()?))) {
        if link.is_up() {
            links.push(described("to", node, node.health.link_since_ms(), link.queued_bytes()));
        }
        if let Some(seated) = link.incoming() {
            links.push(described("from", node, seated.since_ms, seated.unsent_bytes));
        }
    }
    done(Reply::Array(links))
}

/// `CLUSTER REPLICAS node-id`: nobody is a replica and nothing else.
pub fn replicas(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(match named(&asked.server.notice(), &words[2]) {
        Ok(_) => Reply::Array(Vec::new()),
        Err(unknown) => unknown,
    })
}

/// `CLUSTER COUNT-FAILURE-REPORTS node-id`: 1 while the node cannot be reached from here.
pub fn count_failure_reports(asked: &mut Asked, words: &[Bytes]) -> Step {
    done(match named(&asked.server.notice(), &words[2]) {
        Ok(node) => Reply::Integer(i64::from(!node.is_reachable() || node.health.is_suspected())),
        Err(unknown) => unknown,
    })
}

fn named<'a>(notice: &'a Notice, id: &[u8]) -> Result<&'a Node, Reply> {
    let found = notice.view().nodes.iter().find(|node| node.id.to_string().as_bytes() == id);
    found.ok_or_else(|| Reply::Error(format!("ERR Unknown node {}", text(id))))
}

/// `CLUSTER COUNTKEYSINSLOT slot`: the keys of database 0 of which this node holds a copy, as in Redis.
pub fn countkeysinslot(asked: &mut Asked, words: &[Bytes]) -> Step {
    match integer(&words[2]).map(slot) {
        Err(reply) => done(reply),
        Ok(None) => done(Reply::error("ERR Invalid slot")),
        Ok(Some(slot)) => {
            let replica = asked.server.coordinator.replica().clone();
            look(move || Ok(Reply::Integer(replica.count_slot(slot, 0)?.try_into().unwrap_or(i64::MAX))))
        }
    }
}

/// `CLUSTER GETKEYSINSLOT slot count`: some of them.
pub fn getkeysinslot(asked: &mut Asked, words: &[Bytes]) -> Step {
    let read = integer(&words[2]).map(slot).and_then(|slot| Ok((slot, usize::try_from(integer(&words[3])?).ok())));
    match read {
        Err(reply) => done(reply),
        Ok((Some(slot), Some(most))) => {
            let replica = asked.server.coordinator.replica().clone();
            look(move || Ok(Reply::Array(replica.keys_of_slot(slot, 0, most)?.into_iter().map(Reply::Bulk).collect())))
        }
        Ok(_) => done(Reply::error("ERR Invalid slot or number of keys")),
    }
}

fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < key::SLOTS)
}

/// Looks into this node's own copies, off the connection's thread.
fn look(look: impl FnOnce() -> Result<Reply, crate::storage::error::StorageError> + Send + 'static) -> Step {
    let unreadable = |why: &dyn std::fmt::Display| {
        let why = why.to_string().replace(char::is_control, " ");
        Reply::Error(format!(
            "ERR this node's storage cannot be read ({why}); nothing was changed; look at its disk and log"
        ))
    };
    Step::Wait(Box::pin(async move {
        match spawn_blocking(look).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => unreadable(&why),
            Err(why) => unreadable(&why),
        }
    }))
}

/// `CLUSTER SAVECONFIG`: the member list is on disk before anything is done by it.
pub fn saveconfig(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    done(Reply::Ok)
}

/// The subcommands that would give slots to nodes by hand, or make a node a master, a replica or a stranger.
pub fn refused(_asked: &mut Asked, words: &[Bytes]) -> Step {
    done(Reply::Error(format!(
        "ERR CLUSTER {} has nothing to change here: slots follow from the member list, and nodes join by their seeds; \
         nothing was changed",
        text(&words[1]).to_uppercase()
    )))
}

/// `CLUSTER HELP`
pub fn help(_asked: &mut Asked, _words: &[Bytes]) -> Step {
    help_lines(
        "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        &[
            "COUNT-FAILURE-REPORTS <node-id>",
            "    Tell whether a node can be reached from here (0), or not (1).",
            "COUNTKEYSINSLOT <slot>",
            "    Count the keys of a slot that this node holds.",
            "GETKEYSINSLOT <slot> <count>",
            "    Name some keys of a slot that this node holds.",
            "INFO",
            "    Tell how the cluster is.",
            "KEYSLOT <key>",
            "    Tell the slot of a key.",
            "LINKS",
            "    List this node's links to the others.",
            "MYID",
            "    Tell this node's id.",
            "MYSHARDID",
            "    Tell this node's id: each node is a shard of its own.",
            "NODES",
            "    List the nodes and the slots each answers for first.",
            "REPLICAS <node-id>",
            "    List the nodes that are replicas of a node and nothing else: none.",
            "SAVECONFIG",
            "    Done already: the member list is always on disk.",
            "SHARDS",
            "    List the nodes with their slots and health.",
            "SLOTS",
            "    List the ranges of slots and the nodes that answer for each, the first one first.",
            "ADDSLOTS, BUMPEPOCH, FAILOVER, FORGET, MEET, REPLICATE, RESET, SETSLOT ...",
            "    Refused: slots follow from the member list, and nodes join by their seeds.",
        ],
    )
}
