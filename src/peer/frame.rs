//! Frames: how messages lie in the byte stream.
//!
//! A parcel with its weight written on the outside and a seal around both: if the weight does not add up or the seal is
//! broken, the parcel is not opened.
//!
//! ```text
//!  0        4        8      9            17
//!  | length | crc32  | kind | id         | payload ...
//!  | u32 LE | u32 LE | u8   | u64 LE     |
//! ```
//!
//! `length` counts the bytes after the checksum (kind, id and payload) in its low 31 bits; its top bit makes the number
//! of set bits even. The CRC-32 covers the length word and everything after the checksum.
//!
//! # Invariants
//! - A single flipped bit anywhere is always noticed; one in the length at once, by parity, instead of after waiting for
//!   bytes that never come.
//! - A length over the limit is refused before anything is reserved for it.
//! - A payload is a slice of the read buffer, not a copy. It keeps that buffer alive: copy what is to be kept for long.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes before the payload.
pub const HEAD_BYTES: usize = 17;
/// Bytes that `length` does not count.
const OUTER_BYTES: usize = 8;
const PARITY_BIT: u32 = 1 << 31;
/// A read buffer with less room than this gets a fresh block.
const ROOM_BYTES_MIN: usize = 4 * 1024;
/// The block a read buffer usually grows by.
const ROOM_BYTES: usize = 64 * 1024;
/// The most that is reserved ahead of bytes which have come.
const ROOM_BYTES_MAX: usize = 1024 * 1024;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A question; its id comes back in the answer.
    Call,
    /// The answer to the call of the same id.
    Answer,
    /// A message nobody answers.
    Tell,
    /// A step of the handshake; never after it.
    Greeting,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Call => 0,
            Kind::Answer => 1,
            Kind::Tell => 2,
            Kind::Greeting => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Call, Kind::Answer, Kind::Tell, Kind::Greeting].get(usize::from(byte)).copied()
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub kind: Kind,
    /// Which call it is, or answers; 0 where that means nothing.
    pub id: u64,
    /// The message itself.
    pub payload: Bytes,
}

/// Bytes that are no frame. Nothing was acted on; the stream has lost its place and has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length word's parity is odd.
    #[error("a frame's length is damaged; the link is closed")]
    Length,
    /// Longer than allowed here.
    #[error("a frame of {bytes} bytes is over the limit of {bytes_max}; the link is closed")]
    TooLong {
        /// What the frame claims, without length and checksum.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Too short to hold a kind and an id.
    #[error("a frame of {0} bytes is too short; the link is closed")]
    TooShort(usize),
    /// The checksum does not fit.
    #[error("a frame's checksum does not fit; it was dropped and the link is closed")]
    Checksum,
    /// A kind nobody knows, or one that has no business here.
    #[error("a frame of an unexpected kind came; it was dropped and the link is closed")]
    Kind,
}

/// The 17 bytes before `payload`. The payload has to be shorter than 2 GiB; callers hold it far below.
pub fn head(kind: Kind, id: u64, payload: &[u8]) -> [u8; HEAD_BYTES] {
    let length = (HEAD_BYTES - OUTER_BYTES + payload.len()) as u32;
    let word = (length | (length.count_ones() & 1) << 31).to_le_bytes();
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&word);
    head[8] = kind.byte();
    head[9..].copy_from_slice(&id.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&word);
    crc.update(&head[OUTER_BYTES..]);
    crc.update(payload);
    head[4..8].copy_from_slice(&crc.finalize().to_le_bytes());
    head
}

/// Appends one frame to `buffer`.
pub fn encode_into(buffer: &mut BytesMut, kind: Kind, id: u64, payload: &[u8]) {
    buffer.reserve(HEAD_BYTES + payload.len());
    buffer.extend_from_slice(&head(kind, id, payload));
    buffer.extend_from_slice(payload);
}

/// Cuts frames from the front of a read buffer.
#[derive(Clone, Copy, Debug)]
pub struct FrameReader {
    bytes_max: usize,
}

impl FrameReader {
    /// A reader that refuses frames of more than `bytes_max` bytes (kind, id and payload).
    pub fn new(bytes_max: usize) -> FrameReader {
        FrameReader { bytes_max }
    }

