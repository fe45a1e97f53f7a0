//! Objects live in namespaces that are there, and new ones only in those that stay.

use kprov_schema::{Key, Object, Resource, Status};
use serde_json::Value;

use super::Intent;
use crate::api::errors;
use crate::store::StoreKey;

/// Namespaces that can't be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

fn namespaces() -> Resource {
    Resource { group: "".into(), version: "v1".into(), plural: "namespaces".into() }
}

pub(super) fn exists(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    let target = intent.target;
    if !target.kind.is_namespaced() || intent.old.is_some() {
        return Ok(());
    }
    let name = target.key.namespace.as_str();
    let namespaces = namespaces();
    let found = intent.core.store.get(&StoreKey::new(&namespaces, &Key::new("", name)));
    let Some(namespace) = found else { return Err(errors::not_found(&namespaces, name)) };
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
