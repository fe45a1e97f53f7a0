//! Selectors: which objects of a collection are meant.
//!
//! Source: apimachinery `pkg/labels/selector.go`, `pkg/fields/selector.go`.

mod fields;
mod labels;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

pub use fields::{Fields, Term};
pub use labels::{Labels, Operator, Requirement};

use crate::meta::{all_invalid, label_pairs};
use crate::names;
use crate::status::FieldError;

/// A selector of an object's spec as a query says it, in the order of its keys: empty when it selects everything, `None`
/// when it has an operator that does not exist.
///
/// ```
/// use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
/// use serde_json::json;
///
/// let selector: LabelSelector = serde_json::from_value(json!({
///     "matchLabels": {"b": "1"},
///     "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}, {"key": "c", "operator": "Exists"}],
/// }))?;
/// assert_eq!(kprov_schema::selector::text(&selector).as_deref(), Some("a in (x,y),b=1,c"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn text(selector: &LabelSelector) -> Option<String> {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| Some((key, format!("{key}={value}"))));
    let expressions = selector.match_expressions.iter().flatten().map(|one| Some((&one.key, expression(one)?)));
    let mut parts: Vec<(&String, String)> = labels.chain(expressions).collect::<Option<_>>()?;
    parts.sort_by_key(|(key, _)| *key);
    Some(parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","))
}

fn expression(one: &LabelSelectorRequirement) -> Option<String> {
    let mut values = one.values.clone().unwrap_or_default();
    values.sort();
    let (key, values) = (&one.key, values.join(","));
    Some(match one.operator.as_str() {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "Exists" => key.clone(),
        "DoesNotExist" => format!("!{key}"),
        _ => return None,
    })
}

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
