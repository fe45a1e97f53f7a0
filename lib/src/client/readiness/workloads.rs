//! When controllers of pods are ready.

use kprov_schema::Object;

use super::{Failed, Readiness, Ready, condition, conditions, count, number, waiting};

fn wanted(object: &Object) -> i64 {
    number(object, &["spec", "replicas"]).unwrap_or(1)
}

/// A controller that has never written a status has not seen the object.
fn unseen(object: &Object) -> Option<Readiness> {
    let seen = number(object, &["status", "observedGeneration"]).is_some();
    (!seen).then(|| waiting("its controller has not seen it yet"))
}

/// Pods could not be made, such as over a quota.
fn not_made(object: &Object) -> Option<Readiness> {
    let (_, said) = condition(object, "ReplicaFailure").filter(|(status, _)| *status == "True")?;
    Some(waiting(format!("pods can't be made: {said}")))
}

fn of(have: i64, want: i64, what: &str) -> Option<Readiness> {
    (have < want).then(|| waiting(format!("{have} of {want} pods are {what}")))
}

pub(super) fn deployment(object: &Object) -> Readiness {
    let stuck = conditions(object).find(|one| one["type"] == "Progressing" && one["status"] == "False");
    if let Some(stuck) = stuck.filter(|one| one["reason"] == "ProgressDeadlineExceeded") {
        let said = stuck["message"].as_str().unwrap_or("it made no progress before its own deadline");
        return Failed(said.to_owned());
    }
    let (want, updated) = (wanted(object), count(object, "updatedReplicas"));
    let paused = (object.at(&["spec", "paused"]) == Some(&true.into()) && updated < want)
        .then(|| waiting("its rollout is paused"));
    let old = count(object, "replicas") - updated;
    unseen(object)
        .or_else(|| not_made(object))
        .or(paused)
        .or_else(|| of(updated, want, "of the new template"))
        .or_else(|| (old > 0).then(|| waiting(format!("{old} pods of an old template are left"))))
        .or_else(|| of(count(object, "availableReplicas"), want, "available"))
        .unwrap_or(Ready)
}

/// ReplicaSets and ReplicationControllers.
pub(super) fn replicas(object: &Object) -> Readiness {
    let want = wanted(object);
    unseen(object)
        .or_else(|| not_made(object))
        .or_else(|| of(count(object, "availableReplicas"), want, "available"))
        .or_else(|| (count(object, "replicas") > want).then(|| waiting("there are more pods than wanted")))
        .unwrap_or(Ready)
}

pub(super) fn stateful_set(object: &Object) -> Readiness {
    let want = wanted(object);
    let by_hand = object.text(&["spec", "updateStrategy", "type"]) == Some("OnDelete");
    // Pods below the partition keep the old template on purpose.
    let kept = number(object, &["spec", "updateStrategy", "rollingUpdate", "partition"]).unwrap_or_default();
    let to_update = if by_hand { 0 } else { (want - kept).max(0) };
    unseen(object)
        .or_else(|| of(count(object, "replicas"), want, "made"))
        .or_else(|| of(count(object, "updatedReplicas"), to_update, "of the new template"))
        .or_else(|| of(count(object, "readyReplicas"), want, "ready"))
        .or_else(|| (count(object, "replicas") > want).then(|| waiting("there are more pods than wanted")))
        .unwrap_or(Ready)
}

pub(super) fn daemon_set(object: &Object) -> Readiness {
    let want = count(object, "desiredNumberScheduled");
    let by_hand = object.text(&["spec", "updateStrategy", "type"]) == Some("OnDelete");
    unseen(object)
        .or_else(|| of(count(object, "currentNumberScheduled"), want, "on their nodes"))
        .or_else(|| of(count(object, "updatedNumberScheduled"), if by_hand { 0 } else { want }, "of the new template"))
        .or_else(|| of(count(object, "numberAvailable"), want, "available"))
        .unwrap_or(Ready)
}

pub(super) fn job(object: &Object) -> Readiness {
    let holds = |kind| condition(object, kind).filter(|(status, _)| *status == "True");
    if let Some((_, said)) = holds("Failed") {
        return Failed(said.to_owned());
    }
    let suspended = object.at(&["spec", "suspend"]) == Some(&true.into());
    if holds("Complete").is_some() || suspended {
        return Ready;
    }
    let want = number(object, &["spec", "completions"]).unwrap_or(1);
    let (done, failed) = (count(object, "succeeded"), count(object, "failed"));
    let tried = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    waiting(format!("{done} of {want} pods have succeeded{tried}"))
}
