//! Keeps what autoscalers scale within their bounds, and says that there are no metrics to scale by.
//!
//! Source: `pkg/controller/podautoscaler`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::{CrossVersionObjectReference, HorizontalPodAutoscaler, MetricSpec};
use k8s_openapi::api::core::v1::ReplicationController;
use kprov_schema::{KINDS, Key, Kind, Object, Resource, Subresource, Uid, conditions};
use serde_json::{Value, json};

use super::machinery::action::{Action, Note, Outcome};
use super::machinery::meta::{reference, time};
use super::machinery::selector;
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use crate::client::PatchKind;
use crate::informer::{Change, Entry, Unreadable};

/// An autoscaler acts at most so often, the first time so long after it was made.
const PERIOD: Duration = Duration::from_secs(15);

/// Keeps autoscalers.
pub struct Autoscalers {
    /// When each last acted.
    acted: Mutex<HashMap<Uid, Timestamp>>,
}

impl Controller for Autoscalers {
    const NAME: &'static str = "horizontal-pod-autoscaler";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self { acted: Mutex::default() }
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::new::<HorizontalPodAutoscaler>(asked_otherwise),
            Watch::new::<Deployment>(of_target::<Deployment>),
            Watch::new::<ReplicaSet>(of_target::<ReplicaSet>),
            Watch::new::<StatefulSet>(of_target::<StatefulSet>),
            Watch::new::<ReplicationController>(of_target::<ReplicationController>),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(autoscaler) = world.get::<HorizontalPodAutoscaler>(key)? else { return Ok(Outcome::nothing()) };
        if let Some(failure) = world.failure() {
            return Ok(failed(&autoscaler, &failure.status.message, now).into());
        }
        let mut acted = self.acted.lock().unwrap_or_else(PoisonError::into_inner);
        let made = autoscaler.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let due = *acted.get(&autoscaler.raw.uid()).unwrap_or(&made) + PERIOD;
        if due > now {
            return Ok(Outcome { actions: Vec::new(), recheck_at: Some(due) });
        }
        acted.retain(|_, last| *last + PERIOD > now);
        acted.insert(autoscaler.raw.uid(), now);
        let verdict = decide(&autoscaler, world);
        // What was scaled is looked at again: its metrics would count then.
        let recheck_at = matches!(verdict, Verdict::Scale(..)).then(|| now + PERIOD);
        Ok(Outcome { actions: verdict.actions(&autoscaler, now), recheck_at })
    }
}

/// A status alone is no reason to act.
fn asked_otherwise(change: &Change, _: &Snapshot) -> Vec<Key> {
    let spec = |side: &Option<std::sync::Arc<Entry>>| side.as_ref().and_then(|entry| entry.raw.at(&["spec"]).cloned());
    let changed = spec(&change.old) != spec(&change.new);
    change.latest().filter(|_| changed).map(|entry| entry.key.clone()).into_iter().collect()
}

/// Autoscalers of something that is asked to have another number of pods.
fn of_target<T: k8s_openapi::Resource>(change: &Change, world: &Snapshot) -> Vec<Key> {
    let asked = |side: &Option<std::sync::Arc<Entry>>| side.as_ref().map(|entry| replicas(&entry.raw));
    let Some(target) = change.latest().filter(|_| asked(&change.old) != asked(&change.new)) else {
        return Vec::new();
    };
    let text = |object: &Object, field: &str| object.text(&["spec", "scaleTargetRef", field]).map(str::to_owned);
    let all = world.cache(&Resource::of::<HorizontalPodAutoscaler>()).in_namespace(&target.key.namespace);
    let aims = |entry: &Entry| {
        text(&entry.raw, "kind").as_deref() == Some(T::KIND)
            && text(&entry.raw, "name").as_deref() == Some(target.key.name.as_str())
    };
    all.iter().filter(|entry| aims(entry)).map(|entry| entry.key.clone()).collect()
}

