//! Controllers: what keeps the cluster as its objects describe it.
//!
//! A controller is a pure function from a key, the caches and the time to actions; the one [`machinery::runner`] does the
//! rest.

pub mod api_services;
pub mod autoscaler;
pub mod binding;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpoints_mirror;
pub mod endpointslice;
pub mod event_expiry;
pub mod flow_schemas;
pub mod garbage;
pub mod ingress;
pub mod job;
pub mod machinery;
pub mod namespace;
pub mod node_health;
pub mod pod_eviction;
pub mod pod_garbage;
pub mod pod_ranges;
pub mod protection;
pub mod provisioner;
pub mod quota;
pub mod replication;
pub mod role_aggregation;
pub mod root_ca;
pub mod service_account;
pub mod statefulset;
pub mod ttl_after_finished;

use std::sync::{Arc, OnceLock};

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;
use kprov_schema::{KINDS, Kind};
use tokio::task::JoinSet;

use crate::client::Client;
use crate::informer::Informers;
use crate::world::World;
use machinery::runner::{self, Context};
pub use machinery::{Config, Controller, Recorder, Watch};

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
    Row::of::<api_services::ApiServices>(),
    Row::of::<autoscaler::Autoscalers>(),
    Row::of::<binding::ClaimBinding>(),
    Row::of::<binding::VolumePhases>(),
    Row::of::<cronjob::CronJobs>(),
    Row::of::<daemonset::DaemonSets>(),
    Row::of::<deployment::Deployments>(),
    Row::of::<disruption::Disruption>(),
    Row::of::<endpoints::EndpointsOfServices>(),
    Row::of::<endpointslice::SlicesOfServices>(),
    Row::of::<event_expiry::EventExpiry>(),
    Row::of::<flow_schemas::FlowSchemas>(),
    Row::of::<garbage::Garbage>(),
    Row::of::<ingress::Ingresses>(),
    Row::of::<job::Jobs>(),
    Row::of::<endpoints_mirror::SlicesOfEndpoints>(),
    Row::of::<namespace::Namespaces>(),
    Row::of::<node_health::NodeHealth>(),
    Row::of::<pod_eviction::PodEviction>(),
    Row::of::<pod_garbage::PodGarbage>(),
    Row::of::<pod_ranges::PodRanges>(),
    Row::of::<protection::AttributesClassProtection>(),
    Row::of::<protection::ClaimProtection>(),
    Row::of::<protection::VolumeProtection>(),
    Row::of::<provisioner::LocalVolumes>(),
    Row::of::<quota::ResourceQuotas>(),
    Row::of::<replication::Replication<ReplicaSet>>(),
    Row::of::<replication::Replication<ReplicationController>>(),
    Row::of::<role_aggregation::RoleAggregation>(),
    Row::of::<root_ca::RootCa>(),
    Row::of::<service_account::DefaultAccounts>(),
    Row::of::<statefulset::StatefulSets>(),
    Row::of::<ttl_after_finished::TtlAfterFinished>(),
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
