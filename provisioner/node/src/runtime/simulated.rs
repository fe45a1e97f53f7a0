//! Containers that only pretend to run, on a given clock: thousands of nodes, no root.
//!
//! A container whose command is `simulate` does what its further words say, in any order: `exit=<code>` ends it by
//! itself, `after=<seconds>` says when, `stubborn` lets it outlive the stop signal, `missing` makes its program one
//! that is not in the image, `log=<text>` is a line of its log. Every other container runs until it is stopped, and
//! then ends with code 0. A command in a container does what its own words say, and others succeed at once;
//! For who asks for its streams nothing but `simulate` is understood; what it logs is then its standard output, and its input
//! goes nowhere. Who attaches to a container hears nothing until it has ended.
//! `fails-until=<seconds>` and `fails-from=<seconds>` let it fail while its container has run for less, or more, than that.
//! References to a registry below `.invalid`, or with a part that begins with `absent`, lead to no
//! image.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use jiff::{SignedDuration, Timestamp};
use kprov_control_plane::world::World;
use kprov_schema::{Uid, image};
use sha2::{Digest, Sha256};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::wrappers::{BroadcastStream, WatchStream};

use super::{
    Container, ContainerSpec, ContainerState, Executed, Exit, Image, Inventory, Limits, PullError, Runtime,
    RuntimeError, Sandbox, SandboxSpec, Seccomp, Streams, Task, Wanted,
};

/// Changes that a slow reader of events may be behind; beyond that it is told of every pod.
const BACKLOG: usize = 1024;

/// A runtime without processes. Clones share everything.
#[derive(Clone)]
pub struct Simulated(Arc<Inner>);

struct Inner {
    world: World,
    pods: Mutex<BTreeMap<Uid, Pod>>,
    /// By id; every image is here as soon as it is asked for.
    images: Mutex<BTreeMap<String, Image>>,
    image_changes: watch::Sender<()>,
    events: broadcast::Sender<Uid>,
    /// Stops that fail before one works again.
    failing_stops: AtomicU32,
}

struct Pod {
    sandbox: Sandbox,
    containers: Vec<Running>,
}

struct Running {
    container: Container,
    script: Script,
    /// Becomes true when it has ended.
    ended: watch::Sender<bool>,
}

/// What the words of a command say.
#[derive(Clone, Debug, Default, PartialEq)]
struct Script {
    exit: Option<i32>,
    after: Duration,
    stubborn: bool,
    missing: bool,
    log: Vec<String>,
    fails_until: Option<Duration>,
    fails_from: Option<Duration>,
}

/// A command in a container.
struct Command {
    /// How it ends; `None` when it does not.
    code: Option<i32>,
    after: Duration,
    output: String,
}

impl Script {
    /// The code of a command in a container that has run for so long; `None` when it does not end.
    fn code(&self, args: &[String], ran: Duration) -> Option<i32> {
        let fails =
            self.fails_until.is_some_and(|until| ran < until) || self.fails_from.is_some_and(|from| ran >= from);
        let told = self.fails_until.is_some() || self.fails_from.is_some();
        match (self.exit, told) {
            (Some(code), _) => Some(code),
            (None, true) => Some(i32::from(fails)),
            (None, false) => (args.first().map(String::as_str) != Some("simulate")).then_some(0),
        }
    }

    fn of(args: &[String]) -> Self {
        let mut script = Self::default();
        if args.first().map(String::as_str) != Some("simulate") {
            return script;
        }
        let seconds = |text: &str| Duration::from_secs_f64(text.parse().unwrap_or(0.0));
        for word in &args[1..] {
            match word.split_once('=').unwrap_or((word, "")) {
                ("exit", code) => script.exit = code.parse().ok(),
                ("after", text) => script.after = seconds(text),
                ("fails-until", text) => script.fails_until = Some(seconds(text)),
                ("fails-from", text) => script.fails_from = Some(seconds(text)),
                ("stubborn", _) => script.stubborn = true,
                ("missing", _) => script.missing = true,
                ("log", text) => script.log.push(text.to_owned()),
                _ => {}
            }
        }
        script
    }
}

