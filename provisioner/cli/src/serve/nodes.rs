//! The nodes of a local cluster: agents with real containers, or simulated ones, each of which can be off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ipnet::Ipv4Net;
use kprov::k8s_openapi::api::core::v1::Node;
use kprov_control_plane::api::{Server, User};
use kprov_control_plane::client::DeleteOptions;
use kprov_control_plane::controllers::ingress;
use kprov_control_plane::world::World;
use kprov_node::agent::machine::Capacity;
use kprov_node::agent::{self, Agent, AgentConfig, Heartbeat};
use kprov_node::ingress::{Front, Ingresses};
use kprov_node::net::follow::{Follow, Followers};
use kprov_node::net::simulated::SimulatedNetwork;
use kprov_node::net::{PodNetwork, Ranges};
use kprov_node::runtime::Runtime;
use kprov_node::runtime::simulated::Simulated;
use kprov_schema::{Key, Resource};

use super::objects::INGRESS_USER;
use crate::args::Serve;
use crate::home::Folder;
use crate::local::control::Power;
use crate::local::node_names;
use crate::machine::Machine;

pub(crate) const RANGES: Ranges = Ranges {
    services: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
    pods: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16),
    dns: Ipv4Addr::new(10, 96, 0, 10),
};

/// What a simulated node says that it has: room for the pods of a test, whatever the machine.
fn simulated_capacity() -> Capacity {
    Capacity { cpus: 16, memory_bytes: 64 << 30, disk_bytes: 256 << 30, pods: 110 }
}

/// What an agent needs of its node.
pub(crate) struct Parts {
    pub(crate) config: AgentConfig,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) followed: Arc<dyn Follow>,
}

/// The nodes of a cluster, those that are off included.
pub(super) struct Nodes {
    /// By index; `None` while a node is off.
    agents: Vec<(String, Option<Arc<Agent>>)>,
    followers: Followers,
    ingresses: Ingresses,
    /// The proxies of nodes that are on.
    fronts: BTreeMap<String, Front>,
    server: Arc<Server>,
    world: World,
    folder: Folder,
    /// `None` where nothing is real.
    machine: Option<Machine>,
    heartbeat: Heartbeat,
}

impl Nodes {
    /// Starts the nodes, except those that were off when the server ended.
    pub(super) async fn start(
        options: &Serve,
        folder: &Folder,
        world: &World,
        server: &Arc<Server>,
        machine: Option<Machine>,
    ) -> anyhow::Result<Self> {
        let client = server.client(User::component("system:kube-proxy"));
        let proxies = server.client(User::component(INGRESS_USER));
        let mut nodes = Self {
            agents: node_names(options.nodes).map(|name| (name, None)).collect(),
            followers: Followers::start(&client, world),
            ingresses: Ingresses::start(&proxies, world, ingress::serves).context("starting to follow ingresses")?,
            fronts: BTreeMap::new(),
            server: Arc::clone(server),
            world: world.clone(),
            folder: folder.clone(),
            machine,
            heartbeat: heartbeat(Duration::from_secs(options.node_grace.into())),
        };
        nodes.remove_others().await?;
        let off = folder.nodes_off()?;
        for index in 0..nodes.agents.len() {
            if !off.contains(&nodes.agents[index].0) {
                nodes.turn_on(index).await?;
            }
        }
        Ok(nodes)
    }

    /// Turns a node on or off; one that is so already is no error.
    pub(super) async fn turn(&mut self, name: &str, power: Power) -> anyhow::Result<()> {
        let Some(index) = self.agents.iter().position(|(known, _)| known == name) else {
            let known: Vec<&str> = self.agents.iter().map(|(name, _)| name.as_str()).collect();
            bail!("there is no node {name}: the cluster has {}", known.join(", "));
        };
        match power {
            Power::On => self.turn_on(index).await,
            Power::Off => self.turn_off(index).await,
        }
    }

    async fn turn_on(&mut self, index: usize) -> anyhow::Result<()> {
        let (name, agent) = &mut self.agents[index];
        if agent.is_some() {
            return Ok(());
        }
        let number = u32::try_from(index).expect("a machine carries fewer nodes");
        let mut parts = match &self.machine {
            Some(machine) => machine.parts(name, number).await?,
            None => simulated(&self.world, name, number),
        };
        parts.config.heartbeat = self.heartbeat;
        self.folder.set_node_off(name, false)?;
        self.followers.follow(name.clone(), parts.followed);
        self.fronts.insert(name.clone(), self.ingresses.front(Arc::clone(&parts.network)));
        let client = self.server.client(User::node(name.as_str()));
        let started = Arc::new(agent::start(parts.config, client, parts.runtime, parts.network, self.world.clone()));
        self.server.attach_node(name.clone(), started.clone());
        *agent = Some(started);
        Ok(())
    }

    async fn turn_off(&mut self, index: usize) -> anyhow::Result<()> {
        let (name, agent) = &mut self.agents[index];
        // Noted first: a server that ends in the middle leaves the node off, and `kprov node start` brings it back.
        self.folder.set_node_off(name, true)?;
        if let Some(agent) = agent.take() {
            self.server.detach_node(name);
            agent.stop();
        }
        self.fronts.remove(name);
        self.followers.forget(name);
        match &self.machine {
            Some(machine) => machine.cut(name, u32::try_from(index).expect("a machine carries fewer nodes")).await,
            None => Ok(()),
        }
    }

    /// Ends the agents; containers go on.
    pub(super) fn stop(self) {
        for (name, agent) in self.agents {
            if let Some(agent) = agent {
                self.server.detach_node(&name);
                agent.stop();
            }
        }
    }

    /// Takes away nodes that the cluster had before and shall not have any more.
    async fn remove_others(&self) -> anyhow::Result<()> {
        let client = self.server.client(User::component("system:kube-controller-manager"));
        let resource = Resource::of::<Node>();
        let known = client.list(&resource, &Default::default()).await?;
        let registered = known.items.iter().map(|node| node.name().to_owned());
        let had = registered.chain(self.folder.made_nodes()?).chain(self.folder.nodes_off()?);
        let others: BTreeSet<String> =
            had.filter(|name| self.agents.iter().all(|(wanted, _)| wanted != name)).collect();
        for name in others.iter().filter(|name| name.starts_with("node-")) {
            if let Some(machine) = &self.machine {
                machine.remove(name).await?;
            }
            match client.delete(&resource, &Key::new("", name), DeleteOptions::default()).await {
                Err(error) if !error.is_not_found() => {
                    return Err(error).with_context(|| format!("removing node {name}"));
                }
                _ => {}
            }
            self.folder.set_node_off(name, false)?;
        }
        Ok(())
    }
}

/// A node renews its lease five times before its silence counts: four fifths of that time are the lease's own.
fn heartbeat(grace: Duration) -> Heartbeat {
    Heartbeat(grace / 5)
}

/// A node whose pods have no processes behind them.
fn simulated(world: &World, name: &str, index: u32) -> Parts {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 214, 0, 10)) + index);
    let network = Arc::new(SimulatedNetwork::new(IpAddr::V4(address), IpAddr::V4(RANGES.dns)));
    Parts {
        config: AgentConfig::simulated(name, simulated_capacity()),
        runtime: Arc::new(Simulated::new(world.clone())),
        network: network.clone(),
        followed: network,
    }
}
