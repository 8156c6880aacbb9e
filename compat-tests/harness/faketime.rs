//! A clock of its own for a process: libfaketime answers its questions for the time, with what a file says added.
//!
//! Only the wall clock lies; the steady clock, by which timers and timeouts go, does not.

use std::path::{Path, PathBuf};

/// Where Debian and its heirs put libraries.
const LIBRARIES: &str = "/usr/lib";

/// How long a process may go by what the file said before, in seconds; the least that can be asked for.
const CACHED_SECONDS: &str = "1";

/// Says in the file how far the clock is ahead.
pub fn set(clock: &Path, ahead_s: i64) {
    // Never half a file: the process may read at any moment.
    let new = clock.with_extension("clock-new");
    std::fs::write(&new, format!("{ahead_s:+}s\n")).expect("a file can be written");
    std::fs::rename(&new, clock).expect("a file can be renamed");
}

/// The environment of a process that goes by the clock of this file.
pub fn environment(clock: &Path) -> [(&'static str, PathBuf); 4] {
    [
        ("LD_PRELOAD", library()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_path_buf()),
        ("FAKETIME_CACHE_DURATION", CACHED_SECONDS.into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

fn library() -> PathBuf {
    let places = std::fs::read_dir(LIBRARIES).into_iter().flatten().flatten();
    let found = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.expect("libfaketime is not installed; compat-tests/run installs what these tests need")
}
