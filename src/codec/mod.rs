//! Bytes in, bytes out: how every stored value and every frame is laid out by hand.
//!
//! Picture a parcel: the sender packs things one behind the other and seals the box; the receiver checks the seal, takes
//! the things out in the same order, and at the end the box must be empty. Nobody writes on the things what they are:
//! both sides know the order, and the parcel's version says which order that is.
//!
//! # Layout
//! - Integers are little-endian and of fixed width: `u8`, `u16`, `u32`, `u64`, `i64`.
//! - A *piece* is a `u32` length and that many bytes.
//! - A *list* is a `u32` count and that many items.
//! - A *sealed* body ends in the CRC32 (IEEE, `u32`) of all bytes before it.
//!
//! # Contract
//! - A [`Reader`] never reads past its end and never panics, whatever the bytes: it answers [`Damaged`]. A failed read
//!   takes nothing, and a length or count that the rest cannot hold is refused *before* anything is allocated for it.
//! - A reader over [`Bytes`] hands out slices of that very buffer ([`Reader::shared`]): no copy, one reference count.
//! - [`Reader::finish`] refuses bytes left over: a layout has one reading, not many.
//!
//! # What it refuses to do
//! It knows no type of Dynamo, no version number, no file and no socket; it does not compress and does not guess.

pub mod compact;
pub mod integer;

use bytes::Bytes;

/// Bytes that are not what their writer wrote. Nothing was changed; the bytes must not be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The bytes end before the layout does.
    #[error("the bytes end too early: {wanted} more were expected and {left} are left; they are not used")]
    Truncated {
        /// How many bytes the next item needs (items counted by a list: at least).
        wanted: usize,
        /// How many there are.
        left: usize,
    },
    /// The bytes are all there, but mean nothing; the text says which item.
    #[error("the bytes hold an impossible {0}; they are not used")]
    Malformed(&'static str),
    /// The seal is broken: the bytes changed after they were sealed.
    #[error(
        "sealed with checksum {sealed:08x} but found {found:08x}: the bytes changed since they were written; they are not used"
    )]
    Checksum {
        /// The CRC32 that was sealed in.
        sealed: u32,
        /// The CRC32 of the bytes as they are.
        found: u32,
    },
}

/// A cursor over bytes that takes items from the front.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    /// What is still unread; with an owner, always a part of it.
    rest: &'a [u8],
    /// The buffer that shared slices keep alive.
    owner: Option<&'a Bytes>,
}

/// One method for each fixed-width integer.
macro_rules! read_integers {
    ($($name:ident),*) => { $(
        #[doc = concat!("Takes a little-endian `", stringify!($name), "`.")]
        #[inline]
        pub fn $name(&mut self) -> Result<$name, Damaged> {
            Ok($name::from_le_bytes(self.array()?))
        }
    )* };
}

