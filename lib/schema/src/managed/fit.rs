//! Sets of fields as the structure of today would write them.

use super::form::{Fields, Form, Type};
use super::set::Set;
use super::{Entry, Managed, Scene};
use crate::object::Object;
use crate::structure::Ref;

/// Entries whose fields were written when other fields were owned as one piece: what is one piece now has one owner.
pub(super) fn fitted(scene: &Scene<'_>, managed: Managed, live: &Object) -> Managed {
    let fit = |mut entry: Entry| {
        if entry.api_version == scene.api_version {
            entry.fields = set(Type::root(&scene.structure), &entry.fields);
            return Some(entry);
        }
        let (structure, _) = (scene.in_version)(live, &entry.api_version)?;
        entry.fields = set(Type::root(&structure), &entry.fields);
        Some(entry)
    };
    Managed(managed.0.into_iter().filter_map(fit).collect())
}

fn set(of: Type<'_>, old: &Set) -> Set {
    let mut fitted = Set::default();
    let form = of.form(Some(&serde_json::Value::Object(serde_json::Map::new())));
    for (at, member, below) in old.steps() {
        let inner = match (form, at) {
            (Form::Fields(fields), super::Element::Field(name)) => fields.of(name),
            (Form::Items(list), super::Element::Key(_) | super::Element::Value(_)) => Some(list.item),
            _ => None,
        };
        match inner {
            Some(Type::Free) | None => fitted.put(at.clone(), member, below.clone()),
            Some(inner) if is_whole(inner) && !below.is_empty() => fitted.put(at.clone(), true, Set::default()),
            Some(inner) => fitted.put(at.clone(), member, set(inner, below)),
        }
    }
    fitted
}

fn is_whole(of: Type<'_>) -> bool {
    matches!(of.form(None), Form::Whole)
}

/// The set with the fields of structs above its members as members: so a struct goes with all that is in it.
///
/// Source: `Set.EnsureNamedFieldsAreMembers` of structured-merge-diff.
pub(super) fn with_structs(structure: &Ref, set: &Set) -> Set {
    named(Some(Type::root(structure)), set)
}

fn named(of: Option<Type<'_>>, old: &Set) -> Set {
    let empty = serde_json::Value::Object(serde_json::Map::new());
    let form = of.map(|of| of.form(Some(&empty)));
    let mut set = Set::default();
    for (at, member, below) in old.steps() {
        let (inner, is_field) = match (form, at) {
            (Some(Form::Fields(fields)), super::Element::Field(name)) => (fields.of(name), names(fields, name)),
            (Some(Form::Items(list)), super::Element::Key(_)) => (Some(list.item), false),
            _ => (None, false),
        };
        set.put(at.clone(), member || (is_field && !below.is_empty()), named(inner, below));
    }
    set
}

fn names(fields: Fields<'_>, name: &str) -> bool {
    fields.names(name)
}
