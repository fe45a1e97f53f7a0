//! The parts of `metadata` that have rules of their own: labels, annotations, owners, finalizers, managers.

use serde_json::Value;

use super::field;
use crate::names;
use crate::object::Object;
use crate::status::{FieldError, FieldErrorKind};

/// The most bytes that all annotations of an object may hold.
const ANNOTATION_BYTES: usize = 256 * 1024;
/// The longest name of a field manager.
const MANAGER_MAX: usize = 128;
/// The longest name of a subresource in `managedFields`.
const SUBRESOURCE_MAX: usize = 256;

/// One mistake for each complaint about a text.
pub fn all_invalid(field: &str, text: &str, complaints: Vec<String>) -> Vec<FieldError> {
    complaints.iter().map(|why| FieldError::invalid_text(field, text, why)).collect()
}

fn pairs(map: Option<&Value>) -> impl Iterator<Item = (&str, &str)> {
    let map = map.and_then(Value::as_object);
    map.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
}

/// What is wrong with a map of labels at `field`.
#[must_use]
pub fn labels(map: Option<&Value>, field: &str) -> Vec<FieldError> {
    label_pairs(pairs(map), field)
}

/// What is wrong with labels, given as pairs, at `field`.
pub fn label_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in pairs {
        errors.extend(all_invalid(field, key, names::qualified(key)));
        errors.extend(all_invalid(field, value, names::label_value(value)));
    }
    errors
}

/// What is wrong with a map of annotations at `field`.
#[must_use]
pub fn annotations(map: Option<&Value>, field: &str) -> Vec<FieldError> {
    annotation_pairs(pairs(map), field)
}

/// What is wrong with annotations, given as pairs, at `field`.
pub fn annotation_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut bytes = 0;
    for (key, value) in pairs {
        errors.extend(all_invalid(field, key, names::qualified(&key.to_lowercase())));
        bytes += key.len() + value.len();
    }
    if bytes > ANNOTATION_BYTES {
        errors.push(FieldError::too_long(field, ANNOTATION_BYTES));
    }
    errors
}

fn list<'a>(object: &'a Object, name: &str) -> impl Iterator<Item = &'a Value> {
    field(object, name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn owners(object: &Object) -> Vec<FieldError> {
    const FIELD: &str = "metadata.ownerReferences";
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for owner in list(object, "ownerReferences") {
        errors.extend(owner_errors(owner, FIELD));
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        if let Some(first) = &controller {
            let all: Vec<String> = list(object, "ownerReferences").map(owner_json).collect();
            let why = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
            );
            errors.push(FieldError::new(FieldErrorKind::Invalid, FIELD, format!("[{}]: {why}", all.join(","))));
        } else {
            controller = Some(this);
        }
    }
    errors
}

fn owner_errors(owner: &Value, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let version = text(owner, "apiVersion");
    if version.rsplit('/').next().is_none_or(str::is_empty) {
        errors.push(FieldError::invalid_text(format!("{field}.apiVersion"), version, "version must not be empty"));
    }
    for name in ["kind", "name", "uid"] {
        if text(owner, name).is_empty() {
            errors.push(FieldError::invalid_text(format!("{field}.{name}"), "", "must not be empty"));
        }
    }
    if version == "v1" && text(owner, "kind") == "Event" {
        let why = "/v1, Kind=Event is disallowed from being an owner";
        errors.push(FieldError::new(FieldErrorKind::Invalid, field, format!("{}: {why}", owner_json(owner))));
    }
    errors
}

/// An owner reference in upstream's order of fields.
fn owner_json(owner: &Value) -> String {
    let mut parts: Vec<String> = ["apiVersion", "kind", "name", "uid"]
        .iter()
        .map(|name| format!("\"{name}\":{}", Value::from(text(owner, name))))
        .collect();
    for name in ["controller", "blockOwnerDeletion"] {
        if let Some(Value::Bool(value)) = owner.get(name) {
            parts.push(format!("\"{name}\":{value}"));
        }
    }
    format!("{{{}}}", parts.join(","))
}

pub(super) fn finalizers(object: &Object) -> Vec<FieldError> {
    const FIELD: &str = "metadata.finalizers";
    let mut errors = Vec::new();
    for name in object.finalizers() {
        errors.extend(all_invalid(FIELD, name, names::qualified(name)));
    }
    let has = |name: &str| object.finalizers().any(|one| one == name);
    if has("orphan") && has("foregroundDeletion") {
        let value = field(object, "finalizers").cloned().unwrap_or_default();
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(FIELD, &value, why));
    }
    errors
}

const STANDARD_FINALIZERS: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];

/// What is wrong with a finalizer of a namespace's spec.
#[must_use]
pub fn finalizer(name: &str, field: &str) -> Vec<FieldError> {
    let mut errors = all_invalid(field, name, names::qualified(name));
    errors.extend(standard_finalizer(name, field));
    errors
}

pub(super) fn standard_finalizer(name: &str, field: &str) -> Option<FieldError> {
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    let bad = !name.contains('/') && !STANDARD_FINALIZERS.contains(&name);
    bad.then(|| FieldError::invalid_text(field, name, why))
}

pub(super) fn managed_fields(object: &Object) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, entry) in list(object, "managedFields").enumerate() {
        let at = format!("metadata.managedFields[{index}]");
        let operation = text(entry, "operation");
        if operation != "Apply" && operation != "Update" {
            let why = "must be `Apply` or `Update`";
            errors.push(FieldError::invalid_text(format!("{at}.operation"), operation, why));
        }
        let kind = text(entry, "fieldsType");
        if !kind.is_empty() && kind != "FieldsV1" {
            errors.push(FieldError::invalid_text(format!("{at}.fieldsType"), kind, "must be `FieldsV1`"));
        }
        errors.extend(field_manager(text(entry, "manager"), &format!("{at}.manager")));
        if text(entry, "subresource").len() > SUBRESOURCE_MAX {
            errors.push(FieldError::too_long(format!("{at}.subresource"), SUBRESOURCE_MAX));
        }
    }
    errors
}

/// What is wrong with the name of a field manager.
#[must_use]
pub fn field_manager(name: &str, field: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if name.len() > MANAGER_MAX {
        errors.push(FieldError::too_long(field, MANAGER_MAX));
    }
    for (position, bad) in name.char_indices().filter(|(_, one)| one.is_control()) {
        let why = format!("invalid character U+{:04X} (at position {position})", u32::from(bad));
        errors.push(FieldError::invalid_text(field, name, &why));
    }
    errors
}
