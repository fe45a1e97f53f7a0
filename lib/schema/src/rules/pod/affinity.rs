//! Which nodes and which other pods a pod wants near or far.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Options;
use crate::names;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::list;
use crate::selector;

const WEIGHT: &str = "must be in the range 1-100";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks `affinity`.
pub(super) fn affinity(errors: &mut Errors, at: &Path<'_>, affinity: &Affinity, options: Options) {
    if let Some(node) = &affinity.node_affinity {
        node_affinity(errors, &at.child("nodeAffinity"), node, options);
    }
    if let Some(to) = &affinity.pod_affinity {
        let at = at.child("podAffinity");
        let required = list(&to.required_during_scheduling_ignored_during_execution);
        let preferred = list(&to.preferred_during_scheduling_ignored_during_execution);
        pod_terms(errors, &at, required, preferred, options);
    }
    if let Some(from) = &affinity.pod_anti_affinity {
        let at = at.child("podAntiAffinity");
        let required = list(&from.required_during_scheduling_ignored_during_execution);
        let preferred = list(&from.preferred_during_scheduling_ignored_during_execution);
        pod_terms(errors, &at, required, preferred, options);
    }
}

fn node_affinity(errors: &mut Errors, at: &Path<'_>, affinity: &NodeAffinity, options: Options) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        node_selector(errors, &at.child(REQUIRED), required, options.lenient_selectors);
    }
    let at = at.child(PREFERRED);
    for (index, term) in list(&affinity.preferred_during_scheduling_ignored_during_execution).iter().enumerate() {
        let at = at.index(index);
        weight(errors, &at.child("weight"), term.weight);
        node_term(errors, &at.child("preference"), &term.preference, true);
    }
}

/// Checks which nodes are selected; bad label values pass when `lenient`.
pub(crate) fn node_selector(errors: &mut Errors, at: &Path<'_>, selector: &NodeSelector, lenient: bool) {
    let at = at.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&at, "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        node_term(errors, &at.index(index), term, lenient);
    }
}

fn node_term(errors: &mut Errors, at: &Path<'_>, term: &NodeSelectorTerm, lenient: bool) {
    let expressions = at.child("matchExpressions");
    for (index, one) in list(&term.match_expressions).iter().enumerate() {
        node_labels(errors, &expressions.index(index), one, lenient);
    }
    let fields = at.child("matchFields");
    for (index, one) in list(&term.match_fields).iter().enumerate() {
        node_fields(errors, &fields.index(index), one);
    }
}

fn node_labels(errors: &mut Errors, at: &Path<'_>, one: &NodeSelectorRequirement, lenient: bool) {
    let values = list(&one.values);
    let values_at = at.child("values");
    match one.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&values_at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.forbidden(&values_at, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.required(&values_at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    errors.all(&at.child("key"), &one.key, names::qualified(&one.key));
    for (index, value) in values.iter().enumerate().filter(|_| !lenient) {
        errors.all(&values_at.index(index), value, names::label_value(value));
    }
}

fn node_fields(errors: &mut Errors, at: &Path<'_>, one: &NodeSelectorRequirement) {
    let values = list(&one.values);
    let values_at = at.child("values");
    match one.operator.as_str() {
        "In" | "NotIn" if values.len() == 1 => {}
        "In" | "NotIn" => {
            let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&values_at, why);
        }
        other => errors.invalid(&at.child("operator"), other, "not a valid selector operator"),
    }
    if one.key != "metadata.name" {
        errors.invalid(&at.child("key"), one.key.as_str(), "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        errors.all(&values_at.index(index), value, names::dns1123_subdomain(value));
    }
}

fn weight(errors: &mut Errors, at: &Path<'_>, weight: i32) {
    if !(1..=100).contains(&weight) {
        errors.invalid(at, weight, WEIGHT);
    }
}

fn pod_terms(
    errors: &mut Errors,
    at: &Path<'_>,
    required: &[PodAffinityTerm],
    preferred: &[WeightedPodAffinityTerm],
    options: Options,
) {
    let required_at = at.child(REQUIRED);
    for (index, term) in required.iter().enumerate() {
        pod_term(errors, &required_at.index(index), term, options);
    }
    let preferred_at = at.child(PREFERRED);
    for (index, weighted) in preferred.iter().enumerate() {
        let at = preferred_at.index(index);
        weight(errors, &at.child("weight"), weighted.weight);
        pod_term(errors, &at.child("podAffinityTerm"), &weighted.pod_affinity_term, options);
    }
}

fn pod_term(errors: &mut Errors, at: &Path<'_>, term: &PodAffinityTerm, options: Options) {
    if !options.lenient_selectors {
        label_selector(errors, &at.child("labelSelector"), term.label_selector.as_ref());
        label_selector(errors, &at.child("namespaceSelector"), term.namespace_selector.as_ref());
    }
    for namespace in list(&term.namespaces) {
        errors.all(&at.child("namespace"), namespace, names::dns1123_label(namespace));
    }
    let selector = term.label_selector.as_ref();
    label_keys(errors, at, list(&term.match_label_keys), list(&term.mismatch_label_keys), selector);
    if term.topology_key.is_empty() {
        errors.required(&at.child("topologyKey"), "can not be empty");
    }
    errors.all(&at.child("topologyKey"), &term.topology_key, names::qualified(&term.topology_key));
}

/// Checks a label selector that may be absent.
pub(super) fn label_selector(errors: &mut Errors, at: &Path<'_>, selector: Option<&LabelSelector>) {
    if let Some(selector) = selector {
        errors.extend(selector::validate(selector, &at.to_string()));
    }
}

/// Checks the label keys whose values are taken from the pod itself.
pub(super) fn label_keys(
    errors: &mut Errors,
    at: &Path<'_>,
    matching: &[String],
    mismatching: &[String],
    selector: Option<&LabelSelector>,
) {
    for (field, keys) in [("matchLabelKeys", matching), ("mismatchLabelKeys", mismatching)] {
        let at = at.child(field);
        if !keys.is_empty() && selector.is_none() {
            errors.forbidden(&at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            errors.all(&at.index(index), key, names::qualified(key));
        }
    }
    if let Some(selector) = selector {
        let mut known: Vec<&str> = selector.match_labels.iter().flatten().map(|(key, _)| key.as_str()).collect();
        for one in list(&selector.match_expressions) {
            // The one expression that preparing the pod adds is not a repetition.
            let position = matching.iter().rposition(|key| *key == one.key);
            if let Some(position) = position.filter(|_| known.contains(&one.key.as_str())) {
                let why = "exists in both matchLabelKeys and labelSelector";
                errors.invalid(&at.index(position), one.key.as_str(), why);
            }
            known.push(&one.key);
        }
    }
    let at = at.child("matchLabelKeys");
    for (index, key) in matching.iter().enumerate().filter(|(_, key)| mismatching.contains(key)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(&at.index(index), key.as_str(), why);
    }
}
