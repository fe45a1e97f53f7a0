//! The rules of `metadata`, which every kind shares.
//!
//! Source: apimachinery `api/validation/objectmeta.go`, apiserver `registry/rest`.

use serde_json::{Map, Value};

use crate::names::{self, NameRule};
use crate::object::Object;
use crate::status::{FieldError, FieldErrorKind, quoted};

/// The most bytes that all annotations of an object may hold.
const ANNOTATION_BYTES: usize = 256 * 1024;
/// The longest name of a field manager.
const MANAGER_MAX: usize = 128;
/// The longest name of a subresource in `managedFields`.
const SUBRESOURCE_MAX: usize = 256;

/// How a kind's own checks judge metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaRules {
    /// What names must be.
    pub name: NameRule,
    /// Whether the checks of a create look at metadata (those of events of the old form do not).
    pub on_create: bool,
    /// What the checks of an update look at.
    pub on_update: Repeats,
    /// Whether finalizers must be standard ones or have a domain.
    pub finalizers: bool,
    /// Whether an update may leave out the version that it replaces.
    pub unconditional: bool,
}

/// What of metadata a kind's own update checks look at once more; upstream lists a mistake as often as it finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// Nothing.
    Nothing,
    /// The rules of an update.
    Update,
    /// The rules of a new object.
    Create,
    /// Both, the rules of an update first.
    Both,
}

impl MetaRules {
    /// The rules of most kinds: names are DNS subdomains, updates look at the rules of an update again.
    pub const COMMON: Self = Self {
        name: NameRule::Subdomain,
        on_create: true,
        on_update: Repeats::Update,
        finalizers: true,
        unconditional: true,
    };

    /// The same with another rule for names.
    #[must_use]
    pub const fn named(mut self, name: NameRule) -> Self {
        self.name = name;
        self
    }

    /// The same with other repeats on update.
    #[must_use]
    pub const fn repeating(mut self, on_update: Repeats) -> Self {
        self.on_update = on_update;
        self
    }
}

/// What is wrong with a new object's metadata by its kind's own rules.
#[must_use]
pub fn validate_create(object: &Object, rules: MetaRules, namespaced: bool) -> Vec<FieldError> {
    if rules.on_create { own(object, rules, namespaced) } else { Vec::new() }
}

/// What is wrong with a new object's metadata by the rules of all kinds; asked when nothing else is wrong.
#[must_use]
pub fn validate_common(object: &Object, namespaced: bool) -> Vec<FieldError> {
    whole(object, NameRule::Path, namespaced)
}

/// What is wrong with an update's metadata: first what is asked of all kinds, then what the kind repeats.
#[must_use]
pub fn validate_update(object: &Object, old: &Object, rules: MetaRules, namespaced: bool) -> Vec<FieldError> {
    let mut errors = whole(object, NameRule::Path, namespaced);
    errors.extend(update(object, old));
    if matches!(rules.on_update, Repeats::Update | Repeats::Both) {
        errors.extend(update(object, old));
    }
    if matches!(rules.on_update, Repeats::Create | Repeats::Both) {
        errors.extend(own(object, rules, namespaced));
    }
    errors
}

fn own(object: &Object, rules: MetaRules, namespaced: bool) -> Vec<FieldError> {
    let mut errors = whole(object, rules.name, namespaced);
    for (index, name) in object.finalizers().enumerate().filter(|_| rules.finalizers) {
        errors.extend(standard_finalizer(name, &format!("metadata.finalizers[{index}]")));
    }
    errors
}

fn whole(object: &Object, rule: NameRule, namespaced: bool) -> Vec<FieldError> {
    let mut errors = name_errors(object, rule);
    errors.extend(namespace_errors(object.namespace(), namespaced));
    if object.generation() < 0 {
        let value = Value::from(object.generation());
        errors.push(FieldError::invalid("metadata.generation", &value, "must be greater than or equal to 0"));
    }
    errors.extend(labels(field(object, "labels"), "metadata.labels"));
    errors.extend(annotations(field(object, "annotations"), "metadata.annotations"));
    errors.extend(owners(object));
    errors.extend(finalizers(object));
    errors.extend(managed_fields(object));
    errors
}

fn field<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.at(&["metadata", name])
}

fn name_errors(object: &Object, rule: NameRule) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let base = object.text(&["metadata", "generateName"]).unwrap_or_default();
    if !base.is_empty() {
        errors.extend(all_invalid("metadata.generateName", base, rule.check(base, true)));
    }
    let name = object.name();
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        errors.extend(all_invalid("metadata.name", name, rule.check(name, false)));
    }
    errors
}

fn namespace_errors(namespace: &str, namespaced: bool) -> Vec<FieldError> {
    match (namespaced, namespace) {
        (true, "") => vec![FieldError::required("metadata.namespace", "")],
        (true, some) => all_invalid("metadata.namespace", some, NameRule::Label.check(some, false)),
        (false, "") => Vec::new(),
        (false, _) => vec![FieldError::forbidden("metadata.namespace", "not allowed on this type")],
    }
}

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

