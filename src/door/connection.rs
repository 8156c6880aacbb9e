//! One connection: read, run everything whole, write once, again.
//!
//! Contract: replies leave in the order of the requests. Nothing is read while a batch runs or replies are unwritten. A
//! broken request is answered after the replies to those before it, and closes the connection; a web browser's
//! (`POST`, `Host:`) closes it without a word. A client that went away while it waits in WAIT is noticed within seconds.
//! What others left for the client ([`crate::session::outgoing`]) is written between batches of replies, and where a
//! reply says so, before it.

use super::pace::{BATCH_BYTES_MAX, Pace};
use crate::command::Server;
use crate::command::batch::{self, Answer, Presence};
use crate::config::Config;
use crate::resp::gate::{Gate, Limits, ProtocolError};
use crate::resp::reply::Reply;
use crate::resp::request::Request;
use crate::session::Session;
use crate::session::client::Client;
use crate::world::net::{TcpStream, is_gone};
use bytes::BytesMut;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Replies are written when they have grown to so many bytes, and at the end of a batch.
const WRITE_AT_BYTES: usize = 1024 * 1024;

/// A value of this size counts as large; see [`super::pace`].
const LARGE_BYTES: usize = 64 * 1024;

/// A reply buffer that grew beyond this is not kept.
const KEPT_BYTES: usize = 64 * 1024;

/// How often a connection that waits in a command looks whether its client is still there.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a command that waits may go on when the node stops.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// How long answers may take to leave when the connection ends in a command that waits.
const FAREWELL: Duration = Duration::from_millis(100);

/// How often a connection that cannot write looks whether that is too much for too long.
const LIMIT_CHECK: Duration = Duration::from_millis(500);

/// What a connection has to do next.
enum Came {
    /// Requests were read.
    Requests,
    /// Others left something for the client.
    Left,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client closed it")]
    Left,
    #[error("the client broke the protocol ({0})")]
    Broken(ProtocolError),
    #[error("possible SECURITY ATTACK detected: it sends a web browser's request")]
    Browser,
    #[error("it was quiet for longer than timeout")]
    Idle,
    #[error("CLIENT KILL or QUIT")]
    Asked,
    #[error("it did not read what others sent it")]
    Overdue,
    #[error("the node stops")]
    Stopping,
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// Serves a client until it leaves or is shown out.
pub async fn serve(stream: TcpStream, session: Session, server: Arc<Server>, stop: watch::Receiver<bool>) {
    let (id, address) = (session.client.id, session.client.address.clone());
    let mut connection = Connection {
        session,
        stream,
        gate: Gate::new(limits(&server.config.load())),
        input: BytesMut::new(),
        output: BytesMut::new(),
        requests: Vec::new(),
        request_bytes: 0,
        pace: Pace::default(),
        taken: 0,
        server,
        stop,
    };
    let ended = match connection.run().await {
        Ok(never) => match never {},
        Err(ended) => ended,
    };
    match ended {
        Ended::Browser | Ended::Overdue => tracing::warn!("connection {id} from {address} closed: {ended}"),
        _ => tracing::debug!("connection {id} from {address} closed: {ended}"),
    }
}

fn limits(config: &Config) -> Limits {
    let bytes = |setting: u64| usize::try_from(setting).unwrap_or(usize::MAX);
    Limits {
        bulk_bytes: bytes(config.proto_max_bulk_len),
        request_bytes: bytes(config.client_query_buffer_limit),
        ..Limits::default()
    }
}

struct Connection {
    /// Dropped before the stream: who sees that the connection has ended does not find it in the register any more.
    session: Session,
    stream: TcpStream,
    gate: Gate,
    input: BytesMut,
    output: BytesMut,
    requests: Vec<Request>,
    /// Bytes of the input that those took.
    request_bytes: usize,
    pace: Pace,
    /// What of the output others left for the client, by its weight.
    taken: usize,
    server: Arc<Server>,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn run(&mut self) -> Result<std::convert::Infallible, Ended> {
        // Later the client is told.
        if *self.stop.borrow() {
            return Err(Ended::Stopping);
        }
        loop {
            match self.read().await? {
                Came::Requests => while self.step().await? {},
                Came::Left => self.hand_over_all().await?,
            }
        }
    }

