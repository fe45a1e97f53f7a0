//! Where clusters keep their state on this machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use kprov::cluster::Name;

/// The folder of all clusters: `$KPROV_HOME`, else `/var/lib/kprov` for root, else the user's data folder.
pub(crate) fn home() -> anyhow::Result<PathBuf> {
    if let Some(home) = std::env::var_os("KPROV_HOME").filter(|home| !home.is_empty()) {
        return Ok(std::path::absolute(home)?);
    }
    if is_root() {
        return Ok(PathBuf::from("/var/lib/kprov"));
    }
    if let Some(data) = std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()) {
        return Ok(PathBuf::from(data).join("kprov"));
    }
    let Some(user) = std::env::home_dir() else {
        bail!("no home folder: set HOME, or KPROV_HOME to a folder for the state of clusters");
    };
    Ok(user.join(".local/share/kprov"))
}

/// Whether this process may do what only root may.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The files of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder of a cluster, whether it is there or not.
    pub(crate) fn of(name: &Name) -> anyhow::Result<Self> {
        Ok(Self(home()?.join("clusters").join(name.as_str())))
    }

    /// A folder given by hand.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(std::path::absolute(path)?))
    }

    /// Names of the clusters that have a folder.
    pub(crate) fn all() -> anyhow::Result<Vec<Name>> {
        let folder = home()?.join("clusters");
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("reading {}", folder.display()))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(|name| name.parse().ok()));
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder, for its owner alone.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).with_context(|| {
            format!("making {}: choose another place for the state of clusters with KPROV_HOME", self.0.display())
        })
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("cluster.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    pub(crate) fn turn(&self) -> PathBuf {
        self.0.join("turn")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("serve.log")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("admin.kubeconfig")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.0.join("net")
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.0.join("nodes")
    }

    /// Names of the nodes that have files.
    pub(crate) fn made_nodes(&self) -> anyhow::Result<Vec<String>> {
        names_in(&self.nodes())
    }

    /// Names of the nodes that are off, each an empty file.
    pub(crate) fn nodes_off(&self) -> anyhow::Result<BTreeSet<String>> {
        names_in(&self.0.join("off"))
    }

    /// Notes that a node is off, or no longer.
    pub(crate) fn set_node_off(&self, node: &str, off: bool) -> anyhow::Result<()> {
        let file = self.0.join("off").join(node);
        let done = match off {
            true => fs::create_dir_all(self.0.join("off")).and_then(|()| fs::write(&file, "")),
            false => match fs::remove_file(&file) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
        done.with_context(|| format!("noting in {} whether the node is off", file.display()))
    }
}

/// What a folder holds; nothing when it is not there.
fn names_in<T: FromIterator<String>>(folder: &Path) -> anyhow::Result<T> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(T::from_iter([])),
        other => other.with_context(|| format!("reading {}", folder.display()))?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
