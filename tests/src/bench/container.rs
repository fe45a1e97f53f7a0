//! One container, made by kprov's own runtime and by the runtimes that are installed, in the same run.

#![allow(clippy::disallowed_types, reason = "starts the other runtimes")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use kprov_control_plane::world::real;
use kprov_node::images::Store;
use kprov_node::runtime::oci::{Oci, OciConfig, purge};
use kprov_node::runtime::{ContainerSpec, Limits, Privileges, Runtime, SandboxSpec};
use kprov_schema::Uid;
use serde_json::{Value, json};

use super::Options;
use super::machine::{Stopwatch, folder};
use super::stats::Line;

/// Containers a run.
const CONTAINERS_A_RUN: usize = 4;
/// A program that runs until it is killed.
const PROGRAM: [&str; 4] = ["/kprov", "echo-server", "--listen", "127.0.0.1:0"];

/// Other runtimes, with flags: crun refuses some machines' control groups, and then only runs without any.
const OTHERS: [(&str, &[&str]); 3] = [("crun", &[]), ("crun", &["--cgroup-manager=disabled"]), ("runc", &[])];

/// Create and start until the program is executed; kill and delete.
pub(super) async fn containers(options: &Options) -> anyhow::Result<Vec<Line>> {
    let mut lines = own(options).await?;
    for (runtime, flags) in OTHERS {
        lines.extend(other(options, runtime, flags)?);
    }
    Ok(lines)
}

async fn own(options: &Options) -> anyhow::Result<Vec<Line>> {
    let folder = folder()?;
    let world = real::world(folder.path());
    let images = Store::open(folder.path().join("images"), world.clone())?;
    let image = images.add_builtin(&options.binary)?.id;
    let config = OciConfig {
        root: folder.path().join("runtime"),
        cgroup: format!("kprov/bench-{}", std::process::id()),
        exe: fs::canonicalize(&options.binary)?,
        images,
        world,
    };
    let oci = Oci::open(config.clone()).await?;
    let measured = measure(&oci, folder.path(), &image, options.runs * CONTAINERS_A_RUN).await;
    drop(oci);
    purge(&config).await?;
    measured
}

async fn measure(oci: &Oci, folder: &Path, image: &str, count: usize) -> anyhow::Result<Vec<Line>> {
    let (mut cold, mut warm, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let pod = uid(number);
        let clock = Stopwatch::start();
        oci.create_sandbox(sandbox(number, folder)).await?;
        oci.start(&pod, container("first", folder, image)).await?;
        cold.push(clock.ms());
        let clock = Stopwatch::start();
        let second = oci.start(&pod, container("second", folder, image)).await?;
        warm.push(clock.ms());
        let clock = Stopwatch::start();
        oci.stop(&second.id, Duration::ZERO).await?;
        oci.remove(&second.id).await?;
        delete.push(clock.ms());
        oci.remove_sandbox(&pod).await?;
    }
    Ok(vec![
        Line::new("container: create to exec'd, kprov, with a new pod", "ms", cold),
        Line::new("container: create to exec'd, kprov, in a pod that is there", "ms", warm),
        Line::new("container: kill and delete, kprov", "ms", delete),
    ])
}

fn uid(number: usize) -> Uid {
    Uid(format!("00000000-0000-4000-8000-{number:012}"))
}

fn sandbox(number: usize, folder: &Path) -> SandboxSpec {
    SandboxSpec {
        pod: uid(number),
        name: format!("bench/{number}"),
        hostname: "bench".into(),
        netns: None,
        host_pid: false,
        host_ipc: false,
        share_pid: false,
        sysctls: Default::default(),
        cgroup: format!("pod{number}"),
        log_dir: folder.join("logs").join(number.to_string()),
    }
}

fn container(name: &str, folder: &Path, image: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        attempt: 0,
        image: image.into(),
        args: PROGRAM.map(String::from).to_vec(),
        env: Vec::new(),
        working_dir: String::new(),
        mounts: Vec::new(),
        limits: Limits::default(),
        privileges: Privileges::default(),
        stop_signal: String::new(),
        tty: false,
        stdin: false,
        stdin_once: false,
        beside: None,
        log_path: folder.join("logs").join(format!("{name}.log")),
    }
}

/// The same with a runtime that is a command.
fn other(options: &Options, runtime: &str, flags: &[&str]) -> anyhow::Result<Vec<Line>> {
    let name = [&[runtime], flags].concat().join(" ");
    let (create_name, delete_name) =
        (format!("container: create to exec'd, {name}"), format!("container: kill and delete, {name}"));
    if let Err(error) = Command::new(runtime).arg("--version").output() {
        ensure!(error.kind() == ErrorKind::NotFound, "starting {runtime}: {error}");
        return Ok(vec![Line::skipped(create_name, format!("{runtime} is not installed"))]);
    }
    let folder = folder()?;
    bundle(options, runtime, folder.path())?;
    let command = |verb: &[&str]| {
        let mut command = Command::new(runtime);
        command.args(flags).args(verb).current_dir(folder.path());
        command
    };
    let (mut create, mut delete) = (Vec::new(), Vec::new());
    for number in 0..options.runs * CONTAINERS_A_RUN {
        let id = format!("kprov-bench-{}-{number}", std::process::id());
        let clock = Stopwatch::start();
        if let Err(refused) = run(&mut command(&["create", &id])) {
            return Ok(vec![Line::skipped(create_name, format!("{refused:#}").trim().to_owned())]);
        }
        let started = run(&mut command(&["start", &id]));
        create.push(clock.ms());
        let clock = Stopwatch::start();
        run(&mut command(&["delete", "--force", &id]))?;
        delete.push(clock.ms());
        started?;
    }
    Ok(vec![Line::new(create_name, "ms", create), Line::new(delete_name, "ms", delete)])
}

/// The same file system and program, without a network namespace of its own, as kprov's pods join one that is there.
fn bundle(options: &Options, runtime: &str, folder: &Path) -> anyhow::Result<()> {
    let root = folder.join("rootfs");
    for part in ["", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(part))?;
    }
    let program: PathBuf = root.join("kprov");
    fs::copy(&options.binary, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    run(Command::new(runtime).arg("spec").current_dir(folder))?;
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(PROGRAM);
    let namespaces = config["linux"]["namespaces"].as_array_mut().context("no namespaces")?;
    namespaces.retain(|namespace| namespace["type"] != "network");
    Ok(fs::write(&path, serde_json::to_vec(&config)?)?)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let log = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    let status = command.status().with_context(|| format!("starting {command:?}"))?;
    let mut said = String::new();
    std::io::Seek::rewind(&mut &log)?;
    std::io::Read::read_to_string(&mut &log, &mut said)?;
    ensure!(status.success(), "{command:?}: {said}");
    Ok(())
}
