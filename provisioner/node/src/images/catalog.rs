//! The images of a store as its index and documents tell them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::archive;
use super::manifest::{Configuration, Descriptor, Manifest, REF_NAME};
use super::reference::is_digest;
use super::store::short;
use super::{At, Error, Reference, Store};
use crate::runtime::Image;

/// Tells one state of the index from another: every change makes a new file.
pub(super) type Stamp = (u64, i64, i64, u64);

#[derive(Default)]
pub(super) struct Catalog {
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) manifest: Descriptor,
    pub(super) image: Image,
    pub(super) diff_ids: Vec<String>,
}

impl Catalog {
    pub(super) fn by_id(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.image.id == id)
    }

    pub(super) fn find(&self, reference: &str) -> Result<Option<&Entry>, Error> {
        if is_digest(reference) {
            return Ok(self.by_id(reference));
        }
        let wanted = Reference::parse(reference).ok_or_else(|| Error::InvalidName(reference.into()))?;
        if let Some(digest) = &wanted.digest {
            let of_this_name = |e: &&Entry| e.image.names.iter().any(|n| n.starts_with(&format!("{}:", wanted.name)));
            let matches = |e: &&Entry| e.manifest.digest == *digest || e.image.id == *digest;
            return Ok(self.entries.iter().filter(of_this_name).find(matches));
        }
        let name = wanted.to_string();
        Ok(self.entries.iter().find(|e| e.image.names.contains(&name)))
    }
}

impl Store {
    /// The index and the documents it leads to, read again only when another one is in place.
    pub(super) fn catalog(&self) -> Result<Arc<Catalog>, Error> {
        let mut known = self.inner.known.lock().expect("no holder panics");
        loop {
            let stamp = self.stamp()?;
            if let Some((_, catalog)) = known.as_ref().filter(|(at, _)| *at == stamp) {
                return Ok(Arc::clone(catalog));
            }
            match self.read_catalog() {
                Ok(catalog) => *known = Some((stamp, Arc::new(catalog))),
                // Somebody removed an image between the index and its documents.
                Err(_) if self.stamp()? != stamp => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn stamp(&self) -> Result<Stamp, Error> {
        let path = self.path("index.json");
        match fs::metadata(&path) {
            Ok(found) => Ok((found.ino(), found.mtime(), found.mtime_nsec(), found.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok((0, 0, 0, 0)),
            Err(e) => Err(e).at("look at", &path),
        }
    }

    fn read_catalog(&self) -> Result<Catalog, Error> {
        let mut entries: Vec<Entry> = vec![];
        for descriptor in self.index()?.manifests {
            let name = descriptor.annotations.get(REF_NAME).cloned();
            if let Some(known) = entries.iter_mut().find(|e| e.manifest.digest == descriptor.digest) {
                known.image.names.extend(name);
            } else {
                entries.push(self.read_entry(descriptor, name)?);
            }
        }
        Ok(Catalog { entries })
    }

    fn read_entry(&self, descriptor: Descriptor, name: Option<String>) -> Result<Entry, Error> {
        let manifest: Manifest = self.read_blob(&descriptor.digest)?;
        let config: Configuration = self.read_blob(&manifest.config.digest)?;
        let mut size_bytes = 0;
        for diff_id in &config.rootfs.diff_ids {
            size_bytes += self.layer_size(diff_id)?;
        }
        let mut image = image_of(&manifest.config.digest, &config, size_bytes);
        image.names.extend(name);
        Ok(Entry { manifest: descriptor, image, diff_ids: config.rootfs.diff_ids })
    }

    fn read_blob<T: serde::de::DeserializeOwned>(&self, digest: &str) -> Result<T, Error> {
        let path = self.blob_path(digest);
        let bytes = fs::read(&path).at("read", &path)?;
        archive::check(&bytes, digest, &path.display().to_string())?;
        serde_json::from_slice(&bytes).map_err(|e| Error::Corrupt { path, why: e.to_string() })
    }

    fn layer_size(&self, diff_id: &str) -> Result<u64, Error> {
        let path = self.path("layers").join(short(diff_id)).join("size");
        let text = fs::read_to_string(&path).at("read", &path)?;
        text.parse().map_err(|_| Error::Corrupt { path, why: "it is no number".into() })
    }
}

fn image_of(id: &str, config: &Configuration, size_bytes: u64) -> Image {
    let run = config.config.clone().unwrap_or_default();
    let split = |entry: String| match entry.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (entry, String::new()),
    };
    Image {
        id: id.into(),
        names: vec![],
        size_bytes,
        entrypoint: run.entrypoint.unwrap_or_default(),
        command: run.cmd.unwrap_or_default(),
        env: run.env.unwrap_or_default().into_iter().map(split).collect(),
        working_dir: run.working_dir.unwrap_or_default(),
        user: run.user.unwrap_or_default(),
        stop_signal: run.stop_signal.unwrap_or_default(),
    }
}
