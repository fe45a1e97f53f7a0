//! The real clock, random numbers and disk. The only place that may touch them.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the one door to the real ones")]

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;

use super::*;

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, until: Timestamp) -> BoxFuture<'static, ()> {
        let wait = until.duration_since(Timestamp::now());
        let wait = Duration::try_from(wait).unwrap_or(Duration::ZERO);
        Box::pin(tokio::time::sleep(wait))
    }
}

/// The operating system's random numbers.
#[derive(Debug)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        SysRng.try_next_u64().expect("the operating system always has random numbers")
    }
}

/// Files below one folder; files are made readable by their owner alone.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Disk for Folder {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let path = self.locate(path);
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = options.create(true).open(&path)?;
                // A new name is there after a crash only when its folder was synced too.
                File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
                Ok(Box::new(RealFile(file)))
            }
            opened => Ok(Box::new(RealFile(opened?))),
        }
    }

    fn locate(&self, path: &Path) -> PathBuf {
        self.0.join(path)
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// The real world, with files below `folder`.
#[must_use]
pub fn world(folder: impl Into<PathBuf>) -> World {
    World { clock: Arc::new(SystemClock), rng: Arc::new(SystemRng), disk: Arc::new(Folder(folder.into())) }
}