    /// Runs one batch of what was read. False: more must be read.
    async fn step(&mut self) -> Result<bool, Ended> {
        let gathered = self.gather();
        let more = matches!(gathered, Ok(true));
        if !self.requests.is_empty() {
            self.run_batch().await?;
        }
        if self.session.closing {
            return Err(Ended::Asked);
        }
        if let Err(ended) = gathered {
            if let Ended::Broken(fault) = &ended {
                let reply = Reply::error(format!("ERR {fault}"));
                self.server.stats.error("ERR");
                reply.encode(self.session.protocol, &mut self.output);
                self.flush().await?;
            }
            return Err(ended);
        }
        if self.session.client.is_seen_out() {
            return Err(Ended::Stopping);
        }
        Ok(more)
    }

    /// Takes whole requests out of the input, up to a batch. True: there may be more.
    fn gather(&mut self) -> Result<bool, Ended> {
        let before = self.input.len();
        let gathered = self.gather_from_input();
        self.request_bytes = before - self.input.len();
        gathered
    }

    fn gather_from_input(&mut self) -> Result<bool, Ended> {
        self.requests.clear();
        self.gate.set_authenticated(self.session.authenticated);
        // What a stranger may send depends on the request before: logged in or not.
        let most = if self.session.authenticated {
            self.pace.requests(self.server.coordinator.replica().store().largest_record_bytes())
        } else {
            1
        };
        let mut bytes = 0;
        while self.requests.len() < most && bytes < BATCH_BYTES_MAX {
            let Some(request) = self.gate.next(&mut self.input).map_err(Ended::Broken)? else { return Ok(false) };
            let name = &request.words[0];
            if name.eq_ignore_ascii_case(b"POST") || name.eq_ignore_ascii_case(b"Host:") {
                return Err(Ended::Browser);
            }
            bytes += request.words.iter().map(|word| word.len()).sum::<usize>();
            self.requests.push(request);
        }
        Ok(true)
    }

    async fn run_batch(&mut self) -> Result<(), Ended> {
        self.session.client.unread_bytes.store(self.request_bytes + self.input.len(), Relaxed);
        self.session.client.unread_room_bytes.store(self.input.capacity() - self.input.len(), Relaxed);
        self.server.coordinator.writable().await;
        loop {
            let presence = Watched { stream: &self.stream, stop: &self.stop };
            let count = self.requests.len();
            let ran = batch::run(&self.server, &mut self.session, &mut self.requests, &presence).await;
            if !ran.is_here {
                // Whatever the socket still takes: the client may be gone, or may not read.
                let _ = tokio::time::timeout(FAREWELL, self.stream.write_all(&encoded(&ran.answers))).await;
                return Err(Ended::Left);
            }
            let bytes = self.write(ran.answers).await?;
            self.pace.replied(count, bytes);
            // None is left, but for those that a pause holds up.
            let Some(held) = self.requests.first() else { return Ok(()) };
            let presence = Watched { stream: &self.stream, stop: &self.stop };
            if !batch::released(&self.server, &self.session, held, &presence).await {
                return Err(Ended::Left);
            }
        }
    }

    /// Writes answers; gives their bytes.
    async fn write(&mut self, answers: Vec<Answer>) -> Result<usize, Ended> {
        let mut bytes = 0;
        for Answer { reply, protocol, after } in answers {
            if after > 0 {
                self.hand_over(after).await?;
            }
            let before = self.output.len();
            reply.encode(protocol, &mut self.output);
            bytes += self.output.len() - before;
            if let Reply::Bulk(value) = &reply
                && value.len() > LARGE_BYTES
            {
                // It may have come from another node.
                self.server.coordinator.replica().store().note_record_bytes(value.len());
            }
            if self.output.len() >= WRITE_AT_BYTES {
                self.flush().await?;
            }
        }
        if self.session.client.is_left_something() && !self.session.closing {
            self.hand_over_all().await?;
        }
        self.flush().await?;
        Ok(bytes)
    }

    /// Writes what others have left by now.
    async fn hand_over_all(&mut self) -> Result<(), Ended> {
        let client = &self.session.client;
        client.looked();
        // What comes meanwhile has to wait until requests were looked for.
        let come = client.outgoing.come();
        self.hand_over(come).await?;
        self.flush().await
    }

