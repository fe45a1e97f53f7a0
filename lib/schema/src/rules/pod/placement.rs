//! Tolerations, spreading and gates: what else decides where and when a pod runs.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSchedulingGate, PodSchedulingGroup, Toleration, TopologySpreadConstraint};

use super::affinity::{label_keys, label_selector};
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks `tolerations`.
pub(crate) fn tolerations(errors: &mut Errors, at: &Path<'_>, tolerations: &[Toleration]) {
    for (index, toleration) in tolerations.iter().enumerate() {
        tolerate(errors, &at.index(index), toleration);
    }
}

fn tolerate(errors: &mut Errors, at: &Path<'_>, one: &Toleration) {
    let (key, operator, effect) = (text(&one.key), text(&one.operator), text(&one.effect));
    let operator_at = at.child("operator");
    if !key.is_empty() {
        errors.all(&at.child("key"), key, names::qualified(key));
    } else if operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&operator_at, operator, why);
    }
    if one.toleration_seconds.is_some() && effect != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&at.child("effect"), effect, why);
    }
    let value = text(&one.value);
    match operator {
        "" | "Equal" => {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                errors.invalid(&operator_at, value, &complaints.join(";"));
            }
        }
        "Exists" if value.is_empty() => {}
        "Exists" => errors.invalid(&operator_at, value, "value must be empty when `operator` is 'Exists'"),
        "Lt" | "Gt" => errors.not_supported(&operator_at, operator, &["Equal", "Exists", "Lt", "Gt"]),
        other => errors.not_supported(&operator_at, other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() {
        errors.one_of(&at.child("effect"), effect, EFFECTS);
    }
}

/// Checks `topologySpreadConstraints`.
pub(super) fn spread(errors: &mut Errors, at: &Path<'_>, constraints: &[TopologySpreadConstraint], lenient: bool) {
    for (index, constraint) in constraints.iter().enumerate() {
        let at = at.index(index);
        if constraint.max_skew <= 0 {
            errors.invalid(&at.child("maxSkew"), constraint.max_skew, "must be greater than zero");
        }
        if constraint.topology_key.is_empty() {
            errors.required(&at.child("topologyKey"), "can not be empty");
        }
        let action = constraint.when_unsatisfiable.as_str();
        errors.one_of(&at.child("whenUnsatisfiable"), action, &["DoNotSchedule", "ScheduleAnyway"]);
        let repeated = constraints[index + 1..].iter().any(|other| {
            other.topology_key == constraint.topology_key && other.when_unsatisfiable == constraint.when_unsatisfiable
        });
        if repeated {
            let both = format!("{{{}, {action}}}", constraint.topology_key);
            errors.duplicate(&at.child("{topologyKey, whenUnsatisfiable}"), &both);
        }
        min_domains(errors, &at.child("minDomains"), constraint);
        for (field, policy) in [
            ("nodeAffinityPolicy", &constraint.node_affinity_policy),
            ("nodeTaintsPolicy", &constraint.node_taints_policy),
        ] {
            if let Some(policy) = policy {
                errors.one_of(&at.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        let selector = constraint.label_selector.as_ref();
        label_keys(errors, &at, list(&constraint.match_label_keys), &[], selector);
        if !lenient {
            label_selector(errors, &at.child("labelSelector"), selector);
        }
    }
}

fn min_domains(errors: &mut Errors, at: &Path<'_>, constraint: &TopologySpreadConstraint) {
    let Some(domains) = constraint.min_domains else { return };
    if domains <= 0 {
        errors.invalid(at, domains, "must be greater than zero");
    }
    if constraint.when_unsatisfiable != "DoNotSchedule" {
        let why = format!(
            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
            constraint.when_unsatisfiable
        );
        errors.invalid(at, domains, &why);
    }
}

/// Checks `schedulingGates`.
pub(super) fn gates(errors: &mut Errors, at: &Path<'_>, gates: &[PodSchedulingGate]) {
    let mut seen = BTreeSet::new();
    for (index, gate) in gates.iter().enumerate() {
        let at = at.index(index);
        errors.all(&at, &gate.name, names::qualified(&gate.name));
        if !seen.insert(gate.name.as_str()) {
            errors.duplicate(&at, &gate.name);
        }
    }
}

/// Checks `schedulingGroup`.
pub(super) fn group(errors: &mut Errors, at: &Path<'_>, group: &PodSchedulingGroup) {
    let at = at.child("podGroupName");
    match &group.pod_group_name {
        None => errors.invalid_written(&at, "null", "must specify one of: `podGroupName`"),
        Some(name) => errors.all(&at, name, names::dns1123_subdomain(name)),
    }
}
