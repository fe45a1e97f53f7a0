//! One update, seen by a thousand watchers.

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::machine::Stopwatch;
use super::stats::Line;
use super::{Options, api_server};
use crate::https::Watch;

const OBJECTS: &str = "/api/v1/namespaces/default/configmaps";
const WATCHERS: usize = 1000;
const UPDATES: usize = 30;

/// Milliseconds from sending an update until the last watcher has its event.
pub(super) async fn one_update(options: &Options) -> anyhow::Result<Vec<Line>> {
    let (_folder, server, access) = api_server(options).await?;
    let mut writer = access.connect().await?;
    let created = writer.send(Method::POST, OBJECTS, json!({"metadata": {"name": "seen"}}).to_string()).await?;
    ensure!(created.status == StatusCode::CREATED, "{}", created.text());
    let created = created.json()?;
    let revision = created["metadata"]["resourceVersion"].as_str().context("no revision")?;
    let path = format!("{OBJECTS}?watch=1&fieldSelector=metadata.name=seen&resourceVersion={revision}");
    let watches = (0..WATCHERS).map(|_| async { access.connect().await?.watch(&path).await });
    let one = format!("{OBJECTS}/seen");
    let (told, mut seen) = mpsc::channel(WATCHERS);
    let mut followers = JoinSet::new();
    for watch in try_join_all(watches).await? {
        followers.spawn(follow(watch, told.clone()));
    }
    drop(told);
    let mut times = Vec::new();
    for update in 0..UPDATES {
        let change = json!({"data": {"update": update.to_string()}}).to_string();
        let clock = Stopwatch::start();
        let updated = writer.send(Method::PATCH, &one, change);
        let all = async {
            for _ in 0..WATCHERS {
                ensure!(seen.recv().await == Some(update), "a watcher saw another update than {update}");
            }
            Ok(clock.ms())
        };
        let (updated, all) = tokio::join!(updated, all);
        let updated = updated?;
        ensure!(updated.status == StatusCode::OK, "{}", updated.text());
        times.push(all?);
    }
    drop(followers);
    server.end().await?;
    Ok(vec![Line::new(format!("one update seen by {WATCHERS} watchers over HTTPS"), "ms", times)])
}

/// Tells of every update that the watch shows.
async fn follow(mut watch: Watch, told: mpsc::Sender<usize>) -> anyhow::Result<()> {
    while let Some(line) = watch.next().await? {
        let event: serde_json::Value = serde_json::from_slice(&line)?;
        let update = event["object"]["data"]["update"].as_str().context("no update in the event")?.parse()?;
        told.send(update).await?;
    }
    Ok(())
}
