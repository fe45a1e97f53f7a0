//! The node agent: makes what the API says of this node's pods true.
//!
//! [`decide`] says what to do, a [`pod_task`] a pod does it, and everything that wakes one is an event: a watch, the
//! runtime, or a time that a decision asked for.

pub mod conditions;
pub mod decide;
pub mod deed;
pub mod env;
pub mod events;
pub mod expand;
pub mod failure;
pub mod fields;
pub mod last_words;
pub mod machine;
pub mod memory;
pub mod names;
pub mod node;
pub mod patch;
pub mod pod_task;
pub mod probe;
pub mod references;
pub mod reflector;
pub mod refuse;
pub mod resize;
pub mod resources;
pub mod security;
pub mod services;
pub mod session;
pub mod start;
pub mod status;
pub mod tasks;
pub mod view;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{Pod, Taint};
use kprov_control_plane::client::node::{Dial, LogOptions, NodeApi, Start, Task, Wanted};
use kprov_control_plane::client::{Client, Selection};
use kprov_control_plane::world::World;
use kprov_schema::{Object, Resource, Status};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::kernel;
use crate::logs;
use crate::net::PodNetwork;
use crate::runtime::Runtime;
use crate::volumes;
use events::Recorder;
use machine::{Capacity, System};
use names::Resolver;
use references::References;
use reflector::Reflector;
use resources::NodeAmounts;
use services::Services;
use tasks::Tasks;

/// What an agent is told about its node.
#[derive(Clone, Debug, Default)]
pub struct AgentConfig {
    /// Name of the node.
    pub name: String,
    /// Folder for the files of its pods. `None` writes nothing at all: volumes, host files and logs stay out, which only
    /// suits containers that are simulated.
    pub root: Option<PathBuf>,
    /// Labels beyond those that every node has.
    pub labels: BTreeMap<String, String>,
    /// Taints that it registers with.
    pub taints: Vec<Taint>,
    /// Domain of the cluster, such as `cluster.local`.
    pub cluster_domain: String,
    /// What it offers.
    pub capacity: Capacity,
    /// What its operating system calls itself.
    pub system: System,
    /// How often it says that it lives.
    pub heartbeat: Heartbeat,
    /// Whom the node itself asks for names: search domains for all pods, servers for those with `dnsPolicy: Default`.
    pub resolver: Resolver,
}

/// Time between two renewals of a node's lease, which holds for four of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat(pub Duration);

impl Default for Heartbeat {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl AgentConfig {
    /// An agent of this name for containers that are simulated: it touches no disk.
    #[must_use]
    pub fn simulated(name: impl Into<String>, capacity: Capacity) -> Self {
        let architecture = machine::architecture(std::env::consts::ARCH).to_owned();
        Self {
            name: name.into(),
            cluster_domain: "cluster.local".to_owned(),
            capacity,
            system: System { architecture, os_image: "simulated".to_owned(), ..System::default() },
            ..Self::default()
        }
    }
}

/// What all tasks of an agent share.
pub struct Context {
    /// What it was told.
    pub config: AgentConfig,
    /// The API, as this node.
    pub client: Client,
    /// Its containers.
    pub runtime: Arc<dyn Runtime>,
    /// Its network.
    pub network: Arc<dyn PodNetwork>,
    /// Time and randomness.
    pub world: World,
    /// Config maps and secrets in use.
    pub references: References,
    /// Services, for environments.
    pub services: Services,
    /// Events.
    pub recorder: Recorder,
    /// Told when other images are here.
    pub images_changed: Notify,
}

impl Context {
    fn node_amounts(&self) -> NodeAmounts {
        let capacity = &self.config.capacity;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        NodeAmounts {
            cpu_millis: number(capacity.cpus.saturating_mul(1000)),
            memory_bytes: number(capacity.memory_bytes),
            disk_bytes: number(capacity.disk_bytes),
        }
    }

    /// What the machine offers to security contexts.
    fn host(&self) -> security::Host {
        security::Host {
            profiles: self.config.root.clone().unwrap_or_default().join("seccomp"),
            selinux: kernel::has_selinux(),
        }
    }
}

/// A running agent. It stops with the last handle; its containers run on.
pub struct Agent {
    context: Arc<Context>,
    tasks: Arc<Tasks>,
    background: Vec<AbortHandle>,
}

/// Starts an agent: it registers the node, adopts what runs, and follows the node's pods.
#[must_use]
pub fn start(
    config: AgentConfig,
    client: Client,
    runtime: Arc<dyn Runtime>,
    network: Arc<dyn PodNetwork>,
    world: World,
) -> Agent {
    let clock = world.clock.clone();
    if let Some(root) = &config.root
        && let Err(error) = volumes::mounts::share(&volumes::folder::pods(root))
    {
        tracing::error!(%error, "parts of volumes will not be seen in containers");
    }
    let context = Arc::new(Context {
        references: References::new(client.clone(), clock.clone()),
        services: Services::start(&client, &clock, config.root.is_some()),
        recorder: Recorder::start(client.clone(), clock.clone(), config.name.clone()),
        images_changed: Notify::new(),
        config,
        client,
        runtime,
        network,
        world,
    });
    let tasks = Arc::new(Tasks::new(context.clone()));
    let which = Selection { fields: format!("spec.nodeName={}", context.config.name), ..Selection::default() };
    let pods = Reflector { client: context.client.clone(), resource: Resource::of::<Pod>(), which, clock };
    let followed = tasks.clone();
    // Listen before the first list: what happens in between is not missed.
    let mut changes = context.runtime.events();
    let woken = tasks.clone();
    let mut image_changes = context.runtime.image_changes();
    let (told, waiting) = (context.clone(), tasks.clone());
    let background = vec![
        tokio::spawn(node::keep(context.clone())).abort_handle(),
        tokio::spawn(pods.follow(None, move |change| followed.apply(change))).abort_handle(),
        tokio::spawn(async move {
            while let Some(pod) = changes.next().await {
                woken.wake(&pod);
            }
        })
        .abort_handle(),
        tokio::spawn(async move {
            while let Some(change) = image_changes.next().await {
                if let Err(error) = change {
                    tracing::error!(error = chain(&error), "images that are loaded will be seen late");
                }
                told.images_changed.notify_one();
                waiting.images_changed();
            }
        })
        .abort_handle(),
    ];
    Agent { context, tasks, background }
}

impl Agent {
    /// Ends the agent. Containers run on; the next agent of this node adopts them.
    pub fn stop(&self) {
        self.background.iter().for_each(AbortHandle::abort);
        self.tasks.stop();
        self.context.services.stop();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop();
    }
}

impl NodeApi for Agent {
    fn logs(
        &self,
        pod: Arc<Object>,
        options: LogOptions,
    ) -> BoxFuture<'_, Result<BoxStream<'static, io::Result<Bytes>>, Status>> {
        Box::pin(
            async move { logs::open(self.context.config.root.as_deref(), self.context.runtime.clone(), &pod, options) },
        )
    }

    fn session(
        &self,
        pod: Arc<Object>,
        container: String,
        task: Task,
        wanted: Wanted,
    ) -> BoxFuture<'_, Result<Start, Status>> {
        Box::pin(async move { session::session(&self.context, &pod, container, task, wanted).await })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, Result<TcpStream, String>> {
        Box::pin(async move { session::connect(&self.context, to).await })
    }

    fn ports(&self, pod: Arc<Object>) -> BoxFuture<'_, Result<Dial, Status>> {
        Box::pin(async move { session::ports(&self.context, &pod).await })
    }
}

/// An error with all its causes, as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Disk work, away from the tasks that must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(io::Error::other(error)),
    }
}
