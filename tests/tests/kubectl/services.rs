//! Pods and services are reached as the tutorials promise.

use std::collections::BTreeMap;

use super::{cluster, http_get};

const APACHE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: alpine}
spec:
  selector: {matchLabels: {app: alpine}}
  replicas: 2
  template:
    metadata: {labels: {app: alpine}}
    spec:
      containers:
      - name: alpine-ctr
        image: httpd:alpine
        ports: [{containerPort: 80}]
";

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: alpine-service}
spec:
  selector: {app: alpine}
  ports: [{protocol: TCP, port: 8080, targetPort: 80}]
";

const NODE_PORT: &str = "
apiVersion: v1
kind: Service
metadata: {name: alpine-service}
spec:
  type: NodePort
  selector: {app: alpine}
  ports: [{protocol: TCP, port: 8080, targetPort: 80}]
";

#[test]
fn deployments_services_and_node_ports() {
    let cluster = cluster("services", 2, &["httpd", "busybox"]);
    cluster.apply(APACHE).unwrap();
    cluster.k("rollout status deployment/alpine --timeout=90s").unwrap();
    let image = cluster.k("get pods -l app=alpine -o jsonpath={.items[0].spec.containers[0].image}").unwrap();
    assert_eq!(image, "httpd:alpine");

    // S17: a stable address and a name, from a pod.
    assert_eq!(cluster.apply(SERVICE).unwrap().trim(), "service/alpine-service created");
    let ip = cluster.k("get svc alpine-service -o jsonpath={.spec.clusterIP}").unwrap();
    let pod_ips = cluster.k("get pods -l app=alpine -o jsonpath={.items[*].status.podIP}").unwrap();
    let addresses = pod_ips.split(' ').map(|ip| format!("http://{ip}:80/"));
    let urls: Vec<String> =
        addresses.chain([format!("http://{ip}:8080/"), "http://alpine-service:8080/".to_owned()]).collect();
    let script = urls.iter().map(|url| format!("wget -q -O - {url} || exit 1")).collect::<Vec<_>>().join("; ");
    let client = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: client}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: c\n    image: \
         busybox:1.28\n    imagePullPolicy: IfNotPresent\n    command: [sh, -c, \"{script}\"]\n"
    );
    cluster.apply(&client).unwrap();
    cluster.k("wait --for=jsonpath={.status.phase}=Succeeded pod/client --timeout=60s").unwrap();
    assert_eq!(cluster.k("logs client").unwrap().matches("It works!").count(), urls.len());
    assert!(cluster.k("describe service alpine-service").unwrap().contains(":80"));

    // S18: the same on a port of every node, from outside.
    cluster.k("delete svc alpine-service").unwrap();
    cluster.apply(NODE_PORT).unwrap();
    let port = cluster.k("get svc alpine-service -o jsonpath={.spec.ports[0].nodePort}").unwrap();
    let nodes = cluster
        .kubectl(&["get", "nodes", "-o", "jsonpath={.items[*].status.addresses[?(@.type==\"InternalIP\")].address}"])
        .unwrap();
    assert_eq!(nodes.split(' ').count(), 2);
    let mut answers = BTreeMap::new();
    for node in nodes.split(' ') {
        let body = eventually(|| http_get(&format!("{node}:{port}")));
        *answers.entry(body.contains("It works!")).or_insert(0) += 1;
    }
    assert_eq!(answers, BTreeMap::from([(true, 2)]));
}

/// The answer, once the new rules have reached the node: a service is there a moment before its way is.
fn eventually(ask: impl Fn() -> std::io::Result<String>) -> String {
    let mut last = String::new();
    for _ in 0..50 {
        match ask() {
            Ok(body) => return body,
            Err(error) => last = error.to_string(),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    panic!("no answer: {last}");
}

const ON_THE_NODE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: near}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  containers:
  - name: c
    image: kprov.io/echo
    ports: [{containerPort: 8080}]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
";

#[test]
fn a_pod_with_the_nodes_network_answers_at_the_nodes_address() {
    let cluster = cluster("near", 1, &[]);
    cluster.apply(&ON_THE_NODE.replace("kprov.io/echo", kprov_node::images::BUILTIN)).unwrap();
    cluster.k("wait --for=condition=Ready pod/near --timeout=60s").unwrap();
    let address = cluster.k("get pod near -o jsonpath={.status.podIP}").unwrap();
    assert_eq!(address, cluster.k("get pod near -o jsonpath={.status.hostIP}").unwrap());
    let said = http_get(&format!("{address}:8080")).unwrap();
    assert!(said.contains("node-1"), "{said}");
}
