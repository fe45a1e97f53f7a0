//! Defaults of a custom resource, as its schema names them.

use serde_json::Value;

/// Fills in what is absent, or null where null is no value. Idempotent.
pub(super) fn fill(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                let unset = map.get(name).is_none_or(|value| value.is_null() && inner["nullable"] != Value::Bool(true));
                if let Some(default) = inner.get("default").filter(|_| unset) {
                    map.insert(name.clone(), default.clone());
                }
                if let Some(value) = map.get_mut(name) {
                    fill(inner, value);
                }
            }
            let more = &schema["additionalProperties"];
            if more.is_object() {
                map.values_mut().for_each(|value| fill(more, value));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(&schema["items"], item)),
        _ => {}
    }
}
