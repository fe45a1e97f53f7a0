//! Plays one life of a pod in a namespace of its own.

#![allow(
    clippy::disallowed_methods,
    reason = "a recorded life says how long it waits, on a cluster whose time is real"
)]

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{Stream, TryStreamExt};
use http::{Method, Request, StatusCode, header};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, WatchEvent};
use kube::client::Body;
use kube::runtime::wait::await_condition;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::compare::{Tidy, differences, holds, states};

/// What a pod that has reached its last step is given to come to rest.
const SETTLE: Duration = Duration::from_millis(1200);

/// How often a life that differs is looked at: on a busy machine the last status, events or logs come later.
const LOOKS: usize = 4;

/// A recorded life.
#[derive(Deserialize)]
pub(crate) struct Life {
    pub(crate) id: String,
    before: Vec<Value>,
    pod: Value,
    steps: Vec<Step>,
    want: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Step {
    /// Until the pod is in a state, for so many seconds at most.
    Wait { wait: String, max: f64 },
    /// For seconds.
    Sleep { sleep: f64 },
    /// With a grace period in seconds.
    Delete { delete: i64 },
    /// Path below the pod, media type, body.
    Patch { patch: (String, String, Value) },
}

impl Life {
    /// The part of the id before the slash.
    pub(crate) fn family(&self) -> &str {
        self.id.split('/').next().unwrap_or_default()
    }

    fn name(&self) -> anyhow::Result<&str> {
        self.pod["metadata"]["name"].as_str().context("a pod without a name")
    }

    fn containers(&self) -> impl Iterator<Item = &str> {
        let lists = ["initContainers", "containers"].into_iter();
        let containers = lists.filter_map(|list| self.pod["spec"][list].as_array()).flatten();
        containers.filter_map(|container| container["name"].as_str())
    }
}

/// What the watch has shown of the pod.
#[derive(Default)]
struct Seen {
    /// None when it is gone.
    pod: Option<Value>,
    /// As it was last, also when it is gone.
    last: Value,
    /// The states passed through.
    states: Vec<[String; 3]>,
}

impl Seen {
    fn take(&mut self, pod: Value) {
        for state in states(&pod) {
            if !self.states.contains(&state) {
                self.states.push(state);
            }
        }
        self.pod = Some(pod.clone());
        self.last = pod;
    }
}

/// Plays a life and returns where it differs from what was recorded.
pub(crate) async fn play(client: kube::Client, namespace: &str, life: &Life) -> anyhow::Result<Vec<String>> {
    let stage = Stage { client, namespace };
    stage.set(life).await?;
    let events = stage
        .client
        .request_events::<Value>(Request::get(stage.path("pods?watch=true&timeoutSeconds=280")).body(Vec::new())?);
    let (sender, seen) = watch::channel(Seen::default());
    let outcome = tokio::select! {
        ended = follow(events.await?, life.name()?, &sender) => {
            ended?;
            bail!("the watch ended")
        }
        outcome = stage.play(life, seen) => outcome?,
    };
    stage.clear(life).await?;
    Ok(outcome)
}

async fn follow(
    events: impl Stream<Item = Result<WatchEvent<Value>, kube::Error>>,
    name: &str,
    seen: &watch::Sender<Seen>,
) -> anyhow::Result<()> {
    let mut events = pin!(events);
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) if pod["metadata"]["name"] == name => {
                seen.send_modify(|seen| seen.take(pod));
            }
            WatchEvent::Deleted(pod) if pod["metadata"]["name"] == name => seen.send_modify(|seen| seen.pod = None),
            WatchEvent::Error(status) => bail!("the watch ended: {status}"),
            _ => {}
        }
    }
    Ok(())
}

/// The namespace that a life is played in.
struct Stage<'a> {
    client: kube::Client,
    namespace: &'a str,
}

