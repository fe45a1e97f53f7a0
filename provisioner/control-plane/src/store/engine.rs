//! The durable side: one redb file over the world's disk.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kprov_schema::Revision;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle,
};

use super::backend::{self, Backend, Failure, Trouble, is_full};
use super::{Change, StoreError, Stored};
use crate::world::{DiskFile, World};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
/// Kept beside the objects, because the newest revision may be that of a deletion.
const HEAD: &str = "head";
const FORMAT: &str = "format";
const KNOWN_FORMAT: u64 = 1;
/// The head of a store that nothing was written to: clients give revision 0 a meaning of its own.
const FIRST: Revision = Revision(1);
/// Everything is in memory already, so redb only needs its inner pages.
const CACHE_BYTES: usize = 8 << 20;

/// Why a batch is not known to be on disk.
#[derive(Debug)]
pub(super) enum WriteError {
    /// No space: it may be tried again.
    Full,
    /// Anything else: what the disk holds is unknown.
    Failed(String),
}

/// What was on disk when it was opened.
pub(super) struct Loaded {
    pub(super) head: Revision,
    pub(super) objects: Vec<Arc<Stored>>,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Engine {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    trouble: Trouble,
    /// `None` after a failure.
    database: Option<Database>,
}

impl Engine {
    /// Opens or makes the file, checks every page of it, reads it all.
    pub(super) fn open(world: &World, path: &Path) -> Result<(Self, Loaded), StoreError> {
        let place = world.disk.locate(path);
        let file: Arc<dyn DiskFile> = match world.disk.open(path) {
            Ok(file) => Arc::from(file),
            Err(source) => return Err(io_error(place, source)),
        };
        match file.lock() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::InUse { path: place }),
            Err(source) => return Err(io_error(place, source)),
        }
        backend::prepare(&*file).map_err(|source| io_error(place.clone(), source))?;
        let trouble = Trouble::default();
        let opened = unpanicked(|| {
            let database = database(&file, &trouble, true)?;
            let loaded = load(&database)?;
            Ok((database, loaded))
        });
        match opened {
            Ok((database, loaded)) => Ok((Self { path: place, file, trouble, database: Some(database) }, loaded)),
            Err(fault) => Err(fault.into_error(place, trouble.take())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the changes with the new head in one transaction. `Ok` means that they are there after a crash.
    pub(super) fn write(&mut self, changes: &[Arc<Change>], head: Revision) -> Result<(), WriteError> {
        let Some(database) = &self.database else { return Err(WriteError::Full) };
        let written = unpanicked(|| write(database, changes, head));
        let trouble = self.trouble.take();
        written.map_err(|fault| {
            self.database = None;
            match trouble {
                Some(trouble) if trouble.is_full() => WriteError::Full,
                Some(trouble) => WriteError::Failed(trouble.to_string()),
                None => WriteError::Failed(fault.what()),
            }
        })
    }

    /// Whether a write found no space and nothing was written since.
    pub(super) fn is_closed(&self) -> bool {
        self.database.is_none()
    }

    /// Opens the file anew after it was full; the head that is on disk.
    pub(super) fn reopen(&mut self) -> Result<Revision, WriteError> {
        let opened = unpanicked(|| {
            let database = database(&self.file, &self.trouble, false)?;
            let head = head(&database)?;
            Ok((database, head))
        });
        match (opened, self.trouble.take()) {
            (Ok((database, head)), _) => {
                self.database = Some(database);
                Ok(head)
            }
            (Err(_), Some(trouble)) if trouble.is_full() => Err(WriteError::Full),
            (Err(fault), trouble) => Err(WriteError::Failed(trouble.map_or(fault.what(), |one| one.to_string()))),
        }
    }

    /// Closes the file tidily. What fails here costs a check at the next start, nothing else.
    pub(super) fn close(self) {
        if let Some(Err(error)) = self.database.map(Database::close) {
            tracing::warn!(path = %self.path.display(), %error, "the store was not closed tidily");
        }
    }
}

/// What stood in the way, before it is known to whom it matters.
enum Fault {
    Redb(Box<redb::Error>),
    Foreign(String),
    Corrupt(String),
    Format(u64),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

impl Fault {
    fn what(self) -> String {
        match self {
            Self::Redb(error) => error.to_string(),
            Self::Foreign(what) | Self::Corrupt(what) => what,
            Self::Format(found) => format!("format {found}"),
        }
    }

    fn into_error(self, path: PathBuf, trouble: Option<Failure>) -> StoreError {
        if let Some(failure) = trouble {
            return io_error(path, failure.error());
        }
        match self {
            Self::Format(found) => StoreError::Format { path, found, known: KNOWN_FORMAT },
            Self::Foreign(what) => StoreError::Foreign { path, what },
            Self::Redb(error) => match *error {
                redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
                    StoreError::Foreign { path, what: source.to_string() }
                }
                redb::Error::Io(source) => io_error(path, source),
                redb::Error::UpgradeRequired(version) => {
                    StoreError::Foreign { path, what: format!("a redb file of version {version}") }
                }
                other => StoreError::Corrupt { path, what: other.to_string() },
            },
            Self::Corrupt(what) => StoreError::Corrupt { path, what },
        }
    }
}

fn io_error(path: PathBuf, source: io::Error) -> StoreError {
    if is_full(source.kind()) { StoreError::Full { path, source } } else { StoreError::Io { path, source } }
}

/// A damaged file can make redb panic; that is a fault of the file, not of the program.
fn unpanicked<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Fault::Corrupt(text.unwrap_or_else(|| "it can't be made sense of".to_owned())))
    })
}

