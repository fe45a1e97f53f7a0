//! JSON Patch (RFC 6902), with the leniency of upstream's implementation.
//!
//! `replace` makes an absent field, indices may count from the end, and a test for null holds for an absent field.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Why a patch does not apply. Clients are told no more than that it does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// An operation that there is not, or one without its path.
    #[error("not an operation: {0}")]
    Operation(String),
    /// Nothing is there.
    #[error("nothing is at {0}")]
    Missing(String),
    /// A test did not hold.
    #[error("the test of {0} failed")]
    Test(String),
}

/// One operation.
#[derive(Clone, Debug, Deserialize)]
pub struct Operation {
    #[serde(default)]
    op: String,
    path: Option<String>,
    from: Option<String>,
    #[serde(default)]
    value: Value,
}

/// Reads a list of operations. Errors are texts for a 400.
pub fn operations(patch: Value) -> Result<Vec<Operation>, String> {
    match patch {
        Value::Array(_) => serde_json::from_value(patch).map_err(|error| format!("json: {error}")),
        Value::Null => Ok(Vec::new()),
        _ => Err("json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp".to_owned()),
    }
}

/// Applies operations one after the other; the first that fails ends it.
pub fn apply(mut document: Value, operations: &[Operation]) -> Result<Value, Failed> {
    for operation in operations {
        one(&mut document, operation)?;
    }
    Ok(document)
}

fn one(document: &mut Value, operation: &Operation) -> Result<(), Failed> {
    let path = || operation.path.as_deref().ok_or_else(|| Failed::Operation(operation.op.clone()));
    let from = || operation.from.as_deref().ok_or_else(|| Failed::Operation(operation.op.clone()));
    match operation.op.as_str() {
        "add" => add(document, path()?, operation.value.clone()),
        "remove" => remove(document, path()?).map(drop),
        "replace" => replace(document, path()?, operation.value.clone()),
        "move" => {
            let value = remove(document, from()?)?;
            add(document, path()?, value)
        }
        "copy" => {
            let value = get(document, from()?)?.cloned().unwrap_or_default();
            add(document, path()?, value)
        }
        "test" => test(document, path()?, &operation.value),
        other => Err(Failed::Operation(other.to_owned())),
    }
}

/// A map or a list that holds what a path names.
enum Holder<'a> {
    Map(&'a mut Map<String, Value>),
    List(&'a mut Vec<Value>),
}

fn holder<'a>(document: &'a mut Value, path: &str) -> Result<(Holder<'a>, String), Failed> {
    let missing = || Failed::Missing(path.to_owned());
    let mut keys: Vec<String> = path.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect();
    let last = keys.pop().ok_or_else(missing)?;
    let mut at = document;
    for key in keys {
        at = match at {
            Value::Object(map) => map.get_mut(&key).ok_or_else(missing)?,
            Value::Array(items) => {
                let index = index(&key, items.len()).ok_or_else(missing)?;
                &mut items[index]
            }
            _ => return Err(missing()),
        };
    }
    match at {
        Value::Object(map) => Ok((Holder::Map(map), last)),
        Value::Array(items) => Ok((Holder::List(items), last)),
        _ => Err(missing()),
    }
}

/// An index of a list of a length; negative ones count from its end.
fn index(key: &str, length: usize) -> Option<usize> {
    let index: isize = key.parse().ok()?;
    let index = if index < 0 { length.checked_sub(index.unsigned_abs())? } else { index.unsigned_abs() };
    (index < length).then_some(index)
}

fn get<'a>(document: &'a mut Value, path: &str) -> Result<Option<&'a Value>, Failed> {
    match holder(document, path)? {
        (Holder::Map(map), key) => Ok(map.get(&key)),
        (Holder::List(items), key) => {
            let at = index(&key, items.len()).ok_or_else(|| Failed::Missing(path.to_owned()))?;
            Ok(items.get(at))
        }
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), Failed> {
    match holder(document, path)? {
        (Holder::Map(map), key) => {
            map.insert(key, value);
        }
        (Holder::List(items), key) if key == "-" => items.push(value),
        (Holder::List(items), key) => {
            // One past the end is a place to add at, so the list counts as one longer.
            let at = index(&key, items.len() + 1).ok_or_else(|| Failed::Missing(path.to_owned()))?;
            items.insert(at, value);
        }
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, Failed> {
    let missing = || Failed::Missing(path.to_owned());
    match holder(document, path)? {
        (Holder::Map(map), key) => map.remove(&key).ok_or_else(missing),
        (Holder::List(items), key) => {
            let at = index(&key, items.len()).ok_or_else(missing)?;
            Ok(items.remove(at))
        }
    }
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), Failed> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return Err(Failed::Missing(path.to_owned()));
        }
        *document = value;
        return Ok(());
    }
    match holder(document, path)? {
        (Holder::Map(map), key) => {
            map.insert(key, value);
        }
        (Holder::List(items), key) => {
            let at = index(&key, items.len()).ok_or_else(|| Failed::Missing(path.to_owned()))?;
            items[at] = value;
        }
    }
    Ok(())
}

fn test(document: &mut Value, path: &str, want: &Value) -> Result<(), Failed> {
    let holds = if path.is_empty() { document == want } else { get(document, path)?.unwrap_or(&Value::Null) == want };
    if holds { Ok(()) } else { Err(Failed::Test(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_apply_as_upstream_applies_them() {
        let document = json!({"a": {"b": [1, 2, 3]}, "c/d": "x", "n": null});
        for (patch, want) in [
            (json!([{"op": "add", "path": "/a/b/-", "value": 4}]), Some(json!([1, 2, 3, 4]))),
            (json!([{"op": "add", "path": "/a/b/3", "value": 4}]), Some(json!([1, 2, 3, 4]))),
            (json!([{"op": "add", "path": "/a/b/4", "value": 4}]), None),
            (json!([{"op": "remove", "path": "/a/b/-1"}]), Some(json!([1, 2]))),
            (json!([{"op": "replace", "path": "/a/x", "value": 4}]), Some(json!([1, 2, 3]))),
            (json!([{"op": "replace", "path": "/a/b/3", "value": 4}]), None),
            (json!([{"op": "remove", "path": "/a/x"}]), None),
            (json!([{"op": "test", "path": "/a/x", "value": null}]), Some(json!([1, 2, 3]))),
            (json!([{"op": "test", "path": "/c~1d", "value": "x"}]), Some(json!([1, 2, 3]))),
            (json!([{"op": "test", "path": "/c~1d", "value": "y"}]), None),
            (json!([{"op": "add", "path": "/n/x", "value": 1}]), None),
            (json!([{"op": "move", "from": "/a/b/0", "path": "/a/b/2"}]), Some(json!([2, 3, 1]))),
            (json!([{"op": "frob", "path": "/a"}]), None),
            (json!([{"op": "add"}]), None),
        ] {
            let got = apply(document.clone(), &operations(patch.clone()).unwrap()).ok();
            assert_eq!(got.map(|document| document["a"]["b"].clone()), want, "{patch}");
        }
    }
}
