//! Stands in for what the API server's admission does between preparing an object and judging it.

use kprov_schema::rules::service;
use kprov_schema::{FieldError, Kind, Object};
use serde_json::{Value, json};

/// Completes an object as the server would, with made-up addresses and ports; the list tells why it can't.
pub(crate) fn admit(kind: &Kind, object: &mut Object, old: Option<&Object>) -> Vec<FieldError> {
    if kind.kind == "Node" && old.is_none() {
        taint(object);
    }
    if old.is_none() {
        protect(kind, object);
    }
    if kind.kind != "Service" {
        return Vec::new();
    }
    let errors = service::assign_families(object, old, &["IPv4"]).unwrap();
    if errors.is_empty() {
        allocate(object);
    }
    errors
}

/// Keeps storage that is in use from going.
fn protect(kind: &Kind, object: &mut Object) {
    let finalizer = match kind.kind.as_ref() {
        "PersistentVolume" => "kubernetes.io/pv-protection",
        "PersistentVolumeClaim" => "kubernetes.io/pvc-protection",
        "VolumeAttributesClass" => "kubernetes.io/vac-protection",
        _ => return,
    };
    let finalizers: Vec<&str> = object.finalizers().chain([finalizer]).collect();
    let finalizers = json!(finalizers);
    object.set(&["metadata", "finalizers"], finalizers);
}

/// Gives a service the addresses and ports that the server takes from its pools.
fn allocate(service: &mut Object) {
    let kind = service.text(&["spec", "type"]).unwrap_or_default().to_owned();
    if kind == "ExternalName" {
        return;
    }
    if service.at(&["spec", "clusterIP"]).is_none() {
        service.set(&["spec", "clusterIP"], json!("10.96.77.77"));
        service.set(&["spec", "clusterIPs"], json!(["10.96.77.77"]));
    }
    let balanced = kind == "LoadBalancer";
    let wanted = kind == "NodePort"
        || (balanced && service.at(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false)));
    let mut ports = service.at(&["spec", "ports"]).cloned().unwrap_or_default();
    let given = |port: &Value| port["nodePort"].as_i64().filter(|port| *port != 0);
    let used: Vec<i64> = ports.as_array().into_iter().flatten().filter_map(given).collect();
    let mut free = (30_500..).filter(|port| !used.contains(port));
    for port in ports.as_array_mut().into_iter().flatten().filter(|port| wanted && given(port).is_none()) {
        port["nodePort"] = json!(free.next());
    }
    if wanted && !ports.is_null() {
        service.set(&["spec", "ports"], ports);
    }
    let local = service.text(&["spec", "externalTrafficPolicy"]) == Some("Local");
    if balanced && local && service.at(&["spec", "healthCheckNodePort"]).is_none() {
        service.set(&["spec", "healthCheckNodePort"], json!(30600));
    }
}

/// Keeps pods away from a new node until it is ready.
fn taint(node: &mut Object) {
    let mut taints = node.at(&["spec", "taints"]).and_then(Value::as_array).cloned().unwrap_or_default();
    taints.push(json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}));
    node.set(&["spec", "taints"], json!(taints));
}
