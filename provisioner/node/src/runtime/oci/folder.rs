//! The files of one pod's sandbox on the node.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kprov_schema::Uid;
use rustix::fs::{CWD, Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::runtime::{Container, SandboxSpec};

/// A sandbox as it was asked for: `sandbox.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) spec: SandboxSpec,
    pub(super) created_at: Timestamp,
    /// Path of the pod's cgroup below the root of every hierarchy.
    pub(super) cgroup: String,
}

/// `pods/<uid>` of a node:
///
/// ```text
/// sandbox.json  shim.sock  shim.log  shm/
/// containers/<id>/   record.json  config.json  upper/  work/  rootfs/
/// containers/<id>/<id>/   libcontainer's own notes
/// ```
#[derive(Clone, Debug)]
pub(super) struct PodFolder(pub(super) PathBuf);

impl PodFolder {
    /// The folder of a pod. `None` for a uid that is no file name.
    pub(super) fn of(root: &Path, pod: &Uid) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let fits = !pod.0.is_empty() && pod.0.len() < 200 && pod.0.bytes().all(plain) && !pod.0.starts_with('.');
        fits.then(|| Self(root.join("pods").join(&pod.0)))
    }

    pub(super) fn sandbox(&self) -> PathBuf {
        self.0.join("sandbox.json")
    }

    pub(super) fn container(&self, id: &str) -> PathBuf {
        self.0.join("containers").join(id)
    }

    pub(super) fn record(&self, id: &str) -> PathBuf {
        self.container(id).join("record.json")
    }

    pub(super) fn shm(&self) -> PathBuf {
        self.0.join("shm")
    }

    /// What the containers' records say. A container without a record was never begun.
    pub(super) fn containers(&self) -> io::Result<Vec<Container>> {
        let mut containers = vec![];
        for id in names_in(&self.0.join("containers"))? {
            containers.extend(load(&self.record(&id))?);
        }
        Ok(containers)
    }

    /// A short path to the socket, whatever the folder's length: socket addresses hold 107 bytes.
    pub(super) fn socket(&self) -> io::Result<ShortPath> {
        let folder = short(&self.0)?;
        Ok(ShortPath { path: folder.path.join("shim.sock"), folder: folder.folder })
    }
}

/// A path that is right in this process as long as this lives.
pub(super) struct ShortPath {
    pub(super) path: PathBuf,
    pub(super) folder: OwnedFd,
}

/// A short path to a folder.
pub(super) fn short(folder: &Path) -> io::Result<ShortPath> {
    let folder = rustix::fs::openat(CWD, folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(ShortPath { path: PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())), folder })
}

/// Writes a whole new file or leaves the old one. It need not outlive the machine: containers don't either.
pub(super) fn save(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let work = path.with_extension("new");
    fs::write(&work, serde_json::to_vec(value)?)?;
    fs::rename(&work, path)
}

/// Reads what [`save`] wrote. A file that is not there is `None`; one that can't be understood is an error.
pub(super) fn load<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", path.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Names in a folder; none when it is not there.
pub(super) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(e) => return Err(e),
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Moves a folder into the trash, so that no crash leaves half a folder in its place. `None` when it is not there.
///
/// Deleting it there may take its time: on some disks every folder costs milliseconds.
pub(super) fn throw_away(root: &Path, folder: &Path, unique: &str) -> io::Result<Option<PathBuf>> {
    let trash = root.join("trash");
    fs::create_dir_all(&trash)?;
    let doomed = trash.join(unique);
    match fs::rename(folder, &doomed) {
        Ok(()) => Ok(Some(doomed)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_that_is_no_file_name_has_no_folder() {
        let folder = |uid: &str| PodFolder::of(Path::new("/r"), &Uid(uid.into())).map(|f| f.0);
        assert_eq!(folder("3f2a-1"), Some("/r/pods/3f2a-1".into()));
        for uid in ["", ".", "..", "a/b", "../x", "a\0b"] {
            assert_eq!(folder(uid), None, "{uid:?}");
        }
    }
}
