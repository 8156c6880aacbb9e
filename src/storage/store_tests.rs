//! The store's promises that are easy to break: order, barriers, failures.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::batch::{Batch, Keyed};
use super::engine::{Engine, Space, Visit, Write};
use super::error::StorageError;
use super::mark::BATCH_KEY;
use super::mark::BatchMark;
use super::memory::MemoryEngine;
use super::store::{Committed, Fsync, Store, StoreSettings};

/// A memory engine whose commits wait while the gate is shut, so that tests decide what falls into one group.
pub(super) struct GatedEngine {
    memory: MemoryEngine,
    shut: Mutex<bool>,
    opened: Condvar,
    commits: Mutex<Vec<Vec<Write>>>,
    /// The name of the thread of each commit.
    pub(super) threads: Mutex<Vec<String>>,
    pub(super) at_leisure: AtomicBool,
    /// Locked by a test, it holds up syncs.
    pub(super) syncing: Mutex<()>,
}

impl GatedEngine {
    pub(super) fn new() -> Arc<GatedEngine> {
        Arc::new(GatedEngine {
            memory: MemoryEngine::with_crashes(),
            shut: Mutex::new(false),
            opened: Condvar::new(),
            commits: Mutex::default(),
            threads: Mutex::default(),
            at_leisure: AtomicBool::new(true),
            syncing: Mutex::default(),
        })
    }

    pub(super) fn shut(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.opened.notify_all();
    }
}

impl Engine for GatedEngine {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.memory.get(space, key)
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        self.commits.lock().push(writes.to_vec());
        self.threads.lock().push(std::thread::current().name().unwrap_or_default().to_owned());
        let mut shut = self.shut.lock();
        while *shut {
            self.opened.wait(&mut shut);
        }
        self.memory.commit(writes, sync)
    }

    fn is_at_leisure(&self) -> bool {
        self.at_leisure.load(Ordering::Relaxed)
    }

    fn sync(&self) -> Result<(), StorageError> {
        let _held_up = self.syncing.lock();
        self.memory.sync()
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.memory.scan(space, from, to, visit)
    }

    fn disk_bytes(&self) -> u64 {
        self.memory.disk_bytes()
    }
}

pub(super) fn store(engine: Arc<dyn Engine>, fsync: Fsync, inline: bool) -> Store {
    let settings = StoreSettings { fsync, inline, queued_bytes_max: 1000, ..StoreSettings::default() };
    Store::new(engine, settings, None, BatchMark::default()).unwrap()
}

pub(super) fn put(store: &Store, batch: &mut Batch, key: &'static str, value: &'static str) {
    store.update(batch, key.as_bytes(), |_| ((), Some(Keyed::copied(key, value)))).unwrap();
}

fn keep(store: &Store, batch: &mut Batch, key: &'static str) -> Option<Bytes> {
    store.update(batch, key.as_bytes(), |old| (old, None)).unwrap()
}

pub(super) fn submit(store: &Store, batch: Batch, sync: bool) -> Receiver<Result<Committed, StorageError>> {
    let (told, hear) = channel();
    store.submit(batch, sync, Box::new(move |result| drop(told.send(result))));
    hear
}

pub(super) fn heard(hear: &Receiver<Result<Committed, StorageError>>) -> Result<Committed, StorageError> {
    hear.recv_timeout(Duration::from_secs(5)).unwrap()
}

fn is_ready(future: impl Future<Output = ()>) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
}

/// Shuts the gate and makes the commit thread stand at it.
fn stand_at_gate(engine: &GatedEngine, store: &Store) -> Receiver<Result<Committed, StorageError>> {
    engine.shut(true);
    let before = engine.commits.lock().len();
    let mut batch = Batch::new();
    put(store, &mut batch, "gate", "shut");
    let hear = submit(store, batch, false);
    while engine.commits.lock().len() == before {
        std::thread::yield_now();
    }
    hear
}

#[test]
fn a_change_is_seen_at_once_and_one_drain_is_one_commit_with_each_key_once() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::Always, false);
    let gate = stand_at_gate(&engine, &store);
    let mut hears = Vec::new();
    for value in ["1", "2", "3"] {
        let mut batch = Batch::new();
        put(&store, &mut batch, "a", value);
        put(&store, &mut batch, "b", value);
        store.put_other(&mut batch, Space::Hints, "h".into(), Some(value.into()));
        hears.push(submit(&store, batch, false));
        assert_eq!(store.get(b"a").unwrap(), Some(value.into()));
    }
    assert_eq!(engine.get(Space::Objects, b"a").unwrap(), None);
    assert!(hears.iter().all(|hear| hear.try_recv().is_err()));
    engine.shut(false);
    assert_eq!(heard(&gate), Ok(Committed { durable: true, number: 1 }));
    for hear in &hears {
        assert_eq!(heard(hear), Ok(Committed { durable: true, number: 2 }));
    }
    let commits = engine.commits.lock();
    let keys: Vec<_> = commits[1].iter().map(|write| (write.key.clone(), write.space)).collect();
    assert_eq!(
        keys,
        [
            ("a".into(), Space::Objects),
            ("b".into(), Space::Objects),
            ("h".into(), Space::Hints),
            (BATCH_KEY, Space::Meta)
        ]
    );
    assert!(commits[1][..3].iter().all(|write| write.value == Some("3".into())));
    let stats = store.stats();
    assert_eq!((stats.commits, stats.syncs, stats.commit_keys_last, stats.submissions), (2, 2, 3, 4));
    assert_eq!((stats.queued_bytes, stats.uncommitted_keys), (0, 0));
}

