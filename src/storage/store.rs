//! The store: reading and changing records, with a thread that commits, and perhaps a task.
//!
//! See [`storage`](super) for the picture. A change happens on the caller's thread, under the key's lock, and is visible
//! at once; the commit thread writes it down with everybody else's and then says so, or, where that takes no time, a task of
//! the caller's runtime ([`Store::attend`]). Callers never wait for the disk, except where a read misses.
//!
//! # Contract
//! - [`edit`](Store::edit) is atomic per key. The closure runs under a lock: it must not call the store, nor block.
//! - A `done` closure runs once its whole group is committed, in the order of submission, one at a time, on the thread of
//!   whoever commits: it must be cheap and must not wait for the store. With [`StoreSettings::inline`] it runs inside
//!   `submit`.
//! - Readers may see what is not committed, as they may see another replica's write that missed its quorum.
//! - Submit only after [`flushed`](Store::flushed) has been awaited now and then: that is what bounds the queue.
//! - When the disk has less space than the floor, edits are refused until there is more; reads, commits and edits of a batch
//!   that makes room go on. After a commit that failed, see [`recovery`](super::recovery).

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::batch::{Batch, Edit, Keyed, Parts};
use super::core::Core;
use super::engine::{Engine, Space, Visit, check_key};
use super::error::StorageError;
use super::home::Home;
use super::mark::BatchMark;
use super::recovery::OnReopened;
use super::reopen::count_hints;
use super::stats::StoreStats;

/// When commits are fsynced: Redis's `appendfsync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before anyone is told.
    Always,
    /// Once a second.
    EverySec,
    /// When the operating system likes.
    No,
}

/// How a store works.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// When commits are fsynced.
    pub fsync: Fsync,
    /// No thread: every submission is committed by its caller, and nothing happens by itself; whoever wants a sync every
    /// second calls [`Store::sync`], and the disk floor is looked at only at the start. For simulation.
    pub inline: bool,
    /// Beyond this many bytes on the way, [`Store::flushed`] waits.
    pub queued_bytes_max: u64,
    /// Bytes for records cached in front of the engine; zero: none.
    pub cache_bytes: u64,
    /// Below this much free disk space edits are refused; zero: never.
    pub free_bytes_min: u64,
}

impl Default for StoreSettings {
    fn default() -> StoreSettings {
        StoreSettings {
            fsync: Fsync::EverySec,
            inline: false,
            queued_bytes_max: 32 << 20,
            cache_bytes: 4 << 20,
            free_bytes_min: 0,
        }
    }
}

/// A batch is in the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// It has been fsynced, too.
    pub durable: bool,
    /// The number of the engine batch it went in with, or of the last one; see [`Store::durable`].
    pub number: u64,
}

/// What is told when a batch is committed, or not.
pub type Done = Box<dyn FnOnce(Result<Committed, StorageError>) + Send>;

/// The store. See the module.
pub struct Store {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// A store on an engine that ended with batch `last`. With a home it keeps the mark there. Counts the hints, some
    /// microseconds for each. Fails when they cannot be read, or the commit thread cannot be started.
    pub fn new(
        engine: Arc<dyn Engine>,
        settings: StoreSettings,
        home: Option<Arc<Home>>,
        last: BatchMark,
    ) -> std::io::Result<Store> {
        let inline = settings.inline;
        let hints = count_hints(&*engine).map_err(std::io::Error::other)?;
        let core = Arc::new(Core::new(engine, settings, home, last, hints));
        let thread = if inline { None } else { start_committing(core.clone())? };
        Ok(Store { core, thread: Mutex::new(thread) })
    }

