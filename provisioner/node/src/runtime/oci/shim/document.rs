//! A container's specification in the form that OCI runtimes read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::users::Identity;
use crate::runtime::oci::cgroup::{PERIOD_MICROS, Setup, quota, shares};
use crate::runtime::oci::wire::Launch;
use crate::runtime::{Limits, Mount};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hidden from containers, as containerd does.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container's specification depends on besides what was asked for.
pub(super) struct Place<'a> {
    pub(super) rootfs: &'a Path,
    /// Folder that the pod's containers share as `/dev/shm`.
    pub(super) shm: &'a Path,
    pub(super) setup: &'a Setup,
    /// The container's own group.
    pub(super) cgroup: &'a str,
    pub(super) pids: Pids,
    pub(super) hostname: &'a str,
    pub(super) identity: &'a Identity,
    pub(super) capabilities: &'a BTreeSet<&'static str>,
    /// It has `CAP_SYS_ADMIN` until its program is executed, to load a filter of system calls. It is not in the bounding
    /// set, so that the program does not get it.
    pub(super) loads_filter: bool,
    /// Lowest score that this process may ask for.
    pub(super) oom_floor: i32,
    /// Whether memory and swap are counted together.
    pub(super) counts_swap: bool,
    /// Devices of the machine, for privileged containers.
    pub(super) devices: Vec<Value>,
}

/// Which processes a container sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pids {
    /// Its own.
    Own,
    /// Those of the process group that this process holds open.
    Of(i32),
    /// The machine's.
    Host,
}

/// `config.json`. Namespaces that are not named here are the shim's own, which the pod shares.
pub(super) fn document(launch: &Launch, place: &Place<'_>) -> Value {
    let spec = &launch.spec;
    let who = &spec.privileges;
    let open = who.privileged;
    let capabilities: Vec<String> = place.capabilities.iter().map(|name| format!("CAP_{name}")).collect();
    let mut until_executed = capabilities.clone();
    if place.loads_filter && !place.capabilities.contains("SYS_ADMIN") {
        until_executed.push("CAP_SYS_ADMIN".to_owned());
    }
    let masked = if open || who.unmasked_proc { &[][..] } else { MASKED };
    let mut read_only: Vec<&str> = if open || who.unmasked_proc { vec![] } else { READ_ONLY.to_vec() };
    if !open && !place.setup.is_v2() {
        read_only.push("/sys/fs/cgroup");
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": spec.tty,
            "user": { "uid": place.identity.uid, "gid": place.identity.gid, "additionalGids": place.identity.groups },
            "args": spec.args,
            "env": environment(launch, place),
            "cwd": working_dir(launch),
            "capabilities": { "bounding": capabilities, "effective": until_executed, "permitted": until_executed },
            "noNewPrivileges": who.no_new_privileges,
            "oomScoreAdj": spec.limits.oom_score_adj.clamp(-1000, 1000).max(place.oom_floor),
        },
        "root": { "path": place.rootfs, "readonly": who.read_only_root },
        "mounts": mounts(launch, place),
        "linux": {
            "namespaces": namespaces(place.pids),
            "cgroupsPath": place.cgroup,
            "resources": resources(&spec.limits, place, open),
            "devices": place.devices,
            "rootfsPropagation": "private",
            "maskedPaths": masked,
            "readonlyPaths": read_only,
        },
    })
}

/// The pod's working directory or the image's; `/` without either.
pub(super) fn working_dir(launch: &Launch) -> &str {
    let choices = [launch.spec.working_dir.as_str(), launch.image.working_dir.as_str(), "/"];
    choices.into_iter().find(|dir| !dir.is_empty()).unwrap_or("/")
}

