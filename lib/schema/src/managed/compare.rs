//! What one object has that another has not, or has differently.

use serde_json::{Map, Value};

use super::element::{Element, same};
use super::form::{Fields, Form, Items, Type, is_empty, items};
use super::set::Set;
use crate::object::Object;
use crate::structure::Ref;

/// The fields in which two objects differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Only the new object has them.
    pub added: Set,
    /// Both have them, with other values.
    pub modified: Set,
    /// Only the old object has them.
    pub removed: Set,
    /// A list has items that can't be told apart, since they lack all key fields: nothing can be said of it.
    pub untold: bool,
}

impl Comparison {
    /// Whether the objects own the same fields with the same values.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Fields that the new object has with values of its own.
    #[must_use]
    pub fn set(&self) -> Set {
        self.added.union(&self.modified)
    }

    /// Adds what was found at a step, which is made only when something was.
    fn put(&mut self, at: impl FnOnce() -> Element, found: Found) {
        let Found { own, below } = found;
        self.untold |= below.untold;
        if own.is_none() && below.is_same() {
            return;
        }
        let at = at();
        let put = |set: &mut Set, change: Change, below: Set| {
            if own == Some(change) || !below.is_empty() {
                set.put(at.clone(), own == Some(change), below);
            }
        };
        put(&mut self.added, Change::Added, below.added);
        put(&mut self.modified, Change::Modified, below.modified);
        put(&mut self.removed, Change::Removed, below.removed);
    }
}

/// Compares two objects of a structure; neither says who owns its fields.
///
/// Source: `TypedValue.Compare` of structured-merge-diff.
#[must_use]
pub fn compare(structure: &Ref, old: &Object, new: &Object) -> Comparison {
    maps(Fields::Struct(structure), Some(old.map()), Some(new.map()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

/// What differs at a place: itself, and what is below it.
#[derive(Default)]
struct Found {
    own: Option<Change>,
    below: Comparison,
}

fn presence(old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    match (old, new) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        _ => None,
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Found {
    let own = match (old, new) {
        (Some(old), Some(new)) => (!same(old, new)).then_some(Change::Modified),
        _ => presence(old, new),
    };
    Found { own, below: Comparison::default() }
}

/// Compares what stands at one place; at least one of the two is there.
fn differ(of: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> Found {
    // Two empty ones are a leaf: so null, empty and absent stay apart.
    let both_empty = || is_empty(old) && is_empty(new);
    match (of.form(old.or(new)), of.form(new.or(old))) {
        (Form::Items(list), _) if !both_empty() => Found { own: presence(old, new), below: lists(list, old, new) },
        (Form::Fields(fields), Form::Fields(_)) if !both_empty() => {
            Found { own: presence(old, new), below: maps(fields, map(old), map(new)) }
        }
        // What has no type changed from a map into another value, or the other way round.
        (Form::Fields(fields), Form::Whole) if !both_empty() => {
            Found { below: maps(fields, map(old), None), ..leaf(old, new) }
        }
        (Form::Whole, Form::Fields(fields)) if !both_empty() => {
            Found { below: maps(fields, None, map(new)), ..leaf(old, new) }
        }
        _ => leaf(old, new),
    }
}

fn maps(fields: Fields<'_>, old: Option<&Map<String, Value>>, new: Option<&Map<String, Value>>) -> Comparison {
    let mut comparison = Comparison::default();
    let get = |map: Option<&'_ Map<String, Value>>, name: &str| map.is_some_and(|map| map.contains_key(name));
    for (name, value) in old.into_iter().flatten() {
        let Some(of) = fields.of(name) else { continue };
        let found = differ(of, Some(value), new.and_then(|new| new.get(name)));
        comparison.put(|| Element::field(name), found);
    }
    for (name, value) in new.into_iter().flatten().filter(|(name, _)| !get(old, name)) {
        let Some(of) = fields.of(name) else { continue };
        comparison.put(|| Element::field(name), differ(of, None, Some(value)));
    }
    comparison
}

fn map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

/// The items of a list by what tells them apart, in order; equal ones stand together.
///
/// With it comes whether there are some that can't be told apart.
fn told_apart<'a>(list: Items<'_>, value: Option<&'a Value>) -> (Vec<(Element, Vec<&'a Value>)>, bool) {
    let mut found: Vec<(Element, Vec<&Value>)> = Vec::new();
    let mut untold = false;
    for item in items(value) {
        let Ok(element) = list.element(item) else {
            untold = true;
            continue;
        };
        match found.iter_mut().find(|(one, _)| *one == element) {
            Some((_, same)) => same.push(item),
            None => found.push((element, vec![item])),
        }
    }
    (found, untold)
}

fn lists(list: Items<'_>, old: Option<&Value>, new: Option<&Value>) -> Comparison {
    let mut comparison = Comparison::default();
    let ((olds, in_old), (news, in_new)) = (told_apart(list, old), told_apart(list, new));
    comparison.untold = in_old || in_new;
    let twins = |element: &Element| news.iter().find(|(one, _)| one == element).map_or(&[][..], |(_, items)| items);
    for (element, items) in &olds {
        comparison.put_items(list, element, items, twins(element));
    }
    for (element, items) in news.iter().filter(|(element, _)| !olds.iter().any(|(one, _)| one == element)) {
        comparison.put_items(list, element, &[], items);
    }
    comparison
}

impl Comparison {
    /// Adds how the items differ that one step names; several of them are one piece.
    fn put_items(&mut self, list: Items<'_>, at: &Element, old: &[&Value], new: &[&Value]) {
        let (first, last) = (old.first().copied(), new.first().copied());
        let mut put = |found| self.put(|| at.clone(), found);
        let piece = |own| Found { own: Some(own), below: Self::default() };
        match (old.len(), new.len()) {
            (0 | 1, 0 | 1) => put(differ(list.item, first, last)),
            (0 | 1, _) => {
                if first.is_some() {
                    put(differ(list.item, first, None));
                }
                put(piece(Change::Added));
            }
            (_, 0 | 1) => {
                if last.is_some() {
                    put(differ(list.item, None, last));
                }
                put(piece(Change::Removed));
            }
            _ if old.len() != new.len() || old.iter().zip(new).any(|(a, b)| !same(a, b)) => {
                put(piece(Change::Modified));
            }
            _ => {}
        }
    }
}
