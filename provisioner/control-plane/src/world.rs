//! Time, randomness and disk: the three things that make a run differ from the next one.
//!
//! Everything takes them from a [`World`], so that a test or a simulation can hold them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;

/// Tells the time and wakes sleepers.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
    /// Completes when `now` has reached `until`.
    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()>;
}

/// A source of random numbers.
pub trait Rng: Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}

/// A place for files whose writes can be made to fail or tear.
pub trait Disk: Send + Sync {
    /// Opens a file, making it when it is not there. A file that was made stays there after a crash.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Where the file is, as messages name it.
    fn locate(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
    /// Whether calls may take as long as a device does, so that an executor's thread should not make them.
    fn blocks(&self) -> bool {
        true
    }
}

/// One open file. What was written is there after a crash only when `sync` returned `Ok`.
#[allow(clippy::len_without_is_empty, reason = "a length to read up to, not a container")]
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; short files are an error.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Returns when everything written so far would survive a crash.
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes; what is added reads as zeros.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Takes the file for this handle alone until the handle is dropped; `false` when another handle has it.
    fn lock(&self) -> io::Result<bool>;
}

/// The three together.
#[derive(Clone)]
pub struct World {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Files.
    pub disk: Arc<dyn Disk>,
}

impl World {
    /// A random version 4 UUID, as objects carry in `metadata.uid`.
    #[must_use]
    pub fn uuid(&self) -> String {
        let (a, b) = (self.rng.next_u64(), self.rng.next_u64());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | ((b >> 48) & 0x3fff),
            b & 0xffff_ffff_ffff
        )
    }

    /// `length` characters of the alphabet that Kubernetes draws generated names from.
    ///
    /// Source: apimachinery `rand.String`: no vowels and no characters that look alike.
    #[must_use]
    pub fn suffix(&self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let size = ALPHABET.len() as u64;
        (0..length)
            .map(|_| ALPHABET[usize::try_from(self.rng.next_u64() % size).expect("smaller than the alphabet")] as char)
            .collect()
    }
}

/// A world held by a test or a simulation.
pub mod memory;
/// The world as it is: the system's clock, random numbers and files below a folder.
pub mod real;
