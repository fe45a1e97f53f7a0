//! Containers live through kills of the server, which adopts them when it comes back. Needs root.

use std::collections::BTreeMap;

use kprov_tests::cluster::TestCluster;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::KPROV;

const CONTAINERS: &str = "get pods -l app.kubernetes.io/name=demo -o \
    jsonpath={range.items[*]}{.metadata.uid}={.status.containerStatuses[0].containerID}={.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";

/// Pod uid to its container's id with its count of restarts.
pub(super) fn containers(cluster: &TestCluster) -> BTreeMap<String, String> {
    let arguments: Vec<&str> = CONTAINERS.splitn(6, ' ').collect();
    let text = cluster.kubectl(&arguments).unwrap();
    text.lines().map(|line| line.split_once('=').unwrap()).map(|(uid, id)| (uid.to_owned(), id.to_owned())).collect()
}

/// The processes of the containers of a pod.
fn processes(pod: &str) -> Vec<i32> {
    let numbers =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inside = |pid: &i32| {
        let text = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        text("cgroup").contains(pod) && text("cmdline").contains("echo-server")
    };
    numbers.filter(inside).collect()
}

#[test]
fn containers_go_on_without_a_server_and_are_adopted_by_the_next() {
    let cluster = TestCluster::up(KPROV, "adopt", &["--demo"]).unwrap();
    let before = containers(&cluster);
    assert_eq!(before.len(), 2, "{before:?}");
    let pids: BTreeMap<&String, Vec<i32>> = before.keys().map(|pod| (pod, processes(pod))).collect();
    assert!(pids.values().all(|pids| pids.len() == 1), "{pids:?}");
    for _ in 0..3 {
        cluster.end_server(Signal::SIGKILL).unwrap();
        cluster.kprov("up", &[]).unwrap();
        cluster.k("wait --for=condition=Available deployment/demo --timeout=60s").unwrap();
        assert_eq!(containers(&cluster), before, "the same containers, none of them restarted");
        for (pod, pids) in &pids {
            assert_eq!(processes(pod), *pids, "the processes were left alone");
        }
    }

    // What happens while no server is there is seen by the next.
    cluster.end_server(Signal::SIGKILL).unwrap();
    let (pod, pid) = pids.iter().map(|(pod, pids)| ((*pod).clone(), pids[0])).next().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    cluster.kprov("up", &[]).unwrap();
    let name = cluster
        .k("get pods -l app.kubernetes.io/name=demo -o jsonpath={range.items[*]}{.metadata.uid}={.metadata.name},{end}")
        .unwrap();
    let name = name.split(',').find_map(|pair| pair.strip_prefix(&format!("{pod}="))).unwrap();
    let restarted =
        format!("wait --for=jsonpath={{.status.containerStatuses[0].restartCount}}=1 pod/{name} --timeout=60s");
    cluster.k(&restarted).unwrap();
    let after = containers(&cluster);
    assert_ne!(after[&pod], before[&pod], "a new container in the pod whose container was killed");
    assert!(before.iter().filter(|(uid, _)| **uid != pod).all(|(uid, id)| after.get(uid) == Some(id)));
}
