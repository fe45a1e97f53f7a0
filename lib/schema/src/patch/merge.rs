//! JSON Merge Patch (RFC 7396), with upstream's habit of dropping nulls inside what is new.

use serde_json::Value;

/// Merges a patch into a document.
pub fn apply(document: &mut Value, mut patch: Value) {
    match (document, &mut patch) {
        (Value::Object(document), Value::Object(fields)) => {
            for (key, mut value) in std::mem::take(fields) {
                match document.get_mut(&key) {
                    _ if value.is_null() => {
                        document.remove(&key);
                    }
                    Some(current) if !current.is_null() => apply(current, value),
                    _ => {
                        drop_nulls(&mut value);
                        document.insert(key, value);
                    }
                }
            }
        }
        (document @ Value::Object(_), _) => *document = patch,
        (document, _) => {
            drop_nulls(&mut patch);
            *document = patch;
        }
    }
}

/// Drops null fields of maps, also of those inside lists; null items stay.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_as_the_standard_says() {
        // Source: RFC 7396, appendix A.
        for (document, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut got = document.clone();
            apply(&mut got, patch.clone());
            assert_eq!(got, want, "{document} {patch}");
        }
    }
}
