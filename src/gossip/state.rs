//! The list everyone keeps: who belongs to the cluster, and how each database wants its copies kept.
//!
//! Each line of the list carries a number that grows when the line is rewritten. Two neighbours who compare lists keep,
//! line by line, the one with the greater number; so it does not matter who meets whom, how often, or in what order.
//!
//! # Contract
//! - [`ClusterState::merge`] is idempotent, commutative and associative among states of one cluster. Member lines: higher
//!   generation wins; policies: higher (version, by); flush lines: joined by maximum; swaps of databases: all of them. Two different lines with one number can come of two nodes changing
//!   it at once; then the greater content wins, the same everywhere.
//! - [`ClusterState::epoch`] never sinks, and [`ClusterState::digest`] differs when anything differs.
//! - A member that left stays in the map, so that old news cannot bring it back.
//!
//! # Encoding, byte by byte
//! ```text
//! 0    format version: 1 while nothing was ever flushed, else 2; 3 when any member announces something of its own; 4 once
//!      databases were swapped
//! 1..  postcard of [`ClusterState`] without its flush lines and swaps and without what members announce, maps in ascending
//!      order of their keys
//! ..   (format 2 and above) postcard of the flush lines
//! ..   (format 3 and above) postcard of a map: id → [`Announced`], of the members that announce something
//! ..   (format 4) postcard of the [`Swaps`]
//! ```
//! What it refuses: another version, trailing bytes, partitions that are no power of two up to 16384, a member under
//! another's id, policies that contradict themselves, policies or flush lines that belong to no database, empty flush
//! lines, more than [`MEMBERS_MAX`] members, or nodes in a flush line, an announcement of nothing or of no member, swaps that
//! nobody could have made.

use crate::causality::{Hlc, NodeId, NodeTag};
use crate::gossip::swaps::{Full, PROMISE_EVERY, Swaps};
use crate::key::{DATABASES, Partitions};
use crate::message::control::{Announced, Summary};
use crate::object::flush::{FlushLine, FlushLines};
use crate::policy::{Conflict, Policy};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most members a cluster may have, those that left included: everyone knows everyone (§6.6).
pub const MEMBERS_MAX: usize = 1000;

/// The longest host or zone name in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The greatest weight of a member.
pub const WEIGHT_MAX: u32 = 1000;

/// Without flush lines, and the only one that older releases read.
const FORMAT: u8 = 1;

/// With flush lines.
const FLUSHED_FORMAT: u8 = 2;

/// With flush lines, and with what members announce.
const ANNOUNCED_FORMAT: u8 = 3;

/// With all of that, and with swaps of databases.
const SWAPPED_FORMAT: u8 = 4;

/// Everything all members of a cluster agree on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// `cluster-name`, fixed at the founding.
    pub cluster_name: String,
    /// Drawn at random at the founding; tells two clusters of one name apart.
    pub cluster_id: u64,
    /// Q, fixed at the founding.
    pub partitions: u32,
    /// All members there ever were, by id.
    pub members: BTreeMap<NodeId, Member>,
    /// The policy of each database that has one.
    pub policies: BTreeMap<u8, PolicyEntry>,
    /// What was flushed in each database; written behind the rest.
    #[serde(skip)]
    pub flushes: FlushLines,
    /// Which database each index means; written behind the rest.
    #[serde(skip)]
    pub swaps: Swaps,
}

/// One member's line. Compared field by field, generation first, when two lines meet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Grows each time the line is rewritten.
    pub generation: u64,
    /// Whether it belongs to the cluster; having left wins.
    pub state: MemberState,
    /// How often the node had been started when it wrote this line.
    pub start_number: u64,
    /// Whose line this is.
    pub id: NodeId,
    /// The host name or address under which the others reach it.
    pub host: String,
    /// The port for clients.
    pub port: u16,
    /// The port for nodes.
    pub cluster_port: u16,
    /// Its zone; empty: none.
    pub zone: String,
    /// Its share of the partitions, relative to the others'.
    pub weight: u32,
    /// Its place in the order of all joins and leaves, from 1.
    pub joined: u64,
    /// Its place in that order when it left.
    pub left: Option<u64>,
    /// What cluster clients are told of it; written behind the rest.
    #[serde(skip)]
    pub announced: Announced,
}

/// Whether a member belongs to the cluster. Being unreachable is no member state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberState {
    /// It belongs to the cluster.
    Up,
    /// It was told to leave.
    Left,
}

/// One database's policy and how new it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// The policy.
    pub policy: Policy,
    /// When it was set, as an HLC; each change is above the one it replaces.
    pub version: u64,
    /// The node that set it.
    pub by: NodeTag,
}

