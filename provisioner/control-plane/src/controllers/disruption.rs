//! Keeps the status of disruption budgets: how many pods are healthy, how many may be disrupted.
//!
//! Source: `pkg/controller/disruption`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kprov_schema::{KINDS, Key, Object, Resource, Typed, conditions};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::{controller_of, reference, time};
use super::machinery::rollout::scaled;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch, selector, status};
use crate::informer::{Change, Unreadable};

/// How long a pod whose eviction was granted counts as going, though its deletion has not begun.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);
const CONDITION: &str = "DisruptionAllowed";

/// Keeps budgets.
pub struct Disruption;

impl Controller for Disruption {
    const NAME: &'static str = "disruption-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<PodDisruptionBudget>(),
            Watch::new::<Pod>(budgets_of_pod),
            Watch::new::<Deployment>(budgets_when_scaled),
            Watch::new::<ReplicaSet>(budgets_when_scaled),
            Watch::new::<StatefulSet>(budgets_when_scaled),
            Watch::new::<ReplicationController>(budgets_when_scaled),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(budget) = world.get::<PodDisruptionBudget>(key)? else { return Ok(Outcome::nothing()) };
        let none = PodDisruptionBudgetSpec::default();
        let spec = budget.spec.as_ref().unwrap_or(&none);
        let pods = match &spec.selector {
            Some(selector) => world.select::<Pod>(&key.namespace, selector)?,
            None => Vec::new(),
        };
        let mut actions = Vec::new();
        if pods.is_empty() {
            actions.push(Action::Record(Note::normal(reference(&budget.raw), "NoPods", "No matching pods found")));
        }
        let need = match need(spec, &pods, world)? {
            Ok(need) => need,
            Err(why) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                let note = Note::warning(reference(&budget.raw), "CalculateExpectedPodCountFailed", message);
                actions.push(Action::Record(note));
                actions.extend(write(&budget, failed(&budget, &why, now)));
                return Ok(actions.into());
            }
        };
        if need.unmanaged {
            let message = unmanaged(spec.selector.as_ref());
            actions.push(Action::Record(Note::warning(reference(&budget.raw), "UnmanagedPods", message)));
        }
        let disrupted = still_disrupted(&budget, &pods, now);
        let healthy = pods.iter().filter(|pod| counts(pod, &disrupted.pods)).count();
        let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
        actions.extend(disrupted.notes);
        actions.extend(write(&budget, judged(&budget, need, healthy, &disrupted.pods, now)));
        Ok(Outcome { actions, recheck_at: disrupted.recheck_at })
    }
}

fn selected_by(budget: &Object, pod: &Object) -> bool {
    PodDisruptionBudget::from_object(budget).is_ok_and(|budget| {
        let selector = budget.spec.and_then(|spec| spec.selector);
        selector.is_some_and(|one| selector::selects(&one, pod))
    })
}

/// Budgets that a pod belongs to, or belonged to before the change.
fn budgets_of_pod(change: &Change, world: &Snapshot) -> Vec<Key> {
    let sides = [&change.old, &change.new];
    let Some(namespace) = change.latest().map(|entry| entry.key.namespace.clone()) else { return Vec::new() };
    let budgets = world.cache(&Resource::of::<PodDisruptionBudget>()).in_namespace(&namespace);
    let concerns =
        |budget: &Object| sides.iter().any(|side| side.as_ref().is_some_and(|pod| selected_by(budget, &pod.raw)));
    budgets.iter().filter(|budget| concerns(&budget.raw)).map(|budget| budget.key.clone()).collect()
}

/// All budgets of the namespace in which something is asked to have another number of pods.
fn budgets_when_scaled(change: &Change, world: &Snapshot) -> Vec<Key> {
    let replicas = |side: &Option<std::sync::Arc<crate::informer::Entry>>| {
        side.as_ref().and_then(|entry| entry.raw.at(&["spec", "replicas"]).cloned())
    };
    let Some(entry) = change.latest().filter(|_| replicas(&change.old) != replicas(&change.new)) else {
        return Vec::new();
    };
    let budgets = world.cache(&Resource::of::<PodDisruptionBudget>()).in_namespace(&entry.key.namespace);
    budgets.iter().map(|budget| budget.key.clone()).collect()
}

/// What a budget asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Need {
    /// Pods that there should be.
    expected: i32,
    /// Pods that have to be healthy.
    healthy: i32,
    /// Whether nobody says how many there should be of some of the pods.
    unmanaged: bool,
}

