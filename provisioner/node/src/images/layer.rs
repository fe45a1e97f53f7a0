//! Unpacks one layer's tar archive into a folder that overlayfs can use.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use sha2::{Digest as _, Sha256};
use tar::{Archive, Entry, EntryType};

use super::{At, Error};

const OPAQUE: &str = "trusted.overlay.opaque";

/// What a layer turned out to be.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// Digest of the uncompressed archive: its `diff_id`.
    pub(super) digest: String,
    /// Bytes of its files.
    pub(super) size: u64,
}

/// Unpacks `archive` into the empty folder `into`, which nobody else may be able to write.
///
/// Whiteouts become overlayfs' own: a device 0/0, or an opaque folder. Nothing is ever written through a symbolic link.
/// Errors: [`Error::Unsafe`] for entries that reach outside, [`Error::NotAnImage`] for what is no tar archive.
pub(super) fn unpack(archive: impl Read, into: &Path) -> Result<Unpacked, Error> {
    let mut archive = Archive::new(Hashing { inner: archive, hash: Sha256::new() });
    let mut unpacker = Unpacker { root: into, size: 0, times: BTreeMap::new() };
    for entry in archive.entries().map_err(not_a_layer)? {
        unpacker.entry(&mut entry.map_err(not_a_layer)?)?;
    }
    unpacker.set_folder_times()?;
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(not_a_layer)?;
    Ok(Unpacked { digest: digest_text(rest.hash), size: unpacker.size })
}

/// `sha256:<hex>` of everything hashed so far.
pub(super) fn digest_text(hash: Sha256) -> String {
    format!("sha256:{}", hex(&hash.finalize()))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    digits.map(char::from).collect()
}

fn not_a_layer(error: io::Error) -> Error {
    Error::NotAnImage(format!("a layer is no readable tar archive ({error})"))
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(out)?;
        self.hash.update(&out[..read]);
        Ok(read)
    }
}

/// Turns a path of an archive into one below the layer's root. `None` is the root itself.
pub(super) fn inside(path: &Path) -> Result<Option<PathBuf>, Error> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Unsafe {
                    path: path.display().to_string(),
                    why: "it leads out of its layer by `..`",
                });
            }
        }
    }
    Ok((!clean.as_os_str().is_empty()).then_some(clean))
}

/// Owner, mode and attributes of one entry, with extended headers applied.
struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    modified: i64,
    extended: Vec<(String, Vec<u8>)>,
}

impl Attributes {
    fn of<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Self> {
        let header = entry.header();
        let mut this = Self {
            uid: narrow(header.uid()?)?,
            gid: narrow(header.gid()?)?,
            mode: header.mode()? & 0o7777,
            modified: i64::try_from(header.mtime()?).unwrap_or(0),
            extended: vec![],
        };
        let Some(extensions) = entry.pax_extensions()? else { return Ok(this) };
        for extension in extensions {
            let extension = extension?;
            let key = extension.key().unwrap_or_default().to_owned();
            this.apply(&key, extension.value_bytes());
        }
        Ok(this)
    }

    /// Attributes that describe another file system, overlayfs' own among them, are not taken over.
    fn apply(&mut self, key: &str, value: &[u8]) {
        let number = || std::str::from_utf8(value).ok().and_then(|text| text.split('.').next());
        match key {
            "uid" => self.uid = number().and_then(|n| n.parse().ok()).unwrap_or(self.uid),
            "gid" => self.gid = number().and_then(|n| n.parse().ok()).unwrap_or(self.gid),
            "mtime" => self.modified = number().and_then(|n| n.parse().ok()).unwrap_or(self.modified),
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.")
                    && (name == "security.capability" || name.starts_with("user."))
                {
                    self.extended.push((name.to_owned(), value.to_owned()));
                }
            }
        }
    }

    fn time(&self) -> Timestamps {
        let at = Timespec { tv_sec: self.modified, tv_nsec: 0 };
        Timestamps { last_access: at, last_modification: at }
    }
}

fn narrow(id: u64) -> io::Result<u32> {
    u32::try_from(id).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a user or group id is too large"))
}