impl Simulated {
    /// An empty runtime on the world's clock.
    #[must_use]
    pub fn new(world: World) -> Self {
        let (events, _) = broadcast::channel(BACKLOG);
        let failing_stops = AtomicU32::new(0);
        Self(Arc::new(Inner {
            world,
            pods: Mutex::default(),
            images: Mutex::default(),
            image_changes: watch::Sender::new(()),
            events,
            failing_stops,
        }))
    }

    /// Puts an image here that no reference would lead to otherwise.
    pub fn load(&self, reference: &str) -> Result<(), PullError> {
        let (image, _) = image(reference)?;
        self.0.add(image);
        Ok(())
    }

    /// Lets the next stops fail.
    pub fn fail_stops(&self, count: u32) {
        self.0.failing_stops.store(count, Ordering::SeqCst);
    }

    /// Lets the sandbox of a pod lose its keeper, and its containers with it.
    pub fn lose_sandbox(&self, pod: &Uid) {
        let now = self.0.world.clock.now();
        if let Some(pod) = self.0.pods().get_mut(pod) {
            pod.sandbox.ready = false;
            for one in &mut pod.containers {
                one.end(137, Some(9), now);
            }
        }
        self.0.tell(pod);
    }
}

impl Inner {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<Uid, Pod>> {
        self.pods.lock().expect("no code panics while it holds the lock")
    }

    fn images(&self) -> MutexGuard<'_, BTreeMap<String, Image>> {
        self.images.lock().expect("no code panics while it holds the lock")
    }

    fn image(&self, reference: &str) -> Result<Option<Image>, PullError> {
        if let Some(known) = self.images().get(reference) {
            return Ok(Some(known.clone()));
        }
        let (found, exists) = image(reference)?;
        if self.images().contains_key(&found.id) {
            return Ok(Some(found));
        }
        if !exists {
            return Ok(None);
        }
        self.add(found.clone());
        Ok(Some(found))
    }

    fn add(&self, image: Image) {
        self.images().insert(image.id.clone(), image);
        self.image_changes.send_replace(());
    }

    /// What a command in a running container will do.
    fn command(&self, id: &str, args: &[String]) -> Result<Command, RuntimeError> {
        let state = find(&mut self.pods(), id).map(|(_, one)| one.container.state.clone());
        let Some(ContainerState::Running { started_at }) = state else {
            return Err(RuntimeError::NotFound(format!("container {id}, as running,")));
        };
        let script = Script::of(args);
        if script.missing {
            return Err(RuntimeError::Start(not_found(args)));
        }
        let ran = Duration::try_from(self.world.clock.now().duration_since(started_at)).unwrap_or_default();
        let output = script.log.iter().map(|line| format!("{line}\n")).collect();
        Ok(Command { code: script.code(args, ran), after: script.after, output })
    }

    async fn pass(&self, time: Duration) {
        if time.is_zero() {
            return;
        }
        let clock = &self.world.clock;
        let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        clock.sleep_until(clock.now().checked_add(time).unwrap_or(Timestamp::MAX)).await;
    }

    fn tell(&self, pod: &Uid) {
        // Nobody listening is no error: the next reader begins with the inventory.
        let _ = self.events.send(pod.clone());
    }

    fn id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.world.rng.next_u64())).collect()
    }

    fn end(&self, id: &str, code: i32, signal: Option<i32>) {
        let now = self.world.clock.now();
        let mut told = None;
        if let Some((pod, one)) = find(&mut self.pods(), id)
            && one.end(code, signal, now)
        {
            told = Some(pod);
        }
        if let Some(pod) = told {
            self.tell(&pod);
        }
    }

    /// Ends a container by itself when its script says so.
    fn run(self: &Arc<Self>, id: &str, script: &Script) {
        let Some(code) = script.exit else { return };
        let until = self.world.clock.now().checked_add(script.after).unwrap_or(Timestamp::MAX);
        let (inner, id) = (self.clone(), id.to_owned());
        if script.after.is_zero() {
            return inner.end(&id, code, None);
        }
        tokio::spawn(async move {
            inner.world.clock.sleep_until(until).await;
            inner.end(&id, code, None);
        });
    }
}

