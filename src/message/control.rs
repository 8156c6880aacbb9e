//! What nodes say to each other about the cluster itself.
//!
//! Neighbours do not only pass parcels over the fence; they also ask "may I move in?", "who lives here by now?" and
//! "are you well?". Those few sentences are a [`Control`]; the parcels are the data plane and have a layout of their own.
//!
//! # Layout, byte by byte
//! ```text
//! 0    [`CONTROL`]; a data plane message begins with another byte
//! 1    layout version, now 2
//! 2..  the message in postcard's encoding of [`Control`]
//! ```
//!
//! # What it refuses
//! Another first byte, another version, trailing bytes, more than [`CONTROL_BYTES_MAX`]. Nothing half read is handed out.

use crate::causality::{Hlc, NodeId, NodeTag};
use crate::message::data_plane::CONTROL;
use crate::message::settling::Report;
use serde::{Deserialize, Serialize};

/// The longest control message in bytes; a member map of a thousand nodes takes about 100 kB.
pub const CONTROL_BYTES_MAX: usize = 4 << 20;

const VERSION: u8 = 2;

/// One message about the cluster. Requests name the answers they get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// "May I move in, or: I am back." Answered by [`Control::JoinAnswer`].
    Join(JoinRequest),
    /// The encoded cluster state with the asker in it, or why not.
    JoinAnswer(Result<Vec<u8>, Refusal>),
    /// A packet of the failure detector. No answer.
    Swim(Vec<u8>),
    /// "This is what I know of the cluster." Answered by [`Control::Same`], [`Control::State`], or [`Control::Refused`].
    Digest(Summary),
    /// "So do I."
    Same,
    /// "Tell me what you know." Answered by [`Control::State`].
    Pull,
    /// An encoded cluster state, as an answer.
    State(Vec<u8>),
    /// "Take this in." Answered by [`Control::Taken`] once it is merged and saved, or by [`Control::Refused`].
    SetState(Vec<u8>),
    /// What was sent by [`Control::SetState`] is merged and saved here; this is what results.
    Taken(Summary),
    /// "Are you well?" Answered by [`Control::Pong`].
    Ping,
    /// "I am."
    Pong,
    /// "Do you hold any data?" Answered by [`Control::Holding`].
    Survey,
    /// Whether the node holds data.
    Holding(bool),
    /// The request was not carried out, and nothing changed.
    Refused(Refusal),
    /// "What does your clock show?" Answered by [`Control::ClockShows`].
    Clock,
    /// The wall clock, whether right or wrong, in Unix milliseconds.
    ClockShows(u64),
    /// "These databases are to be flushed (bit 0 is database 0): how far has everyone written there?" Answered by
    /// [`Control::Reached`].
    Reach(u16),
    /// How far everyone has written, as far as this node knows.
    Reached(Reached),
    /// A member's word and how far it is in the present round. No answer.
    Report(Report),
    /// "I am about to stop: in this life (start number) send clients elsewhere." Answered by [`Control::Same`].
    Leaving(u64),
}

/// How far everyone has written, as one node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The node's own clock: whatever it stamps after this answer is above.
    pub own: Hlc,
    /// Database, node, and the highest dot of that node among the copies this one has taken in.
    pub seen: Vec<(u8, NodeTag, Hlc)>,
}

/// A cluster state in three numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Which cluster.
    pub cluster_id: u64,
    /// Rises with every change of the members.
    pub epoch: u64,
    /// Hash of the whole state.
    pub digest: u64,
}

/// What a node says of itself when it asks to join, or returns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The cluster it means.
    pub cluster_name: String,
    /// The cluster its directory belongs to; none: it belongs to none yet.
    pub cluster_id: Option<u64>,
    /// Its name for life.
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
    /// How often it has been started.
    pub start_number: u64,
    /// What cluster clients are told of it.
    pub announced: Announced,
}

/// What cluster clients are told of a node beside its host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Announced {
    /// The port of its cluster view; 0: the one for clients.
    pub port: u16,
    /// `cluster-announce-hostname`; empty: none.
    pub hostname: String,
}

