//! A node of its own for each test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use kprov_control_plane::world::real;
use kprov_node::images::{BUILTIN, Store};
use kprov_node::runtime::contract::{Program, Subject};
use kprov_node::runtime::oci::{Oci, OciConfig, purge};
use kprov_node::runtime::*;
use kprov_schema::Uid;
use tempfile::TempDir;

pub struct Fixture {
    pub config: OciConfig,
    /// Held in place so that a test can drop it and open another.
    oci: Mutex<Option<&'static Oci>>,
    folder: TempDir,
}

/// The image of this binary is made once for all tests.
fn images() -> Store {
    static IMAGES: OnceLock<(TempDir, Store)> = OnceLock::new();
    let (_, store) = IMAGES.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let store = Store::open(folder.path(), real::world(folder.path())).unwrap();
        store.add_builtin(Path::new("/proc/self/exe")).unwrap();
        (folder, store)
    });
    store.clone()
}

impl Fixture {
    pub async fn new(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = OciConfig {
            root: folder.path().join("node"),
            cgroup: format!("kprov-test-{}/{name}", std::process::id()),
            exe: "/proc/self/exe".into(),
            images: images(),
            world: real::world(folder.path()),
        };
        let oci = Oci::open(config.clone()).await.unwrap();
        Self { config, oci: Mutex::new(Some(Box::leak(Box::new(oci)))), folder }
    }

    fn slot(&self) -> MutexGuard<'_, Option<&'static Oci>> {
        self.oci.lock().unwrap()
    }

    pub fn oci(&self) -> &Oci {
        self.slot().unwrap()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// As if the agent was killed: its connections break.
    #[allow(unsafe_code, reason = "what was leaked to be shared is taken back")]
    pub fn drop_agent(&self) {
        let oci = self.slot().take().unwrap();
        // SAFETY: it was leaked by this fixture, and no test holds a borrow across this call.
        drop(unsafe { Box::from_raw(std::ptr::from_ref(oci).cast_mut()) });
    }

    pub async fn open_agent(&self) {
        let oci = Oci::open(self.config.clone()).await.unwrap();
        *self.slot() = Some(Box::leak(Box::new(oci)));
    }

    /// Every test leaves the machine as it was.
    pub async fn end(self) {
        if self.slot().is_some() {
            self.drop_agent();
        }
        purge(&self.config).await.unwrap();
        purge(&self.config).await.unwrap();
        self.assert_nothing_left();
    }

    pub fn assert_nothing_left(&self) {
        assert!(!self.config.root.exists());
        let root = self.config.root.display().to_string();
        assert!(!std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&root), "no mount is left");
        assert!(self.processes().is_empty(), "no process is left");
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
            assert!(!hierarchy.unwrap().path().join(&self.config.cgroup).exists(), "no control group is left");
        }
    }

    /// Every shim ends with its sandbox, soon after it has said so.
    pub fn shims_end(&self) {
        for pid in self.processes() {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            // One that is gone by now has ended.
            let Ok(shim) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { continue };
            let mut fds = [rustix::event::PollFd::new(&shim, rustix::event::PollFlags::IN)];
            let patience = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_eq!(rustix::event::poll(&mut fds, Some(&patience)), Ok(1), "a shim does not end");
        }
    }

    /// Shims of this node, by their command lines.
    pub fn processes(&self) -> Vec<i32> {
        let root = self.config.root.display().to_string();
        let ids =
            std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse::<i32>().ok());
        ids.filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let text = String::from_utf8_lossy(&line).into_owned();
            text.contains("runtime-shim") && text.contains(&root)
        })
        .collect()
    }

    pub fn sandbox_spec(&self, pod: &str) -> SandboxSpec {
        SandboxSpec {
            pod: Uid(pod.into()),
            name: format!("test/{pod}"),
            hostname: format!("{pod}-host"),
            netns: None,
            host_pid: false,
            host_ipc: false,
            share_pid: false,
            sysctls: BTreeMap::new(),
            cgroup: format!("burstable/pod{pod}"),
            log_dir: self.path().join("logs").join(pod),
        }
    }

    pub async fn sandbox(&self, pod: &str) -> Uid {
        self.oci().create_sandbox(self.sandbox_spec(pod)).await.unwrap();
        Uid(pod.into())
    }

    /// A container that does `args` of `inside.rs`.
    pub async fn spec(&self, pod: &str, name: &str, args: &[&str]) -> ContainerSpec {
        let image = self.oci().pull(BUILTIN).await.unwrap();
        ContainerSpec {
            name: name.into(),
            attempt: 0,
            image: image.id,
            args: ["/kprov", "inside"].iter().chain(args).map(|a| (*a).to_owned()).collect(),
            env: image.env,
            working_dir: String::new(),
            mounts: vec![],
            limits: Limits::default(),
            privileges: Privileges { user: Some(0), ..Privileges::default() },
            stop_signal: String::new(),
            tty: false,
            stdin: false,
            stdin_once: false,
            beside: None,
            log_path: self.path().join("logs").join(pod).join(name).join("0.log"),
        }
    }

    /// Starts it; one that waits for a signal hears it by then.
    pub async fn start(&self, pod: &Uid, name: &str, args: &[&str]) -> Container {
        let spec = self.spec(&pod.0, name, args).await;
        let log = spec.log_path.clone();
        let made = self.oci().start(pod, spec).await.unwrap();
        if args[0].starts_with("until") {
            ready(log).await;
        }
        made
    }

    pub async fn state(&self, id: &str) -> ContainerState {
        let inventory = self.oci().inventory().await.unwrap();
        inventory.containers.into_iter().find(|c| c.id == id).expect("the container is there").state
    }

    /// Waits for its end by events.
    pub async fn exit(&self, id: &str) -> Exit {
        let mut events = self.oci().events();
        loop {
            if let ContainerState::Exited(exit) = self.state(id).await {
                return exit;
            }
            events.next().await.unwrap();
        }
    }

    /// Runs to the end; its exit and what it wrote to standard output.
    pub async fn run(&self, pod: &Uid, spec: ContainerSpec) -> (Exit, String) {
        let log = spec.log_path.clone();
        let made = self.oci().start(pod, spec).await.unwrap();
        let exit = self.exit(&made.id).await;
        (exit, said(&log, "stdout"))
    }
}

