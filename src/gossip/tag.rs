//! What a round of settling is about: who is a member, in which life, and how many copies are kept ([`crate::settling`]).

use crate::gossip::state::{ClusterState, MemberState};
use xxhash_rust::xxh3::Xxh3;

impl ClusterState {
    /// Differs whenever a member comes, leaves or begins another life, or a database's policy is set; not zero.
    pub fn settling_tag(&self) -> u64 {
        let mut hash = Xxh3::new();
        for (id, member) in &self.members {
            hash.update(&id.0);
            hash.update(&[u8::from(member.state == MemberState::Up)]);
            hash.update(&member.start_number.to_le_bytes());
        }
        for (index, entry) in &self.policies {
            hash.update(&[*index, entry.policy.n]);
            hash.update(&entry.version.to_le_bytes());
            hash.update(&entry.by.0.to_le_bytes());
        }
        hash.digest().max(1)
    }
}

#[cfg(test)]
mod tests {
    use crate::causality::{NodeId, NodeTag};
    use crate::gossip::state::tests::state_of;
    use crate::policy::Policy;

    #[test]
    fn lives_members_and_policies_count_and_addresses_do_not() {
        let state = state_of(&[1, 2]);
        let tag = state.settling_tag();
        let mut moved = state.clone();
        moved.members.get_mut(&NodeId([1; 20])).unwrap().port += 1;
        assert_eq!(moved.settling_tag(), tag);
        let mut restarted = state.clone();
        restarted.members.get_mut(&NodeId([1; 20])).unwrap().start_number += 1;
        assert_ne!(restarted.settling_tag(), tag);
        assert_ne!(state_of(&[1, 2, 3]).settling_tag(), tag);
        let mut there_and_back = state.clone();
        let before = state.policy(0);
        there_and_back.set_policy(0, Policy { n: 1, r: 1, w: 1, ..before }, 5, NodeTag(1));
        there_and_back.set_policy(0, before, 5, NodeTag(1));
        assert_ne!(there_and_back.settling_tag(), tag, "what was said before the change says nothing after it");
    }
}
