//! Keeps the network of a node in step with the cluster: pod range, routes, service rules, names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kprov_control_plane::informer::{Cache, Caches, Unreadable};
use kprov_control_plane::world::{Clock, World};
use kprov_schema::{Resource, Typed};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::{LinuxNetwork, blocking};
use crate::net::NetError;
use crate::net::dns::Zone;
use crate::net::dns::server::Sockets;
use crate::net::endpoints::Endpoint;
use crate::net::follow::{Follow, Following};
use crate::net::nft::Table;
use crate::net::proxy::{Frontend, frontends, rules};

const DNS_PORT: u16 = 53;
const DOMAIN: &str = "cluster.local";
/// How long to wait before what the kernel refused is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Why a network is not in step.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Follow for LinuxNetwork {
    fn follow(self: Arc<Self>, name: String, caches: Arc<Caches>, world: &World) -> Following {
        let network = Self::clone(&self);
        let (follower, wake) = Follower::new(name, network, caches, world.clock.clone());
        let mut task = JoinSet::new();
        task.spawn(follower.run(world.clone(), wake));
        Following::by(task)
    }
}

struct Follower {
    name: String,
    network: LinuxNetwork,
    caches: Arc<Caches>,
    zone: watch::Sender<Arc<Zone>>,
    clock: Arc<dyn Clock>,
    /// The name server, once the node has an address for it.
    names: Option<JoinSet<()>>,
    rules: Table,
    peers: BTreeMap<Ipv4Net, Ipv4Addr>,
}

impl Follower {
    fn new(name: String, network: LinuxNetwork, caches: Arc<Caches>, clock: Arc<dyn Clock>) -> (Self, Arc<Notify>) {
        let wake = Arc::new(Notify::new());
        for cache in caches.values() {
            let wake = Arc::clone(&wake);
            cache.subscribe(move |_| wake.notify_one());
        }
        let follower = Self {
            name,
            network,
            caches,
            zone: watch::Sender::new(Arc::default()),
            clock,
            names: None,
            rules: Table::default(),
            peers: BTreeMap::new(),
        };
        (follower, wake)
    }

    async fn run(mut self, world: World, wake: Arc<Notify>) {
        for cache in self.caches.values() {
            cache.synced().await;
        }
        loop {
            if let Err(error) = self.step().await {
                tracing::warn!(node = self.name, error = %chain(&error), "network is behind, trying again");
                world.clock.sleep_until(world.clock.now() + PAUSE).await;
                continue;
            }
            wake.notified().await;
        }
    }

    async fn step(&mut self) -> Result<(), FollowError> {
        let nodes = self.typed::<Node>()?;
        self.take_range(&nodes).await?;
        let peers = peers(&nodes, &self.name);
        if peers != self.peers {
            let (network, wanted) = (self.network.clone(), peers.clone());
            blocking(move || network.set_peers(&wanted)).await?;
            self.peers = peers;
        }
        let (services, slices) = (self.typed::<Service>()?, self.typed::<EndpointSlice>()?);
        let zone = Arc::new(Zone::new(DOMAIN, &services, &slices));
        self.zone.send_if_modified(|known| {
            let differs = **known != *zone;
            known.clone_from(&zone);
            differs
        });
        let mut frontends = frontends(&services, &slices);
        frontends.extend(self.network.pod_range().into_iter().flat_map(|range| self.name_service(range)));
        let wanted = rules(&frontends, &self.network.view(&self.name));
        if wanted != self.rules {
            let (network, table) = (self.network.clone(), wanted.clone());
            blocking(move || network.set_rules(&table)).await?;
            self.rules = wanted;
        }
        Ok(())
    }

    fn cache<T: k8s_openapi::Resource>(&self) -> &Cache {
        self.caches.get(&Resource::of::<T>()).expect("every resource that is read was started")
    }

    fn typed<T: Typed + Send + Sync + 'static>(&self) -> Result<Vec<Arc<T>>, Unreadable> {
        self.cache::<T>().all().iter().map(|entry| entry.typed::<T>()).collect()
    }

    /// Takes the node's pod range as soon as it has one, and answers names on its first address.
    async fn take_range(&mut self, nodes: &[Arc<Node>]) -> Result<(), NetError> {
        let own = nodes.iter().find(|node| node.metadata.name.as_deref() == Some(&self.name));
        let (None, Some(range)) = (self.names.as_ref(), own.and_then(|node| range_of(node))) else { return Ok(()) };
        let network = self.network.clone();
        let address = SocketAddr::new(IpAddr::V4(first(range)), DNS_PORT);
        let sockets = blocking(move || {
            network.set_pod_range(range)?;
            network.within("binding the name server", move || Sockets::bind(address))
        })
        .await?;
        let mut names = JoinSet::new();
        let (zone, node, clock) = (self.zone.subscribe(), self.name.clone(), self.clock.clone());
        names.spawn(async move {
            if let Err(error) = sockets.serve(zone, clock).await {
                tracing::error!(node, %error, "the name server ended");
            }
        });
        self.names = Some(names);
        Ok(())
    }

    /// The service address that pods ask for names leads to the name server of their own node.
    fn name_service(&self, range: Ipv4Net) -> [Frontend; 2] {
        [("udp", 17), ("tcp", 6)].map(|(protocol, number)| Frontend {
            name: format!("names/{protocol}"),
            addresses: vec![self.network.ranges().dns],
            protocol: number,
            port: DNS_PORT,
            node_port: None,
            sticky: false,
            external_local: false,
            internal_local: false,
            endpoints: vec![Endpoint { address: first(range), port: DNS_PORT, node: self.name.clone() }],
        })
    }
}

fn range_of(node: &Node) -> Option<Ipv4Net> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

fn first(range: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()) + 1)
}

/// The pod ranges of the other nodes, and how to reach them.
fn peers(nodes: &[Arc<Node>], own: &str) -> BTreeMap<Ipv4Net, Ipv4Addr> {
    let others = nodes.iter().filter(|node| node.metadata.name.as_deref() != Some(own));
    others.filter_map(|node| Some((range_of(node)?, address_of(node)?))).collect()
}

fn address_of(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.iter().flatten();
    addresses.filter(|address| address.type_ == "InternalIP").find_map(|address| address.address.parse().ok())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
