//! Making a few keys equal on two homes: look again, merge theirs into ours, give them what they still lack.

use super::Broken;
use super::walk::Peer;
use crate::causality::Hlc;
use crate::key::StorageKey;
use crate::message::data::{Answer, Refusal, Requests, read_answers};
use crate::object::Object;
use crate::object::digest::Digest;
use crate::policy::Conflict;
use crate::replica::Replica;
use crate::storage::batch::Batch;
use crate::world::spawn_blocking;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A key that still differed when it was looked at again.
struct Differing {
    key: StorageKey,
    /// What the other holds; none: a damaged record, which what we hold replaces.
    theirs: Option<Object>,
    /// This node's floor before the other was asked: what a complete home answers after that is no older.
    floor: Hlc,
}

/// What is to be given to the other, and how many keys changed here.
struct Merged {
    batch: Batch,
    changed: u64,
    /// Key, object's bytes, and whether the key changed here, too.
    give: Vec<(StorageKey, Vec<u8>, bool)>,
    /// What those bear.
    floor: Hlc,
}

/// Makes the keys equal; how many changed, here or there. Both have stored them when this ends well.
pub(super) async fn mend(peer: &Peer<'_>, keys: Vec<StorageKey>) -> Result<u64, Broken> {
    let _ticket = peer.replica.under_way.ticket();
    let differing = look_again(peer, keys).await?;
    if differing.is_empty() {
        return Ok(0);
    }
    peer.replica.writable().await;
    let (replica, conflict) = (peer.replica.clone(), peer.conflict);
    let merged = spawn_blocking(move || merge(&replica, differing, conflict)).await??;
    let (told, hear) = oneshot::channel();
    peer.replica.submit(merged.batch, false, Box::new(move |result| drop(told.send(result))));
    hear.await.map_err(|_| crate::storage::error::StorageError::Stopped)??;
    Ok(merged.changed + give(peer, merged.give, merged.floor).await?)
}

/// Those of the keys that differ now.
async fn look_again(peer: &Peer<'_>, keys: Vec<StorageKey>) -> Result<Vec<Differing>, Broken> {
    let replica = peer.replica.clone();
    let floor = replica.floor().max(Hlc(1));
    let known = spawn_blocking(move || {
        let known = |key: StorageKey| {
            // A damaged record is as good as none: whatever the other holds replaces it.
            let digest = replica.read(&key).map_or(Digest(0), |object| object.digest(&key));
            (key, digest)
        };
        keys.into_iter().map(known).collect::<Vec<_>>()
    });
    let known = known.await?;
    let mut requests = Requests::default();
    known.iter().for_each(|(key, digest)| requests.read(key, *digest));
    let answers = read_answers(&peer.ask(requests.into_body()).await?, known.len())?;
    let mut differing = Vec::new();
    for ((key, _), answer) in known.into_iter().zip(answers) {
        match answer {
            Answer::Same => {}
            Answer::Object(theirs) => differing.push(Differing { key, theirs: Some(theirs), floor }),
            Answer::Refused(Refusal::Damaged) => differing.push(Differing { key, theirs: None, floor }),
            Answer::Refused(_) | Answer::Applied { .. } => return Err(Broken::Refused),
        }
    }
    Ok(differing)
}

/// Takes in what the other holds.
fn merge(replica: &Arc<Replica>, differing: Vec<Differing>, conflict: Conflict) -> Result<Merged, Broken> {
    let mut merged = Merged { batch: Batch::new(), changed: 0, give: Vec::new(), floor: replica.floor_borne() };
    for Differing { key, theirs, floor } in differing {
        let before = replica.read(&key).map(|object| object.digest(&key));
        let digest = theirs.as_ref().map(|theirs| theirs.digest(&key));
        if let Some(theirs) = theirs.filter(|theirs| !theirs.is_empty()) {
            replica.merge(&mut merged.batch, &key, theirs, floor, conflict, None).map_err(|refusal| match refusal {
                // The floor has risen meanwhile: look again.
                Refusal::Old => Broken::Moot,
                _ => Broken::Refused,
            })?;
        }
        // Damaged here and absent there: nothing to be done between these two.
        let Ok(object) = replica.read(&key) else { continue };
        let after = object.digest(&key);
        let changed = before != Ok(after);
        merged.changed += u64::from(changed);
        if digest != Some(after) && !object.is_empty() {
            let mut bytes = Vec::with_capacity(object.encoded_bytes());
            object.encode(&mut bytes);
            merged.give.push((key, bytes, changed));
        }
    }
    Ok(merged)
}

/// Gives the other what it lacks; how many keys that were, not counting those that changed here, too.
async fn give(peer: &Peer<'_>, give: Vec<(StorageKey, Vec<u8>, bool)>, floor: Hlc) -> Result<u64, Broken> {
    if give.is_empty() {
        return Ok(0);
    }
    let mut requests = Requests::default();
    give.iter().for_each(|(key, object, _)| requests.write(key, object, false, None, floor));
    let answers = read_answers(&peer.ask(requests.into_body()).await?, give.len())?;
    if !answers.iter().all(|answer| matches!(answer, Answer::Applied { .. })) {
        return Err(Broken::Refused);
    }
    Ok(give.iter().filter(|(_, _, changed)| !changed).count() as u64)
}
