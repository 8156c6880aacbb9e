//! One connection of a link, from handshake to end: requests go out, answers come in, overdue calls are given up.

use super::{CallError, Done, Link};
use crate::peer::frame::{FrameError, FrameReader, Kind};
use crate::peer::outbox::Outbox;
use crate::peer::settings::PeerStats;
use crate::world::net::{OwnedReadHalf, OwnedWriteHalf};
use bytes::{Bytes, BytesMut};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

impl Link {
    /// Runs the connection until it ends.
    pub(super) async fn converse(
        self: Arc<Link>,
        (read, write): (OwnedReadHalf, OwnedWriteHalf),
        buffer: BytesMut,
        outbox: Arc<Outbox>,
    ) -> Result<Infallible, Ending> {
        let mut writer = JoinSet::new();
        let (settings, sent) = (self.settings.clone(), outbox.clone());
        writer.spawn(async move { sent.write_out(write, &settings.stats).await });
        tokio::select! {
            // In this order, or a peer that never pauses would keep overdue calls from being found.
            biased;
            ending = self.sweep_for_ever() => ending,
            joined = writer.join_next() => match joined {
                Some(Ok(Err(error))) => Err(Ending::Io(error)),
                _ => Err(Ending::Closed),
            },
            ending = self.read_answers(read, buffer) => ending,
        }
    }

    async fn read_answers(&self, mut read: OwnedReadHalf, mut buffer: BytesMut) -> Result<Infallible, Ending> {
        let reader = FrameReader::new(self.settings.limits.frame_bytes_max);
        loop {
            let mut answers = Vec::new();
            let next = loop {
                match reader.next(&mut buffer) {
                    Ok(Some(frame)) if frame.kind == Kind::Answer => answers.push((frame.id, frame.payload)),
                    Ok(Some(_)) => break Err(FrameError::Kind),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            self.deliver(answers);
            if let Err(error) = next {
                PeerStats::add(&self.settings.stats.frames_corrupt, 1);
                return Err(Ending::Frame(error));
            }
            reader.make_room(&mut buffer);
            let bytes = read.read_buf(&mut buffer).await?;
            if bytes == 0 {
                return Err(Ending::Closed);
            }
            PeerStats::add(&self.settings.stats.bytes_in, bytes);
            self.state.lock().unheard_since = None;
        }
    }

    fn deliver(&self, answers: Vec<(u64, Bytes)>) {
        if answers.is_empty() {
            return;
        }
        PeerStats::add(&self.settings.stats.frames_in, answers.len());
        let mut found = Vec::with_capacity(answers.len());
        {
            let mut state = self.state.lock();
            for (id, answer) in answers {
                match state.pending.remove(&id) {
                    Some(pending) => found.push((pending.done, answer)),
                    None => PeerStats::add(&self.settings.stats.answers_late, 1),
                }
            }
        }
        for (done, answer) in found {
            done(Ok(answer));
        }
    }

    /// Fails overdue calls. Rests while no call is pending.
    async fn sweep_for_ever(&self) -> Result<Infallible, Ending> {
        loop {
            sleep(self.settings.limits.sweep).await;
            let late = self.take_late();
            PeerStats::add(&self.settings.stats.calls_late, late.len());
            let any = !late.is_empty();
            for done in late {
                done(Err(CallError::Late));
            }
            let (sweeping, unheard_since) = {
                let state = self.state.lock();
                (state.sweeping, state.unheard_since)
            };
            if any && unheard_since.is_some_and(|since| since.elapsed() >= self.settings.limits.silence) {
                return Err(Ending::Silent);
            }
            if !sweeping {
                self.sweep.notified().await;
            }
        }
    }

    fn take_late(&self) -> Vec<Done> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let late: Vec<u64> = state.pending.iter().filter(|(_, call)| call.deadline <= now).map(|(id, _)| *id).collect();
        let late = late.iter().filter_map(|id| state.pending.remove(id)).map(|call| call.done).collect();
        state.sweeping = !state.pending.is_empty();
        late
    }
}

/// How a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ending {
    #[error("the peer closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Frame(FrameError),
    #[error("calls went out, and nothing at all came back for too long")]
    Silent,
}
