//! API services: one for every version that definitions serve, and whether those of other servers can be reached.
//!
//! Source: `pkg/controlplane/controller/crdregistration`, kube-aggregator `pkg/controllers/status/remote`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec, ServiceReference};
use kprov_schema::{Key, Object, Resource, Subresource, conditions};
use serde_json::json;

use super::machinery::action::{Action, Outcome};
use super::machinery::snapshot::{Seen, Snapshot};
use super::machinery::{Config, Controller, Watch};
use crate::client::{DeleteOptions, Preconditions};
use crate::informer::{Change, Unreadable};

/// Says that an API service comes and goes with the definitions of its group.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Keeps the API services of defined groups, and tells of those of other servers.
pub struct ApiServices;

impl Controller for ApiServices {
    const NAME: &'static str = "api-service-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<APIService>(),
            Watch::new::<CustomResourceDefinition>(of_definition),
            Watch::new::<Service>(of_service),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, now: Timestamp) -> Result<Outcome, Unreadable> {
        let found = world.get::<APIService>(key)?;
        let defined = is_defined(&key.name, world)?;
        let Some(service) = found else {
            return Ok(if defined { vec![made(&key.name)].into() } else { Outcome::nothing() });
        };
        if !defined && service.raw.label(MANAGED) == Some("true") {
            return Ok(vec![gone(&service)].into());
        }
        match service.spec.as_ref().and_then(|spec| spec.service.as_ref()) {
            Some(other) => told(&service, other, world, now),
            None => Ok(Outcome::nothing()),
        }
    }
}

/// The API services of the versions that a definition serves.
fn names(definition: &CustomResourceDefinition) -> impl Iterator<Item = String> {
    let served = definition.spec.versions.iter().filter(|version| version.served);
    served.map(|version| format!("{}.{}", version.name, definition.spec.group))
}

fn of_definition(change: &Change, _: &Snapshot) -> Vec<Key> {
    let sides = change.sides().filter_map(|entry| entry.typed::<CustomResourceDefinition>().ok());
    let names: BTreeSet<String> = sides.flat_map(|one| names(&one).collect::<Vec<_>>()).collect();
    names.into_iter().map(|name| Key::new("", name)).collect()
}

/// The API services that another server behind a service answers for.
fn of_service(change: &Change, world: &Snapshot) -> Vec<Key> {
    let Some(key) = change.latest().map(|entry| entry.key.clone()) else { return Vec::new() };
    let names = |spec: &APIServiceSpec| spec.service.as_ref().is_some_and(|other| self::key(other) == key);
    let all = world.readable::<APIService>();
    all.iter().filter(|one| one.spec.as_ref().is_some_and(names)).map(|one| one.raw.key()).collect()
}

fn key(other: &ServiceReference) -> Key {
    Key::new(other.namespace.clone().unwrap_or_default(), other.name.clone().unwrap_or_default())
}

/// Whether a definition that stays serves the group and version of an API service.
fn is_defined(name: &str, world: &Snapshot) -> Result<bool, Unreadable> {
    let definitions = world.all::<CustomResourceDefinition>()?;
    let mut staying = definitions.iter().filter(|definition| !definition.raw.is_deleting());
    Ok(staying.any(|definition| names(definition).any(|one| one == name)))
}

fn made(name: &str) -> Action {
    let (version, group) = name.split_once('.').unwrap_or((name, ""));
    let object = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": name, "labels": {MANAGED: "true"}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 100},
    });
    let object = Object::try_from(object).expect("written as a map");
    Action::Create { resource: Resource::of::<APIService>(), object, report: None }
}

fn gone(service: &Seen<APIService>) -> Action {
    let preconditions = Preconditions { uid: Some(service.raw.uid().0.to_string()), ..Preconditions::default() };
    Action::Delete {
        resource: Resource::of::<APIService>(),
        key: service.raw.key(),
        options: DeleteOptions { preconditions, ..DeleteOptions::default() },
        report: None,
    }
}

/// Says why another server's group can't be reached: requests are passed on to none.
fn told(
    service: &Seen<APIService>,
    other: &ServiceReference,
    world: &Snapshot,
    now: Timestamp,
) -> Result<Outcome, Unreadable> {
    let key = key(other);
    let (reason, message) = if world.get::<Service>(&key)?.is_some() {
        ("NotAggregated", "this API server passes no requests on to others".to_owned())
    } else {
        ("ServiceNotFound", format!("service/{} in \"{}\" is not present", key.name, key.namespace))
    };
    let mut object = Object::clone(&service.raw);
    let condition = json!({
        "type": "Available", "status": "False", "lastTransitionTime": now.to_string(),
        "reason": reason, "message": message,
    });
    conditions::set_in(&mut object, condition);
    if object == *service.raw {
        return Ok(Outcome::nothing());
    }
    let resource = Resource::of::<APIService>();
    Ok(vec![Action::Update { resource, subresource: Some(Subresource::Status), object }].into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn actions(name: &str, objects: &[Value]) -> Vec<Action> {
        let world = Snapshot::given(&ApiServices::watches(), objects);
        ApiServices.reconcile(&Key::new("", name), &world, Timestamp::UNIX_EPOCH).unwrap().actions
    }

    fn service(name: &str, label: &str, spec: Value) -> Value {
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
               "metadata": {"name": name, "uid": "1", "labels": {MANAGED: label}}, "spec": spec})
    }

    #[test]
    fn a_version_that_is_served_has_one() {
        let definition = |served: bool| {
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": "cs.a.b"},
                "spec": {"group": "a.b", "scope": "Cluster", "names": {"kind": "C", "plural": "cs"},
                         "versions": [{"name": "v1", "served": served, "storage": true}]},
            })
        };
        let made = actions("v1.a.b", &[definition(true)]);
        assert!(matches!(made.as_slice(), [Action::Create { object, .. }] if object.name() == "v1.a.b"), "{made:?}");
        let local = || json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100});
        assert_eq!(actions("v1.a.b", &[definition(true), service("v1.a.b", "true", local())]), []);
        let gone = actions("v1.a.b", &[definition(false), service("v1.a.b", "true", local())]);
        assert!(matches!(gone.as_slice(), [Action::Delete { .. }]), "{gone:?}");
        assert_eq!(actions("v1.a.b", &[service("v1.a.b", "onstart", local())]), []);
    }

    #[test]
    fn another_servers_group_is_not_available() {
        let spec = json!({"group": "a.b", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100,
                          "service": {"namespace": "n", "name": "s"}});
        let other = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "n"}});
        for (objects, reason) in [
            (vec![service("v1.a.b", "", spec.clone())], "ServiceNotFound"),
            (vec![service("v1.a.b", "", spec), other], "NotAggregated"),
        ] {
            let told = actions("v1.a.b", &objects);
            let [Action::Update { object, .. }] = told.as_slice() else { panic!("{told:?}") };
            assert_eq!(object.at(&["status"]).unwrap()["conditions"][0]["reason"], reason);
        }
    }
}