impl<'a> Reader<'a> {
    /// Reads a plain slice. [`Reader::shared`] then has to copy.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, owner: None }
    }

    /// Reads a shared buffer. [`Reader::shared`] then copies nothing.
    #[inline]
    pub fn over(bytes: &'a Bytes) -> Reader<'a> {
        Reader { rest: bytes, owner: Some(bytes) }
    }

    /// Reads a part of a shared buffer, as [`unseal`] gives it. [`Reader::shared`] then copies nothing. Panics there if it is
    /// none.
    #[inline]
    pub fn within(part: &'a [u8], owner: &'a Bytes) -> Reader<'a> {
        Reader { rest: part, owner: Some(owner) }
    }

    read_integers!(u8, u16, u32, u64, i64);

    /// Takes a byte that is 0 (no) or 1 (yes); any other is malformed.
    #[inline]
    pub fn flag(&mut self) -> Result<bool, Damaged> {
        match self.rest.first() {
            Some(byte) if *byte > 1 => Err(Damaged::Malformed("yes-or-no byte")),
            _ => Ok(self.u8()? == 1),
        }
    }

    /// Takes `N` bytes by value: ids, digests.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (head, tail) = self.rest.split_first_chunk().ok_or_else(|| self.too_short(N))?;
        self.rest = tail;
        Ok(*head)
    }

    /// Takes the next `length` bytes.
    #[inline]
    pub fn slice(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (head, tail) = self.rest.split_at_checked(length).ok_or_else(|| self.too_short(length))?;
        self.rest = tail;
        Ok(head)
    }

    /// Takes a piece: a `u32` length and that many bytes.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let mut ahead = self.clone();
        let length = ahead.u32()? as usize;
        let piece = ahead.slice(length)?;
        *self = ahead;
        Ok(piece)
    }

    /// Takes a piece as [`Bytes`]: a view of the buffer given to [`Reader::over`], else a copy.
    #[inline]
    pub fn shared(&mut self) -> Result<Bytes, Damaged> {
        let piece = self.bytes()?;
        Ok(self.share(piece))
    }

    /// Takes the next `length` bytes as [`Bytes`], as [`Reader::shared`] does.
    #[inline]
    pub fn shared_slice(&mut self, length: usize) -> Result<Bytes, Damaged> {
        let part = self.slice(length)?;
        Ok(self.share(part))
    }

    /// Takes a list's `u32` count, knowing that each item takes at least `least` bytes (0 counts as 1). A count the rest
    /// cannot hold is refused, so it is safe to reserve room for it.
    #[inline]
    pub fn count(&mut self, least: usize) -> Result<usize, Damaged> {
        let mut ahead = self.clone();
        let count = ahead.u32()? as usize;
        let wanted = count.saturating_mul(least.max(1));
        if wanted > ahead.rest.len() {
            return Err(ahead.too_short(wanted));
        }
        *self = ahead;
        Ok(count)
    }

    /// How many bytes are unread.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Takes all that is left.
    #[inline]
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading: nothing may be left over.
    #[inline]
    pub fn finish(self) -> Result<(), Damaged> {
        if self.rest.is_empty() { Ok(()) } else { Err(Damaged::Malformed("tail of bytes after their end")) }
    }

    #[inline]
    fn share(&self, part: &[u8]) -> Bytes {
        match self.owner {
            Some(owner) => owner.slice_ref(part),
            None => Bytes::copy_from_slice(part),
        }
    }

    #[cold]
    fn too_short(&self, wanted: usize) -> Damaged {
        Damaged::Truncated { wanted, left: self.rest.len() }
    }
}

/// One function for each fixed-width integer.
macro_rules! write_integers {
    ($($name:ident: $kind:ident),*) => { $(
        #[doc = concat!("Appends a little-endian `", stringify!($kind), "`.")]
        #[inline]
        pub fn $name(out: &mut Vec<u8>, value: $kind) {
            out.extend_from_slice(&value.to_le_bytes());
        }
    )* };
}

write_integers!(put_u8: u8, put_u16: u16, put_u32: u32, put_u64: u64, put_i64: i64);

/// Appends a byte that is 0 (no) or 1 (yes).
#[inline]
pub fn put_flag(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Appends a piece: its `u32` length, then its bytes.
///
/// # Panics
/// On 4 GiB and more, which no limit of the system lets in.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, piece: &[u8]) {
    put_count(out, piece.len());
    out.extend_from_slice(piece);
}

/// Appends the `u32` count that opens a list.
///
/// # Panics
/// On 2^32 items and more, which no limit of the system lets in.
#[inline]
pub fn put_count(out: &mut Vec<u8>, count: usize) {
    put_u32(out, u32::try_from(count).expect("a length within the system's limits"));
}

/// Seals a body: appends the CRC32 of all its bytes.
#[inline]
pub fn seal(body: Vec<u8>) -> Vec<u8> {
    seal_from(body, 0)
}

/// Seals what begins at `from`.
#[inline]
pub fn seal_from(mut body: Vec<u8>, from: usize) -> Vec<u8> {
    let checksum = crc32fast::hash(&body[from..]);
    put_u32(&mut body, checksum);
    body
}

/// Opens a sealed body: its bytes without the seal, or how they were damaged.
#[inline]
pub fn unseal(sealed: &[u8]) -> Result<&[u8], Damaged> {
    let Some((body, seal)) = sealed.split_last_chunk() else {
        return Err(Damaged::Truncated { wanted: 4, left: sealed.len() });
    };
    let (sealed, found) = (u32::from_le_bytes(*seal), crc32fast::hash(body));
    if sealed == found { Ok(body) } else { Err(Damaged::Checksum { sealed, found }) }
}

