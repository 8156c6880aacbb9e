//! When the whole machine stood still: a virtual one is taken off its processors now and then, for tens of milliseconds.
//!
//! A watchman who outranks everybody looks at the clock each millisecond. When he looks late, nobody else was awake either.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// He is late by more than a timer's whims.
const LATE: Duration = Duration::from_millis(4);

/// What the watchman has seen.
#[derive(Clone, Default)]
pub struct Standstills(Arc<Mutex<Vec<(Instant, Instant)>>>);

impl Standstills {
    /// Starts the watchman, who stays until the process ends. Says so when he cannot be given his rank; then he sees nothing.
    pub fn watch() -> Standstills {
        let standstills = Standstills::default();
        let seen = standstills.clone();
        std::thread::spawn(move || {
            if !outranks_everybody() {
                eprintln!(
                    "no real-time priority (chrt, root): times in which the machine stood still are not told apart"
                );
                return;
            }
            loop {
                let from = Instant::now();
                std::thread::sleep(LOOK_EVERY);
                let to = Instant::now();
                if to - from > LATE {
                    seen.0.lock().expect("nobody panics with it").push((from + LOOK_EVERY, to));
                }
            }
        });
        standstills
    }

    /// How much of the time between two moments the machine stood still.
    pub fn within(&self, from: Instant, to: Instant) -> Duration {
        let seen = self.0.lock().expect("nobody panics with it");
        seen.iter().map(|(begun, ended)| (*ended).min(to).saturating_duration_since((*begun).max(from))).sum()
    }
}

/// Gives the calling thread a real-time priority.
fn outranks_everybody() -> bool {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let ranked = Command::new("chrt").args(["--fifo", "--pid", "50", &thread]).stderr(Stdio::null()).status();
    ranked.is_ok_and(|status| status.success())
}
