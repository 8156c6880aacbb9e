//! A node's storage over several lives, on a real disk.

use std::fs;

use super::*;
use crate::storage::batch::{Batch, Keyed};
use crate::storage::error::StorageError;
use crate::storage::store::Fsync;

fn settings(dir: &Path) -> Settings {
    let disk = DiskSettings { cache_bytes: 1 << 20, ..DiskSettings::default() };
    Settings {
        dir: dir.to_path_buf(),
        cluster: "north".into(),
        node_id: None,
        engine: EngineChoice::Disk(disk),
        store: StoreSettings { fsync: Fsync::Always, ..StoreSettings::default() },
    }
}

fn put(store: &Store, key: &str, value: &str) {
    let mut batch = Batch::new();
    store.update(&mut batch, key.as_bytes(), |_| ((), Some(Keyed::copied(key, value)))).unwrap();
    store.submit(batch, false, Box::new(|result| assert!(result.unwrap().durable)));
    store.settle().unwrap();
}

fn get(store: &Store, key: &str) -> Option<String> {
    store.get(key.as_bytes()).unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn condition(opened: &Opened) -> (u64, bool, bool, bool) {
    (opened.start_number, opened.clean, opened.truncated, opened.fresh)
}

#[test]
fn a_clean_stop_is_known_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(settings(dir.path())).unwrap();
    assert_eq!(condition(&first), (1, false, false, true));
    let node_id = first.node_id;
    put(&first.store, "a", "1");
    first.home.write_lease(Hlc(5)).unwrap();
    first.store.stop();
    drop(first);

    let second = open(settings(dir.path())).unwrap();
    assert_eq!(condition(&second), (2, true, false, false));
    assert_eq!((second.node_id, second.lease, get(&second.store, "a")), (node_id, Hlc(5), Some("1".into())));
    drop(second);

    let third = open(settings(dir.path())).unwrap();
    assert_eq!(condition(&third), (3, false, false, false));
}

#[test]
fn a_stop_that_overtakes_a_batch_is_not_a_clean_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(settings(dir.path())).unwrap();
    put(&first.store, "a", "1");
    let mut batch = Batch::new();
    first.store.update(&mut batch, b"a", |_| ((), Some(Keyed::copied("a", "2")))).unwrap();
    first.store.stop();
    first.store.submit(batch, false, Box::new(|result| assert_eq!(result, Err(StorageError::Stopped))));
    drop(first);
    let second = open(settings(dir.path())).unwrap();
    assert_eq!((condition(&second), get(&second.store, "a")), ((2, false, false, false), Some("1".into())));
}

#[test]
fn a_killed_node_has_what_it_acknowledged_and_is_not_clean() {
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let opened = open(settings(dir.path())).unwrap();
    put(&opened.store, "a", "1");
    put(&opened.store, "b", "2");
    copy(dir.path(), killed.path());
    let after = open(settings(killed.path())).unwrap();
    assert_eq!(condition(&after), (2, false, false, false));
    assert_eq!((get(&after.store, "a"), get(&after.store, "b")), (Some("1".into()), Some("2".into())));
}

#[test]
fn an_engine_behind_its_mark_is_noticed_and_the_loss_stays_known_until_it_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(settings(dir.path())).unwrap();
    assert!(!opened.lost);
    put(&opened.store, "a", "1");
    opened.store.stop();
    drop(opened);
    let home = Home::open(dir.path(), "north", None).unwrap();
    home.write_mark(BatchMark { number: 900, ..home.mark_found().unwrap() }).unwrap();
    drop(home);
    let opened = open(settings(dir.path())).unwrap();
    assert_eq!((condition(&opened), opened.lost), ((2, false, true, false), true));
    assert!(opened.store.stats().number >= 900, "no number is given twice");
    drop(opened);
    // A crash before the loss was made good.
    let opened = open(settings(dir.path())).unwrap();
    assert_eq!((opened.truncated, opened.lost), (false, true));
    put(&opened.store, "filling", "yes");
    Opened::refilled(&opened.home).unwrap();
    opened.store.stop();
    drop(opened);
    let opened = open(settings(dir.path())).unwrap();
    assert_eq!((condition(&opened), opened.lost), ((4, true, false, false), false));
    drop(opened);

    let home = Home::open(dir.path(), "north", None).unwrap();
    home.write_mark(BatchMark { checksum: 1, ..home.mark_found().unwrap() }).unwrap();
    drop(home);
    assert!(open(settings(dir.path())).unwrap().truncated, "same number, other history");
}

#[test]
fn a_node_killed_before_its_first_sync_has_lost_nothing_and_a_wiped_one_has() {
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings_at =
        |dir: &Path| Settings { store: StoreSettings { fsync: Fsync::No, ..settings(dir).store }, ..settings(dir) };
    let opened = open(settings_at(dir.path())).unwrap();
    let mut batch = Batch::new();
    opened.store.update(&mut batch, b"a", |_| ((), Some(Keyed::copied("a", "1")))).unwrap();
    opened.store.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
    opened.store.settle().unwrap();
    copy(dir.path(), killed.path());
    let after = open(settings_at(killed.path())).unwrap();
    assert_eq!((get(&after.store, "a"), after.fresh, after.lost), (Some("1".into()), false, false));
    after.store.stop();
    drop(after);
    fs::remove_dir_all(killed.path().join("objects")).unwrap();
    assert!(open(settings_at(killed.path())).unwrap().lost);
}

