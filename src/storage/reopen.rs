//! An engine that can be closed and opened again while others use it.
//!
//! The ledger has to go to the binder's: who wants to look something up meanwhile is told so and asks a neighbour, and when
//! it comes back it is leafed through before it lies on the counter again.
//!
//! # Contract
//! - Every call goes to the engine that is open now, or fails at once with [`StorageError::Closed`]; none waits.
//! - [`Engine::reopen`] closes the old one when nobody uses it any more, and shows the new one to nobody before `admit` has
//!   taken it. When either fails it stays closed, and may be tried again; when somebody goes on using the old one, that one
//!   stays.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::world::Instant;

use super::engine::{Admit, Engine, Space, Visit, Write};
use super::error::StorageError;

/// How long a scan may hold up the closing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens the engine; the error is its words.
pub type Opener = Box<dyn Fn() -> Result<Box<dyn Engine>, String> + Send + Sync>;

/// See the module.
pub struct Reopenable {
    current: ArcSwapOption<Box<dyn Engine>>,
    open: Opener,
}

impl Reopenable {
    /// Goes on with an engine that is open; `open` opens it again.
    pub fn new(engine: Box<dyn Engine>, open: Opener) -> Reopenable {
        Reopenable { current: ArcSwapOption::from_pointee(engine), open }
    }

    fn with<T>(&self, call: impl FnOnce(&dyn Engine) -> Result<T, StorageError>) -> Result<T, StorageError> {
        match &*self.current.load() {
            Some(engine) => call(&***engine),
            None => Err(StorageError::Closed),
        }
    }

    /// Closes the engine when the last who uses it has left it.
    fn close(&self) -> Result<(), StorageError> {
        let Some(mut engine) = self.current.swap(None) else { return Ok(()) };
        let until = Instant::now() + PATIENCE;
        loop {
            engine = match Arc::try_unwrap(engine) {
                Ok(alone) => {
                    drop(alone);
                    return Ok(());
                }
                Err(shared) => shared,
            };
            if Instant::now() >= until {
                self.current.store(Some(engine));
                return Err(StorageError::Poisoned);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Engine for Reopenable {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.with(|engine| engine.get(space, key))
    }

    fn commit(&self, writes: &[Write], sync: bool) -> Result<(), StorageError> {
        self.with(|engine| engine.commit(writes, sync))
    }

    fn is_at_leisure(&self) -> bool {
        self.with(|engine| Ok(engine.is_at_leisure())).unwrap_or_default()
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.with(|engine| engine.sync())
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<(), StorageError> {
        self.with(|engine| engine.scan(space, from, to, visit))
    }

    fn disk_bytes(&self) -> u64 {
        self.with(|engine| Ok(engine.disk_bytes())).unwrap_or_default()
    }

    fn can_reopen(&self) -> bool {
        true
    }

    fn reopen(&self, admit: &mut Admit<'_>) -> Result<(), StorageError> {
        self.close()?;
        let engine = (self.open)().map_err(|why| StorageError::Reopen { why })?;
        admit(&*engine)?;
        self.current.store(Some(Arc::new(engine)));
        Ok(())
    }
}

/// How many hints an engine holds: some microseconds for each.
pub(super) fn count_hints(engine: &dyn Engine) -> Result<u64, StorageError> {
    let mut count = 0;
    engine.scan(Space::Hints, &[], None, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}
