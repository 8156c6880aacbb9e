//! A number that is overwritten in place, often, and survives a torn write.
//!
//! Two scoreboards side by side: the new score always goes up on the older board, so that one of them can be read
//! whatever happens to the painter.
//!
//! # Layout, byte by byte
//! Two slots, at 0 and at 512 (two sectors), each:
//! ```text
//! 0..8    "dynslot\n"
//! 8..10   format, big-endian u16: 1
//! 10..18  counter, big-endian u64: the valid slot with the higher one counts
//! 18..    body of N bytes
//! then    CRC32 of the file's name and of everything before, big-endian u32
//! ```

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files::{self, FileError};

const MAGIC: &[u8; 8] = b"dynslot\n";
const FORMAT: u16 = 1;
const BODY_AT: usize = 18;
const SLOT_BYTES: usize = 512;

/// An open file of two slots with bodies of N bytes.
pub(super) struct SlotFile<const N: usize> {
    file: File,
    path: PathBuf,
    name: &'static str,
    counter: u64,
    unsynced: bool,
}

impl<const N: usize> SlotFile<N> {
    /// Makes the file, durably, in place of any other.
    pub(super) fn create(dir: &Path, name: &'static str, body: [u8; N]) -> Result<SlotFile<N>, FileError> {
        let path = dir.join(name);
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let slot = encode(name, 0, body);
        bytes[..slot.len()].copy_from_slice(&slot);
        files::replace(dir, name, &bytes).map_err(|error| FileError::failed(&path, error))?;
        let file = open_file(&path).map_err(|error| FileError::failed(&path, error))?;
        Ok(SlotFile { file, path, name, counter: 0, unsynced: false })
    }

    /// Opens the file and reads the newer slot; none when there is no such file.
    pub(super) fn open(dir: &Path, name: &'static str) -> Result<Option<(SlotFile<N>, [u8; N])>, FileError> {
        let path = dir.join(name);
        let failed = |error| FileError::failed(&path, error);
        let file = match open_file(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut newest: Option<(u64, [u8; N])> = None;
        for at in [0, SLOT_BYTES] {
            let mut bytes = vec![0; BODY_AT + N + 4];
            match file.read_exact_at(&mut bytes, at as u64) {
                Ok(()) => (),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => continue,
                Err(error) => return Err(failed(error)),
            }
            let slot = decode(&path, name, &bytes)?;
            newest = newest.into_iter().chain(slot).max_by_key(|(counter, _)| *counter);
        }
        let (counter, body) = newest.ok_or_else(|| FileError::Damaged { path: path.clone() })?;
        Ok(Some((SlotFile { file, path, name, counter, unsynced: false }, body)))
    }

    /// Writes a new body over the older slot. It survives the process; for the machine see [`SlotFile::sync`].
    pub(super) fn write(&mut self, body: [u8; N]) -> Result<(), FileError> {
        let counter = self.counter + 1;
        let at = (counter % 2) * SLOT_BYTES as u64;
        self.file
            .write_all_at(&encode(self.name, counter, body), at)
            .map_err(|error| FileError::failed(&self.path, error))?;
        self.counter = counter;
        self.unsynced = true;
        Ok(())
    }

    /// Makes the last body durable.
    pub(super) fn sync(&mut self) -> Result<(), FileError> {
        if self.unsynced {
            self.file.sync_data().map_err(|error| FileError::failed(&self.path, error))?;
            self.unsynced = false;
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn checksum(name: &str, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(bytes);
    hasher.finalize().to_be_bytes()
}

fn encode<const N: usize>(name: &str, counter: u64, body: [u8; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(BODY_AT + N + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&counter.to_be_bytes());
    bytes.extend_from_slice(&body);
    let seal = checksum(name, &bytes);
    bytes.extend_from_slice(&seal);
    bytes
}

/// A slot's counter and body; none when it is torn or was never written.
fn decode<const N: usize>(path: &Path, name: &str, bytes: &[u8]) -> Result<Option<(u64, [u8; N])>, FileError> {
    let (content, seal) = bytes.split_at(BODY_AT + N);
    if !content.starts_with(MAGIC) {
        return Ok(None);
    }
    let found = u16::from_be_bytes([content[8], content[9]]);
    if found > FORMAT {
        return Err(FileError::Newer { path: path.to_path_buf(), found });
    }
    if seal != checksum(name, content) {
        return Ok(None);
    }
    let mut counter = [0; 8];
    counter.copy_from_slice(&content[10..BODY_AT]);
    let mut body = [0; N];
    body.copy_from_slice(&content[BODY_AT..]);
    Ok(Some((u64::from_be_bytes(counter), body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reopened(dir: &Path) -> Result<Option<[u8; 2]>, FileError> {
        SlotFile::<2>::open(dir, "score").map(|found| found.map(|(_, body)| body))
    }

    #[test]
    fn the_last_body_counts_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reopened(dir.path()), Ok(None));
        let mut slots = SlotFile::create(dir.path(), "score", [0, 0]).unwrap();
        for n in 1..=5u8 {
            slots.write([n, n]).unwrap();
            assert_eq!(reopened(dir.path()), Ok(Some([n, n])));
        }
        assert!(slots.unsynced);
        slots.sync().unwrap();
        assert!(!slots.unsynced);

        let path = dir.path().join("score");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[SLOT_BYTES + BODY_AT] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(reopened(dir.path()), Ok(Some([4, 4])));
        bytes[BODY_AT] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(reopened(dir.path()), Err(FileError::Damaged { path: path.clone() }));
        std::fs::write(&path, b"").unwrap();
        assert_eq!(reopened(dir.path()), Err(FileError::Damaged { path }));
    }
}
