//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use kprov_schema::Revision;

use super::{StoreKey, Stored};

/// Why a store did not open. Nothing that is in the file was lost by trying.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{path} is in use by another process: stop that process, or name another data folder", path = path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "{path} is not a kprov store ({what}): it was left as it is; move it away, or name another data folder",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        what: String,
    },
    /// The file was a store, but can't be read.
    #[error(
        "{path} is damaged ({what}): put a good copy of it back, or move it away to start with an empty cluster",
        path = path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The file was written in a newer format.
    #[error(
        "{path} has the store format {found}, this kprov reads {known}: use the kprov version that wrote it",
        path = path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The file's format.
        found: u64,
        /// The newest format that can be read.
        known: u64,
    },
    /// The disk is full.
    #[error("no space is left for {path}: free some, then start again; nothing is lost", path = path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The disk failed.
    #[error("{path} can't be used: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// Why a transaction was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// An expectation did not hold; nothing was changed. Look at what is there now, then try again.
    #[error("{key} is not as expected: {}", found.as_ref().map_or("it is not there".to_owned(), |one| format!("its revision is {}", one.revision)))]
    Conflict {
        /// The key.
        key: StoreKey,
        /// What is there.
        found: Option<Arc<Stored>>,
    },
    /// The transaction names a key twice; nothing was changed.
    #[error("{key} is named twice in one transaction")]
    Twice {
        /// The key.
        key: StoreKey,
    },
    /// The disk is full. What was acknowledged is safe; the store goes on as soon as there is space.
    ///
    /// The transaction itself may turn out to have been written once there is space again.
    #[error("no space is left for {path}: free some, then try again; nothing that was acknowledged is lost", path = path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The disk failed, so that it is unknown what it holds: until it is opened again the store only reads.
    #[error("{path} takes no writes any more ({what}): start again to go on from what was acknowledged", path = path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What happened.
        what: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a moment of the log can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is behind the history that is kept: list anew, then go on from there.
    #[error("revision {asked} is behind the history that is kept, which begins at {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// It has not come yet.
    #[error("revision {asked} has not come yet, the newest is {head}")]
    Ahead {
        /// The revision asked for.
        asked: Revision,
        /// The newest revision.
        head: Revision,
    },
}

/// The store was closed: its head will not move any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed")]
pub struct Closed;
