//! The parcel of DUMP and RESTORE, byte by byte (Redis's RDB format, version 10, of one string).
//!
//! ```text
//! u8          0: a string
//! then one of
//!   00LLLLLL                           a length of 6 bits, then the bytes
//!   01LLLLLL u8                        a length of 14 bits, high ones first, then the bytes
//!   0x80 u32 big-endian                a length, then the bytes
//!   0x81 u64 big-endian                a length, then the bytes
//!   0xc0 i8 · 0xc1 i16 · 0xc2 i32      a number, little-endian: its decimal digits
//!   0xc3 length length bytes           LZF: packed length, unpacked length (both as above), packed bytes
//! u16 little-endian                    RDB version
//! u64 little-endian                    CRC-64/REDIS (Jones) of everything before it
//! ```
//! What follows a whole string before the version is passed over, as Redis does.

use super::lzf;
use crate::command::arguments::parse_integer;
use bytes::Bytes;
use crc::{CRC_64_REDIS, Crc};

/// The RDB version of Redis 7.0: the greatest that is opened, and the one that is written.
const RDB_VERSION: u16 = 10;

const TYPE_STRING: u8 = 0;
const INT8: u8 = 0xc0;
const INT16: u8 = 0xc1;
const INT32: u8 = 0xc2;
const LZF: u8 = 0xc3;

/// Version and checksum.
const FOOTER_BYTES: usize = 10;

/// A number of more digits is kept as it is written.
const NUMBER_BYTES_MAX: usize = 11;

const CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// Why a parcel cannot be opened, in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Too short, of a later version, or damaged.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// Whole, but no string, or no string that may be this long.
    #[error("Bad data format")]
    Content,
}

/// Packs a value. A number is written as Redis writes it; nothing is compressed.
pub fn pack(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 1 + 9 + FOOTER_BYTES);
    out.push(TYPE_STRING);
    let number = Some(value).filter(|value| value.len() <= NUMBER_BYTES_MAX).and_then(parse_integer);
    match number.and_then(|number| i32::try_from(number).ok()) {
        Some(number) => put_number(&mut out, number),
        None => {
            put_length(&mut out, value.len() as u64);
            out.extend_from_slice(value);
        }
    }
    out.extend_from_slice(&RDB_VERSION.to_le_bytes());
    let checksum = CRC.checksum(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Opens a parcel. `limit`: the longest value there may be, in bytes.
pub fn open(parcel: &Bytes, limit: u64) -> Result<Bytes, Unopened> {
    let body = parcel.len().checked_sub(FOOTER_BYTES).ok_or(Unopened::Footer)?;
    let version = u16::from_le_bytes([parcel[body], parcel[body + 1]]);
    let (signed, checksum) = parcel.split_at(body + 2);
    if version > RDB_VERSION || CRC.checksum(signed).to_le_bytes() != checksum {
        return Err(Unopened::Footer);
    }
    open_string(&mut parcel.slice(..body), limit).ok_or(Unopened::Content)
}

fn put_number(out: &mut Vec<u8>, number: i32) {
    if let Ok(number) = i8::try_from(number) {
        out.push(INT8);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(INT16);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(INT32);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..=0x3f => out.push(length as u8),
        0x40..=0x3fff => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        _ => match u32::try_from(length) {
            Ok(length) => {
                out.push(0x80);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(0x81);
                out.extend_from_slice(&length.to_be_bytes());
            }
        },
    }
}

/// Reads the string at the start of `bytes`; what is not packed is a slice of them.
fn open_string(bytes: &mut Bytes, limit: u64) -> Option<Bytes> {
    if take::<1>(bytes)? != [TYPE_STRING] {
        return None;
    }
    let value = match *bytes.first()? {
        INT8 => digits(take::<2>(bytes)?[1] as i8),
        INT16 => {
            let [_, low, high] = take(bytes)?;
            digits(i16::from_le_bytes([low, high]))
        }
        INT32 => {
            let [_, a, b, c, d] = take(bytes)?;
            digits(i32::from_le_bytes([a, b, c, d]))
        }
        LZF => {
            take::<1>(bytes)?;
            let (packed, length) = (take_length(bytes)?, take_length(bytes)?);
            let length = usize::try_from(length).ok().filter(|length| *length as u64 <= limit)?;
            lzf::unpack(&take_bytes(bytes, packed)?, length)?.into()
        }
        _ => {
            let length = take_length(bytes)?;
            take_bytes(bytes, length)?
        }
    };
    (value.len() as u64 <= limit).then_some(value)
}

fn digits(number: impl Into<i64>) -> Bytes {
    Bytes::copy_from_slice(itoa::Buffer::new().format(number.into()).as_bytes())
}

fn take<const N: usize>(bytes: &mut Bytes) -> Option<[u8; N]> {
    let taken = *bytes.first_chunk::<N>()?;
    *bytes = bytes.slice(N..);
    Some(taken)
}

fn take_bytes(bytes: &mut Bytes, count: u64) -> Option<Bytes> {
    let count = usize::try_from(count).ok().filter(|count| *count <= bytes.len())?;
    Some(bytes.split_to(count))
}

fn take_length(bytes: &mut Bytes) -> Option<u64> {
    let [first] = take(bytes)?;
    match first {
        0..=0x3f => Some(first.into()),
        0x40..=0x7f => {
            let [low] = take(bytes)?;
            Some(u64::from(first & 0x3f) << 8 | u64::from(low))
        }
        0x80 => Some(u32::from_be_bytes(take(bytes)?).into()),
        0x81 => Some(u64::from_be_bytes(take(bytes)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
