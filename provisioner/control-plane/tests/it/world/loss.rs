//! A node that falls silent: its pods come up elsewhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pods_on(cluster: &Cluster, node: &str) -> Vec<Value> {
    let pods = cluster.items(PODS).await;
    pods.into_iter().filter(|pod| pod["spec"]["nodeName"] == node).collect()
}

fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|one| one["type"] == kind).unwrap()
}

#[tokio::test]
async fn pods_of_a_silent_node_come_up_elsewhere_but_naked_ones_do_not() {
    let mut cluster = Cluster::start().await;
    for name in ["n1", "n2"] {
        cluster.node(&json!([name, {}, {}, [], false])).await;
    }
    let spec = json!({"containers": [{"name": "c", "image": "nginx:1"}]});
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 4, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}});
    cluster.send("POST", "/apis/apps/v1/namespaces/default/deployments", None, Some(&deployment)).await;
    let mut naked = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "naked"}, "spec": spec});
    naked["spec"]["nodeName"] = json!("n1");
    cluster.send("POST", PODS, None, Some(&naked)).await;
    cluster.idle().await;
    cluster.kubelet("default", &json!({"to": "ready"})).await;
    assert_eq!(pods_on(&cluster, "n1").await.len(), 3, "two of the four, and the naked one");

    cluster.silence("n1");
    cluster.pass(Duration::from_secs(60)).await;
    let node = cluster.get("/api/v1/nodes/n1").await.unwrap();
    let ready = condition(&node, "Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&json!("Unknown"), &json!("NodeStatusUnknown")));
    assert_eq!(ready["message"], "Kubelet stopped posting node status.");
    let taints: Vec<&Value> = node["spec"]["taints"].as_array().unwrap().iter().map(|taint| &taint["key"]).collect();
    assert_eq!(taints, ["node.kubernetes.io/unreachable"; 2]);
    for pod in pods_on(&cluster, "n1").await {
        assert_eq!(condition(&pod, "Ready")["status"], "False");
        assert!(pod["metadata"]["deletionTimestamp"].is_null(), "it is borne for five minutes");
    }

    cluster.pass(Duration::from_secs(310)).await;
    let lost = pods_on(&cluster, "n1").await;
    assert_eq!(lost.len(), 3, "nobody there can end them");
    assert!(lost.iter().all(|pod| !pod["metadata"]["deletionTimestamp"].is_null()));
    assert_eq!(pods_on(&cluster, "n2").await.len(), 4);
    assert!(cluster.items(PODS).await.iter().filter(|pod| pod["metadata"]["name"] == "naked").count() == 1);
}