fn owners(object: &Object) -> Vec<FieldError> {
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

fn finalizers(object: &Object) -> Vec<FieldError> {
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

fn standard_finalizer(name: &str, field: &str) -> Option<FieldError> {
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    let bad = !name.contains('/') && !STANDARD_FINALIZERS.contains(&name);
    bad.then(|| FieldError::invalid_text(field, name, why))
}

fn managed_fields(object: &Object) -> Vec<FieldError> {
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

fn update(object: &Object, old: &Object) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old.is_deleting() {
        errors.extend(new_finalizers(object, old));
    }
    if object.text(&["metadata", "resourceVersion"]).unwrap_or_default().is_empty() {
        errors.push(FieldError::invalid_text("metadata.resourceVersion", "", "must be specified for an update"));
    }
    if object.generation() < old.generation() {
        let value = Value::from(object.generation());
        errors.push(FieldError::invalid("metadata.generation", &value, "must not be decremented"));
    }
    for name in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        errors.extend(immutable(object, old, name));
    }
    errors.extend(labels(field(object, "labels"), "metadata.labels"));
    errors.extend(annotations(field(object, "annotations"), "metadata.annotations"));
    errors.extend(owners(object));
    errors.extend(managed_fields(object));
    errors
}

fn immutable(object: &Object, old: &Object, name: &str) -> Option<FieldError> {
    let set = |value: Option<&Value>| value.filter(|value| !value.is_null() && **value != "").cloned();
    let (new, old) = (set(field(object, name)), set(field(old, name)));
    let empty = || if name.ends_with("amp") || name.ends_with("Seconds") { Value::Null } else { Value::from("") };
    (new != old)
        .then(|| FieldError::invalid(format!("metadata.{name}"), &new.unwrap_or_else(empty), "field is immutable"))
}

fn new_finalizers(object: &Object, old: &Object) -> Option<FieldError> {
    let had: Vec<&str> = old.finalizers().collect();
    let mut added: Vec<&str> = object.finalizers().filter(|one| !had.contains(one)).collect();
    added.sort_unstable();
    added.dedup();
    let shown: Vec<String> = added.iter().map(|one| quoted(one)).collect();
    let why = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        shown.join(", ")
    );
    (!added.is_empty()).then(|| FieldError::forbidden("metadata.finalizers", why))
}

/// Drops what the client of a create may not set. The caller sets uid, time and managed fields afterwards.
pub fn clear_for_create(object: &mut Object) {
    for name in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        object.remove(&["metadata", name]);
    }
}

/// The letters and digits of which the endings of generated names are made.
pub const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them an ending has.
pub const NAME_ENDING: usize = 5;

/// Names a new object that has a `generateName` only; `ending` is made of [`NAME_ALPHABET`] at random.
pub fn generate_name(object: &mut Object, ending: &str) {
    const MAX: usize = 63;
    let base = object.text(&["metadata", "generateName"]).unwrap_or_default();
    if base.is_empty() || !object.name().is_empty() {
        return;
    }
    let kept: String = base.chars().take(MAX - NAME_ENDING).collect();
    object.set(&["metadata", "name"], Value::from(format!("{kept}{ending}")));
}

/// Puts back what an update may not change, before the kind's own preparation.
///
/// A uid that the client sends stays, so that another one is noticed; so does its resourceVersion.
pub fn keep_on_update(object: &mut Object, old: &Object) {
    let kept = |name: &str| field(old, name).cloned();
    put(object, "generation", kept("generation"));
    if object.uid().0.is_empty() {
        put(object, "uid", kept("uid"));
    }
    if let Some(time) = kept("creationTimestamp").filter(|time| !time.is_null()) {
        put(object, "creationTimestamp", Some(time));
    }
    if let Some(time) = kept("deletionTimestamp").filter(|time| !time.is_null()) {
        put(object, "deletionTimestamp", Some(time));
    }
    if field(object, "deletionGracePeriodSeconds").is_none_or(Value::is_null) {
        put(object, "deletionGracePeriodSeconds", kept("deletionGracePeriodSeconds"));
    }
    object.remove(&["metadata", "selfLink"]);
}

fn put(object: &mut Object, name: &str, value: Option<Value>) {
    match value {
        Some(value) => object.set(&["metadata", name], value),
        None => {
            object.remove(&["metadata", name]);
        }
    }
}

/// The labels or annotations of an object as a JSON map, empty when absent.
#[must_use]
pub fn map<'a>(object: &'a Object, name: &str) -> Option<&'a Map<String, Value>> {
    field(object, name).and_then(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(metadata: Value) -> Object {
        Object::try_from(json!({"metadata": metadata})).unwrap()
    }

    fn said(errors: &[FieldError]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_new_object() {
        let fine = object(json!({"name": "a", "namespace": "b", "labels": {"a": ""}, "finalizers": ["x/y"]}));
        assert!(validate_create(&fine, MetaRules::COMMON, true).is_empty());
        let bad = object(json!({"namespace": "b", "finalizers": ["foo"], "ownerReferences": [{"apiVersion": "v1"}]}));
        assert_eq!(
            said(&validate_create(&bad, MetaRules::COMMON, true)),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.ownerReferences.kind: Invalid value: \"\": must not be empty",
                "metadata.ownerReferences.name: Invalid value: \"\": must not be empty",
                "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
                "metadata.finalizers[0]: Invalid value: \"foo\": name is neither a standard finalizer name nor is it \
                 fully qualified",
            ]
        );
    }

    #[test]
    fn an_update_keeps_identity_and_complains_twice() {
        let old = object(json!({"name": "a", "namespace": "b", "uid": "1", "creationTimestamp": "t",
                                "deletionTimestamp": "d", "finalizers": ["x/y"]}));
        let mut new = object(json!({"name": "a", "namespace": "b", "resourceVersion": "1", "uid": "2",
                                    "finalizers": ["x/y", "a/b"]}));
        keep_on_update(&mut new, &old);
        assert_eq!(new.at(&["metadata", "creationTimestamp"]), Some(&json!("t")));
        let one = [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{\"a/b\"}",
            "metadata.uid: Invalid value: \"2\": field is immutable",
        ];
        assert_eq!(said(&validate_update(&new, &old, MetaRules::COMMON, true)), [one, one].concat());
    }
}
