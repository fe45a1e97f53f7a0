//! Where a pod's files are on this node.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};
use kprov_schema::Uid;

use super::Plugin;

/// The places of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFolder {
    root: PathBuf,
    uid: Uid,
    logs: PathBuf,
}

impl PodFolder {
    /// The places of a pod below the agent's root folder.
    #[must_use]
    pub fn of(root: &Path, pod: &Pod) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let meta = &pod.metadata;
        let uid = Uid(text(&meta.uid));
        let logs = logs(root).join(format!("{}_{}_{uid}", text(&meta.namespace), text(&meta.name)));
        Self { root: root.to_owned(), uid, logs }
    }

    /// All that is made for the pod, except its logs.
    #[must_use]
    pub fn pod(&self) -> PathBuf {
        pods(&self.root).join(&self.uid.0)
    }

    /// Where a volume is; the machine's own path for one of those.
    #[must_use]
    pub fn volume(&self, volume: &Volume, plugin: Plugin) -> PathBuf {
        match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => self.pod().join("volumes").join(plugin.folder()).join(&volume.name),
        }
    }

    /// Where a part of a volume is pinned for a container.
    #[must_use]
    pub fn sub_path(&self, volume: &str, container: &str, index: usize) -> PathBuf {
        self.pod().join("volume-subpaths").join(volume).join(container).join(index.to_string())
    }

    /// The last words of one run of a container.
    #[must_use]
    pub fn termination(&self, container: &str, attempt: u32) -> PathBuf {
        self.pod().join("containers").join(container).join(attempt.to_string())
    }

    /// A file of the pod's own, such as `etc-hosts`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.pod().join(name)
    }

    /// The pod's logs.
    #[must_use]
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// The log of one run of a container.
    #[must_use]
    pub fn log(&self, container: &str, attempt: u32) -> PathBuf {
        self.logs.join(container).join(format!("{attempt}.log"))
    }
}

/// Folder of all pods.
#[must_use]
pub fn pods(root: &Path) -> PathBuf {
    root.join("pods")
}

/// Folder of all logs.
#[must_use]
pub fn logs(root: &Path) -> PathBuf {
    root.join("logs")
}
