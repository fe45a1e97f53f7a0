//! Autoscalers of pods, served as `autoscaling/v2` and as `autoscaling/v1` over one store.

mod behavior;
mod columns;
mod metrics;
mod v1;
mod v1_annotations;

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::{reference, scale};
use crate::kind::{Column, Rules, Subresource, Write};
use crate::status::FieldError;

use metrics::Reference;

/// What of its processor time a pod should use, in percent, where an autoscaler names no metric.
const CPU_PERCENT: i32 = 80;

impl Rules for HorizontalPodAutoscaler {
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::Status];
    const COLUMNS: &'static [Column<Self>] = columns::columns!(|it: &Self| it.clone());

    fn fill_defaults(&mut self) {
        let spec = &mut self.spec;
        spec.min_replicas.get_or_insert(1);
        if list(&spec.metrics).is_empty() {
            spec.metrics = Some(vec![cpu(CPU_PERCENT)]);
        }
        if let Some(behavior) = &mut spec.behavior {
            fill_behavior(behavior);
        }
    }

    // Its generation is not counted.
    fn prepare(&mut self, old: Option<&Self>, write: Write) {
        match (old, write) {
            (None, _) => self.status = None,
            (Some(old), Write::Status) => self.spec.clone_from(&old.spec),
            (Some(old), _) => self.status.clone_from(&old.status),
        }
    }

    fn validate(&self, old: Option<&Self>, write: Write) -> Vec<FieldError> {
        let mut errors = Errors::default();
        if old.is_some() && write == Write::Status {
            let status = self.status.clone().unwrap_or_default();
            let numbers = [
                ("currentReplicas", status.current_replicas.unwrap_or_default().into()),
                ("desiredReplicas", status.desired_replicas.into()),
            ];
            scale::non_negatives(&mut errors, &Path::root("status"), &numbers);
        } else {
            spec(&mut errors, &self.spec, old.map(|old| &old.spec));
        }
        errors.into_vec()
    }
}

/// The metric of processor time, as a share of what pods ask for.
fn cpu(percent: i32) -> MetricSpec {
    let target =
        MetricTarget { type_: "Utilization".to_owned(), average_utilization: Some(percent), ..MetricTarget::default() };
    MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
        ..MetricSpec::default()
    }
}

/// Pods may be added quickly and at once, and are taken away as fast as the window allows.
fn fill_behavior(behavior: &mut HorizontalPodAutoscalerBehavior) {
    let policy = |type_: &str, value| HPAScalingPolicy { type_: type_.to_owned(), value, period_seconds: 15 };
    let up = behavior.scale_up.get_or_insert_default();
    up.stabilization_window_seconds.get_or_insert(0);
    fill_rules(up, vec![policy("Pods", 4), policy("Percent", 100)]);
    fill_rules(behavior.scale_down.get_or_insert_default(), vec![policy("Percent", 100)]);
}

fn fill_rules(rules: &mut HPAScalingRules, policies: Vec<HPAScalingPolicy>) {
    rules.select_policy.get_or_insert_with(|| "Max".to_owned());
    rules.policies.get_or_insert(policies);
}

fn spec(errors: &mut Errors, spec: &HorizontalPodAutoscalerSpec, old: Option<&HorizontalPodAutoscalerSpec>) {
    let at = Path::root("spec");
    // Scaling to nothing is not to be chosen yet, unless an older server took it.
    let least = i32::from(old.is_none_or(|old| old.min_replicas != Some(0)));
    if let Some(min) = spec.min_replicas.filter(|min| *min < least) {
        errors.invalid(&at.child("minReplicas"), min, &format!("must be greater than or equal to {least}"));
    }
    let max_at = at.child("maxReplicas");
    match spec.max_replicas {
        0 => errors.required(&max_at, "must be set and greater than 0"),
        max if max < 0 => errors.invalid(&max_at, max, "must be greater than or equal to 1"),
        _ => {}
    }
    if spec.min_replicas.is_some_and(|min| spec.max_replicas < min) {
        errors.invalid(&max_at, spec.max_replicas, "must be greater than or equal to `minReplicas`");
    }
    let (target, before) = (&spec.scale_target_ref, old.map(|old| &old.scale_target_ref));
    let kept = before.is_some_and(|old| old.kind == target.kind && text(&old.api_version) == text(&target.api_version));
    let rule = match target.kind.as_str() {
        _ if kept => Reference::AsItIs,
        "ReplicationController" => Reference::AnyGroup,
        _ => Reference::WithGroup,
    };
    object(errors, &at.child("scaleTargetRef"), target, rule);
    metrics::all(errors, &at.child("metrics"), spec, metrics::rule_for_objects(old));
    if let Some(wanted) = &spec.behavior {
        behavior::both(errors, &at.child("behavior"), wanted);
    }
}

/// Checks a reference to an object by version, kind and name.
fn object(errors: &mut Errors, at: &Path<'_>, to: &CrossVersionObjectReference, rule: Reference) {
    reference::segments(errors, at, &[("kind", &to.kind), ("name", &to.name)]);
    if let Some(why) = rule.complaint(text(&to.api_version)) {
        errors.invalid(&at.child("apiVersion"), text(&to.api_version), &why);
    }
}
