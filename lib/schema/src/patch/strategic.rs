//! Strategic merge patches: maps are merged, lists by the keys that the structure names, with `$` directives.
//!
//! Source: <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::status::Status;
use crate::structure::{Node, PatchRule, Shape, Struct};

mod order;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

type Fields = Map<String, Value>;

/// Why a patch can't be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The patch is malformed: 400.
    #[error("{0}")]
    Malformed(&'static str),
    /// A list of lists, which no patch can merge: 422.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// The patch and the structure do not fit; upstream answers 500.
    #[error("{0}")]
    Misfit(String),
}

impl From<Failed> for Status {
    fn from(failed: Failed) -> Self {
        match &failed {
            Failed::Malformed(_) => Self::failure(400, "BadRequest", failed.to_string()),
            Failed::ListOfLists => super::unprocessable(),
            Failed::Misfit(_) => Self::failure(500, "", failed.to_string()),
        }
    }
}

/// Merges a patch into an object of a structure.
pub fn apply(structure: &Struct, object: Value, patch: Fields) -> Result<Value, Failed> {
    let Value::Object(fields) = object else {
        return Err(Failed::Malformed("invalid JSON document"));
    };
    merge_map(fields, patch, At::Struct(structure)).map(Value::Object)
}

/// Where in the structure a merge is.
#[derive(Clone, Copy)]
enum At<'a> {
    Struct(&'a Struct),
    /// Something whose fields have no rules of their own, with Go's word for it.
    Plain(&'static str),
    /// A value without structure, a struct in Go whose fields no patch can name.
    Opaque,
}

impl<'a> At<'a> {
    fn of(node: &'a Node) -> Self {
        match &node.shape {
            Shape::Struct(inner) => Self::Struct(inner),
            Shape::List(item) => Self::of(item),
            Shape::Map(_) => Self::Plain("map"),
            Shape::Any | Shape::SchemaOr(..) => Self::Opaque,
            _ => Self::Plain("string"),
        }
    }

    /// The rule and the place of a field that is to be merged.
    fn field(self, key: &str) -> Result<(&'a PatchRule, At<'a>), Failed> {
        let unknown = |name: &str| {
            Failed::Misfit(format!("unable to find api field in struct {name} for the json field {key:?}"))
        };
        match self {
            Self::Struct(inner) => {
                let field = inner.field(key).ok_or_else(|| unknown(inner.short_name()))?;
                Ok((&field.node.patch, Self::of(&field.node)))
            }
            Self::Opaque => Err(unknown("RawExtension")),
            Self::Plain(word) => Err(Failed::Misfit(format!(
                "merging an object in json but data type is not struct, instead is: {word}"
            ))),
        }
    }

    fn name(self) -> &'a str {
        match self {
            Self::Struct(inner) => inner.short_name(),
            Self::Plain(word) => word,
            Self::Opaque => "RawExtension",
        }
    }
}

fn merge_map(mut fields: Fields, mut patch: Fields, at: At<'_>) -> Result<Fields, Failed> {
    match patch.remove(DIRECTIVE) {
        None => {}
        Some(Value::String(word)) if word == "replace" => return Ok(patch),
        Some(Value::String(word)) if word == "delete" => return Ok(Fields::new()),
        Some(other) => return Err(unknown_directive(&other, patch)),
    }
    retain_keys(&mut fields, &mut patch)?;
    set_orders(&mut fields, &mut patch, at)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from(&mut fields, list, value, at)?;
        } else if value.is_null() {
            fields.remove(&key);
        } else {
            merge_field(&mut fields, key, value, at)?;
        }
    }
    Ok(fields)
}

fn unknown_directive(word: &Value, mut patch: Fields) -> Failed {
    patch.insert(DIRECTIVE.to_owned(), word.clone());
    Failed::Misfit(format!("unknown patch type: {} in map: {}", go_text(word), go_text(&Value::Object(patch))))
}

