//! Evictions: deletions of pods that a disruption budget has a say in.
//!
//! Source: `pkg/registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kprov_schema::kind::Write;
use kprov_schema::selector::Labels;
use kprov_schema::{Object, Resource, Status, Subresource, Typed, conditions};
use serde_json::{Value, json};

use super::actions::{Call, same_name};
use super::admission;
use super::errors;
use super::owners::Owners;
use super::query::{Deletion, Query};
use super::target::Target;
use super::verbs::delete::{delete_if, meets};
use super::write::{self, Proposal};
use crate::client::Preconditions;

const REFUSAL: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const CAUSE: &str = "DisruptionBudget";
/// Seconds after which asking again may help, when a budget is behind its objects.
const RETRY_SECONDS: u32 = 10;
/// How many evictions a budget may hold that have not come to pass yet.
const DISRUPTED_MAX: usize = 2000;
/// How often an eviction is tried again when its pod changes meanwhile.
const TRIES: usize = 16;

pub(super) async fn evict(call: Call<'_>) -> Result<Value, Status> {
    same_name(&call, "Eviction")?;
    let options = call.body.at(&["deleteOptions"]).cloned().unwrap_or_else(|| json!({}));
    let mut deletion = Deletion::read(&Query::default(), Some(&options))?;
    deletion.dry_run |= call.options.dry_run;
    let pinned = deletion.options.preconditions.resource_version.is_some();
    for _ in 0..TRIES {
        let pod = call.target.find(&call.core.store).ok_or_else(|| call.target.not_found())?;
        let guard = guard(&call, &pod.object, &deletion).await?;
        let mut deletion = deletion.clone();
        if guard.as_seen && !pinned {
            let version = pod.object.text(&["metadata", "resourceVersion"]).map(str::to_owned);
            deletion.options.preconditions.resource_version = version;
        }
        match (remove(&call, deletion).await, guard.budget) {
            (Ok(()), _) => return Ok(errors::success(Some(201), None)),
            // A pod that no budget was asked about is looked at again, unless the client meant this state of it.
            (Err(status), None) if status.is_conflict() && guard.as_seen && !pinned => {}
            (Err(status), Some(budget)) if status.is_conflict() && guard.as_seen && !pinned => {
                return Err(behind(&budget));
            }
            (Err(status), _) => return Err(status),
        }
    }
    Err(errors::modified(&call.target.kind.resource, &call.target.key.name))
}

/// What lets a pod go.
struct Guard {
    /// Whether it may go in the state in which it was seen only.
    as_seen: bool,
    /// The budget that was asked.
    budget: Option<String>,
}

/// Whether a pod may go; the budget that it belongs to then has one disruption less to give.
async fn guard(call: &Call<'_>, pod: &Object, deletion: &Deletion) -> Result<Guard, Status> {
    let over = matches!(pod.text(&["status", "phase"]), Some("Succeeded" | "Failed")) || pod.is_deleting();
    let pending = matches!(pod.text(&["status", "phase"]), None | Some("" | "Pending"));
    if over || pending {
        return Ok(Guard { as_seen: !over, budget: None });
    }
    let mut budgets = budgets(call, pod)?;
    let budget = match budgets.len() {
        0 => return Ok(Guard { as_seen: false, budget: None }),
        1 => budgets.remove(0),
        _ => {
            let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not \
                           support.";
            return Err(errors::plain(500, message));
        }
    };
    let name = budget.metadata.name.clone().unwrap_or_default();
    if !conditions::is_true(pod, "Ready") && lets_unready_go(&budget) {
        return Ok(Guard { as_seen: true, budget: Some(name) });
    }
    take(call, &name, pod.name(), deletion.dry_run).await?;
    Ok(Guard { as_seen: false, budget: Some(name) })
}

fn resource() -> Resource {
    Resource::of::<PodDisruptionBudget>()
}

