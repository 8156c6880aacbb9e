//! A connection that never blocks: requests queue up to go out, replies are counted as they come in.

use crate::replies::{Counter, Tally};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

const READ_BYTES: usize = 64 * 1024;

/// Room for one read, for all connections of a thread.
pub type Scratch = [u8; READ_BYTES];

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Replies.
    Read,
    /// Replies, and room to write the rest of what is to go out.
    ReadAndWrite,
    /// Nothing: no commands are left.
    Done,
}

/// One connection's socket, and what is under way on it.
pub struct Wire {
    stream: TcpStream,
    counter: Counter,
    out: Vec<u8>,
    written: usize,
    held: Vec<u8>,
}

impl Wire {
    /// Connects, blocking. `replicas` is what each WAIT must have counted.
    pub fn open(address: SocketAddr, replicas: u64) -> Result<Wire, String> {
        let refused = |error: std::io::Error| format!("{address} cannot be reached: {error}");
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        stream.set_nonblocking(true).map_err(refused)?;
        Ok(Wire { stream, counter: Counter::new(replicas), out: Vec::new(), written: 0, held: Vec::new() })
    }

    /// Where requests are appended that [`Wire::flush`] is to send.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out.drain(..self.written);
        self.written = 0;
        &mut self.out
    }

    /// Writes what the socket takes; never [`Wish::Done`].
    pub fn flush(&mut self) -> Result<Wish, String> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Wish::ReadAndWrite),
                Err(error) => return Err(format!("writing failed: {error}")),
            }
        }
        Ok(Wish::Read)
    }

    /// Reads once and counts; returns how many replies came. `scratch` is only room.
    pub fn receive(&mut self, tally: &mut Tally, scratch: &mut Scratch) -> Result<u64, String> {
        let length = match self.stream.read(scratch) {
            Ok(0) => return Err("the server closed a connection".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(format!("reading failed: {error}")),
        };
        let before = tally.replies;
        if self.held.is_empty() {
            let used = self.counter.take(&scratch[..length], tally)?;
            self.held.extend_from_slice(&scratch[used..length]);
        } else {
            self.held.extend_from_slice(&scratch[..length]);
            let used = self.counter.take(&self.held, tally)?;
            self.held.drain(..used);
        }
        Ok(tally.replies - before)
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Room for one read.
pub fn scratch() -> Box<Scratch> {
    Box::new([0; READ_BYTES])
}
