//! Makes one container, in a process of its own: mounts, libcontainer and its changes of directory stay out of the shim.

#![allow(unsafe_code, reason = "signal dispositions are reset by a bare system call")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;
use kprov_control_plane::world::{Clock, real::SystemClock};
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::{Deserialize, Serialize};

use super::capabilities;
use super::document::{Pids, Place, document, host_devices, working_dir};
use super::program::Program;
use super::seccomp;
use super::stdio::Stdio;
use super::users::identify;
use crate::runtime::oci::cgroup::{Cgroup, Setup};
use crate::runtime::oci::folder::PodFolder;
use crate::runtime::oci::wire::{Fault, Launch, LayerList};

/// The filter of a container's system calls, for commands that come later; none where everything is allowed.
const FILTER: &str = "seccomp.bpf";

/// What a launching process tells the shim before it ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    Running { pid: i32, started_at: Timestamp },
    Failed(Fault),
}

/// Where a container is made.
pub(super) struct Site<'a> {
    pub(super) folder: &'a PodFolder,
    pub(super) setup: &'a Setup,
    pub(super) cgroup: &'a Cgroup,
    pub(super) pids: Pids,
    pub(super) shm: &'a Path,
    pub(super) hostname: &'a str,
}

/// Makes the container and reports. Called in a forked child alone, which ends here.
pub(super) fn run(launch: &Launch, site: &Site<'_>, stdio: Stdio, report: OwnedFd) -> ! {
    let mut to = File::from(report);
    let made = reset_signals().and_then(|()| make(launch, site, stdio));
    let report = match made {
        Ok((pid, started_at)) => Report::Running { pid, started_at },
        Err(fault) => Report::Failed(fault),
    };
    let text = serde_json::to_vec(&report).expect("reports have string keys alone");
    let told = to.write_all(&text).is_ok();
    std::process::exit(i32::from(!told));
}

/// Runs a command in a container and reports. Called in a forked child alone, which ends here.
pub(super) fn run_command(
    id: &str,
    args: &[String],
    folder: &PodFolder,
    number: (u64, u64),
    stdio: Stdio,
    report: OwnedFd,
) -> ! {
    let mut to = File::from(report);
    let folder = folder.container(id);
    let made = reset_signals().and_then(|()| join(id, args, &folder, number, stdio));
    let report = match made {
        Ok((pid, started_at)) => Report::Running { pid, started_at },
        Err(fault) => Report::Failed(fault),
    };
    let text = serde_json::to_vec(&report).expect("reports have string keys alone");
    let told = to.write_all(&text).is_ok();
    std::process::exit(i32::from(!told));
}

/// The command is the container's own process but for its arguments: same user, rights, environment and filter.
fn join(
    id: &str,
    args: &[String],
    folder: &Path,
    (peer, number): (u64, u64),
    stdio: Stdio,
) -> Result<(i32, Timestamp), Fault> {
    let what = |what: &'static str| move |e: io::Error| Fault::system(what, e);
    let text = fs::read(folder.join("config.json")).map_err(what("can't read the container's document"))?;
    let mut document: serde_json::Value =
        serde_json::from_slice(&text).map_err(|e| Fault::system("can't understand the container's document", e))?;
    document["process"]["args"] = serde_json::json!(args);
    document["process"]["terminal"] = stdio.is_terminal().into();
    if stdio.is_terminal() {
        name_terminal(&mut document["process"]["env"]);
    }
    let process = folder.join(format!("process-{peer}-{number}.json"));
    fs::write(&process, document["process"].to_string()).map_err(what("can't write a command's document"))?;
    let filter = seccomp::load(&folder.join(FILTER)).map_err(what("can't read the container's seccomp filter"))?;
    let (failed, failure) = pipe().map_err(what("can't make a pipe"))?;
    let failure = Rc::new(failure);
    let builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(Program { failure: Rc::clone(&failure), filter: filter.map(Rc::new) });
    let (builder, given) = stdio
        .give(builder, folder, &format!("console-{peer}-{number}"))
        .map_err(what("can't make a command's streams"))?;
    let built = builder
        .with_root_path(folder)
        .and_then(|builder| builder.as_tenant().with_process(Some(&process)).with_detach(true).build());
    drop(failure);
    // Nobody needs it any more, and a container may be asked often.
    let gone = fs::remove_file(&process)
        .and_then(|()| given.clear(&folder.join(id)))
        .map_err(what("can't remove what a command was made from"));
    let mut words = String::new();
    File::from(failed).read_to_string(&mut words).map_err(what("can't read a pipe"))?;
    if !words.is_empty() {
        return Err(Fault::Start(words));
    }
    let pid = built.map_err(|e| Fault::system("can't run a command", chain(&e)))?;
    gone?;
    given.hand_over().map_err(what("can't hand a terminal over"))?;
    Ok((pid.as_raw(), SystemClock.now()))
}

