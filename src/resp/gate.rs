//! The gate: takes whole requests off the front of a read buffer.
//!
//! Picture a turnstile that lets a party through only when all of its members have come, and that remembers whom it
//! has already counted. Packets cut requests anywhere; the gate keeps its place between two calls, so that no byte is
//! looked at again and a large request in ten thousand pieces costs what it costs in one.
//!
//! Contract: [`Gate::next`] yields the requests of a byte stream, the same ones however the stream was cut. A request
//! is an array of bulk strings, or one inline line; empty arrays and blank lines are passed over. Words are slices of
//! the read buffer: nothing is copied but quoted inline words. As with Redis, the two bytes after a length or a bulk
//! string are taken for its line end unread.
//!
//! Invariants: every count and length is checked the moment it is announced, before anything waits for it. Memory
//! grows with the bytes that came: announcing a size reserves at most [`LARGEST_ROOM`]. After an error the gate yields
//! that error for ever, for what follows in the stream has no meaning any more.
//!
//! **Large values.** The buffer only ever grows through [`Gate::make_room`]. A growing vector at least doubles, so the
//! start of an unfinished request is moved a number of times logarithmic in its size, and a shared buffer (its earlier
//! requests still alive) is left behind once, not at every read. A request above [`KEPT_ROOM`] takes its allocation
//! with it, lest an idle connection sit on the largest value it ever sent.
//!
//! It refuses to read sockets, to answer, and to know commands (HTTP's `POST` and `Host:` are the connection's to spot).

use crate::resp::inline;
use crate::resp::request::Request;
use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

/// Room made for the next read when nothing is known to be on its way, in bytes.
pub const USUAL_ROOM: usize = 16 * 1024;

/// The most room made at once because a bulk string was announced, in bytes.
pub const LARGEST_ROOM: usize = 1024 * 1024;

/// A larger request takes its part of the read buffer with it, in bytes.
pub const KEPT_ROOM: usize = 64 * 1024;

/// The longest inline line, and the longest line announcing a length, in bytes.
const LINE_LIMIT: usize = 64 * 1024;

/// The most words of a request before the client has authenticated.
const STRANGER_WORDS: i64 = 10;

/// The longest bulk string before the client has authenticated, in bytes.
const STRANGER_BULK: i64 = 16 * 1024;

/// Word positions kept allocated between two requests.
const KEPT_SPANS: usize = 1024;

/// What a client that has authenticated may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most words of one request.
    pub request_words: usize,
    /// The longest bulk string, in bytes: `proto-max-bulk-len`.
    pub bulk_bytes: usize,
    /// The longest request, with its headers, in bytes: `client-query-buffer-limit`.
    pub request_bytes: usize,
}

impl Default for Limits {
    /// Redis 7's defaults: 2,147,483,647 words, 512 MiB, 1 GiB.
    fn default() -> Limits {
        Limits { request_words: i32::MAX as usize, bulk_bytes: 512 * 1024 * 1024, request_bytes: 1024 * 1024 * 1024 }
    }
}

/// How a client broke the protocol. The connection answers `ERR ` and this text, after the replies to the requests
/// before it, and closes. Nothing of the broken request was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number after `*` is none, or above [`Limits::request_words`].
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The number after `$` is none, negative, or above [`Limits::bulk_bytes`].
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An array's element is no bulk string; this byte came instead of `$`.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// 64 KiB after `*` without a line end.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// 64 KiB without a line end where `$` and a length were due.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// 64 KiB of an inline request without a line end.
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// An inline request's quotes do not match.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// More than 10 words before authentication.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A bulk string of more than 16 KiB before authentication.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// The request is longer than [`Limits::request_bytes`]. (Redis closes without a word here.)
    #[error("Protocol error: request exceeds client-query-buffer-limit")]
    TooBigRequest,
}

/// Where a word lies: its first byte and the byte after its last, counted from the front of the buffer.
type Span = (usize, usize);

