//! JSON Patch (RFC 6902), with the leniency of upstream's implementation.
//!
//! `replace` makes an absent field, indices may count from the end, and a test for null holds for an absent field.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::depth;

/// Bytes by which the copies of one patch may make a document grow, as upstream's server has it.
const MOST_COPIED: usize = 3 << 20;

/// From this bound on the depth of a document is counted. Beyond what may be, and far from the end of a thread's stack.
const COUNTED_AT: usize = 1_000;

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
    /// Copies grew the document by more than they may.
    #[error("the copies are larger than {MOST_COPIED} bytes")]
    Copies,
    /// The document nests too deep.
    #[error("exceeded max depth")]
    Depth,
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
pub fn apply(document: Value, operations: &[Operation]) -> Result<Value, Failed> {
    let mut patching = Patching { deepest: depth::of(&document), document, copied: 0 };
    for operation in operations {
        patching.one(operation)?;
        patching.bound_depth()?;
    }
    Ok(patching.document)
}

/// A document that is being patched.
struct Patching {
    document: Value,
    /// At least as many maps and lists as stand inside each other.
    deepest: usize,
    /// Bytes that were copied.
    copied: usize,
}

impl Patching {
    /// Notes that something of at most such a depth stands at a path now.
    fn grown(&mut self, path: &str, depth: usize) {
        self.deepest = self.deepest.max(levels(path) + depth);
    }

    /// What stands at a path is no deeper than this.
    fn below(&self, path: &str) -> usize {
        self.deepest.saturating_sub(levels(path))
    }

    /// Counts exactly only when the bound is far beyond what may be: moves to and fro would raise it, too.
    fn bound_depth(&mut self) -> Result<(), Failed> {
        if self.deepest > COUNTED_AT {
            self.deepest = depth::of(&self.document);
            if self.deepest > depth::DEEPEST {
                return Err(Failed::Depth);
            }
        }
        Ok(())
    }

    fn one(&mut self, operation: &Operation) -> Result<(), Failed> {
        let document = &mut self.document;
        let path = || operation.path.as_deref().ok_or_else(|| Failed::Operation(operation.op.clone()));
        let from = || operation.from.as_deref().ok_or_else(|| Failed::Operation(operation.op.clone()));
        match operation.op.as_str() {
            "add" => {
                add(document, path()?, operation.value.clone())?;
                self.grown(path()?, depth::of(&operation.value));
            }
            "remove" => drop(remove(document, path()?)?),
            "replace" => {
                replace(document, path()?, operation.value.clone())?;
                self.grown(path()?, depth::of(&operation.value));
            }
            "move" => {
                let value = remove(document, from()?)?;
                add(document, path()?, value)?;
                self.grown(path()?, self.below(from()?));
            }
            "copy" => {
                let value = get(document, from()?)?.unwrap_or(&Value::Null);
                self.copied += size(value, MOST_COPIED - self.copied).ok_or(Failed::Copies)?;
                let value = value.clone();
                add(document, path()?, value)?;
                self.grown(path()?, self.below(from()?));
            }
            "test" => test(document, path()?, &operation.value)?,
            other => return Err(Failed::Operation(other.to_owned())),
        }
        Ok(())
    }
}

fn levels(path: &str) -> usize {
    path.matches('/').count()
}

/// Bytes of a value as JSON; `None` when they are more than `most`.
fn size(value: &Value, most: usize) -> Option<usize> {
    struct Counting(usize);
    impl std::io::Write for Counting {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut left = Counting(most);
    serde_json::to_writer(&mut left, value).ok()?;
    Some(most - left.0)
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
    fn copies_do_not_grow_without_bound() {
        let document = json!({"data": {"a": "x".repeat(1 << 20)}});
        let copies = |count: usize| {
            let copy = |at: usize| json!({"op": "copy", "from": "/data", "path": format!("/data/x{at}")});
            operations((0..count).map(copy).collect()).unwrap()
        };
        assert!(apply(document.clone(), &copies(2)).is_err(), "1 and 2 MiB, with what stands around them");
        assert!(apply(document.clone(), &copies(1)).is_ok());
        assert_eq!(apply(document, &copies(8)), Err(Failed::Copies));
    }

    #[test]
    fn moves_do_not_nest_without_bound() {
        let mut chain = Vec::new();
        for _ in 0..4_000 {
            chain.push(json!({"op": "add", "path": "/n", "value": {}}));
            chain.push(json!({"op": "move", "from": "/x", "path": "/n/x"}));
            chain.push(json!({"op": "move", "from": "/n", "path": "/x"}));
        }
        let patched = apply(json!({"x": 1}), &operations(chain.into()).unwrap());
        assert_eq!(patched, Err(Failed::Depth));
        // What only looks deeper is fine.
        let swaps = (0..3_000).flat_map(|_| {
            [json!({"op": "move", "from": "/x", "path": "/n/x"}), json!({"op": "move", "from": "/n/x", "path": "/x"})]
        });
        let document = json!({"x": 1, "n": {}});
        assert_eq!(apply(document.clone(), &operations(swaps.collect()).unwrap()), Ok(document));
    }

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
