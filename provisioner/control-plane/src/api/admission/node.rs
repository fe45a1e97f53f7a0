//! What is asked of nodes: their agents write what is their own, new ones take no pods until their conditions are known.

use kprov_schema::{Object, Status};
use serde_json::{Value, json};

use super::Intent;
use crate::api::errors;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub(super) fn taint(intent: &Intent<'_>, node: &mut Object) -> Result<(), Status> {
    if intent.old.is_some() {
        return Ok(());
    }
    let mut taints = node.at(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    let there = |taint: &Value| taint["key"] == NOT_READY && taint["effect"] == "NoSchedule";
    if !taints.iter().any(there) {
        taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        node.set(&["spec", "taints"], taints.into());
    }
    Ok(())
}

/// An agent writes the node of its own name alone, whatever the path said.
pub(super) fn own_node(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    own(intent, object, |agent, name| format!("node \"{agent}\" is not allowed to modify node \"{name}\""))
}

/// An agent writes the lease of its own name alone.
pub(super) fn own_lease(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    own(intent, object, |_, _| "can only access node lease with the same name as the requesting node".to_owned())
}

fn own(intent: &Intent<'_>, object: &Object, why: fn(&str, &str) -> String) -> Result<(), Status> {
    match intent.user.node_name() {
        Some(agent) if agent != object.name() => {
            Err(errors::forbidden(&intent.target.kind.resource, object.name(), &why(agent, object.name())))
        }
        _ => Ok(()),
    }
}
