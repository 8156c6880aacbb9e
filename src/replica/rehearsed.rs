//! What a simulation wants to know of a replica, and where it breaks one on purpose. Not part of a server.

use crate::causality::{Context, Dot, Hlc};
use crate::key::StorageKey;
use crate::object::record::Record;
use crate::object::{Object, Sibling};
use crate::policy::Conflict;
use crate::world::simulation::{Minted, Mutation, is_broken, minted};

/// Notes a write event: `object` is what it found here, `given` the context that came with it.
pub(super) fn note_minted(key: &StorageKey, sibling: &Sibling, object: &Object, given: Option<&Context>) {
    let replaced = |dot: &Dot| given.is_none_or(|given| given.covers(dot));
    minted(Minted {
        key: key.as_bytes().to_vec(),
        dot: sibling.dot,
        value: sibling.value.as_ref().map(|value| value.to_vec()),
        expires: sibling.expiry.1.is_some(),
        replaced: object.siblings.iter().map(|sibling| sibling.dot).filter(replaced).collect(),
        given: given.cloned(),
    });
}

/// The rule by which copies are merged.
pub(super) fn conflict(conflict: Conflict) -> Conflict {
    if is_broken(Mutation::MergeDropsSibling) { Conflict::Newest } else { conflict }
}

/// A put with a context computed as a merge, if that is to be.
pub(super) fn put_as_merge(object: &Object, given: &Context, sibling: &Sibling) -> Option<Object> {
    is_broken(Mutation::PutIsMerge).then(|| {
        let mut put = Object { context: given.clone(), siblings: vec![sibling.clone()] };
        put.context.add(sibling.dot);
        object.clone().merge(put, Conflict::Siblings)
    })
}

/// The birth of the actor that adds.
pub(super) fn birth_to_add(record: &Record, birth: Hlc) -> Hlc {
    if is_broken(Mutation::CountsUnderOldName) { record.birth.unwrap_or(birth) } else { birth }
}

/// What a copy that arrives makes of the one that is here.
pub(super) fn replace_counts(held: &mut Object, arriving: &Object) {
    if !is_broken(Mutation::CountsReplaced) {
        return;
    }
    for sibling in &mut held.siblings {
        if arriving.siblings.iter().any(|other| other.dot == sibling.dot) {
            sibling.increments.clear();
        }
    }
}

/// The leaves that a comparison lists.
pub(super) fn leaves(leaves: &[u32]) -> Vec<u32> {
    let skips = is_broken(Mutation::ExchangeSkipsLeaves);
    leaves.iter().copied().filter(|leaf| !skips || leaf % 3 != 0).collect()
}

/// Whether copies kept for others are kept without a note.
pub(super) fn forgets_hints() -> bool {
    is_broken(Mutation::HintForgotten)
}

/// Whether a copy is taken in however old it may be.
pub(super) fn takes_old_copies() -> bool {
    is_broken(Mutation::OldCopiesTaken)
}
