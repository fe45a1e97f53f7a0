//! Selectors: which objects of a collection are meant.
//!
//! Source: apimachinery `pkg/labels/selector.go`, `pkg/fields/selector.go`.

mod fields;
mod labels;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub use fields::{Fields, Term};
pub use labels::{Labels, Operator, Requirement};

use crate::meta::{all_invalid, label_pairs};
use crate::names;
use crate::status::FieldError;

/// What is wrong with a selector in an object's spec, whose path is `field`.
#[must_use]
pub fn validate(selector: &LabelSelector, field: &str) -> Vec<FieldError> {
    validate_unless(selector, field, false)
}

/// The same, but bad values in requirements pass when `lenient`: the old object had some too.
#[must_use]
pub fn validate_unless(selector: &LabelSelector, field: &str, lenient: bool) -> Vec<FieldError> {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut errors = label_pairs(labels, &format!("{field}.matchLabels"));
    for (index, one) in selector.match_expressions.iter().flatten().enumerate() {
        let at = format!("{field}.matchExpressions[{index}]");
        let values = one.values.as_deref().unwrap_or_default();
        match one.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(format!("{at}.values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(format!("{at}.values"), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                errors.push(FieldError::invalid_text(format!("{at}.operator"), other, "not a valid selector operator"));
            }
        }
        errors.extend(all_invalid(&format!("{at}.key"), &one.key, names::qualified(&one.key)));
        for (index, value) in values.iter().enumerate().filter(|_| !lenient) {
            errors.extend(all_invalid(&format!("{at}.values[{index}]"), value, names::label_value(value)));
        }
    }
    errors
}
