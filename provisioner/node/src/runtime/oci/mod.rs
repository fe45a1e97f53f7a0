//! Real Linux containers, made by libcontainer in a process a pod.
//!
//! The node agent holds no container: every pod has a shim, kprov itself re-executed as `kprov runtime-shim`, which
//! outlives it. What is known of a pod is what its shim says; a shim that has ended is found by its closed socket.
//!
//! Nothing of a container is mounted where the rest of the machine sees it: its mounts live in a mount namespace that
//! ends with it, so what is to be cleaned up is processes, control groups and one folder.

mod cgroup;
mod folder;
mod link;
mod purge;
mod shim;
mod spawn;
mod wire;

pub use purge::purge;
pub use shim::shim_main;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kprov_control_plane::world::World;
use kprov_schema::Uid;
use nix::sys::signal::Signal;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use self::cgroup::{Cgroup, Setup};
use self::folder::{PodFolder, SandboxRecord, load, names_in, save, throw_away};
use self::link::{Pod, Reader};
use self::wire::{Ask, Launch};
use super::{
    Cause, Container, ContainerSpec, ContainerState, Image, Inventory, PullError, Runtime, RuntimeError, Sandbox,
    SandboxSpec, Seccomp,
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

    /// Finds a pod again that an earlier agent made.
    async fn adopt(self: &Arc<Self>, path: &Path) -> Result<(), RuntimeError> {
        let folder = PodFolder(path.to_owned());
        let record: Option<SandboxRecord> = load(&folder.sandbox()).map_err(system("can't read a sandbox"))?;
        // The record is the first thing in a folder: without it nothing was begun.
        let Some(record) = record else { return self.discard(folder.0).await };
        let pod = Arc::new(Pod::new(record, folder, self.setup.clone()));
        match pod.connect().await {
            Ok(Some(reader)) => {
                self.drop_strays(&pod).await?;
                self.hold(pod, Some(reader));
            }
            Ok(None) => {
                pod.recall().map_err(system("can't read a container"))?;
                pod.lost(self.config.world.clock.now()).await;
                self.hold(pod, None);
            }
            Err(error) => {
                let what = format!("can't reach the shim of pod {}", pod.record.spec.pod);
                return Err(system(what)(error));
            }
        }
        Ok(())
    }

    /// Deletes folders of containers that the shim has forgotten already.
    async fn drop_strays(&self, pod: &Pod) -> Result<(), RuntimeError> {
        let parent = pod.folder.0.join("containers");
        for id in names_in(&parent).map_err(system("can't read a pod's folder"))? {
            if pod.container(&id).is_none() {
                self.discard(parent.join(id)).await?;
            }
        }
        Ok(())
    }

    /// Puts a pod among the others and follows its shim.
    fn hold(self: &Arc<Self>, pod: Arc<Pod>, reader: Option<Reader>) {
        let uid = pod.record.spec.pod.clone();
        self.pods.lock().expect("no holder panics").insert(uid.clone(), Arc::clone(&pod));
        let Some(reader) = reader else { return };
        let (weak, clock, told_uid): (Weak<Self>, _, _) =
            (Arc::downgrade(self), Arc::clone(&self.config.world.clock), uid.clone());
        let told = move || {
            if let Some(inner) = weak.upgrade() {
                inner.tell(&told_uid);
            }
        };
        let task = tokio::spawn(pod.follow(reader, move || clock.now(), told));
        self.tasks.lock().expect("no holder panics").insert(uid, task);
    }

    async fn create_sandbox(self: Arc<Self>, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let gate = self.gate(&spec.pod);
        let _gate = gate.lock().await;
        if let Some(pod) = self.pod(&spec.pod) {
            let lost = || {
                RuntimeError::Refused(format!(
                    "the sandbox of pod {} has lost its keeper: it must be removed first",
                    spec.pod
                ))
            };
            return pod.is_alive().then(|| pod.sandbox()).ok_or_else(lost);
        }
        for name in spec.sysctls.keys() {
            shim::check_sysctl(name, &spec).map_err(RuntimeError::Refused)?;
        }
        let folder = PodFolder::of(&self.config.root, &spec.pod)
            .ok_or_else(|| RuntimeError::Refused(format!("{:?} is no pod uid", spec.pod.0)))?;
        if spec.cgroup.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(RuntimeError::Refused(format!("{:?} is no control group", spec.cgroup)));
        }
        let cgroup = format!("/{}/{}", self.config.cgroup.trim_matches('/'), spec.cgroup);
        let record = SandboxRecord { spec, created_at: self.config.world.clock.now(), cgroup };
        let pod = Arc::new(Pod::new(record, folder, self.setup.clone()));
        match self.start_shim(&pod).await {
            Ok(reader) => {
                let sandbox = pod.sandbox();
                self.tell(&sandbox.pod);
                self.hold(pod, Some(reader));
                Ok(sandbox)
            }
            Err(error) => {
                self.clear(&pod).await?;
                Err(system(format!("can't make the sandbox of pod {}", pod.record.spec.pod))(error))
            }
        }
    }

    async fn start_shim(&self, pod: &Pod) -> io::Result<Reader> {
        let (folder, record, exe) = (pod.folder.clone(), pod.record.clone(), self.config.exe.clone());
        blocking(move || {
            fs::create_dir_all(&folder.0)?;
            fs::create_dir_all(&record.spec.log_dir)?;
            save(&folder.sandbox(), &record)?;
            spawn::spawn(&exe, &folder)
        })
        .await?;
        match pod.connect().await? {
            Some(reader) => Ok(reader),
            None => {
                let log = fs::read_to_string(pod.folder.0.join("shim.log")).unwrap_or_default();
                Err(io::Error::other(format!("the shim ended at once: {}", log.trim())))
            }
        }
    }

    async fn remove_sandbox(&self, uid: &Uid) -> Result<(), RuntimeError> {
        let gate = self.gate(uid);
        let _gate = gate.lock().await;
        if let Some(pod) = self.pod(uid) {
            let ids: Vec<String> = pod.containers().into_iter().map(|c| c.id).collect();
            if let Err(fault) = pod.ask(Ask::End).await {
                // A shim that ended by itself leaves the rest to us.
                tracing::debug!(pod = %uid, ?fault, "a shim did not end its pod");
            }
            self.clear(&pod).await?;
            for id in ids {
                self.release(&id).await?;
            }
            self.pods.lock().expect("no holder panics").remove(uid);
            self.tasks.lock().expect("no holder panics").remove(uid);
            self.tell(uid);
        }
        self.gates.lock().expect("no holder panics").remove(uid);
        Ok(())
    }

    /// Kills and removes what a pod has on the machine, whoever kept it.
    async fn clear(&self, pod: &Pod) -> Result<(), RuntimeError> {
        clear_cgroup(&pod.cgroup, &self.config.world).await?;
        self.discard(pod.folder.0.clone()).await
    }

    async fn start(&self, uid: &Uid, spec: ContainerSpec) -> Result<Container, RuntimeError> {
        check(&spec)?;
        let pod = self.pod(uid).ok_or_else(|| RuntimeError::NotFound(format!("the sandbox of pod {uid}")))?;
        let id = self.new_id();
        let launch = self.prepare(&pod, &id, spec).await?;
        let started = pod.ask(Ask::Start(Box::new(launch))).await;
        match pod.container(&id) {
            Some(container) => started.map(|()| container).map_err(Into::into),
            None => {
                self.release(&id).await?;
                self.discard(pod.folder.container(&id)).await?;
                Err(started.err().map_or_else(|| RuntimeError::NotFound(format!("container {id}")), Into::into))
            }
        }
    }

    /// Takes a lease on the image and gathers what the shim needs to know.
    async fn prepare(&self, pod: &Pod, id: &str, spec: ContainerSpec) -> Result<Launch, RuntimeError> {
        let (images, owner, lease, wanted) =
            (self.config.images.clone(), self.config.owner(), id.to_owned(), spec.image.clone());
        let (image, layers) = blocking(move || {
            let layers = images.lease(&owner, &lease, &wanted)?;
            let image = images.find(&wanted)?.ok_or_else(|| images::Error::Missing(wanted.clone()))?;
            Ok::<_, images::Error>((image, layers))
        })
        .await
        .map_err(|error| match error {
            images::Error::Missing(image) => RuntimeError::NotFound(format!("image {image}")),
            other => system("can't use an image")(other),
        })?;
        let container = Container {
            id: id.to_owned(),
            pod: pod.record.spec.pod.clone(),
            name: spec.name.clone(),
            attempt: spec.attempt,
            image: spec.image.clone(),
            state: ContainerState::Created,
        };
        let stop_signal = [&spec.stop_signal, &image.stop_signal]
            .into_iter()
            .find_map(|name| parse_signal(name))
            .unwrap_or(Signal::SIGTERM);
        Ok(Launch { container, spec, image, layers: layers.into(), stop_signal: stop_signal as i32 })
    }

    fn new_id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.config.world.rng.next_u64())).collect()
    }

    async fn stop(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let pod = self.pod_of(id).ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))?;
        if ended(&pod, id) {
            return Ok(());
        }
        let clock = &self.config.world.clock;
        let until =
            clock.now().saturating_add(jiff::SignedDuration::try_from(grace).unwrap_or(jiff::SignedDuration::MAX));
        if !grace.is_zero() {
            tell_to_end(&pod, id, Ask::Stop(id.to_owned())).await?;
        }
        let patience = until.map(|until| clock.sleep_until(until)).map_err(system("can't wait so long"))?;
        let in_time = tokio::select! {
            () = wait_for_end(&pod, id) => true,
            () = patience => false,
        };
        if !in_time {
            tell_to_end(&pod, id, Ask::Kill(id.to_owned())).await?;
            wait_for_end(&pod, id).await;
        }
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let Some(pod) = self.pod_of(id) else { return Ok(()) };
        if !ended(&pod, id) {
            return Err(RuntimeError::Refused(format!("container {id} is running: stop it first")));
        }
        if pod.is_alive() {
            pod.ask(Ask::Forget(id.to_owned())).await?;
        }
        self.discard(pod.folder.container(id)).await?;
        self.release(id).await?;
        pod.forget(id);
        Ok(())
    }
}

