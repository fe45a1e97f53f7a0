//! Where pods run.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Lets the rules by which pods look at their own kind follow when the selector changes.
pub(super) fn reselect(spec: &mut core::PodSpec, before: &LabelSelector, after: &LabelSelector) {
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        if constraint.label_selector.as_ref().is_none_or(|selector| selector == before) {
            constraint.label_selector = Some(after.clone());
        }
    }
}
