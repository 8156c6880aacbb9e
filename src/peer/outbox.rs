//! The basket at the tube's mouth: frames wait here while the last write is under way, then all go out at once.
//!
//! Callers append under a short lock and never wait; one writer per connection swaps the full buffer for an empty one
//! and writes it. While it writes, more frames gather. Only the frame that finds the writer asleep wakes it.
//!
//! # Invariants
//! - Frames leave in the order they were pushed, each at most once.
//! - `load` = bytes queued + bytes in the write under way + what [`Outbox::hold`] added and [`Outbox::release`] did not
//!   yet take away.
//! - A frame whose *batch* is still the current one when the outbox closes has not reached the socket.
//! - Closed is for ever: nothing can be pushed any more, and nobody waits for room.

use super::frame::HEAD_BYTES;
use super::settings::PeerStats;
use crate::world::net::OwnedWriteHalf;
use bytes::BytesMut;
use parking_lot::Mutex;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

/// A body of at least this many bytes is queued as it is, not copied into the buffer.
const BODY_BYTES_APART: usize = 64 * 1024;
/// A buffer that grew beyond this is given back after the write.
const BUFFER_BYTES_KEPT: usize = 1024 * 1024;

/// Frames on their way to the socket: small ones in `flat`, large bodies apart, each with its place in `flat`.
#[derive(Default)]
struct Batch {
    flat: BytesMut,
    apart: Vec<(usize, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    queued: Batch,
    queued_bytes: usize,
    /// How many batches the writer has taken; so, the number of the batch now gathering.
    batch: u64,
    writer_asleep: bool,
    closed: bool,
}

/// One connection's frames on their way out. See the module for its invariants.
pub struct Outbox {
    state: Mutex<State>,
    load: AtomicUsize,
    load_max: usize,
    bytes_max: usize,
    writer: Notify,
    room: Notify,
}

/// The frame was not queued: the outbox is closed, or holds as much as it may. Nothing of it was or will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotQueued {
    /// The connection is gone.
    Closed,
    /// Too many bytes wait already.
    Full,
}

impl Outbox {
    /// An empty outbox. [`Outbox::room`] waits above `load_max`; above `bytes_max` unsent bytes nothing is queued.
    pub fn new(load_max: usize, bytes_max: usize) -> Outbox {
        Outbox {
            state: Mutex::default(),
            load: AtomicUsize::new(0),
            load_max,
            bytes_max,
            writer: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Queues one frame; gives the number of the batch it is in. One frame may pass `bytes_max` by its own length.
    /// `head` is [`frame::head`](super::frame::head)'s, made by the caller so that no lock is held over the checksum.
    pub fn push(&self, head: [u8; HEAD_BYTES], body: Vec<u8>) -> Result<u64, NotQueued> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(NotQueued::Closed);
        }
        if state.queued_bytes > self.bytes_max {
            return Err(NotQueued::Full);
        }
        let bytes = head.len() + body.len();
        state.queued_bytes += bytes;
        self.load.fetch_add(bytes, Ordering::Relaxed);
        state.queued.flat.extend_from_slice(&head);
        if body.len() < BODY_BYTES_APART {
            state.queued.flat.extend_from_slice(&body);
        } else {
            let place = state.queued.flat.len();
            state.queued.apart.push((place, body));
        }
        if std::mem::take(&mut state.writer_asleep) {
            self.writer.notify_one();
        }
        Ok(state.batch)
    }

    /// Bytes queued or in the write under way, and those on hold.
    pub fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// Bytes that wait for the write under way to end.
    pub fn unsent_bytes(&self) -> usize {
        self.state.lock().queued_bytes
    }