impl Running {
    /// Whether it was running until now.
    fn end(&mut self, code: i32, signal: Option<i32>, now: Timestamp) -> bool {
        let ContainerState::Running { started_at } = self.container.state else { return false };
        let reason = if code == 0 { "Completed" } else { "Error" };
        self.container.state = ContainerState::Exited(Exit {
            code,
            signal,
            reason: reason.to_owned(),
            message: String::new(),
            started_at: Some(started_at),
            finished_at: now,
        });
        self.ended.send_replace(true);
        true
    }
}

fn find<'a>(pods: &'a mut BTreeMap<Uid, Pod>, id: &str) -> Option<(Uid, &'a mut Running)> {
    pods.iter_mut().find_map(|(uid, pod)| {
        pod.containers.iter_mut().find(|one| one.container.id == id).map(|one| (uid.clone(), one))
    })
}

/// The image that a reference leads to, and whether it is here without being loaded. Its id follows from its name, so
/// that all nodes agree.
fn image(reference: &str) -> Result<(Image, bool), PullError> {
    let parsed = image::parse(reference).ok_or_else(|| PullError::InvalidName(reference.to_owned()))?;
    let full = match parsed.name.split_once('/') {
        None => format!("docker.io/library/{}", parsed.name),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => parsed.name.clone(),
        Some(_) => format!("docker.io/{}", parsed.name),
    };
    let host = full.split('/').next().unwrap_or_default();
    let exists = !host.ends_with(".invalid") && !full.split('/').any(|part| part.starts_with("absent"));
    let version =
        parsed.digest.map_or_else(|| format!(":{}", parsed.tag.unwrap_or_default()), |digest| format!("@{digest}"));
    let name = format!("{full}{version}");
    let digest: String = Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let image = Image {
        id: format!("sha256:{digest}"),
        names: vec![name],
        size_bytes: 1 << 20,
        entrypoint: vec!["/simulated".to_owned()],
        command: Vec::new(),
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        working_dir: String::new(),
        user: String::new(),
        stop_signal: String::new(),
    };
    Ok((image, exists))
}

/// The log in the CRI format; a container without a log file has no log.
fn write_log(path: &Path, lines: &[String], now: Timestamp) -> Result<(), RuntimeError> {
    let Some(folder) = path.parent().filter(|_| !lines.is_empty()) else { return Ok(()) };
    let write = || {
        std::fs::create_dir_all(folder)?;
        let mut file = std::fs::File::options().create(true).append(true).open(path)?;
        lines.iter().try_for_each(|line| writeln!(file, "{now} stdout F {line}"))
    };
    write().map_err(|error| RuntimeError::System { what: format!("write {}", path.display()), source: error.into() })
}