/// Waits until a container has said that it is ready.
pub async fn ready(log: PathBuf) {
    said_when(log, |text| text == "ready\n").await;
}

/// What a container has said when it is enough.
pub async fn said_when(log: PathBuf, enough: fn(&str) -> bool) -> String {
    use rustix::fs::inotify;
    let wait = move || {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&events, &log, inotify::WatchFlags::MODIFY).unwrap();
        loop {
            let text = said(&log, "stdout");
            if enough(&text) {
                return text;
            }
            rustix::io::read(&events, &mut [0; 1024]).unwrap();
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap()
}

/// What a log says, without its times.
pub fn said(log: &PathBuf, stream: &str) -> String {
    let mut text = String::new();
    for line in std::fs::read_to_string(log).unwrap().lines() {
        let [_, from, tag, words] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if from == stream {
            text.push_str(words);
            text.push_str(if tag == "F" { "\n" } else { "" });
        }
    }
    text
}

impl Subject for Fixture {
    fn runtime(&self) -> &dyn Runtime {
        self.oci()
    }

    fn image(&self) -> &str {
        BUILTIN
    }

    fn args(&self, program: Program) -> Vec<String> {
        let args: &[&str] = match program {
            Program::UntilStopped => &["/kprov", "inside", "until-stopped"],
            Program::Stubborn => &["/kprov", "inside", "stubborn"],
            Program::Exit(0) => &["/kprov", "inside", "exit", "0"],
            Program::Exit(_) => &["/kprov", "inside", "exit", "3"],
            Program::Missing => &["no-such-program"],
            Program::Hello => &["/kprov", "inside", "hello"],
        };
        args.iter().map(|a| (*a).to_owned()).collect()
    }

    fn hears<'a>(&'a self, container: &'a ContainerSpec) -> BoxFuture<'a, ()> {
        Box::pin(ready(container.log_path.clone()))
    }

    fn folder(&self) -> &Path {
        self.path()
    }

    /// Time passes by itself.
    fn elapse(&self, _time: Duration) -> BoxFuture<'_, ()> {
        Box::pin(futures::future::pending())
    }
}
