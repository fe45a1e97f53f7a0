//! Daemons, pods with names that last, and work that ends: rolled out, undone and waited for with kubectl.

use kprov_tests::cluster::TestCluster;

use super::cluster_with;

const SETS: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c, image: 'busybox:1'}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: c, image: 'busybox:1'}]}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: rc}
spec:
  replicas: 2
  selector: {app: rc}
  template:
    metadata: {labels: {app: rc}}
    spec: {containers: [{name: c, image: 'busybox:1'}]}
";

#[test]
fn sets_are_rolled_out_and_undone_and_jobs_are_made() {
    let cluster = cluster_with("workloads", &["--nodes", "2", "--simulated"], &[]);
    cluster.apply(SETS).unwrap();
    for set in ["ds/agent", "sts/db"] {
        rolls_out_and_back(&cluster, set);
    }
    assert_eq!(cluster.k("get ds agent -o jsonpath={.status.numberAvailable}").unwrap(), "2");
    let names = cluster.k("get pods -l app=db -o jsonpath={.items[*].metadata.name}").unwrap();
    assert_eq!(names, "db-0 db-1");
    cluster.k("wait --for=jsonpath={.status.availableReplicas}=2 rc/rc --timeout=60s").unwrap();
    cluster.k("scale sts/db --replicas=1").unwrap();
    cluster.k("wait --for=delete pod/db-1 --timeout=60s").unwrap();

    cluster.k("create job work --image=busybox -- simulate exit=0").unwrap();
    cluster.k("wait --for=condition=Complete job/work --timeout=60s").unwrap();
    cluster.k("create cronjob nightly --image=busybox --schedule=@daily -- simulate exit=0").unwrap();
    cluster.k("create job now --from=cronjob/nightly").unwrap();
    cluster.k("wait --for=condition=Complete job/now --timeout=60s").unwrap();
    assert!(cluster.k("get cronjob nightly").unwrap().contains("@daily"));
    cluster.k("delete ds/agent sts/db rc/rc job/work cronjob/nightly --timeout=60s").unwrap();
    cluster.k("wait --for=delete pod --all --timeout=60s").unwrap();
}

fn rolls_out_and_back(cluster: &TestCluster, set: &str) {
    let image = |cluster: &TestCluster| {
        cluster.kubectl(&["get", set, "-o", "jsonpath={.spec.template.spec.containers[0].image}"]).unwrap()
    };
    let rolled = |cluster: &TestCluster| cluster.kubectl(&["rollout", "status", set, "--timeout=90s"]).unwrap();
    rolled(cluster);
    cluster.kubectl(&["set", "image", set, "c=busybox:2"]).unwrap();
    rolled(cluster);
    assert_eq!(image(cluster), "busybox:2");
    let history = cluster.kubectl(&["rollout", "history", set]).unwrap();
    assert!(history.contains('1') && history.contains('2'), "{history}");
    cluster.kubectl(&["rollout", "undo", set]).unwrap();
    rolled(cluster);
    assert_eq!(image(cluster), "busybox:1");
    let history = cluster.kubectl(&["rollout", "history", set]).unwrap();
    assert!(history.contains('3') && !history.contains("\n1 "), "the first is the newest again: {history}");
}
