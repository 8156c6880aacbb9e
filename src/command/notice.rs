//! The notice beside the door: who answers for which slots, written out once for all who come to read it.
//!
//! A clerk who is asked the same question by every newcomer writes the answer on a sheet and points at it. The sheet is
//! written anew only when something on it has changed.
//!
//! # Contract
//! - [`NoticeBoard::current`] never blocks, and gives a notice that agrees with what is known of the members at that moment.
//! - A notice is drawn anew only when the members, their homes or who is in service changed; each of its texts is written
//!   at most once, when it is first asked for.
//! - Nodes that see the same members in service give the same slots and shards, and nodes but for the word `myself`.

use super::handback::{Handback, Mine};
use crate::key::Slots;
use crate::listing::Listing;
use crate::membership::Membership;
use crate::membership::view::{Node, View};
use crate::resp::encode::Protocol;
use crate::resp::reply::Reply;
use crate::walk::cover::Cover;
use arc_swap::ArcSwapOption;
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// How a member looks from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    InService,
    Suspected,
    Away,
    Leaving,
}

type Standings = SmallVec<[Standing; 8]>;

/// What cluster clients are told, and the texts that tell it.
pub struct Notice {
    view: Arc<View>,
    standings: Standings,
    listing: Listing,
    /// What keyspace-wide commands cover here.
    own: Cover,
    handback: Handback,
    slots: [OnceLock<Bytes>; 2],
    shards: [OnceLock<Bytes>; 2],
    nodes: OnceLock<String>,
}

/// The board the notice hangs on, and how many are inside by the door beside it.
#[derive(Default)]
pub struct NoticeBoard {
    notice: ArcSwapOption<Notice>,
    visitors: Arc<AtomicUsize>,
    /// Whether it ever had one: before that nobody can be misled by what this node leads.
    was_visited: AtomicBool,
}

