//! What a local cluster was told to be, kept in its folder.

use std::fs;
use std::io::ErrorKind;

use anyhow::Context;
use kprov::cluster::{LocalCluster, Name, Runtime};
use serde::{Deserialize, Serialize};

use crate::home::Folder;
use crate::whole;

/// `cluster.json` in the cluster's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) nodes: u32,
    pub(crate) simulated: bool,
    /// Port of the API server; a cluster keeps it for life, because kubeconfigs name it.
    pub(crate) port: u16,
    /// Seconds that a node may be silent before it counts as lost.
    #[serde(default = "usual_grace")]
    pub(crate) node_grace: u32,
}

fn usual_grace() -> u32 {
    LocalCluster::GRACE_SECONDS
}

/// What is asked for by hand beside the cluster itself; what is left out is as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// See [`Config::port`].
    pub(crate) port: Option<u16>,
    /// See [`Config::node_grace`].
    pub(crate) node_grace: Option<u32>,
}

impl Wishes {
    /// The wishes, and for what was not wished what is known.
    pub(crate) fn or(self, known: Option<&Config>) -> Self {
        Self {
            port: self.port.or(known.map(|known| known.port)),
            node_grace: self.node_grace.or(known.map(|known| known.node_grace)),
        }
    }
}

impl Config {
    pub(crate) fn runtime(&self) -> Runtime {
        if self.simulated { Runtime::Simulated } else { Runtime::Containers }
    }

    /// Port 0 is for the caller to replace.
    pub(crate) fn of(cluster: &LocalCluster, wishes: Wishes) -> Self {
        Self {
            nodes: cluster.nodes,
            simulated: cluster.runtime == Runtime::Simulated,
            port: wishes.port.unwrap_or(0),
            node_grace: wishes.node_grace.unwrap_or_else(usual_grace),
        }
    }

    /// Reads a cluster's configuration; `None` when the cluster has none.
    pub(crate) fn load(folder: &Folder) -> anyhow::Result<Option<Self>> {
        let path = folder.config();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("reading {}", path.display()))?,
        };
        let help = || {
            format!("{} is damaged: `kprov down` removes the cluster, after which `up` makes a new one", path.display())
        };
        serde_json::from_slice(&bytes).with_context(help).map(Some)
    }

    /// Writes it, all or nothing.
    pub(crate) fn save(&self, name: &Name) -> anyhow::Result<()> {
        let folder = Folder::of(name)?;
        folder.make()?;
        let path = folder.config();
        let text = serde_json::to_vec_pretty(self)?;
        whole::write(&path, &text).with_context(|| format!("writing {}", path.display()))
    }
}
