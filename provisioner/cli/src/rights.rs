//! What real containers need that this process may not have.

use anyhow::bail;
use kprov::cluster::{LocalCluster, Runtime};
use kprov_node::net::MOST_NODES;

use crate::home::{Folder, is_root};
use crate::machine;

/// Bytes that the path of a unix socket has room for on every system (Linux has four more).
const SOCKET: usize = 103;
/// Bytes of the longest path of a socket below the folder of a cluster: a pod's shim listens there.
const BELOW_REAL: usize = 43;
/// The same where nothing is real: only the server listens.
const BELOW_SIMULATED: usize = "/control.sock".len();

/// What a process is, as far as real containers ask.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The operating system, as Rust names it.
    system: &'static str,
    /// Whether this program has containers in it.
    has_containers: bool,
    is_root: bool,
    /// What root lacks here of the capabilities that are needed.
    lacking: Vec<&'static str>,
}

impl Facts {
    pub(crate) fn of_this_process() -> Self {
        Self {
            system: std::env::consts::OS,
            has_containers: kprov_node::CONTAINERS,
            is_root: is_root(),
            lacking: machine::lacking(),
        }
    }

    /// The first thing that is not there; what comes after it would not help.
    pub(crate) fn missing(&self) -> Option<Missing> {
        let (needs, way_out) = if self.system != "linux" {
            (format!("Linux, and this is {}", self.system), "")
        } else if !self.has_containers {
            ("a kprov that is built with the feature `containers`, and this one is not".to_owned(), "")
        } else if !self.is_root {
            ("root, for namespaces, mounts, cgroups and links".to_owned(), "run it with sudo, or ")
        } else if !self.lacking.is_empty() {
            let way_out = "start what you are in with more rights (a container with `--privileged`), or ";
            (format!("{}, which root does not have here", self.lacking.join(", ")), way_out)
        } else {
            return None;
        };
        Some(Missing { needs: format!("real containers need {needs}"), way_out })
    }
}

/// What real containers need that is not there.
pub(crate) struct Missing {
    /// A sentence that says so.
    pub(crate) needs: String,
    /// How to get it, when there is a way, up to another one.
    way_out: &'static str,
}

/// Real containers need the kernel's help; says so before anything is made.
pub(crate) fn check(cluster: &LocalCluster) -> anyhow::Result<()> {
    let folder = Folder::of(&cluster.name)?;
    let is_real = cluster.runtime == Runtime::Containers && cluster.nodes > 0;
    if is_real {
        if let Some(Missing { needs, way_out }) = Facts::of_this_process().missing() {
            bail!(
                "{needs}: {way_out}use `kprov up --simulated` for a cluster whose pods have no processes behind them, \
                 or `--nodes 0` for a control plane alone"
            );
        }
        if cluster.nodes > MOST_NODES {
            bail!(
                "at most {MOST_NODES} nodes have real containers on one machine, not {}: use --simulated for more",
                cluster.nodes
            );
        }
    }
    let most = SOCKET - if is_real { BELOW_REAL } else { BELOW_SIMULATED };
    if folder.path().as_os_str().len() > most {
        bail!(
            "{} is too long a path for the state of a cluster: set KPROV_HOME to a shorter one",
            folder.path().display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Facts {
        Facts { system: "linux", has_containers: true, is_root: true, lacking: Vec::new() }
    }

    #[test]
    fn what_is_missing() {
        assert!(all().missing().is_none());
        let nothing = Facts { system: "macos", has_containers: false, is_root: false, lacking: Vec::new() };
        let not_built = Facts { has_containers: false, ..all() };
        let lacking = Facts { lacking: vec!["CAP_NET_ADMIN", "CAP_SYS_ADMIN"], ..all() };
        for (facts, expected) in [
            (nothing, "real containers need Linux, and this is macos"),
            (Facts { system: "freebsd", ..all() }, "real containers need Linux, and this is freebsd"),
            (
                not_built.clone(),
                "real containers need a kprov that is built with the feature `containers`, and this one",
            ),
            (Facts { is_root: false, ..not_built }, "real containers need a kprov that is built with the feature"),
            (Facts { is_root: false, ..all() }, "real containers need root, for namespaces, mounts, cgroups and links"),
            (lacking, "real containers need CAP_NET_ADMIN, CAP_SYS_ADMIN, which root does not have here"),
        ] {
            let missing = facts.missing().expect("something is missing").needs;
            assert!(missing.starts_with(expected), "{facts:?}: {missing}");
        }
    }
}
