//! Claims that pods use, volumes that claims hold, and classes that these name stay until that is over.
//!
//! The API server gives each a finalizer when it is made; these controllers take it away in time.
//! Source: `pkg/controller/volume/pvcprotection`, `pkg/controller/volume/pvprotection`,
//! `pkg/controller/volume/vacprotection`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kprov_schema::{Key, Object, Resource};
use serde_json::json;

use super::machinery::action::{Action, Outcome};
use super::machinery::meta::controller_of;
use super::machinery::snapshot::Snapshot;
use super::machinery::{Config, Controller, Watch, status};
use crate::client::PatchKind;
use crate::informer::{Change, Unreadable};

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
const ATTRIBUTES_CLASS: &str = "kubernetes.io/vac-protection";

/// Lets claims go that no pod on a node uses.
pub struct ClaimProtection;

impl Controller for ClaimProtection {
    const NAME: &'static str = "persistentvolumeclaim-protection-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<PersistentVolumeClaim>(), Watch::new::<Pod>(claims_of)]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(claim) = world.get::<PersistentVolumeClaim>(key)? else { return Ok(Outcome::nothing()) };
        if !is_candidate(&claim.raw, CLAIM) {
            return Ok(Outcome::nothing());
        }
        let pods = world.in_namespace::<Pod>(&key.namespace)?;
        if pods.iter().any(|pod| uses(pod, &claim)) {
            return Ok(Outcome::nothing());
        }
        Ok(vec![release(Resource::of::<PersistentVolumeClaim>(), &claim.raw, CLAIM)].into())
    }
}

/// Lets volumes go that are bound to no claim.
pub struct VolumeProtection;

impl Controller for VolumeProtection {
    const NAME: &'static str = "persistentvolume-protection-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![Watch::own::<PersistentVolume>()]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(volume) = world.get::<PersistentVolume>(key)? else { return Ok(Outcome::nothing()) };
        let bound = volume.raw.text(&["status", "phase"]) == Some("Bound");
        if bound || !is_candidate(&volume.raw, VOLUME) {
            return Ok(Outcome::nothing());
        }
        Ok(vec![release(Resource::of::<PersistentVolume>(), &volume.raw, VOLUME)].into())
    }
}

/// Lets classes of volume attributes go that no volume and no claim names.
pub struct AttributesClassProtection;

impl Controller for AttributesClassProtection {
    const NAME: &'static str = "volumeattributesclass-protection-controller";

    fn new(_: &Config, _: Timestamp) -> Self {
        Self
    }

    fn watches() -> Vec<Watch> {
        vec![
            Watch::own::<VolumeAttributesClass>(),
            Watch::new::<PersistentVolume>(attributes_classes_of),
            Watch::new::<PersistentVolumeClaim>(attributes_classes_of),
        ]
    }

    fn reconcile(&self, key: &Key, world: &Snapshot, _: Timestamp) -> Result<Outcome, Unreadable> {
        let Some(class) = world.get::<VolumeAttributesClass>(key)? else { return Ok(Outcome::nothing()) };
        if !is_candidate(&class.raw, ATTRIBUTES_CLASS) {
            return Ok(Outcome::nothing());
        }
        let names = |object: &Object| attributes_classes(object).any(|name| name == key.name);
        let volumes = world.all::<PersistentVolume>()?;
        let claims = world.all::<PersistentVolumeClaim>()?;
        if volumes.iter().any(|volume| names(&volume.raw)) || claims.iter().any(|claim| names(&claim.raw)) {
            return Ok(Outcome::nothing());
        }
        Ok(vec![release(Resource::of::<VolumeAttributesClass>(), &class.raw, ATTRIBUTES_CLASS)].into())
    }
}

/// The classes of attributes that a volume or claim has, had or is to have.
fn attributes_classes(object: &Object) -> impl Iterator<Item = &str> {
    const NAMES: &[&[&str]] = &[
        &["spec", "volumeAttributesClassName"],
        &["status", "currentVolumeAttributesClassName"],
        &["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"],
    ];
    NAMES.iter().filter_map(|path| object.text(path)).filter(|name| !name.is_empty())
}

/// The classes to look at when a volume or claim changes or goes.
fn attributes_classes_of(change: &Change, _: &Snapshot) -> Vec<Key> {
    change.sides().flat_map(|entry| attributes_classes(&entry.raw)).map(|name| Key::new("", name)).collect()
}

fn is_candidate(object: &Object, finalizer: &str) -> bool {
    object.is_deleting() && object.finalizers().any(|one| one == finalizer)
}