/// A state that cannot be merged: it is another cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a state of cluster {theirs:016x} met one of cluster {ours:016x}; two clusters do not merge; nothing changed")]
pub struct OtherCluster {
    /// The cluster here.
    pub ours: u64,
    /// The other's cluster.
    pub theirs: u64,
}

/// Bytes that are no cluster state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not this format version.
    #[error(
        "the cluster state has format {0:?}, this release reads {FORMAT} to {SWAPPED_FORMAT}; nothing changed; use the release that wrote it"
    )]
    Format(Option<u8>),
    /// Cannot be read.
    #[error("the cluster state is damaged; nothing changed")]
    Damaged,
    /// Can be read, but breaks an invariant.
    #[error("the cluster state contradicts itself ({0}); nothing changed")]
    Contradiction(&'static str),
}

impl ClusterState {
    /// The state of a cluster that does not have members yet; `policies` go to the databases in order.
    pub fn found(name: &str, cluster_id: u64, partitions: Partitions, policies: &[Policy; 16], by: NodeTag) -> Self {
        let entry = |(index, policy): (usize, &Policy)| (index as u8, PolicyEntry { policy: *policy, version: 1, by });
        ClusterState {
            cluster_name: name.to_owned(),
            cluster_id,
            partitions: partitions.count(),
            members: BTreeMap::new(),
            policies: policies.iter().enumerate().map(entry).collect(),
            flushes: FlushLines::new(),
            swaps: Swaps::default(),
        }
    }

    /// Takes over whatever `other` knows better. Returns whether anything changed.
    pub fn merge(&mut self, other: &ClusterState) -> Result<bool, OtherCluster> {
        if self.cluster_id != other.cluster_id {
            return Err(OtherCluster { ours: self.cluster_id, theirs: other.cluster_id });
        }
        let mut changed = keep_greater(&mut self.members, &other.members, Member::clone);
        changed |= keep_greater(&mut self.policies, &other.policies, PolicyEntry::order);
        for (database, line) in &other.flushes {
            changed |= self.flushes.entry(*database).or_default().join(line);
        }
        changed |= self.swaps.join(&other.swaps);
        Ok(changed)
    }