#[cfg(test)]
mod tests {
    use super::{
        Damaged, Reader, put_bytes, put_count, put_flag, put_i64, put_u8, put_u16, put_u32, put_u64, seal, unseal,
    };
    use bytes::Bytes;
    use proptest::prelude::{any, proptest};

    fn parcel(small: (u8, u16, bool), large: (u32, u64, i64), piece: &[u8], list: &[u16]) -> Vec<u8> {
        let mut out = Vec::new();
        put_u8(&mut out, small.0);
        put_u16(&mut out, small.1);
        put_flag(&mut out, small.2);
        put_u32(&mut out, large.0);
        put_u64(&mut out, large.1);
        put_i64(&mut out, large.2);
        put_bytes(&mut out, piece);
        put_count(&mut out, list.len());
        list.iter().for_each(|item| put_u16(&mut out, *item));
        out
    }

    type Unpacked = ((u8, u16, bool), (u32, u64, i64), Bytes, Vec<u16>);

    fn unpack(mut reader: Reader<'_>) -> Result<Unpacked, Damaged> {
        let small = (reader.u8()?, reader.u16()?, reader.flag()?);
        let large = (reader.u32()?, reader.u64()?, reader.i64()?);
        let piece = reader.shared()?;
        let list = (0..reader.count(2)?).map(|_| reader.u16()).collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok((small, large, piece, list))
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked_and_every_shorter_or_longer_parcel_is_refused(
            small in any::<(u8, u16, bool)>(), large in any::<(u32, u64, i64)>(), piece: Vec<u8>, list: Vec<u16>,
        ) {
            let whole = parcel(small, large, &piece, &list);
            let expected = Ok((small, large, Bytes::from(piece), list));
            assert_eq!(unpack(Reader::new(&whole)), expected);
            assert_eq!(unpack(Reader::over(&Bytes::from(whole.clone()))), expected);
            for length in 0..whole.len() {
                assert!(matches!(unpack(Reader::new(&whole[..length])), Err(Damaged::Truncated { .. })));
            }
            let longer = [&whole[..], &[0]].concat();
            assert!(matches!(unpack(Reader::new(&longer)), Err(Damaged::Malformed(_))));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = unpack(Reader::new(&bytes));
            let _ = unseal(&bytes);
        }

        #[test]
        fn one_changed_byte_breaks_the_seal(body: Vec<u8>, at: usize, change in 1u8..) {
            let mut sealed = seal(body.clone());
            assert_eq!(unseal(&sealed), Ok(&body[..]));
            let at = at % sealed.len();
            sealed[at] ^= change;
            let refused = matches!(unseal(&sealed), Err(Damaged::Checksum { .. }));
            assert!(refused);
        }
    }

    #[test]
    fn a_shared_piece_is_a_view_of_the_buffer() {
        let mut out = vec![];
        put_bytes(&mut out, b"abc");
        out.extend_from_slice(b"de");
        let buffer = Bytes::from(seal(out));
        let mut reader = Reader::within(unseal(&buffer).unwrap(), &buffer);
        let (piece, tail) = (reader.shared().unwrap(), reader.shared_slice(2).unwrap());
        assert_eq!((&piece[..], &tail[..]), (&b"abc"[..], &b"de"[..]));
        assert_eq!(piece.as_ptr(), buffer[4..].as_ptr());
        assert_eq!(tail.as_ptr(), buffer[7..].as_ptr());
    }

    #[test]
    fn a_failed_read_takes_nothing() {
        let mut out = vec![];
        put_u32(&mut out, u32::MAX);
        put_u8(&mut out, 2);
        let mut reader = Reader::new(&out);
        assert!(reader.u64().is_err() && reader.bytes().is_err() && reader.count(1).is_err());
        assert_eq!(reader.count(0), Err(Damaged::Truncated { wanted: u32::MAX as usize, left: 1 }));
        assert_eq!(reader.u32(), Ok(u32::MAX));
        assert!(matches!(reader.flag(), Err(Damaged::Malformed(_))));
        assert_eq!((reader.remaining(), reader.rest(), reader.remaining()), (1, &[2u8][..], 0));
    }
}
