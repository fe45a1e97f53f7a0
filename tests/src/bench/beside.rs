//! How long small requests wait beside heavy ones.

use anyhow::ensure;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::machine::Stopwatch;
use super::stats::Line;
use super::{Options, api_server};
use crate::https::{Access, Connection};

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
const HEAVY: &str = "/api/v1/namespaces/default/endpoints";
/// Addresses of an object of nearly 3 MiB, the most that a body may have.
const ADDRESSES: usize = 28_000;
/// Clients of each sort.
const CLIENTS: usize = 4;

/// The time that one of a hundred small gets takes longer than: alone, then while others create what is as large as may be.
pub(super) async fn small_gets(options: &Options) -> anyhow::Result<Vec<Line>> {
    let (_folder, server, access) = api_server(options).await?;
    let small = json!({"metadata": {"name": "small"}}).to_string();
    let created = access.connect().await?.send(Method::POST, OBJECTS, small).await?;
    ensure!(created.status == StatusCode::CREATED, "{}", created.text());
    let alone = gets(options, &access).await?;
    let heavy = tokio::spawn(heavy(access.clone()));
    let beside = gets(options, &access).await?;
    ensure!(!heavy.is_finished(), "the heavy requests failed: {:?}", heavy.await?);
    heavy.abort();
    server.end().await?;
    Ok(vec![
        Line::new(format!("99th percentile of a small get, {CLIENTS} connections"), "ms", [percentile(alone)]),
        Line::new(format!("the same beside creates of 3 MB on {CLIENTS} others"), "ms", [percentile(beside)]),
    ])
}

fn percentile(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * 99 / 100]
}

async fn gets(options: &Options, access: &Access) -> anyhow::Result<Vec<f64>> {
    let client = async |mut connection: Connection| {
        let begun = Stopwatch::start();
        let mut times = Vec::new();
        while begun.elapsed() < options.load {
            let clock = Stopwatch::start();
            let answer = connection.get(&format!("{OBJECTS}/small")).await?;
            times.push(clock.ms());
            ensure!(answer.status == StatusCode::OK, "{}", answer.text());
        }
        anyhow::Ok(times)
    };
    let open = try_join_all((0..CLIENTS).map(|_| access.connect())).await?;
    Ok(try_join_all(open.into_iter().map(client)).await?.concat())
}

/// Creates and deletes large objects until it fails.
async fn heavy(access: Access) -> anyhow::Result<()> {
    let client = async |number: usize| {
        let mut connection = access.connect().await?;
        let name = format!("large-{number}");
        let address = |at: usize| json!({"ip": format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255), "nodeName": "node-1", "targetRef": {"kind": "Pod", "name": "a-pod-of-many", "uid": at.to_string()}});
        let addresses: Vec<Value> = (0..ADDRESSES).map(address).collect();
        let body = json!({"metadata": {"name": name}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]})
            .to_string();
        loop {
            let created = connection.send(Method::POST, HEAVY, body.clone()).await?;
            ensure!(created.status == StatusCode::CREATED, "{}", created.text());
            let deleted = connection.send(Method::DELETE, &format!("{HEAVY}/{name}"), "").await?;
            ensure!(deleted.status == StatusCode::OK, "{}", deleted.text());
        }
        #[allow(unreachable_code, reason = "says what the block's errors are")]
        anyhow::Ok(())
    };
    try_join_all((0..CLIENTS).map(client)).await?;
    Ok(())
}
