//! How many nodes may run at one time, whatever the number of test threads: on a busy machine a node that waits for its
//! turn looks dead to its peers. A test that measures time has the machine for itself ([`alone`]): what it measures is then
//! Dynamis and not the tests beside it.
//!
//! Who waits is served in order of coming, so that one who wants many is not passed for ever by those who want few. Who
//! holds some already waits in no line for more: the first in it may be waiting for just those.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, PoisonError};

static LINE: Mutex<()> = Mutex::new(());
static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

thread_local! {
    /// How many this thread's test holds.
    static OWN: Cell<usize> = const { Cell::new(0) };
}

/// Nodes that may run at once.
fn most() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) * 4
}

/// The right to run so many nodes; given back when dropped.
#[derive(Debug)]
pub struct Permit(usize);

impl Permit {
    /// Waits until so many more nodes may run. More than may ever run at once: all there are.
    pub fn take(nodes: usize) -> Permit {
        let own = OWN.get();
        let _line = (own == 0).then(|| LINE.lock().unwrap_or_else(PoisonError::into_inner));
        // What a test that is alone still wants it has.
        let nodes = nodes.min(if own == most() { 0 } else { most() });
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running + nodes > most() {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += nodes;
        OWN.set(own + nodes);
        Permit(nodes)
    }
}

/// Waits until no other test runs a node, and lets none until it is dropped. To be taken before the test's own nodes.
pub fn alone() -> Permit {
    Permit::take(most())
}

impl Drop for Permit {
    fn drop(&mut self) {
        OWN.set(OWN.get().saturating_sub(self.0));
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        ENDED.notify_all();
    }
}