    /// The members that have not left, in ascending order of id.
    pub fn present(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.is_present())
    }

    /// The next free place in the order of joins and leaves.
    pub fn next_place(&self) -> u64 {
        self.members.values().map(|m| m.joined.max(m.left.unwrap_or(0))).max().unwrap_or(0) + 1
    }

    /// Sets a database's policy; its version is above the one it replaces. `index` must be below 16 and the policy
    /// free of contradictions (the caller has checked); anything else changes nothing.
    pub fn set_policy(&mut self, index: u8, policy: Policy, now_ms: u64, by: NodeTag) {
        if index < DATABASES && policy.check().is_ok() {
            let above = self.policies.get(&index).map_or(0, |entry| entry.version.saturating_add(1));
            self.policies.insert(index, PolicyEntry { policy, version: above.max(now_ms << 16), by });
        }
    }

    /// A database's policy as set, not capped by the number of members.
    pub fn policy(&self, index: u8) -> Policy {
        self.policies.get(&index).map_or_else(Policy::default, |entry| entry.policy)
    }

    /// Strikes out, in each database named, what each node minted there up to an HLC. Nodes that never were members and
    /// databases there are not change nothing.
    pub fn flush(&mut self, struck_out: impl IntoIterator<Item = (u8, NodeTag, Hlc)>) {
        let known: BTreeSet<NodeTag> = self.members.keys().map(NodeId::tag).collect();
        for (database, minter, up_to) in struck_out {
            if database < DATABASES && known.contains(&minter) && up_to > Hlc(0) {
                self.flushes.entry(database).or_default().raise(minter, up_to);
            }
        }
    }

    /// Swaps what two indexes below 16 mean; see [`Swaps::swap`].
    pub fn swap(&mut self, pair: (u8, u8), now_ms: u64, by: NodeTag) -> Result<(), Full> {
        self.swaps.swap(pair, now_ms, by, self.members.values().filter(|member| member.is_present()).map(Member::tag))
    }

    /// What `me` does about the swaps it knows of; see [`Swaps::tend`].
    pub fn tend_swaps(&mut self, me: NodeTag) {
        let present = self.members.values().filter(|member| member.is_present()).map(Member::tag);
        self.swaps.tend(me, present, PROMISE_EVERY);
    }

    /// The sum of all generations: rises with every change of a member.
    pub fn epoch(&self) -> u64 {
        self.members.values().map(|member| member.generation).sum()
    }

    /// Hash of the encoding.
    pub fn digest(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.encode())
    }

    /// The state in three numbers.
    pub fn summary(&self) -> Summary {
        Summary { cluster_id: self.cluster_id, epoch: self.epoch(), digest: self.digest() }
    }

    /// The bytes as saved and sent; see the module's layout.
    pub fn encode(&self) -> Vec<u8> {
        let announced: BTreeMap<NodeId, &Announced> = self
            .members
            .iter()
            .map(|(id, member)| (*id, &member.announced))
            .filter(|(_, announced)| **announced != Announced::default())
            .collect();
        let format = match (announced.is_empty(), self.flushes.is_empty(), self.swaps.is_empty()) {
            (_, _, false) => SWAPPED_FORMAT,
            (true, true, true) => FORMAT,
            (true, false, true) => FLUSHED_FORMAT,
            (false, _, true) => ANNOUNCED_FORMAT,
        };
        let mut bytes = vec![format];
        // Writing to a vector fails only for types whose length is unknown, which these do not contain.
        bytes.extend(postcard::to_allocvec(self).unwrap_or_default());
        if format >= FLUSHED_FORMAT {
            bytes.extend(postcard::to_allocvec(&self.flushes).unwrap_or_default());
        }
        if format >= ANNOUNCED_FORMAT {
            bytes.extend(postcard::to_allocvec(&announced).unwrap_or_default());
        }
        if format >= SWAPPED_FORMAT {
            bytes.extend(postcard::to_allocvec(&self.swaps).unwrap_or_default());
        }
        bytes
    }

    /// Reads what [`ClusterState::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<ClusterState, StateError> {
        let Some((format @ &(FORMAT..=SWAPPED_FORMAT), body)) = bytes.split_first() else {
            return Err(StateError::Format(bytes.first().copied()));
        };
        let (mut state, mut rest): (ClusterState, _) =
            postcard::take_from_bytes(body).map_err(|_| StateError::Damaged)?;
        if *format >= FLUSHED_FORMAT {
            (state.flushes, rest) = postcard::take_from_bytes(rest).map_err(|_| StateError::Damaged)?;
        }
        if *format >= ANNOUNCED_FORMAT {
            let announced: BTreeMap<NodeId, Announced>;
            (announced, rest) = postcard::take_from_bytes(rest).map_err(|_| StateError::Damaged)?;
            state.take_announced(announced)?;
        }
        if *format >= SWAPPED_FORMAT {
            (state.swaps, rest) = postcard::take_from_bytes(rest).map_err(|_| StateError::Damaged)?;
        }
        if !rest.is_empty() {
            return Err(StateError::Damaged);
        }
        state.check()?;
        Ok(state)
    }

    fn take_announced(&mut self, announced: BTreeMap<NodeId, Announced>) -> Result<(), StateError> {
        for (id, announced) in announced {
            let member = self.members.get_mut(&id).filter(|_| announced != Announced::default());
            member.ok_or(StateError::Contradiction("an announcement is impossible"))?.announced = announced;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StateError> {
        let wrong = |what| Err(StateError::Contradiction(what));
        if Partitions::new(self.partitions).is_none() {
            return wrong("partitions is no power of two up to 16384");
        }
        if self.members.len() > MEMBERS_MAX {
            return wrong("too many members");
        }
        if self.policies.iter().any(|(index, entry)| *index >= DATABASES || entry.policy.check().is_err()) {
            return wrong("a policy is impossible");
        }
        let possible = |(database, line): (&u8, &FlushLine)| {
            *database < DATABASES && !line.is_empty() && line.len() <= MEMBERS_MAX
        };
        if !self.flushes.iter().all(possible) {
            return wrong("a flush line is impossible");
        }
        self.swaps.check().map_err(StateError::Contradiction)?;
        for (id, member) in &self.members {
            if *id != member.id || (member.state == MemberState::Left) != member.left.is_some() {
                return wrong("a member's line is mixed up");
            }
            if member.generation > u64::MAX / (2 * MEMBERS_MAX as u64) {
                return wrong("a generation is impossible");
            }
            if let Err(what) = member.check() {
                return wrong(what);
            }
        }
        Ok(())
    }
}

impl Member {
    /// Whether the values a node gives of itself are in range; else what is not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.host.is_empty() || self.host.len() > NAME_BYTES_MAX || self.zone.len() > NAME_BYTES_MAX {
            return Err("a host or zone name is empty or too long");
        }
        if self.announced.hostname.len() > NAME_BYTES_MAX {
            return Err("an announced host name is too long");
        }
        if self.weight == 0 || self.weight > WEIGHT_MAX {
            return Err("a weight is not between 1 and 1000");
        }
        if self.cluster_port == 0 {
            return Err("a cluster-port is zero");
        }
        Ok(())
    }

    /// Whether it belongs to the cluster.
    fn is_present(&self) -> bool {
        self.state == MemberState::Up
    }

    /// The first 64 bits of its id.
    fn tag(&self) -> NodeTag {
        self.id.tag()
    }

    /// Where its node port is: host:cluster_port.
    pub fn address(&self) -> String {
        address(&self.host, self.cluster_port)
    }
}

