//! Recorded stories of controllers and scheduler, replayed in process.
//!
//! A story puts objects in; when all is quiet the whole namespace is compared with what a real cluster held then.

mod cluster;
mod loss;
mod tidy;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use cluster::Cluster;
use kprov_schema::KINDS;
use serde_json::{Map, Value, json};
use tidy::{sort, tidy};

/// Comparisons that agreed when this was last committed, a family. Fewer is a failure.
const FLOORS: &[(&str, usize)] = &[
    ("cronjob", 4),
    ("daemonset", 60),
    ("deployment", 176),
    ("endpoints", 114),
    ("gc", 3),
    ("hpa", 16),
    ("job", 90),
    ("namespace", 8),
    ("node", 18),
    ("pdb", 20),
    ("quota", 34),
    ("replicaset", 34),
    ("replicationcontroller", 10),
    ("schedule", 123),
    ("serviceaccount", 9),
    ("statefulset", 101),
    ("volume", 55),
];

/// Kinds that are compared.
const COMPARED: &[&str] = &[
    "api/v1/pods",
    "api/v1/services",
    "api/v1/endpoints",
    "api/v1/configmaps",
    "api/v1/serviceaccounts",
    "api/v1/persistentvolumeclaims",
    "api/v1/resourcequotas",
    "api/v1/replicationcontrollers",
    "api/v1/secrets",
    "apis/apps/v1/deployments",
    "apis/apps/v1/replicasets",
    "apis/apps/v1/statefulsets",
    "apis/apps/v1/daemonsets",
    "apis/apps/v1/controllerrevisions",
    "apis/batch/v1/jobs",
    "apis/batch/v1/cronjobs",
    "apis/discovery.k8s.io/v1/endpointslices",
    "apis/policy/v1/poddisruptionbudgets",
    "apis/autoscaling/v2/horizontalpodautoscalers",
];

/// Quiet for so long means settled; after the other one the story goes on anyway.
const QUIET: Duration = Duration::from_millis(2000);
const PATIENCE: Duration = Duration::from_secs(45);

/// Objects of a namespace by kind, as they are at one moment.
type Objects = BTreeMap<String, Vec<Value>>;

#[derive(Default)]
struct Tally {
    agreed: usize,
    differed: usize,
    skipped: usize,
}

#[tokio::test]
async fn stories_end_as_recorded() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for (number, story) in stories().iter().enumerate() {
        let id = story["id"].as_str().unwrap();
        let tally = tallies.entry(story["family"].as_str().unwrap().to_owned()).or_default();
        if !id.contains(&only) || !is_served(story) {
            tally.skipped += 1;
            continue;
        }
        // Each story has its own cluster, so that one that goes wrong spoils no other.
        let mut cluster = Cluster::start().await;
        let results = play(&mut cluster, story, &format!("w{number:05x}")).await;
        let wrong: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        tally.agreed += results.len() - wrong.len();
        tally.differed += wrong.len();
        for one in wrong {
            println!("{id}: {one}");
        }
    }
    for (family, tally) in &tallies {
        let total = tally.agreed + tally.differed;
        println!("{family:<22}{} of {total} comparisons agree, {} stories skipped", tally.agreed, tally.skipped);
    }
    if only.is_empty() {
        for (family, floor) in FLOORS {
            let agreed = tallies.get(*family).map_or(0, |tally| tally.agreed);
            assert!(agreed >= *floor, "{family}: {agreed} comparisons agree, {floor} did before");
        }
    }
}

fn stories() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/world.jsonl.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether every kind that a story makes is in the table.
fn is_served(story: &Value) -> bool {
    let served: BTreeSet<&str> = KINDS.iter().map(|kind| &*kind.resource.plural).collect();
    let posts = story["steps"].as_array().unwrap().iter().filter(|step| step["do"][0] == "POST");
    posts
        .into_iter()
        .all(|step| step["do"][1].as_str().unwrap().rsplit('/').next().is_some_and(|plural| served.contains(plural)))
}

fn filled(value: &Value, namespace: &str) -> Value {
    serde_json::from_str(&value.to_string().replace("{ns}", namespace)).unwrap()
}

async fn play(cluster: &mut Cluster, story: &Value, namespace: &str) -> Vec<Result<(), String>> {
    let object =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": {"story": "x"}}});
    cluster.send("POST", "/api/v1/namespaces", None, Some(&object)).await;
    cluster.idle().await;
    let mut results = Vec::new();
    for (at, step) in story["steps"].as_array().unwrap().iter().enumerate() {
        if step.get("do").is_some() {
            results.push(call(cluster, at, step, namespace).await);
        } else if let Some(kubelet) = step.get("kubelet") {
            cluster.kubelet(namespace, kubelet).await;
        } else if let Some(node) = step.get("node") {
            cluster.node(node).await;
        } else if let Some(seconds) = step["sleep"].as_f64() {
            cluster.pass(Duration::from_secs_f64(seconds)).await;
        } else if let Some(want) = step.get("want") {
            let got = settle(cluster, namespace).await;
            results.extend(compare(at, want, got));
        }
    }
    results.push(leave(cluster, namespace).await);
    results
}

async fn call(cluster: &mut Cluster, at: usize, step: &Value, namespace: &str) -> Result<(), String> {
    let action = filled(&step["do"], namespace);
    let (method, path) = (action[0].as_str().unwrap(), action[1].as_str().unwrap());
    let body = (!action[3].is_null()).then(|| &action[3]);
    let (code, answer) = cluster.send(method, path, action[2].as_str(), body).await;
    cluster.idle().await;
    if step["code"].as_u64().is_none_or(|wanted| wanted == u64::from(code)) {
        return Ok(());
    }
    Err(format!("step {at}: {method} {path}: code {code}, want {}: {}", step["code"], answer["message"]))
}