impl Runtime for Simulated {
    fn version(&self) -> String {
        concat!("simulated://", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn pull<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Image, PullError>> {
        Box::pin(async move { self.0.image(reference)?.ok_or_else(|| PullError::Missing(reference.to_owned())) })
    }

    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, PullError>> {
        Box::pin(async move { self.0.image(reference) })
    }

    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, PullError>> {
        Box::pin(async { Ok(self.0.images().values().cloned().collect()) })
    }

    fn image_changes(&self) -> BoxStream<'static, Result<(), PullError>> {
        WatchStream::from_changes(self.0.image_changes.subscribe()).map(Ok).boxed()
    }

    fn create_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Sandbox, RuntimeError>> {
        Box::pin(async move {
            let created_at = self.0.world.clock.now();
            let mut pods = self.0.pods();
            let fresh = || Sandbox { pod: spec.pod.clone(), name: spec.name.clone(), created_at, ready: true };
            let pod = pods.entry(spec.pod.clone()).or_insert_with(|| Pod { sandbox: fresh(), containers: Vec::new() });
            if !pod.sandbox.ready {
                return Err(RuntimeError::Refused(format!("the sandbox of {} must be removed first", spec.name)));
            }
            Ok(pod.sandbox.clone())
        })
    }

    fn remove_sandbox<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let removed = self.0.pods().remove(pod);
            for one in removed.iter().flat_map(|pod| &pod.containers) {
                one.ended.send_replace(true);
            }
            Ok(())
        })
    }

    fn start<'a>(&'a self, pod: &'a Uid, spec: ContainerSpec) -> BoxFuture<'a, Result<Container, RuntimeError>> {
        Box::pin(async move {
            let now = self.0.world.clock.now();
            let script = Script::of(&spec.args);
            if !self.0.images().contains_key(&spec.image) {
                return Err(RuntimeError::NotFound(format!("image {}", spec.image)));
            }
            if let Seccomp::Localhost(path) = &spec.privileges.seccomp {
                let text = format!("seccomp profile {}: simulated containers make no system calls", path.display());
                return Err(RuntimeError::Refused(text));
            }
            let state =
                if script.missing { never_began(&spec, now) } else { ContainerState::Running { started_at: now } };
            let container = Container {
                id: self.0.id(),
                pod: pod.clone(),
                name: spec.name,
                attempt: spec.attempt,
                image: spec.image,
                limits: Some(spec.limits),
                state,
            };
            write_log(&spec.log_path, &script.log, now)?;
            let (ended, _) = watch::channel(script.missing);
            let made = Running { container: container.clone(), script: script.clone(), ended };
            self.0
                .pods()
                .get_mut(pod)
                .ok_or_else(|| RuntimeError::NotFound(format!("sandbox of {pod}")))?
                .containers
                .push(made);
            match &container.state {
                ContainerState::Exited(exit) => Err(RuntimeError::Start(exit.message.clone())),
                _ => {
                    self.0.run(&container.id, &script);
                    Ok(container)
                }
            }
        })
    }

    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let failing = &self.0.failing_stops;
            if failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return Err(RuntimeError::Refused(format!("container {id} is to be stopped later")));
            }
            let found = find(&mut self.0.pods(), id).map(|(_, one)| (one.script.stubborn, one.ended.subscribe()));
            let (stubborn, mut ended) = found.ok_or_else(|| RuntimeError::NotFound(format!("container {id}")))?;
            if !stubborn {
                self.0.end(id, 0, None);
                return Ok(());
            }
            let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
            let until = self.0.world.clock.now().checked_add(grace).unwrap_or(Timestamp::MAX);
            tokio::select! {
                () = self.0.world.clock.sleep_until(until) => self.0.end(id, 137, Some(9)),
                // The sender goes with the container: ended either way.
                _ = ended.wait_for(|ended| *ended) => {}
            }
            Ok(())
        })
    }

    fn resize<'a>(&'a self, id: &'a str, limits: Limits) -> BoxFuture<'a, Result<(), RuntimeError>> {
        let mut pods = self.0.pods();
        let running =
            find(&mut pods, id).filter(|(_, one)| matches!(one.container.state, ContainerState::Running { .. }));
        let done =
            running.ok_or_else(|| RuntimeError::NotFound(format!("container {id}, as running,"))).map(|(_, one)| {
                let was = one.container.limits.clone().unwrap_or_default();
                one.container.limits = Some(was.resized(&limits));
            });
        Box::pin(std::future::ready(done))
    }

    fn exec<'a>(
        &'a self,
        id: &'a str,
        args: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Executed, RuntimeError>> {
        Box::pin(async move {
            let command = self.0.command(id, &args)?;
            let ends = command.code.filter(|_| command.after <= timeout);
            self.0.pass(if ends.is_some() { command.after } else { timeout }).await;
            Ok(Executed { code: ends, output: command.output })
        })
    }

    fn session<'a>(&'a self, id: &'a str, task: Task, wanted: Wanted) -> BoxFuture<'a, Result<Streams, RuntimeError>> {
        Box::pin(async move {
            let running = |one: &Running| matches!(one.container.state, ContainerState::Running { .. });
            let mut over = find(&mut self.0.pods(), id)
                .filter(|(_, one)| running(one))
                .map(|(_, one)| one.ended.subscribe())
                .ok_or_else(|| RuntimeError::NotFound(format!("container {id}, as running,")))?;
            let (said, ended): (_, BoxFuture<'static, Result<i32, String>>) = match task {
                Task::Attach => {
                    // The sender goes with the container: ended either way.
                    let over = async move { over.wait_for(|over| *over).await.map_or(Ok(0), |_| Ok(0)) };
                    (String::new(), Box::pin(over))
                }
                Task::Exec(args) if args.first().map(String::as_str) != Some("simulate") => {
                    let words = format!("{}: a simulated container runs no programs", not_found(&args));
                    return Err(RuntimeError::Refused(words));
                }
                Task::Exec(args) => {
                    let (inner, command) = (self.0.clone(), self.0.command(id, &args)?);
                    let end = async move {
                        let Some(code) = command.code else { return std::future::pending().await };
                        inner.pass(command.after).await;
                        Ok(code)
                    };
                    (command.output, Box::pin(end))
                }
            };
            Ok(Streams {
                stdin: wanted.stdin.then(|| Box::new(tokio::io::sink()) as _),
                stdout: wanted.stdout.then(|| Box::new(std::io::Cursor::new(said.into_bytes())) as _),
                stderr: (wanted.stderr && !wanted.tty).then(|| Box::new(tokio::io::empty()) as _),
                resize: wanted.tty.then(|| Box::new(|_| Ok(())) as _),
                ended,
            })
        })
    }

    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>> {
        Box::pin(async move {
            let mut pods = self.0.pods();
            let Some((uid, one)) = find(&mut pods, id) else { return Ok(()) };
            if matches!(one.container.state, ContainerState::Running { .. }) {
                return Err(RuntimeError::Refused(format!("container {id} is running")));
            }
            if let Some(pod) = pods.get_mut(&uid) {
                pod.containers.retain(|one| one.container.id != id);
            }
            Ok(())
        })
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Inventory, RuntimeError>> {
        Box::pin(async move {
            let pods = self.0.pods();
            let containers = pods.values().flat_map(|pod| pod.containers.iter().map(|one| one.container.clone()));
            Ok(Inventory {
                sandboxes: pods.values().map(|pod| pod.sandbox.clone()).collect(),
                containers: containers.collect(),
            })
        })
    }

    fn inventory_of<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<Inventory, RuntimeError>> {
        Box::pin(async move {
            let pods = self.0.pods();
            Ok(pods.get(pod).map_or_else(Inventory::default, |pod| Inventory {
                sandboxes: vec![pod.sandbox.clone()],
                containers: pod.containers.iter().map(|one| one.container.clone()).collect(),
            }))
        })
    }

    fn events(&self) -> BoxStream<'static, Uid> {
        let inner = self.0.clone();
        let changes = BroadcastStream::new(self.0.events.subscribe());
        changes
            .flat_map(move |one| {
                let pods = match one {
                    Ok(pod) => vec![pod],
                    Err(BroadcastStreamRecvError::Lagged(_)) => inner.pods().keys().cloned().collect(),
                };
                stream::iter(pods)
            })
            .boxed()
    }
}

fn not_found(args: &[String]) -> String {
    format!("exec: {:?}: executable file not found in $PATH", args.first().map_or("", String::as_str))
}

fn never_began(spec: &ContainerSpec, now: Timestamp) -> ContainerState {
    ContainerState::Exited(Exit {
        code: 128,
        signal: None,
        reason: "StartError".to_owned(),
        message: not_found(&spec.args),
        started_at: None,
        finished_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        let of = |words: &str| Script::of(&words.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(of("sh -c x"), Script::default());
        let wanted = Script { exit: Some(3), after: Duration::from_secs(2), ..Script::default() };
        assert_eq!(of("simulate exit=3 after=2"), wanted);
        assert!(of("simulate stubborn").stubborn && of("simulate missing").missing);
    }

    #[test]
    fn images() {
        let name = |reference| {
            let (image, exists) = image(reference).expect("well formed");
            exists.then(|| image.names[0].clone())
        };
        assert_eq!(name("busybox").as_deref(), Some("docker.io/library/busybox:latest"));
        assert_eq!(name("a.b:5000/x:v1").as_deref(), Some("a.b:5000/x:v1"));
        assert_eq!(name("localhost/absent:v1"), None);
        assert!(image("UPPER/Bad:::").is_err());
    }
}
