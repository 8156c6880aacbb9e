//! One connection in a closed loop: a batch out, all its replies in, the next batch.

use crate::batch::{Batches, Plan};
use crate::replies::Tally;
use crate::wire::{Scratch, Wire, Wish};
use hdrhistogram::Histogram;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

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

/// One connection.
pub struct Connection {
    wire: Wire,
    commands: u64,
    /// Replies that the batch still lacks.
    missing: u64,
    sent: Instant,
}

impl Connection {
    /// Connects, blocking.
    pub fn open(address: SocketAddr, plan: &Plan) -> Result<Connection, String> {
        Ok(Connection { wire: Wire::open(address, plan.replicas)?, commands: 0, missing: 0, sent: Instant::now() })
    }

    /// Sends the next batch.
    pub fn send(&mut self, shared: &mut Shared) -> Result<Wish, String> {
        self.commands = shared.plan.pipeline.min(shared.end - shared.next);
        if self.commands == 0 {
            return Ok(Wish::Done);
        }
        self.missing = shared.batches.fill(&shared.plan, shared.next, self.commands, self.wire.out());
        shared.next += self.commands;
        self.sent = Instant::now();
        self.wire.flush()
    }

    /// Writes and reads what the socket allows; `scratch` is only room.
    pub fn advance(&mut self, shared: &mut Shared, scratch: &mut Scratch) -> Result<Wish, String> {
        let wish = self.wire.flush()?;
        let came = self.wire.receive(&mut shared.tally, scratch)?;
        if came == 0 {
            return Ok(wish);
        }
        self.missing = self.missing.checked_sub(came).ok_or("more replies than requests")?;
        if self.missing > 0 {
            return Ok(wish);
        }
        let latency_ns = u64::try_from(self.sent.elapsed().as_nanos()).unwrap_or(LATENCY_NS_MAX);
        shared.latencies.saturating_record_n(latency_ns, self.commands);
        self.send(shared)
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}
