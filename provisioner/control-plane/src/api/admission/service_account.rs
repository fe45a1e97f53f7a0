//! Every pod acts as a service account, whose token is put into its containers.
//!
//! Source: `plugin/pkg/admission/serviceaccount`.

use k8s_openapi::api::core::v1::ServiceAccount;
use kprov_schema::{Object, Status};
use serde_json::{Value, json};

use super::Intent;
use crate::api::errors;

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// An hour and some, so that a renewal never comes too late.
const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";

fn forbidden(intent: &Intent<'_>, pod: &Object, message: &str) -> Status {
    errors::forbidden(&intent.target.kind.resource, pod.name(), message)
}

pub(super) fn admit(intent: &Intent<'_>, pod: &mut Object) -> Result<(), Status> {
    if intent.old.is_some() || pod.annotation(MIRROR).is_some() {
        return Ok(());
    }
    if pod.text(&["spec", "serviceAccountName"]).unwrap_or_default().is_empty() {
        pod.set(&["spec", "serviceAccountName"], "default".into());
    }
    let name = pod.text(&["spec", "serviceAccountName"]).unwrap_or_default().to_owned();
    pod.set(&["spec", "serviceAccount"], name.as_str().into());
    let namespace = &intent.target.key.namespace;
    let Some(account) = intent.core.get::<ServiceAccount>(namespace, &name) else {
        let message =
            format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found");
        return Err(forbidden(intent, pod, &message));
    };
    let wants = |object: &Object, path: &[&str]| object.at(path).and_then(Value::as_bool);
    let mounts = wants(pod, &["spec", "automountServiceAccountToken"])
        .or_else(|| wants(&account.object, &["automountServiceAccountToken"]))
        .unwrap_or(true);
    if mounts {
        mount(intent, pod);
    }
    if super::super::write::is_empty_list(pod, &["spec", "imagePullSecrets"])
        && let Some(secrets) = account.object.at(&["imagePullSecrets"])
    {
        pod.set(&["spec", "imagePullSecrets"], secrets.clone());
    }
    Ok(())
}

/// Puts the token into every container that has nothing at its path.
fn mount(intent: &Intent<'_>, pod: &mut Object) {
    let volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array);
    let there = volumes
        .into_iter()
        .flatten()
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(str::to_owned);
    let volume = there.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", intent.core.world.suffix(5)));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        let Some(Value::Object(spec)) = pod.map_mut().get_mut("spec") else { continue };
        let Some(Value::Array(containers)) = spec.get_mut(list) else { continue };
        for container in containers {
            used |= mount_one(container, &volume);
        }
    }
    if used && there.is_none() {
        let mut volumes = pod.at(&["spec", "volumes"]).and_then(Value::as_array).cloned().unwrap_or_default();
        volumes.push(token_volume(&volume));
        pod.set(&["spec", "volumes"], volumes.into());
    }
}

/// Whether the container got the mount.
fn mount_one(container: &mut Value, volume: &str) -> bool {
    let Value::Object(container) = container else { return false };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Value::Array(mounts) = mounts else { return false };
    if mounts.iter().any(|mount| mount["mountPath"] == TOKEN_PATH) {
        return false;
    }
    mounts.push(json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH}));
    true
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]}})
}