/// What a budget asks for; the inner error says why it can't be told.
fn need(
    spec: &PodDisruptionBudgetSpec,
    pods: &[Seen<Pod>],
    world: &Snapshot,
) -> Result<Result<Need, String>, Unreadable> {
    if let (None, Some(IntOrString::Int(healthy))) = (&spec.max_unavailable, &spec.min_available) {
        let expected = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        return Ok(Ok(Need { expected, healthy: *healthy, unmanaged: false }));
    }
    if spec.max_unavailable.is_none() && spec.min_available.is_none() {
        return Ok(Ok(Need::default()));
    }
    let (expected, unmanaged) = match expected(pods, world)? {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let healthy = match &spec.max_unavailable {
        Some(away) => (expected - scaled(Some(away), expected, true)).max(0),
        None => scaled(spec.min_available.as_ref(), expected, true),
    };
    Ok(Ok(Need { expected, healthy, unmanaged }))
}

/// The sum of the scales of everything that controls one of the pods, and whether some pods are nobody's.
fn expected(pods: &[Seen<Pod>], world: &Snapshot) -> Result<Result<(i32, bool), String>, Unreadable> {
    let mut scales: BTreeMap<String, i32> = BTreeMap::new();
    let mut unmanaged = false;
    for pod in pods {
        let Some(owner) = controller_of(&pod.metadata) else {
            unmanaged = true;
            continue;
        };
        if scales.contains_key(&owner.uid) {
            continue;
        }
        match scale_of(owner, pod.raw.namespace(), world)? {
            Scale::Is(uid, replicas) => {
                scales.insert(uid, replicas);
            }
            Scale::Gone => return Ok(Err(format!("found no controllers for pod {:?}", pod.raw.name()))),
            Scale::None(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok((scales.values().sum(), unmanaged)))
}

/// How many pods something asks for.
#[derive(Debug, PartialEq)]
enum Scale {
    /// The uid of what says it, and the number.
    Is(String, i32),
    /// It is not there any more.
    Gone,
    /// Its kind has no scale.
    None(String),
}

fn scale_of(owner: &OwnerReference, namespace: &str, world: &Snapshot) -> Result<Scale, Unreadable> {
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let Some(set) = alive::<ReplicaSet>(owner, namespace, world)? else { return Ok(Scale::Gone) };
            let deployment = controller_of(&set.metadata).filter(|above| above.kind == "Deployment");
            match deployment {
                Some(above) => scale_of(above, namespace, world),
                None => Ok(asked(&set.raw)),
            }
        }
        "Deployment" => Ok(alive::<Deployment>(owner, namespace, world)?.map_or(Scale::Gone, |it| asked(&it.raw))),
        "StatefulSet" => Ok(alive::<StatefulSet>(owner, namespace, world)?.map_or(Scale::Gone, |it| asked(&it.raw))),
        "ReplicationController" => {
            Ok(alive::<ReplicationController>(owner, namespace, world)?.map_or(Scale::Gone, |it| asked(&it.raw)))
        }
        _ => Ok(Scale::None(no_scale(owner))),
    }
}

fn alive<T: Typed + Send + Sync + 'static>(
    owner: &OwnerReference,
    namespace: &str,
    world: &Snapshot,
) -> Result<Option<Seen<T>>, Unreadable> {
    let found = world.get::<T>(&Key::new(namespace, owner.name.clone()))?;
    Ok(found.filter(|found| found.raw.uid().0 == owner.uid))
}

fn asked(object: &Object) -> Scale {
    let replicas = object.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(1);
    Scale::Is(object.uid().0, i32::try_from(replicas).unwrap_or(i32::MAX))
}

fn no_scale(owner: &OwnerReference) -> String {
    let kind = KINDS.iter().find(|kind| kind.kind == owner.kind && kind.resource.api_version() == owner.api_version);
    match kind {
        Some(kind) => format!("{} does not implement the scale subresource", kind.resource),
        None => format!("no matches for kind {:?} in version {:?}", owner.kind, owner.api_version),
    }
}

fn unmanaged(selector: Option<&LabelSelector>) -> String {
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please \
         set \".spec.minAvailable\" field of the PDB to an integer value.",
        selector::printed(selector)
    )
}

/// Pods whose eviction was granted, and which are still to go.
struct Disrupted {
    pods: BTreeMap<String, Value>,
    notes: Vec<Action>,
    recheck_at: Option<Timestamp>,
}

fn still_disrupted(budget: &Seen<PodDisruptionBudget>, pods: &[Seen<Pod>], now: Timestamp) -> Disrupted {
    let mut disrupted = Disrupted { pods: BTreeMap::new(), notes: Vec::new(), recheck_at: None };
    let granted = budget.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
    for pod in pods.iter().filter(|pod| !status::is_deleting(pod)) {
        let Some(since) = granted.get(pod.raw.name()) else { continue };
        let end = since.0 + DELETION_TIMEOUT;
        if end < now {
            let message = format!("Pod was expected by PDB {} to be deleted but it wasn't", budget.raw.key());
            disrupted.notes.push(Action::Record(Note::warning(reference(&pod.raw), "NotDeleted", message)));
        } else {
            disrupted.pods.insert(pod.raw.name().to_owned(), time(since.0));
            disrupted.recheck_at = Some(disrupted.recheck_at.map_or(end, |at| at.min(end)));
        }
    }
    disrupted
}

