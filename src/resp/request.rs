//! One request: the words of a command as the client sent them.

use bytes::Bytes;
use smallvec::SmallVec;

/// A command's name and arguments. Never empty when it comes out of the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Name first. Slices of the read buffer: copy what is to be kept.
    pub words: SmallVec<[Bytes; 4]>,
}
