//! What the benches of the hot parts are fed: requests as a client sends them, keys and objects as they leave.
#![allow(dead_code, reason = "each bench uses some of it")]

use bytes::Bytes;
use dynamis::causality::{Actor, Context, Dot, Hlc, NodeTag};
use dynamis::key::StorageKey;
use dynamis::object::{Object, Sibling};
use dynamis::policy::Conflict;
use dynamis::quorum::{Candidate, Candidates};

/// Commands in one read of a client that pipelines; keys in one frame to a peer.
pub const PIPELINE: usize = 16;

/// Sixteen SETs of 100 bytes.
pub fn sets() -> String {
    let value = "v".repeat(100);
    format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$100\r\n{value}\r\n").repeat(PIPELINE)
}

/// Sixteen GETs.
pub fn gets() -> String {
    "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n".repeat(PIPELINE)
}

/// One key.
pub fn key() -> StorageKey {
    StorageKey::new(0, b"key:000000000042").expect("short")
}

/// Sixteen keys.
pub fn keys() -> Vec<StorageKey> {
    (0..PIPELINE).map(|n| StorageKey::new(0, format!("key:{n:012}").as_bytes()).expect("short")).collect()
}

/// A value of 100 bytes, written by a node at a time.
pub fn sibling(node: u64, hlc: u64) -> Sibling {
    let dot = Dot { hlc: Hlc(hlc), actor: Actor { node: NodeTag(node), birth: Hlc(1) } };
    Sibling::new(dot, NodeTag(node), Some(Bytes::from(vec![b'v'; 100])), None)
}

/// What SET leaves: one value by one actor.
pub fn plain() -> Object {
    let mut object = Object::default();
    object.overwrite(sibling(1, 5));
    object
}

/// A busy shopping cart: three nodes have written it, two values are waiting to be merged, one of them expires.
pub fn siblings() -> Object {
    let mut object = plain();
    object.overwrite(sibling(3, 7));
    object.put(&Context::new(), sibling(2, 9), Conflict::Siblings);
    object.siblings[0].expiry = (Hlc(10), Some(1 << 40));
    object
}

/// Three homes and two fallbacks; the home of index `down` is unreachable.
pub fn candidates(down: Option<u16>) -> Candidates {
    (0..5).map(|node| Candidate { node, home: node < 3, reachable: Some(node) != down }).collect()
}
