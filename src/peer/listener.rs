//! The incoming side: who dials us, what they ask, and our answers.
//!
//! The mouths of the other houses' tubes. A clerk takes each slip out and hands it to the right desk; desks answer when
//! they can, in any order. When a desk's unanswered slips and unsent answers pile up, the clerk stops emptying that
//! tube until the pile shrinks, and the asker's tube fills: pressure goes back to where it comes from.
//!
//! # Invariants
//! - Nothing reaches the [`Service`] before the handshake.
//! - One connection's unanswered calls (each by its length and a little more) and unsent answers weigh at most
//!   `Limits::load_bytes_max` plus one read; past `Limits::queue_bytes_max` of unsent bytes answers are dropped, and the
//!   asker's call is late.
//! - When a node dials in a new life, connections of its other lives are closed.

use super::frame::{FrameError, FrameReader, HEAD_BYTES, Kind, head};
use super::greet::{Line, accept};
use super::handshake::Hello;
use super::outbox::{NotQueued, Outbox};
use super::settings::{PeerSettings, PeerStats};
use crate::causality::NodeId;
use crate::world::net::{TcpListener, TcpStream};
use crate::world::wall_ms;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// What an unanswered call weighs beyond its length, so that many empty calls count too.
const CALL_WEIGHT_BYTES: usize = 1024;
/// The pause after the system refused to accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What stands behind the listener. Its methods run on the connection's task and must not block.
pub trait Service: Send + Sync + 'static {
    /// A call of `from`. `body` keeps its read buffer alive: copy what is to be kept. Answer later from any thread.
    fn call(&self, from: NodeId, body: Bytes, answer: Answer);
    /// A message of `from` that nobody answers. Nothing here bounds how many come: take them or drop them.
    fn tell(&self, from: NodeId, body: Bytes);
    /// A node has proved who it is; its messages follow.
    fn greeted(&self, hello: &Hello);
}

/// The right to answer one call. Dropped unused, nothing is sent, and the asker's call is late.
pub struct Answer {
    settings: Arc<PeerSettings>,
    outbox: Arc<Outbox>,
    id: u64,
    weight: usize,
}