/// host:port, with brackets around an IPv6 address.
pub fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl PolicyEntry {
    fn order(&self) -> (u64, NodeTag, [u8; 6]) {
        let Policy { n, r, w, dw, sloppy, conflict } = self.policy;
        (self.version, self.by, [n, r, w, dw, u8::from(sloppy), u8::from(conflict == Conflict::Newest)])
    }
}

fn keep_greater<K: Ord + Copy, V: Clone, O: Ord>(
    ours: &mut BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
    order: impl Fn(&V) -> O,
) -> bool {
    let mut changed = false;
    for (key, value) in theirs {
        if ours.get(key).is_none_or(|known| order(value) > order(known)) {
            ours.insert(*key, value.clone());
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::causality::lattice;
    use crate::gossip::swaps::tests::any_swaps;
    use proptest::prelude::*;

    pub(crate) fn member(n: u8) -> Member {
        Member {
            generation: 1,
            state: MemberState::Up,
            start_number: 1,
            id: NodeId([n; 20]),
            host: format!("node-{n}"),
            port: 7000,
            cluster_port: 17000,
            zone: String::new(),
            weight: 1,
            joined: u64::from(n),
            left: None,
            announced: Announced::default(),
        }
    }

    pub(crate) fn state_of(numbers: &[u8]) -> ClusterState {
        let q = Partitions::new(256).unwrap();
        let mut state = ClusterState::found("town", 77, q, &[Policy::default(); 16], NodeTag(1));
        state.members = numbers.iter().map(|n| (NodeId([*n; 20]), member(*n))).collect();
        state
    }

    fn any_state() -> impl Strategy<Value = ClusterState> {
        let members = proptest::collection::btree_map(0u8..4, (1u64..4, 0u8..3, any::<bool>(), 0u16..3), 0..4);
        let policies = proptest::collection::btree_map(0u8..3, (1u64..3, 0u64..2, 1u8..4), 0..3);
        let flushes = proptest::collection::vec((0u8..2, 0u64..3, 1u64..4), 0..4);
        let swaps = prop_oneof![Just(Swaps::default()), any_swaps()];
        (members, policies, flushes, swaps).prop_map(|(members, policies, flushes, swaps)| {
            let mut state = ClusterState { swaps, ..state_of(&[]) };
            for (n, (generation, host, gone, port)) in members {
                let announced = Announced { port, hostname: if port == 2 { "h".into() } else { String::new() } };
                let mut member = Member { generation, host: format!("h{host}"), announced, ..member(n) };
                (member.state, member.left) = if gone { (MemberState::Left, Some(9)) } else { (MemberState::Up, None) };
                state.members.insert(member.id, member);
            }
            for (index, (version, by, n)) in policies {
                let policy = Policy { n, r: 1, w: 1, ..Policy::default() };
                state.policies.insert(index, PolicyEntry { policy, version, by: NodeTag(by) });
            }
            for (database, minter, up_to) in flushes {
                state.flushes.entry(database).or_default().raise(NodeTag(minter), Hlc(up_to));
            }
            state
        })
    }

    fn merge(a: &mut ClusterState, b: &ClusterState) -> bool {
        a.merge(b).unwrap()
    }

    proptest! {
        #[test]
        fn merging_is_a_semilattice(a in any_state(), b in any_state(), c in any_state()) {
            let ab = lattice::check(&a, &b, &c, merge);
            prop_assert!(ab.epoch() >= a.epoch().max(b.epoch()));
            prop_assert_eq!(a.digest() == b.digest(), a == b);
        }

        #[test]
        fn what_is_written_can_be_read(a in any_state(), cut in 0usize..200) {
            let bytes = a.encode();
            prop_assert_eq!(ClusterState::decode(&bytes), Ok(a));
            prop_assert!(cut >= bytes.len() || ClusterState::decode(&bytes[..cut]).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(
            format in FORMAT..=SWAPPED_FORMAT,
            bytes in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut framed = vec![format];
            framed.extend(bytes);
            if let Ok(state) = ClusterState::decode(&framed) {
                prop_assert!(state.check().is_ok());
            }
        }
    }

    #[test]
    fn two_clusters_do_not_merge() {
        let (mut ours, mut theirs) = (state_of(&[1]), state_of(&[2]));
        theirs.cluster_id = 78;
        assert_eq!(ours.merge(&theirs), Err(OtherCluster { ours: 77, theirs: 78 }));
        assert_eq!(ours, state_of(&[1]));
    }

    #[test]
    fn a_policy_set_later_wins_even_when_the_clock_was_set_back() {
        let mut state = state_of(&[1]);
        let (old, new) = (Policy { n: 5, ..Policy::default() }, Policy { n: 7, ..Policy::default() });
        state.set_policy(2, old, 1000, NodeTag(1));
        let before = state.clone();
        state.set_policy(2, new, 10, NodeTag(1));
        assert_eq!(lattice::join(&before, &state, merge).policy(2), new);
        assert_eq!(lattice::join(&state, &before, merge).policy(2), new);
    }

    #[test]
    fn before_the_first_flush_it_is_written_as_older_releases_read_it() {
        let mut state = state_of(&[1, 2]);
        assert_eq!(state.encode()[0], FORMAT);
        let known = member(2).id.tag();
        state.flush([(3, NodeTag(77), Hlc(9)), (16, known, Hlc(9)), (3, known, Hlc(0))]);
        assert_eq!(state, state_of(&[1, 2]), "a stranger, no database, nothing");
        state.flush([(3, known, Hlc(9)), (3, known, Hlc(8))]);
        assert_eq!(state.flushes[&3].of(known), Hlc(9));
        assert_eq!(state.encode()[0], FLUSHED_FORMAT);
        assert_eq!(ClusterState::decode(&state.encode()), Ok(state));
    }

    #[test]
    fn what_older_releases_wrote_announces_nothing_and_what_is_announced_comes_back() {
        let mut state = state_of(&[1, 2]);
        let old = ClusterState::decode(&state.encode()).unwrap();
        assert_eq!(old.members[&NodeId([1; 20])].announced, Announced::default());
        let announced = Announced { port: 8001, hostname: "one.example".to_owned() };
        state.members.get_mut(&NodeId([1; 20])).unwrap().announced = announced;
        let bytes = state.encode();
        assert_eq!((bytes[0], ClusterState::decode(&bytes)), (ANNOUNCED_FORMAT, Ok(state.clone())));
        let mut of_a_stranger = state_of(&[2]).encode();
        of_a_stranger[0] = ANNOUNCED_FORMAT;
        of_a_stranger.extend(postcard::to_allocvec(&FlushLines::new()).unwrap());
        let line = BTreeMap::from([(NodeId([9; 20]), Announced { port: 1, hostname: String::new() })]);
        of_a_stranger.extend(postcard::to_allocvec(&line).unwrap());
        assert!(matches!(ClusterState::decode(&of_a_stranger), Err(StateError::Contradiction(_))));
    }

    #[test]
    fn only_a_swap_makes_it_what_older_releases_cannot_read() {
        let mut state = state_of(&[1, 2]);
        state.tend_swaps(NodeTag(1));
        state.swap((4, 4), 1, NodeTag(1)).unwrap();
        assert_eq!(state.encode()[0], FORMAT);
        state.swap((4, 5), 1, member(1).id.tag()).unwrap();
        let bytes = state.encode();
        assert_eq!((bytes[0], ClusterState::decode(&bytes)), (SWAPPED_FORMAT, Ok(state.clone())));
        assert_eq!(state.swaps.places().of(4).stored, 5);
        let mut of_many = bytes.clone();
        of_many.push(0);
        assert_eq!(ClusterState::decode(&of_many), Err(StateError::Damaged));
    }

    #[test]
    fn contradictions_are_refused() {
        let mut state = state_of(&[1]);
        state.partitions = 100;
        assert!(matches!(ClusterState::decode(&state.encode()), Err(StateError::Contradiction(_))));
        let mut state = state_of(&[1]);
        state.members.insert(NodeId([9; 20]), member(2));
        assert!(matches!(ClusterState::decode(&state.encode()), Err(StateError::Contradiction(_))));
        let mut state = state_of(&[1]);
        state.flushes.insert(0, FlushLine::default());
        assert!(matches!(ClusterState::decode(&state.encode()), Err(StateError::Contradiction(_))));
        assert_eq!(ClusterState::decode(&[]), Err(StateError::Format(None)));
        assert_eq!(ClusterState::decode(&[9, 1]), Err(StateError::Format(Some(9))));
    }
}
