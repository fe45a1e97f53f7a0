//! Numbers of pods: counts, percentages, selectors and the template they are made from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::check::{Errors, Path};
use super::fields::{list, text};
use super::pod::validate;
use crate::internal::shown;
use crate::names;
use crate::object::Object;
use crate::selector::{self, Labels};

/// The description of a column with the names of containers.
pub(crate) const CONTAINERS: &str = "Names of each container in the template.";
/// The description of a column with the images of containers.
pub(crate) const IMAGES: &str = "Images referenced by each container in the template.";

/// The containers of a template that may be absent.
pub(crate) fn containers(template: Option<&PodTemplateSpec>) -> &[Container] {
    let spec = template.and_then(|template| template.spec.as_ref());
    spec.map(|spec| spec.containers.as_slice()).unwrap_or_default()
}

/// Whether a selector is not there at all.
pub(crate) fn is_absent(selector: &LabelSelector) -> bool {
    selector.match_labels.is_none() && selector.match_expressions.is_none()
}

/// A label selector as upstream's messages show it: labels before expressions.
#[must_use]
pub(crate) fn written_selector(selector: &LabelSelector) -> String {
    shown("apimachinery.pkg.apis.meta.v1.LabelSelector", selector)
}

/// Tells a selector that selects everything from one that is not there: only the first has labels, though none.
pub(crate) fn note_empty_selector(selector: &mut LabelSelector, object: &Object) {
    if object.at(&["spec", "selector"]).is_some_and(Value::is_object) {
        selector.match_labels.get_or_insert_default();
    }
}

/// Checks the selector of a workload; says what it selects, unless that can't be said.
pub(crate) fn workload_selector(
    errors: &mut Errors,
    at: &Path<'_>,
    wanted: &LabelSelector,
    empty: &str,
    wrong: &str,
) -> Option<Labels> {
    if is_absent(wanted) {
        errors.required(at, "");
        return Some(Labels::nothing());
    }
    errors.extend(selector::validate(wanted, &at.to_string()));
    let selects = wanted.match_labels.as_ref().map_or(0, BTreeMap::len) + list(&wanted.match_expressions).len();
    if selects == 0 {
        errors.invalid_written(at, &written_selector(wanted), empty);
    }
    match Labels::of(wanted) {
        Ok(labels) if selector::validate(wanted, "").is_empty() => Some(labels),
        _ => {
            errors.invalid_written(at, &written_selector(wanted), wrong);
            None
        }
    }
}

/// A selector may not change.
pub(crate) fn same_selector(errors: &mut Errors, at: &Path<'_>, new: &LabelSelector, old: &LabelSelector) {
    if super::pod::same(new, old) {
        return;
    }
    let written = if is_absent(new) { "null".to_owned() } else { written_selector(new) };
    errors.invalid_written(at, &written, "field is immutable");
}

/// Checks that a template makes pods that its workload selects.
pub(crate) fn selected_template(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec, labels: &Labels) {
    let own = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let selected = labels.matches(|key| own.and_then(|own| own.get(key)).map(String::as_str));
    if !labels.is_everything() && !selected {
        unmatched(errors, at, template);
    }
}

/// A template makes pods that its workload does not select.
pub(crate) fn unmatched(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec) {
    let own = template.metadata.as_ref().and_then(|metadata| metadata.labels.as_ref());
    let at = at.child("metadata");
    errors.invalid(&at.child("labels"), json!(own), "`selector` does not match template `labels`");
}

/// Checks the template of pods that run for ever.
pub(crate) fn running_template(
    errors: &mut Errors,
    at: &Path<'_>,
    template: &PodTemplateSpec,
    old: Option<&PodTemplateSpec>,
    labels: &Labels,
    kind: &str,
) {
    selected_template(errors, at, template, labels);
    validate::template(errors, at, template, old);
    runs_for_ever(errors, at, template, kind);
}

/// Checks that a template's pods are started again whenever they end.
pub(crate) fn runs_for_ever(errors: &mut Errors, at: &Path<'_>, template: &PodTemplateSpec, kind: &str) {
    let at = at.child("spec");
    let spec = template.spec.as_ref();
    let restart = spec.map_or("", |spec| text(&spec.restart_policy));
    if restart != "Always" {
        errors.not_supported(&at.child("restartPolicy"), restart, &["Always"]);
    }
    if spec.is_some_and(|spec| spec.active_deadline_seconds.is_some()) {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&at.child("activeDeadlineSeconds"), &why);
    }
}

/// Checks a count that may be a percentage.
pub(crate) fn count_or_percent(errors: &mut Errors, at: &Path<'_>, value: &IntOrString) {
    match value {
        IntOrString::Int(count) => errors.non_negative(at, (*count).into()),
        IntOrString::String(share) => errors.all(at, share, names::percent(share)),
    }
}

/// No more than all may be meant.
pub(crate) fn at_most_all(errors: &mut Errors, at: &Path<'_>, value: &IntOrString) {
    if let IntOrString::String(share) = value
        && names::percent(share).is_empty()
        && number(value) > 100
    {
        errors.invalid(at, share.as_str(), "must not be greater than 100%");
    }
}

/// The number before the percent sign, or the count itself; 0 for what is neither.
pub(crate) fn number(value: &IntOrString) -> i64 {
    match value {
        IntOrString::Int(count) => (*count).into(),
        IntOrString::String(share) => share.strip_suffix('%').unwrap_or(share).parse().unwrap_or_default(),
    }
}

/// Checks numbers that may not be negative.
pub(crate) fn non_negatives(errors: &mut Errors, at: &Path<'_>, numbers: &[(&str, i64)]) {
    for (field, number) in numbers {
        errors.non_negative(&at.child(field), *number);
    }
}
