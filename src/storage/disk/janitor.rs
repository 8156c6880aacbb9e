//! Takes the bins out by the back door, and has most bills paid before anybody closes the till.
//!
//! # Contract
//! - What fjall is about to throw away is dropped here; see [`Bin`].
//! - After [`Janitor::write_out`] a segment of the log is written out, under no lock. That promises nothing: the sync that
//!   counts still comes, and finds little left to do.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::flusher::Shelf;
use crate::storage::fjall::Bin;

/// How often it looks round.
const ROUND: Duration = Duration::from_millis(50);

/// The thread, for as long as the engine is open.
pub(super) struct Janitor {
    wanted: Option<SyncSender<Arc<File>>>,
    thread: Option<JoinHandle<()>>,
}

impl Janitor {
    pub(super) fn start(shelf: Arc<Shelf>) -> std::io::Result<Janitor> {
        let (wanted, asked) = sync_channel::<Arc<File>>(1);
        let thread = std::thread::Builder::new().name("janitor".into()).spawn(move || {
            let mut bins = shelf.tables.bins();
            loop {
                match asked.recv_timeout(ROUND) {
                    // Errors are the real sync's to tell.
                    Ok(file) => drop(file.sync_data()),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                bins.iter_mut().for_each(Bin::empty);
            }
        })?;
        Ok(Janitor { wanted: Some(wanted), thread: Some(thread) })
    }

    /// Asks for a file to be written out soon. Never waits; while it was asked and has not begun, asking again is free.
    pub(super) fn write_out(&self, file: Arc<File>) {
        if let Some(wanted) = &self.wanted {
            drop(wanted.try_send(file));
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
