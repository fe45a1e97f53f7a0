//! When what is no controller of pods is ready.

use kprov_schema::Object;
use serde_json::Value;

use super::{Failed, Readiness, Ready, condition, count, number, waiting};

fn has_address(object: &Object) -> bool {
    let given = object.at(&["status", "loadBalancer", "ingress"]).and_then(Value::as_array);
    given.is_some_and(|all| !all.is_empty())
}

pub(super) fn service(object: &Object) -> Readiness {
    let kind = object.text(&["spec", "type"]).unwrap_or("ClusterIP");
    let inside = object.text(&["spec", "clusterIP"]).unwrap_or_default();
    match kind {
        "ExternalName" => Ready,
        _ if inside.is_empty() => waiting("it has no cluster IP yet"),
        "LoadBalancer" if !has_address(object) => waiting("no load balancer has given it an address yet"),
        _ => Ready,
    }
}

pub(super) fn ingress(object: &Object) -> Readiness {
    if has_address(object) {
        return Ready;
    }
    match object.text(&["spec", "ingressClassName"]) {
        Some(class) => waiting(format!("no ingress controller of class {class} has given it an address yet")),
        None => waiting("no ingress controller has given it an address yet"),
    }
}

pub(super) fn claim(object: &Object) -> Readiness {
    match object.text(&["status", "phase"]).unwrap_or_default() {
        "Bound" => Ready,
        "Lost" => Failed("its volume is lost".to_owned()),
        _ => match object.text(&["spec", "storageClassName"]).filter(|class| !class.is_empty()) {
            Some(class) => waiting(format!("no volume of class {class} is bound to it yet")),
            None => waiting("no volume is bound to it yet"),
        },
    }
}

pub(super) fn volume(object: &Object) -> Readiness {
    match object.text(&["status", "phase"]).unwrap_or_default() {
        "Available" | "Bound" => Ready,
        "Failed" => Failed(object.text(&["status", "message"]).unwrap_or("it failed").to_owned()),
        phase => waiting(format!("it is {}", if phase.is_empty() { "Pending" } else { phase })),
    }
}

pub(super) fn namespace(object: &Object) -> Readiness {
    match object.text(&["status", "phase"]).unwrap_or("Active") {
        "Active" => Ready,
        phase => waiting(format!("it is {phase}")),
    }
}

pub(super) fn definition(object: &Object) -> Readiness {
    if let Some((_, said)) = condition(object, "NamesAccepted").filter(|(status, _)| *status == "False") {
        return Failed(format!("its names are taken: {said}"));
    }
    match condition(object, "Established") {
        Some(("True", _)) => Ready,
        Some((_, said)) => waiting(format!("its kind is not served yet: {said}")),
        None => waiting("its kind is not served yet"),
    }
}

pub(super) fn disruption_budget(object: &Object) -> Readiness {
    if number(object, &["status", "observedGeneration"]).is_none() {
        return waiting("its controller has not seen it yet");
    }
    let (healthy, wanted) = (count(object, "currentHealthy"), count(object, "desiredHealthy"));
    if healthy >= wanted {
        Ready
    } else {
        waiting(format!("{healthy} of the {wanted} pods that it demands are healthy"))
    }
}

pub(super) fn autoscaler(object: &Object) -> Readiness {
    let no = |kind| condition(object, kind).filter(|(status, _)| *status == "False").map(|(_, said)| said);
    // Scaling is off on purpose when no pods are wanted.
    let off = super::conditions(object).any(|one| one["type"] == "ScalingActive" && one["reason"] == "ScalingDisabled");
    match no("AbleToScale").or(no("ScalingActive").filter(|_| !off)) {
        Some(said) => waiting(said),
        None if condition(object, "AbleToScale").is_none() => waiting("its controller has not seen it yet"),
        None => Ready,
    }
}

pub(super) fn api_service(object: &Object) -> Readiness {
    match condition(object, "Available") {
        Some(("True", _)) => Ready,
        Some((_, said)) => waiting(said),
        None => waiting("nobody has looked for the server behind it yet"),
    }
}

/// Kinds without a rule of their own, custom ones too, by the conditions that most of them have.
pub(super) fn generic(object: &Object) -> Readiness {
    if let Some((_, said)) = condition(object, "Stalled").filter(|(status, _)| *status == "True") {
        return Failed(said.to_owned());
    }
    let reconciling = condition(object, "Reconciling").filter(|(status, _)| *status == "True");
    match reconciling.or(condition(object, "Ready").filter(|(status, _)| *status != "True")) {
        Some((_, said)) => waiting(said),
        None => Ready,
    }
}