struct Unpacker<'a> {
    root: &'a Path,
    size: u64,
    /// Set at the end: a folder's time changes with everything put into it.
    times: BTreeMap<PathBuf, Timestamps>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Error> {
        let raw = entry.path().map_err(not_a_layer)?.into_owned();
        let kind = entry.header().entry_type();
        let attributes = Attributes::of(entry).map_err(not_a_layer)?;
        let Some(path) = inside(&raw)? else {
            return if kind.is_dir() { self.finish(self.root, &attributes, true) } else { Ok(()) };
        };
        let target = self.root.join(&path);
        self.make_parents(&path)?;
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some(hidden) = name.strip_prefix(".wh.") {
            return self.whiteout(&target, hidden);
        }
        match kind {
            EntryType::Directory => self.folder(&target, &attributes),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, &target, &attributes),
            EntryType::Symlink => self.symlink(entry, &target, &attributes),
            EntryType::Link => self.hard_link(entry, &target),
            EntryType::Char | EntryType::Block | EntryType::Fifo => node(entry, &target, &attributes),
            _ => Err(Error::Unsafe { path: raw.display().to_string(), why: "it is of an unknown type" }),
        }
    }

    /// Makes missing parents, and refuses parents that are no folders: a link there could lead anywhere.
    fn make_parents(&self, path: &Path) -> Result<(), Error> {
        let mut at = self.root.to_owned();
        for component in path.parent().into_iter().flat_map(Path::components) {
            at.push(component);
            match fs::symlink_metadata(&at) {
                Ok(found) if found.is_dir() => {}
                Ok(found) if found.file_type().is_symlink() => {
                    return Err(Error::Unsafe {
                        path: path.display().to_string(),
                        why: "a folder on its way is a symbolic link",
                    });
                }
                Ok(_) => {
                    fs::remove_file(&at).at("replace", &at)?;
                    make_folder(&at, true)?;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => make_folder(&at, false)?,
                Err(e) => return Err(e).at("look at", &at),
            }
        }
        Ok(())
    }

    fn whiteout(&self, marker: &Path, hidden: &str) -> Result<(), Error> {
        let parent = marker.parent().unwrap_or(self.root);
        if hidden == ".wh..opq" {
            return set_opaque(parent);
        }
        // Other names of this form are notes that aufs left for itself.
        if hidden.starts_with(".wh.") {
            return Ok(());
        }
        if hidden.is_empty() || hidden == "." || hidden == ".." {
            return Err(Error::Unsafe { path: marker.display().to_string(), why: "it hides no name" });
        }
        let target = parent.join(hidden);
        match fs::symlink_metadata(&target) {
            Ok(found) if found.is_dir() => set_opaque(&target),
            // What this layer itself brings stays: a whiteout speaks of the layers below.
            Ok(_) => Ok(()),
            Err(_) => {
                rustix::fs::mknodat(CWD, &target, FileType::CharacterDevice, Mode::empty(), 0).at("hide", &target)
            }
        }
    }

    fn folder(&mut self, target: &Path, attributes: &Attributes) -> Result<(), Error> {
        match fs::symlink_metadata(target) {
            Ok(found) if found.is_dir() => {}
            Ok(found) => {
                fs::remove_file(target).at("replace", target)?;
                make_folder(target, is_whiteout(&found))?;
            }
            Err(_) => make_folder(target, false)?,
        }
        self.times.insert(target.to_owned(), attributes.time());
        self.finish(target, attributes, true)
    }

    fn file<R: Read>(&mut self, entry: &mut Entry<'_, R>, target: &Path, attributes: &Attributes) -> Result<(), Error> {
        clear(target)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(target).at("make", target)?;
        self.size += copy(entry, &mut file, target)?;
        self.finish(target, attributes, true)?;
        rustix::fs::utimensat(CWD, target, &attributes.time(), AtFlags::SYMLINK_NOFOLLOW).at("date", target)
    }

    fn symlink<R: Read>(&self, entry: &Entry<'_, R>, target: &Path, attributes: &Attributes) -> Result<(), Error> {
        clear(target)?;
        let to = link_name(entry)?;
        std::os::unix::fs::symlink(&to, target).at("link", target)?;
        self.finish(target, attributes, false)?;
        rustix::fs::utimensat(CWD, target, &attributes.time(), AtFlags::SYMLINK_NOFOLLOW).at("date", target)
    }

    fn hard_link<R: Read>(&self, entry: &Entry<'_, R>, target: &Path) -> Result<(), Error> {
        let to = link_name(entry)?;
        let outside =
            || Error::Unsafe { path: to.display().to_string(), why: "a hard link leads to nothing in its layer" };
        let path = inside(&to)?.ok_or_else(outside)?;
        self.make_parents(&path)?;
        let existing = self.root.join(&path);
        fs::symlink_metadata(&existing).map_err(|_| outside())?;
        if existing != target {
            clear(target)?;
            rustix::fs::linkat(CWD, &existing, CWD, target, AtFlags::empty()).at("link", target)?;
        }
        Ok(())
    }

    /// Owner first: a change of owner takes the set-user-id bit and file capabilities away.
    fn finish(&self, target: &Path, attributes: &Attributes, chmod: bool) -> Result<(), Error> {
        std::os::unix::fs::lchown(target, Some(attributes.uid), Some(attributes.gid)).at("give away", target)?;
        if chmod {
            fs::set_permissions(target, fs::Permissions::from_mode(attributes.mode)).at("set the mode of", target)?;
            for (name, value) in &attributes.extended {
                rustix::fs::lsetxattr(target, name.as_str(), value, XattrFlags::empty())
                    .at("set an attribute of", target)?;
            }
        }
        Ok(())
    }

    fn set_folder_times(&self) -> Result<(), Error> {
        for (folder, times) in &self.times {
            // A later entry may have replaced the folder by something else.
            if fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir()) {
                rustix::fs::utimensat(CWD, folder, times, AtFlags::SYMLINK_NOFOLLOW).at("date", folder)?;
            }
        }
        Ok(())
    }
}

