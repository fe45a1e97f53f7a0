//! How fast an autoscaler may act.

use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior};

use crate::quantity::Quantity;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::list;

const WINDOW_MAX: i32 = 3600;
const PERIOD_MAX: i32 = 1800;

pub(super) fn both(errors: &mut Errors, at: &Path<'_>, behavior: &HorizontalPodAutoscalerBehavior) {
    for (field, wanted) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
        if let Some(wanted) = wanted {
            rules(errors, &at.child(field), wanted);
        }
    }
}

fn rules(errors: &mut Errors, at: &Path<'_>, rules: &HPAScalingRules) {
    let window_at = at.child("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(window) if window < 0 => errors.invalid(&window_at, window, "must be greater than or equal to zero"),
        Some(window) if window > WINDOW_MAX => {
            errors.invalid(&window_at, window, &format!("must be less than or equal to {WINDOW_MAX}"));
        }
        _ => {}
    }
    if let Some(choice) = &rules.select_policy {
        errors.one_of(&at.child("selectPolicy"), choice, &["Disabled", "Max", "Min"]);
    }
    let policies_at = at.child("policies");
    let policies = list(&rules.policies);
    if policies.is_empty() {
        errors.required(&policies_at, "must specify at least one Policy");
    }
    for (index, one) in policies.iter().enumerate() {
        policy(errors, &policies_at.index(index), one);
    }
    if let Some(tolerance) = rules.tolerance.as_ref().map(Quantity::from).filter(|tolerance| tolerance.sign() < 0) {
        errors.invalid(&at.child("tolerance"), tolerance.to_string(), "must be greater than or equal to 0");
    }
}

fn policy(errors: &mut Errors, at: &Path<'_>, policy: &HPAScalingPolicy) {
    errors.one_of(&at.child("type"), &policy.type_, &["Percent", "Pods"]);
    if policy.value <= 0 {
        errors.invalid(&at.child("value"), policy.value, "must be greater than zero");
    }
    let period_at = at.child("periodSeconds");
    if policy.period_seconds <= 0 {
        errors.invalid(&period_at, policy.period_seconds, "must be greater than zero");
    }
    if policy.period_seconds > PERIOD_MAX {
        errors.invalid(&period_at, policy.period_seconds, &format!("must be less than or equal to {PERIOD_MAX}"));
    }
}
