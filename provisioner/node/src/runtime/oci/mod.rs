//! Real Linux containers, made by libcontainer in a process a pod.
//!
//! The node agent holds no container: every pod has a shim, kprov itself re-executed as `kprov runtime-shim`, which
//! outlives it. What is known of a pod is what its shim says; a shim that has ended is found by its closed socket.
//!
//! Nothing of a container is mounted where the rest of the machine sees it: its mounts live in a mount namespace that
//! ends with it, so what is to be cleaned up is processes, control groups and one folder.

mod cgroup;
mod containers;
mod folder;
mod link;
mod pass;
mod pods;
mod purge;
mod shim;
mod spawn;
mod streams;
mod terminal;
mod wire;

pub use purge::{cut, purge};
pub use shim::shim_main;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kprov_control_plane::world::World;
use kprov_schema::Uid;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use self::cgroup::{Cgroup, Setup};
use self::folder::{names_in, throw_away};
use self::link::Pod;
use super::{
    Cause, Container, ContainerSpec, Executed, Image, Inventory, Limits, PullError, Runtime, RuntimeError, Sandbox,
    SandboxSpec, Streams, Task, Wanted,
};
use crate::images::{self, Store};

/// Changes that a slow listener may fall behind before it is told to look at every pod.
const EVENTS: usize = 1024;

/// How often a control group that is still being left is tried, and how long it waits in between.
const ATTEMPTS: u32 = 250;
const BETWEEN: Duration = Duration::from_millis(20);

/// What a node's containers need.
#[derive(Clone)]
pub struct OciConfig {
    /// Folder of this node's pods; nobody else's.
    pub root: PathBuf,
    /// Control group that all of this node's are below, such as `kprov/<cluster>/<node>`.
    pub cgroup: String,
    /// The binary that is started with `runtime-shim <folder>` for every pod; `/proc/self/exe` for kprov itself.
    pub exe: PathBuf,
    /// The images.
    pub images: Store,
    /// Time and randomness.
    pub world: World,
}

impl OciConfig {
    /// Name of this node's leases on images.
    fn owner(&self) -> String {
        self.cgroup.trim_matches('/').replace('/', "~")
    }
}

/// The containers of one node. Dropping it leaves them running; [`Oci::open`] finds them again.
pub struct Oci {
    inner: Arc<Inner>,
}

struct Inner {
    config: OciConfig,
    setup: Setup,
    pods: Mutex<BTreeMap<Uid, Arc<Pod>>>,
    /// Keeps the making and removing of one pod's sandbox apart.
    gates: Mutex<BTreeMap<Uid, Arc<tokio::sync::Mutex<()>>>>,
    tasks: Mutex<BTreeMap<Uid, JoinHandle<()>>>,
    events: broadcast::Sender<Uid>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.get_mut().expect("no holder panics").values().for_each(JoinHandle::abort);
    }
}

impl Oci {
    /// Opens a node's containers: finds the pods whose shims live, and kills what lost its shim.
    ///
    /// Errors: no root, no control groups, or a folder that can't be read.
    pub async fn open(config: OciConfig) -> Result<Self, RuntimeError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(RuntimeError::Refused(
                "containers need root: run kprov as root, or use simulated nodes".into(),
            ));
        }
        let setup = Setup::detect().map_err(system("can't find the control groups"))?;
        let pods = config.root.join("pods");
        fs::create_dir_all(&pods).map_err(system(format!("can't make {}", pods.display())))?;
        let inner = Arc::new(Inner {
            setup,
            pods: Mutex::default(),
            gates: Mutex::default(),
            tasks: Mutex::default(),
            events: broadcast::Sender::new(EVENTS),
            config,
        });
        inner.sweep_trash().map_err(system("can't empty the trash"))?;
        for name in names_in(&pods).map_err(system(format!("can't read {}", pods.display())))? {
            inner.adopt(&pods.join(name)).await?;
        }
        inner.keep_leases().await?;
        Ok(Self { inner })
    }
}

fn system<E: Into<Cause>>(what: impl Into<String>) -> impl FnOnce(E) -> RuntimeError {
    let what = what.into();
    move |e| {
        let source = e.into();
        RuntimeError::System { what: format!("{what}: {source}"), source }
    }
}

/// Runs what blocks where blocking is no harm.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => panic!("the runtime is shutting down: {error}"),
    }
}

impl Inner {
    fn pod(&self, uid: &Uid) -> Option<Arc<Pod>> {
        self.pods.lock().expect("no holder panics").get(uid).cloned()
    }

    fn all(&self) -> Vec<Arc<Pod>> {
        self.pods.lock().expect("no holder panics").values().cloned().collect()
    }

    fn pod_of(&self, id: &str) -> Option<Arc<Pod>> {
        self.all().into_iter().find(|pod| pod.container(id).is_some())
    }