/// Tells apart whose fault it is: the archive's when reading, the disk's when writing.
fn copy(mut from: impl Read, to: &mut File, path: &Path) -> Result<u64, Error> {
    let (mut buffer, mut total) = (vec![0; 1 << 16], 0);
    loop {
        let read = from.read(&mut buffer).map_err(not_a_layer)?;
        if read == 0 {
            return Ok(total);
        }
        to.write_all(&buffer[..read]).at("write", path)?;
        total += read as u64;
    }
}

fn link_name<R: Read>(entry: &Entry<'_, R>) -> Result<PathBuf, Error> {
    let name = entry.link_name().map_err(not_a_layer)?;
    name.map(std::borrow::Cow::into_owned).ok_or_else(|| Error::NotAnImage("a link in a layer leads nowhere".into()))
}

fn node<R: Read>(entry: &Entry<'_, R>, target: &Path, attributes: &Attributes) -> Result<(), Error> {
    clear(target)?;
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Char => FileType::CharacterDevice,
        EntryType::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let number = |n: io::Result<Option<u32>>| n.map_err(not_a_layer).map(Option::unwrap_or_default);
    let device = match kind {
        FileType::Fifo => 0,
        _ => rustix::fs::makedev(number(header.device_major())?, number(header.device_minor())?),
    };
    if device == 0 && kind == FileType::CharacterDevice {
        return Err(Error::Unsafe { path: target.display().to_string(), why: "device 0/0 would hide a file" });
    }
    rustix::fs::mknodat(CWD, target, kind, Mode::from_raw_mode(attributes.mode), device).at("make", target)?;
    std::os::unix::fs::lchown(target, Some(attributes.uid), Some(attributes.gid)).at("give away", target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(attributes.mode)).at("set the mode of", target)
}

fn make_folder(path: &Path, opaque: bool) -> Result<(), Error> {
    fs::DirBuilder::new().mode(0o755).create(path).at("make", path)?;
    if opaque { set_opaque(path) } else { Ok(()) }
}

fn set_opaque(folder: &Path) -> Result<(), Error> {
    rustix::fs::lsetxattr(folder, OPAQUE, b"y", XattrFlags::empty()).at("hide what is below", folder)
}

fn is_whiteout(found: &fs::Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

/// Of two entries with one name the later counts.
fn clear(target: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(target) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(target).at("replace", target),
        Ok(_) => fs::remove_file(target).at("replace", target),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        let path = |text: &str| inside(Path::new(text)).map(|p| p.map(|p| p.display().to_string()));
        assert_eq!(path("./usr/bin/").unwrap().as_deref(), Some("usr/bin"));
        assert_eq!(path("/etc/passwd").unwrap().as_deref(), Some("etc/passwd"));
        assert_eq!(path("./").unwrap(), None);
        assert!(path("../etc").is_err());
        assert!(path("a/../../etc").is_err());
    }
}
