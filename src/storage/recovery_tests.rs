//! An engine that fails, and what the store makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::batch::{Batch, Keyed};
use super::engine::{Engine, Space, Visit, Write};
use super::error::StorageError;
use super::home::Home;
use super::mark::BatchMark;
use super::memory::MemoryEngine;
use super::recovery::Reopened;
use super::reopen::Reopenable;
use super::store::{Fsync, Store, StoreSettings};
use super::store_tests::{heard, submit};

/// A disk that outlives its engine.
#[derive(Clone)]
struct Disk(Arc<MemoryEngine>);

impl Engine for Disk {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.0.get(space, key)
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        self.0.commit(writes, sync)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.0.sync()
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.0.scan(space, from, to, visit)
    }

    fn disk_bytes(&self) -> u64 {
        self.0.disk_bytes()
    }
}

/// A store on such a disk, and what happens when it is opened again.
struct Bench {
    disk: Arc<MemoryEngine>,
    store: Store,
    told: Arc<Mutex<Vec<Reopened>>>,
    opened: Arc<AtomicUsize>,
    refuses_to_open: Arc<AtomicBool>,
}

fn bench(fsync: Fsync, loses_on_opening: bool, home: Option<Arc<Home>>) -> Bench {
    let disk = Arc::new(MemoryEngine::with_crashes());
    let (opened, refuses_to_open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (again, counted, refuses) = (disk.clone(), opened.clone(), refuses_to_open.clone());
    let open = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        if refuses.load(Ordering::Relaxed) {
            return Err("told to refuse".to_owned());
        }
        if loses_on_opening {
            again.crash(0);
        }
        Ok(Box::new(Disk(again.clone())) as Box<dyn Engine>)
    };
    let engine = Reopenable::new(Box::new(Disk(disk.clone())), Box::new(open));
    let settings = StoreSettings { fsync, cache_bytes: 0, ..StoreSettings::default() };
    let store = Store::new(Arc::new(engine), settings, home, BatchMark::default()).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = told.clone();
    store.on_reopened(Box::new(move |reopened| hear.lock().push(reopened)));
    Bench { disk, store, told, opened, refuses_to_open }
}

fn put(store: &Store, key: &'static str) -> Result<(), StorageError> {
    let mut batch = Batch::new();
    store.update(&mut batch, key.as_bytes(), |_| ((), Some(Keyed::copied(key, "v"))))?;
    heard(&submit(store, batch, false)).map(drop)
}

fn until(what: &str, ready: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !ready() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn after_an_error_writes_are_refused_reads_go_on_and_it_is_opened_again_when_it_can() {
    let bench = bench(Fsync::Always, false, None);
    put(&bench.store, "a").unwrap();
    bench.disk.refuse_writes(true);
    assert!(matches!(put(&bench.store, "b"), Err(StorageError::Write { .. })), "in doubt");
    assert_eq!(put(&bench.store, "c"), Err(StorageError::Poisoned), "refused before anything is changed");
    assert!(!bench.store.is_writable());
    assert_eq!(bench.store.get(b"a").unwrap(), Some("v".into()));
    until("it is tried in vain", || bench.opened.load(Ordering::Relaxed) > 0);
    assert_eq!(bench.store.get(b"a").unwrap(), Some("v".into()));
    bench.disk.refuse_writes(false);
    until("it takes writes again", || bench.store.is_writable());
    put(&bench.store, "d").unwrap();
    assert_eq!((bench.store.get(b"a").unwrap(), bench.store.get(b"b").unwrap()), (Some("v".into()), None));
    assert!(bench.told.lock().iter().all(|reopened| !reopened.lost));
    let stats = bench.store.stats();
    assert_eq!((stats.broken, stats.recoveries), (false, 1));
}

#[test]
fn what_was_acknowledged_and_is_gone_after_opening_is_noticed_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let home = Arc::new(Home::open(dir.path(), "c", None).unwrap());
    let bench = bench(Fsync::No, true, Some(home.clone()));
    put(&bench.store, "unsynced").unwrap();
    bench.disk.refuse_writes(true);
    put(&bench.store, "failed").unwrap_err();
    bench.disk.refuse_writes(false);
    until("it takes writes again", || bench.store.is_writable());
    assert_eq!(bench.told.lock().as_slice(), [Reopened { lost: true }]);
    assert!(home.loss_found().unwrap());
    assert_eq!(bench.store.get(b"unsynced").unwrap(), None, "so it was");
}

