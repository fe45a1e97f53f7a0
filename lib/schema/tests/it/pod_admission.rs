//! Stands in for what the API server's admission makes of pods before they are prepared.

use kprov_schema::{Kind, Object};
use serde_json::{Value, json};

/// Completes a pod as the server would: tolerations, priority, service account and its token.
pub(crate) fn admit(kind: &Kind, object: &mut Object, old: Option<&Object>) {
    if kind.kind != "Pod" {
        return;
    }
    tolerate(object);
    match old {
        None => {
            priority(object);
            account(object);
        }
        Some(old) => {
            for field in ["priority", "preemptionPolicy"] {
                let before = old.at(&["spec", field]).cloned().unwrap_or_default();
                if object.at(&["spec", field]).is_none() && !before.is_null() {
                    object.set(&["spec", field], before);
                }
            }
        }
    }
}

fn tolerate(pod: &mut Object) {
    let mut all = list(pod, &["spec", "tolerations"]);
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let covers = |one: &Value| {
            let (own, effect) = (one["key"].as_str().unwrap_or_default(), one["effect"].as_str().unwrap_or_default());
            (own.is_empty() || own == key) && (effect.is_empty() || effect == "NoExecute")
        };
        if !all.iter().any(covers) {
            all.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    pod.set(&["spec", "tolerations"], json!(all));
}

fn priority(pod: &mut Object) {
    pod.set(&["spec", "priority"], json!(0));
    if pod.at(&["spec", "preemptionPolicy"]).is_none() {
        pod.set(&["spec", "preemptionPolicy"], json!("PreemptLowerPriority"));
    }
}

fn account(pod: &mut Object) {
    if pod.text(&["spec", "serviceAccountName"]).unwrap_or_default().is_empty() {
        pod.set(&["spec", "serviceAccountName"], json!("default"));
    }
    if pod.at(&["spec", "automountServiceAccountToken"]) == Some(&json!(false)) {
        return;
    }
    let name = "kube-api-access-abcde";
    let mut volumes = list(pod, &["spec", "volumes"]);
    volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
        {"downwardAPI": {"items": [
            {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}
        ]}}
    ]}}));
    let place = "/var/run/secrets/kubernetes.io/serviceaccount";
    for field in ["initContainers", "containers"] {
        let mut containers = list(pod, &["spec", field]);
        for container in &mut containers {
            let mut mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if !mounts.iter().any(|mount| mount["mountPath"] == place) {
                mounts.push(json!({"mountPath": place, "name": name, "readOnly": true}));
            }
            container["volumeMounts"] = json!(mounts);
        }
        if !containers.is_empty() {
            pod.set(&["spec", field], json!(containers));
        }
    }
    pod.set(&["spec", "volumes"], json!(volumes));
}

fn list(pod: &Object, path: &[&str]) -> Vec<Value> {
    pod.at(path).and_then(Value::as_array).cloned().unwrap_or_default()
}