#[test]
fn a_look_at_an_uncommitted_value_waits_for_it_even_before_its_own_batch_is_submitted() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::No, false);
    let (mut writer, mut looker) = (Batch::new(), Batch::new());
    put(&store, &mut writer, "a", "1");
    assert_eq!(keep(&store, &mut looker, "a"), Some("1".into()));
    let looked = submit(&store, looker, true);
    assert_eq!(heard(&looked), Ok(Committed { durable: true, number: 1 }));
    assert_eq!(engine.memory.crash(0), 0);
    assert_eq!(engine.get(Space::Objects, b"a").unwrap(), Some("1".into()));
    assert_eq!(heard(&submit(&store, writer, false)), Ok(Committed { durable: true, number: 1 }));

    let mut nothing = Batch::new();
    keep(&store, &mut nothing, "a");
    assert!(nothing.is_empty(), "a committed record needs no barrier");
}

#[test]
fn commits_of_a_key_follow_its_edits_however_batches_are_submitted() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::No, false);
    let (mut first, mut second) = (Batch::new(), Batch::new());
    put(&store, &mut first, "a", "1");
    put(&store, &mut second, "a", "2");
    heard(&submit(&store, second, false)).unwrap();
    heard(&submit(&store, first, false)).unwrap();
    assert_eq!(engine.get(Space::Objects, b"a").unwrap(), Some("2".into()));
    assert_eq!(store.get(b"a").unwrap(), Some("2".into()));
}

#[test]
fn a_failed_group_leaves_the_board_and_fails_all_that_may_be_built_on_it() {
    let engine = Arc::new(MemoryEngine::new());
    let store = store(engine.clone(), Fsync::Always, false);
    let (mut writer, mut looker) = (Batch::new(), Batch::new());
    put(&store, &mut writer, "a", "1");
    keep(&store, &mut looker, "a");
    engine.refuse_writes(true);
    assert!(matches!(heard(&submit(&store, writer, false)), Err(StorageError::Write { .. })));
    assert_eq!(store.get(b"a").unwrap(), None);
    engine.refuse_writes(false);
    assert_eq!(heard(&submit(&store, looker, false)), Err(StorageError::Overtaken));
    let mut later = Batch::new();
    put(&store, &mut later, "a", "2");
    assert_eq!(heard(&submit(&store, later, false)), Ok(Committed { durable: true, number: 1 }));
    assert_eq!(store.stats().failures, 1);
}

#[test]
fn durable_is_said_only_after_a_sync() {
    let engine = Arc::new(MemoryEngine::with_crashes());
    let store = store(engine.clone(), Fsync::No, false);
    let mut batch = Batch::new();
    put(&store, &mut batch, "a", "1");
    assert_eq!(heard(&submit(&store, batch, false)), Ok(Committed { durable: false, number: 1 }));
    assert!(is_ready(store.durable(0)) && !is_ready(store.durable(1)));
    assert_eq!(heard(&submit(&store, Batch::new(), true)), Ok(Committed { durable: true, number: 1 }));
    assert!(is_ready(store.durable(1)));
    let mut batch = Batch::new();
    put(&store, &mut batch, "a", "2");
    heard(&submit(&store, batch, false)).unwrap();
    store.set_fsync(Fsync::EverySec);
    let mut batch = Batch::new();
    put(&store, &mut batch, "b", "2");
    assert!(!heard(&submit(&store, batch, false)).unwrap().durable);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), store.durable(3)).await });
    assert!(waited.is_ok(), "everysec syncs by itself");
    assert_eq!(engine.crash(0), 0);
}

