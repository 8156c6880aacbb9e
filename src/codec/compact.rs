//! Short [`Bytes`] in one allocation with the count of who shares them.
//!
//! A parcel small enough for the shelf by the door gets no shelf of its own. [`Bytes`] made from a vector keep their count
//! apart from what they hold: two allocations, and two places to look at whenever somebody takes or leaves a share.
//! Stored records are millions, mostly short, and shared several times each; this is for them.

use bytes::Bytes;

/// The same bytes to be shared: moved into a room that fits, if they are short.
pub fn compact(bytes: Vec<u8>) -> Bytes {
    /// Rooms: with the head they fill what allocators hand out in one piece.
    macro_rules! by_room {
        ($($room:literal),*) => {
            match bytes.len() {
                $(0..=$room => Bytes::from_owner(Compact::<$room>::of(&bytes)),)*
                _ => Bytes::from(bytes),
            }
        };
    }
    by_room!(54, 86, 118, 150, 182, 214, 246, 310, 374, 438, 502)
}

/// Bytes in a room of fixed size.
struct Compact<const ROOM: usize> {
    bytes_used: u16,
    room: [u8; ROOM],
}

impl<const ROOM: usize> Compact<ROOM> {
    /// A copy of bytes that fit in.
    fn of(bytes: &[u8]) -> Compact<ROOM> {
        let mut room = [0; ROOM];
        room[..bytes.len()].copy_from_slice(bytes);
        Compact { bytes_used: bytes.len() as u16, room }
    }
}

impl<const ROOM: usize> AsRef<[u8]> for Compact<ROOM> {
    fn as_ref(&self) -> &[u8] {
        &self.room[..usize::from(self.bytes_used)]
    }
}

#[cfg(test)]
mod tests {
    use super::compact;

    #[test]
    fn it_is_a_copy_of_any_length() {
        let bytes: Vec<u8> = (0..600usize).map(|at| at as u8).collect();
        for length in 0..bytes.len() {
            assert_eq!(compact(bytes[..length].to_vec()), bytes[..length]);
        }
    }
}
