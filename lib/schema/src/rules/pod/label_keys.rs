//! Label keys whose values a pod's selectors take from the pod itself.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodAffinityTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

type Labels = BTreeMap<String, String>;

/// Writes the pod's own values of `matchLabelKeys` and `mismatchLabelKeys` into the selectors beside them.
pub(super) fn apply(spec: &mut PodSpec, labels: &Labels) {
    for term in terms(spec) {
        let Some(selector) = &mut term.label_selector else { continue };
        require(selector, term.match_label_keys.as_deref(), "In", labels);
        require(selector, term.mismatch_label_keys.as_deref(), "NotIn", labels);
    }
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        let Some(selector) = &mut constraint.label_selector else { continue };
        require(selector, constraint.match_label_keys.as_deref(), "In", labels);
    }
}

fn terms(spec: &mut PodSpec) -> Vec<&mut PodAffinityTerm> {
    let Some(affinity) = &mut spec.affinity else { return Vec::new() };
    let mut terms = Vec::new();
    if let Some(to) = &mut affinity.pod_affinity {
        terms.extend(to.required_during_scheduling_ignored_during_execution.iter_mut().flatten());
        let preferred = to.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        terms.extend(preferred.map(|weighted| &mut weighted.pod_affinity_term));
    }
    if let Some(from) = &mut affinity.pod_anti_affinity {
        terms.extend(from.required_during_scheduling_ignored_during_execution.iter_mut().flatten());
        let preferred = from.preferred_during_scheduling_ignored_during_execution.iter_mut().flatten();
        terms.extend(preferred.map(|weighted| &mut weighted.pod_affinity_term));
    }
    terms
}

fn require(selector: &mut LabelSelector, keys: Option<&[String]>, operator: &str, labels: &Labels) {
    for key in keys.unwrap_or_default() {
        let Some(value) = labels.get(key) else { continue };
        selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}