/// Later entries win; the first place of a name is kept.
fn environment(launch: &Launch, place: &Place<'_>) -> Vec<String> {
    let base = [("PATH", DEFAULT_PATH), ("HOSTNAME", place.hostname), ("HOME", &place.identity.home)];
    let base = base.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let terminal = launch.spec.tty.then(|| ("TERM".to_owned(), "xterm".to_owned()));
    let mut all: Vec<(String, String)> = vec![];
    for (name, value) in base.into_iter().chain(terminal).chain(launch.image.env.clone()).chain(launch.spec.env.clone())
    {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => all.push((name, value)),
        }
    }
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn namespaces(pids: Pids) -> Vec<Value> {
    let mut namespaces = vec![json!({ "type": "mount" }), json!({ "type": "cgroup" })];
    match pids {
        Pids::Own => namespaces.push(json!({ "type": "pid" })),
        Pids::Of(pid) => namespaces.push(json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") })),
        Pids::Host => {}
    }
    namespaces
}

fn mounts(launch: &Launch, place: &Place<'_>) -> Vec<Value> {
    let system = if launch.spec.privileges.privileged { "rw" } else { "ro" };
    let mut all = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", system]),
        mount("/dev/shm", "bind", &place.shm.to_string_lossy(), &["rbind", "nosuid", "noexec", "nodev"]),
    ];
    all.extend(cgroup_mounts(place, system));
    // What the pod mounts at a place of ours replaces ours.
    all.retain(|ours| launch.spec.mounts.iter().all(|theirs| ours["destination"] != json!(theirs.target)));
    all.extend(launch.spec.mounts.iter().map(bind));
    all
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

fn bind(mount: &Mount) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    json!({ "destination": mount.target, "type": "bind", "source": mount.source, "options": ["rbind", access] })
}

/// A container sees its own group and nothing above it, and can't change it.
fn cgroup_mounts(place: &Place<'_>, access: &str) -> Vec<Value> {
    const FLAGS: [&str; 3] = ["nosuid", "noexec", "nodev"];
    let options = [&FLAGS[..], &[access]].concat();
    if place.setup.is_v2() {
        return vec![mount("/sys/fs/cgroup", "cgroup", "cgroup", &options)];
    }
    let mut all = vec![mount("/sys/fs/cgroup", "tmpfs", "tmpfs", &[&FLAGS[..], &["mode=755"]].concat())];
    for root in place.setup.shown() {
        let source = root.join(place.cgroup.trim_start_matches('/'));
        let names = root.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        for name in names.split(',') {
            let target = format!("/sys/fs/cgroup/{name}");
            all.push(mount(&target, "bind", &source.to_string_lossy(), &[&["bind"][..], &options].concat()));
        }
    }
    all
}

fn resources(limits: &Limits, place: &Place<'_>, all_devices: bool) -> Value {
    let mut resources = json!({ "devices": [{ "allow": all_devices, "access": "rwm" }] });
    let mut cpu = serde_json::Map::new();
    if let Some(millis) = limits.cpu_request_millis {
        cpu.insert("shares".into(), json!(shares(Some(millis))));
    }
    if let Some(millis) = limits.cpu_limit_millis {
        cpu.insert("quota".into(), json!(quota(millis)));
        cpu.insert("period".into(), json!(PERIOD_MICROS));
    }
    if !cpu.is_empty() {
        resources["cpu"] = Value::Object(cpu);
    }
    if let Some(bytes) = limits.memory_limit_bytes {
        resources["memory"] = json!({ "limit": bytes });
        if place.counts_swap {
            resources["memory"]["swap"] = json!(bytes);
        }
    }
    if let Some(pids) = limits.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    resources
}

/// The machine's devices as a privileged container gets them: all but those that every container has of its own.
pub(super) fn host_devices() -> io::Result<Vec<Value>> {
    let mut found = vec![];
    collect_devices(Path::new("/dev"), &mut found)?;
    Ok(found)
}

fn collect_devices(folder: &Path, found: &mut Vec<Value>) -> io::Result<()> {
    const OWN: &[&str] =
        &["pts", "shm", "mqueue", "fd", "console", "ptmx", "null", "zero", "full", "random", "urandom", "tty"];
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path: PathBuf = entry.path();
        let kind = entry.file_type()?;
        if OWN.iter().any(|own| Path::new("/dev").join(own) == path) {
            continue;
        }
        if kind.is_dir() {
            collect_devices(&path, found)?;
        } else if kind.is_block_device() || kind.is_char_device() {
            let meta = fs::symlink_metadata(&path)?;
            found.push(json!({
                "path": path, "type": if kind.is_block_device() { "b" } else { "c" },
                "major": rustix::fs::major(meta.rdev()), "minor": rustix::fs::minor(meta.rdev()),
                "fileMode": meta.mode() & 0o777, "uid": meta.uid(), "gid": meta.gid(),
            }));
        }
    }
    Ok(())
}