/// Refuses what is not built, before anything is made.
fn check(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    let refuse = |words: String| Err(RuntimeError::Refused(words));
    match &spec.privileges.seccomp {
        Seccomp::Unconfined => {}
        Seccomp::RuntimeDefault => {
            return refuse(
                "the seccomp profile RuntimeDefault can't be enforced yet, so the container is not started".into(),
            );
        }
        Seccomp::Localhost(path) => {
            return refuse(format!(
                "the seccomp profile {} can't be enforced yet, so the container is not started",
                path.display()
            ));
        }
    }
    if spec.tty {
        return refuse("a terminal can't be given to a container yet".into());
    }
    if spec.args.is_empty() {
        return refuse("the container has no command, and its image names none".into());
    }
    if !spec.stop_signal.is_empty() && parse_signal(&spec.stop_signal).is_none() {
        return refuse(format!("{:?} is no signal", spec.stop_signal));
    }
    match spec.mounts.iter().find(|mount| !mount.source.exists()) {
        Some(mount) => refuse(format!("{} can't be mounted: it is not there", mount.source.display())),
        None => Ok(()),
    }
}

/// `SIGQUIT`, `QUIT` or `3`.
fn parse_signal(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).ok();
    }
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    full.parse().ok()
}

fn ended(pod: &Pod, id: &str) -> bool {
    pod.container(id).is_none_or(|c| matches!(c.state, ContainerState::Exited(_)))
}

/// Returns when the container has ended, by whatever hand.
async fn wait_for_end(pod: &Pod, id: &str) {
    let mut changes = pod.changes();
    while !ended(pod, id) {
        // The sender lives as long as the pod.
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn tell_to_end(pod: &Pod, id: &str, ask: Ask) -> Result<(), RuntimeError> {
    match pod.ask(ask).await {
        // It ended, or its shim did, before it could be told.
        Err(_) if ended(pod, id) => Ok(()),
        other => other.map_err(Into::into),
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
