//! An object without some of its fields.

use serde_json::{Map, Value};

use super::element::Element;
use super::form::{Fields, Form, Type};
use super::set::Set;
use crate::object::Object;
use crate::structure::Ref;

/// `object` without the members of `set`, each with what is below it. What is owned as one piece goes as one piece.
///
/// Source: `TypedValue.RemoveItems` of structured-merge-diff.
#[must_use]
pub fn remove(structure: &Ref, mut object: Object, set: &Set) -> Object {
    Object::from(maps(Fields::Struct(structure), std::mem::take(object.map_mut()), set))
}

fn maps(fields: Fields<'_>, map: Map<String, Value>, set: &Set) -> Map<String, Value> {
    let kept = map.into_iter().filter_map(|(name, value)| {
        let at = Element::field(&name);
        if set.holds(&at) {
            return None;
        }
        let value = match (set.below(&at), fields.of(&name)) {
            (Some(below), Some(of)) => values(of, value, below),
            _ => value,
        };
        Some((name, value))
    });
    kept.collect()
}

/// What is left at a place: a map or a list of which nothing is left is empty.
fn values(of: Type<'_>, value: Value, set: &Set) -> Value {
    match (of.form(Some(&value)), value) {
        (Form::Fields(fields), Value::Object(map)) => Value::Object(maps(fields, map, set)),
        (Form::Items(list), Value::Array(items)) => {
            let kept = items.into_iter().filter_map(|item| {
                let Ok(at) = list.element(&item) else { return Some(item) };
                match set.below(&at) {
                    _ if set.holds(&at) => None,
                    Some(below) => Some(values(list.item, item, below)),
                    None => Some(item),
                }
            });
            Value::Array(kept.collect())
        }
        (Form::Whole, Value::Object(_)) => Value::Object(Map::new()),
        (Form::Whole, Value::Array(_)) => Value::Array(Vec::new()),
        (_, value) => value,
    }
}