fn counts(pod: &Seen<Pod>, disrupted: &BTreeMap<String, Value>) -> bool {
    !status::is_deleting(pod) && !disrupted.contains_key(pod.raw.name()) && status::is_ready(pod)
}

fn judged(
    budget: &Seen<PodDisruptionBudget>,
    need: Need,
    healthy: i32,
    disrupted: &BTreeMap<String, Value>,
    now: Timestamp,
) -> Value {
    // A budget that no pod belongs to yet allows nothing, so that its first pods are safe until they are counted.
    let allowed = if need.expected <= 0 { 0 } else { (healthy - need.healthy).max(0) };
    let generation = budget.metadata.generation.unwrap_or_default();
    let verdict = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let mut status = json!({
        "observedGeneration": generation, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": need.healthy, "expectedPods": need.expected,
        "conditions": with_verdict(budget, verdict, "", generation, now),
    });
    if !disrupted.is_empty() {
        status["disruptedPods"] = json!(disrupted);
    }
    status
}

/// Nothing is allowed while it can't be told what may be.
fn failed(budget: &Seen<PodDisruptionBudget>, why: &str, now: Timestamp) -> Value {
    let mut status = budget.raw.at(&["status"]).cloned().unwrap_or_else(|| json!({}));
    let generation = budget.status.as_ref().and_then(|status| status.observed_generation).unwrap_or_default();
    status["disruptionsAllowed"] = json!(0);
    status["conditions"] = with_verdict(budget, ("False", "SyncFailed"), why, generation, now);
    status
}

/// The conditions with the verdict.
fn with_verdict(
    budget: &Seen<PodDisruptionBudget>,
    (status, reason): (&str, &str),
    message: &str,
    generation: i64,
    now: Timestamp,
) -> Value {
    let mut all = conditions::of(&budget.raw).to_vec();
    let mut condition = json!({
        "type": CONDITION, "status": status, "reason": reason, "message": message, "lastTransitionTime": time(now),
    });
    if generation != 0 {
        condition["observedGeneration"] = generation.into();
    }
    conditions::set(&mut all, condition);
    Value::Array(all)
}

