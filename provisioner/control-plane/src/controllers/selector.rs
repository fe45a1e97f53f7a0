//! Whether labels are selected.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kprov_schema::Object;
use kprov_schema::selector::Labels;

/// Whether a selector selects an object by its labels. An empty selector selects everything, a malformed one nothing.
#[must_use]
pub fn selects(selector: &LabelSelector, object: &Object) -> bool {
    Labels::of(selector).is_ok_and(|labels| labels.match_object(object))
}

/// Whether every pair of a plain selector, as services have it, is among an object's labels.
#[must_use]
pub fn has_labels(pairs: &BTreeMap<String, String>, object: &Object) -> bool {
    pairs.iter().all(|(key, value)| object.label(key) == Some(value))
}