#[test]
fn a_number_that_was_synced_and_is_gone_is_noticed() {
    let bench = bench(Fsync::Always, false, None);
    put(&bench.store, "a").unwrap();
    bench.disk.refuse_writes(true);
    put(&bench.store, "b").unwrap_err();
    bench.disk.refuse_writes(false);
    // The record is there, the number beside it is not that of the commit.
    let older = BatchMark { number: 0, checksum: 7 }.write();
    bench.disk.commit(&[older], true).unwrap();
    until("it takes writes again", || bench.store.is_writable());
    assert_eq!(bench.told.lock().as_slice(), [Reopened { lost: true }]);
    put(&bench.store, "c").unwrap();
}

#[test]
fn while_it_cannot_be_opened_reads_fail_at_once_and_go_on_afterwards() {
    let bench = bench(Fsync::Always, false, None);
    put(&bench.store, "a").unwrap();
    bench.refuses_to_open.store(true, Ordering::Relaxed);
    bench.disk.refuse_writes(true);
    put(&bench.store, "b").unwrap_err();
    until("it is closed", || bench.store.get(b"a") == Err(StorageError::Closed));
    bench.disk.refuse_writes(false);
    bench.refuses_to_open.store(false, Ordering::Relaxed);
    until("it takes writes again", || bench.store.is_writable());
    assert_eq!(bench.store.get(b"a").unwrap(), Some("v".into()));
    assert_eq!(bench.told.lock().as_slice(), [Reopened { lost: false }]);
}

#[test]
fn an_engine_in_use_is_not_closed_under_its_reader() {
    let disk = Arc::new(MemoryEngine::new());
    let again = disk.clone();
    let open = move || Ok(Box::new(Disk(again.clone())) as Box<dyn Engine>);
    let engine = Arc::new(Reopenable::new(Box::new(Disk(disk.clone())), Box::new(open)));
    disk.commit(&[Write { space: Space::Objects, key: "a".into(), value: Some("1".into()) }], true).unwrap();
    let (reads, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let reader = {
        let (engine, reads, read) = (engine.clone(), reads.clone(), read.clone());
        std::thread::spawn(move || {
            engine.scan(Space::Objects, b"", None, &mut |_, _| {
                reads.store(true, Ordering::Release);
                std::thread::sleep(Duration::from_millis(50));
                read.store(true, Ordering::Release);
                std::ops::ControlFlow::Continue(())
            })
        })
    };
    until("it reads", || reads.load(Ordering::Acquire));
    engine.reopen(&mut |_| if read.load(Ordering::Acquire) { Ok(()) } else { Err(StorageError::Stopped) }).unwrap();
    reader.join().unwrap().unwrap();
    assert_eq!(engine.get(Space::Objects, b"a").unwrap(), Some("1".into()));
}

#[test]
fn below_the_floor_only_what_makes_room_is_edited() {
    let dir = tempfile::tempdir().unwrap();
    let home = Arc::new(Home::open(dir.path(), "c", None).unwrap());
    let bench = bench(Fsync::No, false, Some(home));
    put(&bench.store, "a").unwrap();
    bench.store.set_free_bytes_min(u64::MAX);
    until("the floor holds", || !bench.store.is_writable());
    assert!(matches!(put(&bench.store, "b"), Err(StorageError::DiskFull { .. })));
    let mut batch = Batch::making_room();
    bench.store.edit(&mut batch, b"a", |_| ((), super::batch::Edit::Remove)).unwrap();
    heard(&submit(&bench.store, batch, false)).unwrap();
    assert_eq!(bench.store.get(b"a").unwrap(), None);
    bench.store.set_free_bytes_min(0);
    until("there is room", || bench.store.is_writable());
    put(&bench.store, "b").unwrap();
    assert!(bench.store.stats().free_bytes < u64::MAX);
}
