//! Runtime classes: a pod that names one gets what it takes and where it runs from it.
//!
//! Source: `plugin/pkg/admission/runtimeclass`, `pkg/util/tolerations`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::node::v1::RuntimeClass;
use kprov_schema::quantity::Quantity;
use kprov_schema::{Object, Status};
use serde_json::{Map, Value};

use super::Intent;
use super::pod::forbidden;

/// What running the pod itself takes, in the class.
const FIXED: &[&str] = &["overhead", "podFixed"];

/// The class that a new pod names.
fn class(intent: &Intent<'_>, pod: &Object) -> Result<Option<Arc<Object>>, Status> {
    let named = pod.text(&["spec", "runtimeClassName"]).filter(|name| intent.old.is_none() && !name.is_empty());
    let Some(name) = named else { return Ok(None) };
    match intent.core.get::<RuntimeClass>("", name) {
        Some(found) => Ok(Some(found.object.clone())),
        None => Err(forbidden(intent, pod, &format!("pod rejected: RuntimeClass \"{name}\" not found"))),
    }
}

/// Gives a new pod the overhead, the node selector and the tolerations of its class.
pub(super) fn fill(intent: &Intent<'_>, pod: &mut Object) -> Result<(), Status> {
    let Some(class) = class(intent, pod)? else { return Ok(()) };
    if class.at(&["overhead"]).is_some_and(Value::is_object) {
        let fixed = class.at(FIXED);
        if !amounts(overhead(pod)).is_empty() && amounts(overhead(pod)) != amounts(fixed) {
            return Err(mismatch(intent, pod));
        }
        if let Some(fixed) = fixed {
            pod.set(&["spec", "overhead"], fixed.clone());
        }
    }
    if let Some(selector) = class.at(&["scheduling", "nodeSelector"]).and_then(Value::as_object) {
        let merged = select(pod, selector).map_err(|why| forbidden(intent, pod, &why))?;
        pod.set(&["spec", "nodeSelector"], merged.into());
    }
    if class.at(&["scheduling"]).is_some_and(Value::is_object) {
        let own = list(pod.at(&["spec", "tolerations"]));
        let merged = merge(own.iter().chain(list(class.at(&["scheduling", "tolerations"]))).collect());
        if !merged.is_empty() {
            pod.set(&["spec", "tolerations"], merged.into());
        }
    }
    Ok(())
}

/// Whether a new pod's overhead is that of its class.
pub(super) fn matches(intent: &Intent<'_>, pod: &Object, _: &mut Vec<String>) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    match class(intent, pod)?.filter(|class| class.at(&["overhead"]).is_some_and(Value::is_object)) {
        Some(class) if amounts(class.at(FIXED)) != amounts(overhead(pod)) => Err(mismatch(intent, pod)),
        None if overhead(pod).is_some() => {
            let why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            Err(forbidden(intent, pod, why))
        }
        _ => Ok(()),
    }
}

fn mismatch(intent: &Intent<'_>, pod: &Object) -> Status {
    forbidden(intent, pod, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
}

fn overhead(pod: &Object) -> Option<&Value> {
    pod.at(&["spec", "overhead"]).filter(|overhead| overhead.is_object())
}

/// Amounts by name, however they are written.
fn amounts(value: Option<&Value>) -> BTreeMap<&str, Option<Quantity>> {
    let all = value.and_then(Value::as_object).into_iter().flatten();
    all.map(|(name, amount)| (name.as_str(), amount.as_str().and_then(|text| text.parse().ok()))).collect()
}

/// The pod's node selector with that of its class; what both name must be the same.
fn select(pod: &Object, class: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut merged = pod.at(&["spec", "nodeSelector"]).and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in class {
        let own = merged.insert(key.clone(), value.clone());
        if let Some(own) = own.filter(|own| own != value) {
            let shown = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                shown(value),
                shown(&own),
            ));
        }
    }
    Ok(merged)
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Tolerations without those that another one covers; of equal ones the first stays.
fn merge(all: Vec<&Value>) -> Vec<Value> {
    let mut merged: Vec<&Value> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let before = merged.iter().any(|kept| covers(kept, one));
        let after = all[index + 1..].iter().any(|later| later != one && covers(later, one));
        if !before && !after {
            merged.push(one);
        }
    }
    merged.into_iter().cloned().collect()
}

/// Whether a toleration tolerates all that another one does.
fn covers(wide: &Value, narrow: &Value) -> bool {
    fn text<'a>(toleration: &'a Value, field: &str) -> &'a str {
        toleration[field].as_str().unwrap_or_default()
    }
    let operator = |toleration| match text(toleration, "operator") {
        "" => "Equal",
        other => other,
    };
    let seconds = |toleration: &Value| toleration["tolerationSeconds"].as_i64();
    let any_key = text(wide, "key").is_empty() && operator(wide) == "Exists";
    if wide == narrow {
        return true;
    }
    if text(wide, "key") != text(narrow, "key") && !any_key {
        return false;
    }
    if !text(wide, "effect").is_empty() && text(wide, "effect") != text(narrow, "effect") {
        return false;
    }
    if let Some(most) = seconds(wide).filter(|_| text(wide, "effect") == "NoExecute")
        && seconds(narrow).is_none_or(|seconds| seconds > most)
    {
        return false;
    }
    match operator(wide) {
        "Exists" => true,
        // Upstream takes an operator that was left out for another one here.
        "Equal" => text(narrow, "operator") == "Equal" && text(wide, "value") == text(narrow, "value"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_another_toleration_covers_goes() {
        let key = |operator: &str, value: &str| json!({"key": "k", "operator": operator, "value": value});
        let exists = json!({"key": "k", "operator": "Exists"});
        let all = json!({"operator": "Exists"});
        let brief = json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        for (given, kept) in [
            (vec![key("Equal", "a"), key("Equal", "a")], vec![key("Equal", "a")]),
            (vec![key("Equal", "a"), key("Equal", "b")], vec![key("Equal", "a"), key("Equal", "b")]),
            (vec![key("Equal", "a"), exists.clone()], vec![exists.clone()]),
            (vec![exists.clone(), key("Equal", "a")], vec![exists.clone()]),
            (vec![brief.clone(), long.clone()], vec![long.clone()]),
            (vec![brief, exists.clone(), long, all.clone()], vec![all]),
        ] {
            assert_eq!(merge(given.iter().collect()), kept);
        }
    }
}
