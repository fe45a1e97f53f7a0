//! ReplicaSets and ReplicationControllers: as many active pods of a template as asked for.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::marker::PhantomData;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kprov_schema::{Key, Object, Resource};
use serde_json::Value;

use super::machinery::action::{Action, Outcome};
use super::machinery::claim::{Selects, claim, claimants};
use super::machinery::meta::controller_of;
use super::machinery::snapshot::{Failure, Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, selector, status, template};
use crate::informer::Unreadable;

/// Creations and deletions asked for in one round, as upstream's burst.
const BURST: usize = 500;
/// The condition that says why pods can't be made or deleted.
pub(super) const FAILURE: &str = "ReplicaFailure";

/// A kind that asks for a number of pods of a template.
pub trait Replicated: Selects {
    /// See [`Controller::NAME`].
    const CONTROLLER: &'static str;
    /// Whether its status counts the pods that are on their way out.
    const COUNTS_TERMINATING: bool;
    /// How many pods it asks for.
    fn replicas(&self) -> Option<i32>;
    /// For how many seconds a pod must have been ready.
    fn min_ready_seconds(&self) -> Option<i32>;
    /// The template.
    fn template(&self) -> Option<&PodTemplateSpec>;
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const COUNTS_TERMINATING: bool = true;

    fn replicas(&self) -> Option<i32> {
        self.spec.replicas
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.min_ready_seconds
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.template.as_ref()
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    const COUNTS_TERMINATING: bool = false;

    fn replicas(&self) -> Option<i32> {
        self.spec.as_ref()?.replicas
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.spec.as_ref()?.min_ready_seconds
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
}

/// Keeps the objects of a kind at their number of pods.
pub struct Replication<K>(PhantomData<fn() -> K>);

impl<K: Replicated> Controller for Replication<K> {
    const NAME: &'static str = K::CONTROLLER;

    fn new(_: &Config, _: Timestamp) -> Self {
        Self(PhantomData)
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<K>(), Watch::new::<Pod>(claimants::<K>)]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(set) = world.get::<K>(key)? else { return Ok(Outcome::nothing()) };
        let claims = claim::<Pod, _>(&set, world)?;
        let (active, rest): (Vec<_>, Vec<_>) = claims.owned.into_iter().partition(|pod| status::is_active(pod));
        let terminating = rest.iter().filter(|pod| status::is_deleting(pod) && !status::is_finished(pod)).count();
        let mut outcome = Outcome::from(claims.actions);
        // An adopted pod counts once the cache shows it as owned.
        let settled = outcome.actions.is_empty();
        if settled && world.failure().is_none() && !set.raw.is_deleting() {
            outcome.actions.extend(scale(&set, &active, world)?);
        }
        let (new, recheck_at) = new_status(&set, &active, terminating, world.failure(), now);
        outcome.recheck_at = recheck_at;
        outcome.actions.extend(write_status(&set, &new));
        Ok(outcome)
    }
}

fn wanted<K: Replicated>(set: &K) -> usize {
    usize::try_from(set.replicas().unwrap_or(1)).unwrap_or(0)
}

/// Creates what is missing, deletes what is too much.
fn scale<K: Replicated>(set: &Seen<K>, active: &[Seen<Pod>], world: &Snapshot) -> Result<Vec<Action>, Unreadable> {
    let wanted = wanted::<K>(set);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        return Ok((0..missing).map(|_| template::create(&set.raw, template::pod_of(&set.raw))).collect());
    }
    let surplus = (active.len() - wanted).min(BURST);
    if surplus == 0 {
        return Ok(Vec::new());
    }
    let active: Vec<&Seen<Pod>> = active.iter().collect();
    Ok(victims(&active, &related(set, world)?, surplus)
        .into_iter()
        .map(|pod| template::delete(&set.raw, pod))
        .collect())
}

