//! What controllers are written with: the trait, the snapshot they decide on, the actions they answer with, the runner
//! that does these, and what they share about objects. No controller is named here.

pub mod action;
pub mod addresses;
pub mod affinity;
pub mod claim;
pub mod history;
pub mod meta;
mod queue;
pub mod recorder;
pub mod rollout;
pub mod runner;
pub mod selector;
pub mod snapshot;
pub mod status;
pub mod taint;
pub mod template;

use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use kprov_schema::{Key, Resource};

use crate::informer::{Change, Unreadable};
pub use action::{Action, Outcome};
pub use recorder::Recorder;
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
    /// Folder of this machine below which every node has one of its name for what is kept in volumes.
    pub nodes: PathBuf,
}

impl Config {
    /// The usual cluster: pods in 10.244.0.0/16, a /24 a node, nodes lost after 50 s, their
    /// files below `/var/lib/kprov/nodes`.
    #[must_use]
    pub fn new(root_ca: impl Into<String>) -> Self {
        Self {
            root_ca: root_ca.into(),
            pod_network: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 244, 0, 0), 16),
            node_prefix: 24,
            node_grace: Duration::from_secs(50),
            nodes: PathBuf::from("/var/lib/kprov/nodes"),
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