    /// Takes the next whole frame off `buffer`, or none if it has not all come yet. After an error the buffer is of no
    /// more use.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some(length) = self.length(buffer)? else { return Ok(None) };
        if buffer.len() < OUTER_BYTES + length {
            return Ok(None);
        }
        let mut frame = buffer.split_to(OUTER_BYTES + length).freeze();
        let mut crc = crc32fast::Hasher::new();
        crc.update(&frame[..4]);
        crc.update(&frame[OUTER_BYTES..]);
        frame.advance(4);
        if frame.get_u32_le() != crc.finalize() {
            return Err(FrameError::Checksum);
        }
        let kind = Kind::from_byte(frame.get_u8()).ok_or(FrameError::Kind)?;
        Ok(Some(Frame { kind, id: frame.get_u64_le(), payload: frame }))
    }

    /// Makes room in `buffer` for the next read: enough for the frame under way, but at most 1 MiB ahead of what came.
    pub fn make_room(&self, buffer: &mut BytesMut) {
        let spare = buffer.capacity() - buffer.len();
        let missing = match self.length(buffer) {
            Ok(Some(length)) => (OUTER_BYTES + length).saturating_sub(buffer.len()),
            _ => 0,
        };
        if spare < missing.min(ROOM_BYTES_MAX) || spare < ROOM_BYTES_MIN {
            buffer.reserve(missing.clamp(ROOM_BYTES, ROOM_BYTES_MAX));
        }
    }

    /// The checked length of the frame at the front, once its length word has come.
    fn length(&self, buffer: &[u8]) -> Result<Option<usize>, FrameError> {
        let Some(word) = buffer.first_chunk::<4>() else { return Ok(None) };
        let word = u32::from_le_bytes(*word);
        if word.count_ones() % 2 == 1 {
            return Err(FrameError::Length);
        }
        let length = (word & !PARITY_BIT) as usize;
        if length < HEAD_BYTES - OUTER_BYTES {
            return Err(FrameError::TooShort(length));
        }
        if length > self.bytes_max {
            return Err(FrameError::TooLong { bytes: length, bytes_max: self.bytes_max });
        }
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 20;

    fn kind() -> impl Strategy<Value = Kind> {
        (0u8..4).prop_map(|byte| Kind::from_byte(byte).unwrap())
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_come() {
        let head = head(Kind::Call, 1, &[0; 100]);
        let mut buffer = BytesMut::from(&head[..4]);
        assert_eq!(FrameReader::new(109).next(&mut buffer), Ok(None));
        let refused = FrameReader::new(108).next(&mut buffer);
        assert_eq!(refused, Err(FrameError::TooLong { bytes: 109, bytes_max: 108 }));
    }

    #[test]
    fn a_promised_length_reserves_at_most_a_step() {
        let reader = FrameReader::new(1 << 30);
        let length: u32 = 1 << 29 | 1;
        let mut buffer = BytesMut::from(&length.to_le_bytes()[..]);
        assert_eq!(reader.next(&mut buffer), Ok(None));
        reader.make_room(&mut buffer);
        assert!(buffer.capacity() <= 2 * ROOM_BYTES_MAX, "{}", buffer.capacity());
    }

    proptest! {
        #[test]
        fn frames_come_back_however_the_stream_is_split(
            frames in proptest::collection::vec((kind(), any::<u64>(), proptest::collection::vec(any::<u8>(), 0..300)), 1..8),
            steps in proptest::collection::vec(1usize..200, 1..40),
        ) {
            let mut stream = BytesMut::new();
            for (kind, id, payload) in &frames {
                encode_into(&mut stream, *kind, *id, payload);
            }
            let (reader, mut buffer, mut got) = (FrameReader::new(LIMIT), BytesMut::new(), Vec::new());
            for step in steps.iter().cycle() {
                if stream.is_empty() {
                    break;
                }
                reader.make_room(&mut buffer);
                buffer.extend_from_slice(&stream.split_to((*step).min(stream.len())));
                while let Some(frame) = reader.next(&mut buffer).unwrap() {
                    got.push((frame.kind, frame.id, frame.payload.to_vec()));
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn a_flipped_bit_is_always_noticed(
            kind in kind(), id in any::<u64>(), payload in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()
        ) {
            let mut bytes = BytesMut::new();
            encode_into(&mut bytes, kind, id, &payload);
            let bit = at.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(FrameReader::new(LIMIT).next(&mut bytes).is_err(), "bit {}", bit);
        }

        #[test]
        fn any_bytes_are_read_without_panic(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..64), 0..20)) {
            let (reader, mut buffer) = (FrameReader::new(LIMIT), BytesMut::new());
            for piece in pieces {
                reader.make_room(&mut buffer);
                buffer.extend_from_slice(&piece);
                match reader.next(&mut buffer) {
                    Ok(Some(frame)) => prop_assert!(frame.payload.len() <= LIMIT),
                    Ok(None) => {}
                    Err(_) => break,
                }
            }
        }
    }
}
