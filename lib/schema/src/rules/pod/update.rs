//! What of a pod may change.

use k8s_openapi::api::core::v1::{
    Affinity, Container, NodeAffinity, NodeSelectorTerm, Pod, PodSchedulingGate, PodSpec, Toleration,
};
use serde_json::{Value, json};

use super::{placement, same};
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks an update's `spec` against the old one.
pub(super) fn update(errors: &mut Errors, new: &PodSpec, old: &PodSpec) {
    let at = Path::root("spec");
    if !containers(errors, &at.child("containers"), &new.containers, &old.containers) {
        return;
    }
    let (init, old_init) = (list(&new.init_containers), list(&old.init_containers));
    if !containers(errors, &at.child("initContainers"), init, old_init) {
        return;
    }
    if !deadline(errors, &at.child("activeDeadlineSeconds"), new, old) {
        return;
    }
    let (tolerations, before) = (list(&new.tolerations), list(&old.tolerations));
    only_more_tolerations(errors, &at.child("tolerations"), tolerations, before);
    let (gates, before) = (list(&new.scheduling_gates), list(&old.scheduling_gates));
    only_fewer_gates(errors, &at.child("schedulingGates"), gates, before);
    if same(new, old) {
        return;
    }
    let mut rest = without_changeable(new, old);
    if !list(&old.scheduling_gates).is_empty() {
        gated(errors, &at, &mut rest, old);
    }
    if !same(&rest, old) {
        errors.forbidden(&at, &format!("{CHANGEABLE}\n{}", difference(&rest, old)));
    }
}

fn containers(errors: &mut Errors, at: &Path<'_>, new: &[Container], old: &[Container]) -> bool {
    if new.len() != old.len() {
        errors.forbidden(at, "pod updates may not add or remove containers");
        return false;
    }
    for (index, container) in new.iter().enumerate() {
        let at = at.index(index);
        errors.filled(&at.child("image"), text(&container.image));
        super::containers::image_padding(errors, &at, container);
    }
    true
}

fn deadline(errors: &mut Errors, at: &Path<'_>, new: &PodSpec, old: &PodSpec) -> bool {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(at, new, "must be between 0 and 2147483647, inclusive");
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(at, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(at, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn only_more_tolerations(errors: &mut Errors, at: &Path<'_>, new: &[Toleration], old: &[Toleration]) {
    let kept = |old: &Toleration| {
        new.iter().any(|new| {
            let aside = Toleration { toleration_seconds: new.toleration_seconds, ..old.clone() };
            same(&aside, new)
        })
    };
    if !old.iter().all(kept) {
        errors.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
        return;
    }
    placement::tolerations(errors, at, new);
}

fn only_fewer_gates(errors: &mut Errors, at: &Path<'_>, new: &[PodSchedulingGate], old: &[PodSchedulingGate]) {
    for (index, gate) in new.iter().enumerate().filter(|(_, gate)| !old.contains(gate)) {
        let at = at.index(index);
        let why = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
        errors.forbidden(&at.child("name"), &why);
    }
}

/// The new `spec` with the old values of all that may change.
fn without_changeable(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut rest = new.clone();
    for (new, old) in rest.containers.iter_mut().zip(&old.containers) {
        new.image.clone_from(&old.image);
    }
    for (new, old) in rest.init_containers.iter_mut().flatten().zip(list(&old.init_containers)) {
        new.image.clone_from(&old.image);
    }
    rest.active_deadline_seconds = old.active_deadline_seconds;
    rest.scheduling_gates.clone_from(&old.scheduling_gates);
    rest.tolerations.clone_from(&old.tolerations);
    let was_negative = old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0);
    if was_negative && rest.termination_grace_period_seconds == Some(1) {
        rest.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    rest
}

/// While gates hold a pod back, it may still be made more choosy about nodes.
fn gated(errors: &mut Errors, at: &Path<'_>, rest: &mut PodSpec, old: &PodSpec) {
    if !same(&rest.node_selector, &old.node_selector) {
        let kept = old
            .node_selector
            .iter()
            .flatten()
            .all(|(key, value)| rest.node_selector.as_ref().and_then(|selector| selector.get(key)) == Some(value));
        if !kept {
            let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&at.child("nodeSelector"), json!(rest.node_selector), why);
        }
        rest.node_selector.clone_from(&old.node_selector);
    }
    let node = |affinity: &Option<Affinity>| affinity.as_ref().and_then(|one| one.node_affinity.clone());
    let (new_node, old_node) = (node(&rest.affinity), node(&old.affinity));
    if !same(&new_node, &old_node) {
        let at = at.child("affinity");
        narrower(errors, &at.child("nodeAffinity"), new_node.as_ref(), old_node.as_ref());
        let mut affinity = rest.affinity.take().unwrap_or_default();
        affinity.node_affinity = old_node;
        rest.affinity = (old.affinity.is_some() || affinity != Affinity::default()).then_some(affinity);
    }
}

fn narrower(errors: &mut Errors, at: &Path<'_>, new: Option<&NodeAffinity>, old: Option<&NodeAffinity>) {
    let terms = |affinity: Option<&NodeAffinity>| -> Option<Vec<NodeSelectorTerm>> {
        let required = affinity?.required_during_scheduling_ignored_during_execution.as_ref()?;
        Some(required.node_selector_terms.clone())
    };
    let Some(old) = terms(old) else { return };
    let new = terms(new).unwrap_or_default();
    let at = at.child("requiredDuringSchedulingIgnoredDuringExecution");
    let at = at.child("nodeSelectorTerms");
    if !old.is_empty() && old.len() != new.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&at, json!(new), why);
        return;
    }
    for (index, (new, old)) in new.iter().zip(&old).enumerate() {
        if !only_more_requirements(new, old) {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.invalid(&at.index(index), json!(new), why);
        }
    }
}