fn replicas(object: &Object) -> i32 {
    let asked = object.at(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(1);
    i32::try_from(asked).unwrap_or(i32::MAX)
}

/// What becomes of a target.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Its number of pods can't be told; why.
    Unknown(String),
    /// It has no pods by choice, and stays so.
    Off,
    /// It is outside its bounds.
    Scale(Target, i32, &'static str),
    /// It is within its bounds, and there is nothing else to go by.
    NoMetrics(i32),
}

/// What is scaled.
#[derive(Debug, PartialEq)]
struct Target {
    resource: Resource,
    key: Key,
    uid: Uid,
    version: String,
    replicas: i32,
}

fn decide(autoscaler: &Seen<HorizontalPodAutoscaler>, world: &Snapshot) -> Verdict {
    let spec = &autoscaler.spec;
    let target = match target(&spec.scale_target_ref, autoscaler.raw.namespace(), world) {
        Ok(target) => target,
        Err(why) => return Verdict::Unknown(why),
    };
    let min = spec.min_replicas.unwrap_or(1);
    match target.replicas {
        0 if min != 0 => Verdict::Off,
        now if now > spec.max_replicas => {
            Verdict::Scale(target, spec.max_replicas, "Current number of replicas above Spec.MaxReplicas")
        }
        now if now < min => Verdict::Scale(target, min, "Current number of replicas below Spec.MinReplicas"),
        now => Verdict::NoMetrics(now),
    }
}

fn target(aim: &CrossVersionObjectReference, namespace: &str, world: &Snapshot) -> Result<Target, String> {
    let version = aim.api_version.as_deref().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let of_kind = |kind: &&Kind| kind.kind == aim.kind && kind.resource.group == group;
    let Some(kind) = KINDS.iter().find(of_kind) else {
        return Err(format!("no matches for kind {:?} in group {group:?}", aim.kind));
    };
    let followed = Autoscalers::watches().iter().any(|watch| watch.resource == kind.resource);
    if !followed || !kind.subresources.contains(&Subresource::Scale) {
        return Err("the server could not find the requested resource".to_owned());
    }
    let key = Key::new(namespace, aim.name.clone());
    let found = world.cache(&kind.resource).get(&key);
    let Some(found) = found else { return Err(format!("{} {:?} not found", kind.resource, aim.name)) };
    Ok(Target {
        resource: kind.resource.clone(),
        key,
        uid: found.raw.uid(),
        version: found.raw.text(&["metadata", "resourceVersion"]).unwrap_or_default().to_owned(),
        replicas: replicas(&found.raw),
    })
}

const GOT_SCALE: (&str, &str, &str, &str) =
    ("AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale");

impl Verdict {
    fn actions(self, autoscaler: &Seen<HorizontalPodAutoscaler>, now: Timestamp) -> Vec<Action> {
        let about = || reference(&autoscaler.raw);
        let mut actions = Vec::new();
        let mut status = Status::of(autoscaler, now);
        match self {
            Self::Unknown(why) => {
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                status.say(("AbleToScale", "False", "FailedGetScale", &message));
                actions.push(Action::Record(Note::warning(about(), "FailedGetScale", why)));
            }
            Self::Off => {
                status.say(GOT_SCALE);
                let why = "scaling is disabled since the replica count of the target is zero";
                status.say(("ScalingActive", "False", "ScalingDisabled", why));
                status.count(0, 0);
            }
            Self::Scale(target, wanted, why) => {
                actions.push(Action::Patch {
                    resource: target.resource,
                    key: target.key,
                    subresource: Some(Subresource::Scale),
                    kind: PatchKind::Merge,
                    patch: json!({
                        "metadata": {"uid": target.uid.0, "resourceVersion": target.version},
                        "spec": {"replicas": wanted},
                    }),
                });
                let message = format!("New size: {wanted}; reason: {why}");
                actions.push(Action::Record(Note::normal(about(), "SuccessfulRescale", message)));
                let message = format!("the HPA controller was able to update the target scale to {wanted}");
                status.say(("AbleToScale", "True", "SucceededRescale", &message));
                status.count(target.replicas, wanted);
                status.value["lastScaleTime"] = time(now);
            }
            Self::NoMetrics(replicas) => {
                status.say(GOT_SCALE);
                actions.extend(no_metrics(autoscaler, &mut status));
                status.count(replicas, status.desired());
            }
        }
        actions.extend(status.written(autoscaler));
        actions
    }
}

/// Says of every metric that it is not there.
fn no_metrics(autoscaler: &Seen<HorizontalPodAutoscaler>, status: &mut Status) -> Vec<Action> {
    let metrics = autoscaler.spec.metrics.as_deref().unwrap_or_default();
    let missing: Vec<Missing> = metrics.iter().map(|one| Missing::of(one, autoscaler.raw.namespace())).collect();
    let about = || reference(&autoscaler.raw);
    let mut actions: Vec<Action> =
        missing.iter().map(|one| Action::Record(Note::warning(about(), one.reason, one.why.clone()))).collect();
    if let Some(first) = missing.first() {
        let message = format!("the HPA was unable to compute the replica count: {}", first.why);
        status.say(("ScalingActive", "False", first.reason, &message));
        let count = missing.len();
        let message =
            format!("invalid metrics ({count} invalid out of {count}), first error is: {}: {}", first.of, first.why);
        actions.push(Action::Record(Note::warning(about(), "FailedComputeMetricsReplicas", message)));
    }
    actions
}

/// A metric that nothing serves, in upstream's words.
struct Missing {
    reason: &'static str,
    /// What of the autoscaler it stops.
    of: String,
    why: String,
}

impl Missing {
    fn of(metric: &MetricSpec, namespace: &str) -> Self {
        let custom = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) \
                      registered";
        let resource = |name: &str, by_share: bool| {
            let what = if by_share { "utilization" } else { "usage" };
            format!(
                "failed to get {name} {what}: unable to get metrics for resource {name}: unable to fetch metrics from \
                 resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
            )
        };
        if let Some(it) = &metric.resource {
            let why = resource(&it.name, it.target.average_utilization.is_some());
            return Self {
                reason: "FailedGetResourceMetric",
                of: format!("failed to get {} resource metric value", it.name),
                why,
            };
        }
        if let Some(it) = &metric.container_resource {
            let why = resource(&it.name, it.target.average_utilization.is_some());
            return Self {
                reason: "FailedGetContainerResourceMetric",
                of: format!("failed to get {} container metric value", it.container),
                why,
            };
        }
        if let Some(it) = &metric.pods {
            return Self {
                reason: "FailedGetPodsMetric",
                of: "failed to get pods metric value".to_owned(),
                why: format!("unable to get metric {}: {custom}", it.metric.name),
            };
        }
        if let Some(it) = &metric.object {
            let (name, of) = (&it.metric.name, &it.described_object);
            return Self {
                reason: "FailedGetObjectMetric",
                of: format!("failed to get object metric value: failed to get {name} object metric"),
                why: format!("unable to get metric {name}: {} on {namespace} {}/{custom}", of.kind, of.name),
            };
        }
        if let Some(it) = &metric.external {
            let (name, which) = (&it.metric.name, selector::printed(it.metric.selector.as_ref()));
            return Self {
                reason: "FailedGetExternalMetric",
                of: format!("failed to get {name} external metric value: failed to get {name} external metric"),
                why: format!(
                    "unable to get external metric {namespace}/{name}/{which}: unable to fetch metrics from external \
                     metrics API: the server could not find the requested resource (get {name}.external.metrics.k8s.io)"
                ),
            };
        }
        let why = format!("unknown metric source type {:?}", metric.type_);
        Self { reason: "InvalidMetricSourceType", of: "failed to get metric value".to_owned(), why }
    }
}

