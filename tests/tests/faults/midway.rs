//! `up` after a crash in the middle of `up` finishes the job; `down` removes whatever there is.

use std::fs;
use std::time::Duration;

use kprov_tests::cluster::TestCluster;
use kprov_tests::remains::Marks;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::timeout;

use super::{KPROV, fails};

/// When `up` is cut off; behind the last it has usually finished.
const MOMENTS_MS: [u64; 9] = [0, 3, 10, 25, 50, 100, 200, 400, 800];

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Command,
    CommandAndServer,
}

/// Starts `up` and kills it after a while.
async fn cut_off(cluster: &TestCluster, after: Duration, victim: Victim) {
    let mut command = cluster.kprov_command("up");
    command.args(["--nodes", "1"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut up = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    if timeout(after, up.wait()).await.is_err() {
        up.kill().await.unwrap();
    }
    if victim == Victim::CommandAndServer {
        for pid in servers(cluster) {
            kill(pid, Signal::SIGKILL).ok();
        }
        cluster.server_ended().unwrap();
    }
}

/// Servers of the cluster, also those that have not come as far as to write their number down.
fn servers(cluster: &TestCluster) -> Vec<Pid> {
    let parts = Marks::of(cluster).unwrap().find().unwrap();
    let words = |part: &String| part.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let processes =
        parts.iter().map(words).filter(|words| words[0] == "process" && words.iter().any(|word| word == "serve"));
    processes.map(|words| Pid::from_raw(words[1].parse().unwrap())).collect()
}

#[tokio::test]
async fn up_after_a_crash_in_the_middle_of_up_finishes_the_job() {
    for victim in [Victim::Command, Victim::CommandAndServer] {
        for moment in MOMENTS_MS {
            let what = format!("{victim:?} killed after {moment} ms");
            let cluster = TestCluster::prepare(KPROV, "midway").unwrap();
            cut_off(&cluster, Duration::from_millis(moment), victim).await;
            cluster.kprov("up", &["--nodes", "1"]).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            cluster.k("wait --for=condition=Ready node/node-1 --timeout=1s").unwrap();
            assert_eq!(cluster.kprov("up", &["--dry-run"]).unwrap(), "", "{what}: something is left to do");
            let marks = Marks::of(&cluster).unwrap();
            assert!(marks.find().unwrap().iter().any(|part| part.starts_with("link")), "{what}");
            cluster.kprov("down", &[]).unwrap_or_else(|error| panic!("{what}: {error:#}"));
            assert_eq!(marks.find().unwrap(), Default::default(), "{what}");
        }
    }
}

#[tokio::test]
async fn down_after_a_crash_in_the_middle_of_up_leaves_nothing() {
    for moment in MOMENTS_MS {
        let cluster = TestCluster::prepare(KPROV, "halfway").unwrap();
        cut_off(&cluster, Duration::from_millis(moment), Victim::Command).await;
        let marks = Marks::of(&cluster).unwrap();
        cluster.kprov("down", &[]).unwrap_or_else(|error| panic!("after {moment} ms: {error:#}"));
        assert_eq!(marks.find().unwrap(), Default::default(), "after {moment} ms");
    }
}

/// A cluster with running containers.
fn with_containers(name: &str) -> (TestCluster, Marks) {
    let cluster = TestCluster::up(KPROV, name, &["--demo"]).unwrap();
    let marks = Marks::of(&cluster).unwrap();
    let parts = marks.find().unwrap();
    for kind in ["process", "mount", "link", "cgroup", "file"] {
        assert!(parts.iter().any(|part| part.starts_with(kind)), "no {kind} was found: {parts:?}");
    }
    (cluster, marks)
}

#[test]
fn down_of_a_cluster_whose_server_was_killed_leaves_nothing() {
    let (cluster, marks) = with_containers("orphan");
    cluster.end_server(Signal::SIGKILL).unwrap();
    cluster.kprov("down", &[]).unwrap();
    assert_eq!(marks.find().unwrap(), Default::default());
    assert!(!fs::read_to_string(cluster.kubeconfig()).unwrap().contains("kprov-orphan"));
}

#[test]
fn down_of_a_cluster_whose_configuration_is_damaged_leaves_nothing() {
    let (cluster, marks) = with_containers("garbled");
    let config = cluster.folder().join("cluster.json");
    fs::write(&config, "{\"nodes\": ").unwrap();
    let said = fails(&mut cluster.kprov_command("up"), &["is damaged", "kprov down"]);
    assert!(said.contains(config.to_str().unwrap()), "{said}");
    cluster.kprov("down", &[]).unwrap();
    assert_eq!(marks.find().unwrap(), Default::default());
}

#[test]
fn down_with_a_killed_pod_keeper_leaves_nothing() {
    let (cluster, marks) = with_containers("keeper");
    let parts = marks.find().unwrap();
    let keeper = parts.iter().find(|part| part.starts_with("process") && part.contains("runtime-shim")).unwrap();
    let pid = Pid::from_raw(keeper.split(' ').nth(1).unwrap().parse().unwrap());
    cluster.end_server(Signal::SIGKILL).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    cluster.kprov("down", &[]).unwrap();
    assert_eq!(marks.find().unwrap(), Default::default());
}
