//! What an autoscaler looks at.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ExternalMetricSource, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
    MetricTarget, ObjectMetricSource, PodsMetricSource, ResourceMetricSource,
};

use crate::names;
use crate::quantity::Quantity;
use crate::rules::check::{Errors, Path};
use crate::rules::fields::{list, text};
use crate::rules::pod::container_resources::container_name;

/// Sources in upstream's order of checks: the type, its field.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const EITHER: &str = "must set either a target raw value or a target utilization";
const NOT_BOTH: &str = "may not set both a target raw value and a target utilization";

/// What the version of a reference must be.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Reference {
    /// Whatever the old object has.
    AsItIs,
    /// Well-formed.
    AnyGroup,
    /// Well-formed, of a group.
    WithGroup,
}

impl Reference {
    /// What is wrong with a version.
    pub(super) fn complaint(self, version: &str) -> Option<String> {
        let slashes = version.matches('/').count();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match self {
            Self::AsItIs => None,
            _ if slashes > 1 => Some(format!("unexpected GroupVersion string: {version}")),
            Self::WithGroup if group.is_empty() => Some("apiVersion must specify API group".to_owned()),
            _ => None,
        }
    }
}

/// What references of object metrics must be: bad ones may stay.
pub(super) fn rule_for_objects(old: Option<&HorizontalPodAutoscalerSpec>) -> Reference {
    let metrics = old.map(|old| list(&old.metrics)).unwrap_or_default();
    let mut objects = metrics.iter().filter(|one| one.type_ == "Object").filter_map(|one| one.object.as_ref());
    let bad = objects.any(|one| Reference::AnyGroup.complaint(text(&one.described_object.api_version)).is_some());
    if bad { Reference::AsItIs } else { Reference::AnyGroup }
}

pub(super) fn all(errors: &mut Errors, at: &Path<'_>, spec: &HorizontalPodAutoscalerSpec, rule: Reference) {
    let metrics = list(&spec.metrics);
    for (index, one) in metrics.iter().enumerate() {
        metric(errors, &at.index(index), one, rule);
    }
    let wakes = metrics.iter().any(|one| matches!(one.type_.as_str(), "Object" | "External"));
    if spec.min_replicas == Some(0) && !wakes {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.forbidden(at, why);
    }
}

fn metric(errors: &mut Errors, at: &Path<'_>, metric: &MetricSpec, rule: Reference) {
    let type_at = at.child("type");
    let type_ = metric.type_.as_str();
    if type_.is_empty() {
        errors.required(&type_at, "must specify a metric source type");
    }
    errors.one_of(&type_at, type_, TYPES);
    let present = present(metric);
    if let Some((_, field)) = present.first() {
        source(errors, &at.child(field), metric, rule);
    }
    let expected = SOURCES.iter().find(|(one, _)| *one == type_);
    match expected {
        Some(one) if !present.contains(one) => {
            errors.required(&at.child(one.1), "must populate information for the given metric source");
        }
        Some(_) => {}
        // Upstream looks at the type twice.
        None => errors.not_supported(&type_at, type_, TYPES),
    }
    if present.len() != 1 {
        for (_, field) in present.iter().filter(|one| expected != Some(*one)) {
            errors.forbidden(&at.child(field), "must populate the given metric source only");
        }
    }
}

/// The sources that a metric has.
fn present(metric: &MetricSpec) -> Vec<(&'static str, &'static str)> {
    let there = [
        metric.object.is_some(),
        metric.external.is_some(),
        metric.pods.is_some(),
        metric.resource.is_some(),
        metric.container_resource.is_some(),
    ];
    SOURCES.into_iter().zip(there).filter_map(|(source, there)| there.then_some(source)).collect()
}

/// Checks the first source that a metric has.
fn source(errors: &mut Errors, at: &Path<'_>, metric: &MetricSpec, rule: Reference) {
    if let Some(source) = &metric.object {
        object(errors, at, source, rule);
    } else if let Some(source) = &metric.external {
        external(errors, at, source);
    } else if let Some(source) = &metric.pods {
        pods(errors, at, source);
    } else if let Some(source) = &metric.resource {
        resource(errors, at, source);
    } else if let Some(source) = &metric.container_resource {
        container(errors, at, source);
    }
}

