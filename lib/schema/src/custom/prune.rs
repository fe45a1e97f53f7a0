//! Fields that a schema does not know are dropped, unless it says that they are kept.

use serde_json::Value;

const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Drops what the schema of a part of an object does not know.
pub(super) fn prune(schema: &Value, value: &mut Value) {
    prune_as(schema, value, schema["x-kubernetes-embedded-resource"] == Value::Bool(true));
}

/// The same for a whole object: the fields that every object has are kept.
pub(super) fn prune_object(schema: &Value, value: &mut Value) {
    prune_as(schema, value, true);
}

fn prune_as(schema: &Value, value: &mut Value, is_object: bool) {
    match value {
        Value::Object(map) => {
            let properties = schema["properties"].as_object();
            let more = &schema["additionalProperties"];
            let open = schema["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true)
                || !matches!(more, Value::Null | Value::Bool(false));
            let known = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
            map.retain(|name, _| open || known(name) || (is_object && META.contains(&name.as_str())));
            for (name, inner) in map.iter_mut() {
                if is_object && META.contains(&name.as_str()) {
                    continue;
                }
                match properties.and_then(|properties| properties.get(name)) {
                    Some(schema) => prune(schema, inner),
                    None if more.is_object() => prune(more, inner),
                    None => {}
                }
            }
        }
        Value::Array(items) if schema["items"].is_object() => {
            items.iter_mut().for_each(|item| prune(&schema["items"], item));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_what_is_known_or_open() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "object", "properties": {"x": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "object", "properties": {}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"k": {}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"k": {}}}},
        }});
        let mut value = json!({
            "kind": "K", "metadata": {"name": "n"}, "odd": 1, "a": {"x": "1", "y": 2},
            "free": {"any": 1, "known": {"z": 1}}, "map": {"m": {"k": 1, "l": 2}}, "list": [{"k": 1, "l": 2}],
        });
        prune_object(&schema, &mut value);
        let kept = json!({
            "kind": "K", "metadata": {"name": "n"}, "a": {"x": "1"}, "free": {"any": 1, "known": {}},
            "map": {"m": {"k": 1}}, "list": [{"k": 1}],
        });
        assert_eq!(value, kept);
    }
}
