//! The folder of images: its index, its locks, who uses what.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kprov_control_plane::world::World;
use nix::sys::inotify::AddWatchFlags;
use sha2::{Digest as _, Sha256};

use super::archive::{self, Candidate, CandidateLayer};
use super::catalog::{Catalog, Stamp};
use super::layer::{self, digest_text};
use super::manifest::{Descriptor, INDEX, Index, MANIFEST, REF_NAME};
use super::reference::is_digest;
use super::{At, Error, Reference};
use crate::kernel::watch::Watch;
use crate::runtime::Image;

/// File that says which images there are.
const INDEX_FILE: &str = "index.json";

/// The images of this machine. Clones share it; so do other processes.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    root: PathBuf,
    world: World,
    pub(super) known: Mutex<Option<(Stamp, Arc<Catalog>)>>,
}

/// The unpacked layers of an image, as overlayfs wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layers {
    /// Folder that `names` stand in.
    pub folder: PathBuf,
    /// Paths below `folder`, the topmost layer first.
    pub names: Vec<String>,
}

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that lead nowhere now.
    pub names: Vec<String>,
    /// The image, when its last name went.
    pub image: Option<String>,
}

/// Tells when other images are in a store, whichever process put them there.
pub struct Changes {
    watch: Watch,
    folder: PathBuf,
}

impl Changes {
    /// Waits for the next change.
    pub async fn next(&mut self) -> Result<(), Error> {
        loop {
            let events = self.watch.changes().await.at("watch", &self.folder)?;
            // Without a name: more has happened than the kernel keeps.
            if events.iter().any(|event| event.name.as_ref().is_none_or(|name| name == INDEX_FILE)) {
                return Ok(());
            }
        }
    }
}

