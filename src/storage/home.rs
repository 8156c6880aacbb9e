//! The data directory: whose it is, and what must be known before the engine is believed.
//!
//! The door plate, the visitors' book and the meter readings of one house.
//!
//! # What lies in it
//! | file | content | when written |
//! |---|---|---|
//! | `lock` | nothing; locked while a node runs on it | once |
//! | `identity` | sealed: node id (20 bytes), start number (u64), cluster name (UTF-8, the rest) | at every start |
//! | `lease` | slots: an HLC (u64): nothing was stamped at or above it | [`Home::write_lease`] |
//! | `mark` | slots: number (u64) and checksum (u32) of the last engine batch known to be fsynced | after syncs |
//! | `clean` | sealed: number (u64) of the last engine batch; there only after a clean stop | stop; removed at start |
//! | `lost` | sealed, empty: there from the discovery of lost copies until they are made good | [`Home::note_loss`] |
//! | `objects/` | the engine's | |
//! | `objects.corrupt-*` | engine folders that were set aside, for a human to look at and delete | [`Home::set_aside`] |
//!
//! Sealed files and slots are laid out as [`files`] and `slots` say; all numbers are big-endian. Other modules keep
//! sealed files of their own here ([`Home::read_sealed`]).
//!
//! # Invariants
//! - The identity is written last when a directory is first used, and before anything is put into the engine.
//! - The mark never runs ahead of what is fsynced. A missing or damaged mark counts as a truncated engine.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;

use crate::causality::{Hlc, NodeId};
use crate::world::random_bytes;

use super::error::OpenError;
use super::files::{self, FileError};
use super::mark::BatchMark;
use super::slots::SlotFile;

const IDENTITY: &str = "identity";
const LEASE: &str = "lease";
const MARK: &str = "mark";
const CLEAN: &str = "clean";
const LOCK: &str = "lock";
const ENGINE: &str = "objects";
const LOST: &str = "lost";
const OWN_NAMES: [&str; 7] = [IDENTITY, LEASE, MARK, CLEAN, LOCK, ENGINE, LOST];

/// A data directory in use. It is locked until this is dropped.
pub struct Home {
    dir: PathBuf,
    node_id: NodeId,
    cluster: String,
    start_number: u64,
    lease_found: Hlc,
    mark_found: Option<BatchMark>,
    lease: Mutex<SlotFile<8>>,
    mark: Mutex<Option<SlotFile<12>>>,
    writing: Mutex<()>,
    _lock: File,
}

