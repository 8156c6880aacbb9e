//! Small disks, full disks, slow and failing ones.
//!
//! A stage set with a cellar that can be filled with sand, and a trap door that sticks when the director says so.
//!
//! A [`SmallDisk`] is a file system of its own in memory (tmpfs): it needs root. A [`BadDisk`] is a library laid under one
//! node's process (`LD_PRELOAD`) that makes its fsyncs slow or fail: it needs a C compiler. Where either is missing, they
//! say so loudly and give none.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What a bad disk's library is made of.
const SOURCE: &str = include_str!("disk.c");

/// A file system of a few mebibytes, mounted on a directory until it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Mounts one on a directory, which is made; none where the system forbids it.
    pub fn mount(dir: &Path, mebibytes: u64) -> Option<SmallDisk> {
        clear_remains();
        std::fs::create_dir_all(dir).expect("a directory for the test");
        let name = format!("dydisk-{}", std::process::id());
        let size = format!("size={mebibytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, &name]).arg(dir).output();
        match mount {
            Ok(output) if output.status.success() => Some(SmallDisk { dir: dir.to_path_buf() }),
            Ok(output) => skipped(String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => skipped(&error.to_string()),
        }
    }

    /// Free bytes.
    pub fn free_bytes(&self) -> u64 {
        let status = rustix::fs::statvfs(&self.dir).expect("the disk can be asked");
        status.f_bavail * status.f_frsize
    }

    /// Puts sand in until no more than so many bytes are free.
    pub fn fill_up_to(&self, free_bytes: u64) {
        let mut sand = std::fs::File::options().create(true).append(true).open(self.sand()).expect("sand");
        let page = [7; 4096];
        while self.free_bytes() > free_bytes && sand.write_all(&page).is_ok() {}
    }

    /// Takes all sand out.
    pub fn clear(&self) {
        std::fs::remove_file(self.sand()).expect("the sand can be removed");
    }

    fn sand(&self) -> PathBuf {
        self.dir.join("sand")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Its node may still run: the mount goes when the last file is closed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
    }
}

/// Unmounts what test processes that were killed left behind.
fn clear_remains() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(dir)) = (words.next(), words.next()) else { continue };
        let pid = name.strip_prefix("dydisk-").filter(|pid| !Path::new("/proc").join(pid).exists());
        if pid.is_some() {
            let _ = Command::new("umount").args(["--lazy", dir]).status();
        }
    }
}

/// A disk whose fsyncs do as they are told.
#[derive(Debug)]
pub struct BadDisk {
    library: PathBuf,
    orders: PathBuf,
    _home: TempDir,
}

impl BadDisk {
    /// A disk that is not bad yet; none where there is no C compiler.
    pub fn new() -> Option<BadDisk> {
        let home = tempfile::Builder::new().prefix("dynamis-test-").tempdir().expect("a directory for the test");
        let (source, library, orders) =
            (home.path().join("disk.c"), home.path().join("disk.so"), home.path().join("orders"));
        std::fs::write(&source, SOURCE).expect("the source can be written");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        match compiler.output() {
            Ok(output) if output.status.success() => Some(BadDisk { library, orders, _home: home }),
            Ok(output) => skipped(String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => skipped(&error.to_string()),
        }
    }

    /// What a node's process needs in its environment to be on this disk.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        vec![("LD_PRELOAD".into(), text(&self.library)), ("DYNAMIS_TEST_DISK".into(), text(&self.orders))]
    }

    /// From now on every fsync fails.
    pub fn fail(&self) {
        self.order("fail");
    }

    /// From now on every fsync takes so long.
    pub fn slow(&self, milliseconds: u64) {
        self.order(&format!("slow {milliseconds}"));
    }

    /// From now on all is well.
    pub fn mend(&self) {
        self.order("well");
    }

    fn order(&self, order: &str) {
        let new = self.orders.with_extension("new");
        std::fs::write(&new, order).and_then(|()| std::fs::rename(&new, &self.orders)).expect("orders can be given");
    }
}

/// Says so straight to the terminal: what a passing test prints is swallowed otherwise.
fn skipped<T>(why: &str) -> Option<T> {
    let line = format!("\nSKIPPED, NOT TESTED: this machine gives no such disk: {why}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    None
}