impl Store {
    /// Opens the store in `root`, makes it when it is not there, and sweeps what a crash left.
    pub fn open(root: impl Into<PathBuf>, world: World) -> Result<Self, Error> {
        let root = root.into();
        for folder in ["blobs/sha256", "layers", "leases", "tmp"] {
            let path = root.join(folder);
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).at("make", &path)?;
        }
        let store = Self { inner: Arc::new(Inner { root, world, known: Mutex::new(None) }) };
        store.write_layout()?;
        store.sweep()?;
        Ok(store)
    }

    /// Loads every image of an archive: docker's form or an OCI layout, plain or gzip.
    ///
    /// `name` is given to an archive's only image besides the names that it brings.
    /// A name that leads to another image is moved. Nothing is left behind by a failure.
    pub fn load(&self, reader: impl Read, name: Option<&Reference>) -> Result<Vec<Image>, Error> {
        let _import = self.import()?;
        let work = self.work_folder()?;
        let mut candidates = archive::read(reader, &work.0)?;
        match (name, candidates.as_mut_slice()) {
            (Some(name), [only]) => only.names.push(name.clone()),
            (Some(_), _) => {
                return Err(Error::NotAnImage("a name was given, but the archive holds more than one image".into()));
            }
            (None, _) => {}
        }
        for candidate in &candidates {
            for layer in &candidate.layers {
                self.unpack(layer, &work.0)?;
            }
        }
        candidates.iter().map(|candidate| self.record(candidate)).collect()
    }

    /// The image that a name, a digest reference or an id leads to.
    pub fn find(&self, reference: &str) -> Result<Option<Image>, Error> {
        Ok(self.catalog()?.find(reference)?.map(|e| e.image.clone()))
    }

    /// Changes from now on. To be called inside of a tokio runtime.
    pub fn changes(&self) -> Result<Changes, Error> {
        let folder = self.inner.root.clone();
        // The index is replaced by a rename.
        let watch = Watch::of(&folder, AddWatchFlags::IN_MOVED_TO).at("watch", &folder)?;
        Ok(Changes { watch, folder })
    }

    /// Every image, by its first name.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        let mut images: Vec<Image> = self.catalog()?.entries.iter().map(|e| e.image.clone()).collect();
        images.sort_by(|a, b| (&a.names, &a.id).cmp(&(&b.names, &b.id)));
        Ok(images)
    }

    /// Takes a name away, and the image when no other name leads to it. An id takes all its names away.
    ///
    /// Errors: [`Error::InUse`] when the image would go and containers use it, [`Error::Missing`].
    pub fn remove(&self, reference: &str) -> Result<Removed, Error> {
        let _import = self.import()?;
        let removed = {
            let _change = self.change()?;
            let catalog = self.catalog()?;
            let entry = catalog.find(reference)?.ok_or_else(|| Error::Missing(reference.into()))?;
            let names = match Reference::parse(reference).filter(|r| !is_digest(reference) && r.digest.is_none()) {
                Some(name) => vec![name.to_string()],
                None => entry.image.names.clone(),
            };
            let goes = entry.image.names.iter().all(|n| names.contains(n));
            let users = self.users()?.remove(&entry.image.id).unwrap_or_default();
            if goes && !users.is_empty() {
                return Err(Error::InUse { image: reference.into(), containers: users });
            }
            let (digest, id) = (entry.manifest.digest.clone(), entry.image.id.clone());
            self.write_index(self.index()?.manifests.into_iter().filter(|d| {
                d.digest != digest || (!goes && d.annotations.get(REF_NAME).is_none_or(|n| !names.contains(n)))
            }))?;
            Removed { names, image: goes.then_some(id) }
        };
        self.collect_garbage()?;
        Ok(removed)
    }

    /// Says that a container uses an image, so that it can't be removed, and tells where its layers are.
    pub fn lease(&self, owner: &str, container: &str, image: &str) -> Result<Layers, Error> {
        let lock = self.lock_file("lock")?;
        lock.lock_shared().at("lock", self.path("lock"))?;
        let catalog = self.catalog()?;
        let entry = catalog.by_id(image).ok_or_else(|| Error::Missing(image.into()))?;
        let folder = self.path("leases").join(owner);
        fs::create_dir_all(&folder).at("make", &folder)?;
        let file = folder.join(container);
        fs::write(&file, image).at("write", &file)?;
        let names = entry.diff_ids.iter().rev().map(|id| format!("{}/fs", short(id))).collect();
        Ok(Layers { folder: self.path("layers"), names })
    }

    /// Takes a lease back. One that is gone is no error.
    pub fn release(&self, owner: &str, container: &str) -> Result<(), Error> {
        let file = self.path("leases").join(owner).join(container);
        gone(fs::remove_file(&file)).at("remove", &file)
    }

    /// Takes back every lease of `owner` whose container is not in `keep`.
    pub fn retain(&self, owner: &str, keep: &BTreeSet<String>) -> Result<(), Error> {
        for container in names_in(&self.path("leases").join(owner))? {
            if !keep.contains(&container) {
                self.release(owner, &container)?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.inner.root.join(name)
    }

    /// Keeps other imports and removals out.
    pub(super) fn import(&self) -> Result<File, Error> {
        let lock = self.lock_file("import.lock")?;
        lock.lock().at("lock", self.path("import.lock"))?;
        Ok(lock)
    }

    /// Keeps everyone else from the index and the leases; held for moments.
    fn change(&self) -> Result<File, Error> {
        let lock = self.lock_file("lock")?;
        lock.lock().at("lock", self.path("lock"))?;
        Ok(lock)
    }

    fn lock_file(&self, name: &str) -> Result<File, Error> {
        let path = self.path(name);
        File::options().create(true).truncate(false).write(true).open(&path).at("open", &path)
    }

    pub(super) fn work_folder(&self) -> Result<WorkFolder, Error> {
        let path = self.path("tmp").join(self.inner.world.uuid());
        fs::create_dir(&path).at("make", &path)?;
        Ok(WorkFolder(path))
    }

    fn unpack(&self, layer: &CandidateLayer, work: &Path) -> Result<(), Error> {
        if !is_digest(&layer.diff_id) {
            return Err(Error::NotAnImage(format!("{:?} is no sha256 digest", layer.diff_id)));
        }
        let open = || File::open(&layer.file).at("open", &layer.file);
        if let Some(expected) = layer.digest.as_ref().filter(|d| **d != layer.diff_id) {
            let mut hash = Sha256::new();
            io::copy(&mut open()?, &mut hash).at("read", &layer.file)?;
            same_digest("a layer", expected, digest_text(hash))?;
        }
        if self.has_layer(&layer.diff_id)? {
            return Ok(());
        }
        let folder = work.join(short(&layer.diff_id));
        let root = folder.join("fs");
        fs::create_dir_all(&root).at("make", &root)?;
        let unpacked = layer::unpack(archive::decompress(open()?, "a layer")?, &root)?;
        same_digest("an unpacked layer", &layer.diff_id, unpacked.digest)?;
        self.add_layer(&folder, &layer.diff_id, unpacked.size)
    }

    /// Whether the layer is here. The folder's short name is checked against the whole digest.
    pub(super) fn has_layer(&self, diff_id: &str) -> Result<bool, Error> {
        let file = self.path("layers").join(short(diff_id)).join("diff-id");
        match fs::read_to_string(&file) {
            Ok(found) if found == diff_id => Ok(true),
            Ok(found) => Err(Error::Corrupt { path: file, why: format!("it should say {diff_id} and says {found}") }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).at("read", &file),
        }
    }

    /// Moves a finished layer into place, after everything in it is on disk.
    pub(super) fn add_layer(&self, folder: &Path, diff_id: &str, size: u64) -> Result<(), Error> {
        for (name, text) in [("size", size.to_string()), ("diff-id", diff_id.to_owned())] {
            let file = folder.join(name);
            fs::write(&file, text).at("write", &file)?;
        }
        let handle = File::open(folder).at("open", folder)?;
        rustix::fs::syncfs(&handle).at("sync", folder)?;
        let place = self.path("layers").join(short(diff_id));
        fs::rename(folder, &place).at("move into place", &place)
    }

    /// Writes the image's documents and then its names. Only the last step makes it visible.
    pub(super) fn record(&self, candidate: &Candidate) -> Result<Image, Error> {
        let manifest = self.write_blob(&candidate.manifest, MANIFEST)?;
        let config = self.write_blob(&candidate.config, "")?;
        let names: BTreeSet<String> = candidate.names.iter().map(ToString::to_string).collect();
        let _change = self.change()?;
        let users = self.users()?;
        let catalog = self.catalog()?;
        let used = |digest: &str| {
            catalog.entries.iter().any(|e| e.manifest.digest == digest && users.contains_key(&e.image.id))
        };
        let mut entries = vec![];
        for mut entry in self.index()?.manifests {
            if entry.annotations.get(REF_NAME).is_some_and(|name| names.contains(name)) {
                // The image that loses this name stays for those who use it, or under its other names.
                if entry.digest == manifest.digest || !used(&entry.digest) {
                    continue;
                }
                entry.annotations.clear();
            }
            entries.push(entry);
        }
        entries.extend(names.into_iter().map(|name| named(&manifest, name)));
        if entries.iter().all(|e| e.digest != manifest.digest) {
            entries.push(manifest);
        }
        self.write_index(entries.into_iter())?;
        let image = self.catalog()?.by_id(&config.digest).map(|e| e.image.clone());
        image.ok_or(Error::Missing(config.digest))
    }

    fn write_blob(&self, bytes: &[u8], media_type: &str) -> Result<Descriptor, Error> {
        let digest = digest_text(Sha256::new_with_prefix(bytes));
        let path = self.blob_path(&digest);
        if !path.exists() {
            self.replace(&path, bytes)?;
        }
        Ok(Descriptor { media_type: media_type.into(), digest, size: bytes.len() as u64, ..Descriptor::default() })
    }

    pub(super) fn blob_path(&self, digest: &str) -> PathBuf {
        self.path("blobs").join(digest.replace(':', "/"))
    }

    /// A whole new file or the old one, also after a crash.
    pub(super) fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let work = self.path("tmp").join(self.inner.world.uuid());
        let mut file = File::create_new(&work).at("make", &work)?;
        io::Write::write_all(&mut file, bytes).at("write", &work)?;
        file.sync_all().at("sync", &work)?;
        fs::rename(&work, path).at("move into place", path)?;
        let folder = path.parent().unwrap_or(&self.inner.root);
        File::open(folder).and_then(|f| f.sync_all()).at("sync", folder)
    }

    pub(super) fn index(&self) -> Result<Index, Error> {
        let path = self.path(INDEX_FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::Corrupt { path, why: e.to_string() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(empty_index()),
            Err(e) => Err(e).at("read", &path),
        }
    }

    fn write_index(&self, manifests: impl Iterator<Item = Descriptor>) -> Result<(), Error> {
        let index = Index { manifests: manifests.collect(), ..empty_index() };
        let bytes = serde_json::to_vec_pretty(&index).expect("strings and numbers are always JSON");
        self.replace(&self.path(INDEX_FILE), &bytes)
    }

    /// Image ids and the containers that use them.
    fn users(&self) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for owner in names_in(&self.path("leases"))? {
            for container in names_in(&self.path("leases").join(&owner))? {
                let file = self.path("leases").join(&owner).join(&container);
                match fs::read_to_string(&file) {
                    Ok(image) => users.entry(image).or_default().push(format!("{owner}/{container}")),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e).at("read", &file),
                }
            }
        }
        Ok(users)
    }

    fn write_layout(&self) -> Result<(), Error> {
        let _change = self.change()?;
        let layout = self.path("oci-layout");
        if layout.exists() { Ok(()) } else { self.replace(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#) }
    }

    /// What a crash left, unless an import is under way.
    fn sweep(&self) -> Result<(), Error> {
        let lock = self.lock_file("import.lock")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(()),
            Err(fs::TryLockError::Error(e)) => return Err(e).at("lock", self.path("import.lock")),
        }
        self.collect_garbage()?;
        // Short changes also use the folder, so they are kept out while it is emptied.
        let _change = self.change()?;
        for name in names_in(&self.path("tmp"))? {
            delete(&self.path("tmp").join(name))?;
        }
        Ok(())
    }

    /// Deletes layers and documents that no image leads to. The caller holds the import lock.
    fn collect_garbage(&self) -> Result<(), Error> {
        let catalog = self.catalog()?;
        let layers: BTreeSet<&str> = catalog.entries.iter().flat_map(|e| &e.diff_ids).map(|id| short(id)).collect();
        for name in names_in(&self.path("layers"))? {
            if !layers.contains(name.as_str()) {
                let doomed = self.path("tmp").join(self.inner.world.uuid());
                let place = self.path("layers").join(&name);
                fs::rename(&place, &doomed).at("move away", &place)?;
                delete(&doomed)?;
            }
        }
        let documents: BTreeSet<String> =
            catalog.entries.iter().flat_map(|e| [e.manifest.digest.clone(), e.image.id.clone()]).collect();
        for name in names_in(&self.path("blobs/sha256"))? {
            if !documents.contains(&format!("sha256:{name}")) {
                delete(&self.path("blobs/sha256").join(name))?;
            }
        }
        Ok(())
    }
}

/// A folder that goes with its owner.
pub(super) struct WorkFolder(pub(super) PathBuf);

impl Drop for WorkFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a work folder stays until the next start sweeps it");
        }
    }
}

fn empty_index() -> Index {
    Index { schema_version: 2, media_type: INDEX.into(), manifests: vec![] }
}

fn named(manifest: &Descriptor, name: String) -> Descriptor {
    Descriptor { annotations: BTreeMap::from([(REF_NAME.to_owned(), name)]), ..manifest.clone() }
}

/// The folder name of a layer: overlayfs takes all lower folders in one page, so names must be short.
pub(super) fn short(diff_id: &str) -> &str {
    let hex = diff_id.strip_prefix("sha256:").unwrap_or(diff_id);
    hex.get(..32).unwrap_or(hex)
}

fn same_digest(what: &str, expected: &str, found: String) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Digest { what: what.into(), expected: expected.into(), found })
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn delete(path: &Path) -> Result<(), Error> {
    let folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    gone(if folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }).at("delete", path)
}

fn names_in(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(e).at("read", folder),
    };
    entries.map(|entry| Ok(entry.at("read", folder)?.file_name().to_string_lossy().into_owned())).collect()
}
