//! Who changes pods, or the labels of their namespace, is held to Pod Security.

use std::path::Path;

use serde_json::{Value, json};

use crate::definitions::Cluster;

const MERGE: &str = "application/merge-patch+json";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A cluster in whose namespace `default` pods can be made.
async fn start(folder: &Path) -> Cluster {
    let cluster = Cluster::start(folder).await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    assert_eq!(cluster.post("/api/v1/namespaces/default/serviceaccounts", account).await.0, 201);
    cluster
}

async fn label(cluster: &Cluster, labels: Value) -> (u16, Value) {
    cluster.merge("/api/v1/namespaces/default", json!({"metadata": {"labels": labels}})).await
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}],
        "hostNetwork": true}})
}

fn container(name: &str) -> Value {
    json!({"name": name, "image": "i", "securityContext": {"privileged": true}})
}

#[tokio::test]
async fn changes_that_bring_no_image_are_let_through() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    assert_eq!(cluster.post(PODS, pod("p")).await.0, 201);
    let (code, _) = label(&cluster, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    assert_eq!(code, 200);
    let (code, answer) = cluster.post(PODS, pod("q")).await;
    assert_eq!(code, 403, "{answer}");
    let path = format!("{PODS}/p");
    assert_eq!(cluster.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await.0, 200);
    let image = json!({"spec": {"containers": [{"name": "c", "image": "j"}]}});
    let (code, answer) = cluster.ask("PATCH", &path, "application/strategic-merge-patch+json", image).await;
    assert_eq!(code, 403, "{answer}");
    let want = "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)";
    assert_eq!(answer["message"], want);
    cluster.stop().await;
}

#[tokio::test]
async fn containers_that_are_added_later_are_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    assert_eq!(label(&cluster, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await.0, 200);
    let mut fine = pod("p");
    fine["spec"].as_object_mut().unwrap().remove("hostNetwork");
    assert_eq!(cluster.post(PODS, fine).await.0, 201);
    let added = json!({"spec": {"ephemeralContainers": [container("debug")]}});
    let (code, answer) = cluster.ask("PATCH", &format!("{PODS}/p/ephemeralcontainers"), MERGE, added).await;
    assert_eq!(code, 403, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("container \"debug\" must not set"), "{answer}");
    cluster.stop().await;
}

#[tokio::test]
async fn labels_that_can_t_be_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = start(folder.path()).await;
    let (code, answer) = label(&cluster, json!({"pod-security.kubernetes.io/warn": "nope"})).await;
    assert_eq!(code, 422, "{answer}");
    let named = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/audit-version": "1.2"}}});
    let (code, answer) = cluster.post("/api/v1/namespaces", named).await;
    assert_eq!(code, 422, "{answer}");
    let want = "Namespace \"n\" is invalid: metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \
                \"1.2\": must be \"latest\" or \"v1.x\"";
    assert_eq!(answer["message"], want);
    cluster.stop().await;
}