    fn gate(&self, uid: &Uid) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.gates.lock().expect("no holder panics").entry(uid.clone()).or_default())
    }

    fn tell(&self, uid: &Uid) {
        // Nobody listening is nobody to tell.
        let _ = self.events.send(uid.clone());
    }

    fn sweep_trash(&self) -> io::Result<()> {
        let trash = self.config.root.join("trash");
        names_in(&trash)?.iter().try_for_each(|name| fs::remove_dir_all(trash.join(name)))
    }

    /// Takes a folder away at once, and deletes it in its own time.
    async fn discard(&self, folder: PathBuf) -> Result<(), RuntimeError> {
        let (root, unique) = (self.config.root.clone(), self.config.world.uuid());
        let what = format!("can't remove {}", folder.display());
        let thrown = blocking(move || throw_away(&root, &folder, &unique)).await.map_err(system(what))?;
        let Some(doomed) = thrown else { return Ok(()) };
        tokio::task::spawn_blocking(move || match fs::remove_dir_all(&doomed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %doomed.display(), %error, "a folder stays in the trash until the next start");
            }
            _ => {}
        });
        Ok(())
    }

    /// Takes back the images of containers that are gone.
    async fn keep_leases(&self) -> Result<(), RuntimeError> {
        let keep: BTreeSet<String> = self.all().iter().flat_map(|pod| pod.containers()).map(|c| c.id).collect();
        let (images, owner) = (self.config.images.clone(), self.config.owner());
        blocking(move || images.retain(&owner, &keep)).await.map_err(system("can't give images back"))
    }

    async fn release(&self, id: &str) -> Result<(), RuntimeError> {
        let (images, owner, id) = (self.config.images.clone(), self.config.owner(), id.to_owned());
        blocking(move || images.release(&owner, &id)).await.map_err(system("can't give an image back"))
    }
}

/// Kills and removes a control group. A process that is killed takes a moment to leave.
async fn clear_cgroup(cgroup: &Cgroup, world: &World) -> Result<(), RuntimeError> {
    for _ in 0..ATTEMPTS {
        let group = cgroup.clone();
        let gone = blocking(move || group.kill().and_then(|()| group.remove())).await;
        if gone.map_err(system(format!("can't remove control group {}", cgroup.path())))? {
            return Ok(());
        }
        let soon = world.clock.now() + BETWEEN;
        world.clock.sleep_until(soon).await;
    }
    Err(system(format!("can't remove control group {}", cgroup.path()))(io::Error::other("its processes do not end")))
}

fn pull_error(error: images::Error) -> PullError {
    match error {
        images::Error::InvalidName(name) => PullError::InvalidName(name),
        images::Error::Missing(name) => PullError::Missing(name),
        other => PullError::Store(other.into()),
    }
}

impl Runtime for Oci {
    fn version(&self) -> String {
        format!("kprov://{}", env!("CARGO_PKG_VERSION"))
    }

    fn pull<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Image, PullError>> {
        async move { self.image(reference).await?.ok_or_else(|| PullError::Missing(reference.to_owned())) }.boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, PullError>> {
        let (images, reference) = (self.inner.config.images.clone(), reference.to_owned());
        async move { blocking(move || images.find(&reference)).await.map_err(pull_error) }.boxed()
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, PullError>> {
        let images = self.inner.config.images.clone();
        async move { blocking(move || images.list()).await.map_err(pull_error) }.boxed()
    }

    fn image_changes(&self) -> BoxStream<'static, Result<(), PullError>> {
        let changes = match self.inner.config.images.changes() {
            Ok(changes) => changes,
            Err(error) => return futures::stream::iter([Err(pull_error(error))]).boxed(),
        };
        futures::stream::unfold(Some(changes), |changes| async move {
            let mut changes = changes?;
            match changes.next().await {
                Ok(()) => Some((Ok(()), Some(changes))),
                Err(error) => Some((Err(pull_error(error)), None)),
            }
        })
        .boxed()
    }

    fn create_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Sandbox, RuntimeError>> {
        Arc::clone(&self.inner).create_sandbox(spec).boxed()
    }

    fn remove_sandbox<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.inner.remove_sandbox(pod).boxed()
    }

    fn start<'a>(&'a self, pod: &'a Uid, spec: ContainerSpec) -> BoxFuture<'a, Result<Container, RuntimeError>> {
        self.inner.start(pod, spec).boxed()
    }

    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.inner.stop(id, grace).boxed()
    }

    fn resize<'a>(&'a self, id: &'a str, limits: Limits) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.inner.resize(id, limits).boxed()
    }

    fn exec<'a>(
        &'a self,
        id: &'a str,
        args: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Executed, RuntimeError>> {
        self.inner.exec(id, args, timeout).boxed()
    }

    fn session<'a>(&'a self, id: &'a str, task: Task, wanted: Wanted) -> BoxFuture<'a, Result<Streams, RuntimeError>> {
        self.inner.session(id, task, wanted).boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        self.inner.remove(id).boxed()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Inventory, RuntimeError>> {
        let pods = self.inner.all();
        let sandboxes = pods.iter().map(|pod| pod.sandbox()).collect();
        let containers = pods.iter().flat_map(|pod| pod.containers()).collect();
        futures::future::ready(Ok(Inventory { sandboxes, containers })).boxed()
    }

    fn events(&self) -> BoxStream<'static, Uid> {
        let state = (self.inner.events.subscribe(), Arc::downgrade(&self.inner), Vec::<Uid>::new());
        futures::stream::unfold(state, |(mut events, inner, mut late)| async move {
            loop {
                if let Some(uid) = late.pop() {
                    return Some((uid, (events, inner, late)));
                }
                match events.recv().await {
                    Ok(uid) => late.push(uid),
                    // What was missed may be of any pod.
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        late.extend(inner.upgrade()?.all().iter().map(|pod| pod.record.spec.pod.clone()));
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}
