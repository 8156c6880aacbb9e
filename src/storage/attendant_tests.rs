//! The attendant: what it takes on, what it leaves to the thread, and that nothing waits for one who is not there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::batch::Batch;
use super::engine::Space;
use super::memory::MemoryEngine;
use super::store::{Fsync, Store};
use super::store_tests::{GatedEngine, attended, heard, put, store, submit};

fn one(store: &Store) -> Batch {
    let mut batch = Batch::new();
    put(store, &mut batch, "a", "1");
    batch
}

/// The name of the thread that commits a batch.
fn committed_by(engine: &GatedEngine, store: &Store, batch: Batch, sync: bool) -> String {
    heard(&submit(store, batch, sync)).unwrap();
    engine.threads.lock().last().unwrap().clone()
}

/// Waits until the attendant commits, as it does once it is there.
fn wait_for_attendant(engine: &GatedEngine, store: &Store) -> Duration {
    let begun = Instant::now();
    while committed_by(engine, store, one(store), false) != "runtime" {
        assert!(begun.elapsed() < Duration::from_secs(10), "the attendant comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    begun.elapsed()
}

#[test]
fn light_work_is_the_attendant_s_and_all_else_the_thread_s() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::No, false);
    assert_eq!(committed_by(&engine, &store, one(&store), false), "commit", "nobody is there");
    let attendant = attended(&store);
    wait_for_attendant(&engine, &store);
    let by = |batch, sync| committed_by(&engine, &store, batch, sync);
    assert_eq!(by(one(&store), true), "commit", "it takes a sync");

    let mut batch = one(&store);
    store.put_other(&mut batch, Space::Hints, "h".into(), Some("1".into()));
    assert_eq!(by(batch, false), "commit", "hints are looked up");

    let mut batch = Batch::new();
    for at in 0..1100 {
        let value = vec![0; 1000];
        let key = format!("{at}");
        store.update(&mut batch, key.as_bytes(), |_| ((), Some(super::batch::Keyed::copied(&key, value)))).unwrap();
    }
    assert_eq!(by(batch, false), "commit", "it is more than a mebibyte");

    engine.at_leisure.store(false, Ordering::Relaxed);
    assert_eq!(by(one(&store), false), "commit", "the engine is not at leisure");
    engine.at_leisure.store(true, Ordering::Relaxed);
    wait_for_attendant(&engine, &store);

    store.set_fsync(Fsync::Always);
    assert_eq!(by(one(&store), false), "commit", "every commit takes a sync");
    store.set_fsync(Fsync::No);
    wait_for_attendant(&engine, &store);
    drop(attendant);
    assert_eq!(by(one(&store), false), "commit", "nobody is there any more");
}

#[test]
fn what_ready_tasks_submit_is_one_commit_told_in_order() {
    let engine = GatedEngine::new();
    let store = Arc::new(store(engine.clone(), Fsync::No, false));
    let runtime = attended(&store);
    wait_for_attendant(&engine, &store);
    let before = engine.threads.lock().len();
    let (tell, told) = std::sync::mpsc::channel();
    let submitted = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (noted, shared) = (submitted.clone(), store.clone());
    runtime.spawn(async move {
        for at in 0..5 {
            let (store, tell, submitted) = (shared.clone(), tell.clone(), noted.clone());
            tokio::spawn(async move {
                submitted.lock().push(at);
                store.submit(one(&store), false, Box::new(move |_| tell.send(at).unwrap()));
            });
        }
    });
    let told: Vec<i32> = told.iter().collect();
    assert_eq!((told.len(), &told), (5, &*submitted.lock()));
    assert_eq!(engine.threads.lock()[before..], ["runtime"]);
}

#[test]
fn while_a_sync_is_under_way_the_thread_commits() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::EverySec, false);
    let _attendant = attended(&store);
    wait_for_attendant(&engine, &store);
    let held_up = engine.syncing.lock();
    let begun = Instant::now();
    while (0..20).any(|_| committed_by(&engine, &store, one(&store), false) != "commit") {
        assert!(begun.elapsed() < Duration::from_secs(10), "a sync is due every second");
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(held_up);
    wait_for_attendant(&engine, &store);
}

#[test]
fn what_an_attendant_leaves_behind_is_the_thread_s() {
    let store = store(Arc::new(MemoryEngine::new()), Fsync::No, false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.spawn(store.attend());
    runtime.block_on(tokio::task::yield_now());
    let hear = submit(&store, one(&store), false);
    assert!(hear.recv_timeout(Duration::from_millis(50)).is_err(), "the attendant has not been woken");
    drop(runtime);
    heard(&hear).unwrap();
}

#[test]
fn who_waits_on_the_attendant_s_own_thread_is_told() {
    let store = Arc::new(store(Arc::new(MemoryEngine::new()), Fsync::No, false));
    let runtime = attended(&store);
    let (told, hear) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        store.submit(one(&store), false, Box::new(|_| ()));
        told.send(store.settle()).unwrap();
    });
    assert_eq!(hear.recv_timeout(Duration::from_secs(5)), Ok(Ok(())));
}

#[test]
fn after_a_slow_commit_the_thread_does_it_for_a_second() {
    let engine = GatedEngine::new();
    let store = store(engine.clone(), Fsync::No, false);
    let _attendant = attended(&store);
    wait_for_attendant(&engine, &store);
    engine.shut(true);
    let slow = submit(&store, one(&store), false);
    std::thread::sleep(Duration::from_millis(60));
    let begun = Instant::now();
    engine.shut(false);
    heard(&slow).unwrap();
    // The attendant tells before it leaves.
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(committed_by(&engine, &store, one(&store), false), "commit");
    wait_for_attendant(&engine, &store);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_store_may_be_let_go_of_in_what_the_attendant_tells() {
    let engine = Arc::new(MemoryEngine::with_crashes());
    let store = store(engine.clone(), Fsync::No, false);
    let _attendant = attended(&store);
    let batch = one(&store);
    let (told, hear) = std::sync::mpsc::channel();
    let shared = Arc::new(store);
    let last = shared.clone();
    shared.submit(
        batch,
        false,
        Box::new(move |result| {
            // Whoever else holds it lets go of it meanwhile.
            while Arc::strong_count(&last) > 1 {
                std::thread::yield_now();
            }
            drop(last);
            told.send(result).unwrap();
        }),
    );
    drop(shared);
    assert!(hear.recv_timeout(Duration::from_secs(5)).unwrap().is_ok());
}