impl Answer {
    /// Answers. Never blocks; if the connection is gone, so is the answer.
    pub fn send(self, body: Vec<u8>) {
        let stats = &self.settings.stats;
        let fits = body.len() < self.settings.limits.frame_bytes_max - HEAD_BYTES;
        let pushed =
            if fits { self.outbox.push(head(Kind::Answer, self.id, &body), body) } else { Err(NotQueued::Full) };
        match pushed {
            Ok(_) => PeerStats::add(&stats.frames_out, 1),
            Err(NotQueued::Full) => PeerStats::add(&stats.answers_dropped, 1),
            Err(NotQueued::Closed) => {}
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.outbox.release(self.weight);
    }
}

/// Serves every node that dials `listener` and proves that it belongs here. Runs for ever; dropping the future closes
/// the listener and every connection.
pub async fn serve(listener: TcpListener, settings: Arc<PeerSettings>, service: Arc<dyn Service>) {
    let greetings = Arc::new(Semaphore::new(settings.limits.greetings_max));
    let hall = Arc::new(Hall { settings, service, guests: Mutex::default() });
    let mut connections = JoinSet::new();
    for number in 0u64.. {
        let Ok(permit) = greetings.clone().acquire_owned().await else { return };
        let stream = loop {
            tokio::select! {
                biased;
                Some(ended) = connections.join_next() => if let Err(error) = ended {
                    tracing::error!("a connection of another node ended by a fault of this one: {error}");
                },
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => break stream,
                    Err(error) => {
                        tracing::warn!("cannot accept a connection of another node: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        };
        connections.spawn(hall.clone().welcome(number, stream, permit));
    }
}

/// One connection that is past its handshake.
struct Guest {
    node: NodeId,
    start_number: u64,
    outbox: Arc<Outbox>,
}

struct Hall {
    settings: Arc<PeerSettings>,
    service: Arc<dyn Service>,
    guests: Mutex<BTreeMap<u64, Guest>>,
}

impl Hall {
    async fn welcome(self: Arc<Hall>, number: u64, stream: TcpStream, permit: OwnedSemaphorePermit) {
        match accept(&self.settings, stream).await {
            Ok(line) => {
                drop(permit);
                self.host(number, line).await;
            }
            // Anybody can cause this, as often as they like; it is counted, and said aloud at the dialing node.
            Err(error) => tracing::debug!("a greeting came to nothing: {error}"),
        }
    }

    async fn host(self: Arc<Hall>, number: u64, line: Line) {
        let limits = &self.settings.limits;
        let outbox = Arc::new(Outbox::new(limits.load_bytes_max, limits.queue_bytes_max));
        let _seat = self.seat(number, &line.hello, &outbox);
        self.service.greeted(&line.hello);
        let (read, write) = line.stream.into_split();
        let mut writer = JoinSet::new();
        let (settings, sent) = (self.settings.clone(), outbox.clone());
        writer.spawn(async move { sent.write_out(write, &settings.stats).await });
        tokio::select! {
            biased;
            () = outbox.closed() => {}
            _ = writer.join_next() => {}
            () = self.read(line.hello.node_id, read, line.buffer, &outbox) => {}
        }
    }

    /// Enters a connection in the list, and closes those of the node's other lives.
    fn seat<'a>(&'a self, number: u64, hello: &Hello, outbox: &Arc<Outbox>) -> Seat<'a> {
        let mut guests = self.guests.lock();
        for guest in guests.values() {
            if guest.node == hello.node_id && guest.start_number != hello.start_number {
                guest.outbox.close();
            }
        }
        let (node, start_number, outbox) = (hello.node_id, hello.start_number, outbox.clone());
        self.settings.seats.take(node, start_number, number, outbox.clone(), wall_ms());
        guests.insert(number, Guest { node, start_number, outbox });
        Seat { hall: self, number }
    }

    async fn read(&self, from: NodeId, mut read: impl AsyncRead + Unpin, mut buffer: BytesMut, outbox: &Arc<Outbox>) {
        let reader = FrameReader::new(self.settings.limits.frame_bytes_max);
        loop {
            if let Err(error) = self.hand_over(from, &reader, &mut buffer, outbox).await {
                PeerStats::add(&self.settings.stats.frames_corrupt, 1);
                tracing::warn!(peer = %from, "closing the peer's link: {error}");
                return;
            }
            outbox.room().await;
            reader.make_room(&mut buffer);
            match read.read_buf(&mut buffer).await {
                Ok(bytes @ 1..) => PeerStats::add(&self.settings.stats.bytes_in, bytes),
                Ok(0) | Err(_) => return,
            }
        }
    }

    async fn hand_over(
        &self,
        from: NodeId,
        reader: &FrameReader,
        buffer: &mut BytesMut,
        outbox: &Arc<Outbox>,
    ) -> Result<(), FrameError> {
        while let Some(frame) = reader.next(buffer)? {
            PeerStats::add(&self.settings.stats.frames_in, 1);
            match frame.kind {
                Kind::Call => {
                    let weight = frame.payload.len() + CALL_WEIGHT_BYTES;
                    outbox.hold(weight);
                    let (settings, outbox) = (self.settings.clone(), outbox.clone());
                    self.service.call(from, frame.payload, Answer { settings, outbox, id: frame.id, weight });
                }
                Kind::Tell => self.service.tell(from, frame.payload),
                Kind::Answer | Kind::Greeting => return Err(FrameError::Kind),
            }
            outbox.room().await;
        }
        Ok(())
    }
}

/// A connection's place in the list; leaving it closes the connection's outbox.
struct Seat<'a> {
    hall: &'a Hall,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if let Some(guest) = self.hall.guests.lock().remove(&self.number) {
            guest.outbox.close();
            self.hall.settings.seats.leave(guest.node, guest.start_number, self.number);
        }
    }
}