fn object(errors: &mut Errors, at: &Path<'_>, source: &ObjectMetricSource, rule: Reference) {
    super::object(errors, &at.child("describedObject"), &source.described_object, rule);
    identifier(errors, &at.child("metric"), &source.metric);
    let target_at = at.child("target");
    target(errors, &target_at, &source.target);
    if source.target.value.is_none() && source.target.average_value.is_none() {
        errors.required(&target_at.child("averageValue"), "must set either a target value or averageValue");
    }
}

fn external(errors: &mut Errors, at: &Path<'_>, source: &ExternalMetricSource) {
    identifier(errors, &at.child("metric"), &source.metric);
    let target_at = at.child("target");
    target(errors, &target_at, &source.target);
    match (&source.target.value, &source.target.average_value) {
        (None, None) => {
            let why = "must set either a target value for metric or a per-pod target";
            errors.required(&target_at.child("averageValue"), why);
        }
        (Some(_), Some(_)) => {
            let why = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(&target_at.child("value"), why);
        }
        _ => {}
    }
}

fn pods(errors: &mut Errors, at: &Path<'_>, source: &PodsMetricSource) {
    identifier(errors, &at.child("metric"), &source.metric);
    let target_at = at.child("target");
    target(errors, &target_at, &source.target);
    if source.target.average_value.is_none() {
        errors.required(&target_at.child("averageValue"), "must specify a positive target averageValue");
    }
}

fn resource(errors: &mut Errors, at: &Path<'_>, source: &ResourceMetricSource) {
    if source.name.is_empty() {
        errors.required(&at.child("name"), "must specify a resource name");
    }
    value_or_share(errors, &at.child("target"), &source.target);
}

fn container(errors: &mut Errors, at: &Path<'_>, source: &ContainerResourceMetricSource) {
    let name_at = at.child("name");
    if source.name.is_empty() {
        errors.required(&name_at, "must specify a resource name");
    } else {
        container_name(errors, &name_at, &source.name);
    }
    let container_at = at.child("container");
    if source.container.is_empty() {
        errors.required(&container_at, "must specify a container");
    } else {
        errors.all(&container_at, &source.container, names::dns1123_label(&source.container));
    }
    value_or_share(errors, &at.child("target"), &source.target);
}

fn value_or_share(errors: &mut Errors, at: &Path<'_>, wanted: &MetricTarget) {
    target(errors, at, wanted);
    match (&wanted.average_utilization, &wanted.average_value) {
        (None, None) => errors.required(&at.child("averageUtilization"), EITHER),
        (Some(_), Some(_)) => errors.forbidden(&at.child("averageValue"), NOT_BOTH),
        _ => {}
    }
}

fn target(errors: &mut Errors, at: &Path<'_>, target: &MetricTarget) {
    let type_at = at.child("type");
    if target.type_.is_empty() {
        errors.required(&type_at, "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&target.type_.as_str()) {
        errors.invalid(&type_at, target.type_.as_str(), "must be either Utilization, Value, or AverageValue");
    }
    for (field, amount) in [("value", &target.value), ("averageValue", &target.average_value)] {
        if let Some(amount) = amount.as_ref().map(Quantity::from).filter(|amount| amount.sign() != 1) {
            errors.invalid(&at.child(field), amount.to_string(), "must be positive");
        }
    }
    if let Some(share) = target.average_utilization.filter(|share| *share < 1) {
        errors.invalid(&at.child("averageUtilization"), share, "must be greater than 0");
    }
}

fn identifier(errors: &mut Errors, at: &Path<'_>, metric: &MetricIdentifier) {
    let at = at.child("name");
    if metric.name.is_empty() {
        errors.required(&at, "must specify a metric name");
    } else {
        errors.all(&at, &metric.name, names::path_segment(&metric.name, false));
    }
}