fn budgets(call: &Call<'_>, pod: &Object) -> Result<Vec<PodDisruptionBudget>, Status> {
    let mut found = Vec::new();
    for one in call.core.list::<PodDisruptionBudget>(pod.namespace())? {
        let budget = PodDisruptionBudget::from_object(&one.object).map_err(errors::internal)?;
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if selector.is_some_and(|selector| Labels::of(selector).is_ok_and(|labels| labels.match_object(pod))) {
            found.push(budget);
        }
    }
    Ok(found)
}

fn count(number: Option<i32>) -> i32 {
    number.unwrap_or_default()
}

/// A pod that is not ready serves nobody: it may go when the budget says so, or when enough others are healthy.
fn lets_unready_go(budget: &PodDisruptionBudget) -> bool {
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let status = budget.status.clone().unwrap_or_default();
    let (healthy, desired) = (count(status.current_healthy), count(status.desired_healthy));
    let enough = healthy >= desired && desired > 0;
    policy == Some("AlwaysAllow") || enough
}

/// Takes one disruption from a budget, for a pod.
async fn take(call: &Call<'_>, budget: &str, pod: &str, dry_run: bool) -> Result<(), Status> {
    let key = kprov_schema::Key::new(call.target.key.namespace.clone(), budget);
    let target: Target = call.core.target(&resource(), &key)?;
    let mut options = call.options.clone();
    options.dry_run |= dry_run;
    let now = errors::seconds(call.core.world.clock.now());
    let taken = write::modify(call.core, call.user, &target, Write::Status, &options, |old| {
        let typed = PodDisruptionBudget::from_object(&old.object).map_err(errors::internal)?;
        allows(&typed)?;
        Ok(Proposal {
            object: with_one_less(&old.object, &typed, pod, &now),
            warnings: Vec::new(),
            owners: Owners::Kept,
        })
    });
    match taken.await {
        Err(status) if status.is_conflict() => Err(Status::timeout(
            format!("couldn't update PodDisruptionBudget {budget:?} due to conflicts"),
            RETRY_SECONDS,
        )),
        taken => taken.map(|_| ()),
    }
}

/// The budget after a disruption more. Its controller writes the condition; that none is left is said at once.
fn with_one_less(old: &Arc<Object>, typed: &PodDisruptionBudget, pod: &str, now: &Value) -> Object {
    let left = count(typed.status.as_ref().and_then(|status| status.disruptions_allowed)) - 1;
    let mut budget = Object::clone(old);
    budget.remove(&["metadata", "resourceVersion"]);
    budget.set(&["status", "disruptionsAllowed"], left.into());
    budget.set(&["status", "disruptedPods", pod], now.clone());
    if left == 0 {
        conditions::set_in(
            &mut budget,
            json!({
                "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
                "lastTransitionTime": now,
                "observedGeneration": typed.status.as_ref().and_then(|status| status.observed_generation),
            }),
        );
    }
    budget
}

