//! A disk that stands still when told: an ext4 file system on a loop device, frozen for a while. It takes root.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A file system of its own that stands still when told: whoever writes to it waits, also where only the page cache is
/// written; reads go on.
#[derive(Debug)]
pub struct StillDisk {
    dir: PathBuf,
    image: PathBuf,
}

impl StillDisk {
    /// Makes one of so many mebibytes (they are not taken before they are used), and mounts it on a directory, which is made;
    /// none where the system forbids it.
    pub fn mount(dir: &Path, mebibytes: u64) -> Option<StillDisk> {
        clear_remains();
        std::fs::create_dir_all(dir).expect("a directory for the test");
        let image = dir.with_extension(format!("dydisk-{}", std::process::id()));
        let sparse = std::fs::File::create(&image).and_then(|file| file.set_len(mebibytes << 20));
        sparse.expect("a file for the disk");
        let disk = StillDisk { dir: dir.to_path_buf(), image };
        let made = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&disk.image).output();
        let mounted = made.and_then(|made| match made.status.success() {
            true => Command::new("mount").args(["-o", "loop"]).arg(&disk.image).arg(dir).output(),
            false => Ok(made),
        });
        match mounted {
            Ok(output) if output.status.success() => {
                // What mkfs leaves there is nothing a node knows.
                std::fs::remove_dir(dir.join("lost+found")).expect("it is empty");
                Some(disk)
            }
            Ok(output) => skipped(String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => skipped(&error.to_string()),
        }
    }

    /// Stands still from when this returns, for so long. Then it goes on by itself, also when nobody waits for it any more.
    pub fn stand_still(&self, seconds: f64) -> Child {
        const SCRIPT: &str =
            r#"trap "" PIPE INT TERM; fsfreeze --freeze "$0" && echo; sleep "$1"; fsfreeze --unfreeze "$0""#;
        let mut freezer = Command::new("sh");
        freezer.args(["-c", SCRIPT]).arg(&self.dir).arg(seconds.to_string()).stdout(Stdio::piped());
        let mut freezer = freezer.spawn().expect("a shell");
        let frozen = freezer.stdout.as_mut().map(|told| told.read_exact(&mut [0]));
        assert!(matches!(frozen, Some(Ok(()))), "{} cannot be frozen", self.dir.display());
        freezer
    }
}

impl Drop for StillDisk {
    fn drop(&mut self) {
        // Its node may still run: mount and loop device go when the last file is closed.
        let _ = Command::new("umount").arg("--lazy").arg(&self.dir).status();
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Unmounts what runs that were killed left behind.
fn clear_remains() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(dir)) = (words.next(), words.next()) else { continue };
        let Some(name) = device.strip_prefix("/dev/").filter(|name| name.starts_with("loop")) else { continue };
        let image = std::fs::read_to_string(Path::new("/sys/block").join(name).join("loop/backing_file"));
        let image = image.unwrap_or_default();
        // Behind the name of a file that was removed stands " (deleted)".
        let pid = image.split_once("dydisk-").and_then(|(_, rest)| rest.split_whitespace().next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = Command::new("umount").args(["--lazy", dir]).status();
        }
    }
}

/// Says so where whoever reads the table does not miss it.
fn skipped<T>(why: &str) -> Option<T> {
    eprintln!("LEFT OUT, NOT MEASURED: a disk that stands still: this machine gives none: {why}");
    None
}
