//! Takes out of answers what differs from run to run.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::{Map, Value};

const DROPPED: &[&str] = &["managedFields", "resourceVersion", "uid", "creationTimestamp", "resourceHealth"];
const UNORDERED: &[&str] =
    &["conditions", "addresses", "endpoints", "subsets", "ownerReferences", "taints", "active", "notReadyAddresses"];
const OPAQUE: &[&str] = &[
    "pod-template-hash",
    "controller-revision-hash",
    "batch.kubernetes.io/cronjob-scheduled-timestamp",
    "ca.crt",
    "token",
];

static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uid>"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"\b10\.96\.\d+\.\d+\b", "<ip>"),
        (r"\b10\.240\.\d+\.\d+", "<podip>"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-<r>"),
        (r"(?s)-----BEGIN CERTIFICATE-----.*", "<certificate>"),
        (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "<jwt>"),
        (r"-[bcdfghjklmnpqrstvwxz2456789]{6,10}\b", "-<hash>"),
        (r"-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "-<r>"),
    ]
    .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
    .into()
});

/// A value with what is random replaced, and lists without an order in one.
pub(super) fn tidy(value: &Value, namespace: &str) -> Value {
    at(value, namespace, "")
}

fn at(value: &Value, namespace: &str, key: &str) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !DROPPED.contains(&key.as_str()));
            Value::Object(
                kept.map(|(key, value)| (text(key, namespace, ""), at(value, namespace, key))).collect::<Map<_, _>>(),
            )
        }
        Value::Array(list) => {
            let mut list: Vec<Value> = list.iter().map(|one| at(one, namespace, key)).collect();
            if UNORDERED.contains(&key) {
                sort(&mut list);
            }
            Value::Array(list)
        }
        Value::Number(_) if matches!(key, "nodePort" | "healthCheckNodePort") => "<port>".into(),
        Value::String(one) => text(one, namespace, key).into(),
        other => other.clone(),
    }
}

pub(super) fn sort(list: &mut [Value]) {
    list.sort_by_cached_key(Value::to_string);
}

fn text(text: &str, namespace: &str, key: &str) -> String {
    if OPAQUE.contains(&key) {
        return format!("<{key}>");
    }
    let mut text = text.replace(namespace, "{ns}").replace(&STANDARD.encode(namespace), "{ns, base64}");
    for (pattern, with) in PATTERNS.iter() {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}
