//! The nodes of a local cluster: agents with real containers, or simulated ones.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use ipnet::Ipv4Net;
use kprov::cluster::Name;
use kprov::k8s_openapi::api::core::v1::Node;
use kprov_control_plane::api::{Server, User};
use kprov_control_plane::client::DeleteOptions;
use kprov_control_plane::world::{World, real};
use kprov_node::agent::machine::Capacity;
use kprov_node::agent::{self, Agent, AgentConfig};
use kprov_node::images::Store;
use kprov_node::net::PodNetwork;
use kprov_node::net::follow::{self, Followed, Followers};
use kprov_node::net::linux::{LinuxNetwork, Ranges};
use kprov_node::net::simulated::SimulatedNetwork;
use kprov_node::net::underlay::{self, Underlay};
use kprov_node::runtime::Runtime;
use kprov_node::runtime::oci::{self, Oci, OciConfig};
use kprov_node::runtime::simulated::Simulated;
use kprov_node::volumes;
use kprov_schema::{Key, Resource};

use crate::args::Serve;
use crate::home::Folder;

/// Nodes with real containers that one machine carries.
pub(crate) const MOST_NODES: u32 = underlay::MOST_NODES;

const RANGES: Ranges = Ranges {
    services: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
    pods: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16),
    dns: Ipv4Addr::new(10, 96, 0, 10),
};

/// What a simulated node says that it has: room for the pods of a test, whatever the machine.
fn simulated_capacity() -> Capacity {
    Capacity { cpus: 16, memory_bytes: 64 << 30, disk_bytes: 256 << 30, pods: 110 }
}

/// The program of a pod's shim.
pub(crate) fn shim() -> ExitCode {
    let folders: Vec<OsString> = std::env::args_os().skip(2).collect();
    oci::shim_main(folders)
}

/// The cluster's own subnet of this machine.
pub(crate) fn underlay(cluster: &Name, folder: &Folder) -> anyhow::Result<Underlay> {
    Ok(Underlay::open(cluster.as_str(), &folder.network())?)
}

/// What an agent needs of its node.
struct Parts {
    config: AgentConfig,
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn PodNetwork>,
    followed: Followed,
}

/// Running agents with their networks.
pub(super) struct Nodes {
    agents: Vec<(String, Arc<Agent>)>,
    _followers: Followers,
}

impl Nodes {
    pub(super) async fn start(
        options: &Serve,
        folder: &Folder,
        world: &World,
        server: &Server,
        underlay: Option<&Underlay>,
    ) -> anyhow::Result<Self> {
        let names: Vec<String> = (1..=options.nodes).map(|number| format!("node-{number}")).collect();
        remove_others(&options.name, folder, world, server, &names).await?;
        let mut followed = Vec::new();
        let mut agents = Vec::new();
        for (index, name) in (0..).zip(&names) {
            let parts = match underlay {
                Some(underlay) => containers(&options.name, folder, world, underlay, (name, index)).await?,
                None => simulated(world, name, index),
            };
            followed.push((name.clone(), parts.followed));
            let client = server.client(User::node(name));
            let agent = Arc::new(agent::start(parts.config, client, parts.runtime, parts.network, world.clone()));
            server.attach_node(name.clone(), agent.clone());
            agents.push((name.clone(), agent));
        }
        let client = server.client(User::component("system:kube-proxy"));
        Ok(Self { agents, _followers: follow::start(&client, world, followed) })
    }

    /// Ends the agents; containers go on.
    pub(super) fn stop(self, server: &Server) {
        for (name, agent) in self.agents {
            server.detach_node(&name);
            agent.stop();
        }
    }
}

/// A node with real containers in a network namespace of its own.
async fn containers(
    cluster: &Name,
    folder: &Folder,
    world: &World,
    underlay: &Underlay,
    (name, index): (&str, u32),
) -> anyhow::Result<Parts> {
    let root = folder.nodes().join(name);
    fs::create_dir_all(&root).with_context(|| format!("making {}", root.display()))?;
    let images = Store::open(folder.images(), world.clone()).context("opening the images")?;
    images.add_builtin(&std::env::current_exe()?).context("making the built-in image")?;
    let network = LinuxNetwork::open(underlay, name, index, RANGES)?;
    let config = oci_config(cluster, folder, world, images, name);
    let runtime = Oci::open(config).await.with_context(|| format!("opening the containers of {name}"))?;
    Ok(Parts {
        config: AgentConfig::of_machine(name, root)?,
        runtime: Arc::new(runtime),
        network: Arc::new(network.clone()),
        followed: Followed::Linux(network),
    })
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

/// A node whose pods have no processes behind them.
fn simulated(world: &World, name: &str, index: u32) -> Parts {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 214, 0, 10)) + index);
    let network = Arc::new(SimulatedNetwork::new(IpAddr::V4(address), IpAddr::V4(RANGES.dns)));
    Parts {
        config: AgentConfig::simulated(name, simulated_capacity()),
        runtime: Arc::new(Simulated::new(world.clone())),
        network: network.clone(),
        followed: Followed::Simulated(network),
    }
}

/// Takes away nodes that the cluster had before and shall not have any more.
async fn remove_others(
    cluster: &Name,
    folder: &Folder,
    world: &World,
    server: &Server,
    names: &[String],
) -> anyhow::Result<()> {
    let client = server.client(User::component("system:kube-controller-manager"));
    let resource = Resource::of::<Node>();
    let known = client.list(&resource, &Default::default()).await?;
    let registered = known.items.iter().map(|node| node.name().to_owned());
    let others: BTreeSet<String> = registered.chain(folders(folder)?).filter(|name| !names.contains(name)).collect();
    for name in others.iter().filter(|name| name.starts_with("node-")) {
        remove_node(cluster, folder, world, name).await?;
        match client.delete(&resource, &Key::new("", name), DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => return Err(error).with_context(|| format!("removing node {name}")),
            _ => {}
        }
    }
    Ok(())
}

/// The nodes that have a folder.
fn folders(folder: &Folder) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(folder.nodes()) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("reading {}", folder.nodes().display()))?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

async fn remove_node(cluster: &Name, folder: &Folder, world: &World, name: &str) -> anyhow::Result<()> {
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
    for name in folders(folder)? {
        remove_node(cluster, folder, &world, &name).await?;
    }
    Ok(())
}

/// Removes links and namespaces of all nodes.
pub(crate) fn remove_network(folder: &Folder) -> anyhow::Result<()> {
    Ok(underlay::purge(&folder.network())?)
}