fn merge_field(fields: &mut Fields, key: String, value: Value, at: At<'_>) -> Result<(), Failed> {
    let merged = match (fields.remove(&key), value) {
        (Some(Value::Object(current)), Value::Object(patch)) => {
            let (rule, inner) = at.field(&key)?;
            Some(Value::Object(if rule.replace { patch } else { merge_map(current, patch, inner)? }))
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            let (rule, inner) = at.field(&key)?;
            Some(Value::Array(if rule.merge { merge_list(current, patch, rule, inner)? } else { patch }))
        }
        (_, mut new) => {
            drop_nulls(&mut new);
            without_directives(new)
        }
    };
    if let Some(merged) = merged {
        fields.insert(key, merged);
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/x`: the values listed go from the list `x`.
fn delete_from(fields: &mut Fields, list: &str, values: Value, at: At<'_>) -> Result<(), Failed> {
    let (Some(Value::Array(current)), Value::Array(values)) = (fields.get_mut(list), values) else { return Ok(()) };
    at.field(list)?;
    if element_type(&[current, &values])?.is_some_and(|sort| sort != Sort::Map) {
        let gone: HashSet<&Value> = values.iter().collect();
        current.retain(|one| !gone.contains(one));
        return Ok(());
    }
    Err(Failed::Malformed("invalid patch format of primitive list"))
}

/// `$retainKeys`: fields that it does not name go.
fn retain_keys(fields: &mut Fields, patch: &mut Fields) -> Result<(), Failed> {
    const BAD: Failed = Failed::Malformed("invalid patch format of retainKeys");
    let Some(kept) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(kept) = kept else { return Err(BAD) };
    let kept: HashSet<&str> = kept.iter().filter_map(Value::as_str).collect();
    let named = |key: &String| kept.contains(key.as_str());
    let exempt =
        |key: &str, value: &Value| value.is_null() || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !exempt(key, value) && !named(key)) {
        return Err(BAD);
    }
    fields.retain(|key, _| named(key));
    Ok(())
}

/// `$setElementOrder/x`: merges the list `x` and brings it into the order given.
fn set_orders(fields: &mut Fields, patch: &mut Fields, at: At<'_>) -> Result<(), Failed> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let order = list(patch.remove(&directive).unwrap_or_default())?;
        let key = directive.trim_start_matches(SET_ORDER).to_owned();
        let current = fields.get(&key).cloned().map(list).transpose()?;
        let patched = patch.get(&key).cloned().map(list).transpose()?;
        let (rule, inner) = at.field(&key)?;
        order::check(patched.as_deref().unwrap_or_default(), &order, rule.key.as_deref())?;
        let before = current.clone().unwrap_or_default();
        let sort = element_type(&[&before, patched.as_deref().unwrap_or_default()]);
        let merged = match (current, patched) {
            (None, None) => continue,
            (Some(current), None) => current,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(current), Some(new)) if rule.merge => merge_list(current, new, rule, inner)?,
            (Some(_), Some(new)) => new,
        };
        if sort?.is_none() {
            return Err(Failed::Misfit("no elements in any of the given slices".to_owned()));
        }
        fields.insert(key.clone(), Value::Array(order::enforce(merged, &order, &before, rule.key.as_deref())?));
        patch.remove(&key);
    }
    Ok(())
}

fn list(value: Value) -> Result<Vec<Value>, Failed> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Failed::Misfit(format!("expected a []interface {{}}, but received a {}", go_type(&other)))),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What the items of a list are; they must be alike.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Map,
    Scalar(&'static str),
}

fn element_type(lists: &[&[Value]]) -> Result<Option<Sort>, Failed> {
    let mut found: Option<Sort> = None;
    for item in lists.iter().copied().flatten() {
        let sort = match item {
            Value::Object(_) => Sort::Map,
            Value::Array(_) => return Err(Failed::ListOfLists),
            scalar => Sort::Scalar(go_type(scalar)),
        };
        if found.is_some_and(|before| before != sort) {
            let shown: Vec<String> = lists.iter().map(|list| go_text(&Value::Array(list.to_vec()))).collect();
            return Err(Failed::Misfit(format!("list element types are not identical: [{}]", shown.join(" "))));
        }
        found = Some(sort);
    }
    Ok(found)
}

fn merge_list(current: Vec<Value>, patch: Vec<Value>, rule: &PatchRule, item: At<'_>) -> Result<Vec<Value>, Failed> {
    let Some(sort) = element_type(&[&current, &patch])? else { return Ok(current) };
    if let Sort::Scalar(_) = sort {
        let mut seen = HashSet::new();
        let merged = current.iter().chain(&patch).filter(|one| seen.insert(*one)).cloned().collect();
        return order::enforce(merged, &patch, &current, rule.key.as_deref());
    }
    let Some(key) = rule.key.as_deref() else {
        return Err(Failed::Misfit(format!("cannot merge lists without merge key for {}", item.name())));
    };
    let (before, new) = special_items(current, patch, key)?;
    let merged = merge_items(before.clone(), new.clone(), key, item)?;
    order::enforce(merged, &new, &before, Some(key))
}

/// Carries out `$patch: delete` and `$patch: replace` items; returns the list without what they took, and the other items.
fn special_items(mut current: Vec<Value>, patch: Vec<Value>, key: &str) -> Result<(Vec<Value>, Vec<Value>), Failed> {
    let (mut others, mut replace, mut gone) = (Vec::new(), false, HashSet::new());
    for item in patch {
        match item.get(DIRECTIVE) {
            None => others.push(item),
            Some(Value::String(word)) if word == "delete" => {
                let value = item.get(key).ok_or_else(|| no_key(&item, key))?;
                gone.insert(value.clone());
            }
            Some(Value::String(word)) if word == "replace" => replace = true,
            Some(Value::String(word)) if word == "merge" => {
                return Err(Failed::Misfit("merging lists cannot yet be specified in the patch".to_owned()));
            }
            Some(other) => {
                let shown = go_text(&item);
                return Err(Failed::Misfit(format!("unknown patch type: {} in map: {shown}", go_text(other))));
            }
        }
    }
    current.retain(|one| one.get(key).is_none_or(|value| !gone.contains(value)));
    Ok(if replace { (others, Vec::new()) } else { (current, others) })
}

fn merge_items(mut current: Vec<Value>, patch: Vec<Value>, key: &str, at: At<'_>) -> Result<Vec<Value>, Failed> {
    let mut places = HashMap::new();
    for (place, value) in current.iter().enumerate().filter_map(|(place, one)| Some((place, one.get(key)?))) {
        places.entry(value.clone()).or_insert(place);
    }
    for item in patch {
        let value = item.get(key).ok_or_else(|| no_key(&item, key))?;
        let same = places.get(value).copied();
        if same.is_none() {
            places.insert(value.clone(), current.len());
        }
        match (same, item) {
            (Some(index), Value::Object(item)) => {
                if let Value::Object(fields) = std::mem::take(&mut current[index]) {
                    current[index] = Value::Object(merge_map(fields, item, at)?);
                }
            }
            (_, item) => current.push(item),
        }
    }
    Ok(current)
}

fn no_key(item: &Value, key: &str) -> Failed {
    Failed::Misfit(format!("map: {} does not contain declared merge key: {key}", go_text(item)))
}

/// Drops null fields of maps that are new.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// A value that is new, without the maps that are only directives; `None` when it is one itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(DIRECTIVE) => None,
        Value::Object(fields) => Some(Value::Object(
            fields.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?))).collect(),
        )),
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(without_directives).collect())),
        scalar => Some(scalar),
    }
}

/// A value as Go prints it in messages.
pub(super) fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let shown: Vec<String> = fields.iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", shown.join(" "))
        }
        scalar => scalar.to_string(),
    }
}
