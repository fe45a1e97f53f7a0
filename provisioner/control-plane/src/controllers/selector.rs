//! Whether labels are selected.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kprov_schema::Object;

/// Whether a selector selects an object by its labels. An empty selector selects everything.
#[must_use]
pub fn selects(selector: &LabelSelector, object: &Object) -> bool {
    matches(selector, |key| object.label(key))
}

/// Whether a selector selects a set of labels.
#[must_use]
pub fn selects_labels(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    matches(selector, |key| labels.get(key).map(String::as_str))
}

/// Whether a selector holds for labels that are looked up by key.
pub fn matches<'a>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| label(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let values = requirement.values.iter().flatten();
            let found = label(&requirement.key);
            let listed = found.is_some_and(|found| values.clone().any(|value| value == found));
            match requirement.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// Whether every pair of a plain selector, as services have it, is among an object's labels.
#[must_use]
pub fn has_labels(pairs: &BTreeMap<String, String>, object: &Object) -> bool {
    pairs.iter().all(|(key, value)| object.label(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selects_by_labels_and_expressions() {
        let object = Object::try_from(json!({"metadata": {"labels": {"app": "web", "tier": "front"}}})).unwrap();
        for (selector, wanted) in [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["front", "back"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), true),
            (json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}), true),
        ] {
            let selector: LabelSelector = serde_json::from_value(selector).unwrap();
            assert_eq!(selects(&selector, &object), wanted, "{selector:?}");
        }
    }
}
