//! What all requests share: the table, the store, keys, nodes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Service;
use kprov_schema::{Key, Kind, Resource, Status};
use tokio::sync::watch;

use super::admission::{Addresses, Policies, Ranges};
use super::aside::Aside;
use super::errors;
use super::rbac::Roles;
use super::registry::Registry;
use super::target::Target;
use super::tokens::Tokens;
use crate::client::node::NodeApi;
use crate::pki::Pki;
use crate::store::{Prefix, Store, StoreKey, Stored};
use crate::world::World;

/// How the server is reached, with the ranges that it gives addresses from.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; nowhere serves in process alone. A port 0 takes a free one; of several addresses all get the
    /// first one's port when their own is 0.
    pub listen: Vec<SocketAddr>,
    /// The address at which pods and nodes reach it: the endpoint of the service `kubernetes`.
    pub advertise: IpAddr,
    /// Service addresses; the first one is that of the service `kubernetes`.
    pub services: ipnet::Ipv4Net,
    /// Ports that services open on nodes.
    pub node_ports: std::ops::RangeInclusive<u16>,
    /// DNS domain of the cluster.
    pub domain: String,
    /// Name of the cluster in the administrator's kubeconfig.
    pub name: String,
}

impl Default for Config {
    /// Loopback, a free port, upstream's usual ranges.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            advertise: IpAddr::from([127, 0, 0, 1]),
            services: ipnet::Ipv4Net::new_assert([10, 96, 0, 0].into(), 16),
            node_ports: 30_000..=32_767,
            domain: "cluster.local".to_owned(),
            name: "kprov".to_owned(),
        }
    }
}

impl Config {
    /// The address of the service `kubernetes`.
    #[must_use]
    pub fn service_address(&self) -> std::net::Ipv4Addr {
        std::net::Ipv4Addr::from(u32::from(self.services.network()) + 1)
    }

    /// DNS names and addresses that the server's certificate must hold, beside those of the user.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> =
            ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default"].map(str::to_owned).to_vec();
        names.push("kubernetes.default.svc".to_owned());
        names.push(format!("kubernetes.default.svc.{}", self.domain));
        names.push(self.service_address().to_string());
        names.push(self.advertise.to_string());
        names.extend(
            self.listen.iter().map(|listen| listen.ip().to_string()).filter(|ip| ip != "0.0.0.0" && ip != "::"),
        );
        names.sort();
        names.dedup();
        names
    }
}

/// The port that is named when the server listens nowhere.
pub(crate) const UNHEARD_PORT: u16 = 6443;

/// What all requests share.
pub(crate) struct Core {
    me: Weak<Self>,
    pub(crate) config: Config,
    listening: Option<SocketAddr>,
    pub(crate) world: World,
    pub(crate) store: Store,
    pub(crate) pki: Arc<Pki>,
    pub(crate) tokens: Tokens,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) roles: Roles,
    pub(crate) aside: Aside,
    pub(crate) policies: Policies,
    registry: ArcSwap<Registry>,
    registry_moved: watch::Sender<u64>,
    nodes: RwLock<HashMap<String, Arc<dyn NodeApi>>>,
    stop: watch::Sender<bool>,
    ready: AtomicBool,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        listening: Option<SocketAddr>,
        world: World,
        store: Store,
        pki: Arc<Pki>,
    ) -> Result<Arc<Self>, Status> {
        let services = Prefix::resource(&Resource::of::<Service>());
        let stored = store.list(&services, None, None, None).map_err(errors::unreadable)?;
        let ranges = Ranges { services: config.services, node_ports: config.node_ports.clone() };
        let addresses = Addresses::new(ranges, stored.items.iter().map(|stored| &*stored.object));
        let tokens = Tokens::new(pki.service_account_key(), &config.domain)?;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            config,
            listening,
            world,
            store,
            pki,
            tokens,
            addresses: Arc::new(addresses),
            roles: Roles::default(),
            aside: Aside::default(),
            policies: Policies::default(),
            registry: ArcSwap::from_pointee(Registry::built_in()),
            registry_moved: watch::Sender::new(0),
            nodes: RwLock::default(),
            stop: watch::Sender::new(false),
            ready: AtomicBool::new(false),
        }))
    }

    /// The same for somebody who keeps it.
    pub(crate) fn shared(&self) -> Arc<Self> {
        self.me.upgrade().expect("a core is only ever made shared")
    }

    /// Host and port that clients are to use.
    pub(crate) fn address(&self) -> String {
        let port = self.listening.map_or(UNHEARD_PORT, |address| address.port());
        SocketAddr::new(self.config.advertise, port).to_string()
    }

    /// The kinds that are served right now.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        self.registry.load_full()
    }

    /// Serves other kinds from now on.
    pub(crate) fn serve(&self, registry: Registry) {
        self.registry.store(Arc::new(registry));
        self.registry_moved.send_modify(|count| *count += 1);
    }

    /// Tells when other kinds are served.
    pub(crate) fn registry_moved(&self) -> watch::Receiver<u64> {
        self.registry_moved.subscribe()
    }

    /// The kind of a resource that is served.
    pub(crate) fn kind(&self, resource: &Resource) -> Result<Arc<Kind>, Status> {
        self.registry().of(resource).cloned().ok_or_else(errors::no_such_path)
    }

    /// What a client in process means by a resource and a key.
    pub(crate) fn target(&self, resource: &Resource, key: &Key) -> Result<Target, Status> {
        Ok(Target { kind: self.kind(resource)?, key: key.clone(), part: None })
    }

    /// The object of a built-in kind; cluster-scoped ones are in the namespace `""`.
    pub(crate) fn get<T: k8s_openapi::Resource>(&self, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.find(&Resource::of::<T>(), namespace, name)
    }

    /// The same where the kind is known only when it runs.
    pub(crate) fn find(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.store.get(&StoreKey::new(resource, &Key::new(namespace, name)))
    }

    /// All objects of a built-in kind.
    pub(crate) fn all<T: k8s_openapi::Resource>(&self) -> Result<Vec<Arc<Stored>>, Status> {
        self.within(&Prefix::resource(&Resource::of::<T>()))
    }

    /// The objects of a built-in kind in one namespace.
    pub(crate) fn list<T: k8s_openapi::Resource>(&self, namespace: &str) -> Result<Vec<Arc<Stored>>, Status> {
        self.within(&Prefix::namespace(&Resource::of::<T>(), namespace))
    }

    fn within(&self, prefix: &Prefix) -> Result<Vec<Arc<Stored>>, Status> {
        Ok(self.store.list(prefix, None, None, None).map_err(errors::unreadable)?.items)
    }

    pub(crate) fn attach_node(&self, name: String, node: Arc<dyn NodeApi>) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).insert(name, node);
    }

    pub(crate) fn detach_node(&self, name: &str) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn node(&self, name: &str) -> Option<Arc<dyn NodeApi>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The agent of a node. Errors: it is not connected.
    pub(crate) fn agent(&self, name: &str) -> Result<Arc<dyn NodeApi>, Status> {
        let refusal = || errors::internal(format!("the agent of node \"{name}\" is not connected to this API server"));
        self.node(name).ok_or_else(refusal)
    }

    /// Completes when the server stops.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as `self`, so an error can't be.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Whether what every cluster has is there.
    pub(crate) fn is_bootstrapped(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether what every cluster has is there, and the server is not going down.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_bootstrapped() && !self.is_stopping()
    }
}
