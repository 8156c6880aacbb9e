//! The doorkeeper of a cluster: who may move in, and who merely returns (§4.8.1).
//!
//! A newcomer names the village it means and where it will live. If two people had one name, or two families one house,
//! letters would go astray for ever; so the doorkeeper checks that first, and changes the list only when all is well.
//!
//! # Contract
//! [`ClusterState::admit`] either changes the state so that the asker is a present member with what it says of itself,
//! or returns a [`Refusal`] and changes nothing. Asking twice is as good as asking once.
//!
//! # What it refuses
//! Another cluster's name or id; an id whose first 64 bits another member's id has (they name the node in every version);
//! the address of another present member; a new member once the cluster holds data; a member that was told to leave; a
//! directory that is older than what the cluster has seen of the node; values out of range.

use crate::gossip::state::{ClusterState, MEMBERS_MAX, Member, MemberState};
use crate::message::control::{JoinRequest, Refusal};

/// A request that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// The asker is a member from now on.
    New,
    /// The asker was a member, and its line has been rewritten.
    Updated,
    /// The asker was a member, and its line says so already.
    Unchanged,
}

impl ClusterState {
    /// Whether the request comes from someone who must be asked about data: not a member yet.
    pub fn is_stranger(&self, request: &JoinRequest) -> bool {
        !self.members.contains_key(&request.id)
    }

    /// Lets the asker in, or takes note that it is back. `holds_data`: whether any member holds data.
    pub fn admit(&mut self, request: &JoinRequest, holds_data: bool) -> Result<Admitted, Refusal> {
        if request.cluster_name != self.cluster_name {
            let (ours, theirs) = (self.cluster_name.clone(), request.cluster_name.clone());
            return Err(Refusal::OtherName { ours, theirs });
        }
        if let Some(theirs) = request.cluster_id.filter(|theirs| *theirs != self.cluster_id) {
            return Err(Refusal::OtherCluster { ours: self.cluster_id, theirs });
        }
        self.check_unique(request)?;
        let line = self.line(request);
        line.check().map_err(|what| Refusal::Malformed(what.to_owned()))?;
        let admitted = match self.members.get(&request.id) {
            None if holds_data => return Err(Refusal::HoldsData),
            None if self.members.len() >= MEMBERS_MAX => {
                return Err(Refusal::Malformed(format!("a cluster has at most {MEMBERS_MAX} members")));
            }
            None => Admitted::New,
            Some(known) if known.state == MemberState::Left => return Err(Refusal::WasToldToLeave(known.id)),
            Some(known) if known.start_number > request.start_number => {
                return Err(Refusal::OlderLife { asked: request.start_number, known: known.start_number });
            }
            Some(known) if Member { generation: known.generation, ..line.clone() } == *known => {
                return Ok(Admitted::Unchanged);
            }
            Some(_) => Admitted::Updated,
        };
        self.members.insert(line.id, line);
        Ok(admitted)
    }

    fn check_unique(&self, request: &JoinRequest) -> Result<(), Refusal> {
        for other in self.members.values().filter(|other| other.id != request.id) {
            if other.id.tag() == request.id.tag() {
                return Err(Refusal::TagTaken(other.id));
            }
            let same_place = other.host == request.host && other.cluster_port == request.cluster_port;
            if same_place && other.state == MemberState::Up {
                return Err(Refusal::AddressTaken { address: other.address(), member: other.id });
            }
        }
        Ok(())
    }

