//! Enters and makes what the containers of a pod share.

#![allow(unsafe_code, reason = "fork is unsafe where threads are; a shim has one")]

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, sethostname, setsid};

use super::document::Pids;
use crate::runtime::SandboxSpec;
use crate::runtime::oci::cgroup::{Cgroup, Setup};
use crate::runtime::oci::folder::PodFolder;

/// What a pod's containers share.
pub(super) struct Shared {
    pub(super) pids: Pids,
    pub(super) shm: PathBuf,
}

/// Moves this process into the pod's namespaces, where its containers will be born.
pub(super) fn enter(spec: &SandboxSpec, folder: &PodFolder, setup: &Setup, cgroup: &str) -> io::Result<Shared> {
    const NONE: Option<&str> = None;
    let note = |what: &str| {
        let what = what.to_owned();
        move |e: nix::errno::Errno| io::Error::other(format!("{what}: {e}"))
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(note("can't make a mount namespace"))?;
    // What the machine unmounts goes here too; what is mounted here stays here.
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE).map_err(note("can't set mount propagation"))?;
    if let Some(path) = &spec.netns {
        let file = File::open(path)
            .map_err(|e| io::Error::other(format!("can't open network namespace {}: {e}", path.display())))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(note("can't enter the network namespace"))?;
    }
    let ipc = if spec.host_ipc { CloneFlags::empty() } else { CloneFlags::CLONE_NEWIPC };
    unshare(CloneFlags::CLONE_NEWUTS | ipc).map_err(note("can't make namespaces"))?;
    sethostname(&spec.hostname).map_err(note("can't set the host name"))?;
    for (name, value) in &spec.sysctls {
        fs::write(sysctl_file(name), value)
            .map_err(|e| io::Error::other(format!("can't set sysctl {name}={value}: {e}")))?;
    }
    let pids = match (spec.host_pid, spec.share_pid) {
        (true, _) => Pids::Host,
        (false, true) => Pids::Of(hold_pids(&Cgroup::new(setup.clone(), &format!("{cgroup}/pause")))?),
        (false, false) => Pids::Own,
    };
    Ok(Shared { pids, shm: if spec.host_ipc { "/dev/shm".into() } else { mount_shm(folder)? } })
}

fn mount_shm(folder: &PodFolder) -> io::Result<PathBuf> {
    let shm = folder.shm();
    fs::create_dir_all(&shm)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("shm"), &shm, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))?;
    Ok(shm)
}

/// Whether a sysctl belongs to the pod alone. `Err` says why it is refused.
pub(in crate::runtime::oci) fn check_sysctl(name: &str, spec: &SandboxSpec) -> Result<(), String> {
    const IPC: &[&str] = &["kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."];
    let dotted = name.replace('/', ".");
    if name.split(['/', '.']).any(str::is_empty) || name.bytes().any(|b| b == 0) {
        return Err(format!("sysctl {name:?} is no name"));
    }
    if dotted.starts_with("net.") {
        let own = spec.netns.is_some();
        return own.then_some(()).ok_or_else(|| format!("sysctl {name:?} is not allowed with the host's network"));
    }
    if IPC.iter().any(|prefix| dotted.starts_with(prefix)) {
        return (!spec.host_ipc)
            .then_some(())
            .ok_or_else(|| format!("sysctl {name:?} is not allowed with the host's IPC"));
    }
    Err(format!("sysctl {name:?} is not a pod's own: it would change the whole machine"))
}

/// A name with slashes is meant literally, for interfaces have dots in their names.
fn sysctl_file(name: &str) -> PathBuf {
    let path = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(path)
}

/// Starts the first process of a process namespace that the pod's containers share.
fn hold_pids(cgroup: &Cgroup) -> io::Result<i32> {
    let (mut told, mut tell) = io::pipe()?;
    // SAFETY: this process has one thread.
    let between = match unsafe { fork() }? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let told = start_first(cgroup).and_then(|pid| tell.write_all(pid.to_string().as_bytes()));
            std::process::exit(i32::from(told.is_err()));
        }
    };
    drop(tell);
    let mut text = String::new();
    told.read_to_string(&mut text)?;
    waitpid(between, None)?;
    text.parse().map_err(|_| io::Error::other("can't make a process namespace"))
}

/// The new namespace is for children alone, so its first process is a grandchild of the shim.
fn start_first(cgroup: &Cgroup) -> io::Result<i32> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => {
            // In the pod's group, so that it is found and killed when the shim is lost.
            cgroup.join(child.as_raw())?;
            Ok(child.as_raw())
        }
        ForkResult::Child => {
            let ended = rest();
            std::process::exit(i32::from(ended.is_err()));
        }
    }
}

/// Reaps what the containers leave behind, until it is killed.
fn rest() -> nix::Result<()> {
    setsid()?;
    close_others().map_err(|_| nix::errno::Errno::EBADF)?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_set_mask()?;
    loop {
        while let Ok(status) = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
        children.wait()?;
    }
}

/// An open end of a pipe or socket here would hide the end of its other holders.
fn close_others() -> io::Result<()> {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The folder that was listed is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kprov_schema::Uid;

    #[test]
    fn only_a_pods_own_sysctls_are_allowed() {
        let spec = SandboxSpec {
            pod: Uid("p".into()),
            name: "a/b".into(),
            hostname: "b".into(),
            netns: Some("/run/netns/p".into()),
            host_pid: false,
            host_ipc: false,
            share_pid: false,
            sysctls: [].into(),
            cgroup: "besteffort/podp".into(),
            log_dir: "/l".into(),
        };
        let host = SandboxSpec { netns: None, host_ipc: true, ..spec.clone() };
        for name in [
            "net.ipv4.ip_unprivileged_port_start",
            "net/ipv4/conf/eth0.1/forwarding",
            "kernel.shm_rmid_forced",
            "fs.mqueue.msg_max",
        ] {
            assert_eq!(check_sysctl(name, &spec), Ok(()), "{name}");
            assert!(check_sysctl(name, &host).is_err(), "{name}");
        }
        for name in ["vm.swappiness", "kernel.pid_max", "net..x", "net/../vm/swappiness", "", "kernel.hostname"] {
            assert!(check_sysctl(name, &spec).is_err(), "{name}");
        }
        assert_eq!(sysctl_file("net.ipv4.ip_forward"), PathBuf::from("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(
            sysctl_file("net/ipv4/conf/eth0.1/forwarding"),
            PathBuf::from("/proc/sys/net/ipv4/conf/eth0.1/forwarding")
        );
    }
}
