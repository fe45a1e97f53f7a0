//! Owners, references and times of objects, as every controller needs them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kprov_schema::{Key, Object, Resource};
use serde_json::{Value, json};

use super::action::Action;
use crate::client::PatchKind;

/// The owner that controls an object.
#[must_use]
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// A reference for a new object to the owner that controls it.
#[must_use]
pub fn controlled_by(owner: &Object) -> Value {
    json!({
        "apiVersion": owner.api_version(),
        "kind": owner.kind(),
        "name": owner.name(),
        "uid": owner.uid().0,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// What an event says it is about.
#[must_use]
pub fn reference(object: &Object) -> ObjectReference {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ObjectReference {
        api_version: text(object.api_version()),
        kind: text(object.kind()),
        name: text(object.name()),
        namespace: text(object.namespace()),
        uid: text(&object.uid().0),
        resource_version: object.text(&["metadata", "resourceVersion"]).map(str::to_owned),
        field_path: None,
    }
}

/// A moment in whole seconds, as Kubernetes writes times.
#[must_use]
pub fn time(at: Timestamp) -> Value {
    Value::String(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Key of the controller of the given kind that an object names.
#[must_use]
pub fn controller_key<O: k8s_openapi::Resource>(object: &Object) -> Option<Key> {
    let owners = object.at(&["metadata", "ownerReferences"])?.as_array()?;
    let owner = owners.iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))?;
    let (kind, name) = (owner.get("kind")?.as_str()?, owner.get("name")?.as_str()?);
    (kind == O::KIND).then(|| Key::new(object.namespace(), name))
}

/// The object's owner references as they stand.
#[must_use]
pub fn owner_references(object: &Object) -> Vec<Value> {
    object.at(&["metadata", "ownerReferences"]).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Replaces an object's owners, provided that it has not changed since.
#[must_use]
pub fn set_owners(resource: &Resource, object: &Object, owners: Vec<Value>) -> Action {
    let owners = if owners.is_empty() { Value::Null } else { Value::Array(owners) };
    let version = object.at(&["metadata", "resourceVersion"]).cloned().unwrap_or_default();
    Action::Patch {
        resource: resource.clone(),
        key: object.key(),
        subresource: None,
        kind: PatchKind::Merge,
        patch: json!({"metadata": {"uid": object.uid().0, "resourceVersion": version, "ownerReferences": owners}}),
    }
}
