//! Real containers: what the nodes of a cluster are made of on Linux, made, cut off and removed.

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use kprov::cluster::Name;
use kprov_control_plane::world::{World, real};
use kprov_node::agent::AgentConfig;
use kprov_node::images::Store;
use kprov_node::net::linux::LinuxNetwork;
use kprov_node::net::underlay::{self, Underlay};
use kprov_node::runtime::oci::{self, Oci, OciConfig};
use kprov_node::volumes;

use crate::args::ImageCommand;
use crate::cmd;
use crate::home::Folder;
use crate::serve::nodes::{Parts, RANGES};

/// Bits of capabilities without which nothing works, by their names.
const NEEDED: [(&str, u32); 2] = [("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];

/// The program of a pod's shim.
pub(crate) fn shim() -> ExitCode {
    let folders: Vec<OsString> = std::env::args_os().skip(2).collect();
    oci::shim_main(folders)
}

/// This machine as the nodes of one cluster use it.
pub(crate) struct Machine {
    cluster: Name,
    folder: Folder,
    world: World,
    underlay: Underlay,
}

impl Machine {
    /// Makes the cluster's own subnet of this machine.
    pub(crate) fn open(cluster: &Name, folder: &Folder, world: &World) -> anyhow::Result<Self> {
        let underlay = Underlay::open(cluster.as_str(), &folder.network())?;
        Ok(Self { cluster: cluster.clone(), folder: folder.clone(), world: world.clone(), underlay })
    }

    /// The machine's own address in the cluster's subnet.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.underlay.host()
    }

    /// A node with real containers in a network namespace of its own.
    pub(crate) async fn parts(&self, name: &str, index: u32) -> anyhow::Result<Parts> {
        let root = self.folder.nodes().join(name);
        fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
        let images = Store::open(self.folder.images(), self.world.clone()).context("opening the images")?;
        images.add_builtin(&std::env::current_exe()?).context("making the built-in image")?;
        let network = Arc::new(LinuxNetwork::open(&self.underlay, name, index, RANGES)?);
        let config = oci_config(&self.cluster, &self.folder, &self.world, images, name);
        let runtime = Oci::open(config).await.with_context(|| format!("opening the containers of {name}"))?;
        Ok(Parts {
            config: AgentConfig::of_machine(name, root)?,
            runtime: Arc::new(runtime),
            network: network.clone(),
            followed: network,
        })
    }

    /// Cuts a node off as if it lost power: its processes die, its links go, what is in memory is lost. Its disk stays.
    pub(crate) async fn cut(&self, name: &str, index: u32) -> anyhow::Result<()> {
        let what = || format!("cutting off {name}");
        LinuxNetwork::cut(&self.underlay, name, index).with_context(what)?;
        let images = Store::open(self.folder.images(), self.world.clone()).with_context(what)?;
        oci::cut(&oci_config(&self.cluster, &self.folder, &self.world, images, name)).await.with_context(what)?;
        volumes::mounts::unmount_below(&self.folder.nodes().join(name)).with_context(what)
    }

    /// Takes away what is left of a node on this machine.
    pub(crate) async fn remove(&self, name: &str) -> anyhow::Result<()> {
        remove(&self.cluster, &self.folder, &self.world, name).await
    }
}

impl Folder {
    /// Where the images of real containers are.
    pub(crate) fn images(&self) -> PathBuf {
        self.path().join("images")
    }
}

fn oci_config(cluster: &Name, folder: &Folder, world: &World, images: Store, name: &str) -> OciConfig {
    OciConfig {
        root: folder.nodes().join(name).join("runtime"),
        cgroup: format!("kprov/{cluster}/{name}"),
        exe: PathBuf::from("/proc/self/exe"),
        images,
        world: world.clone(),
    }
}

async fn remove(cluster: &Name, folder: &Folder, world: &World, name: &str) -> anyhow::Result<()> {
    let root = folder.nodes().join(name);
    let what = || format!("removing what is left of {name}");
    if root.exists() {
        let images = Store::open(folder.images(), world.clone()).with_context(what)?;
        oci::purge(&oci_config(cluster, folder, world, images, name)).await.with_context(what)?;
        volumes::purge(&root).with_context(what)?;
        fs::remove_dir_all(&root).with_context(what)?;
    }
    Ok(())
}

/// Kills and removes the containers of all nodes. The server must have ended.
pub(crate) async fn remove_containers(cluster: &Name, folder: &Folder) -> anyhow::Result<()> {
    let world = real::world(folder.path());
    for name in folder.made_nodes()? {
        remove(cluster, folder, &world, &name).await?;
    }
    Ok(())
}

/// Removes links and namespaces of all nodes.
pub(crate) fn remove_network(_cluster: &Name, folder: &Folder) -> anyhow::Result<()> {
    Ok(underlay::purge(&folder.network())?)
}

/// Images for real containers.
pub(crate) fn image(command: &ImageCommand) -> anyhow::Result<()> {
    cmd::image::run(command)
}

/// Needed capabilities that root lacks, as in a container. A kernel that does not tell will say so itself.
pub(crate) fn lacking() -> Vec<&'static str> {
    lacking_of(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn lacking_of(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) else {
        return Vec::new();
    };
    NEEDED.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect()
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
            assert_eq!(lacking_of(status), expected, "{status}");
        }
    }
}