/// A container's program starts with every signal as it was meant to be; the Rust runtime, the shim and whoever started
/// kprov may have changed some. The C library would leave its own two out, so the kernel is asked directly.
fn reset_signals() -> Result<(), Fault> {
    let default = [0_u64; 4];
    for number in (1..=64).filter(|n| !matches!(*n, libc::SIGKILL | libc::SIGSTOP)) {
        // SAFETY: the action is four zero words, which is the kernel's form of "default, no flags, empty mask"; no handler runs.
        let result =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null::<u64>(), 8) };
        if result != 0 {
            return Err(Fault::system(format!("can't reset signal {number}"), io::Error::last_os_error()));
        }
    }
    SigSet::empty().thread_set_mask().map_err(|e| Fault::system("can't unblock signals", e))
}

/// Programs at a terminal ask which one it is.
///
/// Source: containerd's `WithTTY`.
fn name_terminal(env: &mut serde_json::Value) {
    let Some(all) = env.as_array_mut() else { return };
    all.retain(|one| one.as_str().is_none_or(|one| !one.starts_with("TERM=")));
    all.push(TERM.into());
}

const TERM: &str = "TERM=xterm";

fn make(launch: &Launch, site: &Site<'_>, stdio: Stdio) -> Result<(i32, Timestamp), Fault> {
    let folder = site.folder.container(&launch.container.id);
    let rootfs = folder.join("rootfs");
    mount_root(&launch.layers, &folder, launch.spec.privileges.privileged)
        .map_err(|e| Fault::system("can't mount the container's root file system", e))?;
    let filter = write_document(launch, site, &folder, &rootfs)?.map(Rc::new);
    let (failed, failure) = pipe().map_err(|e| Fault::system("can't make a pipe", e))?;
    let failure = Rc::new(failure);
    let builder = ContainerBuilder::new(launch.container.id.clone(), SyscallType::default())
        .with_executor(Program { failure: Rc::clone(&failure), filter });
    let (builder, given) =
        stdio.give(builder, &folder, "console").map_err(|e| Fault::system("can't make the container's streams", e))?;
    let built = builder
        .with_root_path(&folder)
        .map(|builder| builder.as_init(&folder).with_systemd(false).with_detach(true))
        .and_then(|builder| builder.build())
        .and_then(|mut container| container.start().map(|()| container));
    drop(failure);
    // The end of this pipe is the moment when the program has been executed, or is known to fail.
    let mut words = String::new();
    File::from(failed).read_to_string(&mut words).map_err(|e| Fault::system("can't read a pipe", e))?;
    if !words.is_empty() {
        return Err(Fault::Start(words));
    }
    let container = built.map_err(|e| Fault::system("can't make the container", chain(&e)))?;
    let pid = container.pid().ok_or_else(|| Fault::system("can't make the container", "it has no process"))?;
    given.hand_over().map_err(|e| Fault::system("can't hand a terminal over", e))?;
    Ok((pid.as_raw(), SystemClock.now()))
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

/// An error with everything that led to it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

/// Mounts the layers in a mount namespace that ends with the container, so there is nothing to unmount afterwards.
///
/// Device nodes of an image open nothing: with control groups v2 nothing else would hold a container back from the
/// machine's disks. What a container may use is in its `/dev`.
fn mount_root(layers: &LayerList, folder: &Path, privileged: bool) -> io::Result<()> {
    const NONE: Option<&str> = None;
    let flags = if privileged { MsFlags::empty() } else { MsFlags::MS_NODEV };
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    for name in ["upper", "work", "rootfs"] {
        fs::create_dir(folder.join(name))?;
    }
    // The mode of the upper folder is the mode of the container's root.
    fs::set_permissions(folder.join("upper"), fs::Permissions::from_mode(0o755))?;
    // Short paths from here: overlayfs takes all lower folders in one page.
    std::env::set_current_dir(&layers.folder)?;
    // An image without layers has the empty folder that the root is mounted on below it.
    let lower = if layers.names.is_empty() { escape(&folder.join("rootfs")) } else { layers.names.join(":") };
    let (upper, work) = (escape(&folder.join("upper")), escape(&folder.join("work")));
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    // The writable layer does not outlive the machine, so it need not be synced when the container goes.
    let fast = format!("{options},volatile");
    let target = folder.join("rootfs");
    let mounted = mount(Some("overlay"), &target, Some("overlay"), flags, Some(fast.as_str()));
    if mounted == Err(nix::errno::Errno::EINVAL) {
        mount(Some("overlay"), &target, Some("overlay"), flags, Some(options.as_str()))?;
    } else {
        mounted?;
    }
    std::env::set_current_dir("/")
}

fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:")
}

