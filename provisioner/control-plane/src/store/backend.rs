//! redb's file, on the world's disk.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

use crate::world::DiskFile;

/// redb's first bytes, which it writes last when it makes a file.
const MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// The byte behind them holds flags; this one is on while the file is open.
const OPEN_FLAG: u8 = 2;
/// More than redb's header, less than its first page.
const HEADER: u64 = 512;
const CHUNK: u64 = 1 << 20;

/// Brings a file that was not closed tidily into a state that can be built upon.
pub(super) fn prepare(file: &dyn DiskFile) -> io::Result<()> {
    let length = file.len()?;
    if length <= MAGIC.len() as u64 {
        return if length > 0 && is_zero(file, 0..length)? { empty(file) } else { Ok(()) };
    }
    let mut start = [0; MAGIC.len() + 1];
    file.read(0, &mut start)?;
    if start.starts_with(MAGIC) && start[MAGIC.len()] & OPEN_FLAG != 0 {
        return write_anew(file, length);
    }
    // A header without its magic number, nothing behind it: the making of the file was cut off.
    if start.starts_with(&[0; MAGIC.len()]) && is_zero(file, HEADER.min(length)..length)? {
        return empty(file);
    }
    Ok(())
}

fn empty(file: &dyn DiskFile) -> io::Result<()> {
    file.truncate(0)?;
    file.sync()
}

/// Writes what is read back to where it was read from.
///
/// After a failed sync the system goes on showing what the device has lost, and no later sync writes it. Commits on
/// top of that would be acknowledged, then lost with what is under them.
fn write_anew(file: &dyn DiskFile, length: u64) -> io::Result<()> {
    for chunk in chunks(0..length) {
        let bytes = read(file, &chunk)?;
        file.write(chunk.start, &bytes)?;
    }
    file.sync()
}

fn is_zero(file: &dyn DiskFile, range: Range<u64>) -> io::Result<bool> {
    for chunk in chunks(range) {
        if read(file, &chunk)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read(file: &dyn DiskFile, range: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("a chunk fits into memory")];
    file.read(range.start, &mut bytes)?;
    Ok(bytes)
}

fn chunks(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    let chunk = usize::try_from(CHUNK).expect("a chunk fits into memory");
    range.step_by(chunk).map(move |start| start..(start + CHUNK).min(end))
}

/// The disk's first failure: redb's own errors do not tell whether a write or a sync failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Failure>>>);

impl Trouble {
    fn note<T>(&self, doing: &'static str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let failure = Failure { doing, kind: error.kind(), text: error.to_string() };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
        result
    }

    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug)]
pub(super) struct Failure {
    doing: &'static str,
    kind: io::ErrorKind,
    text: String,
}

impl Failure {
    /// A write that found no space left the file as it was. A failed sync does not: what the disk dropped then reads
    /// as if it were there until the machine stops.
    pub(super) fn is_full(&self) -> bool {
        is_full(self.kind) && self.doing != SYNC
    }

    pub(super) fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.to_string())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} failed: {}", self.doing, self.text)
    }
}

pub(super) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

const SYNC: &str = "sync";

#[derive(Debug)]
pub(super) struct Backend {
    file: Arc<dyn DiskFile>,
    trouble: Trouble,
}

impl Backend {
    pub(super) fn new(file: Arc<dyn DiskFile>, trouble: Trouble) -> Self {
        Self { file, trouble }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.trouble.note("length", self.file.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.trouble.note("read", self.file.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.trouble.note("resize", self.file.truncate(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.trouble.note(SYNC, self.file.sync())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.trouble.note("write", self.file.write(offset, data))
    }
}