    /// Puts what others left before so many had come into the output, and writes when that grows.
    async fn hand_over(&mut self, come: u64) -> Result<(), Ended> {
        loop {
            let taken = self.session.client.outgoing.take(come, WRITE_AT_BYTES, &mut self.output);
            if taken == 0 {
                return Ok(());
            }
            self.taken += taken;
            if self.output.len() >= WRITE_AT_BYTES {
                self.flush().await?;
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = tokio::select! {
            biased;
            written = self.stream.write_all(&self.output) => written,
            () = self.session.client.killed() => return Err(Ended::Asked),
            () = overdue(&self.session.client, &self.server), if self.taken > 0 => return Err(Ended::Overdue),
        };
        written?;
        if self.taken > 0 {
            self.session.client.outgoing.written(std::mem::take(&mut self.taken));
        }
        self.server.stats.writes.add(1);
        self.server.stats.bytes_out.add(self.output.len() as u64);
        self.output.clear();
        if self.output.capacity() > KEPT_BYTES {
            self.output = BytesMut::new();
        }
        self.session.client.reply_room_bytes.store(self.output.capacity(), Relaxed);
        Ok(())
    }

    /// Waits for whatever comes first: requests, which are read, or something that others left for the client.
    async fn read(&mut self) -> Result<Came, Ended> {
        let timeout_s = {
            let config = self.server.config.load();
            self.gate.set_limits(limits(&config));
            config.timeout
        };
        self.gate.make_room(&mut self.input);
        let idle = async {
            match timeout_s {
                // A listener may be quiet for as long as it likes.
                _ if self.session.is_listening() => std::future::pending().await,
                0 => std::future::pending().await,
                seconds => tokio::time::sleep(Duration::from_secs(seconds)).await,
            }
        };
        if self.session.client.is_killed() {
            return Err(Ended::Asked);
        }
        if self.session.client.is_seen_out() {
            return Err(Ended::Stopping);
        }
        let client = &self.session.client;
        let read = tokio::select! {
            biased;
            // Before what was left: that is written behind each batch anyway, and must not keep a client from leaving.
            read = self.stream.read_buf(&mut self.input) => read?,
            () = client.called() => return match () {
                () if client.is_killed() => Err(Ended::Asked),
                () if client.is_seen_out() => Err(Ended::Stopping),
                () => Ok(Came::Left),
            },
            () = idle => return Err(Ended::Idle),
        };
        if read == 0 {
            return Err(Ended::Left);
        }
        // Whoever was killed before this was sent hears nothing more.
        if self.session.client.is_killed() {
            return Err(Ended::Asked);
        }
        self.server.stats.reads.add(1);
        self.server.stats.bytes_in.add(read as u64);
        Ok(Came::Requests)
    }
}

/// Ends when the client has let too much lie for too long, though nothing more comes.
async fn overdue(client: &Client, server: &Server) {
    while !client.outgoing.is_overdue(&server.config.load().output_limits.pubsub) {
        tokio::time::sleep(LIMIT_CHECK).await;
    }
    server.stats.slow_subscribers.add(1);
}

/// All answers as bytes.
fn encoded(answers: &[Answer]) -> BytesMut {
    let mut out = BytesMut::new();
    answers.iter().for_each(|answer| answer.reply.encode(answer.protocol, &mut out));
    out
}

/// Looks whether the client is still there, without reading, and whether the node stops.
struct Watched<'a> {
    stream: &'a TcpStream,
    /// Cloned only by who waits: the count of receivers is shared by all connections.
    stop: &'a watch::Receiver<bool>,
}

impl Presence for Watched<'_> {
    async fn gone(&self) {
        let mut stop = self.stop.clone();
        loop {
            let stops = tokio::select! {
                biased;
                () = tokio::time::sleep(LOOK_EVERY) => false,
                _ = stop.wait_for(|stopping| *stopping) => true,
            };
            if stops {
                tokio::time::sleep(LAST_CHANCE).await;
                return;
            }
            if is_gone(self.stream).await {
                return;
            }
        }
    }
}
