//! A thousand nodes, five thousand pods.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Options;
use super::idle::memory;
use super::machine::Stopwatch;
use super::stats::Line;
use crate::cluster::TestCluster;
use crate::https::{Access, Watch};
use crate::remains::Marks;

const NODES: usize = 1000;
const PODS: usize = 5000;
const CONNECTIONS: usize = 100;
const OF_PODS: &str = "/api/v1/namespaces/default/pods";

/// Pods a second that are created, get a node and are bound to it, where nodes are objects with nobody behind them, as in
/// upstream's benchmark of its scheduler; then the same until simulated nodes run them. Memory after each.
pub(super) async fn scale(options: &Options) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let alone = cluster(options, &["--nodes", "0", "--node-grace", "3600"])?;
    let access = access(&alone)?;
    create(&access, "/api/v1/nodes", NODES, node).await?;
    update(&access, |at| format!("/api/v1/nodes/n{at:04}"), NODES, &json!({"spec": {"taints": null}})).await?;
    let rate = pods(&access, |pod| pod["spec"]["nodeName"].is_string()).await?;
    lines.push(Line::new(format!("create, schedule, bind: {NODES} nodes, {PODS} pods"), "/s", [rate]));
    lines.push(used("memory (PSS) then", &alone)?);
    drop(alone);
    let simulated = cluster(options, &["--nodes", &NODES.to_string()])?;
    let rate = pods(&self::access(&simulated)?, |pod| pod["status"]["phase"] == "Running").await?;
    lines.push(Line::new(format!("the same until {NODES} simulated nodes run them"), "/s", [rate]));
    lines.push(used("memory (PSS) then, agents of the nodes included", &simulated)?);
    Ok(lines)
}

fn cluster(options: &Options, arguments: &[&str]) -> anyhow::Result<TestCluster> {
    TestCluster::up(options.kprov()?, "bench-scale", &[&["--simulated"], arguments].concat())
}

fn access(cluster: &TestCluster) -> anyhow::Result<Access> {
    Access::from_kubeconfig(&cluster.folder().join("admin.kubeconfig"))
}

fn used(what: &str, cluster: &TestCluster) -> anyhow::Result<Line> {
    Ok(Line::new(what, "MB", [memory(&Marks::of(cluster)?.processes()?)?]))
}

fn node(at: usize) -> Value {
    let capacity = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
    json!({
        "metadata": {"name": format!("n{at:04}"), "labels": {"topology.kubernetes.io/zone": format!("z{}", at % 3)}},
        "status": {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn pod(at: usize) -> Value {
    let requests = json!({"cpu": "100m", "memory": "500Mi"});
    json!({
        "metadata": {"name": format!("p{at:04}"), "labels": {"app": "bench"}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": requests}}]},
    })
}

/// Creates all pods; pods a second until of each the watch has shown that it is done.
async fn pods(access: &Access, done: impl Fn(&Value) -> bool) -> anyhow::Result<f64> {
    // Pods are refused before the namespace's account is there.
    let account = "/api/v1/namespaces/default/serviceaccounts?watch=1&fieldSelector=metadata.name=default";
    access.connect().await?.watch(account).await?.next().await?.context("the watch ended")?;
    let watch = access.connect().await?.watch(&format!("{OF_PODS}?watch=1")).await?;
    let clock = Stopwatch::start();
    tokio::try_join!(create(access, OF_PODS, PODS, pod), all_done(watch, done))?;
    Ok(PODS as f64 / clock.elapsed().as_secs_f64())
}

async fn all_done(mut watch: Watch, done: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
    let mut those = std::collections::HashSet::new();
    while those.len() < PODS {
        let line = watch.next().await?.context("the watch ended")?;
        let event: Value = serde_json::from_slice(&line)?;
        ensure!(event["type"] != "ERROR", "{event}");
        if done(&event["object"]) {
            those.insert(event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    Ok(())
}

async fn create(access: &Access, path: &str, count: usize, make: fn(usize) -> Value) -> anyhow::Result<()> {
    send(access, Method::POST, StatusCode::CREATED, count, |at| (path.to_owned(), make(at).to_string())).await
}

async fn update(access: &Access, path: impl Fn(usize) -> String, count: usize, change: &Value) -> anyhow::Result<()> {
    send(access, Method::PATCH, StatusCode::OK, count, |at| (path(at), change.to_string())).await
}

/// Sends so many requests, each of some connections the next one as soon as it has its answer.
async fn send(
    access: &Access,
    method: Method,
    expected: StatusCode,
    count: usize,
    request: impl Fn(usize) -> (String, String),
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let client = async |mut connection: crate::https::Connection| {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return anyhow::Ok(());
            }
            let (path, body) = request(at);
            let answer = connection.send(method.clone(), &path, body).await?;
            ensure!(answer.status == expected, "{}", answer.text());
        }
    };
    let open = try_join_all((0..CONNECTIONS).map(|_| access.connect())).await?;
    try_join_all(open.into_iter().map(client)).await?;
    Ok(())
}
