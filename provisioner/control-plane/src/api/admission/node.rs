//! New nodes take no pods until their conditions are known.

use kprov_schema::{Object, Status};
use serde_json::{Value, json};

use super::Intent;

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
