//! The handshake: two nodes convince each other that they belong to one cluster.
//!
//! Two strangers who share a password and will not say it aloud. Each says who it is and throws in a fresh random
//! number; then each seals *everything both have said* with the password. Only one who knows it can make such a seal,
//! and a seal overheard yesterday does not fit today's numbers.
//!
//! ```text
//! dialer                                              acceptor
//!   | -- Hello(a) ------------------------------------> |   same protocol? same cluster?
//!   | <- Welcome(hello b, HMAC(secret, "accept" a b)) - |
//!   | -- Proof(HMAC(secret, "dial" a b)) -------------> |
//!   | <- Accepted ------------------------------------- |
//! ```
//!
//! Either side may say `Refused(why)` instead of its next line. The seals are HMAC-SHA-256 over a label and both hellos
//! byte by byte, so no field of a hello (node id, start number, address) can be altered; labels differ so that a seal
//! cannot be sent back as one's own. Seals are compared in constant time. This file is pure: no sockets, no randomness.

use super::settings::Identity;
use crate::causality::NodeId;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// The protocol this program speaks.
pub const PROTOCOL_VERSION: u16 = 1;

type Seal = [u8; 32];

/// What a node says of itself. The version is the first field for ever, so that any version can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol it speaks.
    pub version: u16,
    /// Its cluster.
    pub cluster_name: String,
    /// Its name.
    pub node_id: NodeId,
    /// Which of its lives this is.
    pub start_number: u64,
    /// The host under which it can be reached.
    pub host: String,
    /// The port, at that host, of its listener.
    pub cluster_port: u16,
    /// Random, never used twice.
    pub nonce: [u8; 16],
}

/// Why a node will not talk to another. Nothing was exchanged but greetings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The names of the clusters differ.
    #[error(
        "the nodes belong to different clusters: the refusing node is in {0:?}; check `cluster-name` and the address"
    )]
    Cluster(String),
    /// The protocols differ.
    #[error("the nodes speak different protocols (the refusing node speaks {0}); run the same release on both")]
    Version(u16),
    /// The seal does not fit.
    #[error("the nodes do not share one secret; set the same `cluster-secret` on both")]
    Secret,
    /// Both have the same node id.
    #[error("both ends carry the same node id: it is one node, or a data directory was copied")]
    SameNode,
    /// Not a greeting, or not the one due.
    #[error("what came was not a greeting this release understands; check that the address is a cluster port")]
    Unreadable,
}

#[derive(Serialize, Deserialize)]
enum Greeting<'a> {
    Hello(&'a [u8]),
    Welcome { hello: &'a [u8], seal: Seal },
    Proof(Seal),
    Accepted,
    Refused(Refusal),
}

/// How a handshake ends badly: who refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discord {
    /// The other side refused us.
    #[error("refused by the other node: {0}")]
    Theirs(Refusal),
    /// We refuse the other side; it should be told with [`refuse`].
    #[error("the other node is refused: {0}")]
    Ours(Refusal),
}

/// The dialing side, after its hello.
pub struct Dialer {
    hello: Vec<u8>,
}

impl Dialer {
    /// The dialer, and the greeting it begins with.
    pub fn start(identity: &Identity, nonce: [u8; 16]) -> (Dialer, Vec<u8>) {
        let hello = hello_bytes(identity, nonce);
        let greeting = encode(&Greeting::Hello(&hello));
        (Dialer { hello }, greeting)
    }

    /// Checks the acceptor's welcome; gives its hello and the greeting to answer with.
    pub fn welcome(&self, identity: &Identity, greeting: &[u8]) -> Result<(Hello, Vec<u8>), Discord> {
        let Greeting::Welcome { hello: theirs, seal } = decode(greeting)? else {
            return Err(Discord::Ours(Refusal::Unreadable));
        };
        let hello = read_hello(identity, theirs).map_err(Discord::Ours)?;
        check(&seal, &seal_of(identity, b"accept", &self.hello, theirs)).map_err(Discord::Ours)?;
        let proof = seal_of(identity, b"dial", &self.hello, theirs);
        Ok((hello, encode(&Greeting::Proof(proof))))
    }

    /// Checks that the acceptor is content.
    pub fn accepted(&self, greeting: &[u8]) -> Result<(), Discord> {
        match decode(greeting)? {
            Greeting::Accepted => Ok(()),
            _ => Err(Discord::Ours(Refusal::Unreadable)),
        }
    }
}

/// The accepting side, after its welcome.
pub struct Acceptor {
    hello: Hello,
    proof: Seal,
}

impl Acceptor {
    /// Checks a dialer's hello; gives the acceptor and the greeting to answer with.
    pub fn start(identity: &Identity, nonce: [u8; 16], greeting: &[u8]) -> Result<(Acceptor, Vec<u8>), Discord> {
        let Greeting::Hello(theirs) = decode(greeting)? else { return Err(Discord::Ours(Refusal::Unreadable)) };
        let hello = read_hello(identity, theirs).map_err(Discord::Ours)?;
        let ours = hello_bytes(identity, nonce);
        let seal = seal_of(identity, b"accept", theirs, &ours);
        let proof = seal_of(identity, b"dial", theirs, &ours);
        Ok((Acceptor { hello, proof }, encode(&Greeting::Welcome { hello: &ours, seal })))
    }

    /// Checks the dialer's proof; gives its hello, now believed, and the greeting to answer with.
    pub fn proof(self, greeting: &[u8]) -> Result<(Hello, Vec<u8>), Discord> {
        let Greeting::Proof(seal) = decode(greeting)? else { return Err(Discord::Ours(Refusal::Unreadable)) };
        check(&seal, &self.proof).map_err(Discord::Ours)?;
        Ok((self.hello, encode(&Greeting::Accepted)))
    }
}

