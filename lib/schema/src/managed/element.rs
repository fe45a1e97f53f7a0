//! One step of a path into an object, in its three writings: as a value, in `fieldsV1`, in a message.

use std::cmp::Ordering;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::status::quoted;

/// One step of a path.
///
/// Source: `fieldpath.PathElement` of structured-merge-diff.
#[derive(Clone, Debug)]
pub enum Element {
    /// A field of a struct, or an entry of a map.
    Field(String),
    /// An item of a list by its key fields, sorted by name.
    Key(Vec<(String, Value)>),
    /// An item of a set by its value.
    Value(Value),
    /// An item of a list by its place; only ever read, since such lists are owned as one piece.
    Index(i64),
}

impl Element {
    /// A field.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self::Field(name.to_owned())
    }

    /// Reads a key of `fieldsV1`. `Ok(None)` is a form that a later version may know; it is left out.
    ///
    /// Errors say what is malformed.
    pub(super) fn read(text: &str) -> Result<Option<Self>, String> {
        let Some((form, rest)) = text.split_at_checked(2).filter(|(form, _)| form.ends_with(':')) else {
            return Err(format!("{text:?} is no path element"));
        };
        let json = |rest: &str| serde_json::from_str::<Value>(rest).map_err(|error| format!("{text:?}: {error}"));
        Ok(Some(match form {
            "f:" => Self::Field(rest.to_owned()),
            "v:" => Self::Value(json(rest)?),
            "i:" => Self::Index(rest.parse().map_err(|_| format!("{text:?} has no index"))?),
            "k:" => match json(rest)? {
                Value::Object(map) => Self::key(map),
                _ => return Err(format!("{text:?} has no key fields")),
            },
            _ => return Ok(None),
        }))
    }

    fn key(map: Map<String, Value>) -> Self {
        let mut fields: Vec<_> = map.into_iter().collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self::Key(fields)
    }

    /// The key of `fieldsV1`.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let one =
                    |(name, value): &(String, Value)| format!("{}:{}", go_json(&name.as_str().into()), go_json(value));
                let fields: Vec<_> = fields.iter().map(one).collect();
                format!("k:{{{}}}", fields.join(","))
            }
            Self::Value(value) => format!("v:{}", go_json(value)),
            Self::Index(index) => format!("i:{index}"),
        }
    }
}

/// JSON as Go writes it: what would be markup in HTML is escaped.
fn go_json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    let escaped = |one: char| match one {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", u32::from(one)),
        other => other.to_string(),
    };
    text.chars().map(escaped).collect()
}

impl fmt::Display for Element {
    /// The step as messages show it: `.name`, `[name="c"]`, `[="x"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect();
                write!(f, "[{}]", fields.join(","))
            }
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A value as messages show it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

impl Element {
    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let fields = a.iter().zip(b).map(|((a, x), (b, y))| a.cmp(b).then_with(|| order(x, y)));
                fields.into_iter().find(|one| one.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => order(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

/// The order of values: numbers by what they are worth, then texts, truths, lists, maps, null.
fn order(a: &Value, b: &Value) -> Ordering {
    const fn rank(value: &Value) -> u8 {
        match value {
            Value::Number(_) => 0,
            Value::String(_) => 1,
            Value::Bool(_) => 2,
            Value::Array(_) => 3,
            Value::Object(_) => 4,
            Value::Null => 5,
        }
    }
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => a.to_string().cmp(&b.to_string()),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn numbers(a: &Number, b: &Number) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
    }
}

/// Whether two values are worth the same: a number is compared by its worth, not by how it is written.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => numbers(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn has_three_writings() {
        for (written, shown) in [
            ("f:spec", ".spec"),
            (r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#),
            (r#"v:"a/b""#, r#"[="a/b"]"#),
            (r#"v:"\u003ca\u003e""#, r#"[="<a>"]"#),
            ("v:1", "[=1]"),
            ("i:3", "[3]"),
        ] {
            let element = Element::read(written).unwrap().unwrap();
            assert_eq!((element.written().as_str(), element.to_string().as_str()), (written, shown));
        }
        assert_eq!(Element::read("x:1").unwrap(), None);
        for bad in ["f", "spec", "v:{", "k:[]", "i:a"] {
            assert!(Element::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_worth_the_same_however_they_are_written() {
        assert!(same(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!same(&json!({"a": 1}), &json!({"a": "1"})));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": null})));
    }
}