#[test]
fn an_engine_that_does_not_open_can_be_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(settings(dir.path())).unwrap();
    let node_id = opened.node_id;
    put(&opened.store, "a", "1");
    drop(opened);
    fs::write(dir.path().join("objects/version"), b"rubbish").unwrap();
    let error = open(settings(dir.path())).err().unwrap();
    assert!(matches!(&error, OpenError::Engine { path, .. } if path.ends_with("objects")), "{error}");
    let aside = set_aside(&settings(dir.path()), 42).unwrap().unwrap();
    assert!(aside.ends_with("objects.corrupt-42") && aside.is_dir());
    let opened = open(settings(dir.path())).unwrap();
    assert_eq!(condition(&opened), (2, false, false, true));
    assert_eq!((opened.node_id, get(&opened.store, "a")), (node_id, None));
}

#[test]
fn a_directory_in_use_or_of_another_cluster_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open(settings(dir.path())).unwrap();
    assert!(matches!(open(settings(dir.path())), Err(OpenError::Locked { .. })));
    drop(opened);
    let south = Settings { cluster: "south".into(), ..settings(dir.path()) };
    let error = open(south).err().unwrap();
    assert!(matches!(&error, OpenError::OtherCluster { found, wanted, .. } if found == "north" && wanted == "south"));
    assert_eq!(open(settings(dir.path())).unwrap().start_number, 2, "a refused start is none");
}

#[test]
fn what_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(settings(dir.path())).unwrap());
    let path = dir.path().join("identity");
    let sound = fs::read(&path).unwrap();

    let mut newer = sound.clone();
    newer[9] = 7;
    fs::write(&path, newer).unwrap();
    assert!(matches!(open(settings(dir.path())), Err(OpenError::NewerFormat { found: 7, .. })));

    fs::write(&path, &sound[1..]).unwrap();
    assert!(matches!(open(settings(dir.path())), Err(OpenError::Unreadable { path: named, .. }) if named == path));

    fs::remove_file(&path).unwrap();
    assert!(matches!(open(settings(dir.path())), Err(OpenError::Unreadable { path: named, .. }) if named == path));

    assert!(matches!(open(settings(&dir.path().join("lock"))), Err(OpenError::Unreadable { .. })));
}

#[test]
fn a_page_lost_in_the_middle_of_the_journal_never_goes_unnoticed() {
    use std::os::unix::fs::FileExt;
    let (dir, damaged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = StoreSettings { fsync: Fsync::No, ..StoreSettings::default() };
    let opened = open(Settings { store, ..settings(dir.path()) }).unwrap();
    for n in 0..300 {
        let mut batch = Batch::new();
        let key = format!("key-{n}");
        opened.store.update(&mut batch, key.as_bytes(), |_| ((), Some(Keyed::copied(&key, [b'v'; 100])))).unwrap();
        opened.store.submit(batch, false, Box::new(|result| assert!(result.is_ok())));
        if n % 10 == 0 {
            opened.store.settle().unwrap();
        }
    }
    opened.store.sync().unwrap();
    opened.store.stop();
    drop(opened);
    for page in 1..4 {
        let copied = damaged.path().join(page.to_string());
        copy(dir.path(), &copied);
        let segments = fs::read_dir(crate::storage::disk::log_folder(&copied.join("objects"))).unwrap();
        let journal =
            segments.map(|entry| entry.unwrap().path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(journal).unwrap();
        file.write_all_at(&[0; 4096], page * 4096).unwrap();
        match open(settings(&copied)) {
            Err(OpenError::Engine { .. }) => (),
            Ok(opened) => assert!(opened.truncated && !opened.clean),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_disk_below_its_floor_refuses_edits_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreSettings { free_bytes_min: u64::MAX, ..StoreSettings::default() };
    let opened = open(Settings { store, ..settings(dir.path()) }).unwrap();
    let edited = opened.store.update(&mut Batch::new(), b"a", |_| ((), Some(Keyed::copied("a", "1"))));
    assert_eq!(edited, Err(StorageError::DiskFull { free_bytes_min: u64::MAX }));
    assert_eq!((get(&opened.store, "a"), opened.store.settle()), (None, Ok(())));
    assert!(opened.store.stats().disk_full);
}

#[test]
fn a_memory_node_keeps_its_name_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let memory = || Settings { engine: EngineChoice::Memory, ..settings(dir.path()) };
    let opened = open(memory()).unwrap();
    let node_id = opened.node_id;
    put(&opened.store, "a", "1");
    opened.store.stop();
    drop(opened);
    let opened = open(memory()).unwrap();
    assert_eq!(condition(&opened), (2, false, false, true));
    assert_eq!((opened.node_id, get(&opened.store, "a")), (node_id, None));
}

#[test]
fn a_given_engine_that_crashes_keeps_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(MemoryEngine::with_crashes());
    let given = |fsync| Settings {
        engine: EngineChoice::Given(engine.clone()),
        store: StoreSettings { fsync, inline: true, ..StoreSettings::default() },
        ..settings(dir.path())
    };
    let opened = open(given(Fsync::Always)).unwrap();
    put(&opened.store, "a", "1");
    opened.store.set_fsync(Fsync::No);
    let mut batch = Batch::new();
    opened.store.update(&mut batch, b"b", |_| ((), Some(Keyed::copied("b", "2")))).unwrap();
    opened.store.submit(batch, false, Box::new(|result| assert!(!result.unwrap().durable)));
    drop(opened);
    assert_eq!(engine.crash(0), 1);
    let opened = open(given(Fsync::Always)).unwrap();
    assert_eq!(condition(&opened), (2, false, false, false));
    assert_eq!((get(&opened.store, "a"), get(&opened.store, "b")), (Some("1".into()), None));
}