fn write(budget: &Seen<PodDisruptionBudget>, status: Value) -> Option<Action> {
    if budget.raw.at(&["status"]) == Some(&status) {
        return None;
    }
    let mut object = Object::clone(&budget.raw);
    object.set(&["status"], status);
    Some(Action::update_status(Resource::of::<PodDisruptionBudget>(), object))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn budget(spec: Value, status: Value) -> Value {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
               "metadata": {"name": "b", "namespace": "ns", "uid": "b", "generation": 1},
               "spec": spec, "status": status})
    }

    fn pod(name: &str, ready: bool, owner: Option<(&str, &str)>) -> Value {
        let owners: Vec<Value> = owner
            .iter()
            .map(|(kind, name)| {
                let version = if *kind == "Job" { "batch/v1" } else { "apps/v1" };
                json!({"apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": true})
            })
            .collect();
        json!({"apiVersion": "v1", "kind": "Pod",
               "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "a"},
                            "ownerReferences": owners},
               "spec": {"containers": []},
               "status": {"phase": "Running",
                          "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}})
    }

    fn set(name: &str, replicas: i32, above: Option<&str>) -> Value {
        let owners: Vec<Value> = above
            .iter()
            .map(|name| {
                json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": name,
                               "controller": true})
            })
            .collect();
        workload("ReplicaSet", name, replicas, json!(owners))
    }

    fn workload(kind: &str, name: &str, replicas: i32, owners: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind,
               "metadata": {"name": name, "namespace": "ns", "uid": name, "ownerReferences": owners},
               "spec": {"replicas": replicas, "selector": {}, "template": {}}})
    }

    /// What is written, and the reasons of the events.
    fn decide(objects: &[Value]) -> (Option<Value>, Vec<&'static str>, Option<Timestamp>) {
        let world = Snapshot::given(&Disruption::watches(), objects);
        let outcome = Disruption.reconcile(&Key::new("ns", "b"), &world, NOW.parse().unwrap()).unwrap();
        let mut written = None;
        let mut reasons = Vec::new();
        for action in outcome.actions {
            match action {
                Action::Update { object, .. } => written = object.at(&["status"]).cloned(),
                Action::Record(note) => reasons.push(note.reason),
                other => panic!("{other:?}"),
            }
        }
        (written, reasons, outcome.recheck_at)
    }

    fn numbers(status: &Value) -> [i64; 4] {
        ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"]
            .map(|field| status[field].as_i64().unwrap())
    }

    #[test]
    fn counts_what_may_go() {
        let select = json!({"matchLabels": {"app": "a"}});
        let by_set = |ready: usize, all: usize| -> Vec<Value> {
            (0..all).map(|at| pod(&format!("p{at}"), at < ready, Some(("ReplicaSet", "rs")))).collect()
        };
        let deployment = workload("Deployment", "d", 4, json!([]));
        let cases = [
            // A number of pods is of those that are there; a share is of those that are asked for.
            (json!({"minAvailable": 2}), by_set(3, 3), [3, 2, 3, 1], "True"),
            (json!({"minAvailable": 2}), by_set(1, 3), [3, 2, 1, 0], "False"),
            (json!({"minAvailable": "50%"}), by_set(3, 3), [4, 2, 3, 1], "True"),
            (json!({"maxUnavailable": "30%"}), by_set(4, 4), [4, 2, 4, 2], "True"),
            (json!({"maxUnavailable": 1}), by_set(3, 3), [4, 3, 3, 0], "False"),
            (json!({}), by_set(1, 1), [0, 0, 1, 0], "False"),
        ];
        for (mut spec, pods, want, verdict) in cases {
            spec["selector"] = select.clone();
            let shown = spec.to_string();
            let mut objects = vec![budget(spec, json!({})), set("rs", 2, Some("d")), deployment.clone()];
            objects.extend(pods);
            let status = decide(&objects).0.unwrap();
            assert_eq!(numbers(&status), want, "{shown}");
            assert_eq!(status["conditions"][0]["status"], verdict, "{shown}");
        }
    }

    #[test]
    fn no_selector_selects_nothing() {
        let (status, reasons, _) = decide(&[budget(json!({"minAvailable": 1}), json!({})), pod("p", true, None)]);
        assert_eq!(numbers(&status.unwrap()), [0, 1, 0, 0]);
        assert_eq!(reasons, ["NoPods"]);
    }

    #[test]
    fn nothing_may_go_when_the_number_of_pods_is_unknown() {
        let spec = json!({"maxUnavailable": 1, "selector": {}});
        let cases = [
            (Some(("Job", "j")), "jobs.batch does not implement the scale subresource"),
            (Some(("ReplicaSet", "gone")), "found no controllers for pod \"p\""),
            (Some(("Zoo", "z")), "no matches for kind \"Zoo\" in version \"apps/v1\""),
        ];
        for (owner, why) in cases {
            let (status, reasons, _) =
                decide(&[budget(spec.clone(), json!({"disruptionsAllowed": 3})), pod("p", true, owner)]);
            let status = status.unwrap();
            assert_eq!(status["disruptionsAllowed"], 0);
            assert_eq!(
                (&status["conditions"][0]["reason"], &status["conditions"][0]["message"]),
                (&json!("SyncFailed"), &json!(why))
            );
            assert_eq!(reasons, ["CalculateExpectedPodCountFailed"]);
        }
        let (status, reasons, _) = decide(&[budget(spec, json!({})), pod("p", true, None)]);
        assert_eq!(numbers(&status.unwrap()), [0, 0, 1, 0]);
        assert_eq!(reasons, ["UnmanagedPods"]);
    }

    #[test]
    fn granted_evictions_count_until_their_time_is_over() {
        let spec = json!({"minAvailable": 1, "selector": {}});
        let since = |at: &str| json!({"disruptedPods": {"p0": at, "elsewhere": at}});
        let pods = [pod("p0", true, None), pod("p1", true, None)];
        let objects = |at: &str| [vec![budget(spec.clone(), since(at))], pods.to_vec()].concat();
        let (status, reasons, recheck) = decide(&objects("2025-12-31T23:59:00Z"));
        let status = status.unwrap();
        assert_eq!(numbers(&status), [2, 1, 1, 0]);
        assert_eq!(status["disruptedPods"], json!({"p0": "2025-12-31T23:59:00Z"}));
        assert_eq!(recheck, Some("2026-01-01T00:01:00Z".parse().unwrap()));
        assert!(reasons.is_empty());
        let (status, reasons, recheck) = decide(&objects("2025-12-31T23:57:00Z"));
        assert_eq!(numbers(&status.unwrap()), [2, 1, 2, 1]);
        assert_eq!((reasons, recheck), (vec!["NotDeleted"], None));
    }

    #[test]
    fn a_status_that_is_right_is_not_written() {
        let spec = json!({"minAvailable": 1, "selector": {}});
        let (status, ..) = decide(&[budget(spec.clone(), json!({})), pod("p", true, None)]);
        assert_eq!(decide(&[budget(spec, status.unwrap()), pod("p", true, None)]).0, None);
    }
}
