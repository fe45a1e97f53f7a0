//! The form in which an object is stored: what Go's encoder would write back.
//!
//! Empty values that the API leaves out are dropped, those that it always shows are filled in. Idempotent.

use serde_json::{Map, Value};

use crate::kind::Kind;
use crate::object::Object;
use crate::structure::{Field, Node, Other, Ref, Shape, Struct};

/// Brings an object into the form in which it is stored and answered.
///
/// Objects of a custom resource keep their own form; only their metadata is brought into it.
pub fn canonicalise(kind: &Kind, object: &mut Object) {
    structured(&kind.structure(), object.map_mut());
}

/// Brings an object into the form in which it is written before it is stored: lists and maps that are always written
/// are empty where they were given so.
pub fn written(kind: &Kind, object: &mut Object) {
    formed(kind, object, Form::Written);
}

/// Brings an object into the form in which it is checked: every list and map that was given is there, empty or not.
/// Says whether some are that are not written.
pub fn given(kind: &Kind, object: &mut Object) -> bool {
    formed(kind, object, Form::Given)
}

fn formed(kind: &Kind, object: &mut Object, form: Form) -> bool {
    match &kind.structure() {
        structure @ Ref::Published(_) => tidy(structure, object.map_mut(), form),
        made @ Ref::Made(_) => {
            structured(made, object.map_mut());
            false
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As it was given.
    Given,
    /// As it is written: what is empty is left out, where the API leaves it out.
    Written,
    /// As it comes back from the store.
    Stored,
}

/// The same for a map of a known structure.
pub fn structured(structure: &Ref, map: &mut Map<String, Value>) {
    match structure {
        Ref::Published(_) => {
            tidy(structure, map, Form::Stored);
        }
        Ref::Made(made) => {
            for field in &made.fields {
                if let (Shape::Struct(inner @ Ref::Published(_)), Some(Value::Object(value))) =
                    (&field.node.shape, map.get_mut(field.name.as_ref()))
                {
                    tidy(inner, value, Form::Stored);
                }
            }
        }
    }
}

/// Says whether an empty list or map is left that is not written.
fn tidy(structure: &Struct, map: &mut Map<String, Value>, form: Form) -> bool {
    let mut empty = false;
    for field in &structure.fields {
        match map.get_mut(field.name.as_ref()) {
            Some(value) if !value.is_null() => {
                empty |= tidy_value(&field.node, value, form);
                if is_left_out(field, value) {
                    if form == Form::Given && is_empty_collection(&field.node, value) {
                        empty = true;
                    } else {
                        map.remove(field.name.as_ref());
                    }
                } else if form == Form::Stored && !field.presence.pointer && is_empty_collection(&field.node, value) {
                    // Upstream stores messages, where an empty list or map can't be told from none.
                    *value = Value::Null;
                }
            }
            _ => match absent(field) {
                Some(zero) => {
                    map.insert(field.name.clone().into_owned(), zero);
                }
                None => {
                    map.remove(field.name.as_ref());
                }
            },
        }
    }
    empty
}

/// Brings a map of a published structure into the form in which it is written.
pub(crate) fn omitted(structure: &Struct, map: &mut Map<String, Value>) {
    tidy(structure, map, Form::Written);
}

/// What stands for an absent field; `None` leaves it out.
fn absent(field: &Field) -> Option<Value> {
    let presence = field.presence;
    if presence.pointer {
        return (!presence.omit_empty && !presence.omit_zero).then_some(Value::Null);
    }
    if presence.omit_zero || (presence.omit_empty && !is_go_struct(&field.node.shape)) {
        return None;
    }
    Some(zero(&field.node))
}

/// Shapes that are structs in Go, which `omitempty` never leaves out.
fn is_go_struct(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Struct(_)
            | Shape::Time
            | Shape::MicroTime
            | Shape::Duration
            | Shape::Quantity
            | Shape::IntOrText
            | Shape::Any
            | Shape::SchemaOr(..)
    )
}

/// The value of a node that was never set.
pub(crate) fn zero(node: &Node) -> Value {
    match &node.shape {
        Shape::Text | Shape::Bytes => Value::from(""),
        Shape::Bool => Value::from(false),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrText => Value::from(0),
        Shape::Quantity => Value::from("0"),
        Shape::Duration => Value::from("0s"),
        Shape::Struct(inner) => {
            let mut map = Map::new();
            tidy(inner, &mut map, Form::Stored);
            Value::Object(map)
        }
        Shape::Time | Shape::MicroTime | Shape::Any | Shape::List(_) | Shape::Wrapped | Shape::Map(_) => Value::Null,
        Shape::SchemaOr(Other::Bool, _) => Value::from(false),
        Shape::SchemaOr(..) => Value::Null,
    }
}

fn tidy_value(node: &Node, value: &mut Value, form: Form) -> bool {
    // Every one is tidied: no short cut.
    let any = |empty: bool, one: bool| empty | one;
    match (&node.shape, value) {
        (Shape::Struct(inner), Value::Object(map)) => tidy(inner, map, form),
        (Shape::List(item), Value::Array(items)) => {
            items.iter_mut().map(|one| tidy_item(item, one, form)).fold(false, any)
        }
        (Shape::Map(item), Value::Object(entries)) => {
            entries.values_mut().map(|one| tidy_item(item, one, form)).fold(false, any)
        }
        (Shape::SchemaOr(_, schema), Value::Object(map)) => tidy(schema, map, form),
        (Shape::SchemaOr(Other::Schemas, schema), Value::Array(schemas)) => {
            let maps = schemas.iter_mut().filter_map(Value::as_object_mut);
            maps.map(|map| tidy(schema, map, form)).fold(false, any)
        }
        _ => false,
    }
}

fn tidy_item(node: &Node, value: &mut Value, form: Form) -> bool {
    if value.is_null() {
        *value = zero(node);
        return false;
    }
    tidy_value(node, value, form)
}

fn is_left_out(field: &Field, value: &Value) -> bool {
    let presence = field.presence;
    if presence.pointer {
        return false;
    }
    let shape = &field.node.shape;
    (presence.omit_empty && !is_go_struct(shape) && is_empty(value))
        || (presence.omit_zero && (is_empty(value) || *value == zero(&field.node)))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    }
}

fn is_empty_collection(node: &Node, value: &Value) -> bool {
    matches!(node.shape, Shape::List(_) | Shape::Map(_) | Shape::Wrapped) && is_empty(value)
}