impl Stage<'_> {
    fn path(&self, below: &str) -> String {
        format!("/api/v1/namespaces/{}/{below}", self.namespace)
    }

    async fn send(&self, method: Method, path: &str, kind: &str, body: &Value) -> anyhow::Result<(StatusCode, String)> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        let response = self.client.send(request.body(Body::from(body))?).await?;
        let status = response.status();
        Ok((status, String::from_utf8_lossy(&response.into_body().collect_bytes().await?).into_owned()))
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, String)> {
        self.send(Method::GET, path, "application/json", &Value::Null).await
    }

    async fn create(&self, path: &str, object: &Value) -> anyhow::Result<(StatusCode, String)> {
        self.send(Method::POST, path, "application/json", object).await
    }

    /// Makes the namespace and what stands in it before the pod.
    async fn set(&self, life: &Life) -> anyhow::Result<()> {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}});
        done(&self.create("/api/v1/namespaces", &namespace).await?)?;
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), self.namespace);
        let maps = Api::<ConfigMap>::namespaced(self.client.clone(), self.namespace);
        await_condition(accounts, "default", |account: Option<&ServiceAccount>| account.is_some()).await?;
        await_condition(maps, "kube-root-ca.crt", |map: Option<&ConfigMap>| map.is_some()).await?;
        for object in &life.before {
            let plural = format!("{}s", object["kind"].as_str().context("no kind")?.to_lowercase());
            done(&self.create(&self.path(&plural), object).await?)?;
        }
        Ok(())
    }

    async fn play(&self, life: &Life, mut seen: watch::Receiver<Seen>) -> anyhow::Result<Vec<String>> {
        let (code, answer) = self.create(&self.path("pods"), &life.pod).await?;
        if code != StatusCode::CREATED {
            let tidy = Tidy::new(self.namespace, "", &life.pod);
            let answer: Value = serde_json::from_str(&answer)?;
            let message = tidy.text(answer["message"].as_str().unwrap_or_default());
            return Ok(differences(&tidy, &life.want, &json!({"refused": [code.as_u16(), message]})));
        }
        let mut late = Vec::new();
        for step in &life.steps {
            late.extend(self.step(life, step, &mut seen).await?);
        }
        let mut found = Vec::new();
        for _ in 0..LOOKS {
            sleep(SETTLE).await;
            found = self.look(life, &late, &seen).await?;
            if found.is_empty() {
                break;
            }
        }
        Ok(found)
    }

    /// Does a step and returns what it waited for in vain.
    async fn step(&self, life: &Life, step: &Step, seen: &mut watch::Receiver<Seen>) -> anyhow::Result<Option<String>> {
        let pod = self.path(&format!("pods/{}", life.name()?));
        match step {
            Step::Wait { wait, max } => {
                let reached = seen.wait_for(|seen| holds(wait, seen.pod.as_ref()));
                return match timeout(Duration::from_secs_f64(*max), reached).await {
                    Ok(reached) => reached.map(|_| None).context("the watch ended"),
                    Err(_) => Ok(Some(wait.clone())),
                };
            }
            Step::Sleep { sleep: seconds } => sleep(Duration::from_secs_f64(*seconds)).await,
            Step::Delete { delete } => {
                let path = format!("{pod}?gracePeriodSeconds={delete}");
                done(&self.send(Method::DELETE, &path, "application/json", &Value::Null).await?)?;
            }
            Step::Patch { patch: (below, kind, body) } => {
                done(&self.send(Method::PATCH, &format!("{pod}{below}"), kind, body).await?)?;
            }
        }
        Ok(None)
    }

    /// What is seen now against what was recorded.
    async fn look(&self, life: &Life, late: &[String], seen: &watch::Receiver<Seen>) -> anyhow::Result<Vec<String>> {
        let (last, saw) = {
            let seen = seen.borrow();
            (seen.last.clone(), seen.states.clone())
        };
        let tidy = Tidy::new(self.namespace, last["spec"]["nodeName"].as_str().unwrap_or_default(), &life.pod);
        let mut logs = Map::new();
        for container in life.containers() {
            let (code, log) = self.get(&self.path(&format!("pods/{}/log?container={container}", life.name()?))).await?;
            if code == StatusCode::OK {
                logs.insert(container.to_owned(), log.into());
            }
        }
        let got = json!({
            "late": late, "last": last["status"], "saw": saw, "events": self.events().await?, "logs": logs,
        });
        Ok(differences(&tidy, &life.want, &got))
    }

    async fn events(&self) -> anyhow::Result<Vec<Value>> {
        let answer = self.get(&self.path("events")).await?;
        done(&answer)?;
        let list: Value = serde_json::from_str(&answer.1)?;
        let items = list["items"].as_array().context("no list of events")?;
        Ok(items.iter().map(|event| json!([event["type"], event["reason"], event["message"]])).collect())
    }

    /// Removes the pod at once, then the namespace.
    async fn clear(&self, life: &Life) -> anyhow::Result<()> {
        let pod = self.path(&format!("pods/{}?gracePeriodSeconds=0", life.name()?));
        let namespace = format!("/api/v1/namespaces/{}", self.namespace);
        let (code, answer) = self.send(Method::DELETE, &pod, "application/json", &Value::Null).await?;
        ensure!(code.is_success() || code == StatusCode::NOT_FOUND, "{code}: {answer}");
        done(&self.send(Method::DELETE, &namespace, "application/json", &Value::Null).await?)
    }
}

/// Errors: the server did not do it.
fn done((code, answer): &(StatusCode, String)) -> anyhow::Result<()> {
    ensure!(code.is_success(), "{code}: {answer}");
    Ok(())
}
