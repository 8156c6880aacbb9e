//! Who runs an operation, and who may take part.

use crate::key::{Partition, StorageKey};
use crate::membership::view::View;
use crate::message::operation::Operation;
use crate::policy::Policy;
use crate::quorum::latency::rank;
use crate::quorum::{Candidate, Candidates};

/// Fallbacks listed beyond the homes. More could be asked only if all these fail within one request.
const FALLBACKS_MAX: usize = 8;

/// Whether an operation may be handed to another coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// If this node is no home of the key.
    Once,
    /// It was forwarded already, or nobody could be reached.
    Never,
}

/// Where an operation runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here, with these candidates.
    Here(Candidates),
    /// At another node, by its index in the view.
    At(u16),
}

/// The policy an operation runs under: its database's, with the R and W it asks for.
pub fn policy(view: &View, operation: &Operation) -> Policy {
    let capped = view.policies[usize::from(operation.key.database())];
    let (r, w) = (operation.r.unwrap_or(capped.r), operation.w.unwrap_or(capped.w));
    let w = w.min(capped.n);
    Policy { r: r.min(capped.n), w, dw: capped.dw.min(w), ..capped }
}

/// The homes of a key that is kept `n` times.
pub fn homes(view: &View, key: &StorageKey, n: u8) -> impl Iterator<Item = u16> {
    let partition = view.ring.partitions().of(key.token());
    view.ring.homes(partition, usize::from(n)).iter().copied()
}

/// How many microseconds a node takes to answer as a rule.
pub fn typical_us(view: &View, node: u16) -> u32 {
    view.nodes[usize::from(node)].health.typical_us()
}

/// Places an operation on a key kept `n` times. `avoid`: nodes found unreachable a moment ago. `unable`: this node has
/// lost copies, or takes no writes now, so another home coordinates if there is one.
pub fn place(view: &View, key: &StorageKey, n: u8, forwarding: Forwarding, avoid: &[u16], unable: bool) -> Place {
    let me = view.me as u16;
    let partition = view.ring.partitions().of(key.token());
    let preference = view.ring.preference(partition);
    let homes = usize::from(n);
    let reachable = |node: u16| node == me || (!avoid.contains(&node) && view.nodes[usize::from(node)].is_reachable());
    let home = preference.iter().take(homes).any(|node| *node == me);
    if (!home || unable) && forwarding == Forwarding::Once {
        let others = || preference.iter().take(homes).filter(|node| **node != me && reachable(**node));
        let quickest_us = others().map(|node| typical_us(view, *node)).min().unwrap_or_default();
        // What is handed to one that is about to stop may be cut off. Among equals the first.
        let rank = |node: u16| (view.nodes[usize::from(node)].is_leaving(), rank(typical_us(view, node), quickest_us));
        if let Some(node) = others().min_by_key(|node| rank(**node)) {
            return Place::At(*node);
        }
    }
    Place::Here(candidates(view, partition, n, reachable))
}

/// Who may take part in a request about a partition kept `n` times, in the order of preference; this node is among them.
pub fn candidates(view: &View, partition: Partition, n: u8, reachable: impl Fn(u16) -> bool) -> Candidates {
    let (me, homes) = (view.me as u16, usize::from(n));
    let listed = view.ring.preference(partition).iter().take(homes + FALLBACKS_MAX).copied().enumerate();
    let candidate = |(at, node)| Candidate { node, home: at < homes, reachable: reachable(node) };
    let mut candidates: Candidates = listed.map(candidate).collect();
    if !candidates.iter().any(|candidate| candidate.node == me) {
        candidates.push(Candidate { node: me, home: false, reachable: true });
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_forwarded_to_a_home_that_is_about_to_stop_while_there_is_another() {
        let view = View::five();
        let mut forwarded = 0;
        for at in 0..50u8 {
            let key = StorageKey::new(0, &[at]).unwrap();
            let homes: Vec<u16> = homes(&view, &key, 3).collect();
            if homes.contains(&(view.me as u16)) {
                continue;
            }
            forwarded += 1;
            let view = View::five();
            let placed = || place(&view, &key, 3, Forwarding::Once, &[], false);
            let leave = |home: u16| view.nodes[usize::from(home)].health.leaves(1);
            assert_eq!(placed(), Place::At(homes[0]));
            leave(homes[0]);
            assert_eq!(placed(), Place::At(homes[1]));
            leave(homes[2]);
            assert_eq!(placed(), Place::At(homes[1]));
            leave(homes[1]);
            assert_eq!(placed(), Place::At(homes[0]), "better than none");
        }
        assert!(forwarded > 5);
    }
}