/// Everything is gone in the end, the namespace too.
async fn leave(cluster: &mut Cluster, namespace: &str) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{namespace}");
    cluster.send("DELETE", &path, None, None).await;
    for _ in 0..20 {
        cluster.idle().await;
        cluster.reap(namespace).await;
        let Some(left) = cluster.get(&path).await else {
            cluster.remove_nodes().await;
            return Ok(());
        };
        cluster.pass(Duration::from_secs(1)).await;
        if left["metadata"]["deletionTimestamp"].is_null() {
            break;
        }
    }
    Err(format!("the namespace stays: {}", cluster.get(&path).await.unwrap_or_default()))
}

async fn snapshot(cluster: &Cluster, namespace: &str) -> Objects {
    let mut objects = Objects::new();
    for kind in COMPARED {
        let (api, plural) = kind.rsplit_once('/').unwrap();
        for object in cluster.items(&format!("/{api}/namespaces/{namespace}/{plural}")).await {
            let usual = matches!(object["metadata"]["name"].as_str(), Some("kube-root-ca.crt" | "default"));
            if !(usual && matches!(plural, "configmaps" | "serviceaccounts")) {
                objects.entry(plural.to_owned()).or_default().push(object);
            }
        }
    }
    if let Some(object) = cluster.get(&format!("/api/v1/namespaces/{namespace}")).await
        && !object["metadata"]["deletionTimestamp"].is_null()
    {
        objects.insert("namespace".into(), vec![object]);
    }
    objects
}

fn versions(objects: &Objects) -> Vec<String> {
    objects.values().flatten().map(|one| one["metadata"]["resourceVersion"].to_string()).collect()
}

/// Waits until nothing changes any more; then everything, tidied.
async fn settle(cluster: &mut Cluster, namespace: &str) -> Map<String, Value> {
    let (mut last, mut quiet, mut waited) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    let step = Duration::from_millis(250);
    let objects = loop {
        let reaped = cluster.reap(namespace).await;
        let objects = snapshot(cluster, namespace).await;
        let now = versions(&objects);
        if reaped || now != last {
            quiet = Duration::ZERO;
            last = now;
        }
        if quiet > QUIET || waited > PATIENCE {
            break objects;
        }
        cluster.pass(step).await;
        quiet += step;
        waited += step;
    };
    let mut out = Map::new();
    for (plural, list) in objects {
        let mut list: Vec<Value> = list.iter().map(|one| tidy(one, namespace)).collect();
        if plural == "pods" {
            list.iter_mut().for_each(keep_status);
        }
        sort(&mut list);
        out.insert(plural, Value::Array(list));
    }
    out.insert("events".into(), events(cluster, namespace).await);
    out
}

fn keep_status(pod: &mut Value) {
    let kept = ["phase", "conditions", "nominatedNodeName", "reason", "observedGeneration"];
    let status = pod["status"].as_object().cloned().unwrap_or_default();
    pod["status"] = Value::Object(status.into_iter().filter(|(key, _)| kept.contains(&key.as_str())).collect());
}

async fn events(cluster: &Cluster, namespace: &str) -> Value {
    let mut events: Vec<Value> = Vec::new();
    for event in cluster.items(&format!("/api/v1/namespaces/{namespace}/events")).await {
        let about = &event["involvedObject"];
        let event = json!([about["kind"], about["name"], event["type"], event["reason"], event["message"]]);
        let event = tidy(&event, namespace);
        if !events.contains(&event) {
            events.push(event);
        }
    }
    sort(&mut events);
    Value::Array(events)
}

fn compare(at: usize, want: &Value, got: Map<String, Value>) -> Vec<Result<(), String>> {
    let want = want.as_object().unwrap();
    let kinds: BTreeSet<&String> = want.keys().chain(got.keys()).collect();
    let list = |all: &Map<String, Value>, kind: &str| {
        let mut list = all.get(kind).and_then(Value::as_array).cloned().unwrap_or_default();
        list.iter_mut().for_each(|one| *one = tidy(one, "\u{0}"));
        sort(&mut list);
        list
    };
    kinds
        .into_iter()
        .map(|kind| {
            let (wanted, had) = (list(want, kind), list(&got, kind));
            if wanted == had { Ok(()) } else { Err(format!("step {at}: {kind}: {}", difference(&wanted, &had))) }
        })
        .collect()
}

/// What is on one side only; of objects the first path that differs.
fn difference(want: &[Value], got: &[Value]) -> String {
    let missing: Vec<&Value> = want.iter().filter(|one| !got.contains(one)).collect();
    let extra: Vec<&Value> = got.iter().filter(|one| !want.contains(one)).collect();
    match (missing.first(), extra.first()) {
        (Some(want), Some(got)) if want.is_object() => {
            let mut paths = Vec::new();
            differing(want, got, "", &mut paths);
            format!("{} missing, {} extra; {}", missing.len(), extra.len(), paths.join("; "))
        }
        _ => format!("missing {}, extra {}", json!(missing), json!(extra)),
    }
}

fn differing(want: &Value, got: &Value, path: &str, paths: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            for key in want.keys().chain(got.keys().filter(|key| !want.contains_key(*key))) {
                let (a, b) = (want.get(key).unwrap_or(&Value::Null), got.get(key).unwrap_or(&Value::Null));
                if want.get(key) != got.get(key) {
                    differing(a, b, &format!("{path}.{key}"), paths);
                }
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() == got.len() => {
            for (at, (a, b)) in want.iter().zip(got).enumerate().filter(|(_, (a, b))| a != b) {
                differing(a, b, &format!("{path}[{at}]"), paths);
            }
        }
        _ => paths.push(format!("{path}: want {want} got {got}")),
    }
}
