//! Volumes and files of pods on this node's disk.
//!
//! Layout: `<root>/pods/<uid>/volumes/<plugin>/<name>`. Everything that is mounted lies below the root, so that
//! [`purge`] finds it.

pub mod atomic;
pub mod bound;
pub mod folder;
pub mod host_path;
pub mod payload;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
use kprov_schema::quantity::Quantity;

pub use crate::kernel::{mounts, sub_path};
pub use folder::PodFolder;
pub use payload::Payload;

/// Where a volume's data comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An empty folder that lives as long as the pod.
    Empty {
        /// In memory rather than on disk.
        memory: bool,
        /// Bytes it may hold, where the medium can tell.
        size: Option<u64>,
    },
    /// Files that the agent writes.
    Files {
        /// The files.
        payload: Payload,
        /// In memory rather than on disk.
        memory: bool,
    },
    /// A path of the machine.
    Host {
        /// The path.
        path: PathBuf,
        /// What must be there.
        kind: host_path::Kind,
    },
    /// What a claim is bound to, made visible where the pod's volumes are.
    Bound(bound::Bound),
}

/// One volume, ready to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Name within the pod.
    pub name: String,
    /// Its data.
    pub content: Content,
    /// Group that may use it.
    pub group: Option<u32>,
}

/// Why a volume could not be made; the text is for the pod's events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {message}")]
pub struct VolumeError {
    /// Name within the pod.
    pub volume: String,
    /// What went wrong.
    pub message: String,
}

impl VolumeError {
    /// What went wrong with a volume.
    pub fn new(volume: &str, message: impl ToString) -> Self {
        Self { volume: volume.to_owned(), message: message.to_string() }
    }
}

/// Sorts of volumes that this node makes, by upstream's plugin name in paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are Kubernetes' own volume sources")]
pub enum Plugin {
    EmptyDir,
    ConfigMap,
    Secret,
    DownwardApi,
    Projected,
    HostPath,
    Claim,
}

impl Plugin {
    /// The plugin of a volume. Errors: the volume's source is not built; the text says which.
    pub fn of(volume: &Volume) -> Result<Self, String> {
        let known = [
            (volume.empty_dir.is_some(), Self::EmptyDir),
            (volume.config_map.is_some(), Self::ConfigMap),
            (volume.secret.is_some(), Self::Secret),
            (volume.downward_api.is_some(), Self::DownwardApi),
            (volume.projected.is_some(), Self::Projected),
            (volume.host_path.is_some(), Self::HostPath),
            (volume.persistent_volume_claim.is_some(), Self::Claim),
        ];
        if let Some((_, plugin)) = known.into_iter().find(|(is_set, _)| *is_set) {
            return Ok(plugin);
        }
        let written = serde_json::to_value(volume).map_err(|error| error.to_string())?;
        let source = written.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).find(|key| *key != "name");
        match source {
            // Without any source a volume is an empty folder.
            None => Ok(Self::EmptyDir),
            Some(source) => Err(format!("volumes of type {source} are not supported by this node")),
        }
    }

    /// Its name in paths.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::EmptyDir => "kubernetes.io~empty-dir",
            Self::ConfigMap => "kubernetes.io~configmap",
            Self::Secret => "kubernetes.io~secret",
            Self::DownwardApi => "kubernetes.io~downward-api",
            Self::Projected => "kubernetes.io~projected",
            Self::HostPath => "kubernetes.io~host-path",
            Self::Claim => "kubernetes.io~local-volume",
        }
    }

    /// Whether its files may hold secrets, so that they must not reach a disk.
    #[must_use]
    pub fn in_memory(self) -> bool {
        matches!(self, Self::Secret | Self::Projected | Self::DownwardApi)
    }

    /// Whether the agent writes its files, so that no container may change them.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::ConfigMap | Self::Secret | Self::DownwardApi | Self::Projected)
    }
}

/// An empty folder's medium and size.
///
/// Errors: the medium is none that this node has.
pub fn empty(source: &EmptyDirVolumeSource) -> Result<Content, String> {
    let memory = match source.medium.as_deref() {
        None | Some("") => false,
        Some("Memory") => true,
        Some(other) => return Err(format!("unknown storage medium {other:?}")),
    };
    let size = source.size_limit.as_ref().map(|text| Quantity::from(text).value());
    Ok(Content::Empty { memory, size: size.and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0) })
}

impl Prepared {
    /// Makes the volume, or brings its files up to date. May be called again at any time.
    pub fn set_up(&self, path: &Path) -> Result<(), VolumeError> {
        self.make(path).map_err(|error| VolumeError::new(&self.name, error))
    }

    fn make(&self, path: &Path) -> Result<(), String> {
        let text = |what: &str| {
            let what = format!("{what} {}", path.display());
            move |error: io::Error| format!("{what}: {error}")
        };
        match &self.content {
            Content::Host { path, kind } => host_path::check(path, *kind),
            Content::Bound(bound) => bound.set_up(path, self.group),
            Content::Empty { memory, size } => {
                let is_new = !path.exists();
                std::fs::create_dir_all(path).map_err(text("make"))?;
                if *memory {
                    mounts::tmpfs(path, *size, 0o777).map_err(text("mount tmpfs on"))?;
                }
                if is_new {
                    std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)).map_err(text("open"))?;
                    own(path, self.group, true).map_err(text("give"))?;
                }
                Ok(())
            }
            Content::Files { payload, memory } => {
                std::fs::create_dir_all(path).map_err(text("make"))?;
                if *memory {
                    mounts::tmpfs(path, None, 0o755).map_err(text("mount tmpfs on"))?;
                }
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).map_err(text("open"))?;
                atomic::write(path, payload, self.group).map_err(text("write"))?;
                own(path, self.group, false).map_err(text("give"))
            }
        }
    }
}

/// Undoes everything that agents mounted below `root`, and removes their pods' files. For use when no agent runs.
pub fn purge(root: &Path) -> io::Result<()> {
    mounts::unmount_below(root)?;
    for folder in [folder::pods(root), folder::logs(root)] {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Gives a folder to a group, whose files below it then belong to the group too.
fn own(path: &Path, group: Option<u32>, writable: bool) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(path, None, Some(group))?;
    let mode = std::fs::metadata(path)?.permissions().mode();
    let bits = if writable { 0o2770 } else { 0o2550 };
    std::fs::set_permissions(path, PermissionsExt::from_mode((mode & 0o7777) | bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_agent_writes_into_volumes_of_files() {
        let all = [
            (Plugin::EmptyDir, false),
            (Plugin::ConfigMap, true),
            (Plugin::Secret, true),
            (Plugin::DownwardApi, true),
            (Plugin::Projected, true),
            (Plugin::HostPath, false),
            (Plugin::Claim, false),
        ];
        for (plugin, read_only) in all {
            assert_eq!(plugin.is_read_only(), read_only, "{plugin:?}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("volume");
        let content = Content::Files { payload: Payload::default(), memory: false };
        Prepared { name: "files".into(), content, group: None }.set_up(&path).expect("made");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}