    /// Counts `bytes` towards the load until they are released.
    pub fn hold(&self, bytes: usize) {
        self.load.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Ends a [`Outbox::hold`] of as many bytes.
    pub fn release(&self, bytes: usize) {
        let before = self.load.fetch_sub(bytes, Ordering::AcqRel);
        if before > self.load_max && before - bytes <= self.load_max {
            self.room.notify_waiters();
        }
    }

    /// Whether the load is not above `load_max`.
    pub fn has_room(&self) -> bool {
        self.load() <= self.load_max
    }

    /// Waits until it [has room](Outbox::has_room), or closes.
    pub async fn room(&self) {
        if !self.has_room() {
            self.wait_for(Outbox::has_room).await;
        }
    }

    /// Waits until the outbox is closed.
    pub async fn closed(&self) {
        self.wait_for(|_| false).await;
    }

    async fn wait_for(&self, enough: impl Fn(&Outbox) -> bool) {
        loop {
            let mut notified = std::pin::pin!(self.room.notified());
            notified.as_mut().enable();
            if enough(self) || self.state.lock().closed {
                return;
            }
            notified.await;
        }
    }

    /// Closes the outbox and drops what is queued. Frames of the batch returned, and of later ones, were never sent.
    pub fn close(&self) -> u64 {
        let mut state = self.state.lock();
        state.closed = true;
        state.queued = Batch::default();
        let batch = state.batch;
        drop(state);
        self.room.notify_waiters();
        self.writer.notify_one();
        batch
    }

    /// Writes batch after batch to `stream`, until that fails or the outbox closes.
    pub async fn write_out(&self, mut stream: OwnedWriteHalf, stats: &PeerStats) -> io::Result<()> {
        let mut batch = Batch::default();
        while self.take(&mut batch).await {
            let mut written = 0;
            for (place, body) in batch.apart.drain(..) {
                stream.write_all(&batch.flat[written..place]).await?;
                stream.write_all(&body).await?;
                PeerStats::add(&stats.bytes_out, place - written + body.len());
                self.sent(place - written + body.len());
                written = place;
            }
            let rest = batch.flat.len() - written;
            if rest > 0 {
                stream.write_all(&batch.flat[written..]).await?;
            }
            PeerStats::add(&stats.bytes_out, rest);
            self.sent(rest);
            batch.flat.clear();
            if batch.flat.capacity() > BUFFER_BYTES_KEPT {
                batch.flat = BytesMut::new();
            }
        }
        Ok(())
    }

    /// Swaps the empty `batch` for the queued frames, waiting for some. False once closed.
    async fn take(&self, batch: &mut Batch) -> bool {
        loop {
            {
                let mut state = self.state.lock();
                if state.closed {
                    return false;
                }
                if !state.queued.flat.is_empty() {
                    std::mem::swap(&mut state.queued, batch);
                    state.batch += 1;
                    return true;
                }
                state.writer_asleep = true;
            }
            self.writer.notified().await;
        }
    }

    fn sent(&self, bytes: usize) {
        self.state.lock().queued_bytes -= bytes;
        self.release(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_outbox_takes_nothing_and_a_closed_one_neither() {
        let outbox = Outbox::new(10, 100);
        assert_eq!(outbox.push([0; HEAD_BYTES], vec![0; 200]), Ok(0));
        assert_eq!(outbox.push([0; HEAD_BYTES], vec![]), Err(NotQueued::Full));
        assert_eq!(outbox.load(), 217);
        assert_eq!(outbox.close(), 0);
        assert_eq!(outbox.push([0; HEAD_BYTES], vec![]), Err(NotQueued::Closed));
    }

    #[tokio::test]
    async fn room_comes_when_a_hold_ends_and_when_all_is_over() {
        let outbox = Outbox::new(10, 100);
        outbox.hold(11);
        let first = async { tokio::join!(outbox.room(), async { outbox.release(1) }) };
        tokio::time::timeout(std::time::Duration::from_secs(1), first).await.unwrap();
        outbox.hold(100);
        let second = async { tokio::join!(outbox.room(), outbox.closed(), async { outbox.close() }) };
        tokio::time::timeout(std::time::Duration::from_secs(1), second).await.unwrap();
    }
}
