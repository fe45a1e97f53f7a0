//! The set of fields that an object names.

use serde_json::Value;

use super::form::{Form, Type, entries, items};
use super::set::Set;
use crate::object::Object;
use crate::structure::Ref;

/// Every leaf and every item that an object names; structs and maps above them are not members.
///
/// Example: `{"data": {"a": "1"}}` is `{"f:data": {"f:a": {}}}`.
/// Source: `TypedValue.ToFieldSet` of structured-merge-diff.
#[must_use]
pub fn fields_of(structure: &Ref, object: &Object) -> Set {
    let mut set = Set::default();
    for (name, value) in object.map() {
        below(Type::root(structure), name, value, &mut set);
    }
    set
}

/// Adds what a field or an entry names.
fn below(above: Type<'_>, name: &str, value: &Value, set: &mut Set) {
    let Form::Fields(fields) = above.form(Some(&Value::Object(serde_json::Map::new()))) else { return };
    let Some(inner) = fields.of(name) else { return };
    let (own, found) = named(inner, value);
    let bare = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    set.put(super::element::Element::field(name), own || bare || !fields.names(name), found);
}

/// What a value names below itself, and whether it is a leaf.
pub(super) fn named(of: Type<'_>, value: &Value) -> (bool, Set) {
    let mut set = Set::default();
    match of.form(Some(value)) {
        Form::Whole => return (true, set),
        Form::Fields(_) => {
            for (name, inner) in entries(Some(value)) {
                below(of, name, inner, &mut set);
            }
        }
        Form::Items(list) => {
            let mut seen: Vec<_> = Vec::new();
            for item in items(Some(value)) {
                let Ok(element) = list.element(item) else { continue };
                seen.push((element, item));
            }
            for (element, item) in &seen {
                // Items that can't be told apart are owned together, as one piece.
                let alone = seen.iter().filter(|(other, _)| other == element).count() == 1;
                let below = if alone { named(list.item, item).1 } else { Set::default() };
                set.put(element.clone(), true, below);
            }
        }
    }
    (false, set)
}
