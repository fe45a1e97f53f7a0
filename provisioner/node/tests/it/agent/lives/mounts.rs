//! Volumes of simulated pods that are mounted for real. They need root.

use k8s_openapi::api::core::v1::ConfigMap;
use kprov_control_plane::client::PatchKind;
use kprov_control_plane::client::node::{LogOptions, NodeApi};
use kprov_node::volumes;

use super::*;

#[tokio::test]
async fn volumes_follow_their_sources() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Some(root.path())).await;
    let volumes = json!([{"name": "v", "configMap": {"name": "cm"}}, {"name": "e", "emptyDir": {"medium": "Memory"}}]);
    let pod = json!({
        "volumes": volumes, "hostname": "h1", "subdomain": "sub", "automountServiceAccountToken": false,
    });
    cluster.pod("p", "simulate log=hello", pod).await;
    let deadline = cluster.world.clock.now().checked_add(Duration::from_secs(60)).unwrap();
    let event = "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"cm\" not found".to_owned();
    while !cluster.events("p").await.contains(&event) {
        assert!(cluster.world.clock.now() < deadline, "{:?}", cluster.events("p").await);
        cluster.world.clock.advance(Duration::from_millis(100));
    }
    cluster.make::<ConfigMap>(json!({"metadata": {"name": "cm", "namespace": "ns"}, "data": {"k": "one"}})).await;
    let pod = cluster.until::<Pod>("ns", "p", is_ready).await;
    let folder = root.path().join("pods").join(pod.uid().0);
    let file = folder.join("volumes/kubernetes.io~configmap/v/k");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
    assert!(
        std::fs::read_to_string(folder.join("etc-hosts"))
            .unwrap()
            .contains("10.244.0.2\th1.sub.ns.svc.cluster.local\th1\n")
    );
    assert!(volumes::mounts::is_mount_point(&folder.join("volumes/kubernetes.io~empty-dir/e")).unwrap());
    let patch = json!({"data": {"k": "two"}});
    let key = Key::new("ns", "cm");
    cluster.client.patch(&Resource::of::<ConfigMap>(), &key, None, PatchKind::Merge, patch).await.unwrap();
    while std::fs::read_to_string(&file).unwrap() != "two" {
        tokio::task::yield_now().await;
    }
    let agent = cluster.agent.as_ref().unwrap();
    let log = agent.logs(pod.clone(), LogOptions::default()).await.unwrap();
    assert_eq!(log.map(|piece| piece.unwrap()).collect::<Vec<_>>().await.concat(), b"hello\n");
    cluster.delete("p", 1).await;
    while folder.exists() {
        cluster.world.clock.advance(Duration::from_millis(10));
        tokio::task::yield_now().await;
    }
    volumes::purge(root.path()).unwrap();
}

#[tokio::test]
async fn volumes_follow_their_pods_labels() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Some(root.path())).await;
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]);
    let volumes = json!([
        {"name": "d", "downwardAPI": {"items": items}},
        {"name": "p", "projected": {"sources": [{"downwardAPI": {"items": items}}]}},
    ]);
    cluster.pod("p", "run", json!({"volumes": volumes, "automountServiceAccountToken": false})).await;
    let pod = cluster.until::<Pod>("ns", "p", is_ready).await;
    let folder = root.path().join("pods").join(pod.uid().0);
    let patch = json!({"metadata": {"labels": {"key": "value"}}});
    cluster.client.patch(&Resource::of::<Pod>(), &pod.key(), None, PatchKind::Merge, patch).await.unwrap();
    for file in ["kubernetes.io~downward-api/d/labels", "kubernetes.io~projected/p/labels"] {
        while !std::fs::read_to_string(folder.join("volumes").join(file)).unwrap().contains("key=\"value\"") {
            tokio::task::yield_now().await;
        }
    }
    drop(cluster.agent);
    volumes::purge(root.path()).unwrap();
}

#[tokio::test]
async fn tokens_are_renewed_in_time() {
    let root = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Some(root.path())).await;
    let source = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 600}});
    let volumes = json!([{"name": "t", "projected": {"sources": [source]}}]);
    cluster.pod("p", "run", json!({"volumes": volumes, "automountServiceAccountToken": false})).await;
    let pod = cluster.until::<Pod>("ns", "p", is_ready).await;
    let file = root.path().join("pods").join(pod.uid().0).join("volumes/kubernetes.io~projected/t/token");
    let first = std::fs::read_to_string(&file).unwrap();
    assert!(first.starts_with("eyJ"));
    cluster.world.clock.advance(Duration::from_secs(481));
    while std::fs::read_to_string(&file).unwrap() == first {
        tokio::task::yield_now().await;
    }
    drop(cluster.agent);
    volumes::purge(root.path()).unwrap();
}