#[test]
fn commits_go_on_beside_a_sync_of_every_second_and_wait_for_one_that_hangs() {
    let engine = GatedEngine::new();
    let held_up = engine.syncing.lock();
    let store = store(engine.clone(), Fsync::EverySec, false);
    let begun = std::time::Instant::now();
    let write = |value: &'static str| {
        let mut batch = Batch::new();
        put(&store, &mut batch, "a", value);
        submit(&store, batch, false)
    };
    let mut heard_since = Vec::new();
    let waiting = loop {
        let hear = write("1");
        match hear.recv_timeout(Duration::from_millis(300)) {
            Ok(committed) => heard_since.push((begun.elapsed(), committed.unwrap().number)),
            Err(_) => break hear,
        }
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody waits for the sync");
    };
    let (last, number) = *heard_since.last().unwrap();
    assert!(
        last > Duration::from_secs(2),
        "a sync is due after one second and may take two; commits ended after {last:?}"
    );
    assert!(!is_ready(store.durable(1)) && store.stats().syncs == 0);
    drop(held_up);
    heard(&waiting).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let waited = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), store.durable(number)).await });
    assert!(waited.is_ok(), "what was committed meanwhile is synced as well");
    store.stop();
    assert_eq!(engine.memory.crash(0), 0);
}

#[test]
fn callers_wait_while_too_much_is_on_its_way() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::No, false);
    let gate = stand_at_gate(&engine, &store);
    assert!(is_ready(store.flushed()));
    let mut batch = Batch::new();
    store.update(&mut batch, b"big", |_| ((), Some(Keyed::copied("big", [0; 2000])))).unwrap();
    let hear = submit(&store, batch, false);
    let mut waiting = pin!(store.flushed());
    let mut context = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    engine.shut(false);
    heard(&gate).unwrap();
    heard(&hear).unwrap();
    assert!(waiting.poll(&mut context).is_ready());
}

#[test]
fn a_dropped_batch_is_committed_and_a_stopped_store_refuses() {
    let engine = Arc::new(MemoryEngine::with_crashes());
    let store = store(engine.clone(), Fsync::No, false);
    let mut batch = Batch::new();
    put(&store, &mut batch, "a", "1");
    drop(batch);
    let mut late = Batch::new();
    put(&store, &mut late, "b", "1");
    store.stop();
    assert_eq!(engine.crash(0), 0, "a stop syncs");
    assert_eq!(engine.get(Space::Objects, b"a").unwrap(), Some("1".into()));
    assert_eq!(heard(&submit(&store, late, false)), Err(StorageError::Stopped));
    assert_eq!(store.settle(), Err(StorageError::Stopped));
    let edited = store.update(&mut Batch::new(), b"c", |_| ((), Some(Keyed::copied("c", "1"))));
    assert_eq!(edited, Err(StorageError::Stopped));
}

#[test]
fn a_panic_in_a_completion_does_not_end_the_thread_and_a_bad_key_fails_only_its_batch() {
    let store = store(Arc::new(MemoryEngine::new()), Fsync::No, false);
    let mut batch = Batch::new();
    put(&store, &mut batch, "a", "1");
    store.submit(batch, false, Box::new(|_| std::panic::resume_unwind(Box::new("on purpose"))));
    assert_eq!(store.settle(), Ok(()));
    let mut batch = Batch::new();
    store.put_other(&mut batch, Space::Hints, Bytes::new(), None);
    store.put_other(&mut batch, Space::Hints, "h".into(), Some("1".into()));
    assert_eq!(heard(&submit(&store, batch, false)), Err(StorageError::KeyLength { bytes: 0 }));
    assert_eq!(store.get_other(Space::Hints, b"h"), Ok(None));
    let edited = store.update(&mut Batch::new(), b"", |_| ((), None));
    assert_eq!(edited, Err(StorageError::KeyLength { bytes: 0 }));
}

/// An attendant with a runtime of its own, until it is dropped.
pub(super) fn attended(store: &Store) -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("runtime").enable_time().build().unwrap();
    runtime.spawn(store.attend());
    runtime
}

#[test]
fn threads_that_count_up_the_same_keys_lose_nothing() {
    count_up(false);
    count_up(true);
}

fn count_up(with_attendant: bool) {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 300;
    let engine = Arc::new(MemoryEngine::with_crashes());
    let store = store(engine.clone(), Fsync::EverySec, false);
    let _attendant = with_attendant.then(|| attended(&store));
    let number = |bytes: &Bytes| u64::from_be_bytes(bytes[..].try_into().unwrap());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let store = &store;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mut batch = Batch::new();
                    let key = [b'k', ((thread + round) % 3) as u8];
                    store
                        .update(&mut batch, &key, |old| {
                            let next = old.as_ref().map_or(0, number) + 1;
                            ((), Some(Keyed::copied(key, next.to_be_bytes())))
                        })
                        .unwrap();
                    let seen = store.get(&key).unwrap().as_ref().map(number);
                    assert!(seen.is_some());
                    let hear = submit(store, batch, round % 50 == 0);
                    if round % 7 == 0 {
                        heard(&hear).unwrap();
                    }
                }
            });
        }
    });
    store.settle().unwrap();
    let sum: u64 = (0..3u8).map(|n| number(&engine.get(Space::Objects, &[b'k', n]).unwrap().unwrap())).sum();
    assert_eq!(sum, THREADS * ROUNDS);
    assert_eq!(store.stats().uncommitted_keys, 0);
}
