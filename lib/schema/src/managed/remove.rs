//! An object without some of its fields.

use serde_json::{Map, Value};

use super::element::Element;
use super::form::{Fields, Form, Type, is_empty};
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

/// What is left at a place; null when nothing is.
fn values(of: Type<'_>, value: Value, set: &Set) -> Value {
    let form = of.form(Some(&value));
    if is_empty(Some(&value)) && !matches!(form, Form::Whole) {
        return Value::Null;
    }
    match (form, value) {
        (Form::Fields(fields), Value::Object(map)) => {
            let kept = maps(fields, map, set);
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Form::Items(list), Value::Array(items)) => {
            let kept = items.into_iter().filter_map(|item| {
                let Ok(at) = list.element(&item) else { return Some(item) };
                match set.below(&at) {
                    _ if set.holds(&at) => None,
                    Some(below) => Some(values(list.item, item, below)),
                    None => Some(item),
                }
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        (Form::Whole, Value::Object(_) | Value::Array(_)) => Value::Null,
        (_, value) => value,
    }
}
