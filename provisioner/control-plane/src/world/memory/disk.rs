//! A disk in memory that keeps apart what was written from what was synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SeededRng;
use crate::world::{Disk, DiskFile, Rng};

/// What a device writes whole.
const SECTOR: usize = 512;
/// What a file system gives out.
const BLOCK: u64 = 4096;

/// A disk in memory. Clones are the same disk.
///
/// After a power cut, what was not synced is there in part: nothing of it, all of it, all up to some point, or any
/// choice of sectors, as the seed has it. After a failed sync the same is true, but what was lost reads as if it were
/// there until the power is cut, as the page cache of a real system does.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    rng: SeededRng,
    files: BTreeMap<PathBuf, Contents>,
    capacity: Option<u64>,
    /// Handles of an earlier life are dead.
    life: u64,
    powered: bool,
    changes: u64,
    syncs: u64,
    cut_at: Option<u64>,
    fail_sync_at: Option<u64>,
}

#[derive(Debug, Default)]
struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    blocks: BTreeSet<u64>,
    locked: bool,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl MemoryDisk {
    /// An empty disk whose accidents follow from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            rng: SeededRng::new(seed),
            files: BTreeMap::new(),
            capacity: None,
            life: 0,
            powered: true,
            changes: 0,
            syncs: 0,
            cut_at: None,
            fail_sync_at: None,
        })))
    }

    /// How many writes, truncations and syncs there have been.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.inner().changes
    }

    /// How many syncs there have been.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.inner().syncs
    }

    /// Cuts the power during the write, truncation or sync that comes after `changes` others.
    pub fn cut_power_at(&self, changes: u64) {
        self.inner().cut_at = Some(changes);
    }

    /// Lets the sync fail that comes after `syncs` others.
    pub fn fail_sync_at(&self, syncs: u64) {
        self.inner().fail_sync_at = Some(syncs);
    }

    /// Bytes that fit on it; `None` for no end of them.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.inner().capacity = bytes;
    }

    /// Bytes that files take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.inner().used()
    }

    /// Cuts the power if it is on, then turns it on: open handles are dead, locks are gone, what was not synced is
    /// there in part.
    pub fn restart(&self) {
        let mut inner = self.inner();
        let Inner { rng, files, life, powered, cut_at, fail_sync_at, .. } = &mut *inner;
        for file in files.values_mut() {
            file.settle(rng);
            file.seen = file.durable.clone();
            file.locked = false;
        }
        *life += 1;
        *powered = true;
        (*cut_at, *fail_sync_at) = (None, None);
    }

    /// The bytes of a file as they are seen now; `None` when there is no such file.
    #[must_use]
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.inner().files.get(path.as_ref()).map(|file| file.seen.clone())
    }

    /// Puts a file there, synced.
    pub fn put(&self, path: impl AsRef<Path>, bytes: Vec<u8>) {
        let blocks = (0..(bytes.len() as u64).div_ceil(BLOCK)).collect();
        let file = Contents { durable: bytes.clone(), seen: bytes, blocks, ..Contents::default() };
        self.inner().files.insert(path.as_ref().to_owned(), file);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.inner();
        inner.alive(inner.life)?;
        inner.files.entry(path.to_owned()).or_default();
        Ok(Box::new(Handle {
            disk: self.clone(),
            path: path.to_owned(),
            life: inner.life,
            holds_lock: Mutex::new(false),
        }))
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl Inner {
    fn alive(&self, life: u64) -> io::Result<()> {
        if self.powered && self.life == life { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    fn used(&self) -> u64 {
        self.files.values().map(|file| file.blocks.len() as u64 * BLOCK).sum()
    }

    fn file(&mut self, path: &Path) -> io::Result<&mut Contents> {
        self.files.get_mut(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts a change; `false` when the power goes during it.
    fn count(&mut self) -> bool {
        self.powered = self.cut_at != Some(self.changes);
        self.changes += 1;
        self.powered
    }

    fn change(&mut self, path: &Path, pending: Pending) -> io::Result<()> {
        if let (Pending::Write(offset, data), Some(capacity)) = (&pending, self.capacity) {
            let used = self.used();
            let file = self.file(path)?;
            let fresh = blocks(*offset, data.len()).filter(|block| !file.blocks.contains(block)).count() as u64;
            if fresh > 0 && used + fresh * BLOCK > capacity {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let powered = self.count();
        let file = self.file(path)?;
        file.note(&pending);
        file.pending.push(pending);
        if powered { Ok(()) } else { Err(io::Error::other("the power is off")) }
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        let fails = self.fail_sync_at == Some(self.syncs);
        self.syncs += 1;
        if !self.count() {
            return Err(io::Error::other("the power is off"));
        }
        if fails {
            let Self { rng, files, .. } = self;
            if let Some(file) = files.get_mut(path) {
                file.settle(rng);
            }
            return Err(io::Error::other("the device lost a write"));
        }
        let file = self.file(path)?;
        for pending in std::mem::take(&mut file.pending) {
            pending.apply(&mut file.durable);
        }
        Ok(())
    }
}

impl Contents {
    fn note(&mut self, pending: &Pending) {
        pending.apply(&mut self.seen);
        match pending {
            Pending::Write(offset, data) => self.blocks.extend(blocks(*offset, data.len())),
            Pending::Truncate(len) => self.blocks.retain(|block| *block < (*len as u64).div_ceil(BLOCK)),
        }
    }

    /// Lets a part of what was not synced reach the device.
    fn settle(&mut self, rng: &SeededRng) {
        let sectors: Vec<Pending> = std::mem::take(&mut self.pending).iter().flat_map(Pending::sectors).collect();
        let kept = match rng.next_u64() % 4 {
            0 => 0,
            1 => sectors.len() as u64,
            _ => rng.next_u64() % (sectors.len() as u64 + 1),
        };
        let scattered = rng.coin();
        for (index, pending) in (0..).zip(sectors) {
            let survives = if scattered { rng.coin() } else { index < kept };
            if survives {
                pending.apply(&mut self.durable);
            }
        }
    }
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Truncate(len) => bytes.resize(*len, 0),
        }
    }

    /// The same in pieces that reach the device whole or not at all.
    fn sectors(&self) -> Vec<Pending> {
        let Self::Write(offset, data) = self else { return vec![self.clone()] };
        let (mut at, mut rest, mut pieces) = (*offset, &data[..], Vec::new());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
            pieces.push(Self::Write(at, piece.to_vec()));
            (at, rest) = (at + piece.len(), behind);
        }
        pieces
    }
}

fn blocks(offset: usize, len: usize) -> std::ops::Range<u64> {
    offset as u64 / BLOCK..((offset + len) as u64).div_ceil(BLOCK)
}

#[derive(Debug)]
struct Handle {
    disk: MemoryDisk,
    path: PathBuf,
    life: u64,
    holds_lock: Mutex<bool>,
}

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        let mut inner = self.disk.inner();
        inner.alive(self.life)?;
        work(&mut inner)
    }
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.file(&self.path)?.seen.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|disk| {
            let seen = &disk.file(&self.path)?.seen;
            let offset = place(offset)?;
            let bytes = seen.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = Pending::Write(place(offset)?, data.to_vec());
        self.with(|disk| disk.change(&self.path, write))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|disk| disk.sync(&self.path))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let truncate = Pending::Truncate(place(len)?);
        self.with(|disk| disk.change(&self.path, truncate))
    }

    fn lock(&self) -> io::Result<bool> {
        self.with(|disk| {
            let mut holds = self.holds_lock.lock().unwrap_or_else(PoisonError::into_inner);
            let file = disk.file(&self.path)?;
            let free = !file.locked || *holds;
            (file.locked, *holds) = (true, free);
            Ok(free)
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if *self.holds_lock.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // A handle of an earlier life lost its lock with the power: an error leaves nothing to do.
            let _ = self.with(|disk| {
                disk.file(&self.path)?.locked = false;
                Ok(())
            });
        }
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
