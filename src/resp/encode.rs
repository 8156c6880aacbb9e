//! Replies as bytes.
//!
//! The same answer written on one of two forms. RESP3 has a box for every kind of answer; RESP2 has five, and whatever
//! has no box of its own goes into the nearest one, exactly as Redis does it: a map is a flat array, a set an array,
//! a double and a text for people are bulk strings, and nothing is `$-1` or `*-1`.
//!
//! Contract: one call writes one whole reply to the end of the buffer, which redis-protocol's decoders read back.
//! No error or simple string ever carries a line end, so what a client put into a key can never forge a reply.
//! Maps keep the order they were given.
//!
//! Every shape is written directly: the shapes of the hot path by measurement (`benches/gate.rs`), the others because
//! redis-protocol's frames hold maps in a hash map, which loses the order, and print doubles in another way than Redis.

use crate::resp::reply::Reply;
use bytes::BytesMut;

/// The protocol a connection speaks. Every connection starts with RESP2; HELLO changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Redis's protocol up to 5, and the default.
    #[default]
    Resp2,
    /// The protocol of `HELLO 3`.
    Resp3,
}

impl Reply {
    /// Writes the reply to the end of `out`.
    pub fn encode(&self, protocol: Protocol, out: &mut BytesMut) {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Reply::Ok => out.extend_from_slice(b"+OK\r\n"),
            Reply::Bulk(bytes) => put_bulk(bytes, out),
            Reply::Integer(number) => put_header(b':', *number, out),
            Reply::Null if resp3 => out.extend_from_slice(b"_\r\n"),
            Reply::Null => out.extend_from_slice(b"$-1\r\n"),
            Reply::NullArray if resp3 => out.extend_from_slice(b"_\r\n"),
            Reply::NullArray => out.extend_from_slice(b"*-1\r\n"),
            Reply::Simple(text) => put_line(b'+', text, out),
            Reply::Status(text) => put_line(b'+', text, out),
            Reply::Error(text) => put_line(b'-', text, out),
            Reply::Array(items) => put_items(b'*', items, protocol, out),
            Reply::Set(items) => put_items(if resp3 { b'~' } else { b'*' }, items, protocol, out),
            Reply::Push(items) => put_items(if resp3 { b'>' } else { b'*' }, items, protocol, out),
            Reply::Several(replies) => replies.iter().for_each(|reply| reply.encode(protocol, out)),
            Reply::Map(pairs) => put_map(pairs, protocol, out),
            Reply::Boolean(truth) if resp3 => put_line(b'#', if *truth { "t" } else { "f" }, out),
            Reply::Boolean(truth) => put_header(b':', i64::from(*truth), out),
            Reply::BigNumber(digits) if resp3 => put_line(b'(', digits, out),
            Reply::BigNumber(digits) => put_bulk(digits.as_bytes(), out),
            Reply::Attributed(attributes, reply) => {
                if resp3 {
                    put_pairs(b'|', attributes, protocol, out);
                }
                reply.encode(protocol, out);
            }
            Reply::Double(number) if resp3 => put_line(b',', &double(*number), out),
            Reply::Double(number) => put_bulk(double(*number).as_bytes(), out),
            Reply::Verbatim(text) if resp3 => {
                put_length(b'=', text.len() + 4, out);
                out.extend_from_slice(b"txt:");
                out.extend_from_slice(text.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            Reply::Verbatim(text) => put_bulk(text.as_bytes(), out),
            Reply::Encoded(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn put_items(kind: u8, items: &[Reply], protocol: Protocol, out: &mut BytesMut) {
    put_length(kind, items.len(), out);
    for item in items {
        item.encode(protocol, out);
    }
}

fn put_map(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    match protocol {
        Protocol::Resp2 => {
            put_length(b'*', pairs.len() * 2, out);
            put_each(pairs, protocol, out);
        }
        Protocol::Resp3 => put_pairs(b'%', pairs, protocol, out),
    }
}

fn put_pairs(kind: u8, pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    put_length(kind, pairs.len(), out);
    put_each(pairs, protocol, out);
}

fn put_each(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    for (key, value) in pairs {
        key.encode(protocol, out);
        value.encode(protocol, out);
    }
}

fn put_bulk(bytes: &[u8], out: &mut BytesMut) {
    // One reservation for header, bytes and line end instead of four.
    out.reserve(bytes.len() + 32);
    put_length(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn put_length(kind: u8, length: usize, out: &mut BytesMut) {
    put_digits(kind, itoa::Buffer::new().format(length), out);
}

fn put_header(kind: u8, number: i64, out: &mut BytesMut) {
    put_digits(kind, itoa::Buffer::new().format(number), out);
}

fn put_digits(kind: u8, digits: &str, out: &mut BytesMut) {
    let mut line = [0; 24];
    let end = digits.len() + 1;
    line[0] = kind;
    line[1..end].copy_from_slice(digits.as_bytes());
    line[end..end + 2].copy_from_slice(b"\r\n");
    out.extend_from_slice(&line[..end + 2]);
}

/// One line. A line end inside the text becomes a blank: else a client could have the server write replies of its choice.
fn put_line(kind: u8, text: &str, out: &mut BytesMut) {
    out.reserve(text.len() + 3);
    out.extend_from_slice(&[kind]);
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The largest magnitude that Redis tries to print as an integer: half the largest 64-bit one.
const INTEGER_LIMIT: f64 = 4_611_686_018_427_387_904.0;

/// A double as Redis 7.2 prints it: the shortest digits that read back, integers without a point, and an exponent
/// where writing it out would need too many places.
fn double(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    if number.fract() == 0.0 && number.abs() <= INTEGER_LIMIT {
        return (number as i64).to_string();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).count() as i32;
    // The power of ten by which the digits, read as one integer, are to be multiplied.
    let scale = exponent - (digits - 1);
    let plain_integer = scale >= 0 && exponent < digits + 7;
    let plain_decimal = scale < 0 && (scale > -7 || exponent.abs() < 4);
    if plain_integer || plain_decimal {
        return number.to_string();
    }
    format!("{mantissa}e{exponent:+}")
}

#[cfg(test)]
mod tests;
