//! Reads image archives: docker's own form, or an OCI layout in a tar archive.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tar::{Archive, EntryType};

use super::layer::{digest_text, inside};
use super::manifest::{
    self, CONTAINERD_NAME, Configuration, Descriptor, DockerImage, INDEX, Index, LAYER, MANIFEST, Manifest, REF_NAME,
    architecture,
};
use super::{At, Error, Reference};

/// Documents larger than this are no manifests.
const DOCUMENT_LIMIT: u64 = 16 << 20;

/// One image of an archive, its documents checked, its layers not yet.
pub(super) struct Candidate {
    pub(super) names: Vec<Reference>,
    pub(super) manifest: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<CandidateLayer>,
}

/// A layer as it stands in an archive.
pub(super) struct CandidateLayer {
    pub(super) file: PathBuf,
    pub(super) diff_id: String,
    /// Digest of the file as it is, where the archive tells one.
    pub(super) digest: Option<String>,
}

/// Spools the archive to `folder`, which must be empty, because its parts may come in any order.
pub(super) fn read(reader: impl Read, folder: &Path) -> Result<Vec<Candidate>, Error> {
    let spool = Spool::fill(reader, folder)?;
    let images = if spool.has("manifest.json") {
        spool.docker_images()?
    } else if spool.has("index.json") {
        spool.oci_images()?
    } else {
        return Err(Error::NotAnImage("the archive holds neither manifest.json nor index.json".into()));
    };
    if images.is_empty() {
        return Err(Error::NotAnImage("the archive lists no image for this machine".into()));
    }
    Ok(images)
}

/// Undoes gzip where it is; refuses the compressions that can't be undone here.
pub(super) fn decompress<'a>(reader: impl Read + 'a, what: &str) -> Result<Box<dyn Read + 'a>, Error> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let start = io::BufRead::fill_buf(&mut reader).map_err(|e| unreadable(what, &e))?;
    match start {
        [0x1f, 0x8b, ..] => Ok(Box::new(BufReader::new(MultiGzDecoder::new(reader)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Err(Error::NotAnImage(format!("{what} is compressed with zstd, which is not understood")))
        }
        [0xfd, b'7', b'z', ..] => {
            Err(Error::NotAnImage(format!("{what} is compressed with xz, which is not understood")))
        }
        [b'B', b'Z', b'h', ..] => {
            Err(Error::NotAnImage(format!("{what} is compressed with bzip2, which is not understood")))
        }
        [] => Err(Error::NotAnImage(format!("{what} is empty"))),
        _ => Ok(Box::new(reader)),
    }
}

fn unreadable(what: &str, error: &io::Error) -> Error {
    Error::NotAnImage(format!("{what} can't be read ({error})"))
}

enum Member {
    File(PathBuf),
    Link(PathBuf),
}

struct Spool {
    members: BTreeMap<PathBuf, Member>,
}

impl Spool {
    fn fill(reader: impl Read, folder: &Path) -> Result<Self, Error> {
        let mut archive = Archive::new(decompress(reader, "the file")?);
        let mut members = BTreeMap::new();
        for entry in archive.entries().map_err(|e| unreadable("the file", &e))? {
            let mut entry = entry.map_err(|e| Error::NotAnImage(format!("the file is no tar archive ({e})")))?;
            let raw = entry.path().map_err(|e| unreadable("a name", &e))?.into_owned();
            let Some(path) = inside(&raw)? else { continue };
            let member = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let file = folder.join(members.len().to_string());
                    let mut out = File::create_new(&file).at("make", &file)?;
                    io::copy(&mut entry, &mut out).at("unpack the archive to", &file)?;
                    Member::File(file)
                }
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let to = entry.link_name().map_err(|e| unreadable("a link", &e))?.unwrap_or_default();
                    let from = if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
                    Member::Link(resolve(from, &to))
                }
                _ => continue,
            };
            members.insert(path, member);
        }
        Ok(Self { members })
    }

    fn has(&self, name: &str) -> bool {
        self.members.contains_key(Path::new(name))
    }

    /// The spooled file of a member. Old docker archives link layers that occur twice.
    fn file(&self, name: &str) -> Result<&Path, Error> {
        let missing = || Error::NotAnImage(format!("{name} is missing from the archive"));
        let mut path = inside(Path::new(name))?.ok_or_else(missing)?;
        for _ in 0..8 {
            match self.members.get(&path) {
                Some(Member::File(file)) => return Ok(file),
                Some(Member::Link(to)) => path.clone_from(to),
                None => return Err(missing()),
            }
        }
        Err(missing())
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, Error> {
        let file = self.file(name)?;
        if fs::metadata(file).at("look at", file)?.len() > DOCUMENT_LIMIT {
            return Err(Error::NotAnImage(format!("{name} is too large for a document")));
        }
        fs::read(file).at("read", file)
    }

    fn blob(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.bytes(&blob_path(digest)?)?;
        check(&bytes, digest, "a blob")?;
        Ok(bytes)
    }

    fn docker_images(&self) -> Result<Vec<Candidate>, Error> {
        let images: Vec<DockerImage> = parse(&self.bytes("manifest.json")?, "manifest.json")?;
        images.iter().map(|image| self.docker_image(image)).collect()
    }

    fn docker_image(&self, image: &DockerImage) -> Result<Candidate, Error> {
        let config = self.bytes(&image.config)?;
        let known: Configuration = parse(&config, &image.config)?;
        let mut layers = vec![];
        for (name, diff_id) in image.layers.iter().zip(&known.rootfs.diff_ids) {
            layers.push(CandidateLayer { file: self.file(name)?.to_owned(), diff_id: diff_id.clone(), digest: None });
        }
        same_number(image.layers.len(), known.rootfs.diff_ids.len())?;
        let names = image.repo_tags.iter().flatten().map(|name| reference(name)).collect::<Result<_, _>>()?;
        let manifest = manifest_of(&config, &known.rootfs.diff_ids, &layers)?;
        Ok(Candidate { names, manifest, config, layers })
    }

    fn oci_images(&self) -> Result<Vec<Candidate>, Error> {
        let index: Index = parse(&self.bytes("index.json")?, "index.json")?;
        let mut images: BTreeMap<String, Candidate> = BTreeMap::new();
        for entry in &index.manifests {
            let Some(descriptor) = self.for_this_machine(entry)? else { continue };
            let names = names_of(entry)?;
            if let Some(known) = images.get_mut(&descriptor.digest) {
                known.names.extend(names);
            } else {
                let image = self.oci_image(&descriptor.digest, names)?;
                images.insert(descriptor.digest, image);
            }
        }
        Ok(images.into_values().collect())
    }

    /// Follows an index of platforms to the manifest for this machine.
    fn for_this_machine(&self, entry: &Descriptor) -> Result<Option<Descriptor>, Error> {
        let fits =
            |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os == "linux" && p.architecture == architecture());
        if !is_index(&entry.media_type) {
            return Ok(Some(entry).filter(fits).cloned());
        }
        let inner: Index = parse(&self.blob(&entry.digest)?, "an index")?;
        Ok(inner.manifests.iter().filter(|d| !is_index(&d.media_type)).find(fits).cloned())
    }

    fn oci_image(&self, digest: &str, names: Vec<Reference>) -> Result<Candidate, Error> {
        let raw = self.blob(digest)?;
        let manifest: Manifest = parse(&raw, "a manifest")?;
        let config = self.blob(&manifest.config.digest)?;
        let known: Configuration = parse(&config, "a configuration")?;
        same_number(manifest.layers.len(), known.rootfs.diff_ids.len())?;
        let mut layers = vec![];
        for (layer, diff_id) in manifest.layers.iter().zip(known.rootfs.diff_ids) {
            let file = self.file(&blob_path(&layer.digest)?)?.to_owned();
            layers.push(CandidateLayer { file, diff_id, digest: Some(layer.digest.clone()) });
        }
        Ok(Candidate { names, manifest: raw, config, layers })
    }
}

