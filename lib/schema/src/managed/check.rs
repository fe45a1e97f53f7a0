//! What is wrong with a configuration, before it is merged: fields that are not there, values of another type.

use serde_json::Value;

use super::element::Element;
use super::form::{Form, Type, entries};
use crate::object::Object;
use crate::structure::{Node, Ref, Shape};

/// Everything that does not fit the structure, in upstream's words; empty when all does.
///
/// Source: `TypedValue.Validate` of structured-merge-diff.
pub(super) fn check(structure: &Ref, object: &Object) -> Vec<String> {
    let mut errors = Vec::new();
    // Upstream stops at the first field of a map that it does not know.
    for (name, value) in object.map() {
        if !field(Type::root(structure), name, value, "", &mut errors) {
            break;
        }
    }
    errors
}

/// The errors as one text.
pub(super) fn joined(errors: &[String]) -> String {
    match errors {
        [one] => one.clone(),
        all => all.iter().fold("errors:".to_owned(), |text, error| format!("{text}\n  {error}")),
    }
}

/// Looks at a field; `false` ends the look at its siblings.
fn field(above: Type<'_>, name: &str, value: &Value, path: &str, errors: &mut Vec<String>) -> bool {
    let Form::Fields(fields) = above.form(Some(&Value::Object(serde_json::Map::new()))) else { return true };
    let path = format!("{path}.{name}");
    match fields.of(name) {
        None => {
            errors.push(format!("{path}: field not declared in schema"));
            false
        }
        Some(of) => {
            look(of, value, &path, errors);
            true
        }
    }
}

fn look(of: Type<'_>, value: &Value, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let mut complain = |text: String| errors.push(format!("{path}: {text}"));
    let node = match of {
        Type::Free => return,
        Type::Struct(_) => None,
        Type::Node(node) => Some(node),
    };
    match node.map_or(Expected::Map, expected) {
        Expected::Anything => {}
        Expected::Scalar(fits, wanted) if !fits(value) => {
            complain(format!("expected {wanted}, got {}", go(wanted, value)))
        }
        Expected::Scalar(..) => {}
        Expected::Map => match value {
            Value::Object(_) => maps(of, value, path, errors),
            _ => complain(format!("expected map, got {}", wrapped(value))),
        },
        Expected::List(item) => match value {
            Value::Array(values) => lists(of, item, values, path, errors),
            _ => complain(format!("expected list, got {}", wrapped(value))),
        },
    }
}

fn maps(of: Type<'_>, value: &Value, path: &str, errors: &mut Vec<String>) {
    let inner = match of {
        Type::Node(Node { shape: Shape::Struct(inner) | Shape::SchemaOr(_, inner), .. }) => Type::Struct(inner),
        // A map that is owned as one piece is looked into all the same.
        Type::Node(Node { shape: Shape::Map(entry), .. }) => {
            for (name, value) in entries(Some(value)) {
                look(Type::Node(entry), value, &format!("{path}.{name}"), errors);
            }
            return;
        }
        other => other,
    };
    for (name, value) in entries(Some(value)) {
        if !field(inner, name, value, path, errors) {
            return;
        }
    }
}

fn lists(of: Type<'_>, item: Option<&Node>, values: &[Value], path: &str, errors: &mut Vec<String>) {
    let mut seen: Vec<Element> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let at = match of.form(None) {
            Form::Items(list) => match list.element(value) {
                Ok(element) => element,
                Err(error) => {
                    errors.push(format!("{path}: element {index}: {error}"));
                    return;
                }
            },
            _ => Element::Index(i64::try_from(index).unwrap_or(i64::MAX)),
        };
        if seen.contains(&at) {
            errors.push(format!("{path}: duplicate entries for key {at}"));
        }
        if let Some(item) = item {
            look(Type::Node(item), value, &format!("{path}{at}"), errors);
        }
        seen.push(at);
    }
}

/// What a value must be to fit.
enum Expected<'a> {
    Anything,
    Scalar(fn(&Value) -> bool, &'static str),
    Map,
    List(Option<&'a Node>),
}

const NUMBER: &str = "numeric (int or float)";
const TEXT: &str = "string";
const TRUTH: &str = "boolean";
const SCALAR: &str = "any scalar";

fn expected(node: &Node) -> Expected<'_> {
    match &node.shape {
        Shape::Text | Shape::Bytes | Shape::Duration => Expected::Scalar(Value::is_string, TEXT),
        Shape::Bool => Expected::Scalar(Value::is_boolean, TRUTH),
        Shape::Int32 | Shape::Int64 | Shape::Double => Expected::Scalar(Value::is_number, NUMBER),
        Shape::Time | Shape::MicroTime | Shape::IntOrText => {
            Expected::Scalar(|value| !value.is_object() && !value.is_array(), SCALAR)
        }
        Shape::Quantity | Shape::SchemaOr(..) => Expected::Anything,
        Shape::Any => Expected::Anything,
        Shape::Struct(_) | Shape::Map(_) => Expected::Map,
        Shape::List(item) => Expected::List(Some(item)),
        Shape::Wrapped => Expected::List(None),
    }
}

/// A value as Go shows it where something else was expected.
fn go(wanted: &str, value: &Value) -> String {
    match wanted {
        NUMBER => go_type(value).to_owned(),
        TEXT => format!("&value.valueUnstructured{{Value:{}}}", go_syntax(value)),
        _ => wrapped(value),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
        Value::Null => "<nil>",
    }
}

fn go_syntax(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let fields: Vec<_> = map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A value in the wrapping that Go prints around it.
fn wrapped(value: &Value) -> String {
    fn plain(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
            Value::Object(map) => {
                let fields: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
                format!("map[{}]", fields.join(" "))
            }
            Value::Null => "<nil>".to_owned(),
            other => other.to_string(),
        }
    }
    format!("&{{{}}}", plain(value))
}