/// One connection's gate. It must see one buffer only, which nobody else takes bytes from.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    authenticated: bool,
    /// Everything before this byte of the buffer is understood.
    cursor: usize,
    /// No line end between `cursor` and this byte.
    searched: usize,
    /// The words of the unfinished request that are complete.
    spans: SmallVec<[Span; 4]>,
    /// How many words it still lacks; 0 between two requests.
    words_left: usize,
    /// The length of the word at `cursor`, once announced.
    bulk: Option<usize>,
    /// Bytes that word still lacks, with its line end.
    wanted: usize,
    broken: Option<ProtocolError>,
}

impl Gate {
    /// A gate for a fresh connection, which has not authenticated.
    pub fn new(limits: Limits) -> Gate {
        Gate {
            limits,
            authenticated: false,
            cursor: 0,
            searched: 0,
            spans: SmallVec::new(),
            words_left: 0,
            bulk: None,
            wanted: 0,
            broken: None,
        }
    }

    /// Changes the limits for every length announced from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Says whether the client may send requests of any size: it has authenticated, or no password is asked for.
    ///
    /// Counts for what is announced from now on; so an `AUTH` must be run before the request after it is taken.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
    }

    /// How many more bytes the unfinished bulk string needs, with its line end; 0 when none was announced.
    pub fn wanted(&self) -> usize {
        self.wanted
    }

    /// Makes room at the end of `buffer` for the next read: at least [`USUAL_ROOM`] / 4, at most what is
    /// [`Gate::wanted`] and [`LARGEST_ROOM`] when it has to grow (and what a vector adds by doubling).
    pub fn make_room(&self, buffer: &mut BytesMut) {
        if buffer.capacity() - buffer.len() < USUAL_ROOM / 4 {
            buffer.reserve(self.wanted.clamp(USUAL_ROOM, LARGEST_ROOM));
        }
    }

    /// Takes the next whole request off the front of `buffer`; `None` when it has not all come yet.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, ProtocolError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut request = Request::default();
        match self.take(buffer, &mut request) {
            Ok(true) => Ok(Some(request)),
            Ok(false) => Ok(None),
            Err(error) => {
                self.broken = Some(error);
                Err(error)
            }
        }
    }

    /// Fills `request` in place: moving so large a value from function to function costs more than reading it did.
    fn take(&mut self, buffer: &mut BytesMut, request: &mut Request) -> Result<bool, ProtocolError> {
        while self.words_left == 0 {
            match buffer.first() {
                None => return Ok(false),
                Some(b'*') => match self.array_header(buffer)? {
                    None => return Ok(false),
                    Some(0) => self.pass_over(buffer),
                    Some(words) => self.words_left = words,
                },
                Some(_) => match self.inline(buffer)? {
                    None => return Ok(false),
                    Some(words) if words.is_empty() => {}
                    Some(words) => {
                        request.words = words;
                        return Ok(true);
                    }
                },
            }
        }
        let complete = self.words(buffer)?;
        if complete {
            self.cut(buffer, request);
        }
        Ok(complete)
    }

    /// Reads `*count`. 0 for every count that asks for no words.
    fn array_header(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.line_end(buffer, ProtocolError::TooBigMultibulkCount)? else {
            return Ok(None);
        };
        let count = number(&buffer[self.cursor + 1..end]).ok_or(ProtocolError::InvalidMultibulkLength)?;
        let words = usize::try_from(count).unwrap_or(0);
        if words > self.limits.request_words {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if count > STRANGER_WORDS && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        self.advance_to(end + 2);
        Ok(Some(words))
    }

    /// Reads words until the request is complete (`true`) or the buffer ends.
    fn words(&mut self, buffer: &[u8]) -> Result<bool, ProtocolError> {
        while self.words_left > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_header(buffer)? {
                    Some(length) => length,
                    None => return Ok(false),
                },
            };
            let end = self.cursor + length;
            if end + 2 > buffer.len() {
                self.bulk = Some(length);
                self.wanted = end + 2 - buffer.len();
                return Ok(false);
            }
            self.spans.push((self.cursor, end));
            self.bulk = None;
            self.wanted = 0;
            self.words_left -= 1;
            self.advance_to(end + 2);
        }
        Ok(true)
    }

    /// Reads `$length`.
    fn bulk_header(&mut self, buffer: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some(end) = self.line_end(buffer, ProtocolError::TooBigBulkCount)? else {
            return Ok(None);
        };
        if buffer[self.cursor] != b'$' {
            return Err(ProtocolError::ExpectedBulk(buffer[self.cursor]));
        }
        let announced = number(&buffer[self.cursor + 1..end]).ok_or(ProtocolError::InvalidBulkLength)?;
        let length = usize::try_from(announced).map_err(|_| ProtocolError::InvalidBulkLength)?;
        if length > self.limits.bulk_bytes {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if announced > STRANGER_BULK && !self.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        if length.saturating_add(end + 4) > self.limits.request_bytes {
            return Err(ProtocolError::TooBigRequest);
        }
        self.advance_to(end + 2);
        Ok(Some(length))
    }

    /// The end of the header line at the cursor, once it and the byte after it have come.
    fn line_end(&mut self, buffer: &[u8], too_big: ProtocolError) -> Result<Option<usize>, ProtocolError> {
        let last = buffer.len().min(self.cursor + LINE_LIMIT + 1);
        match buffer[self.searched..last].iter().position(|byte| *byte == b'\r') {
            Some(at) => {
                self.searched += at;
                Ok((self.searched + 2 <= buffer.len()).then_some(self.searched))
            }
            None if buffer.len() > self.cursor + LINE_LIMIT => Err(too_big),
            None => {
                self.searched = last;
                Ok(None)
            }
        }
    }

    /// Takes an inline line, once it has come whole, and cuts it into words.
    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<SmallVec<[Bytes; 4]>>, ProtocolError> {
        let last = buffer.len().min(LINE_LIMIT + 1);
        let Some(at) = memchr::memchr(b'\n', &buffer[self.searched..last]) else {
            self.searched = last;
            return if buffer.len() > LINE_LIMIT { Err(ProtocolError::TooBigInline) } else { Ok(None) };
        };
        let end = self.searched + at;
        let mut line = buffer.split_to(end + 1).freeze();
        self.searched = 0;
        line.truncate(if line[..end].ends_with(b"\r") { end - 1 } else { end });
        inline::split(&line).map(Some).ok_or(ProtocolError::UnbalancedQuotes)
    }

    fn advance_to(&mut self, position: usize) {
        self.cursor = position;
        self.searched = position;
    }

    /// Drops a header that announced nothing.
    fn pass_over(&mut self, buffer: &mut BytesMut) {
        buffer.advance(self.cursor);
        self.advance_to(0);
    }

    /// Cuts the complete request off the front.
    fn cut(&mut self, buffer: &mut BytesMut, request: &mut Request) {
        let length = self.cursor;
        let mut rest = buffer.split_to(length).freeze();
        let mut passed = 0;
        request.words.reserve(self.spans.len());
        for (start, end) in self.spans.drain(..) {
            rest.advance(start - passed);
            request.words.push(rest.split_to(end - start));
            passed = end;
        }
        if self.spans.capacity() > KEPT_SPANS {
            self.spans = SmallVec::new();
        }
        self.advance_to(0);
        // Copying no more than was cut off keeps the work linear.
        if length > KEPT_ROOM && buffer.len() <= length {
            *buffer = BytesMut::from(&buffer[..]);
        }
    }
}

/// A decimal number as Redis reads lengths: no plus sign, no leading zeros, nothing around it, 64 bits.
fn number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 19 || (digits[0] == b'0' && text.len() > 1) {
        return None;
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // Counted downwards, where there is one number more.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

#[cfg(test)]
mod tests;