/// Follows a link's target from a folder by its words alone; what leads outside is found missing.
fn resolve(from: &Path, to: &Path) -> PathBuf {
    let mut path = from.to_owned();
    for component in to.components() {
        match component {
            std::path::Component::Normal(name) => path.push(name),
            std::path::Component::ParentDir => {
                path.pop();
            }
            std::path::Component::RootDir => path.clear(),
            _ => {}
        }
    }
    path
}

fn is_index(media_type: &str) -> bool {
    media_type == INDEX || media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
}

fn same_number(layers: usize, diff_ids: usize) -> Result<(), Error> {
    if layers == diff_ids {
        return Ok(());
    }
    Err(Error::NotAnImage(format!("the manifest names {layers} layers, the configuration {diff_ids}")))
}

fn blob_path(digest: &str) -> Result<String, Error> {
    if !super::reference::is_digest(digest) {
        return Err(Error::NotAnImage(format!("{digest:?} is no sha256 digest")));
    }
    Ok(format!("blobs/{}", digest.replace(':', "/")))
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| Error::NotAnImage(format!("{what} can't be understood ({e})")))
}

/// Compares content with its digest.
pub(super) fn check(bytes: &[u8], expected: &str, what: &str) -> Result<(), Error> {
    let found = digest_text(Sha256::new_with_prefix(bytes));
    if found == expected {
        return Ok(());
    }
    Err(Error::Digest { what: what.into(), expected: expected.into(), found })
}

fn reference(name: &str) -> Result<Reference, Error> {
    Reference::parse(name).ok_or_else(|| Error::InvalidName(name.into()))
}

/// The full names in an index's entry. A bare tag, as some tools write, names nothing by itself.
fn names_of(entry: &Descriptor) -> Result<Vec<Reference>, Error> {
    if let Some(name) = entry.annotations.get(CONTAINERD_NAME) {
        return Ok(vec![reference(name)?]);
    }
    match entry.annotations.get(REF_NAME) {
        Some(name) if name.contains(['/', ':']) => Ok(vec![reference(name)?]),
        _ => Ok(vec![]),
    }
}

/// An OCI manifest for an image that came without one.
fn manifest_of(config: &[u8], diff_ids: &[String], layers: &[CandidateLayer]) -> Result<Vec<u8>, Error> {
    let mut descriptors = vec![];
    for (diff_id, layer) in diff_ids.iter().zip(layers) {
        let size = fs::metadata(&layer.file).at("look at", &layer.file)?.len();
        descriptors.push(Descriptor {
            media_type: LAYER.into(),
            digest: diff_id.clone(),
            size,
            ..Descriptor::default()
        });
    }
    Ok(build_manifest(config, descriptors))
}

/// The manifest of a configuration and its layers, as bytes that never change.
pub(super) fn build_manifest(config: &[u8], layers: Vec<Descriptor>) -> Vec<u8> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        config: Descriptor {
            media_type: manifest::CONFIG.into(),
            digest: digest_text(Sha256::new_with_prefix(config)),
            size: config.len() as u64,
            ..Descriptor::default()
        },
        layers,
    };
    serde_json::to_vec(&manifest).expect("strings and numbers are always JSON")
}
