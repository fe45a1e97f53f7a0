//! Objects live in namespaces that are there, and new ones only in those that stay.

use k8s_openapi::api::core::v1::Namespace;
use kprov_schema::{Object, Resource, Status};
use serde_json::Value;

use super::Intent;
use crate::api::errors;

/// Namespaces that can't be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) fn exists(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    let target = intent.target;
    if !target.kind.is_namespaced() || intent.old.is_some() {
        return Ok(());
    }
    let name = target.key.namespace.as_str();
    let Some(namespace) = intent.core.get::<Namespace>("", name) else {
        return Err(errors::not_found(&Resource::of::<Namespace>(), name));
    };
    let ending = namespace.object.is_deleting()
        || namespace.object.at(&["status", "phase"]).and_then(Value::as_str) == Some("Terminating");
    if ending { Err(errors::terminating(&target.kind.resource, object.name(), name)) } else { Ok(()) }
}

pub(super) fn may_go(intent: &Intent<'_>) -> Result<(), Status> {
    let name = &intent.target.key.name;
    if IMMORTAL.contains(&name.as_str()) {
        let message = "this namespace may not be deleted";
        return Err(errors::forbidden(&intent.target.kind.resource, name, message));
    }
    Ok(())
}
