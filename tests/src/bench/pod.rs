//! From a pod's POST to its status `Running`, the image being on disk.

use anyhow::{Context, ensure};
use http::{Method, StatusCode};
use kprov_node::images::BUILTIN;
use serde_json::{Value, json};

use super::Options;
use super::machine::Stopwatch;
use super::stats::Line;
use crate::cluster::TestCluster;
use crate::https::{Access, Watch};

const PODS: &str = "/api/v1/namespaces/default/pods";
/// Pods a run.
const PODS_A_RUN: usize = 4;

/// Milliseconds to `Running`, as a watcher sees it, then from the deletion to the object's end.
pub(super) async fn to_running(options: &Options) -> anyhow::Result<Vec<Line>> {
    let cluster = TestCluster::up(options.kprov()?, "bench-pod", &[])?;
    let access = Access::from_kubeconfig(&cluster.folder().join("admin.kubeconfig"))?;
    // Pods are refused before the namespace's account is there.
    let account = "/api/v1/namespaces/default/serviceaccounts?watch=1&fieldSelector=metadata.name=default";
    access.connect().await?.watch(account).await?.next().await?.context("the watch ended")?;
    let mut watch = access.connect().await?.watch(&format!("{PODS}?watch=1")).await?;
    let mut client = access.connect().await?;
    let (mut running, mut gone) = (Vec::new(), Vec::new());
    for number in 0..options.runs * PODS_A_RUN {
        let name = format!("bench-{number}");
        let pod = json!({
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "echo", "image": BUILTIN}]},
        });
        let clock = Stopwatch::start();
        let created = client.send(Method::POST, PODS, pod.to_string()).await?;
        ensure!(created.status == StatusCode::CREATED, "{}", created.text());
        until(&mut watch, &name, |event| event["object"]["status"]["phase"] == "Running").await?;
        running.push(clock.ms());
        let clock = Stopwatch::start();
        let deleted = client.send(Method::DELETE, &format!("{PODS}/{name}?gracePeriodSeconds=1"), "").await?;
        ensure!(deleted.status == StatusCode::OK, "{}", deleted.text());
        until(&mut watch, &name, |event| event["type"] == "DELETED").await?;
        gone.push(clock.ms());
    }
    Ok(vec![
        Line::new("pod: POST to Running, image on disk", "ms", running),
        Line::new("pod: DELETE to gone", "ms", gone),
    ])
}

async fn until(watch: &mut Watch, name: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    loop {
        let line = watch.next().await?.context("the watch ended")?;
        let event: Value = serde_json::from_slice(&line)?;
        ensure!(event["type"] != "ERROR", "{event}");
        if event["object"]["metadata"]["name"] == name && is_so(&event) {
            return Ok(());
        }
    }
}
