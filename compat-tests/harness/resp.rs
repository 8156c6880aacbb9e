//! A small client: RESP2 and RESP3, blocking, strict.
//!
//! It accepts what the protocol says and nothing else, so that a reply no library would understand fails here.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a reply may take before the test gives up on it.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of a reply is shown when it has not what it should.
const CHARS_SHOWN: usize = 1000;

/// A reply. Its text form is that of the tables: `+OK`, `-ERR …`, `:1`, `"bytes"`, `nil`, `[a, b]`, `>[a, b]`, `{a: b}`, `#t`,
/// `,1.5`.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`, and RESP3's `=` without its three letters.
    Bulk(Vec<u8>),
    /// `$-1`, `*-1`, `_`
    Nil,
    /// `*`, `~`
    Array(Vec<Value>),
    /// `>`
    Push(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `,`
    Double(String),
    /// `#`
    Boolean(bool),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Simple(text) => write!(f, "+{text}"),
            Value::Error(text) => write!(f, "-{text}"),
            Value::Integer(number) => write!(f, ":{number}"),
            Value::Bulk(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Value::Nil => write!(f, "nil"),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Push(items) => write!(f, ">{}", Value::Array(items.clone())),
            Value::Map(entries) => {
                let entries: Vec<String> = entries.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                write!(f, "{{{}}}", entries.join(", "))
            }
            Value::Double(text) => write!(f, ",{text}"),
            Value::Boolean(value) => write!(f, "#{}", if *value { 't' } else { 'f' }),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Value {
    /// The items of an array or of a push; panics on anything else.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(items) | Value::Push(items) => items,
            other => panic!("an array was expected, not {other}"),
        }
    }

    /// The bytes of a bulk or simple string as text; panics on anything else.
    pub fn text(&self) -> String {
        match self {
            Value::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Value::Simple(text) => text.clone(),
            other => panic!("a text was expected, not {other}"),
        }
    }

    /// An integer; panics on anything else.
    pub fn integer(&self) -> i64 {
        match self {
            Value::Integer(number) => *number,
            other => panic!("an integer was expected, not {other}"),
        }
    }

    /// An error's text; panics on anything else.
    pub fn error(&self) -> &str {
        match self {
            Value::Error(text) => text,
            other => panic!("an error was expected, not {other}"),
        }
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// The value beside a name: in a map, or in the flat array that stands for a map in RESP2; panics if there is none.
    pub fn field(&self, name: &str) -> &Value {
        let found = match self {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.text() == name).map(|(_, value)| value),
            Value::Array(items) => items.chunks(2).find(|pair| pair[0].text() == name).and_then(|pair| pair.get(1)),
            _ => None,
        };
        found.unwrap_or_else(|| {
            let shown: String = self.to_string().chars().take(CHARS_SHOWN).collect();
            panic!("there is no {name} in {shown}")
        })
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects; no handshake.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Connection { reader: BufReader::with_capacity(1 << 16, stream) })
    }

    /// The socket itself, to write what no client would.
    pub fn socket(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends one request and does not wait for its reply.
    pub fn send<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<()> {
        self.write(&request(words))
    }

    /// Sends one request and gives its reply.
    pub fn try_ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Value> {
        self.send(words)?;
        self.receive()
    }

    /// Sends one request and gives its reply; panics when the connection fails.
    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Value {
        self.try_ask(words).unwrap_or_else(|error| {
            let words: Vec<_> = words.iter().map(|word| word.as_ref().escape_ascii().to_string()).collect();
            panic!("no reply to {words:?}: {error}")
        })
    }

    /// Sends a request written as in a terminal ([`crate::harness::table::words`]); panics when the connection fails.
    pub fn run(&mut self, line: &str) -> Value {
        self.ask(&super::table::words(line))
    }

    /// As [`Connection::run`], and panics on an error reply.
    pub fn done(&mut self, line: &str) -> Value {
        let reply = self.run(line);
        assert!(!reply.is_error(), "{line}: {reply}");
        reply
    }

    /// The next reply.
    pub fn receive(&mut self) -> io::Result<Value> {
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or_else(|| odd("an empty line"))?;
        match kind {
            "+" => Ok(Value::Simple(rest.to_owned())),
            "-" => Ok(Value::Error(rest.to_owned())),
            ":" => Ok(Value::Integer(number(rest)?)),
            "$" | "*" if rest == "-1" => Ok(Value::Nil),
            "_" if rest.is_empty() => Ok(Value::Nil),
            "$" => Ok(Value::Bulk(self.bulk(rest)?)),
            "=" => Ok(Value::Bulk(self.bulk(rest)?.split_off(4))),
            "*" | "~" => Ok(Value::Array(self.several(number(rest)?)?)),
            ">" => Ok(Value::Push(self.several(number(rest)?)?)),
            "%" => {
                let mut flat = self.several(number(rest)? * 2)?.into_iter();
                let mut entries = Vec::new();
                while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
                    entries.push((name, value));
                }
                Ok(Value::Map(entries))
            }
            "," => Ok(Value::Double(rest.to_owned())),
            "#" if rest == "t" || rest == "f" => Ok(Value::Boolean(rest == "t")),
            _ => Err(odd(&format!("no client understands the reply line {line:?}"))),
        }
    }

    /// Reads until the other side closes; what came before is given back. An orderly end and a reset are both an end.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => Err(error),
            _ => Ok(bytes),
        }
    }

    fn several(&mut self, count: i64) -> io::Result<Vec<Value>> {
        (0..count).map(|_| self.receive()).collect()
    }

    fn bulk(&mut self, length: &str) -> io::Result<Vec<u8>> {
        let length = usize::try_from(number(length)?).map_err(|_| odd("a negative length"))?;
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        if !bytes.ends_with(b"\r\n") {
            return Err(odd("a bulk string without its end"));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        let text = String::from_utf8(line).map_err(|_| odd("a line that is no text"))?;
        text.strip_suffix("\r\n").map(str::to_owned).ok_or_else(|| odd("a line without its end"))
    }
}

/// One request as bytes.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.as_ref().len()).as_bytes());
        bytes.extend_from_slice(word.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn number(text: &str) -> io::Result<i64> {
    text.parse().map_err(|_| odd(&format!("{text:?} is no number")))
}

fn odd(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