fn database(file: &Arc<dyn DiskFile>, trouble: &Trouble, check: bool) -> Result<Database, DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(check)
        .create_with_backend(Backend::new(file.clone(), trouble.clone()))
}

fn load(database: &Database) -> Result<Loaded, Fault> {
    let read = database.begin_read()?;
    let facts = match read.open_table(FACTS) {
        Ok(facts) => facts,
        Err(TableError::TableDoesNotExist(_)) => return empty(database),
        Err(error) => return Err(Fault::Foreign(error.to_string())),
    };
    let format = facts.get(FORMAT)?.ok_or_else(|| Fault::Corrupt("it does not tell its format".into()))?.value();
    if format != KNOWN_FORMAT {
        return Err(Fault::Format(format));
    }
    let head = facts.get(HEAD)?.ok_or_else(|| Fault::Corrupt("it does not tell its revision".into()))?.value();
    let mut objects = Vec::new();
    for entry in read.open_table(OBJECTS)?.iter()? {
        let (key, json) = entry?;
        let stored = Stored::read(key.value(), json.value()).map_err(Fault::Corrupt)?;
        if stored.revision.0 > head {
            return Err(Fault::Corrupt(format!("object {} is newer than the store", stored.key)));
        }
        objects.push(Arc::new(stored));
    }
    Ok(Loaded { head: Revision(head), objects })
}

/// The first transaction of a new file.
fn empty(database: &Database) -> Result<Loaded, Fault> {
    let write = database.begin_write()?;
    if let Some(table) = write.list_tables()?.next() {
        return Err(Fault::Foreign(format!("a redb file with a table {:?}", table.name())));
    }
    write.open_table(OBJECTS)?;
    {
        let mut facts = write.open_table(FACTS)?;
        facts.insert(FORMAT, KNOWN_FORMAT)?;
        facts.insert(HEAD, FIRST.0)?;
    }
    write.commit()?;
    Ok(Loaded { head: FIRST, objects: Vec::new() })
}

fn head(database: &Database) -> Result<Revision, Fault> {
    let facts = database.begin_read()?.open_table(FACTS)?;
    let head = facts.get(HEAD)?.ok_or_else(|| Fault::Corrupt("it does not tell its revision".into()))?;
    Ok(Revision(head.value()))
}

fn write(database: &Database, changes: &[Arc<Change>], head: Revision) -> Result<(), Fault> {
    let write = database.begin_write()?;
    {
        let mut objects = write.open_table(OBJECTS)?;
        for change in changes {
            match &change.new {
                Some(new) => objects.insert(change.key.as_str(), &*new.json())?,
                None => objects.remove(change.key.as_str())?,
            };
        }
        write.open_table(FACTS)?.insert(HEAD, head.0)?;
    }
    write.commit()?;
    Ok(())
}
