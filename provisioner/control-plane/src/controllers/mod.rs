//! Controllers: what keeps the cluster as its objects describe it.
//!
//! A controller is a pure function from a key, the caches and the time to actions; the one [`runner`] does the rest.

pub mod action;
pub mod autoscaler;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod event_expiry;
pub mod garbage;
pub mod meta;
pub mod mirror;
pub mod namespace;
pub mod node_health;
pub mod pod_eviction;
pub mod pod_garbage;
pub mod pod_ranges;
pub mod protection;
mod queue;
pub mod recorder;
pub mod replicaset;
pub mod role_aggregation;
pub mod rollout;
pub mod root_ca;
pub mod runner;
pub mod selector;
pub mod service_account;
pub mod snapshot;
pub mod status;
pub mod taint;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use kprov_schema::{KINDS, Key, Kind, Resource};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::informer::{Change, Informers, Unreadable};
use crate::world::World;
pub use action::{Action, Outcome};
pub use recorder::Recorder;
use runner::Context;
pub use snapshot::Snapshot;

/// What controllers are told about the cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// Certificates that clients check the API server by, PEM.
    pub root_ca: String,
    /// Addresses of all pods.
    pub pod_network: Ipv4Net,
    /// Length of the prefix that a node gets out of `pod_network`.
    pub node_prefix: u8,
    /// How long a node may stay silent before it counts as lost.
    pub node_grace: Duration,
}

impl Config {
    /// The usual cluster: pods in 10.244.0.0/16, a /24 a node, nodes lost after 50 s.
    #[must_use]
    pub fn new(root_ca: impl Into<String>) -> Self {
        Self {
            root_ca: root_ca.into(),
            pod_network: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 244, 0, 0), 16),
            node_prefix: 24,
            node_grace: Duration::from_secs(50),
        }
    }
}

/// A kind that a controller looks at, and which keys to reconcile when an object of it changes.
pub struct Watch {
    /// The kind.
    pub resource: Resource,
    /// From a change to keys of the controller.
    pub keys: fn(&Change, &Snapshot) -> Vec<Key>,
}

impl Watch {
    /// Reconciles `keys` of every change to a `T`.
    #[must_use]
    pub fn new<T: k8s_openapi::Resource>(keys: fn(&Change, &Snapshot) -> Vec<Key>) -> Self {
        Self { resource: Resource::of::<T>(), keys }
    }

    /// Reads `T`s without being woken by them.
    #[must_use]
    pub fn reading<T: k8s_openapi::Resource>() -> Self {
        Self::new::<T>(|_, _| Vec::new())
    }

    /// Reconciles the object itself.
    #[must_use]
    pub fn own<T: k8s_openapi::Resource>() -> Self {
        Self::new::<T>(|change, _| change.latest().map(|entry| entry.key.clone()).into_iter().collect())
    }
}

/// Keeps one aspect of the cluster as described.
pub trait Controller: Send + Sync + Sized + 'static {
    /// Its name in logs and as an event's source.
    const NAME: &'static str;
    /// A controller for a cluster, as of `now`.
    fn new(config: &Config, now: Timestamp) -> Self;
    /// What it looks at.
    fn watches() -> Vec<Watch>;
    /// Which keys to reconcile when an object of a kind that is defined at run time changes, for controllers that look at these.
    const DEFINED: Option<fn(&Change, &Snapshot) -> Vec<Key>> = None;
    /// What to do about an object. Errors when an object it needs does not parse.
    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable>;
}

/// A row of [`CONTROLLERS`].
pub struct Row {
    /// See [`Controller::NAME`].
    pub name: &'static str,
    /// See [`Controller::watches`].
    pub watches: fn() -> Vec<Watch>,
    start: fn(Context, &Config) -> futures::future::BoxFuture<'static, ()>,
}

impl Row {
    const fn of<C: Controller>() -> Self {
        Self { name: C::NAME, watches: C::watches, start: runner::start::<C> }
    }
}

/// Every controller.
pub const CONTROLLERS: &[Row] = &[
    Row::of::<autoscaler::Autoscalers>(),
    Row::of::<deployment::Deployments>(),
    Row::of::<disruption::Disruption>(),
    Row::of::<endpoints::EndpointsOfServices>(),
    Row::of::<endpointslice::SlicesOfServices>(),
    Row::of::<event_expiry::EventExpiry>(),
    Row::of::<garbage::Garbage>(),
    Row::of::<mirror::SlicesOfEndpoints>(),
    Row::of::<namespace::Namespaces>(),
    Row::of::<node_health::NodeHealth>(),
    Row::of::<pod_eviction::PodEviction>(),
    Row::of::<pod_garbage::PodGarbage>(),
    Row::of::<pod_ranges::PodRanges>(),
    Row::of::<protection::ClaimProtection>(),
    Row::of::<protection::VolumeProtection>(),
    Row::of::<replicaset::ReplicaSets>(),
    Row::of::<role_aggregation::RoleAggregation>(),
    Row::of::<root_ca::RootCa>(),
    Row::of::<service_account::DefaultAccounts>(),
];

/// Running controllers. They stop when this is dropped.
pub struct Controllers {
    _informers: Informers,
    _tasks: JoinSet<()>,
}

/// Starts all controllers, acting as the client's user.
#[must_use]
pub fn start(client: &Client, world: &World, config: &Config) -> Controllers {
    let watched = CONTROLLERS.iter().flat_map(|row| (row.watches)()).map(|watch| watch.resource);
    let informers = Informers::start(client, world, watched).with_defined(client, world);
    let (recorder, recording) = Recorder::new(client, world);
    let mut tasks = JoinSet::new();
    tasks.spawn(recording);
    for row in CONTROLLERS {
        let context = Context {
            client: Arc::clone(client),
            world: world.clone(),
            caches: informers.caches(),
            recorder: recorder.clone(),
        };
        tasks.spawn((row.start)(context, config));
    }
    Controllers { _informers: informers, _tasks: tasks }
}

/// The built-in kinds whose objects own or are owned, each object once.
///
/// Events are neither, and too many to be followed.
fn followed_kinds() -> impl Iterator<Item = &'static Arc<Kind>> {
    static ROWS: OnceLock<Vec<Arc<Kind>>> = OnceLock::new();
    let follows = |kind: &&Kind| kind.kind != "Event" && kind.stored_as.is_none();
    ROWS.get_or_init(|| KINDS.iter().filter(follows).cloned().map(Arc::new).collect()).iter()
}
