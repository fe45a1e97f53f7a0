//! Containers behind one trait, with two arms: real Linux containers, and simulated ones.
//!
//! Both pass the same contract tests (`contract`).

pub mod simulated;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
pub use kprov_control_plane::client::node::{Reading, Size, Streams, Task, Wanted, Writing};
use kprov_schema::Uid;
use serde::{Deserialize, Serialize};

pub mod contract;
#[cfg(containers)]
pub mod oci;

/// Name of the image that every node has: kprov itself, which answers HTTP on port 8080.
pub const BUILTIN: &str = "kprov.local/echo:latest";

/// An image that is on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of its configuration, `sha256:<64 hex digits>`.
    pub id: String,
    /// Full names that lead to it, such as `docker.io/library/nginx:latest`.
    pub names: Vec<String>,
    /// Bytes of its layers, unpacked.
    pub size_bytes: u64,
    /// `ENTRYPOINT`.
    pub entrypoint: Vec<String>,
    /// `CMD`.
    pub command: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// `USER` as written: empty, a number, a name, or `user:group`.
    pub user: String,
    /// Signal that asks it to stop, such as `SIGQUIT`; empty means `SIGTERM`.
    pub stop_signal: String,
}

/// Why an image can't be had.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The reference is malformed.
    #[error("couldn't parse image name {0:?}: invalid reference format")]
    InvalidName(String),
    /// Nobody here has it.
    #[error("image {0:?} is not on this node and no registry may be asked: load it with `kprov image load`")]
    Missing(String),
    /// The image store can't be read or written.
    #[error("image store")]
    Store(#[source] Cause),
}

/// Any error, for causes that nobody acts on.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a pod's containers share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The pod's uid: a pod has one sandbox at a time.
    pub pod: Uid,
    /// Namespace and name of the pod, for people who look.
    pub name: String,
    /// Host name inside.
    pub hostname: String,
    /// Path of the network namespace to join; `None` uses the node's own.
    pub netns: Option<PathBuf>,
    /// Share the host's process ids.
    pub host_pid: bool,
    /// Share the host's IPC.
    pub host_ipc: bool,
    /// Containers see one another's processes.
    pub share_pid: bool,
    /// Sysctls, such as `net.ipv4.ip_unprivileged_port_start`.
    pub sysctls: BTreeMap<String, String>,
    /// Cgroup of the pod below the agent's own, such as `burstable/pod<uid>`.
    pub cgroup: String,
    /// Folder of the pod's container logs.
    pub log_dir: PathBuf,
}

/// A file or folder of the node made visible in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path on the node.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Not writable inside.
    pub read_only: bool,
}

/// Limits that the kernel holds a container to; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Weight from the CPU request, in thousandths of a core.
    pub cpu_request_millis: Option<u64>,
    /// Quota from the CPU limit, in thousandths of a core.
    pub cpu_limit_millis: Option<u64>,
    /// Bytes of memory.
    pub memory_limit_bytes: Option<u64>,
    /// Number of processes.
    pub pids: Option<u64>,
    /// Score that the kernel chooses victims by, -1000 to 1000; clamped to what the machine grants.
    pub oom_score_adj: i32,
}

impl Limits {
    /// Whether the amounts are equal that a running container can be resized to.
    #[must_use]
    pub fn same_size(&self, other: &Self) -> bool {
        let size = |one: &Self| (one.cpu_request_millis, one.cpu_limit_millis, one.memory_limit_bytes);
        size(self) == size(other)
    }

    /// These limits with the processor and memory of others.
    #[must_use]
    pub fn resized(&self, to: &Self) -> Self {
        Self { pids: self.pids, oom_score_adj: self.oom_score_adj, ..to.clone() }
    }
}

/// Who a container runs as, and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// User id; `None` takes the image's user.
    pub user: Option<u32>,
    /// Group id; `None` takes the image's, or 0.
    pub group: Option<u32>,
    /// Further groups.
    pub extra_groups: Vec<u32>,
    /// The groups that the image's `/etc/group` lists the user in are not taken.
    pub groups_of_pod_only: bool,
    /// Every capability the machine grants, devices included.
    pub privileged: bool,
    /// Capabilities beyond the default set, without `CAP_`; `ALL` is all.
    pub add: Vec<String>,
    /// Capabilities to take away; `ALL` is all.
    pub drop: Vec<String>,
    /// Set no_new_privs.
    pub no_new_privileges: bool,
    /// The root file system is read-only.
    pub read_only_root: bool,
    /// `/proc` is mounted without the usual masks.
    pub unmasked_proc: bool,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
}

/// Which system calls a container may make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// All of them.
    #[default]
    Unconfined,
    /// The runtime's own list.
    RuntimeDefault,
    /// A profile of the node's, by its path.
    Localhost(PathBuf),
}

/// One container to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Name within the pod.
    pub name: String,
    /// How many containers of this name the pod had before: part of the log file's name.
    pub attempt: u32,
    /// Id of the image, from [`Image::id`].
    pub image: String,
    /// Whole command line; never empty.
    pub args: Vec<String>,
    /// Environment, in order; later entries win.
    pub env: Vec<(String, String)>,
    /// Working directory; empty takes the image's.
    pub working_dir: String,
    /// Mounts, parents before children.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub limits: Limits,
    /// Who it runs as.
    pub privileges: Privileges,
    /// Signal that asks it to stop.
    pub stop_signal: String,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep its standard input open for who attaches; else it reads the end at once.
    #[serde(default)]
    pub stdin: bool,
    /// Its standard input ends with the first who attached to it.
    #[serde(default)]
    pub stdin_once: bool,
    /// Name of a running container of its pod whose processes it sees as its own.
    #[serde(default)]
    pub beside: Option<String>,
    /// Log file, written in the CRI format.
    pub log_path: PathBuf,
}

