//! Claims on real nodes: what pods write stays, and goes with the claim.

use kprov_tests::cluster::TestCluster;

use super::cluster;

/// A pod that runs a script as nobody in particular, with a claim at `/data`.
fn pod(name: &str, script: &str, mount: &str, volume: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}}
  containers:
  - name: c
    image: busybox:1.28
    command: [sh, -c, '{script}; exec sleep 9999']
    volumeMounts: [{{name: data, mountPath: /data{mount}}}]
  volumes: [{{name: data, persistentVolumeClaim: {{claimName: data{volume}}}}}]
"
    )
}

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
";

/// Runs a pod to readiness, answers what it printed, and takes it away again.
fn run(cluster: &TestCluster, name: &str, manifest: &str) -> String {
    cluster.apply(manifest).unwrap();
    cluster.k(&format!("wait --for=condition=Ready pod/{name} --timeout=60s")).unwrap();
    let log = cluster.k(&format!("logs {name}")).unwrap();
    cluster.k(&format!("delete pod {name} --wait=true --timeout=60s")).unwrap();
    log
}

#[test]
fn what_a_pod_writes_into_a_claim_is_there_for_the_next_one() {
    let cluster = cluster("claims", 2, &["busybox"]);
    assert!(cluster.k("get storageclass").unwrap().contains("standard (default)"));
    cluster.apply(&pod("early", "true", "", "")).unwrap();
    cluster.k("wait --for=condition=PodScheduled=False pod/early --timeout=60s").unwrap();
    let message = "get pod early -o jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}";
    assert!(cluster.k(message).unwrap().contains("persistentvolumeclaim \"data\" not found. not found"));

    cluster.apply(CLAIM).unwrap();
    cluster.k("wait --for=condition=Ready pod/early --timeout=60s").unwrap();
    cluster.k("wait --for=jsonpath={.status.phase}=Bound pvc/data --timeout=60s").unwrap();
    cluster.k("delete pod early --timeout=60s").unwrap();
    let wrote = run(
        &cluster,
        "writer",
        &pod("writer", "mkdir /data/part; echo hello > /data/part/word; stat -c %g /data/part/word", "", ""),
    );
    assert_eq!(wrote.trim(), "2000", "new files are the group's");
    let part = pod("part", "cat /data/word; ls /data", ", subPath: part", "");
    assert_eq!(run(&cluster, "part", &part), "hello\nword\n");
    let reader = pod("reader", "cat /data/part/word; touch /data/x || echo kept", "", ", readOnly: true");
    assert!(run(&cluster, "reader", &reader).starts_with("hello\n"));
    let log = run(&cluster, "again", &pod("again", "ls /data", "", ""));
    assert_eq!(log, "part\n", "nobody wrote through a read-only mount");

    let volume = cluster.k("get pvc data -o jsonpath={.spec.volumeName}").unwrap();
    let path = cluster.k(&format!("get pv {volume} -o jsonpath={{.spec.local.path}}")).unwrap();
    assert_eq!(std::fs::read_to_string(format!("{path}/part/word")).unwrap(), "hello\n");
    cluster.k("delete pvc data --timeout=60s").unwrap();
    cluster.k(&format!("wait --for=delete pv/{volume} --timeout=60s")).unwrap();
    assert!(!std::path::Path::new(&path).exists(), "the data went with the claim");
}

#[test]
fn a_volume_of_the_machine_is_bound_and_kept() {
    let cluster = cluster("pinned", 1, &["busybox"]);
    let place = cluster.home().join("shared");
    let shown = place.display();
    cluster
        .apply(&format!(
            "
apiVersion: v1
kind: PersistentVolume
metadata: {{name: shared, labels: {{type: local}}}}
spec:
  capacity: {{storage: 10Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: manual
  hostPath: {{path: {shown}, type: DirectoryOrCreate}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: manual
  selector: {{matchLabels: {{type: local}}}}
  resources: {{requests: {{storage: 5Gi}}}}
"
        ))
        .unwrap();
    cluster.k("wait --for=jsonpath={.status.phase}=Bound pvc/data --timeout=60s").unwrap();
    let root = pod("root", "echo kept > /data/word", "", "").replace("runAsUser: 1000", "runAsUser: 0");
    run(&cluster, "root", &root);
    cluster.k("delete pvc data --timeout=60s").unwrap();
    cluster.k("wait --for=jsonpath={.status.phase}=Released pv/shared --timeout=60s").unwrap();
    assert_eq!(std::fs::read_to_string(place.join("word")).unwrap(), "kept\n");
}
