//! One connection in a closed loop: a batch out, all its replies in, the next batch.

use crate::batch::{Batches, Plan};
use crate::replies::{Counter, Tally};
use hdrhistogram::Histogram;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 64 * 1024;

/// The longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// What all connections of a thread share.
pub struct Shared {
    /// What to do.
    pub plan: Plan,
    /// Writes the requests.
    pub batches: Batches,
    /// The number of the next command.
    pub next: u64,
    /// The number no command of this thread reaches.
    pub end: u64,
    /// What came back.
    pub tally: Tally,
    /// Latency of each command in nanoseconds: from the write of its batch until the batch's last reply.
    pub latencies: Histogram<u64>,
}

impl Shared {
    /// Commands `first` to `end` (excluded).
    pub fn new(plan: &Plan, first: u64, end: u64) -> Result<Shared, String> {
        let latencies = Histogram::new_with_max(LATENCY_NS_MAX, 3).map_err(|error| error.to_string())?;
        let batches = Batches::new(plan, first + 1);
        Ok(Shared { plan: plan.clone(), batches, next: first, end, tally: Tally::default(), latencies })
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Replies.
    Read,
    /// Replies, and room to write the rest of the batch.
    ReadAndWrite,
    /// Nothing: no commands are left.
    Done,
}

/// One connection.
pub struct Connection {
    stream: TcpStream,
    counter: Counter,
    out: Vec<u8>,
    written: usize,
    held: Vec<u8>,
    commands: u64,
    /// Replies that the batch still lacks.
    missing: u64,
    sent: Instant,
}

impl Connection {
    /// Connects, blocking.
    pub fn open(address: SocketAddr, plan: &Plan) -> Result<Connection, String> {
        let refused = |error: std::io::Error| format!("{address} cannot be reached: {error}");
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        stream.set_nonblocking(true).map_err(refused)?;
        let counter = Counter::new(plan.replicas);
        let (out, held) = (Vec::new(), Vec::new());
        Ok(Connection { stream, counter, out, written: 0, held, commands: 0, missing: 0, sent: Instant::now() })
    }

    /// Sends the next batch.
    pub fn send(&mut self, shared: &mut Shared) -> Result<Wish, String> {
        self.commands = shared.plan.pipeline.min(shared.end - shared.next);
        if self.commands == 0 {
            return Ok(Wish::Done);
        }
        self.missing = shared.batches.fill(&shared.plan, shared.next, self.commands, &mut self.out);
        shared.next += self.commands;
        self.written = 0;
        self.sent = Instant::now();
        self.flush()
    }

    /// Writes and reads what the socket allows; `scratch` is only room.
    pub fn advance(&mut self, shared: &mut Shared, scratch: &mut [u8; READ_BYTES]) -> Result<Wish, String> {
        let wish = self.flush()?;
        let length = match self.stream.read(scratch) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(wish),
            Err(error) => return Err(format!("reading failed: {error}")),
        };
        let before = shared.tally.replies;
        if self.held.is_empty() {
            let used = self.counter.take(&scratch[..length], &mut shared.tally)?;
            self.held.extend_from_slice(&scratch[used..length]);
        } else {
            self.held.extend_from_slice(&scratch[..length]);
            let used = self.counter.take(&self.held, &mut shared.tally)?;
            self.held.drain(..used);
        }
        let came = shared.tally.replies - before;
        self.missing = self.missing.checked_sub(came).ok_or("more replies than requests")?;
        if self.missing > 0 {
            return Ok(wish);
        }
        let latency_ns = u64::try_from(self.sent.elapsed().as_nanos()).unwrap_or(LATENCY_NS_MAX);
        shared.latencies.saturating_record_n(latency_ns, self.commands);
        self.send(shared)
    }

    fn flush(&mut self) -> Result<Wish, String> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Wish::ReadAndWrite),
                Err(error) => return Err(format!("writing failed: {error}")),
            }
        }
        Ok(Wish::Read)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Room for one read.
pub fn scratch() -> Box<[u8; READ_BYTES]> {
    Box::new([0; READ_BYTES])
}
