//! The rules of `metadata`, which every kind shares.
//!
//! Source: apimachinery `api/validation/objectmeta.go`, apiserver `registry/rest`.

mod parts;

use serde_json::{Map, Value};

pub use parts::{all_invalid, annotation_pairs, annotations, field_manager, finalizer, label_pairs, labels};

use crate::names::NameRule;
use crate::object::Object;
use crate::status::{FieldError, quoted};
use parts::{finalizers, managed_fields, owners, standard_finalizer};

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
