//! What is asked of nodes: their agents write what is their own, new ones take no pods until their conditions are known.

use std::collections::BTreeSet;

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

/// An agent writes the node of its own name alone, whatever the path said, and nothing that draws pods to it.
pub(super) fn own_node(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    own(intent, object, |agent, name| format!("node \"{agent}\" is not allowed to modify node \"{name}\""))?;
    let Some(agent) = intent.user.node_name() else { return Ok(()) };
    let refuse = |why: &str| Err(refusal(intent, object.name(), why));
    let wrong = forbidden_labels(object, intent.old.map(AsRef::as_ref));
    let Some(old) = intent.old else {
        return match wrong.is_empty() {
            true => Ok(()),
            false => {
                refuse(&format!("node {agent:?} is not allowed to set the following labels: {}", wrong.join(", ")))
            }
        };
    };
    let differs = |path: &[&str]| some(object.at(path)) != some(old.at(path));
    if differs(&["spec", "taints"]) {
        return refuse(&format!("node {agent:?} is not allowed to modify taints"));
    }
    if differs(&["metadata", "ownerReferences"]) {
        return refuse(&format!("node {agent:?} is not allowed to modify ownerReferences"));
    }
    if !wrong.is_empty() {
        return refuse(&format!("is not allowed to modify labels: {}", wrong.join(", ")));
    }
    Ok(())
}

/// A list that holds something: nothing and an empty one are the same.
fn some(list: Option<&Value>) -> Option<&Value> {
    list.filter(|list| !list.is_null() && *list != &json!([]))
}

/// Labels of Kubernetes' own domains that agents give their nodes.
const OWN_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// Domains in which agents give their nodes any label.
const OWN_DOMAINS: &[&str] = &["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The labels that differ and are not the agent's to set, in order.
fn forbidden_labels<'a>(new: &'a Object, old: Option<&'a Object>) -> Vec<&'a str> {
    let (new, old) = (new.labels().collect(), old.into_iter().flat_map(Object::labels).collect());
    let changed = BTreeSet::symmetric_difference(&new, &old).map(|(label, _)| *label);
    changed.filter(|label| !may_label(label)).collect::<BTreeSet<&str>>().into_iter().collect()
}

/// Source: `plugin/pkg/admission/noderestriction` and `kubelet/pkg/apis/well_known_labels.go`.
fn may_label(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    let reserved = within("kubernetes.io") || within("k8s.io");
    !reserved || OWN_LABELS.contains(&label) || OWN_DOMAINS.iter().any(|domain| within(domain))
}

/// An agent writes the status of a pod on its own node alone. Asked of the pod that is changed: the one that was there when
/// the request began may have been another.
pub(super) fn own_pod_status(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    let (Some(agent), Some(old)) = (intent.user.node_name(), intent.old) else { return Ok(()) };
    let refuse = |why: String| Err(refusal(intent, object.name(), &why));
    if !is_on(old, agent) {
        return refuse(format!("node {agent:?} can only update pod status for pods with spec.nodeName set to itself"));
    }
    if !object.labels().eq(old.labels()) {
        return refuse(format!("node {agent:?} cannot update labels through pod status"));
    }
    Ok(())
}

/// An agent deletes pods on its own node alone.
pub(super) fn own_pod(intent: &Intent<'_>) -> Result<(), Status> {
    let (Some(agent), Some(old)) = (intent.user.node_name(), intent.old) else { return Ok(()) };
    if is_on(old, agent) {
        return Ok(());
    }
    let why = format!("node {agent:?} can only delete pods with spec.nodeName set to itself");
    Err(refusal(intent, old.name(), &why))
}

fn is_on(pod: &Object, node: &str) -> bool {
    pod.text(&["spec", "nodeName"]) == Some(node)
}

fn refusal(intent: &Intent<'_>, name: &str, why: &str) -> Status {
    errors::forbidden(&intent.target.kind.resource, name, why)
}

/// An agent writes the lease of its own name alone.
pub(super) fn own_lease(intent: &Intent<'_>, object: &mut Object) -> Result<(), Status> {
    own(intent, object, |_, _| "can only access node lease with the same name as the requesting node".to_owned())
}

fn own(intent: &Intent<'_>, object: &Object, why: fn(&str, &str) -> String) -> Result<(), Status> {
    match intent.user.node_name() {
        Some(agent) if agent != object.name() => Err(refusal(intent, object.name(), &why(agent, object.name()))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_label_their_nodes_as_upstream_lets_them() {
        for (label, may) in [
            ("app", true),
            ("example.com/pool", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/any", true),
            ("a.kubelet.kubernetes.io/any", true),
            ("topology.kubernetes.io/zone", true),
            ("notkubernetes.io/a", true),
            ("node-role.kubernetes.io/control-plane", false),
            ("kubernetes.io/role", false),
            ("a.k8s.io/b", false),
            ("node-restriction.kubernetes.io/pci", false),
            ("a.node-restriction.kubernetes.io/pci", false),
        ] {
            assert_eq!(may_label(label), may, "{label}");
        }
    }
}