    /// The record of a key in [`Space::Objects`]: the newest, committed or not. May read the disk.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.core.newest(key)
    }

    /// What is committed under a key of another space.
    pub fn get_other(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.core.engine.get(space, key)
    }

    /// Changes a record: `change` gets the newest one and returns an answer for the caller and the new record; none
    /// leaves it as it is. As [`Store::edit`], for those who never remove.
    pub fn update<T>(
        &self,
        batch: &mut Batch,
        key: &[u8],
        change: impl FnOnce(Option<Bytes>) -> (T, Option<Keyed>),
    ) -> Result<T, StorageError> {
        self.edit(batch, key, |old| {
            let (answer, new) = change(old);
            (answer, new.map_or(Edit::Keep, Edit::Put))
        })
    }

    /// Changes a record, atomically among all who change that key. The new record is visible at once and goes to disk
    /// with the batch. On an error nothing was changed.
    pub fn edit<T>(
        &self,
        batch: &mut Batch,
        key: &[u8],
        change: impl FnOnce(Option<Bytes>) -> (T, Edit),
    ) -> Result<T, StorageError> {
        let core = &*self.core;
        check_key(key)?;
        core.check_open(batch.parts.makes_room)?;
        batch.core.get_or_insert_with(|| self.core.clone());
        batch.parts.failures_seen.get_or_insert_with(|| core.counters.failures.load(Ordering::Acquire));
        let changing = core.overlay.lock(key);
        let looked = changing.look(key);
        let seen_uncommitted = looked.is_ok();
        let old = looked.or_else(|sign| core.committed(key, sign))?;
        let (answer, edit) = change(old);
        let (key, value) = match edit {
            Edit::Keep if !seen_uncommitted => return Ok(answer),
            Edit::Keep => {
                batch.parts.touch(changing.key(Bytes::copy_from_slice(key)), 0);
                return Ok(answer);
            }
            Edit::Put(keyed) => {
                debug_assert_eq!(keyed.key(), key, "a record is put under its own key");
                (keyed.key(), Some(keyed.record()))
            }
            Edit::Remove => (Bytes::copy_from_slice(key), None),
        };
        let bytes = value.as_ref().map_or(0, Bytes::len);
        core.largest.note(bytes);
        let pinned = changing.put(key, value, |key, value| core.cache.put(key, value));
        batch.parts.touch(pinned, bytes);
        Ok(answer)
    }

    /// The life of the attendant, who commits on the caller's runtime what takes no time; see `attendant`. It ends when it is
    /// dropped, and another may follow. One at a time.
    pub fn attend(&self) -> impl Future<Output = ()> + Send + use<> {
        self.core.clone().attend()
    }

    /// How many groups could not be committed in this life. Whoever reads a record that such a group would have changed
    /// finds the group counted here afterwards, though its writers may not have been told yet.
    pub fn losses(&self) -> u64 {
        self.core.counters.losses.load(Ordering::Acquire)
    }

    /// Adds a change in another space than [`Space::Objects`]; visible once committed. Within one key, batches apply in
    /// the order of submission. A key no engine holds makes the whole batch fail when it is submitted.
    pub fn put_other(&self, batch: &mut Batch, space: Space, key: Bytes, value: Option<Bytes>) {
        debug_assert_ne!(space, Space::Objects, "objects are changed by edit, under their key's lock");
        batch.core.get_or_insert_with(|| self.core.clone());
        let writes = value.is_some();
        if batch.parts.put_other(space, key.clone(), value) {
            self.core.others.set_out(space, key, writes);
        }
    }

    /// Whether another space than [`Space::Objects`] holds something under a key, or will when all batches are committed;
    /// none: it does until one is. Only a caller who keeps others from adding to their batches meanwhile may build on it.
    pub fn holds_other(&self, space: Space, key: &Bytes) -> Result<Option<bool>, StorageError> {
        // In this order: what is under way now may be committed a moment later.
        match self.core.others.writes(space, key) {
            Some(writes) => Ok(writes.then_some(true)),
            None => Ok(Some(self.core.engine.get(space, key)?.is_some())),
        }
    }

    /// Hands a batch in; `done` is told when it is committed. With `sync` its group is fsynced before that, whatever
    /// [`Fsync`] says.
    pub fn submit(&self, mut batch: Batch, sync: bool, done: Done) {
        self.core.submit(std::mem::take(&mut batch.parts), sync, done);
    }

    /// The size of the largest record ever seen here, or more; small ones are not told apart.
    pub fn largest_record_bytes(&self) -> u64 {
        self.core.largest.bytes()
    }

    /// A record of this size was seen that does not lie here.
    pub fn note_record_bytes(&self, bytes: usize) {
        self.core.largest.note(bytes);
    }

    /// Back-pressure: waits while more bytes are on their way than [`StoreSettings::queued_bytes_max`].
    pub fn flushed(&self) -> impl Future<Output = ()> + Send + '_ {
        let core = &*self.core;
        wait_until(&core.room, move || {
            core.counters.queued_bytes.load(Ordering::Acquire) <= core.settings.queued_bytes_max
        })
    }

    /// Waits until engine batch `number` is fsynced; for ever, if [`Fsync::No`] and nobody asks for a sync.
    pub fn durable(&self, number: u64) -> impl Future<Output = ()> + Send + '_ {
        let core = &*self.core;
        wait_until(&core.synced, move || core.counters.durable_number.load(Ordering::Acquire) >= number)
    }

    /// Shows what is *committed*, from one moment, in key order; call [`Store::settle`] before to see everything
    /// submitted. The visitor must not call the store. Reads the disk.
    pub fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), StorageError> {
        self.core.engine.scan(space, from, to, visit)
    }

    /// The keys of all records that are changed and not committed, submitted or not. What is changed before this call is
    /// either among them or shown by a later [`Store::scan`].
    pub fn uncommitted_keys(&self) -> Vec<Bytes> {
        self.core.overlay.keys()
    }

    /// Blocks until everything submitted so far is committed. Never call it in a `done`.
    pub fn settle(&self) -> Result<(), StorageError> {
        self.wait(false)
    }

    /// Blocks until everything submitted so far is fsynced. Never call it in a `done`.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.wait(true)
    }

    fn wait(&self, sync: bool) -> Result<(), StorageError> {
        let (told, hear) = mpsc::sync_channel(1);
        let done = move |result: Result<Committed, StorageError>| drop(told.send(result.map(drop)));
        self.core.submit(Parts::default(), sync, Box::new(done));
        #[cfg(feature = "simulation")]
        self.core.commit_waiting();
        hear.recv().unwrap_or(Err(StorageError::Stopped))
    }

    /// Changes when commits are fsynced, from the next group on.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.core.set_fsync(fsync);
    }

    /// Sets [`StoreSettings::free_bytes_min`]. A store without a thread goes by it from the next look on.
    pub fn set_free_bytes_min(&self, bytes: u64) {
        self.core.set_free_bytes_min(bytes);
    }

    /// Whether edits are taken: there is room, and the engine has not failed. Cheap.
    pub fn is_writable(&self) -> bool {
        !self.core.broken.load(Ordering::Relaxed) && !self.core.disk_full.load(Ordering::Relaxed)
    }

    /// Who is told when the engine was opened again after a disk error. Only the first call counts.
    pub fn on_reopened(&self, told: OnReopened) {
        // An error gives back what a second call brought.
        let _ = self.core.on_reopened.set(told);
    }

    /// How long the longest fsync took since this was last asked, in microseconds.
    pub fn take_sync_most_us(&self) -> u64 {
        self.core.counters.sync_most_us.swap(0, Ordering::Relaxed)
    }

    /// What the store has done and is doing.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            uncommitted_keys: self.core.overlay.len() as u64,
            disk_full: self.core.disk_full.load(Ordering::Relaxed),
            broken: self.core.broken.load(Ordering::Relaxed),
            free_bytes: self.core.free_bytes.load(Ordering::Relaxed),
            ..self.core.counters.read()
        }
    }

    /// Commits what was submitted, syncs, notes in the home that this was a clean stop (unless a write failed in this
    /// life), and ends the thread. Later submissions are refused. Blocks; never call it in a `done`.
    pub fn stop(&self) {
        self.core.announce_stop();
        #[cfg(feature = "simulation")]
        self.core.commit_waiting();
        self.end();
    }

    fn end(&self) {
        self.core.queue.close();
        match self.thread.lock().take() {
            // The last owner may be a `done` on the commit thread itself; it ends by itself then.
            Some(thread) if thread.thread().id() == std::thread::current().id() => (),
            Some(thread) => drop(thread.join()),
            None => self.core.finish(),
        }
    }
}

impl Drop for Store {
    /// Commits what was submitted, but neither syncs it nor calls it a clean stop: to the next life it is a crash.
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(not(feature = "simulation"))]
fn start_committing(core: Arc<Core>) -> std::io::Result<Option<JoinHandle<()>>> {
    std::thread::Builder::new().name("commit".into()).spawn(move || core.run()).map(Some)
}

/// A simulation has one thread. On a runtime of its hosts the committer is a task; elsewhere (unit tests) a thread.
#[cfg(feature = "simulation")]
fn start_committing(core: Arc<Core>) -> std::io::Result<Option<JoinHandle<()>>> {
    if turmoil::in_simulation() {
        drop(tokio::spawn(core.run_as_task()));
        return Ok(None);
    }
    std::thread::Builder::new().name("commit".into()).spawn(move || core.run()).map(Some)
}

/// Waits until `ready`, which is looked at again after every notification.
async fn wait_until(notify: &Notify, ready: impl Fn() -> bool + Send) {
    loop {
        let notified = notify.notified();
        if ready() {
            return;
        }
        notified.await;
    }
}