impl Home {
    /// Opens the directory for a node of `cluster`, or makes it, with `node_id` for the new node (none: a random one).
    /// Changes nothing in one that is already there.
    pub fn open(dir: &Path, cluster: &str, node_id: Option<NodeId>) -> Result<Home, OpenError> {
        let unreadable = |error: std::io::Error| OpenError::Unreadable { path: dir.into(), why: error.to_string() };
        fs::create_dir_all(dir).map_err(unreadable)?;
        let lock = lock(dir)?;
        let (identity, lease, lease_found) = match read_identity(dir)? {
            Some(identity) => {
                let (lease, found) = open_lease(dir)?;
                (identity, lease, found)
            }
            None => {
                refuse_orphans(dir)?;
                let lease = SlotFile::create(dir, LEASE, [0; 8])?;
                SlotFile::create(dir, MARK, BatchMark::default().encode())?;
                let identity = Identity {
                    node_id: node_id.unwrap_or_else(|| NodeId(random_bytes())),
                    start_number: 0,
                    cluster: cluster.to_owned(),
                };
                files::write(dir, IDENTITY, &identity.encode())?;
                (identity, lease, Hlc(0))
            }
        };
        if identity.cluster != cluster {
            return Err(OpenError::OtherCluster { dir: dir.into(), found: identity.cluster, wanted: cluster.into() });
        }
        let (mark, mark_found) = open_mark(dir)?;
        Ok(Home {
            dir: dir.to_path_buf(),
            node_id: identity.node_id,
            cluster: identity.cluster,
            start_number: identity.start_number + 1,
            lease_found,
            mark_found,
            lease: Mutex::new(lease),
            mark: Mutex::new(mark),
            writing: Mutex::new(()),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the engine keeps its files.
    pub fn engine_folder(&self) -> PathBuf {
        self.dir.join(ENGINE)
    }

    /// The node this directory belongs to.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// The number of this life of the node; the first has 1.
    pub fn start_number(&self) -> u64 {
        self.start_number
    }

    /// The lease as it was found; zero if new.
    pub fn lease_found(&self) -> Hlc {
        self.lease_found
    }

    /// The mark as it was found; none: missing or damaged.
    pub fn mark_found(&self) -> Option<BatchMark> {
        self.mark_found
    }

    /// The engine batch at which the last life stopped cleanly; none: it did not.
    pub fn clean_found(&self) -> Option<u64> {
        let body = files::read(&self.dir, CLEAN).ok()??;
        Some(u64::from_be_bytes(body.try_into().ok()?))
    }

    /// Begins this life, durably: notes the start number and takes the clean note away. Once, when the engine is open.
    pub fn begin(&self) -> Result<(), FileError> {
        let identity =
            Identity { node_id: self.node_id, start_number: self.start_number, cluster: self.cluster.clone() };
        files::write(&self.dir, IDENTITY, &identity.encode())?;
        let clean = self.dir.join(CLEAN);
        match fs::remove_file(&clean) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FileError::failed(&clean, error)),
            Ok(()) => files::sync_dir(&self.dir).map_err(|error| FileError::failed(&self.dir, error)),
        }
    }

    /// Persists a lease ahead of use. Blocks for an fsync. After an error assume nothing: the old or the new one holds.
    pub fn write_lease(&self, lease: Hlc) -> Result<(), FileError> {
        let mut slots = self.lease.lock();
        slots.write(lease.0.to_be_bytes())?;
        slots.sync()
    }

    pub(super) fn write_mark(&self, mark: BatchMark) -> Result<(), FileError> {
        let mut slots = self.mark.lock();
        match &mut *slots {
            Some(slots) => slots.write(mark.encode())?,
            None => *slots = Some(SlotFile::create(&self.dir, MARK, mark.encode())?),
        }
        Ok(())
    }

    pub(super) fn sync_mark(&self) -> Result<(), FileError> {
        self.mark.lock().as_mut().map_or(Ok(()), SlotFile::sync)
    }

    pub(super) fn write_clean(&self, number: u64) -> Result<(), FileError> {
        files::write(&self.dir, CLEAN, &number.to_be_bytes())
    }

    /// Whether copies were lost that are not made good yet.
    pub(super) fn loss_found(&self) -> Result<bool, FileError> {
        Ok(files::read(&self.dir, LOST)?.is_some())
    }

    /// Notes, durably, that copies were lost.
    pub(super) fn note_loss(&self) -> Result<(), FileError> {
        files::write(&self.dir, LOST, &[])
    }

    /// The loss has been made good.
    pub(super) fn forget_loss(&self) -> Result<(), FileError> {
        files::remove(&self.dir, LOST)
    }

    /// Reads a sealed file of another module; none when it was never written.
    pub fn read_sealed(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        check_name(name)?;
        files::read(&self.dir, name)
    }

    /// Writes a sealed file of another module, atomically and durably. Blocks for several fsyncs.
    pub fn write_sealed(&self, name: &str, body: &[u8]) -> Result<(), FileError> {
        check_name(name)?;
        let _one_at_a_time = self.writing.lock();
        files::write(&self.dir, name, body)
    }

    /// Removes a sealed file, durably; one that is not there is removed already.
    pub fn remove_sealed(&self, name: &str) -> Result<(), FileError> {
        check_name(name)?;
        let _one_at_a_time = self.writing.lock();
        files::remove(&self.dir, name)
    }

    /// Renames the engine's folder to `objects.corrupt-<now_ms>` and forgets the mark, so that the next
    /// [`open`](super::open::open) starts empty under the old identity. The store must have been stopped and dropped.
    /// Returns the new name, or none if there was no such folder.
    pub fn set_aside(&self, now_ms: u64) -> Result<Option<PathBuf>, FileError> {
        let folder = self.engine_folder();
        let aside = self.dir.join(format!("{ENGINE}.corrupt-{now_ms}"));
        let moved = match fs::rename(&folder, &aside) {
            Ok(()) => Some(aside),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(FileError::failed(&folder, error)),
        };
        files::sync_dir(&self.dir).map_err(|error| FileError::failed(&self.dir, error))?;
        *self.mark.lock() = Some(SlotFile::create(&self.dir, MARK, BatchMark::default().encode())?);
        Ok(moved)
    }

    /// Free bytes on the directory's file system; none if the system does not say.
    pub fn free_bytes(&self) -> Option<u64> {
        let status = rustix::fs::statvfs(&self.dir).ok()?;
        Some(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

struct Identity {
    node_id: NodeId,
    start_number: u64,
    cluster: String,
}

impl Identity {
    fn encode(&self) -> Vec<u8> {
        [&self.node_id.0[..], &self.start_number.to_be_bytes(), self.cluster.as_bytes()].concat()
    }

    fn decode(body: &[u8]) -> Option<Identity> {
        let (node_id, rest) = body.split_first_chunk::<20>()?;
        let (start_number, cluster) = rest.split_first_chunk::<8>()?;
        Some(Identity {
            node_id: NodeId(*node_id),
            start_number: u64::from_be_bytes(*start_number),
            cluster: std::str::from_utf8(cluster).ok()?.to_owned(),
        })
    }
}

/// Three tries: a process that was just killed may hold its lock for a moment.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let unreadable = |error: std::io::Error| OpenError::Unreadable { path: path.clone(), why: error.to_string() };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unreadable)?;
    for pause_ms in [50, 100, 0] {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(unreadable(error)),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(pause_ms)),
        }
    }
    Err(OpenError::Locked { dir: dir.to_path_buf() })
}

fn read_identity(dir: &Path) -> Result<Option<Identity>, OpenError> {
    let Some(body) = files::read(dir, IDENTITY)? else { return Ok(None) };
    let identity = Identity::decode(&body).ok_or_else(|| FileError::Damaged { path: dir.join(IDENTITY) })?;
    Ok(Some(identity))
}

/// Data without an identity is somebody's; a new node must not take it for its own.
fn refuse_orphans(dir: &Path) -> Result<(), OpenError> {
    if !dir.join(ENGINE).exists() {
        return Ok(());
    }
    let why = format!("it is missing, although {ENGINE} is there and belongs to some node");
    Err(OpenError::Unreadable { path: dir.join(IDENTITY), why })
}

fn open_lease(dir: &Path) -> Result<(SlotFile<8>, Hlc), OpenError> {
    let Some((lease, body)) = SlotFile::open(dir, LEASE)? else {
        let why = "it is missing, and without it a time stamp might be given twice".into();
        return Err(OpenError::Unreadable { path: dir.join(LEASE), why });
    };
    Ok((lease, Hlc(u64::from_be_bytes(body))))
}

/// A missing or damaged mark stays so until there is a new one to write: whoever opens next must notice as well.
fn open_mark(dir: &Path) -> Result<(Option<SlotFile<12>>, Option<BatchMark>), OpenError> {
    match SlotFile::open(dir, MARK) {
        Ok(Some((mark, body))) => Ok((Some(mark), BatchMark::decode(&body))),
        Ok(None) | Err(FileError::Damaged { .. }) => Ok((None, None)),
        Err(error) => Err(error.into()),
    }
}

fn check_name(name: &str) -> Result<(), FileError> {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let good = (1..=40).contains(&name.len()) && name.bytes().all(plain) && !OWN_NAMES.contains(&name);
    if good { Ok(()) } else { Err(FileError::Name { name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_lease_survive_and_starts_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path(), "north", None).unwrap();
        let node_id = home.node_id();
        assert_eq!((home.start_number(), home.lease_found()), (1, Hlc(0)));
        home.begin().unwrap();
        home.write_lease(Hlc(77)).unwrap();
        home.write_lease(Hlc(78)).unwrap();
        drop(home);
        let home = Home::open(dir.path(), "north", Some(NodeId([1; 20]))).unwrap();
        assert_eq!((home.node_id(), home.start_number(), home.lease_found()), (node_id, 2, Hlc(78)));
    }

    #[test]
    fn a_lost_mark_is_noticed_until_there_is_a_new_one_and_a_lost_lease_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Home::open(dir.path(), "north", None).unwrap());
        fs::write(dir.path().join(MARK), b"rubbish").unwrap();
        for _ in 0..2 {
            assert_eq!(Home::open(dir.path(), "north", None).unwrap().mark_found(), None);
        }
        let mark = BatchMark { number: 9, checksum: 8 };
        Home::open(dir.path(), "north", None).unwrap().write_mark(mark).unwrap();
        assert_eq!(Home::open(dir.path(), "north", None).unwrap().mark_found(), Some(mark));
        fs::remove_file(dir.path().join(LEASE)).unwrap();
        assert!(
            matches!(Home::open(dir.path(), "north", None), Err(OpenError::Unreadable { path, .. }) if path.ends_with(LEASE))
        );
    }

    #[test]
    fn sealed_files_are_kept_apart_from_the_homes_own() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path(), "north", None).unwrap();
        assert_eq!(home.read_sealed("members").unwrap(), None);
        home.write_sealed("members", b"three").unwrap();
        assert_eq!(home.read_sealed("members").unwrap(), Some(b"three".to_vec()));
        for name in ["identity", "mark", "../up", "", ".members.tmp"] {
            assert_eq!(home.write_sealed(name, b""), Err(FileError::Name { name: name.into() }));
        }
    }
}
