//! Small sealed files: written whole or not at all, and never believed when damaged.
//!
//! A letter in a sealed envelope with its title on the outside: a broken seal or another title, and nobody reads on.
//!
//! # Layout, byte by byte
//! ```text
//! 0..8    "dynfile\n"
//! 8..10   format, big-endian u16: 1
//! 10..14  length of the body, big-endian u32
//! 14..    body
//! then    CRC32 of the file's name and of everything before, big-endian u32; nothing follows
//! ```
//!
//! # Contract
//! [`write`](fn@write) goes through a temporary file, fsync, rename, and fsync of the directory: after a crash the old or
//! the new content is there. One writer per name at a time is the caller's business.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"dynfile\n";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 14;

/// The longest body, in bytes: a file read into memory must have a bound.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// A file that could not be read or written. After a failed write the old content is still there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("{}: {why}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// The seal is broken.
    #[error("{} is damaged: its checksum or shape is wrong", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A later version of this program wrote it.
    #[error("{} has format {found}, newer than this program knows", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it claims.
        found: u16,
    },
    /// Names are 1 to 40 of `a-z`, `0-9` and `-`, and not one of the home's own.
    #[error("{name:?} is no name for a sealed file")]
    Name {
        /// The name.
        name: String,
    },
}

impl FileError {
    pub(super) fn failed(path: &Path, error: impl ToString) -> FileError {
        FileError::Failed { path: path.to_path_buf(), why: error.to_string() }
    }
}

/// Reads the sealed file `name` in `dir`; none when there is no such file.
pub fn read(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, FileError> {
    let path = dir.join(name);
    let failed = |error| FileError::failed(&path, error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let most = (HEADER_BYTES + BODY_BYTES_MAX + 4) as u64;
    file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    unseal(&path, name, bytes).map(Some)
}

/// Writes the sealed file `name` in `dir`, replacing what was there.
pub fn write(dir: &Path, name: &str, body: &[u8]) -> Result<(), FileError> {
    let path = dir.join(name);
    if body.len() > BODY_BYTES_MAX {
        return Err(FileError::failed(&path, format!("a body of {} bytes is too long", body.len())));
    }
    replace(dir, name, &seal(name, body)).map_err(|error| FileError::failed(&path, error))
}

/// Removes the file `name`, durably; one that is not there is removed already.
pub fn remove(dir: &Path, name: &str) -> Result<(), FileError> {
    let path = dir.join(name);
    let removed = match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        removed => removed,
    };
    removed.and_then(|()| File::open(dir)?.sync_all()).map_err(|error| FileError::failed(&path, error))
}

/// Puts bytes in place of the file `name`, atomically and durably.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = dir.join(format!(".{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    sync_dir(dir)
}

/// Makes renames and removals in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

fn checksum(name: &str, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(bytes);
    hasher.finalize().to_be_bytes()
}

fn seal(name: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len() + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_be_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    let seal = checksum(name, &bytes);
    bytes.extend_from_slice(&seal);
    bytes
}

fn unseal(path: &Path, name: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, FileError> {
    let damaged = || FileError::Damaged { path: path.to_path_buf() };
    if bytes.len() < HEADER_BYTES + 4 || !bytes.starts_with(MAGIC) {
        return Err(damaged());
    }
    // Before the checksum: a later format may keep it elsewhere.
    let found = u16::from_be_bytes([bytes[8], bytes[9]]);
    if found > FORMAT {
        return Err(FileError::Newer { path: path.to_path_buf(), found });
    }
    let length = u32::from_be_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]) as usize;
    let end = bytes.len() - 4;
    if end != HEADER_BYTES + length || bytes[end..] != checksum(name, &bytes[..end]) {
        return Err(damaged());
    }
    bytes.truncate(end);
    bytes.drain(..HEADER_BYTES);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_written_is_read_and_what_is_missing_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), "a").unwrap(), None);
        write(dir.path(), "a", b"one").unwrap();
        write(dir.path(), "a", b"two").unwrap();
        assert_eq!(read(dir.path(), "a").unwrap(), Some(b"two".to_vec()));
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_eq!(read(dir.path(), "b"), Err(FileError::Damaged { path: dir.path().join("b") }));
    }

    #[test]
    fn a_newer_format_is_told_apart_from_damage() {
        let mut bytes = seal("a", b"body");
        bytes[9] = 2;
        assert_eq!(unseal(Path::new("a"), "a", bytes), Err(FileError::Newer { path: "a".into(), found: 2 }));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_and_no_cut_goes_unnoticed(body in proptest::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let sealed = seal("name", &body);
            prop_assert_eq!(unseal(Path::new("name"), "name", sealed.clone()), Ok(body));
            let mut flipped = sealed.clone();
            flipped[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(unseal(Path::new("name"), "name", flipped).is_err());
            prop_assert!(unseal(Path::new("name"), "name", sealed[..at.index(sealed.len())].to_vec()).is_err());
        }
    }
}