/// The target could not be scaled.
fn failed(autoscaler: &Seen<HorizontalPodAutoscaler>, why: &str, now: Timestamp) -> Vec<Action> {
    let mut status = Status::of(autoscaler, now);
    let message = format!("the HPA controller was unable to update the target scale: {why}");
    status.say(("AbleToScale", "False", "FailedUpdateScale", &message));
    let note = Note::warning(reference(&autoscaler.raw), "FailedRescale", why);
    std::iter::once(Action::Record(note)).chain(status.written(autoscaler)).collect()
}

/// A status in the making.
struct Status {
    value: Value,
    now: Timestamp,
}

impl Status {
    fn of(autoscaler: &Seen<HorizontalPodAutoscaler>, now: Timestamp) -> Self {
        Self { value: autoscaler.raw.at(&["status"]).cloned().unwrap_or_else(|| json!({})), now }
    }

    /// Sets a condition.
    fn say(&mut self, (type_, status, reason, message): (&str, &str, &str, &str)) {
        let mut all = self.value["conditions"].as_array().cloned().unwrap_or_default();
        let since = time(self.now);
        let condition = json!({"type": type_, "status": status, "lastTransitionTime": since, "reason": reason,
                               "message": message});
        conditions::set(&mut all, condition);
        self.value["conditions"] = all.into();
    }

    fn desired(&self) -> i32 {
        self.value["desiredReplicas"].as_i64().and_then(|count| i32::try_from(count).ok()).unwrap_or_default()
    }

    fn count(&mut self, current: i32, desired: i32) {
        self.value["currentReplicas"] = current.into();
        self.value["desiredReplicas"] = desired.into();
    }

    fn written(self, autoscaler: &Seen<HorizontalPodAutoscaler>) -> Option<Action> {
        if autoscaler.raw.at(&["status"]) == Some(&self.value) {
            return None;
        }
        let mut object = Object::clone(&autoscaler.raw);
        object.set(&["status"], self.value);
        Some(Action::update_status(Resource::of::<HorizontalPodAutoscaler>(), object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(kind: &str, metrics: Value) -> Value {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
               "metadata": {"name": "h", "namespace": "ns", "uid": "h", "creationTimestamp": "2026-01-01T00:00:00Z"},
               "spec": {"minReplicas": 2, "maxReplicas": 5, "metrics": metrics,
                        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "d"}},
               "status": {"desiredReplicas": 3, "currentMetrics": null}})
    }

