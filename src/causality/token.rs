//! A context as clients carry it: a sealed envelope.
//!
//! A client holds it between a read and the write that answers it, and gives it back unopened. So it is printable, says
//! its version, and is checked: a damaged one is an error, never a guess.
//!
//! # Byte by byte, then base64url without padding
//! ```text
//! 0       version, 1
//! 1..     entries of 24 bytes, sorted by actor: node tag (8), birth (8), HLC (8), all big-endian
//! last 4  CRC32 of all before, big-endian
//! ```

use super::{Actor, Context, Hlc, NodeTag};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const VERSION: u8 = 1;
const ENTRY_BYTES: usize = 24;

/// The most entries a client's context may have; beyond that it did not come from us. No write that names a context or
/// an id makes an object's context longer; else a client could make a key grow for ever.
pub const ENTRIES_MAX: usize = 4096;

/// Why a text is no context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not base64url, too short, or of a wrong length.
    #[error("it is not a context this server has given")]
    Malformed,
    /// The checksum does not fit: it was changed on the way.
    #[error("it is damaged: its checksum does not fit")]
    Damaged,
    /// From another version of the server.
    #[error("it has version {0}, this server reads version {VERSION}")]
    Version(u8),
}

/// The context's text.
pub fn encode(context: &Context) -> String {
    let mut bytes = Vec::with_capacity(1 + context.entries().len() * ENTRY_BYTES + 4);
    bytes.push(VERSION);
    for (actor, hlc) in context.entries() {
        for word in [actor.node.0, actor.birth.0, hlc.0] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
    }
    let check = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&check.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The text's context.
pub fn decode(text: &[u8]) -> Result<Context, TokenError> {
    if text.len() > (1 + ENTRIES_MAX * ENTRY_BYTES + 4) * 4 / 3 + 4 {
        return Err(TokenError::Malformed);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    let (body, check) = bytes.split_last_chunk::<4>().ok_or(TokenError::Malformed)?;
    if crc32fast::hash(body) != u32::from_be_bytes(*check) {
        return Err(TokenError::Damaged);
    }
    let (version, entries) = body.split_first().ok_or(TokenError::Malformed)?;
    if *version != VERSION {
        return Err(TokenError::Version(*version));
    }
    if entries.len() % ENTRY_BYTES != 0 {
        return Err(TokenError::Malformed);
    }
    Ok(entries.chunks_exact(ENTRY_BYTES).map(entry).collect())
}

fn entry(bytes: &[u8]) -> (Actor, Hlc) {
    let mut words = bytes.chunks_exact(8).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    let mut next = || words.next().unwrap_or_default();
    (Actor { node: NodeTag(next()), birth: Hlc(next()) }, Hlc(next()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_context_comes_back_as_it_went(entries in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..20)) {
            let context: Context =
                entries.into_iter().map(|(n, b, h)| (Actor { node: NodeTag(n), birth: Hlc(b) }, Hlc(h))).collect();
            prop_assert_eq!(decode(encode(&context).as_bytes()), Ok(context));
        }

        #[test]
        fn a_changed_letter_is_noticed(at in 0usize..40, letter in "[A-Za-z0-9_-]") {
            let context: Context = [(Actor { node: NodeTag(7), birth: Hlc(8) }, Hlc(9))].into_iter().collect();
            let text = encode(&context);
            let mut changed = text.clone();
            changed.replace_range(at % text.len()..at % text.len() + 1, &letter);
            prop_assert!(changed == text || decode(changed.as_bytes()).is_err());
        }

        #[test]
        fn anything_else_is_an_error_not_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
