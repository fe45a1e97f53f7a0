//! An object with what another one says merged into it.

use serde_json::{Map, Value};

use super::element::Element;
use super::form::{Fields, Form, Items, Type, is_empty, items};
use crate::object::Object;
use crate::structure::Ref;

/// `live` with every field of `config`; nothing is removed. A list keeps its order where `config` does not change it.
///
/// Source: `TypedValue.Merge` of structured-merge-diff.
#[must_use]
pub fn merge(structure: &Ref, live: &Object, config: &Object) -> Object {
    Object::from(maps(Fields::Struct(structure), Some(live.map()), Some(config.map())))
}

/// Merges what stands at one place; `None` when nothing is left.
fn values(of: Type<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let whole = || config.or(live).cloned();
    if is_empty(live) && is_empty(config) {
        return whole();
    }
    let map = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    match of.form(config.filter(|value| !value.is_null()).or(live)) {
        Form::Whole => whole(),
        Form::Fields(fields) => {
            let (live, config) = (map(live), map(config));
            let merged = maps(fields, live.as_ref(), config.as_ref());
            (!merged.is_empty()).then_some(Value::Object(merged))
        }
        Form::Items(list) => {
            let merged = lists(list, items(live), items(config));
            (!merged.is_empty()).then_some(Value::Array(merged))
        }
    }
}

fn maps(
    fields: Fields<'_>,
    live: Option<&Map<String, Value>>,
    config: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let mut merged = Map::new();
    let names = live.into_iter().flatten().chain(config.into_iter().flatten()).map(|(name, _)| name);
    for name in names {
        if merged.contains_key(name) {
            continue;
        }
        let get = |map: Option<&'_ Map<String, Value>>| map.and_then(|map| map.get(name)).cloned();
        let (left, right) = (get(live), get(config));
        let value = match fields.of(name) {
            Some(of) => values(of, left.as_ref(), right.as_ref()),
            None => right.or(left),
        };
        if let Some(value) = value {
            merged.insert(name.clone(), value);
        }
    }
    merged
}

/// Merges two lists: items of both keep the order of `config`; what only `live` has stays where it stood among them.
fn lists(list: Items<'_>, live: &[Value], config: &[Value]) -> Vec<Value> {
    let told =
        |values: &'_ [Value]| -> Vec<Element> { values.iter().filter_map(|item| list.element(item).ok()).collect() };
    let (lefts, rights) = (told(live), told(config));
    if lefts.len() != live.len() || rights.len() != config.len() {
        // What can't be told apart can't be merged; such a configuration was refused before.
        return config.to_vec();
    }
    Zip { list, live, config, shared: shared(&lefts, &rights), lefts, rights }.run()
}

/// The items of both lists, in the order of the configuration.
fn shared(lefts: &[Element], rights: &[Element]) -> Vec<Element> {
    rights.iter().filter(|element| lefts.contains(element)).cloned().collect()
}

struct Zip<'a> {
    list: Items<'a>,
    live: &'a [Value],
    config: &'a [Value],
    lefts: Vec<Element>,
    rights: Vec<Element>,
    shared: Vec<Element>,
}

impl Zip<'_> {
    fn run(&self) -> Vec<Value> {
        let (mut left, mut right, mut next) = (0, 0, 0);
        let mut merged = Vec::with_capacity(self.lefts.len().max(self.rights.len()));
        while left < self.lefts.len() || right < self.rights.len() {
            let (at, wanted) = (self.lefts.get(left), self.rights.get(right));
            if let (Some(at), Some(wanted)) = (at, wanted) {
                if at == wanted {
                    merged.extend(self.item(right));
                    (left, right, next) = (left + 1, right + 1, next + 1);
                    continue;
                }
                // It is of both, but another of both comes first.
                if self.rights.contains(at) && self.shared.get(next).is_some_and(|next| next != at) {
                    left += 1;
                    continue;
                }
            }
            if let Some(at) = at {
                if !self.rights.contains(at) {
                    merged.extend(values(self.list.item, Some(&self.live[left]), None));
                    left += 1;
                    continue;
                }
                if self.rights[..right].contains(at) {
                    left += 1;
                }
            }
            if let Some(wanted) = wanted {
                merged.extend(self.item(right));
                right += 1;
                if self.shared.get(next) == Some(wanted) {
                    next += 1;
                }
            }
        }
        merged
    }

    /// The item of the configuration at an index, merged into its live twin. Twins that are several stay as they are.
    fn item(&self, right: usize) -> Option<Value> {
        let mut twins = self.lefts.iter().zip(self.live).filter(|(element, _)| **element == self.rights[right]);
        let twin = twins.next().filter(|_| twins.next().is_none()).map(|(_, item)| item);
        values(self.list.item, twin, Some(&self.config[right]))
    }
}
