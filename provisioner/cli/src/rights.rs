//! What real containers need that this process may not have.

use anyhow::bail;
use kprov::cluster::{LocalCluster, Runtime};

use crate::home::{Folder, is_root};
use crate::serve::MOST_NODES;

/// Bits of capabilities without which nothing works, by their names.
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// Needed capabilities that root lacks, as in a container; `status` is the text of `/proc/self/status`.
fn lacking(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    // A kernel that does not tell will say so itself.
    let Some(effective) = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else {
        return Vec::new();
    };
    NEEDED.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect()
}

/// Real containers need the kernel's help; says so before anything is made.
pub(crate) fn check(cluster: &LocalCluster) -> anyhow::Result<()> {
    if cluster.runtime == Runtime::Simulated || cluster.nodes == 0 {
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        bail!(
            "real containers need Linux, and this is {}: use `kprov up --simulated` for a cluster whose pods have no \
             processes behind them, or `--nodes 0` for a control plane alone",
            std::env::consts::OS
        );
    }
    if !is_root() {
        bail!(
            "real containers need root, for namespaces, mounts, cgroups and links: run it with sudo, or use \
             `kprov up --simulated` for a cluster whose pods have no processes behind them, or `--nodes 0` for a control \
             plane alone"
        );
    }
    let lacking = lacking(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    if !lacking.is_empty() {
        bail!(
            "real containers need {}, which root does not have here: start what you are in with more rights (a container \
             with `--privileged`), or use `kprov up --simulated` for a cluster whose pods have no processes behind them, \
             or `--nodes 0` for a control plane alone",
            lacking.join(", ")
        );
    }
    if cluster.nodes > MOST_NODES {
        bail!(
            "at most {MOST_NODES} nodes have real containers on one machine, not {}: use --simulated for more",
            cluster.nodes
        );
    }
    let folder = Folder::of(&cluster.name)?;
    // The path of a unix socket in it must fit into 107 bytes.
    if folder.path().as_os_str().len() > 60 {
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

    #[test]
    fn what_is_lacking() {
        for (status, expected) in [
            ("Name:\tkprov\nCapEff:\t000001ffffffffff\n", &[][..]),
            ("CapEff:\t00000000a80425fb\n", &["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
            ("CapEff:\t0000000000001000\n", &["CAP_SYS_ADMIN"]),
            ("Name:\tkprov\n", &[]),
        ] {
            assert_eq!(lacking(status), expected, "{status}");
        }
    }
}
