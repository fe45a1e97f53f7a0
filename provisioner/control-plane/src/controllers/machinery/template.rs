//! Pods made of an owner's template, and the events that tell of them.

use k8s_openapi::api::core::v1::Pod;
use kprov_schema::{Object, Resource};
use serde_json::{Map, Value, json};

use super::action::{Action, Note, Report};
use super::meta::{controlled_by, reference};
use super::snapshot::Seen;

/// A pod of an owner's template, with a generated name. The owner controls it.
#[must_use]
pub fn pod_of(owner: &Object) -> Object {
    pod_from(owner.at(&["spec", "template"]), owner)
}

/// A pod of a template, with a generated name. The owner controls it.
#[must_use]
pub fn pod_from(template: Option<&Value>, owner: &Object) -> Object {
    let part =
        |path: &str| template.and_then(|template| template.pointer(path)).filter(|value| !value.is_null()).cloned();
    let mut pod = Object::from(Map::new());
    pod.set(&["apiVersion"], json!("v1"));
    pod.set(&["kind"], json!("Pod"));
    pod.set(&["metadata", "generateName"], json!(format!("{}-", owner.name())));
    pod.set(&["metadata", "namespace"], json!(owner.namespace()));
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = part(&format!("/metadata/{field}")) {
            pod.set(&["metadata", field], value);
        }
    }
    pod.set(&["metadata", "ownerReferences"], json!([controlled_by(owner)]));
    pod.set(&["spec"], part("/spec").unwrap_or_else(|| json!({})));
    pod
}

/// Creates a pod and tells so on its owner.
#[must_use]
pub fn create(owner: &Object, pod: Object) -> Action {
    Action::Create {
        resource: Resource::of::<Pod>(),
        object: pod,
        report: Some(Report {
            success: Note::normal(reference(owner), "SuccessfulCreate", "Created pod: {}"),
            failure: Note::warning(reference(owner), "FailedCreate", "Error creating: {}"),
        }),
    }
}

/// Deletes a pod and tells so on its owner.
#[must_use]
pub fn delete(owner: &Object, pod: &Seen<Pod>) -> Action {
    reported(
        Action::delete(Resource::of::<Pod>(), pod.raw.key(), &pod.raw.uid()),
        Report {
            success: Note::normal(reference(owner), "SuccessfulDelete", "Deleted pod: {}"),
            failure: Note::warning(reference(owner), "FailedDelete", "Error deleting: {}"),
        },
    )
}

/// A creation or deletion that is told of.
#[must_use]
pub fn reported(mut action: Action, with: Report) -> Action {
    if let Action::Create { report, .. } | Action::Delete { report, .. } = &mut action {
        *report = Some(with);
    }
    action
}