/// The greeting that tells the other side why it is refused.
pub fn refuse(refusal: &Refusal) -> Vec<u8> {
    encode(&Greeting::Refused(refusal.clone()))
}

fn hello_bytes(identity: &Identity, nonce: [u8; 16]) -> Vec<u8> {
    encode(&Hello {
        version: PROTOCOL_VERSION,
        cluster_name: identity.cluster_name.clone(),
        node_id: identity.node_id,
        start_number: identity.start_number,
        host: identity.host.clone(),
        cluster_port: identity.cluster_port,
        nonce,
    })
}

/// The version is read and judged before the rest, which another version may have changed.
fn read_hello(identity: &Identity, bytes: &[u8]) -> Result<Hello, Refusal> {
    let (version, _) = postcard::take_from_bytes::<u16>(bytes).map_err(|_| Refusal::Unreadable)?;
    if version != PROTOCOL_VERSION {
        return Err(Refusal::Version(PROTOCOL_VERSION));
    }
    let hello: Hello = postcard::from_bytes(bytes).map_err(|_| Refusal::Unreadable)?;
    if hello.cluster_name != identity.cluster_name {
        return Err(Refusal::Cluster(identity.cluster_name.clone()));
    }
    if hello.node_id == identity.node_id {
        return Err(Refusal::SameNode);
    }
    Ok(hello)
}

fn seal_of(identity: &Identity, label: &[u8], dialer: &[u8], acceptor: &[u8]) -> Seal {
    let mut mac = Hmac::<Sha256>::new_from_slice(&identity.secret).expect("HMAC takes keys of any length");
    for part in [label, dialer, acceptor] {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn check(seal: &Seal, expected: &Seal) -> Result<(), Refusal> {
    if bool::from(seal.ct_eq(expected)) { Ok(()) } else { Err(Refusal::Secret) }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("plain data in memory is always written")
}

fn decode(greeting: &[u8]) -> Result<Greeting<'_>, Discord> {
    match postcard::from_bytes(greeting) {
        Ok(Greeting::Refused(refusal)) => Err(Discord::Theirs(refusal)),
        Ok(greeting) => Ok(greeting),
        Err(_) => Err(Discord::Ours(Refusal::Unreadable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn identity(node: u8) -> Identity {
        Identity {
            cluster_name: "town".into(),
            secret: b"sesame".to_vec(),
            node_id: NodeId([node; 20]),
            start_number: 7,
            host: "127.0.0.1".into(),
            cluster_port: 17000,
        }
    }

    fn run(dialing: &Identity, accepting: &Identity) -> Result<(Hello, Hello), Discord> {
        let (dialer, greeting) = Dialer::start(dialing, [1; 16]);
        let (acceptor, greeting) = Acceptor::start(accepting, [2; 16], &greeting)?;
        let (theirs, greeting) = dialer.welcome(dialing, &greeting)?;
        let (ours, greeting) = acceptor.proof(&greeting)?;
        dialer.accepted(&greeting)?;
        Ok((theirs, ours))
    }

    #[test]
    fn two_of_one_cluster_learn_who_the_other_is() {
        let (acceptor, dialer) = run(&identity(1), &identity(2)).unwrap();
        assert_eq!((acceptor.node_id, acceptor.nonce), (NodeId([2; 20]), [2; 16]));
        assert_eq!((dialer.node_id, dialer.start_number, dialer.host.as_str()), (NodeId([1; 20]), 7, "127.0.0.1"));
    }

    #[test]
    fn strangers_are_refused_with_the_reason() {
        let other_town = Identity { cluster_name: "city".into(), ..identity(1) };
        assert_eq!(run(&other_town, &identity(2)), Err(Discord::Ours(Refusal::Cluster("town".into()))));
        let other_secret = Identity { secret: b"simsim".to_vec(), ..identity(1) };
        assert_eq!(run(&other_secret, &identity(2)), Err(Discord::Ours(Refusal::Secret)));
        assert_eq!(run(&identity(1), &identity(1)), Err(Discord::Ours(Refusal::SameNode)));
    }

    #[test]
    fn an_acceptor_does_not_believe_a_dialer_without_the_secret() {
        let (_, greeting) = Dialer::start(&identity(1), [1; 16]);
        let (acceptor, welcome) = Acceptor::start(&identity(2), [2; 16], &greeting).unwrap();
        let Ok(Greeting::Welcome { seal, .. }) = decode(&welcome) else { panic!("no welcome") };
        let sent_back = acceptor.proof(&encode(&Greeting::Proof(seal)));
        assert_eq!(sent_back, Err(Discord::Ours(Refusal::Secret)));
    }

    #[test]
    fn a_newer_protocol_is_named_whatever_else_it_changed() {
        let mut hello = postcard::to_allocvec(&2u16).unwrap();
        hello.extend_from_slice(b"anything at all");
        let answer = Acceptor::start(&identity(2), [2; 16], &encode(&Greeting::Hello(&hello)));
        assert_eq!(answer.err(), Some(Discord::Ours(Refusal::Version(PROTOCOL_VERSION))));
    }

    proptest! {
        #[test]
        fn a_welcome_changed_anywhere_is_refused(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let (dialer, greeting) = Dialer::start(&identity(1), [1; 16]);
            let (_, mut welcome) = Acceptor::start(&identity(2), [2; 16], &greeting).unwrap();
            let at = at.index(welcome.len());
            welcome[at] ^= flip;
            prop_assert!(dialer.welcome(&identity(1), &welcome).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Acceptor::start(&identity(2), [2; 16], &bytes).is_err());
            prop_assert!(Dialer::start(&identity(1), [1; 16]).0.welcome(&identity(1), &bytes).is_err());
        }
    }
}