fn only_more_requirements(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let (labels, old_labels) = (list(&new.match_expressions), list(&old.match_expressions));
    let (fields, old_fields) = (list(&new.match_fields), list(&old.match_fields));
    if old_labels.is_empty() && old_fields.is_empty() {
        return labels.is_empty() && fields.is_empty();
    }
    labels.starts_with(old_labels) && fields.starts_with(old_fields)
}

/// The differing fields, one a line: the path, what stood there and what stands there now.
pub(crate) fn difference<T: serde::Serialize>(new: &T, old: &T) -> String {
    let mut lines = Vec::new();
    differ(&json!(old), &json!(new), "", &mut lines);
    lines.join("\n")
}

fn differ(old: &Value, new: &Value, path: &str, lines: &mut Vec<String>) {
    match (old, new) {
        (old, new) if old == new => {}
        (Value::Object(before), Value::Object(after)) => {
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let field = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                differ(&field(before), &field(after), &format!("{path}.{name}"), lines);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (old, new)) in before.iter().zip(after).enumerate() {
                differ(old, new, &format!("{path}[{index}]"), lines);
            }
        }
        (old, new) => lines.push(format!("  (spec){path}: {old} -> {new}")),
    }
}

/// Checks new ephemeral containers: those that are there stay as they are.
pub(super) fn ephemeral(errors: &mut Errors, new: &Pod, old: &Pod) {
    let spec = |pod: &Pod| pod.spec.clone().unwrap_or_default();
    let at = Path::root("spec");
    let at = at.child("ephemeralContainers");
    let after = spec(new).ephemeral_containers.unwrap_or_default();
    for old in spec(old).ephemeral_containers.unwrap_or_default() {
        match after.iter().rfind(|new| new.name == old.name) {
            None => {
                let why = format!("existing ephemeral containers {:?} may not be removed\n", old.name);
                errors.forbidden(&at, &why);
            }
            Some(new) if !same(new, &old) => {
                let change = difference(new, &old);
                let why = format!("existing ephemeral containers {:?} may not be changed\n{change}", old.name);
                errors.forbidden(&at, &why);
            }
            Some(_) => {}
        }
    }
}