/// The claims to look at when a pod changes or goes.
fn claims_of(change: &Change, _: &Snapshot) -> Vec<Key> {
    let of = |pod: &Pod| -> Vec<Key> {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        volumes(pod).filter_map(|one| claim_name(pod, one)).map(|name| Key::new(namespace.as_str(), name)).collect()
    };
    change.sides().filter_map(|entry| entry.typed::<Pod>().ok()).flat_map(|pod| of(&pod)).collect()
}

/// The volumes of a pod.
pub(super) fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

/// The claim behind a volume: one that is named, or the one that is made for the pod.
pub(super) fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    let made = || format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name);
    let named = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
    named.or_else(|| volume.ephemeral.as_ref().map(|_| made()))
}

/// Whether a pod uses a claim. One that is on no node does not: agents start no pod whose claim is going.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref().is_some_and(|node| !node.is_empty()));
    let owned = || controller_of(&claim.metadata).is_some_and(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref());
    let holds = |volume: &Volume| {
        claim_name(pod, volume) == claim.metadata.name
            && (volume.persistent_volume_claim.is_some() || (!status::is_finished(pod) && owned()))
    };
    placed && volumes(pod).any(holds)
}

/// Takes a finalizer away, provided that the object has not changed since.
fn release(resource: Resource, object: &Object, finalizer: &str) -> Action {
    let left: Vec<&str> = object.finalizers().filter(|one| *one != finalizer).collect();
    let version = object.at(&["metadata", "resourceVersion"]).cloned().unwrap_or_default();
    Action::Patch {
        resource,
        key: object.key(),
        subresource: None,
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": object.uid().0, "resourceVersion": version, "finalizers": left}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn claim(deleting: bool) -> Value {
        let mut metadata =
            json!({"name": "c", "namespace": "n", "uid": "c", "finalizers": ["a/b", "kubernetes.io/pvc-protection"]});
        if deleting {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}})
    }

    fn pod(name: &str, node: &str, volume: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "n", "uid": name},
               "spec": {"nodeName": node, "containers": [], "volumes": [volume]}, "status": {"phase": "Succeeded"}})
    }

    fn released(objects: &[Value]) -> bool {
        let world = Snapshot::given(&ClaimProtection::watches(), objects);
        let outcome = ClaimProtection.reconcile(&Key::new("n", "c"), &world, Timestamp::UNIX_EPOCH).unwrap();
        match outcome.actions.as_slice() {
            [] => false,
            [Action::Patch { patch, .. }] => patch["metadata"]["finalizers"] == json!(["a/b"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_claim_stays_while_a_pod_on_a_node_names_it() {
        let names = || json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
        assert!(!released(&[claim(false)]));
        assert!(released(&[claim(true)]));
        assert!(!released(&[claim(true), pod("p", "node", names())]));
        assert!(released(&[claim(true), pod("p", "", names())]));
        let other = json!({"name": "v", "persistentVolumeClaim": {"claimName": "d"}});
        assert!(released(&[claim(true), pod("p", "node", other)]));
    }

    #[test]
    fn a_class_of_attributes_stays_while_it_is_named() {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {
            "name": "fast", "uid": "1", "finalizers": [ATTRIBUTES_CLASS], "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let volume = |name: &str| {
            json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
                                         "spec": {"volumeAttributesClassName": name}})
        };
        let claim = |name: &str| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "c", "namespace": "n"}, "status": {"currentVolumeAttributesClassName": name}})
        };
        for (others, stays) in [
            (vec![], false),
            (vec![volume("slow"), claim("slow")], false),
            (vec![volume("fast")], true),
            (vec![claim("fast")], true),
        ] {
            let objects: Vec<Value> = others.into_iter().chain([class.clone()]).collect();
            let world = Snapshot::given(&AttributesClassProtection::watches(), &objects);
            let key = Key::new("", "fast");
            let outcome = AttributesClassProtection.reconcile(&key, &world, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(outcome.actions.is_empty(), stays, "{objects:?}");
        }
    }

    #[test]
    fn a_volume_stays_while_it_is_bound() {
        for (phase, stays) in [("Bound", true), ("Available", false), ("Released", false)] {
            let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
                "metadata": {"name": "v", "uid": "v", "finalizers": [VOLUME], "deletionTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {}, "status": {"phase": phase}});
            let world = Snapshot::given(&VolumeProtection::watches(), &[volume]);
            let outcome = VolumeProtection.reconcile(&Key::new("", "v"), &world, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(outcome.actions.is_empty(), stays, "{phase}");
        }
    }
}
