//! The least of RESP2 that a client needs, over a simulated socket.

use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$5`, or nil.
    Bulk(Option<String>),
    /// `*2`
    Array(Vec<Reply>),
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Connection {
    /// Connects to a host and port.
    pub async fn open(address: (String, u16)) -> Result<Connection> {
        Ok(Connection { stream: TcpStream::connect(address).await?, input: Vec::new() })
    }

    /// Sends a command and waits for its reply.
    pub async fn ask(&mut self, words: &[String]) -> Result<Reply> {
        let mut out = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| out += &format!("${}\r\n{word}\r\n", word.len()));
        self.stream.write_all(out.as_bytes()).await?;
        loop {
            if let Some((reply, used)) = parse(&self.input) {
                self.input.drain(..used);
                return Ok(reply);
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await? {
                0 => return Err(Error::from(ErrorKind::UnexpectedEof)),
                read => self.input.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

/// The first reply, if it is whole, and its length.
fn parse(input: &[u8]) -> Option<(Reply, usize)> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    let line = std::str::from_utf8(&input[1..end]).expect("replies are text here");
    let (number, rest) = (|| line.parse::<i64>().expect("a number"), end + 2);
    Some(match input[0] {
        b'+' => (Reply::Simple(line.to_owned()), rest),
        b'-' => (Reply::Error(line.to_owned()), rest),
        b':' => (Reply::Integer(number()), rest),
        b'$' if number() < 0 => (Reply::Bulk(None), rest),
        b'$' => {
            let last = rest + number() as usize;
            let text = input.get(rest..last).filter(|_| input.len() >= last + 2)?;
            (Reply::Bulk(Some(String::from_utf8(text.to_vec()).expect("values are text here"))), last + 2)
        }
        b'*' => {
            let (mut replies, mut at) = (Vec::new(), rest);
            for _ in 0..number().max(0) {
                let (reply, used) = parse(&input[at..])?;
                replies.push(reply);
                at += used;
            }
            (Reply::Array(replies), at)
        }
        other => panic!("a reply begins with {other}"),
    })
}
