//! What breaks comes back: containers, pods, the server itself.

use super::cluster;

const NAKED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: naked-pod-demo}
spec:
  containers:
  - name: naked-pod-demo-ctr
    image: nginx
";

#[test]
fn a_naked_pod_is_restarted_by_its_node() {
    let cluster = cluster("naked", 1, &["nginx"]);
    assert_eq!(cluster.apply(NAKED).unwrap().trim(), "pod/naked-pod-demo created");
    cluster.k("wait --for=condition=Ready pod/naked-pod-demo --timeout=60s").unwrap();
    assert_eq!(cluster.apply(NAKED).unwrap().trim(), "pod/naked-pod-demo unchanged");
    let wide = cluster.k("get pods -o wide").unwrap();
    assert!(wide.contains("NOMINATED NODE") && wide.contains("Running"), "{wide}");
    let id = "get pod naked-pod-demo -o jsonpath={.status.containerStatuses[0].containerID}";
    let before = cluster.k(id).unwrap();
    kill_container(&cluster, "naked-pod-demo");
    cluster
        .k("wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 pod/naked-pod-demo --timeout=60s")
        .unwrap();
    cluster.k("wait --for=condition=Ready pod/naked-pod-demo --timeout=60s").unwrap();
    assert_ne!(cluster.k(id).unwrap(), before, "another container in the same pod");
    let table = cluster.k("get pod naked-pod-demo").unwrap();
    assert!(table.lines().nth(1).unwrap().contains("1 ("), "RESTARTS counts it: {table}");
    let described = cluster.k("describe pod naked-pod-demo").unwrap();
    for words in ["Successfully assigned default/naked-pod-demo", "Container created", "Container started"] {
        assert!(described.contains(words), "{words} in {described}");
    }
}

/// Kills the first process of a pod's first container, as a fault would.
fn kill_container(cluster: &kprov_tests::cluster::TestCluster, pod: &str) {
    let uid = cluster.k(&format!("get pod {pod} -o jsonpath={{.metadata.uid}}")).unwrap();
    let mut killed = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse::<i32>() else { continue };
        let cgroups = std::fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        let status = std::fs::read_to_string(process.path().join("status")).unwrap_or_default();
        let first =
            status.lines().any(|line| line.starts_with("NSpid:") && line.split_whitespace().last() == Some("1"));
        if cgroups.contains(&uid) && first {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
            killed += 1;
        }
    }
    assert!(killed > 0, "no process of pod {pod} was found");
}

#[test]
fn a_deleted_pod_is_replaced_and_the_server_comes_back_to_the_same_containers() {
    let cluster = cluster("replace", 1, &["nginx"]);
    cluster.k("create deployment web --image=nginx --replicas=2").unwrap();
    cluster.k("rollout status deployment/web --timeout=60s").unwrap();
    let names = "get pods -l app=web -o jsonpath={.items[*].metadata.name}";
    let before = cluster.k(names).unwrap();
    let first = before.split(' ').next().unwrap();
    cluster.kubectl(&["delete", "pod", first]).unwrap();
    cluster.k("wait --for=condition=Available deployment/web --timeout=60s").unwrap();
    let after = cluster.k(names).unwrap();
    assert!(!after.contains(first), "{after}");
    assert_eq!(after.split(' ').count(), 2);

    let ids = "get pods -l app=web -o jsonpath={.items[*].status.containerStatuses[0].containerID}";
    let running = cluster.k(ids).unwrap();
    let pid = std::fs::read_to_string(cluster.folder().join("lock")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    cluster.kprov("up", &[]).unwrap();
    cluster.k("wait --for=condition=Available deployment/web --timeout=60s").unwrap();
    assert_eq!(cluster.k(ids).unwrap(), running, "the containers went on and are adopted");
}
