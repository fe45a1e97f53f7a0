//! Scenarios with the server that they are played against.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use kprov_control_plane::api::{Config, Server, User};
use kprov_control_plane::pki::Pki;
use kprov_control_plane::store::Store;
use kprov_control_plane::world::real;
use kprov_schema::structure::schema;
use kprov_schema::{KINDS, Resource};
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;
use serde_json::{Value, json};

use crate::compare::{Answer, Level, agreement};
use crate::normal::{Names, aged, normal};

/// A recorded exchange.
#[derive(Deserialize)]
pub(crate) struct Scenario {
    id: String,
    ns: Option<String>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(rename = "do")]
    asked: (String, String, Option<String>, Option<String>, Value),
    want: Option<Want>,
    #[serde(default)]
    keep: Value,
}

#[derive(Deserialize)]
struct Want {
    code: u64,
    body: Value,
    #[serde(default)]
    warn: Value,
}

/// How one step went.
pub(crate) struct Played {
    pub(crate) level: Level,
    /// What the step's path is about.
    pub(crate) resource: Option<Resource>,
    pub(crate) why: String,
}

impl Scenario {
    /// Whether its name holds a text.
    pub(crate) fn is_called(&self, part: &str) -> bool {
        self.id.contains(part)
    }

    /// Whether every kind that its paths name is served, if upstream serves it.
    pub(crate) fn is_served(&self) -> bool {
        self.steps.iter().filter_map(|step| resource(&step.asked.1)).all(|resource| {
            // What is only asked and answered has no row.
            let asked = resource.plural.ends_with("reviews");
            asked || schema().resource(&resource).is_none() || KINDS.iter().any(|kind| kind.resource == resource)
        })
    }
}

/// The resource that a path is about.
fn resource(path: &str) -> Option<Resource> {
    let path = path.split('?').next()?;
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).peekable();
    let group = match segments.next()? {
        "api" => "",
        "apis" => segments.next()?,
        _ => return None,
    };
    let version = segments.next()?;
    segments.next_if_eq(&"watch");
    let mut plural = segments.next()?;
    if plural == "namespaces" {
        plural = segments.nth(1).filter(|next| !["status", "finalize"].contains(next)).unwrap_or(plural);
    }
    Some(Resource {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        plural: plural.to_owned().into(),
    })
}

/// A server, with the namespaces that scenarios play in.
pub(crate) struct Player {
    server: Server,
    admin: User,
    count: AtomicUsize,
    shared: tokio::sync::OnceCell<String>,
}

/// What came back.
struct Got {
    code: u64,
    body: Bytes,
    warnings: Vec<String>,
}

impl Player {
    pub(crate) async fn start(folder: &Path) -> Self {
        let world = real::world(folder);
        let config = Config { listen: Vec::new(), ..Config::default() };
        let pki = Arc::new(Pki::open_or_create(&folder.join("pki"), &config.names(), &world).unwrap());
        let store = Store::open(&world, "state").unwrap();
        let server = Server::start(config, world, store, pki).await.unwrap();
        Self { server, admin: User::admin(), count: AtomicUsize::new(0), shared: tokio::sync::OnceCell::new() }
    }

