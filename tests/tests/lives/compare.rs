//! Where two lives of a pod differ in what does not change from run to run.

use std::sync::LazyLock;

use kprov_tests::difference::first;
use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What is replaced in every text; texts of a container runtime are nobody's contract.
const PATTERNS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uid>"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"[a-z]+://[0-9a-f]{64}", "<id>"),
    (r"\b(sha256:)?[0-9a-f]{64}\b", "<id>"),
    (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-<r>"),
    (r"\.\.\d{4}(_\d\d){5}\.\d+", "..<time>"),
    (r"\(\d[\w.]*s? including waiting\)|in [\d.]+m?s\b", "<took>"),
    (r"Image size: \d+ bytes", "Image size: <n> bytes"),
    (
        r"(?s)(failed to create containerd task|failed to create shim task|OCI runtime|rpc error|failed to start containerd task|failed to exec in container|failed to pull and unpack|failed to generate container).*",
        "<runtime>",
    ),
    (r"(?s)Back-off pulling image.*", "Back-off pulling image <image>"),
    (r"(?s)Failed to pull image.*", "Failed to pull image <image>"),
];

/// Fields of a status that differ from machine to machine.
const DROPPED: &[&str] = &[
    "managedFields",
    "resourceVersion",
    "uid",
    "lastProbeTime",
    "imageID",
    "image",
    "allocatedResourcesStatus",
    "user",
    "volumeMounts",
    "hostIPs",
];

static REPLACED: LazyLock<Vec<(Regex, &str)>> =
    LazyLock::new(|| PATTERNS.iter().map(|(pattern, by)| (regex(pattern), *by)).collect());
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"\b\d{1,3}(\.\d{1,3}){3}\b"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// Replaces what is another in every run.
pub(crate) struct Tidy {
    namespace: String,
    node: Option<Regex>,
    pod: String,
}

impl Tidy {
    /// For the life of a pod; `node` is empty when it came to none.
    pub(crate) fn new(namespace: &str, node: &str, pod: &Value) -> Self {
        let node = (!node.is_empty()).then(|| regex(&format!(r"\b{}\b", regex::escape(node))));
        Self { namespace: namespace.to_owned(), node, pod: pod.to_string() }
    }

    /// The text without ids, times, names of the run, and addresses that a cluster gave out.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = text.replace(&self.namespace, "{ns}");
        if let Some(node) = &self.node {
            text = node.replace_all(&text, "<node>").into_owned();
        }
        for (pattern, by) in REPLACED.iter() {
            text = pattern.replace_all(&text, *by).into_owned();
        }
        ADDRESS.replace_all(&text, |found: &Captures<'_>| self.address(&found[0])).into_owned()
    }

    /// Loopback addresses and those that the pod itself names stay, unless the recording hides them.
    fn address(&self, address: &str) -> String {
        let stays = address.starts_with("127.") || (!address.starts_with("10.") && self.pod.contains(address));
        if stays { address.to_owned() } else { "<ip>".to_owned() }
    }

    fn texts(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(list) => list.iter().map(|one| self.texts(one)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.texts(value))).collect(),
            other => other.clone(),
        }
    }

    fn status(&self, status: &Value) -> Value {
        let mut status = without(&self.texts(status));
        if let Some(status) = status.as_object_mut() {
            status.retain(|field, _| !["observedGeneration", "resources"].contains(&field.as_str()));
            if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
                conditions.sort_by_key(|condition| condition["type"].to_string());
            }
        }
        status
    }
}

fn without(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !DROPPED.contains(&key.as_str()));
            Value::Object(kept.map(|(key, value)| (key.clone(), without(value))).collect::<Map<_, _>>())
        }
        Value::Array(list) => list.iter().map(without).collect(),
        other => other.clone(),
    }
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"].into_iter();
    lists.filter_map(|list| pod["status"][list].as_array()).flatten()
}

/// The container's states by name: one, as a rule.
fn state(container: &Value) -> impl Iterator<Item = (&String, &Value)> {
    container["state"].as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The pod's phase, its containers' states, its conditions.
pub(crate) fn states(pod: &Value) -> Vec<[String; 3]> {
    let status = &pod["status"];
    let mut states = vec![["phase", text(&status["phase"]), text(&status["reason"])].map(str::to_owned)];
    for container in statuses(pod) {
        for (name, state) in state(container) {
            let code = state.get("exitCode").map(|code| format!(" {code}")).unwrap_or_default();
            let reason = format!("{}{code}", text(&state["reason"]));
            states.push([text(&container["name"]).to_owned(), name.clone(), reason]);
        }
    }
    for condition in status["conditions"].as_array().into_iter().flatten() {
        let found = format!("{} {}", text(&condition["status"]), text(&condition["reason"]));
        states.push(["condition".to_owned(), text(&condition["type"]).to_owned(), found]);
    }
    states
}

/// Whether a pod is in the state that a life waits for; there is none when it is gone.
pub(crate) fn holds(expression: &str, pod: Option<&Value>) -> bool {
    let Some(pod) = pod else { return expression == "gone" };
    if let Some(least) = expression.strip_prefix("restarts=") {
        let least: u64 = least.parse().unwrap();
        return statuses(pod).any(|container| container["restartCount"].as_u64() >= Some(least));
    }
    match expression {
        "gone" => false,
        "Pending" | "Running" | "Succeeded" | "Failed" => pod["status"]["phase"] == expression,
        "Ready" | "NotReady" => {
            let wanted = if expression == "Ready" { "True" } else { "False" };
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == wanted)
        }
        reason => statuses(pod).flat_map(state).any(|(name, state)| state["reason"] == reason || name == reason),
    }
}

/// Where `got` differs from `want`: of a life whose end is in motion, only the states and events count.
pub(crate) fn differences(tidy: &Tidy, want: &Value, got: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let loose = want["loose"].as_bool().unwrap_or_default();
    let parts: &[&str] = if loose { &["refused"] } else { &["refused", "late", "last", "logs"] };
    for part in parts {
        let compared = |life: &Value| if *part == "last" { tidy.status(&life[part]) } else { tidy.texts(&life[part]) };
        let (want, got) = (compared(want), compared(got));
        if want != got {
            found.push(first(&want, &got, part));
        }
    }
    let list = |life: &Value, part: &str| tidy.texts(&life[part]).as_array().cloned().unwrap_or_default();
    let missing = |part: &str, from: &Value, to: &Value| -> Vec<Value> {
        let there = list(to, part);
        list(from, part).into_iter().filter(|one| !there.contains(one)).collect()
    };
    found.extend(missing("saw", want, got).iter().map(|state| format!("never saw {state}")));
    found.extend(missing("events", want, got).iter().map(|event| format!("no event {event}")));
    found.extend(missing("events", got, want).iter().map(|event| format!("odd event {event}")));
    found
}
