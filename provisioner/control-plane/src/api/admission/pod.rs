//! What a pod gets from the cluster: priority and tolerations.

use std::sync::Arc;

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kprov_schema::{Object, Status};
use serde_json::{Value, json};

use super::Intent;
use crate::api::errors;

/// Seconds that a pod stays on a node that is not ready or can't be reached.
const TOLERATION_SECONDS: i64 = 300;

/// The priority class of pods that name none: of several the one of the lowest value.
pub(super) fn default_priority(intent: &Intent<'_>) -> Result<Option<Arc<Object>>, Status> {
    let all = intent.core.all::<PriorityClass>()?;
    let defaults = all.iter().filter(|one| is_default(&one.object));
    Ok(defaults.min_by_key(|one| class_of(&one.object).value).map(|one| one.object.clone()))
}

/// Whether a priority class is that of pods that name none.
pub(super) fn is_default(class: &Object) -> bool {
    class.at(&["globalDefault"]) == Some(&Value::Bool(true))
}

pub(super) fn forbidden(intent: &Intent<'_>, pod: &Object, message: &str) -> Status {
    // Who has no name of its own yet goes by what it is to be generated from.
    let base = pod.text(&["metadata", "generateName"]).filter(|base| !base.is_empty()).unwrap_or("Unknown");
    let name = if pod.name().is_empty() { base } else { pod.name() };
    errors::forbidden(&intent.target.kind.resource, name, message)
}

struct Class {
    name: String,
    value: i64,
    policy: String,
}

fn class_of(object: &Object) -> Class {
    Class {
        name: object.name().to_owned(),
        value: object.at(&["value"]).and_then(Value::as_i64).unwrap_or_default(),
        policy: object.text(&["preemptionPolicy"]).unwrap_or("PreemptLowerPriority").to_owned(),
    }
}

/// The class that a pod names, or the cluster's default one.
fn class(intent: &Intent<'_>, pod: &Object) -> Result<Option<Class>, Status> {
    let name = pod.text(&["spec", "priorityClassName"]).unwrap_or_default();
    if name.is_empty() {
        return Ok(default_priority(intent)?.map(|found| class_of(&found)));
    }
    match intent.core.get::<PriorityClass>("", name) {
        Some(found) => Ok(Some(class_of(&found.object))),
        None => Err(forbidden(intent, pod, &format!("no PriorityClass with name {name} was found"))),
    }
}

pub(super) fn priority(intent: &Intent<'_>, pod: &mut Object) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    let class = class(intent, pod)?;
    let value = class.as_ref().map_or(0, |class| class.value);
    let given = pod.at(&["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != value) {
        let message = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        );
        return Err(forbidden(intent, pod, &message));
    }
    let policy = class.as_ref().map_or("PreemptLowerPriority", |class| class.policy.as_str());
    let wanted = pod.text(&["spec", "preemptionPolicy"]).unwrap_or_default();
    if !wanted.is_empty() && wanted != policy {
        let message = format!(
            "the string value of PreemptionPolicy ({wanted}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        );
        return Err(forbidden(intent, pod, &message));
    }
    pod.set(&["spec", "priority"], value.into());
    pod.set(&["spec", "preemptionPolicy"], policy.into());
    if let Some(class) = class {
        pod.set(&["spec", "priorityClassName"], class.name.into());
    }
    Ok(())
}

pub(super) fn tolerations(_: &Intent<'_>, pod: &mut Object) -> Result<(), Status> {
    let mut tolerations = pod.at(&["spec", "tolerations"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let before = tolerations.len();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerates = |one: &Value| {
            let text = |field: &str| one[field].as_str().unwrap_or_default();
            [key, ""].contains(&text("key")) && ["NoExecute", ""].contains(&text("effect"))
        };
        if !tolerations.iter().any(tolerates) {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    if tolerations.len() > before {
        pod.set(&["spec", "tolerations"], tolerations.into());
    }
    Ok(())
}
