//! Keeps the networks of nodes in step with the cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kprov_control_plane::client::Client;
use kprov_control_plane::informer::{Caches, Informers};
use kprov_control_plane::world::World;
use kprov_schema::Resource;

/// Followers of nodes' networks. They stop when this is dropped; the networks stay as they are.
pub struct Followers {
    informers: Informers,
    world: World,
    /// By the name of the node; dropping one ends it.
    nodes: BTreeMap<String, Following>,
}

/// A network that is kept in step with the cluster.
pub trait Follow: Send + Sync {
    /// Keeps the network of the node `name` in step for as long as what is returned lives.
    fn follow(self: Arc<Self>, name: String, caches: Arc<Caches>, world: &World) -> Following;
}

/// What keeps one network in step; dropping it ends that.
pub struct Following {
    _kept: Box<dyn Send + Sync>,
}

impl Following {
    /// In step for as long as `kept` lives.
    pub fn by(kept: impl Send + Sync + 'static) -> Self {
        Self { _kept: Box::new(kept) }
    }
}

impl Followers {
    /// Starts to look at the cluster, for no node yet.
    #[must_use]
    pub fn start(client: &Client, world: &World) -> Self {
        let resources = [Resource::of::<Node>(), Resource::of::<Service>(), Resource::of::<EndpointSlice>()];
        Self { informers: Informers::start(client, world, resources), world: world.clone(), nodes: BTreeMap::new() }
    }

    /// Keeps the network of a node in step from now on, instead of the one it had before.
    pub fn follow(&mut self, name: String, network: Arc<dyn Follow>) {
        let following = network.follow(name.clone(), self.informers.caches(), &self.world);
        self.nodes.insert(name, following);
    }

    /// Lets go of the network of a node, as it is.
    pub fn forget(&mut self, name: &str) {
        self.nodes.remove(name);
    }
}