/// Returns the filter of the container's system calls.
fn write_document(
    launch: &Launch,
    site: &Site<'_>,
    folder: &Path,
    rootfs: &Path,
) -> Result<Option<seccomp::Filter>, Fault> {
    let privileges = &launch.spec.privileges;
    let root = File::open(rootfs).map_err(|e| Fault::system("can't open the container's root", e))?;
    let read = |path| read_inside(&root, path).map_err(|e| Fault::system(format!("can't read the image's {path}"), e));
    let (passwd, group) = (read("etc/passwd")?, read("etc/group")?);
    let identity = identify(&passwd, &group, &launch.image.user, privileges).map_err(Fault::Start)?;
    let bounds = capabilities::bounding().map_err(|e| Fault::system("can't read this process's capabilities", e))?;
    let capabilities = capabilities::decide(privileges, &bounds, !site.setup.is_v2()).map_err(Fault::Refused)?;
    let filter = seccomp::filter(&privileges.seccomp, &capabilities).map_err(Fault::Refused)?;
    make_inside(&root, working_dir(launch)).map_err(|e| Fault::system("can't make the working directory", e))?;
    let devices = if privileges.privileged { host_devices() } else { Ok(vec![]) };
    let place = Place {
        rootfs,
        shm: site.shm,
        setup: site.setup,
        cgroup: site.cgroup.path(),
        pids: site.pids,
        hostname: site.hostname,
        identity: &identity,
        capabilities: &capabilities,
        // Without it only `no_new_privs` allows to load a filter.
        loads_filter: filter.is_some() && !privileges.no_new_privileges && bounds.contains("SYS_ADMIN"),
        oom_floor: if bounds.contains("SYS_RESOURCE") { -1000 } else { own_oom_score()? },
        counts_swap: site.setup.roots().iter().any(|root| root.join("memory.memsw.limit_in_bytes").exists()),
        devices: devices.map_err(|e| Fault::system("can't list the machine's devices", e))?,
    };
    let text = serde_json::to_vec(&document(launch, &place)).expect("documents have string keys alone");
    let file = folder.join("config.json");
    fs::write(&file, text).map_err(|e| Fault::system(format!("can't write {}", file.display()), e))?;
    if let Some(filter) = &filter {
        seccomp::save(&folder.join(FILTER), filter).map_err(|e| Fault::system("can't write the seccomp filter", e))?;
    }
    Ok(filter)
}

/// Without CAP_SYS_RESOURCE a process can't ask for less than it has.
fn own_oom_score() -> Result<i32, Fault> {
    let file = "/proc/self/oom_score_adj";
    let text = fs::read_to_string(file).map_err(|e| Fault::system(format!("can't read {file}"), e))?;
    text.trim().parse().map_err(|e| Fault::system(format!("can't understand {file}"), e))
}

/// Reads a file of the image. Its links are followed as the container would; one that is not there is empty.
fn read_inside(root: &File, path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(e) => return Err(e.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = vec![];
    file.take(1 << 20).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Makes a folder of the container and its parents, never outside of its root.
fn make_inside(root: &File, path: &str) -> io::Result<()> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut at = root.try_clone()?;
    let mut walked = String::new();
    for name in path.split('/').filter(|n| !matches!(*n, "" | "." | "..")) {
        walked = format!("{walked}/{name}");
        let open = || {
            openat2(root, walked.as_str(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
        };
        let folder = match open() {
            Err(rustix::io::Errno::NOENT) => {
                rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                open()?
            }
            other => other?,
        };
        at = File::from(folder);
    }
    Ok(())
}
