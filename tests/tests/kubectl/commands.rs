//! The everyday verbs.

use super::cluster;

const FILE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx-deployment, labels: {app: nginx}}
spec:
  replicas: 2
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      containers:
      - name: nginx
        image: nginx:1.16
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: nginx-service}
spec:
  selector: {app: nginx}
  ports: [{protocol: TCP, port: 80, targetPort: 80}]
";

#[test]
fn the_everyday_verbs_work() {
    let cluster = cluster("verbs", 1, &["nginx"]);
    let created = cluster.apply(FILE).unwrap();
    assert_eq!(created, "deployment.apps/nginx-deployment created\nservice/nginx-service created\n");
    cluster.k("rollout status deployment/nginx-deployment --timeout=60s").unwrap();
    let configured = cluster.apply(&FILE.replace("replicas: 2", "replicas: 1")).unwrap();
    assert_eq!(configured, "deployment.apps/nginx-deployment configured\nservice/nginx-service unchanged\n");
    cluster.k("wait --for=jsonpath={.status.replicas}=1 deployment/nginx-deployment --timeout=60s").unwrap();

    cluster.k("scale deployment/nginx-deployment --replicas=3").unwrap();
    cluster.k("wait --for=jsonpath={.status.readyReplicas}=3 deployment/nginx-deployment --timeout=60s").unwrap();
    let table = cluster.k("get deployment").unwrap();
    assert!(table.starts_with("NAME") && table.contains("3/3"), "{table}");
    assert!(cluster.k("get deploy,rs,po,svc,ep -o wide").is_ok());
    assert!(cluster.k("get all").unwrap().contains("replicaset.apps/nginx-deployment"));
    let described = cluster.k("describe deployment nginx-deployment").unwrap();
    assert!(described.contains("ScalingReplicaSet") && described.contains("3 desired"), "{described}");
    let service = cluster.k("describe service nginx-service").unwrap();
    assert!(service.contains("Endpoints:") && service.contains(":80"), "{service}");

    let pod = cluster.k("get pods -o jsonpath={.items[0].metadata.name}").unwrap();
    cluster.kubectl(&["label", "pod", &pod, "version=v1"]).unwrap();
    assert_eq!(cluster.k("get pods -l version=v1 --no-headers").unwrap().lines().count(), 1);
    cluster.kubectl(&["annotate", "pod", &pod, "note=yes"]).unwrap();
    assert!(cluster.kubectl(&["get", "pod", &pod, "-o", "yaml"]).unwrap().contains("note: \"yes\""));

    cluster.k("expose deployment nginx-deployment --name=open --type=NodePort --port=80").unwrap();
    assert!(cluster.k("get svc open").unwrap().contains("NodePort"));
    cluster.k("set image deployment/nginx-deployment nginx=nginx:alpine").unwrap();
    cluster.k("rollout status deployment/nginx-deployment --timeout=90s").unwrap();
    assert!(cluster.k("rollout history deployment/nginx-deployment").unwrap().contains('2'));
    cluster.k("rollout undo deployment/nginx-deployment").unwrap();
    cluster.k("rollout status deployment/nginx-deployment --timeout=90s").unwrap();

    cluster.k("create deployment fresh --image=nginx").unwrap();
    cluster.k("wait --for=condition=Available deployment/fresh --timeout=60s").unwrap();
    logs_are_followed(&cluster);
    cluster.k("delete deployment nginx-deployment fresh").unwrap();
    cluster.k("wait --for=delete pod -l app=nginx --timeout=60s").unwrap();
    cluster.k("create namespace shop").unwrap();
    cluster.k("wait --for=create serviceaccount/default -n shop --timeout=30s").unwrap();
    cluster.k("delete namespace shop --timeout=60s").unwrap();
}

/// `logs -f` shows what was written before and what comes later, and ends with the container.
fn logs_are_followed(cluster: &kprov_tests::cluster::TestCluster) {
    let script = "echo first; sleep 1; echo second";
    let arguments = ["run", "speaker", "--image=nginx", "--restart=Never", "--", "sh", "-c", script];
    cluster.kubectl(&arguments).unwrap();
    cluster.k("wait --for=jsonpath={.status.phase}=Running pod/speaker --timeout=60s").unwrap();
    assert_eq!(cluster.k("logs -f speaker").unwrap(), "first\nsecond\n");
    assert_eq!(cluster.k("logs speaker --tail=1").unwrap(), "second\n");
}

#[test]
fn mistakes_are_told_in_kubernetes_words() {
    let cluster = cluster("mistakes", 0, &[]);
    let unknown = cluster.apply(&FILE.replace("replicas: 2", "replica: 2")).unwrap_err().to_string();
    assert!(unknown.contains("unknown field \"spec.replica\""), "{unknown}");
    let kind = cluster.k("get nonsense").unwrap_err().to_string();
    assert!(kind.contains("the server doesn't have a resource type \"nonsense\""), "{kind}");
    let quantity = FILE.replace("image: nginx:1.16", "image: nginx\n        resources: {limits: {memory: 1x}}");
    let quantity = cluster.apply(&quantity).unwrap_err().to_string();
    assert!(quantity.contains("quantities must match the regular expression"), "{quantity}");
    let name = cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}\n").unwrap_err().to_string();
    assert!(name.contains("metadata.name: Invalid value: \"A_b\""), "{name}");
    let selector =
        FILE.replace("template:\n    metadata: {labels: {app: nginx}}", "template:\n    metadata: {labels: {app: x}}");
    let selector = cluster.apply(&selector).unwrap_err().to_string();
    assert!(selector.contains("`selector` does not match template `labels`"), "{selector}");
}
