//! Takes the bins out by the back door: what fjall is about to throw away is dropped here; see [`Bin`].

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::flusher::Shelf;
use crate::storage::fjall::Bin;

/// How often it looks round.
const ROUND: Duration = Duration::from_millis(50);

/// The thread, for as long as the engine is open.
pub(super) struct Janitor {
    /// Dropped, it ends the thread; nothing is ever sent.
    employed: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub(super) fn start(shelf: Arc<Shelf>) -> std::io::Result<Janitor> {
        let (employed, asked) = channel();
        let thread = std::thread::Builder::new().name("janitor".into()).spawn(move || {
            let mut bins = shelf.tables.bins();
            while asked.recv_timeout(ROUND) == Err(RecvTimeoutError::Timeout) {
                bins.iter_mut().for_each(Bin::empty);
            }
        })?;
        Ok(Janitor { employed: Some(employed), thread: Some(thread) })
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.employed.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