/// Whether a budget has a disruption to give.
fn allows(budget: &PodDisruptionBudget) -> Result<(), Status> {
    let name = budget.metadata.name.as_deref().unwrap_or_default();
    let status = budget.status.clone().unwrap_or_default();
    let forbid = |why: &str| {
        let group_kind = Resource { plural: "poddisruptionbudget".into(), ..resource() };
        Err(errors::forbidden(&group_kind, name, why))
    };
    if status.observed_generation.unwrap_or_default() < budget.metadata.generation.unwrap_or_default() {
        return Err(behind(name));
    }
    if count(status.disruptions_allowed) < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    if status.disrupted_pods.as_ref().map_or(0, std::collections::BTreeMap::len) > DISRUPTED_MAX {
        return forbid("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if count(status.disruptions_allowed) > 0 {
        return Ok(());
    }
    Err(Status::too_many_requests(REFUSAL, 0).with_cause(CAUSE, &why_not(name, &status), ""))
}

fn behind(budget: &str) -> Status {
    let why = format!("The disruption budget {budget} is still being processed by the server.");
    Status::too_many_requests(REFUSAL, RETRY_SECONDS).with_cause(CAUSE, &why, "")
}

fn why_not(name: &str, status: &PodDisruptionBudgetStatus) -> String {
    let says_why =
        |one: &&Condition| one.type_ == "DisruptionAllowed" && one.status == "False" && !one.message.is_empty();
    let refused = status.conditions.iter().flatten().find(says_why);
    let (healthy, desired) = (count(status.current_healthy), count(status.desired_healthy));
    match refused {
        Some(one) if one.reason == "SyncFailed" => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            one.message
        ),
        _ if healthy <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        }
        Some(one) => format!(
            "The disruption budget {name} does not allow evicting pods currently ({}): {}",
            one.reason, one.message
        ),
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

async fn remove(call: &Call<'_>, mut deletion: Deletion) -> Result<(), Status> {
    if !deletion.dry_run {
        let marked = mark(call, &deletion.options.preconditions).await?;
        // The mark itself must not break what was asked of the state before it.
        if let Some(version) = &mut deletion.options.preconditions.resource_version {
            *version = marked;
        }
    }
    // Policies were asked about the eviction; upstream asks them about no deletion then.
    delete_if(call.core, call.user, call.target, &deletion, admission::may_go).await.map(|_| ())
}

/// Says in the pod's status why it goes, if it is the pod that is meant; the answer is its resourceVersion then.
async fn mark(call: &Call<'_>, preconditions: &Preconditions) -> Result<String, Status> {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null,
        "lastTransitionTime": errors::seconds(call.core.world.clock.now()),
    });
    let door = Write::Other(Subresource::Eviction);
    let marked = write::modify(call.core, call.user, call.target, door, call.options, |old| {
        meets(&call.target.kind, &old.object, preconditions)?;
        let mut pod = Object::clone(&old.object);
        pod.remove(&["metadata", "resourceVersion"]);
        conditions::set_in(&mut pod, condition.clone());
        Ok(Proposal { object: pod, warnings: Vec::new(), owners: Owners::Kept })
    });
    let marked = marked.await?;
    Ok(marked.outcome.object().text(&["metadata", "resourceVersion"]).unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(status: Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 2}, "status": status})).unwrap()
    }

    #[test]
    fn a_budget_says_why_it_refuses() {
        let status = |extra: Value| {
            let mut status = json!({"observedGeneration": 2, "disruptionsAllowed": 0, "currentHealthy": 1,
                                    "desiredHealthy": 1, "expectedPods": 1});
            status.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            status
        };
        let failed = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "bad",
                             "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let cases = [
            (json!({}), "The disruption budget b needs 1 healthy pods and has 1 currently"),
            (json!({"currentHealthy": 2}), "The disruption budget b does not allow evicting pods currently"),
            (
                json!({"conditions": failed}),
                "The disruption budget b does not allow evicting pods currently because it failed sync: bad",
            ),
            (json!({"observedGeneration": 1}), "The disruption budget b is still being processed by the server."),
        ];
        for (extra, why) in cases {
            let refused = allows(&budget(status(extra))).unwrap_err();
            assert_eq!((refused.code, refused.message.as_str()), (429, REFUSAL));
            assert_eq!(refused.causes().next().unwrap(), &json!({"reason": CAUSE, "message": why}));
        }
        assert!(allows(&budget(status(json!({"disruptionsAllowed": 1})))).is_ok());
        assert_eq!(allows(&budget(status(json!({"disruptionsAllowed": -1})))).unwrap_err().code, 403);
    }

    #[test]
    fn unready_pods_go_when_enough_others_are_healthy() {
        let spec = |policy: Value| json!({"unhealthyPodEvictionPolicy": policy});
        for (policy, healthy, desired, goes) in [
            (Value::Null, 1, 1, true),
            (Value::Null, 0, 1, false),
            (Value::Null, 0, 0, false),
            (json!("IfHealthyBudget"), 0, 1, false),
            (json!("AlwaysAllow"), 0, 1, true),
        ] {
            let mut one = budget(json!({"disruptionsAllowed": 0, "currentHealthy": healthy,
                                        "desiredHealthy": desired, "expectedPods": 1}));
            one.spec = serde_json::from_value(spec(policy)).unwrap();
            assert_eq!(lets_unready_go(&one), goes, "{healthy} of {desired}");
        }
    }
}
