//! Times the life of a container, beside crun and runc where they are installed.
//!
//! Run as root: `cargo run --release --package kprov-node --example containers -- [rounds]`. All three make the same
//! container from the same files: own mount, process and control-group namespaces, limits, default capabilities.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "it measures real time and starts other runtimes"
)]

#[cfg(not(containers))]
fn main() {
    println!("containers need Linux");
}

#[cfg(containers)]
fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    let first = args.next().unwrap_or_default();
    match first.to_str().unwrap_or_default() {
        "runtime-shim" => return kprov_node::runtime::oci::shim_main(args),
        "inside" => loop {
            nix::unistd::pause();
        },
        rounds => linux::bench(rounds.parse().unwrap_or(50)),
    }
    std::process::ExitCode::SUCCESS
}

#[cfg(containers)]
mod linux {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use kprov_control_plane::world::real;
    use kprov_node::images::{BUILTIN, Store};
    use kprov_node::runtime::oci::{Oci, OciConfig, purge};
    use kprov_node::runtime::{ContainerSpec, Limits, Privileges, Runtime, SandboxSpec};
    use kprov_schema::Uid;
    use serde_json::json;

    const MEMORY: u64 = 256 << 20;

    pub(super) fn bench(rounds: usize) {
        let folder = tempfile::tempdir().unwrap();
        let images = Store::open(folder.path().join("images"), real::world(folder.path())).unwrap();
        images.add_builtin(Path::new("/proc/self/exe")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        println!("{:28} {:>8} {:>8} {:>8}", format!("ms, {rounds} rounds"), "p50", "p90", "min");
        runtime.block_on(kprov(folder.path(), &images, rounds));
        let layers = images.lease("bench", "bench", &images.find(BUILTIN).unwrap().unwrap().id).unwrap();
        let rootfs = layers.folder.join(&layers.names[0]);
        for name in ["crun", "runc"] {
            other(name, folder.path(), &rootfs, rounds);
        }
    }

    fn row(what: &str, mut times: Vec<Duration>) {
        times.sort();
        let ms = |at: usize| times[at.min(times.len() - 1)].as_secs_f64() * 1000.0;
        println!("{what:28} {:8.1} {:8.1} {:8.1}", ms(times.len() / 2), ms(times.len() * 9 / 10), ms(0));
    }

    async fn kprov(folder: &Path, images: &Store, rounds: usize) {
        let config = OciConfig {
            root: folder.join("node"),
            cgroup: format!("kprov-bench-{}", std::process::id()),
            exe: "/proc/self/exe".into(),
            images: images.clone(),
            world: real::world(folder),
        };
        let oci = Oci::open(config.clone()).await.unwrap();
        let (mut sandboxes, mut starts, mut deletes, mut removals) = (vec![], vec![], vec![], vec![]);
        for round in 0..rounds {
            let pod = Uid(format!("bench-{round}"));
            let begun = Instant::now();
            oci.create_sandbox(sandbox(&pod, folder)).await.unwrap();
            sandboxes.push(begun.elapsed());
            let spec = container(&oci, folder, round).await;
            let begun = Instant::now();
            let made = oci.start(&pod, spec).await.unwrap();
            starts.push(begun.elapsed());
            let begun = Instant::now();
            oci.stop(&made.id, Duration::ZERO).await.unwrap();
            oci.remove(&made.id).await.unwrap();
            deletes.push(begun.elapsed());
            let begun = Instant::now();
            oci.remove_sandbox(&pod).await.unwrap();
            removals.push(begun.elapsed());
        }
        row("kprov: make a sandbox", sandboxes);
        row("kprov: create and start", starts);
        row("kprov: kill and delete", deletes);
        row("kprov: remove the sandbox", removals);
        drop(oci);
        purge(&config).await.unwrap();
    }

    fn sandbox(pod: &Uid, folder: &Path) -> SandboxSpec {
        SandboxSpec {
            pod: pod.clone(),
            name: format!("bench/{pod}"),
            hostname: "bench".into(),
            netns: None,
            host_pid: false,
            host_ipc: false,
            share_pid: false,
            sysctls: [].into(),
            cgroup: format!("burstable/pod{pod}"),
            log_dir: folder.join("logs"),
        }
    }

    async fn container(oci: &Oci, folder: &Path, round: usize) -> ContainerSpec {
        let image = oci.pull(BUILTIN).await.unwrap();
        ContainerSpec {
            name: "main".into(),
            attempt: 0,
            image: image.id,
            args: vec!["/kprov".into(), "inside".into()],
            env: image.env,
            working_dir: String::new(),
            mounts: vec![],
            limits: Limits {
                cpu_request_millis: Some(100),
                memory_limit_bytes: Some(MEMORY),
                pids: Some(100),
                ..Limits::default()
            },
            privileges: Privileges::default(),
            stop_signal: String::new(),
            tty: false,
            stdin: false,
            stdin_once: false,
            beside: None,
            log_path: folder.join(format!("logs/{round}.log")),
        }
    }

    /// The other runtimes get a root file system that is there already; kprov mounts its own each time.
    fn other(name: &str, folder: &Path, rootfs: &Path, rounds: usize) {
        let quiet = |args: &[&str]| {
            Command::new(name).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
        };
        if !quiet(&["--version"]).is_ok_and(|status| status.success()) {
            println!("{name:28} not installed");
            return;
        }
        let (mut starts, mut deletes) = (vec![], vec![]);
        for round in 0..rounds {
            let (id, bundle) = (format!("kprov-bench-{round}"), folder.join(format!("{name}-{round}")));
            write_bundle(&bundle, rootfs, &id);
            let bundle = bundle.display().to_string();
            let begun = Instant::now();
            if !quiet(&["run", "-d", "-b", &bundle, &id]).unwrap().success() {
                println!("{name:28} refuses: see `{name} run` (crun wants no hybrid control groups)");
                return;
            }
            starts.push(begun.elapsed());
            let begun = Instant::now();
            assert!(quiet(&["delete", "-f", &id]).unwrap().success());
            deletes.push(begun.elapsed());
        }
        row(&format!("{name}: create and start"), starts);
        row(&format!("{name}: kill and delete"), deletes);
    }

    fn write_bundle(bundle: &Path, rootfs: &Path, id: &str) {
        let mount = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
        let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"];
        let namespaces = ["mount", "pid", "ipc", "uts", "cgroup"].map(|kind| json!({"type": kind}));
        let document = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": 65532, "gid": 65532}, "args": ["/kprov", "inside"], "env": ["PATH=/"], "cwd": "/",
                "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            },
            "root": {"path": PathBuf::from(rootfs)},
            "hostname": "bench",
            "mounts": [
                mount("/proc", "proc", &["nosuid", "noexec", "nodev"]), mount("/dev", "tmpfs", &["nosuid", "mode=755"]),
                mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance"]), mount("/dev/mqueue", "mqueue", &["nosuid"]),
                mount("/dev/shm", "tmpfs", &["nosuid"]), mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
                mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]),
            ],
            "linux": {
                "cgroupsPath": format!("/kprov-bench/{id}"),
                "namespaces": namespaces,
                "resources": {"devices": [{"allow": false, "access": "rwm"}], "cpu": {"shares": 102}, "memory": {"limit": MEMORY}, "pids": {"limit": 100}},
                "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            },
        });
        std::fs::create_dir_all(bundle).unwrap();
        std::fs::write(bundle.join("config.json"), serde_json::to_vec(&document).unwrap()).unwrap();
    }
}
