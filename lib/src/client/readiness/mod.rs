//! When an object is ready: one table by kind, each row a pure function of the object.
//!
//! | kind | ready means |
//! |---|---|
//! | Deployment, ReplicaSet, StatefulSet, ReplicationController | all pods are of the newest template and available |
//! | DaemonSet | every node that should have a pod has a new one that is available |
//! | Pod | its containers are ready, or have done their work |
//! | Job | it is complete, or suspended |
//! | Service | a load balancer has an address; other types have theirs |
//! | Ingress | an ingress controller has given it an address |
//! | PersistentVolumeClaim, PersistentVolume | bound; available or bound |
//! | Namespace, Node | active; ready |
//! | CustomResourceDefinition | its kind is served |
//! | PodDisruptionBudget | as many pods are healthy as it demands |
//! | HorizontalPodAutoscaler | it can read its metrics and scale |
//! | APIService | the server behind it answers |
//! | everything else | its condition `Ready`, if it has one, is true; else it is there |
//!
//! For all of them the controller must have seen the last change (`observedGeneration`).

mod others;
mod pods;
mod workloads;

use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    Namespace, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kprov_schema::Object;
use serde_json::Value;

pub use pods::pod_trouble;
pub(super) use pods::{Trouble, trouble_of};

/// Whether an object does what it is there for.
///
/// ```
/// use kprov::client::Readiness;
///
/// fn told(readiness: &Readiness) -> &str {
///     match readiness {
///         Readiness::Ready => "ready",
///         Readiness::Waiting(why) | Readiness::Failed(why) => why,
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet, and why.
    Waiting(String),
    /// It never will without a change, and why.
    Failed(String),
}

use Readiness::{Failed, Ready, Waiting};

type Rule = fn(&Object) -> Readiness;

const fn rule<T: Resource>(rule: Rule) -> (&'static str, &'static str, Rule) {
    (T::GROUP, T::KIND, rule)
}

/// What each kind waits for, by group and kind.
const RULES: &[(&str, &str, Rule)] = &[
    rule::<Deployment>(workloads::deployment),
    rule::<ReplicaSet>(workloads::replicas),
    rule::<StatefulSet>(workloads::stateful_set),
    rule::<DaemonSet>(workloads::daemon_set),
    rule::<ReplicationController>(workloads::replicas),
    rule::<Job>(workloads::job),
    rule::<Pod>(pods::pod),
    rule::<Service>(others::service),
    rule::<PersistentVolumeClaim>(others::claim),
    rule::<PersistentVolume>(others::volume),
    rule::<Namespace>(others::namespace),
    rule::<Ingress>(others::ingress),
    rule::<CustomResourceDefinition>(others::definition),
    rule::<PodDisruptionBudget>(others::disruption_budget),
    rule::<HorizontalPodAutoscaler>(others::autoscaler),
    rule::<APIService>(others::api_service),
];

/// Whether an object, as the server shows it, is ready. Pure.
///
/// ```
/// use kprov::client::{Readiness, readiness};
/// use kprov::schema::Object;
/// use serde_json::json;
///
/// let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Bound"}});
/// assert_eq!(readiness(&Object::try_from(claim).unwrap()), Readiness::Ready);
/// ```
#[must_use]
pub fn readiness(object: &Object) -> Readiness {
    if object.is_deleting() {
        return Waiting("it is being deleted".to_owned());
    }
    let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
    if let Some(observed) = number(object, &["status", "observedGeneration"])
        && observed < object.generation()
    {
        return Waiting("its controller has not seen the last change yet".to_owned());
    }
    let rule = RULES.iter().find(|(of, kind, _)| *of == group && *kind == object.kind());
    rule.map_or_else(|| others::generic(object), |(_, _, rule)| rule(object))
}

/// What keeps an object that was deleted; `None` when it is gone, or another one has taken its name.
pub(super) fn remains(object: &Object) -> Option<String> {
    if !object.is_deleting() {
        return None;
    }
    let finalizers: Vec<&str> = object.finalizers().collect();
    let said = conditions(object).filter(|one| one["status"] == "True" && object.kind() == "Namespace");
    let said: Vec<&str> = said.filter_map(|one| one["message"].as_str()).collect();
    if !said.is_empty() {
        return Some(said.join(" "));
    }
    let spec = object.at(&["spec", "finalizers"]).and_then(Value::as_array).is_some_and(|all| !all.is_empty());
    Some(match (finalizers.is_empty(), spec, object.kind()) {
        (false, ..) => format!("it is kept by the finalizers {}", finalizers.join(", ")),
        (true, true, _) => "its content is being deleted".to_owned(),
        (true, false, "Pod") => "its containers are given time to end".to_owned(),
        _ => "it is being deleted".to_owned(),
    })
}

fn number(object: &Object, path: &[&str]) -> Option<i64> {
    object.at(path).and_then(Value::as_i64)
}

/// A number of the status, 0 when it is not there.
fn count(object: &Object, field: &str) -> i64 {
    number(object, &["status", field]).unwrap_or_default()
}

fn conditions(object: &Object) -> impl Iterator<Item = &Value> {
    object.at(&["status", "conditions"]).and_then(Value::as_array).into_iter().flatten()
}

/// A condition's status, and what it says: its message, or its reason.
fn condition<'a>(object: &'a Object, kind: &str) -> Option<(&'a str, &'a str)> {
    let found = conditions(object).find(|one| one["type"] == kind)?;
    let text = |name: &str| found[name].as_str().filter(|text| !text.is_empty());
    Some((text("status").unwrap_or_default(), text("message").or(text("reason")).unwrap_or("no reason is given")))
}

fn waiting(why: impl Into<String>) -> Readiness {
    Waiting(why.into())
}

#[cfg(test)]
mod tests;
