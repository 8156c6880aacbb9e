//! How many nodes may run at one time, whatever the number of test threads: on a busy machine a node that waits for its
//! turn looks dead to its peers.

use std::sync::{Condvar, Mutex, PoisonError};

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// Nodes that may run at once.
fn most() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8) * 3
}

/// The right to run so many nodes; given back when dropped.
#[derive(Debug)]
pub struct Permit(usize);

impl Permit {
    /// Waits until so many more nodes may run. More than may ever run at once: all there are.
    pub fn take(nodes: usize) -> Permit {
        let nodes = nodes.min(most());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running + nodes > most() {
            running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += nodes;
        Permit(nodes)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        ENDED.notify_all();
    }
}
