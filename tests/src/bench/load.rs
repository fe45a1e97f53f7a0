//! Requests of many connections at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use super::machine::{Stopwatch, pass};
use super::stats::Line;
use super::{Options, api_server};
use crate::https::{Access, Connection};

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
/// Each run has a server over a new store.
const RUNS: usize = 3;

/// Creates per second, each acknowledged when it is on disk.
pub(super) async fn creates(options: &Options) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for connections in [100, 1000] {
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            let (_folder, server, access) = api_server(options).await?;
            rates.push(rate(options, &access, connections, Work::Create).await?);
            server.end().await?;
        }
        lines.push(Line::new(format!("durable creates over HTTPS, {connections} connections"), "/s", rates));
    }
    Ok(lines)
}

/// Gets of one object per second.
pub(super) async fn gets(options: &Options) -> anyhow::Result<Vec<Line>> {
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        let (_folder, server, access) = api_server(options).await?;
        let created = access.connect().await?.send(Method::POST, OBJECTS, object("one")).await?;
        ensure!(created.status == StatusCode::CREATED, "{}", created.text());
        rates.push(rate(options, &access, 100, Work::Get).await?);
        server.end().await?;
    }
    Ok(vec![Line::new("gets of one object over HTTPS, 100 connections", "/s", rates)])
}

#[derive(Clone, Copy, Debug)]
enum Work {
    Create,
    Get,
}

fn object(name: &str) -> String {
    json!({"metadata": {"name": name}, "data": {"text": "x".repeat(100)}}).to_string()
}

/// Answers per second of connections that each send a request as soon as they have the answer to the last.
async fn rate(options: &Options, access: &Access, connections: usize, work: Work) -> anyhow::Result<f64> {
    let open = try_join_all((0..connections).map(|_| access.connect())).await?;
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    let clock = Stopwatch::start();
    for (number, connection) in open.into_iter().enumerate() {
        clients.spawn(client(connection, number, work, done.clone()));
    }
    let failed = tokio::select! {
        () = pass(options.load) => None,
        ended = clients.join_next() => ended,
    };
    let rate = done.load(Ordering::Relaxed) as f64 / clock.elapsed().as_secs_f64();
    match failed {
        Some(ended) => Err(ended?.expect_err("a client goes on until it fails")),
        None => Ok(rate),
    }
}

/// Sends requests until one fails.
async fn client(mut connection: Connection, number: usize, work: Work, done: Arc<AtomicU64>) -> anyhow::Result<()> {
    for turn in 0.. {
        let (answer, expected) = match work {
            Work::Create => {
                let object = object(&format!("client-{number}-{turn}"));
                (connection.send(Method::POST, OBJECTS, object).await?, StatusCode::CREATED)
            }
            Work::Get => (connection.get(&format!("{OBJECTS}/one")).await?, StatusCode::OK),
        };
        ensure!(answer.status == expected, "{}", answer.text());
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