/// Ready pods of all sets with the same controller, by node: where they crowd, they go first.
fn related<K: Replicated>(set: &Seen<K>, world: &Snapshot) -> Result<HashMap<String, usize>, Unreadable> {
    let mut owners = vec![set.raw.uid().0];
    if let Some(controller) = controller_of(set.metadata()) {
        owners = world.owned_by::<K>(&controller.uid)?.iter().map(|set| set.raw.uid().0).collect();
    }
    let mut ready = HashMap::new();
    for owner in owners {
        for pod in world.owned_by::<Pod>(&owner)? {
            if let Some(node) = node(&pod).filter(|_| status::is_active(&pod) && status::is_ready(&pod)) {
                *ready.entry(node.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(ready)
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The `count` pods that are missed least.
///
/// Unscheduled before scheduled, pending before running, not ready before ready, cheap before dear, crowded before
/// lonely, ready lately before ready long, restarting before steady, young before old.
/// Source: `ActivePodsWithRanks` of upstream's controller utilities.
#[must_use]
pub fn victims<'a>(active: &[&'a Seen<Pod>], ready_on: &HashMap<String, usize>, count: usize) -> Vec<&'a Seen<Pod>> {
    let mut pods = active.to_vec();
    if count < pods.len() {
        pods.sort_by(|a, b| less_missed(a, b, ready_on));
    }
    pods.truncate(count);
    pods
}

fn less_missed(a: &Pod, b: &Pod, ready_on: &HashMap<String, usize>) -> Ordering {
    let crowd = |pod: &Pod| node(pod).and_then(|node| ready_on.get(node)).copied().unwrap_or(0);
    let phase = |pod: &Pod| match status::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    node(a)
        .is_some()
        .cmp(&node(b).is_some())
        .then(phase(a).cmp(&phase(b)))
        .then(status::is_ready(a).cmp(&status::is_ready(b)))
        .then(deletion_cost(a).cmp(&deletion_cost(b)))
        .then(crowd(b).cmp(&crowd(a)))
        .then(status::ready_since(b).cmp(&status::ready_since(a)))
        .then(restarts(b).cmp(&restarts(a)))
        .then(created(b).cmp(&created(a)))
        .then(a.metadata.uid.cmp(&b.metadata.uid))
}

fn deletion_cost(pod: &Pod) -> i32 {
    let cost = pod.metadata.annotations.as_ref().and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost"));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
}

/// The status that the pods make, and when the next pod becomes available.
fn new_status<K: Replicated>(
    set: &Seen<K>,
    active: &[Seen<Pod>],
    terminating: usize,
    failure: Option<&Failure>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Timestamp>) {
    let metadata = set.template().and_then(|template| template.metadata.as_ref());
    let labels = metadata.and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let min_ready = set.min_ready_seconds().unwrap_or(0);
    let moments: Vec<Timestamp> = active.iter().filter_map(|pod| status::available_at(pod, min_ready)).collect();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let some = |number: usize| Some(count(number)).filter(|number| *number > 0);
    let old = status_of(&set.raw);
    let new = ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(active.iter().filter(|pod| selector::has_labels(&labels, &pod.raw)).count()),
        ready_replicas: some(active.iter().filter(|pod| status::is_ready(pod)).count()),
        available_replicas: some(moments.iter().filter(|at| **at <= now).count()),
        terminating_replicas: K::COUNTS_TERMINATING.then(|| count(terminating)),
        observed_generation: Some(set.raw.generation()),
        conditions: conditions(&old, failure, active.len() < wanted::<K>(set), now),
    };
    (new, moments.into_iter().filter(|at| *at > now).min())
}

/// The status as it stands; both kinds have the same fields.
fn status_of(set: &Object) -> ReplicaSetStatus {
    let status = set.at(&["status"]).cloned();
    status.map_or_else(Default::default, |status| serde_json::from_value(status).expect("the object was parsed whole"))
}

fn conditions(
    old: &ReplicaSetStatus,
    failure: Option<&Failure>,
    creating: bool,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let had = conditions.iter().any(|condition| condition.type_.as_deref() == Some(FAILURE));
    match failure {
        None => conditions.retain(|condition| condition.type_.as_deref() != Some(FAILURE)),
        Some(_) if had => {}
        Some(failure) => conditions.push(ReplicaSetCondition {
            type_: Some(FAILURE.into()),
            status: Some("True".into()),
            reason: Some(if creating { "FailedCreate" } else { "FailedDelete" }.into()),
            message: Some(failure.status.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}

fn write_status<K: Replicated>(set: &Seen<K>, new: &ReplicaSetStatus) -> Option<Action> {
    let mut comparable = status_of(&set.raw);
    let zero_is_none = |number: &mut Option<i32>| *number = number.filter(|number| *number > 0);
    zero_is_none(&mut comparable.fully_labeled_replicas);
    zero_is_none(&mut comparable.ready_replicas);
    zero_is_none(&mut comparable.available_replicas);
    if comparable == *new {
        return None;
    }
    let mut object = Object::clone(&set.raw);
    object.set(&["status"], serde_json::to_value(new).unwrap_or(Value::Null));
    Some(Action::update_status(Resource::of::<K>(), object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: bool, cost: &str, labels: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels,
                "annotations": {"controller.kubernetes.io/pod-deletion-cost": cost},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "rs", "controller": true}]},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
    }

    /// What is done for a set of so many replicas, in short.
    fn decide(replicas: usize, pods: &[Value]) -> Vec<String> {
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs", "namespace": "n", "uid": "rs"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}});
        let world = Snapshot::given(&Replication::<ReplicaSet>::watches(), &[&[set], pods].concat());
        let outcome = Replication::<ReplicaSet>(PhantomData)
            .reconcile(&Key::new("n", "rs"), &world, Timestamp::UNIX_EPOCH)
            .unwrap();
        let short = |action: &Action| match action {
            Action::Create { object, .. } => format!("create {}", object.text(&["metadata", "generateName"]).unwrap()),
            Action::Delete { key, .. } => format!("delete {}", key.name),
            Action::Patch { key, patch, .. } => {
                format!("owners of {}: {}", key.name, patch["metadata"]["ownerReferences"])
            }
            Action::Update { object, .. } => format!("status {}", object.at(&["status", "replicas"]).unwrap()),
            other => format!("{other:?}"),
        };
        outcome.actions.iter().map(short).collect()
    }

    #[test]
    fn makes_what_is_missing_and_takes_what_is_missed_least() {
        let app = || json!({"app": "x"});
        let pods = [pod("a", true, "5", app()), pod("b", true, "-1", app()), pod("c", false, "9", app())];
        assert_eq!(decide(2, &[]), ["create rs-", "create rs-", "status 0"]);
        assert_eq!(decide(3, &pods), ["status 3"]);
        assert_eq!(decide(1, &pods), ["delete c", "delete b", "status 3"]);
    }

    #[test]
    fn adopts_orphans_and_lets_strangers_go() {
        let mut orphan = pod("a", true, "0", json!({"app": "x"}));
        orphan["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        let adopted = decide(1, &[orphan]);
        assert!(adopted[0].starts_with("owners of a: [{") && adopted.len() == 2, "{adopted:?}");
        let stranger = pod("b", true, "0", json!({"app": "other"}));
        assert_eq!(decide(0, &[stranger])[0], "owners of b: null");
    }
}