/// One connection of the cluster view, until it is dropped.
pub struct Visit(Arc<AtomicUsize>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl NoticeBoard {
    /// The notice as it reads now; `now_ms` is asked when it has to be drawn.
    pub fn current(&self, membership: &Membership, now_ms: impl Fn() -> u64) -> Arc<Notice> {
        let view = membership.view();
        let leaving = membership.is_leaving();
        let standing = |(at, node): (usize, &Node)| match at == view.me {
            true if leaving => Standing::Leaving,
            true => Standing::InService,
            false => standing(node),
        };
        let standings: Standings = view.nodes.iter().enumerate().map(standing).collect();
        let before = self.notice.load_full();
        if let Some(notice) = before.as_ref().filter(|notice| notice.shows(&view, &standings)) {
            return notice.clone();
        }
        let notice = Notice::new(view, standings);
        let notice = Arc::new(match before {
            Some(before) if self.was_visited.load(Ordering::Relaxed) => notice.following(&before, now_ms()),
            _ => notice,
        });
        self.notice.store(Some(notice.clone()));
        notice
    }

    /// Counts one more connection of the cluster view.
    pub fn visit(&self) -> Visit {
        self.visitors.fetch_add(1, Ordering::Relaxed);
        self.was_visited.store(true, Ordering::Relaxed);
        Visit(self.visitors.clone())
    }

    /// How many connections the cluster view has.
    pub fn visitors(&self) -> usize {
        self.visitors.load(Ordering::Relaxed)
    }
}

fn standing(node: &Node) -> Standing {
    match () {
        () if !node.is_reachable() => Standing::Away,
        () if node.health.has_left(node.life) => Standing::Leaving,
        () if node.health.is_suspected() => Standing::Suspected,
        () => Standing::InService,
    }
}

impl Notice {
    fn new(view: Arc<View>, standings: Standings) -> Notice {
        // A cluster view has one database, and its homes are the ones that count.
        let homes = usize::from(view.policies[0].n);
        let mut in_service: Vec<bool> = standings.iter().map(|standing| *standing == Standing::InService).collect();
        let listing = Listing::new(&view.ring, homes, &in_service);
        let led = match in_service[view.me] {
            true => listing.led_by(view.me),
            false => {
                // Who walks over the keys while this node stops is still shown those it led until then.
                in_service[view.me] = true;
                Listing::new(&view.ring, homes, &in_service).led_by(view.me)
            }
        };
        let own = Cover::of(led.into_iter().map(|(first, last)| Slots { first, last }));
        let (handback, slots, shards, nodes) = Default::default();
        Notice { view, standings, listing, own, handback, slots, shards, nodes }
    }

    /// Knows what is handed back since the notice before it.
    fn following(mut self, before: &Notice, now_ms: u64) -> Notice {
        let mine = |notice: &Notice| Mine { listing: notice.listing.clone(), me: notice.view.me as u16 };
        self.handback = before.handback.after(&mine(before), &mine(&self), now_ms);
        self
    }

    fn shows(&self, view: &Arc<View>, standings: &Standings) -> bool {
        let same_members = Arc::ptr_eq(&self.view.ring, &view.ring) && self.view.epoch == view.epoch;
        same_members && self.view.policies[0].n == view.policies[0].n && self.standings == *standings
    }

    /// The cluster it speaks of.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Who answers for which slots.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// What keyspace-wide commands cover on this node's cluster view: the slots it is master of.
    pub fn own(&self) -> &Cover {
        &self.own
    }

    /// What this node has handed back.
    pub fn handback(&self) -> &Handback {
        &self.handback
    }

    /// Whether this node answers for a slot, as its master or as a replica.
    pub fn is_own(&self, slot: u16) -> bool {
        self.listing.owners(slot).iter().any(|owner| usize::from(*owner) == self.view.me)
    }

    /// Where to ask for a slot instead.
    pub fn moved(&self, slot: u16) -> Reply {
        let master = &self.view.nodes[usize::from(self.listing.owners(slot)[0])];
        Reply::Error(format!("MOVED {slot} {}:{}", master.host, master.announced_port()))
    }

    /// How many nodes are master of at least one slot.
    pub fn masters(&self) -> usize {
        (0..self.view.nodes.len()).filter(|node| !self.listing.led_by(*node).is_empty()).count()
    }

    /// `CLUSTER SLOTS`
    pub fn slots(&self, protocol: Protocol) -> Bytes {
        let text = &self.slots[usize::from(protocol == Protocol::Resp3)];
        text.get_or_init(|| encoded(&self.write_slots(), protocol)).clone()
    }

    fn write_slots(&self) -> Reply {
        let entry = |owner: &u16| {
            let node = &self.view.nodes[usize::from(*owner)];
            let named = !node.announced.hostname.is_empty();
            let metadata = if named { vec![field("hostname", Reply::text(&*node.announced.hostname))] } else { vec![] };
            Reply::Array(vec![
                Reply::text(&*node.host),
                Reply::Integer(node.announced_port().into()),
                Reply::text(node.id.to_string()),
                Reply::Map(metadata),
            ])
        };
        let ranges = self.listing.introduced().into_iter().map(|range| {
            let run = [Reply::Integer(range.first.into()), Reply::Integer(range.last.into())];
            Reply::Array(run.into_iter().chain(range.owners.iter().map(entry)).collect())
        });
        Reply::Array(ranges.collect())
    }

    /// `CLUSTER SHARDS`
    pub fn shards(&self, protocol: Protocol) -> Bytes {
        let text = &self.shards[usize::from(protocol == Protocol::Resp3)];
        text.get_or_init(|| encoded(&self.write_shards(), protocol)).clone()
    }

    /// A shard is all slots with the same owners; a member that is master of nothing is a shard without slots.
    fn write_shards(&self) -> Reply {
        let mut shards: BTreeMap<&[u16], Vec<Reply>> = BTreeMap::new();
        for range in self.listing.ranges() {
            let slots = shards.entry(&range.owners).or_default();
            slots.extend([Reply::Integer(range.first.into()), Reply::Integer(range.last.into())]);
        }
        let led: Vec<u16> = shards.keys().map(|owners| owners[0]).collect();
        let idle: Vec<[u16; 1]> =
            (0..self.view.nodes.len() as u16).filter(|node| !led.contains(node)).map(|node| [node]).collect();
        shards.extend(idle.iter().map(|node| (&node[..], Vec::new())));
        let shard = |(owners, slots): (&[u16], Vec<Reply>)| {
            let role = |at: usize| if at == 0 { "master" } else { "replica" };
            let nodes = owners.iter().enumerate().map(|(at, node)| self.shard_node(usize::from(*node), role(at)));
            Reply::Map(vec![field("slots", Reply::Array(slots)), field("nodes", Reply::Array(nodes.collect()))])
        };
        Reply::Array(shards.into_iter().map(shard).collect())
    }

    fn shard_node(&self, at: usize, role: &str) -> Reply {
        let node = &self.view.nodes[at];
        let mut fields = vec![
            field("id", Reply::text(node.id.to_string())),
            field("port", Reply::Integer(node.announced_port().into())),
            field("ip", Reply::text(&*node.host)),
            field("endpoint", Reply::text(&*node.host)),
        ];
        if !node.announced.hostname.is_empty() {
            fields.push(field("hostname", Reply::text(&*node.announced.hostname)));
        }
        let health = if self.standings[at] == Standing::Away { "fail" } else { "online" };
        fields.extend([
            field("role", Reply::text(role)),
            field("replication-offset", Reply::Integer(0)),
            field("health", Reply::text(health)),
        ]);
        Reply::Map(fields)
    }

    /// `CLUSTER NODES`: every member is a master, and no slot has two lines.
    pub fn nodes(&self) -> String {
        self.nodes.get_or_init(|| (0..self.view.nodes.len()).map(|at| self.node_line(at)).collect()).clone()
    }

    /// One line of `CLUSTER NODES`, with its line end.
    fn node_line(&self, at: usize) -> String {
        let (node, epoch) = (&self.view.nodes[at], self.view.epoch);
        let myself = if at == self.view.me { "myself," } else { "" };
        let (flag, link) = match self.standings[at] {
            Standing::InService | Standing::Leaving => ("", "connected"),
            Standing::Suspected => (",fail?", "connected"),
            Standing::Away => (",fail", "disconnected"),
        };
        let mut line = format!("{} {}:{}@{}", node.id, node.host, node.announced_port(), node.cluster_port);
        // Writing to a String cannot fail.
        if !node.announced.hostname.is_empty() {
            let _ = write!(line, ",{}", node.announced.hostname);
        }
        let _ = write!(line, " {myself}master{flag} - 0 0 {epoch} {link}");
        for (first, last) in self.listing.led_by(at) {
            let _ = match first == last {
                true => write!(line, " {first}"),
                false => write!(line, " {first}-{last}"),
            };
        }
        line.push('\n');
        line
    }
}

fn field(name: &str, value: Reply) -> (Reply, Reply) {
    (Reply::text(name), value)
}

fn encoded(reply: &Reply, protocol: Protocol) -> Bytes {
    let mut out = BytesMut::new();
    reply.encode(protocol, &mut out);
    out.freeze()
}