/// What a runtime knows of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits, never used again.
    pub id: String,
    /// Pod it belongs to.
    pub pod: Uid,
    /// Name within the pod.
    pub name: String,
    /// See [`ContainerSpec::attempt`].
    pub attempt: u32,
    /// Id of its image.
    pub image: String,
    /// What the kernel holds it to now; `None` when that was never noted.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// What it is doing.
    pub state: ContainerState,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Made, not yet started.
    Created,
    /// Its first process runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Its first process has ended, or never began.
    Exited(Exit),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + n when killed by signal n.
    pub code: i32,
    /// Signal that killed it, if one did.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: String,
    /// The runtime's words, for containers that never began.
    pub message: String,
    /// When its process began; `None` when it never did.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// How a command in a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executed {
    /// Its exit code, 128 + n when killed by signal n; `None` when it took too long and was killed for that.
    pub code: Option<i32>,
    /// The beginning of what it wrote, standard output and error together.
    pub output: String,
}

/// A sandbox that exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Pod it belongs to.
    pub pod: Uid,
    /// As given to [`Runtime::create_sandbox`].
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether its keeper is still there: a sandbox that lost it must be removed and made anew.
    pub ready: bool,
}

/// Everything that exists, as one reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// Sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// Containers, ended ones included until they are removed.
    pub containers: Vec<Container>,
}

/// Why a container could not be made or started.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The program is not in the image, or can't be executed. The text is for the pod's status.
    #[error("{0}")]
    Start(String),
    /// The specification asks for something that this runtime can't give; it was refused, not ignored.
    #[error("{0}")]
    Refused(String),
    /// Nothing of that name is there.
    #[error("{0} is not there")]
    NotFound(String),
    /// The kernel or the disk said no.
    #[error("{what}")]
    System {
        /// What was being done, and to what.
        what: String,
        /// The cause.
        #[source]
        source: Cause,
    },
}

/// Containers of one node. Every method may be called again after a crash: what is already so is no error.
pub trait Runtime: Send + Sync + 'static {
    /// Name and version, such as `kprov://0.1.0`: `containerRuntimeVersion` of the node.
    fn version(&self) -> String;
    /// Makes sure the image is on this node.
    fn pull<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Image, PullError>>;
    /// The image that a reference leads to, if it is here. `Err` only for malformed references and broken stores.
    fn image<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Image>, PullError>>;
    /// Every image that is here.
    fn images(&self) -> BoxFuture<'_, Result<Vec<Image>, PullError>>;
    /// Makes a pod's sandbox; the one that is there when it is ready.
    fn create_sandbox(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<Sandbox, RuntimeError>>;
    /// Kills what is left in a sandbox and removes it with its containers. The logs stay.
    fn remove_sandbox<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// Makes a container in a sandbox and starts it. A container whose program can't be executed is there as exited
    /// (`StartError`, code 128) and the error is returned too.
    fn start<'a>(&'a self, pod: &'a Uid, spec: ContainerSpec) -> BoxFuture<'a, Result<Container, RuntimeError>>;
    /// Sends the stop signal, and after `grace` kills. Returns when it has ended. `NotFound` for an unknown id.
    fn stop<'a>(&'a self, id: &'a str, grace: Duration) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// Holds a running container to other amounts of processor and memory, without a restart. What else stands in
    /// `limits` stays as it was at the start. `NotFound` when no such container runs.
    fn resize<'a>(&'a self, id: &'a str, limits: Limits) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// Runs a command in a running container, as its own user and under its own limits, and returns when it has ended.
    /// One that takes longer than `timeout` is killed. `NotFound` when no such container runs, `Start` for a command that
    /// is not there.
    fn exec<'a>(
        &'a self,
        id: &'a str,
        args: Vec<String>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Executed, RuntimeError>>;
    /// Runs a command in a running container as [`Runtime::exec`] does, or attaches to the container's own process, with
    /// streams that are wanted. What a container says goes to its log as well; who attaches and takes nothing of it until
    /// it is far behind is let go, and told so by the session's end. A command of whose terminal nobody holds an end any
    /// more is told so by the kernel (SIGHUP). `NotFound` when no such container runs.
    fn session<'a>(&'a self, id: &'a str, task: Task, wanted: Wanted) -> BoxFuture<'a, Result<Streams, RuntimeError>>;
    /// Removes an ended container and its file system. The log stays. `Refused` while it runs.
    fn remove<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), RuntimeError>>;
    /// What is there.
    fn inventory(&self) -> BoxFuture<'_, Result<Inventory, RuntimeError>>;
    /// What is there of one pod. Arms that keep their state by pod answer without reading the rest.
    fn inventory_of<'a>(&'a self, pod: &'a Uid) -> BoxFuture<'a, Result<Inventory, RuntimeError>> {
        Box::pin(async move {
            let mut all = self.inventory().await?;
            all.sandboxes.retain(|sandbox| sandbox.pod == *pod);
            all.containers.retain(|container| container.pod == *pod);
            Ok(all)
        })
    }
    /// Tells whenever other images are here, by whomever. What happens after the call is not missed.
    fn image_changes(&self) -> BoxStream<'static, Result<(), PullError>>;
    /// Tells of a pod whenever one of its containers or its sandbox changed by itself. Ends when the runtime does.
    fn events(&self) -> BoxStream<'static, Uid>;
}