    async fn send(&self, asked: &(String, String, Option<String>, Option<String>, Value)) -> Got {
        let (method, path, kind, accept, body) = asked;
        let mut request = Request::builder()
            .method(method.as_str())
            .uri(path.as_str())
            .header("User-Agent", "reference/1")
            .header("Accept", accept.as_deref().unwrap_or("application/json"));
        if let Some(kind) = kind {
            request = request.header("Content-Type", kind);
        }
        let body = match body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => spaced(other),
        };
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = self.server.handle(request, Some(&self.admin)).await;
        let warnings = response.headers().get_all("Warning").iter();
        let warnings = warnings.filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
        let code = response.status().as_u16().into();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Got { code, body, warnings }
    }

    /// Completes when the kind of a definition that was just made is served, which its watch tells.
    async fn established(&self, asked: &(String, String, Option<String>, Option<String>, Value), got: &Got) {
        if asked.0 != "POST" || !asked.1.ends_with("/customresourcedefinitions") || got.code != 201 {
            return;
        }
        let name = asked.4["metadata"]["name"].as_str().unwrap_or_default();
        let watch = format!("{}?watch=true&timeoutSeconds=30&fieldSelector=metadata.name%3D{name}", asked.1);
        let request = Request::get(watch).body(Full::new(Bytes::new())).unwrap();
        let mut body = self.server.handle(request, Some(&self.admin)).await.into_body();
        let mut received = Vec::new();
        while let Some(frame) = body.frame().await {
            received.extend(frame.unwrap().into_data().unwrap_or_default());
            if received.split_inclusive(|byte| *byte == b'\n').any(is_established) {
                return;
            }
        }
        panic!("{name} was not established: {}", String::from_utf8_lossy(&received));
    }

    async fn namespace(&self, name: &str) {
        let json = || Some("application/json".to_owned());
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.send(&("POST".into(), "/api/v1/namespaces".into(), json(), None, namespace)).await;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let path = format!("/api/v1/namespaces/{name}/serviceaccounts");
        self.send(&("POST".into(), path, json(), None, account)).await;
    }

    /// Makes what an earlier family had left behind when a family was recorded.
    pub(crate) async fn set_the_scene(&self, family: &str) {
        if family == "validation" {
            // It was still ending.
            self.namespace("sample-ns").await;
            let path = "/api/v1/namespaces/sample-ns".to_owned();
            self.send(&("DELETE".to_owned(), path, None, None, Value::Null)).await;
        }
    }

    async fn place(&self, scenario: &Scenario) -> String {
        match scenario.ns.as_deref() {
            Some("shared") => {
                let make = || async {
                    self.namespace("ref-shared").await;
                    "ref-shared".to_owned()
                };
                self.shared.get_or_init(make).await.clone()
            }
            Some("own") => {
                let name = format!("ref-own-{}", self.count.fetch_add(1, Ordering::Relaxed));
                self.namespace(&name).await;
                name
            }
            _ => "default".to_owned(),
        }
    }

    /// Plays a scenario; a step that only prepares counts for nothing.
    pub(crate) async fn play(&self, scenario: &Scenario) -> Vec<Played> {
        let mut names = Names::from([("ns".to_owned(), self.place(scenario).await)]);
        let mut played = Vec::new();
        for (index, step) in scenario.steps.iter().enumerate() {
            let asked = filled(&step.asked, &names);
            let sent = match &asked.4 {
                Value::String(text) => format!("{}{text}", asked.1),
                other => format!("{}{other}", asked.1),
            };
            let got = self.send(&asked).await;
            self.established(&asked, &got).await;
            if step.keep != Value::Null && step.keep != Value::Bool(false) {
                keep(&got.body, &mut names);
            }
            let Some(want) = &step.want else { continue };
            let want = Answer { code: want.code, body: aged(&want.body), warnings: want.warn.clone() };
            let (level, why) = agreement(&want, &answer(&got, &sent, &names));
            let why: String = why.chars().take(400).collect();
            let why = format!("{}[{index}] {} {}: {why}", scenario.id, asked.0, asked.1);
            played.push(Played { level, resource: resource(&step.asked.1), why });
        }
        played
    }
}

/// Whether a line of a watch shows a definition whose kind is served.
fn is_established(line: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    let conditions = event["object"]["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Established" && one["status"] == "True")
}

fn filled(
    asked: &(String, String, Option<String>, Option<String>, Value),
    names: &Names,
) -> (String, String, Option<String>, Option<String>, Value) {
    let fill = |text: &str| {
        names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    let body = match &asked.4 {
        Value::Null => Value::Null,
        Value::String(text) => Value::String(fill(text)),
        other => serde_json::from_str(&fill(&other.to_string())).unwrap(),
    };
    (asked.0.clone(), fill(&asked.1), asked.2.clone(), asked.3.clone(), body)
}

fn keep(body: &Bytes, names: &mut Names) {
    let Ok(object) = serde_json::from_slice::<Value>(body) else { return };
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    names.insert("rv".to_owned(), text("resourceVersion"));
    names.insert("uid".to_owned(), text("uid"));
}

fn answer(got: &Got, sent: &str, names: &Names) -> Answer {
    let text = String::from_utf8_lossy(&got.body);
    let body = serde_json::from_str(&text).unwrap_or_else(|_| lines(&text));
    let warnings: Vec<&str> = got.warnings.iter().map(|one| one.trim_start_matches("299 - ")).collect();
    Answer { code: got.code, body: normal(&body, sent, names, ""), warnings: normal(&json!(warnings), sent, names, "") }
}

/// JSON with a space behind commas and colons: some messages show the beginning of a body as it was sent.
fn spaced(value: &Value) -> String {
    struct Spaced;
    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
            writer.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> std::io::Result<()> {
            writer.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> std::io::Result<()> {
            writer.write_all(b": ")
        }
    }
    let mut text = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Spaced)).unwrap();
    String::from_utf8(text).unwrap()
}

/// The lines of a watch, without the bookmarks that only time brings.
fn lines(text: &str) -> Value {
    let lines: Result<Vec<Value>, _> = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str).collect();
    match lines {
        Ok(lines) => {
            let counts = |line: &Value| line["type"] != "BOOKMARK" || line.to_string().contains("initial-events-end");
            lines.into_iter().filter(counts).collect()
        }
        Err(_) => Value::String(text.to_owned()),
    }
}