/// Why a node is not let in, or a message not acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The node asked is itself still looking for a cluster.
    #[error("this node is in no cluster yet; nothing changed; ask again")]
    NoClusterYet,
    /// Another `cluster-name`.
    #[error("this cluster is named {ours:?}, not {theirs:?}; nothing changed; check cluster-name and seeds")]
    OtherName {
        /// The name here.
        ours: String,
        /// The name asked for.
        theirs: String,
    },
    /// Another cluster of the same name.
    #[error(
        "the directory belongs to cluster {theirs:016x}, and this is cluster {ours:016x}; two clusters do not merge; \
         nothing changed; check seeds, or start with an empty directory to join this one"
    )]
    OtherCluster {
        /// The cluster here.
        ours: u64,
        /// The asker's cluster.
        theirs: u64,
    },
    /// Two node ids with the same first 64 bits, which name a node inside every version.
    #[error(
        "node {0} is a member already and its id begins with the same 16 digits; nothing changed; delete the new node's directory and start again"
    )]
    TagTaken(NodeId),
    /// Another member is known under that address.
    #[error(
        "{address} is the address of member {member}; nothing changed; start the node on another address, or with that member's directory"
    )]
    AddressTaken {
        /// host:port asked for.
        address: String,
        /// Who has it.
        member: NodeId,
    },
    /// The cluster holds data.
    #[error(
        "the cluster already holds data, and joining such a cluster is not supported yet (it needs moving partitions); \
         nothing changed; start all nodes before writing the first key"
    )]
    HoldsData,
    /// Whether the cluster holds data cannot be known now.
    #[error("member {0} cannot be asked whether it holds data; nothing changed; ask again when it is up")]
    MemberAway(NodeId),
    /// The member was told to leave, for good.
    #[error(
        "member {0} was told to leave the cluster; nothing changed; start with an empty directory to join as a new node"
    )]
    WasToldToLeave(NodeId),
    /// The directory is an old copy.
    #[error(
        "this is start {asked} of the node, but the cluster has seen its start {known}: the directory is an old copy; \
         nothing changed; start with the newest directory, or an empty one"
    )]
    OlderLife {
        /// What the request says.
        asked: u64,
        /// What the cluster knows.
        known: u64,
    },
    /// The request names another node than the one that sent it, or its values are out of range.
    #[error("the message makes no sense ({0}); nothing changed")]
    Malformed(String),
    /// The new state could not be written to disk.
    #[error("the change could not be saved on this node ({0}); nothing changed here; look at its disk")]
    NotSaved(String),
    /// The node asked has too much to do, or is stopping.
    #[error("this node cannot take the message now; nothing changed; ask again")]
    Busy,
}

/// Bytes that are no control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Longer than allowed.
    #[error("a control message of {0} bytes is longer than {CONTROL_BYTES_MAX}; it was not read")]
    TooLong(usize),
    /// Not the two bytes every control message begins with.
    #[error("not a control message of version {VERSION}; it was not acted on; do all nodes run the same release?")]
    Header,
    /// What follows cannot be read.
    #[error("a control message is damaged; it was not acted on")]
    Damaged,
}

impl Control {
    /// The bytes as they travel; see the module's layout.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![CONTROL, VERSION];
        // Writing to a vector fails only for types whose length is unknown, which this one does not contain; a receiver
        // refuses the bare header as damaged.
        bytes.extend(postcard::to_allocvec(self).unwrap_or_default());
        bytes
    }

    /// Reads what [`Control::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Control, ControlError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::TooLong(bytes.len()));
        }
        let body = bytes.strip_prefix(&[CONTROL, VERSION]).ok_or(ControlError::Header)?;
        match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            _ => Err(ControlError::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_can_be_read() {
        let request = JoinRequest {
            cluster_name: "town".into(),
            cluster_id: Some(7),
            id: NodeId([3; 20]),
            host: "node-3".into(),
            port: 7003,
            cluster_port: 17003,
            zone: String::new(),
            weight: 1,
            start_number: 2,
            announced: Announced { port: 8003, hostname: "node-3.example".into() },
        };
        for message in [
            Control::Join(request),
            Control::JoinAnswer(Err(Refusal::HoldsData)),
            Control::Swim(vec![1, 2, 3]),
            Control::Digest(Summary { cluster_id: 1, epoch: 2, digest: u64::MAX }),
            Control::Ping,
            Control::Leaving(3),
            Control::Reach(0b101),
            Control::Reached(Reached { own: Hlc(8), seen: vec![(0, NodeTag(1), Hlc(7))] }),
        ] {
            let bytes = message.encode();
            assert_eq!(bytes[0], CONTROL);
            assert_eq!(Control::decode(&bytes), Ok(message.clone()));
            assert_eq!(Control::decode(&bytes[..bytes.len() - 1]), Err(ControlError::Damaged));
            let mut longer = bytes.clone();
            longer.push(0);
            assert_eq!(Control::decode(&longer), Err(ControlError::Damaged));
        }
    }

    #[test]
    fn other_headers_are_refused() {
        assert_eq!(Control::decode(&[]), Err(ControlError::Header));
        assert_eq!(Control::decode(&[CONTROL - 1, VERSION, 8]), Err(ControlError::Header));
        assert_eq!(Control::decode(&[CONTROL, VERSION + 1, 8]), Err(ControlError::Header));
        let long = vec![CONTROL; CONTROL_BYTES_MAX + 1];
        assert_eq!(Control::decode(&long), Err(ControlError::TooLong(long.len())));
    }

    #[test]
    fn a_refusal_for_data_says_so_and_that_nothing_changed() {
        let text = Refusal::HoldsData.to_string();
        assert!(text.contains("holds data") && text.contains("nothing changed"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_and_what_was_read_is_written_alike(tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut bytes = vec![CONTROL, VERSION];
            bytes.extend(tail);
            if let Ok(message) = Control::decode(&bytes) {
                prop_assert_eq!(Control::decode(&message.encode()), Ok(message));
            }
        }
    }
}
