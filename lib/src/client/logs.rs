//! What containers wrote: of a pod, or of all pods of a workload.

use futures::io::AsyncBufReadExt;
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kprov_schema::Object;
use kube::api::{Api, LogParams};
use serde_json::Value;

use super::Client;
use super::error::ClientError;

/// Whose logs, and which part of them.
///
/// ```
/// use kprov::client::Logs;
///
/// let last = Logs::of_pod("web-0").container("nginx").tail(20);
/// let all = Logs::of("Deployment", "web").follow();
/// ```
#[derive(Clone, Debug)]
pub struct Logs {
    kind: String,
    name: String,
    params: LogParams,
}

/// One line of a log.
///
/// ```
/// let line = kprov::client::Line { pod: "web-0".to_owned(), container: String::new(), text: "ready".to_owned() };
/// assert_eq!(line.to_string(), "[pod/web-0] ready");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The pod that wrote it.
    pub pod: String,
    /// The container in it; empty when the pod has one.
    pub container: String,
    /// The line, without its end.
    pub text: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.container.as_str() {
            "" => write!(f, "[pod/{}] {}", self.pod, self.text),
            container => write!(f, "[pod/{}/{container}] {}", self.pod, self.text),
        }
    }
}

/// Workloads and the `apiVersion` that they are read in.
const WORKLOADS: &[(&str, &str)] = &[
    ("Deployment", "apps/v1"),
    ("ReplicaSet", "apps/v1"),
    ("StatefulSet", "apps/v1"),
    ("DaemonSet", "apps/v1"),
    ("Job", "batch/v1"),
];

/// Which part of them.
///
/// ```
/// use kprov::client::Logs;
///
/// let crash = Logs::of_pod("web-0").previous().tail(50);
/// let recent = Logs::of("Deployment", "web").since_seconds(600).timestamps();
/// ```
impl Logs {
    /// Those of one pod.
    #[must_use]
    pub fn of_pod(name: impl Into<String>) -> Self {
        Self::of("Pod", name)
    }

    /// Those of all pods of a workload: `Deployment`, `ReplicaSet`, `StatefulSet`, `DaemonSet` or `Job`.
    #[must_use]
    pub fn of(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into(), params: LogParams::default() }
    }

    /// Of one container instead of all of them.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.params.container = Some(name.into());
        self
    }

    /// Goes on with what is written from now on, until the containers end.
    #[must_use]
    pub fn follow(mut self) -> Self {
        self.params.follow = true;
        self
    }

    /// Only the last lines.
    #[must_use]
    pub fn tail(mut self, lines: u32) -> Self {
        self.params.tail_lines = Some(i64::from(lines));
        self
    }

    /// Only what was written in the last seconds.
    #[must_use]
    pub fn since_seconds(mut self, seconds: u32) -> Self {
        self.params.since_seconds = Some(i64::from(seconds));
        self
    }

    /// Those of the run of the container before this one.
    #[must_use]
    pub fn previous(mut self) -> Self {
        self.params.previous = true;
        self
    }

    /// With the time before each line.
    #[must_use]
    pub fn timestamps(mut self) -> Self {
        self.params.timestamps = true;
        self
    }
}

impl Client {
    /// The lines of logs as they come: those of one container in their order, those of several as they arrive.
    ///
    /// Errors: [`ClientError::Api`] with code 404 when there is no such pod or workload; [`ClientError::Object`] for a kind
    /// that has no pods.
    ///
    /// ```
    /// use futures::StreamExt as _;
    /// use kprov::client::{Client, ClientError, Logs};
    ///
    /// async fn show(cluster: &Client) -> Result<(), ClientError> {
    ///     let mut lines = cluster.logs(&Logs::of("Deployment", "web").follow()).await?;
    ///     while let Some(line) = lines.next().await {
    ///         println!("{}", line?);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn logs(&self, logs: &Logs) -> Result<BoxStream<'static, Result<Line, ClientError>>, ClientError> {
        let mut all = SelectAll::new();
        for pod in self.pods_of(logs).await? {
            let containers = containers(&pod, logs.params.container.as_deref());
            let several = containers.len() > 1;
            for container in containers {
                all.push(self.log(logs, pod.name(), container, several).await?);
            }
        }
        Ok(all.boxed())
    }

    async fn pods_of(&self, logs: &Logs) -> Result<Vec<Object>, ClientError> {
        if logs.kind == "Pod" {
            return Ok(vec![self.of_kind("v1", "Pod").get(&logs.name).await?]);
        }
        let Some((_, api_version)) = WORKLOADS.iter().find(|(kind, _)| *kind == logs.kind) else {
            let known: Vec<&str> = WORKLOADS.iter().map(|(kind, _)| *kind).collect();
            let why = format!("it has no pods: logs are those of a Pod or of a {}", known.join(", "));
            return Err(ClientError::Object { object: format!("{} {}", logs.kind, logs.name), why });
        };
        let workload = self.of_kind(*api_version, logs.kind.as_str()).get(&logs.name).await?;
        let selector = super::wait::selector(&workload);
        let pods = self.of_kind("v1", "Pod").list("").await?;
        Ok(pods.into_iter().filter(|pod| selector.as_ref().is_some_and(|one| one.match_object(pod))).collect())
    }

    async fn log(
        &self,
        logs: &Logs,
        pod: &str,
        container: String,
        several: bool,
    ) -> Result<BoxStream<'static, Result<Line, ClientError>>, ClientError> {
        let doing = format!("read the log of Pod {}/{pod}, container {container}", self.default_namespace());
        let api: Api<Pod> = Api::namespaced(self.kube().clone(), self.default_namespace());
        let params = LogParams { container: Some(container.clone()), ..logs.params.clone() };
        let read = api.log_stream(pod, &params).await.map_err(|error| self.failed(&doing, error))?;
        let (pod, container) = (pod.to_owned(), if several { container } else { String::new() });
        let client = self.clone();
        let lines = read.lines().map(move |line| match line {
            Ok(text) => Ok(Line { pod: pod.clone(), container: container.clone(), text }),
            Err(error) => Err(client.failed(&doing, kube::Error::ReadEvents(error))),
        });
        // After an error there is nothing more to read.
        let until_broken = lines.scan(false, |broken, line| {
            let over = *broken;
            *broken = line.is_err();
            futures::future::ready((!over).then_some(line))
        });
        Ok(stream::StreamExt::boxed(until_broken))
    }
}

/// The containers of a pod whose logs are meant.
fn containers(pod: &Object, only: Option<&str>) -> Vec<String> {
    if let Some(only) = only {
        return vec![only.to_owned()];
    }
    let listed = pod.at(&["spec", "containers"]).and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|container| container["name"].as_str()).map(str::to_owned).collect()
}