    /// The line the asker would get.
    fn line(&self, request: &JoinRequest) -> Member {
        let known = self.members.get(&request.id);
        Member {
            generation: known.map_or(0, |known| known.generation) + 1,
            state: MemberState::Up,
            start_number: request.start_number,
            id: request.id,
            host: request.host.clone(),
            port: request.port,
            cluster_port: request.cluster_port,
            zone: known.map_or(&request.zone, |known| &known.zone).clone(),
            weight: known.map_or(request.weight, |known| known.weight),
            joined: known.map_or_else(|| self.next_place(), |known| known.joined),
            left: None,
            announced: request.announced.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causality::NodeId;
    use crate::gossip::state::tests::state_of;
    use crate::message::control::Announced;

    fn request(n: u8) -> JoinRequest {
        JoinRequest {
            cluster_name: "town".into(),
            cluster_id: None,
            id: NodeId([n; 20]),
            host: format!("node-{n}"),
            port: 7000,
            cluster_port: 17000,
            zone: String::new(),
            weight: 1,
            start_number: 1,
            announced: Announced::default(),
        }
    }

    fn refused(request: &JoinRequest, holds_data: bool) -> Refusal {
        let mut state = state_of(&[1, 2]);
        let refusal = state.admit(request, holds_data).unwrap_err();
        assert_eq!(state, state_of(&[1, 2]), "a refusal changes nothing");
        refusal
    }

    #[test]
    fn a_newcomer_gets_the_next_place_and_asking_again_changes_nothing() {
        let mut state = state_of(&[1, 2]);
        assert_eq!(state.admit(&request(3), false), Ok(Admitted::New));
        assert_eq!(state.members[&NodeId([3; 20])].joined, 3);
        let before = state.clone();
        assert_eq!(state.admit(&request(3), true), Ok(Admitted::Unchanged));
        assert_eq!(state, before);
    }

    #[test]
    fn a_member_that_returns_is_updated_also_when_there_is_data() {
        let mut state = state_of(&[1, 2]);
        let announced = Announced { port: 8000, hostname: "two.example".into() };
        let moved = JoinRequest {
            host: "elsewhere".into(),
            weight: 9,
            start_number: 2,
            cluster_id: Some(77),
            announced: announced.clone(),
            ..request(2)
        };
        let epoch = state.epoch();
        assert_eq!(state.admit(&moved, true), Ok(Admitted::Updated));
        let line = &state.members[&NodeId([2; 20])];
        assert_eq!((line.host.as_str(), line.start_number, line.generation, line.joined), ("elsewhere", 2, 2, 2));
        assert_eq!(line.announced, announced);
        assert_eq!(line.weight, 1, "the ring stays as it is");
        assert_eq!(state.epoch(), epoch + 1);
    }

    #[test]
    fn strangers_are_refused_once_there_is_data() {
        assert_eq!(refused(&request(3), true), Refusal::HoldsData);
    }

    #[test]
    fn other_clusters_are_refused() {
        let other = JoinRequest { cluster_name: "city".into(), ..request(3) };
        assert!(matches!(refused(&other, false), Refusal::OtherName { .. }));
        let other = JoinRequest { cluster_id: Some(78), ..request(2) };
        assert_eq!(refused(&other, false), Refusal::OtherCluster { ours: 77, theirs: 78 });
    }

    #[test]
    fn names_and_addresses_are_given_once() {
        let mut twin = request(3);
        twin.id.0[..8].copy_from_slice(&[1; 8]);
        assert_eq!(refused(&twin, false), Refusal::TagTaken(NodeId([1; 20])));
        let squatter = JoinRequest { host: "node-1".into(), ..request(3) };
        assert!(matches!(refused(&squatter, false), Refusal::AddressTaken { .. }));
        let mut state = state_of(&[1, 2]);
        let line = state.members.get_mut(&NodeId([1; 20])).unwrap();
        (line.state, line.left) = (MemberState::Left, Some(3));
        assert_eq!(state.admit(&request(1), false), Err(Refusal::WasToldToLeave(NodeId([1; 20]))));
        assert_eq!(state.admit(&squatter, false), Ok(Admitted::New), "who left keeps no address");
    }

    #[test]
    fn old_copies_and_nonsense_are_refused() {
        let old = JoinRequest { start_number: 0, ..request(2) };
        assert_eq!(refused(&old, false), Refusal::OlderLife { asked: 0, known: 1 });
        assert!(matches!(refused(&JoinRequest { weight: 0, ..request(3) }, false), Refusal::Malformed(_)));
        assert!(matches!(refused(&JoinRequest { host: String::new(), ..request(3) }, false), Refusal::Malformed(_)));
    }
}
