//! What a command answers. A handler returns a [`Reply`]; only the connection writes.

use bytes::Bytes;

/// One reply, in RESP3's terms; RESP2 gets the nearest shape Redis would give it.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`
    Ok,
    /// A simple string.
    Simple(&'static str),
    /// A simple string that is made as it is asked for.
    Status(String),
    /// An error line: prefix and text, without `-` and CRLF.
    Error(String),
    /// `:n`
    Integer(i64),
    /// A bulk string.
    Bulk(Bytes),
    /// No value: `$-1` in RESP2, `_` in RESP3.
    Null,
    /// No array: `*-1` in RESP2, `_` in RESP3.
    NullArray,
    /// An array.
    Array(Vec<Reply>),
    /// A map; a flat array in RESP2.
    Map(Vec<(Reply, Reply)>),
    /// A set; an array in RESP2.
    Set(Vec<Reply>),
    /// What nobody asked for (`>`): a message of a channel; an array in RESP2.
    Push(Vec<Reply>),
    /// Several replies to one request, one behind the other: SUBSCRIBE answers once for each channel.
    Several(Vec<Reply>),
    /// True or false; 1 or 0 in RESP2.
    Boolean(bool),
    /// An integer too large for [`Reply::Integer`], in digits; a bulk string in RESP2.
    BigNumber(&'static str),
    /// A reply with attributes before it, which RESP2 leaves out. Most clients cannot read them: only for those who ask.
    Attributed(Vec<(Reply, Reply)>, Box<Reply>),
    /// A double; a bulk string in RESP2.
    Double(f64),
    /// A text for people (`=…txt:`); a bulk string in RESP2.
    Verbatim(String),
    /// A whole reply as bytes already, in the protocol of the one who asks.
    Encoded(Bytes),
}

impl Reply {
    /// An error line.
    pub fn error(text: impl Into<String>) -> Reply {
        Reply::Error(text.into())
    }

    /// A bulk string of text.
    pub fn text(text: impl Into<String>) -> Reply {
        Reply::Bulk(Bytes::from(text.into()))
    }
}
