//! The handshake on a socket, from both ends, and questions to addresses whose node is unknown.

use super::frame::{FrameError, FrameReader, Kind, encode_into};
use super::handshake::{Acceptor, Dialer, Discord, Hello, refuse};
use super::settings::{PeerSettings, PeerStats};
use crate::causality::NodeId;
use crate::world::net::{self, TcpStream, Vigilance};
use bytes::{Bytes, BytesMut};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A vanished peer must not be waited for a quarter of an hour.
const VIGILANCE: Vigilance = Vigilance {
    silence: Duration::from_secs(15),
    interval: Duration::from_secs(5),
    probes: None,
    unheard: Some(Duration::from_secs(30)),
};

/// A connection after its handshake.
pub struct Line {
    /// The socket.
    pub stream: TcpStream,
    /// What was read beyond the handshake.
    pub buffer: BytesMut,
    /// Who is at the other end.
    pub hello: Hello,
}

/// Why no connection came about. No call was sent.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The socket failed.
    #[error("the address cannot be reached: {0}; nothing was sent")]
    Io(#[from] io::Error),
    /// Connecting or greeting took too long.
    #[error("no answer to the greeting in time; nothing was sent")]
    TimedOut,
    /// What came was no frame.
    #[error("the answer to the greeting is damaged ({0}); check that the address is a cluster port")]
    Frame(#[from] FrameError),
    /// One side refused the other.
    #[error("{0}")]
    Discord(#[from] Discord),
    /// Another node lives at the address.
    #[error("node {found} answers at the address of node {expected}; nothing was sent")]
    OtherNode {
        /// Who was looked for.
        expected: NodeId,
        /// Who is there.
        found: NodeId,
    },
}

/// Why a question to an address has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No connection came about: the question was not sent.
    #[error("{0}")]
    Dial(#[from] DialError),
    /// The connection broke after the question was sent; it may have been acted on.
    #[error("the connection broke before the answer came; the question may have been acted on")]
    Lost,
    /// The answer did not come in time; the question may have been acted on.
    #[error("no answer in time; the question may have been acted on")]
    Late,
}

/// Connects to `address` (host and port, resolved now) and shakes hands. With `expect`, only that node will do.
pub async fn dial(settings: &PeerSettings, address: &str, expect: Option<NodeId>) -> Result<Line, DialError> {
    let result = timeout(settings.limits.greeting, dial_untimed(settings, address, expect)).await;
    let result = result.unwrap_or(Err(DialError::TimedOut));
    if matches!(result, Err(DialError::Discord(_))) {
        PeerStats::add(&settings.stats.greetings_refused, 1);
    }
    result
}

async fn dial_untimed(settings: &PeerSettings, address: &str, expect: Option<NodeId>) -> Result<Line, DialError> {
    let mut greeter = Greeter::new(settings, TcpStream::connect(address).await?)?;
    let (dialer, greeting) = Dialer::start(&settings.identity, settings.nonce());
    greeter.send(&greeting).await?;
    let welcome = greeter.receive().await?;
    let (hello, proof) = match dialer.welcome(&settings.identity, &welcome) {
        Ok(welcomed) => welcomed,
        Err(discord) => return Err(greeter.part(discord).await),
    };
    if let Some(expected) = expect.filter(|expected| *expected != hello.node_id) {
        return Err(DialError::OtherNode { expected, found: hello.node_id });
    }
    greeter.send(&proof).await?;
    let accepted = greeter.receive().await?;
    dialer.accepted(&accepted)?;
    Ok(Line { stream: greeter.stream, buffer: greeter.buffer, hello })
}

/// Shakes hands on a connection that came in.
pub async fn accept(settings: &PeerSettings, stream: TcpStream) -> Result<Line, DialError> {
    let result = timeout(settings.limits.greeting, accept_untimed(settings, stream)).await;
    let result = result.unwrap_or(Err(DialError::TimedOut));
    if matches!(result, Err(DialError::Discord(_) | DialError::Frame(_))) {
        PeerStats::add(&settings.stats.greetings_refused, 1);
    }
    result
}

async fn accept_untimed(settings: &PeerSettings, stream: TcpStream) -> Result<Line, DialError> {
    let mut greeter = Greeter::new(settings, stream)?;
    let greeting = greeter.receive().await?;
    let (acceptor, welcome) = match Acceptor::start(&settings.identity, settings.nonce(), &greeting) {
        Ok(started) => started,
        Err(discord) => return Err(greeter.part(discord).await),
    };
    greeter.send(&welcome).await?;
    let proof = greeter.receive().await?;
    let (hello, accepted) = match acceptor.proof(&proof) {
        Ok(proved) => proved,
        Err(discord) => return Err(greeter.part(discord).await),
    };
    greeter.send(&accepted).await?;
    Ok(Line { stream: greeter.stream, buffer: greeter.buffer, hello })
}

/// Asks whoever is at `address` one question, over a connection of its own. For seeds, whose node id is not known yet.
/// `limit` runs from the end of the handshake, which has its own.
pub async fn ask_address(
    settings: &Arc<PeerSettings>,
    address: &str,
    body: Vec<u8>,
    limit: Duration,
) -> Result<(Hello, Bytes), AskError> {
    let line = dial(settings, address, None).await?;
    let answer = timeout(limit, ask_once(line.stream, line.buffer, settings.limits.frame_bytes_max, body)).await;
    match answer {
        Ok(Some(answer)) => Ok((line.hello, answer)),
        Ok(None) => Err(AskError::Lost),
        Err(_) => Err(AskError::Late),
    }
}

async fn ask_once(mut stream: TcpStream, mut buffer: BytesMut, bytes_max: usize, body: Vec<u8>) -> Option<Bytes> {
    let mut call = BytesMut::new();
    encode_into(&mut call, Kind::Call, 1, &body);
    stream.write_all(&call).await.ok()?;
    let reader = FrameReader::new(bytes_max);
    loop {
        if let Some(frame) = reader.next(&mut buffer).ok()? {
            return (frame.kind == Kind::Answer && frame.id == 1).then_some(frame.payload);
        }
        reader.make_room(&mut buffer);
        if stream.read_buf(&mut buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Learns who is at `address`, proved by the cluster's secret. The connection is closed again.
pub async fn greet(settings: &Arc<PeerSettings>, address: &str) -> Result<Hello, DialError> {
    Ok(dial(settings, address, None).await?.hello)
}

/// Sends and receives greetings, and nothing longer than a greeting.
struct Greeter {
    stream: TcpStream,
    buffer: BytesMut,
    reader: FrameReader,
}

impl Greeter {
    fn new(settings: &PeerSettings, stream: TcpStream) -> io::Result<Greeter> {
        // Small, urgent messages: no waiting to fill packets.
        stream.set_nodelay(true)?;
        net::watch(&stream, VIGILANCE)?;
        let reader = FrameReader::new(settings.limits.greeting_bytes_max);
        Ok(Greeter { stream, buffer: BytesMut::with_capacity(512), reader })
    }

    async fn send(&mut self, greeting: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::new();
        encode_into(&mut frame, Kind::Greeting, 0, greeting);
        self.stream.write_all(&frame).await
    }

    async fn receive(&mut self) -> Result<Bytes, DialError> {
        loop {
            match self.reader.next(&mut self.buffer)? {
                Some(frame) if frame.kind == Kind::Greeting => return Ok(frame.payload),
                Some(_) => return Err(FrameError::Kind.into()),
                None => {}
            }
            self.buffer.reserve(512);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// Tells the other side that it is refused. If that fails too, there is nobody left to tell.
    async fn part(&mut self, discord: Discord) -> DialError {
        if let Discord::Ours(refusal) = &discord {
            let told = self.send(&refuse(refusal)).await;
            tracing::trace!(?told, "refused a greeting");
        }
        DialError::Discord(discord)
    }
}