    fn deployment(replicas: i32) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "ns", "uid": "d"},
               "spec": {"replicas": replicas, "selector": {}, "template": {}}})
    }

    fn cpu() -> Value {
        json!([{"type": "Resource", "resource": {"name": "cpu",
                                                 "target": {"type": "Utilization", "averageUtilization": 80}}}])
    }

    struct Done {
        scaled_to: Option<i64>,
        notes: Vec<(&'static str, String)>,
        status: Value,
    }

    fn run(controller: &Autoscalers, objects: &[Value], now: &str) -> (Done, Option<Timestamp>) {
        let world = Snapshot::given(&Autoscalers::watches(), objects);
        let outcome = controller.reconcile(&Key::new("ns", "h"), &world, now.parse().unwrap()).unwrap();
        let mut done = Done { scaled_to: None, notes: Vec::new(), status: Value::Null };
        for action in outcome.actions {
            match action {
                Action::Patch { patch, .. } => done.scaled_to = patch["spec"]["replicas"].as_i64(),
                Action::Record(note) => done.notes.push((note.reason, note.message)),
                Action::Update { object, .. } => done.status = object.at(&["status"]).cloned().unwrap(),
                other => panic!("{other:?}"),
            }
        }
        (done, outcome.recheck_at)
    }

    fn new() -> Autoscalers {
        Autoscalers { acted: Mutex::default() }
    }

    const LATER: &str = "2026-01-01T00:00:15Z";

    #[test]
    fn targets_are_brought_within_bounds() {
        for (replicas, scaled_to) in [(1, Some(2)), (9, Some(5)), (0, None), (3, None)] {
            let (done, _) = run(&new(), &[autoscaler("Deployment", cpu()), deployment(replicas)], LATER);
            assert_eq!(done.scaled_to, scaled_to, "{replicas}");
        }
        let (done, recheck) = run(&new(), &[autoscaler("Deployment", cpu()), deployment(1)], LATER);
        let why = "New size: 2; reason: Current number of replicas below Spec.MinReplicas";
        assert_eq!(done.notes, [("SuccessfulRescale", why.to_owned())]);
        let numbers = ["currentReplicas", "desiredReplicas", "lastScaleTime"].map(|field| done.status[field].clone());
        assert_eq!(numbers, [json!(1), json!(2), json!(LATER)]);
        assert_eq!(done.status["conditions"][0]["reason"], "SucceededRescale");
        assert_eq!(recheck, Some("2026-01-01T00:00:30Z".parse().unwrap()));
    }

    #[test]
    fn missing_metrics_are_told() {
        let (done, recheck) = run(&new(), &[autoscaler("Deployment", cpu()), deployment(3)], LATER);
        let why = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from \
                   resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
        assert_eq!(done.notes[0], ("FailedGetResourceMetric", why.to_owned()));
        let whole = format!(
            "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {why}"
        );
        assert_eq!(done.notes[1], ("FailedComputeMetricsReplicas", whole));
        let [able, active] = [0, 1].map(|at| done.status["conditions"][at].clone());
        assert_eq!((&able["status"], &able["reason"]), (&json!("True"), &json!("SucceededGetScale")));
        assert_eq!((&active["status"], &active["reason"]), (&json!("False"), &json!("FailedGetResourceMetric")));
        assert_eq!(active["message"], format!("the HPA was unable to compute the replica count: {why}"));
        assert_eq!((&done.status["currentReplicas"], &done.status["desiredReplicas"]), (&json!(3), &json!(3)));
        assert_eq!(recheck, None);
    }

    #[test]
    fn what_can_not_be_scaled_is_told() {
        for (kind, why) in [
            ("Deployment", "deployments.apps \"d\" not found"),
            ("DaemonSet", "the server could not find the requested resource"),
            ("Zoo", "no matches for kind \"Zoo\" in group \"apps\""),
        ] {
            let (done, _) = run(&new(), &[autoscaler(kind, cpu())], LATER);
            assert_eq!(done.notes, [("FailedGetScale", why.to_owned())]);
            assert_eq!(done.status["conditions"][0]["status"], "False");
        }
    }

    #[test]
    fn an_autoscaler_takes_its_time() {
        let controller = new();
        let objects = [autoscaler("Deployment", cpu()), deployment(1)];
        let (done, recheck) = run(&controller, &objects, "2026-01-01T00:00:14Z");
        assert_eq!((done.scaled_to, recheck), (None, Some(LATER.parse().unwrap())));
        assert_eq!(run(&controller, &objects, LATER).0.scaled_to, Some(2));
        assert_eq!(run(&controller, &objects, "2026-01-01T00:00:20Z").0.scaled_to, None);
        assert_eq!(run(&controller, &objects, "2026-01-01T00:00:30Z").0.scaled_to, Some(2));
    }
}
