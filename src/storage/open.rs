//! Moving in: from a directory to a running store, and the truth about the state it was found in.
//!
//! # Contract
//! - [`open`] changes nothing unless it succeeds, but for making a directory that was not there.
//! - Which condition was found is told once and stays as it is until the first sync of the new life. Whoever has to act
//!   on `fresh`, `truncated` or not `clean` (fill up from peers) puts a note about it in the first batch: that is on disk
//!   before the signs are gone.
//!
//! # What it refuses to do
//! Repair. A folder the engine cannot recover is an [`OpenError::Engine`]; the caller may [`set_aside`] and open again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::causality::{Hlc, NodeId};

use super::disk::{DiskEngine, DiskSettings, OpenFailed};
use super::engine::{Engine, Space};
use super::error::OpenError;
use super::files::FileError;
use super::home::Home;
use super::mark::{BATCH_KEY, BatchMark, is_truncated};
use super::memory::MemoryEngine;
use super::reopen::Reopenable;
use super::store::{Store, StoreSettings};

/// Which engine a node uses.
#[derive(Clone)]
pub enum EngineChoice {
    /// On disk.
    Disk(DiskSettings),
    /// In memory: every start is fresh, no stop is clean.
    Memory,
    /// One that outlives the store, treated as a disk: for simulation.
    Given(Arc<dyn Engine>),
}

/// What is needed to open a node's storage.
#[derive(Clone)]
pub struct Settings {
    /// The data directory; made if need be.
    pub dir: PathBuf,
    /// The cluster the node belongs to.
    pub cluster: String,
    /// The id for a new identity; none: a random one.
    pub node_id: Option<NodeId>,
    /// The engine.
    pub engine: EngineChoice,
    /// The store.
    pub store: StoreSettings,
}

/// A node's storage, ready to work, and how it was found.
pub struct Opened {
    /// The store.
    pub store: Arc<Store>,
    /// The data directory.
    pub home: Arc<Home>,
    /// The node's name for life.
    pub node_id: NodeId,
    /// Which life this is; the first has 1.
    pub start_number: u64,
    /// The lease of the life before: stamp nothing below it. Zero if new.
    pub lease: Hlc,
    /// The life before stopped cleanly, and the engine is exactly as it left it.
    pub clean: bool,
    /// The engine lacks something that had been fsynced (or nobody can tell).
    pub truncated: bool,
    /// The engine is empty.
    pub fresh: bool,
    /// Copies were lost: the engine lacks something, or is empty in a life after the first, or [`Opened::refilled`] has not
    /// been called since that was so.
    pub lost: bool,
}

impl Opened {
    /// What was lost has been made good, durably.
    pub fn refilled(home: &Home) -> Result<(), FileError> {
        home.forget_loss()
    }
}

/// Opens or creates a node's storage. Blocks, perhaps for seconds: the engine reads its log.
pub fn open(settings: Settings) -> Result<Opened, OpenError> {
    let home = Arc::new(Home::open(&settings.dir, &settings.cluster, settings.node_id)?);
    let failed = |why: String| OpenError::Engine { path: home.engine_folder(), why };
    let (engine, lasting): (Arc<dyn Engine>, bool) = match settings.engine {
        EngineChoice::Disk(disk) => {
            let folder = home.engine_folder();
            let disk = disk.staggered(home.node_id().0[0]);
            let engine = open_disk(&folder, &disk)?;
            let again = move || open_disk(&folder, &disk).map_err(|error| error.to_string());
            (Arc::new(Reopenable::new(engine, Box::new(again))), true)
        }
        EngineChoice::Memory => (Arc::new(MemoryEngine::new()), false),
        EngineChoice::Given(engine) => (engine, true),
    };
    let last = engine.get(Space::Meta, &BATCH_KEY).map_err(|error| failed(error.to_string()))?;
    let fresh = last.is_none();
    let last = last.map_or(Some(BatchMark::default()), |bytes| BatchMark::decode(&bytes));
    let truncated = lasting && is_truncated(last, home.mark_found());
    let last = last.unwrap_or_default();
    let clean = lasting && !truncated && home.clean_found() == Some(last.number);
    let lost = truncated || (fresh && home.start_number() > 1) || home.loss_found()?;
    if lost {
        // Before the signs of it go: a crash while the loss is made good must not make it forgotten.
        home.note_loss()?;
    }
    home.begin()?;
    // A number is never given twice, even when the engine forgot that it was.
    let marked = home.mark_found().filter(|_| lasting).unwrap_or_default();
    let onwards = if marked.number > last.number { marked } else { last };
    if lasting && (fresh || truncated) {
        engine.commit(&[onwards.write()], true).map_err(|error| failed(error.to_string()))?;
    }
    let store = Store::new(engine, settings.store, lasting.then(|| home.clone()), onwards)
        .map_err(|error| failed(format!("its hints could not be counted, or its thread not be started: {error}")))?;
    Ok(Opened {
        store: Arc::new(store),
        node_id: home.node_id(),
        start_number: home.start_number(),
        lease: home.lease_found(),
        clean,
        truncated,
        fresh,
        lost,
        home,
    })
}

/// As [`Home::set_aside`], for a directory that could not be opened because of its engine.
pub fn set_aside(settings: &Settings, now_ms: u64) -> Result<Option<PathBuf>, OpenError> {
    Ok(Home::open(&settings.dir, &settings.cluster, settings.node_id)?.set_aside(now_ms)?)
}

/// fjall checks most of what it reads; what it does not may end in a panic, which must not end the node.
fn open_disk(folder: &Path, settings: &DiskSettings) -> Result<Box<dyn Engine>, OpenError> {
    check_folder(folder)?;
    let why = match catch_unwind(AssertUnwindSafe(|| DiskEngine::open(folder, settings))) {
        Ok(Ok(engine)) => return Ok(Box::new(engine)),
        Ok(Err(OpenFailed::Fjall(::fjall::Error::Locked))) => return Err(OpenError::Locked { dir: folder.into() }),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it panicked over its files".to_owned(),
    };
    Err(OpenError::Engine { path: folder.into(), why })
}

/// Tells want of permission apart from damage: the first is the operator's to correct, and no reason to start empty.
fn check_folder(folder: &Path) -> Result<(), OpenError> {
    match std::fs::read_dir(folder) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FileError::failed(folder, error).into()),
    }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;
