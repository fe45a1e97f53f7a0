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

/// A selector as upstream's messages print it.
#[must_use]
pub fn printed(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let labels: Vec<String> =
        selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten().map(|one| {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator)
    });
    let expressions: Vec<String> = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.concat(),
        expressions.concat()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_printed_as_upstream_prints_them() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"app": "web"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["a", "b"]}]
        }))
        .unwrap();
        let text = "&LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]\
                    LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[a b],},},}";
        assert_eq!(printed(Some(&selector)), text);
        assert_eq!(printed(None), "nil");
    }
}
