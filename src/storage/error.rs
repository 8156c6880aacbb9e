//! What can go wrong with a store, and what with opening one.

use std::path::PathBuf;

use super::files::FileError;

/// A read or a write that failed. Each sentence says what became of the data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Reading failed; nothing was changed.
    #[error("reading from the storage engine failed: {why}; nothing was changed")]
    Read {
        /// The engine's words.
        why: String,
    },
    /// A group of writes failed; it may or may not be there after a restart.
    #[error("writing to the storage engine failed: {why}; the write may still appear after a restart")]
    Write {
        /// The engine's words.
        why: String,
    },
    /// The engine takes no more writes until it was opened again.
    #[error(
        "the storage engine takes no writes since a disk error; nothing was changed, reads go on; check the disk and its free space: it is opened again when that answers and has room"
    )]
    Poisoned,
    /// The engine is being opened again after a disk error.
    #[error("the storage engine is closed, to be opened again after a disk error; nothing was changed")]
    Closed,
    /// The engine could not be opened again after a disk error.
    #[error("the storage engine could not be opened again after a disk error: {why}; nothing was changed")]
    Reopen {
        /// The engine's words.
        why: String,
    },
    /// A group was lost while this batch was being made, so what the batch was built on may be gone.
    #[error("an earlier write to the storage engine failed while this one was prepared; it may or may not be stored")]
    Overtaken,
    /// Less space is free than the floor allows.
    #[error("the disk is full: less than {free_bytes_min} bytes are free; nothing was changed; free some space")]
    DiskFull {
        /// The floor.
        free_bytes_min: u64,
    },
    /// The key is empty or longer than an engine holds.
    #[error("a storage key must have between 1 and 65535 bytes, not {bytes}; nothing was changed")]
    KeyLength {
        /// Its length.
        bytes: usize,
    },
    /// The store was stopped.
    #[error("the store has been stopped; nothing was written")]
    Stopped,
}

impl StorageError {
    /// Whether the write it speaks of may be stored all the same.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, StorageError::Write { .. } | StorageError::Overtaken)
    }
}

/// A data directory that cannot be used as it is. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another node of this process, runs on it.
    #[error("{} is in use by another running node; stop that one, or give this one a directory of its own", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory belongs to a node of another cluster.
    #[error(
        "{} belongs to a node of cluster {found:?}, not {wanted:?}; correct the cluster name, or give the node an empty directory",
        dir.display()
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// The name in it.
        found: String,
        /// The name that was asked for.
        wanted: String,
    },
    /// A file was written by a later version of this program.
    #[error("{} has format {found}, newer than this program knows; start the version that wrote it, or a later one", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format it claims.
        found: u16,
    },
    /// A file or directory that cannot be read or written, or makes no sense.
    #[error("{} cannot be used: {why}; correct that, or give the node an empty directory", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The engine could not recover its files, or its thread could not be started.
    #[error("the storage engine cannot open {}: {why}; set the folder aside to start empty and fill up from the other nodes", path.display())]
    Engine {
        /// The engine's folder.
        path: PathBuf,
        /// The engine's words.
        why: String,
    },
}

impl From<FileError> for OpenError {
    fn from(error: FileError) -> OpenError {
        match error {
            FileError::Newer { path, found } => OpenError::NewerFormat { path, found },
            FileError::Damaged { path } => {
                OpenError::Unreadable { path, why: "it is damaged: its checksum or shape is wrong".into() }
            }
            FileError::Failed { path, why } => OpenError::Unreadable { path, why },
            FileError::Name { name } => {
                OpenError::Unreadable { path: name.into(), why: "it is no name for a sealed file".into() }
            }
        }
    }
}
