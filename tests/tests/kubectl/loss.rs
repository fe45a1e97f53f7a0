//! A node that is lost, and comes back.

use super::cluster_with;

/// Two pods that may run anywhere, and one that nobody replaces.
const PODS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: c, image: 'busybox:1.28', command: [sleep, '9999']}]
---
apiVersion: v1
kind: Pod
metadata: {name: naked}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: node-2}
  containers: [{name: c, image: 'busybox:1.28', command: [sleep, '9999']}]
";

#[test]
fn pods_of_a_stopped_node_come_up_on_the_other_but_a_naked_one_does_not() {
    let cluster = cluster_with("loss", &["--nodes", "2", "--node-grace", "5"], &["busybox"]);
    cluster.apply(PODS).unwrap();
    cluster.k("rollout status deployment/web --timeout=60s").unwrap();
    cluster.k("wait --for=condition=Ready pod/naked --timeout=60s").unwrap();
    let nodes = "get pods -l app=web -o jsonpath={.items[*].spec.nodeName}";
    assert!(cluster.k(nodes).unwrap().contains("node-2"), "pods are spread");

    let unknown = cluster.kprov("node stop", &["node-7"]).unwrap_err().to_string();
    assert!(unknown.contains("there is no node node-7: the cluster has node-1, node-2"), "{unknown}");
    cluster.kprov("node stop", &["node-2"]).unwrap();
    assert_eq!(cluster.kprov("node stop", &["node-2"]).unwrap().lines().count(), 1, "stopping it again is no error");
    assert!(!std::fs::read_to_string("/proc/mounts").unwrap().contains("clusters/loss/net/node-2"));
    cluster.k("wait --for=condition=Ready=Unknown node/node-2 --timeout=60s").unwrap();
    assert!(cluster.kprov("status", &[]).unwrap().contains("node node-2: stopped"));
    // The lost pod goes on to be terminated, its replacement runs on the node that is left.
    let lost = cluster.k("get pods -l app=web --field-selector spec.nodeName=node-2 -o name").unwrap();
    cluster.k(&format!("wait --for=jsonpath={{.metadata.deletionTimestamp}} {} --timeout=60s", lost.trim())).unwrap();
    cluster.k("wait --for=jsonpath={.status.readyReplicas}=2 deployment/web --timeout=60s").unwrap();
    let left = "get pods -l app=web --field-selector spec.nodeName=node-1,status.phase=Running -o name";
    assert_eq!(cluster.k(left).unwrap().lines().count(), 2);
    assert_eq!(cluster.k("get pod naked -o jsonpath={.spec.nodeName}").unwrap(), "node-2");

    // A server that comes back leaves the node off.
    cluster.end_server(nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(
        cluster.kprov("up", &["--dry-run"]).unwrap().lines().filter(|line| line.contains("node-2")).collect::<Vec<_>>(),
        ["start node-2 of cluster loss"]
    );
    cluster.kprov("up", &[]).unwrap();
    cluster.k("wait --for=condition=Ready node/node-2 --timeout=60s").unwrap();
    cluster.k(&format!("wait --for=delete {} --timeout=60s", lost.trim())).unwrap();
    cluster.k("wait --for=jsonpath={.status.containerStatuses[0].restartCount}=1 pod/naked --timeout=60s").unwrap();
    cluster.k("wait --for=condition=Ready pod/naked --timeout=60s").unwrap();
    cluster.kprov("node stop", &["node-2"]).unwrap();
    cluster.kprov("node start", &["node-2"]).unwrap();
    cluster.k("wait --for=jsonpath={.status.containerStatuses[0].restartCount}=2 pod/naked --timeout=60s").unwrap();
    let last = "get pod naked -o jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}";
    assert_eq!(cluster.k(last).unwrap(), "137", "the power went");
}
