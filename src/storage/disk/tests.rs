//! The engine on disk over several lives, against a plain map.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Tables so small that a handful of commits fill one.
fn small() -> DiskSettings {
    DiskSettings { cache_bytes: 1 << 20, memtable_bytes: 2_000, worker_threads: 1 }
}

fn write(space: Space, key: u8, value: Option<u8>) -> Write {
    let value = value.map(|value| Bytes::from(vec![value; 50 * usize::from(value) + 1]));
    Write { space, key: Bytes::from(vec![key, key]), value }
}

/// All of a space, without the engine's own note.
fn listing(engine: &DiskEngine, space: Space) -> Vec<(Bytes, Bytes)> {
    let mut seen = Vec::new();
    let mut note = |key: &[u8], value: &[u8]| {
        if key != FLUSHED_KEY {
            seen.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        }
        ControlFlow::Continue(())
    };
    engine.scan(space, &[], None, &mut note).unwrap();
    seen
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

/// Waits until all full tables are written out.
fn rest(engine: &DiskEngine) {
    let begun = Instant::now();
    while engine.shelf.full_tables() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody writes tables out");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Space, u8, Option<u8>)>, bool),
    Reopen,
    Rest,
}

fn step() -> impl Strategy<Value = Step> {
    let space = prop_oneof![4 => Just(Space::Objects), 1 => Just(Space::Hints), 1 => Just(Space::Meta)];
    let writes = proptest::collection::vec((space, 0u8..12, proptest::option::weighted(0.7, 0u8..9)), 1..6);
    prop_oneof![
        12 => (writes, any::<bool>()).prop_map(|(writes, sync)| Step::Commit(writes, sync)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Rest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_is_three_sorted_maps_that_survive_the_process(steps in proptest::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let mut engine = DiskEngine::open(folder.path(), &small()).unwrap();
        let mut model: [BTreeMap<Bytes, Bytes>; 3] = Default::default();
        for step in steps {
            match step {
                Step::Commit(writes, sync) => {
                    let writes: Vec<Write> =
                        writes.into_iter().map(|(space, key, value)| write(space, key, value)).collect();
                    engine.commit(&writes, sync).unwrap();
                    for Write { space, key, value } in writes {
                        match value {
                            Some(value) => drop(model[space.index()].insert(key, value)),
                            None => drop(model[space.index()].remove(&key)),
                        }
                    }
                }
                Step::Rest => rest(&engine),
                Step::Reopen => {
                    drop(engine);
                    engine = DiskEngine::open(folder.path(), &small()).unwrap();
                }
            }
            for space in Space::ALL {
                let key = [3, 3];
                prop_assert_eq!(&engine.get(space, &key).unwrap(), &model[space.index()].get(&key[..]).cloned());
            }
        }
        for space in Space::ALL {
            let wanted: Vec<_> = model[space.index()].clone().into_iter().collect();
            prop_assert_eq!(listing(&engine, space), wanted);
        }
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    for round in 0..40u8 {
        engine
            .commit(&[write(Space::Objects, round, Some(8)), write(Space::Hints, 1, Some(round % 9))], false)
            .unwrap();
        if round % 4 == 0 {
            // While tables are written out. A file that goes meanwhile was no longer needed: the copy is made anew.
            let killed = (0..50)
                .find_map(|_| {
                    let killed = tempfile::tempdir().unwrap();
                    let copied = std::panic::catch_unwind(|| copy(folder.path(), killed.path()));
                    copied
                        .ok()
                        .and_then(|()| DiskEngine::open(killed.path(), &small()).ok())
                        .map(|engine| (engine, killed))
                })
                .expect("some copy is whole");
            assert_eq!(listing(&killed.0, Space::Objects).len(), usize::from(round) + 1);
            let hint = Bytes::from(vec![round % 9; 50 * usize::from(round % 9) + 1]);
            assert_eq!(killed.0.get(Space::Hints, &[1, 1]).unwrap(), Some(hint));
        }
    }
}

#[test]
fn a_scan_sees_one_moment_and_keeps_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    let put = |keys: std::ops::Range<u8>, value| {
        let writes: Vec<Write> = keys.map(|key| write(Space::Objects, key, value)).collect();
        engine.commit(&writes, false).unwrap();
    };
    put(0..20, Some(4));
    put(0..20, Some(5));
    put(3..5, None);
    let moment = engine.shelf.moment(Space::Objects, &[2], Some(&[7]));
    put(0..20, None);
    rest(&engine);
    let mut seen = Vec::new();
    let tables = moment.tables.range(Space::Objects, &[2], Some(&[7]));
    merge::visit(moment.in_memory.iter().map(merge::layer).collect(), tables, &mut |key, value| {
        seen.push((key[0], value[0]));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, [(2, 5), (5, 5), (6, 5)]);
    assert_eq!(listing(&engine, Space::Objects), []);
}

#[test]
fn what_is_written_out_leaves_memory_and_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    for round in 0..60u8 {
        engine.commit(&[write(Space::Objects, round, Some(8))], false).unwrap();
    }
    rest(&engine);
    let begun = Instant::now();
    // Those made ahead are empty; one may just be deleted.
    let bytes = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.and_then(|entry| entry.metadata()).map_or(0, |file| file.len())
    };
    let segments =
        || std::fs::read_dir(log_folder(folder.path())).unwrap().map(bytes).filter(|bytes| *bytes > 0).count();
    while segments() > 1 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{} segments", segments());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(listing(&engine, Space::Objects).len(), 60);
    assert!(engine.disk_bytes() > 60 * 400);
}

#[test]
fn after_a_flush_that_fails_nothing_is_written_until_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    engine.commit(&[write(Space::Objects, 0, Some(8))], true).unwrap();
    engine.shelf.fail(&"the disk is full");
    assert_eq!(engine.commit(&[write(Space::Objects, 1, Some(1))], false), Err(StorageError::Poisoned));
    assert_eq!(engine.sync(), Err(StorageError::Poisoned));
    assert!(engine.get(Space::Objects, &[0, 0]).unwrap().is_some(), "reads go on");
    drop(engine);
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    engine.commit(&[write(Space::Objects, 1, Some(1))], true).unwrap();
    assert_eq!(listing(&engine, Space::Objects).len(), 2);
}

#[test]
fn what_an_older_release_left_in_fjalls_own_journal_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let database = ::fjall::Database::builder(folder.path()).open().unwrap();
    let objects = database.keyspace(Space::Objects.name(), ::fjall::KeyspaceCreateOptions::default).unwrap();
    objects.insert([1, 1], [9]).unwrap();
    objects.insert([2, 2], [9]).unwrap();
    database.persist(::fjall::PersistMode::SyncAll).unwrap();
    drop((objects, database));
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    engine.commit(&[write(Space::Objects, 1, None)], true).unwrap();
    (3..30).for_each(|key| engine.commit(&[write(Space::Objects, key, Some(8))], false).unwrap());
    rest(&engine);
    let found = listing(&engine, Space::Objects);
    assert_eq!((found.len(), &found[0].1[..]), (28, &[9][..]));
}

#[test]
fn nodes_tables_differ_by_a_quarter_at_most() {
    let sizes: std::collections::BTreeSet<u64> =
        (0..=255).map(|node| DiskSettings::default().staggered(node).memtable_bytes).collect();
    assert_eq!((sizes.first(), sizes.last(), sizes.len()), (Some(&(24 * MIB)), Some(&(40 * MIB)), 33));
}

#[test]
fn a_key_no_engine_holds_is_an_error_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let engine = DiskEngine::open(folder.path(), &small()).unwrap();
    let empty = Write { space: Space::Objects, key: Bytes::new(), value: Some(Bytes::from_static(b"2")) };
    assert_eq!(
        engine.commit(&[write(Space::Objects, 1, Some(1)), empty], false),
        Err(StorageError::KeyLength { bytes: 0 })
    );
    assert_eq!(engine.get(Space::Objects, &[1, 1]).unwrap(), None);
}
