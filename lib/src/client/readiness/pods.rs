//! When a pod is ready, and what keeps it in its own words.

use kprov_schema::Object;
use serde_json::Value;

use super::{Failed, Readiness, Ready, condition, conditions, waiting};

/// What keeps a pod, weakest first: of several pods the strongest reason is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    /// It is on its way.
    Starting,
    /// It runs, and its probe says no.
    NotReady,
    /// A container ended and starts again.
    Ended,
    /// No node takes it.
    Unschedulable,
    /// It ended as a whole.
    Failed,
    /// A container can't start.
    Container,
}

pub(super) fn pod(object: &Object) -> Readiness {
    let phase = object.text(&["status", "phase"]).unwrap_or_default();
    let ready = condition(object, "Ready").is_some_and(|(status, _)| status == "True");
    match phase {
        "Succeeded" => Ready,
        "Failed" => Failed(pod_trouble(object).unwrap_or_else(|| "it failed".to_owned())),
        "Running" if ready => Ready,
        _ => waiting(pod_trouble(object).unwrap_or_else(|| "it is starting".to_owned())),
    }
}

/// What keeps a pod, in its own words: `ErrImagePull: ...`, `0/2 nodes are available: ...`. `None` when it is fine.
///
/// ```
/// use kprov::client::pod_trouble;
/// use kprov::schema::Object;
/// use serde_json::json;
///
/// let waiting = json!({"waiting": {"reason": "ErrImagePull", "message": "no such image"}});
/// let pod = json!({"kind": "Pod", "status": {"containerStatuses": [{"name": "web", "state": waiting}]}});
/// let pod = Object::try_from(pod).unwrap();
/// assert_eq!(pod_trouble(&pod).as_deref(), Some("ErrImagePull: no such image"));
/// ```
#[must_use]
pub fn pod_trouble(pod: &Object) -> Option<String> {
    trouble_of(pod).map(|(_, said)| said)
}

/// The strongest trouble of a pod.
pub(crate) fn trouble_of(pod: &Object) -> Option<(Trouble, String)> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let containers: Vec<&Value> =
        statuses.iter().filter_map(|field| pod.at(&["status", field])?.as_array()).flatten().collect();
    let several = containers.len() > 1;
    let of_containers = containers.into_iter().filter_map(|status| container(status, several));
    // Of equal troubles the first container's is told.
    let of_containers = of_containers.rev().max_by_key(|(trouble, _)| *trouble);
    [of_containers, whole(pod)].into_iter().flatten().max_by_key(|(trouble, _)| *trouble)
}

/// What the pod as a whole says.
fn whole(pod: &Object) -> Option<(Trouble, String)> {
    let text = |path: &[&str]| pod.text(path).filter(|text| !text.is_empty());
    if text(&["status", "phase"]) == Some("Failed") {
        let reason = text(&["status", "reason"]);
        let said = match (reason, text(&["status", "message"])) {
            (Some(reason), Some(message)) => format!("{reason}: {message}"),
            (reason, message) => reason.or(message)?.to_owned(),
        };
        return Some((Trouble::Failed, said));
    }
    let unscheduled = conditions(pod).find(|one| one["type"] == "PodScheduled" && one["status"] == "False");
    let said = unscheduled.and_then(|one| one["message"].as_str().or(one["reason"].as_str()));
    if let Some(said) = said {
        return Some((Trouble::Unschedulable, said.to_owned()));
    }
    let not_ready = conditions(pod).find(|one| one["type"] == "Ready" && one["status"] == "False")?;
    let said = not_ready["message"].as_str().or(not_ready["reason"].as_str())?;
    // Work that is done is not ready any more, and fine.
    (not_ready["reason"] != "PodCompleted").then(|| (Trouble::Starting, said.to_owned()))
}

/// What one container says.
fn container(status: &Value, several: bool) -> Option<(Trouble, String)> {
    let name = status["name"].as_str().unwrap_or_default();
    let prefix = if several { format!("container {name}: ") } else { String::new() };
    let state = &status["state"];
    let (trouble, said) = if let Some(waiting) = state.get("waiting").filter(|waiting| waiting.is_object()) {
        waits(waiting, &status["lastState"]["terminated"])
    } else if let Some(ended) = state.get("terminated").filter(|ended| ended["exitCode"] != 0) {
        (Trouble::Ended, end(ended))
    } else if state.get("running").is_some() && status["ready"] == false {
        (Trouble::NotReady, format!("container {name} runs and is not ready yet"))
    } else {
        return None;
    };
    let doubled = trouble == Trouble::NotReady;
    Some((trouble, if doubled { said } else { format!("{prefix}{said}") }))
}

/// Reasons of a container that waits for what will come by itself.
const ON_ITS_WAY: &[&str] = &["ContainerCreating", "PodInitializing"];

fn waits(waiting: &Value, last: &Value) -> (Trouble, String) {
    let reason = waiting["reason"].as_str().unwrap_or("Waiting");
    let mut said = match waiting["message"].as_str().filter(|text| !text.is_empty()) {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    };
    if last.is_object() {
        said = format!("{said} (last time: {})", end(last));
    }
    (if ON_ITS_WAY.contains(&reason) { Trouble::Starting } else { Trouble::Container }, said)
}

fn end(ended: &Value) -> String {
    let reason = ended["reason"].as_str().unwrap_or("Error");
    match ended["message"].as_str().filter(|text| !text.is_empty()) {
        Some(message) => format!("{reason}, exit code {}: {}", ended["exitCode"], message.trim()),
        None => format!("{reason}, exit code {}", ended["exitCode"]),
    }
}
