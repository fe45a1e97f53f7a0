//! What the schema of a version must be: structural, so that unknown fields can be told from known ones.
//!
//! Errors come in upstream's order: structure first (sorted by their text), then defaults, then every schema by itself,
//! then rules in CEL. Source: apiextensions-apiserver `apiserver/schema/validation.go`, `apis/apiextensions/validation`.

use serde_json::Value;

use crate::custom;
use crate::status::{FieldError, FieldErrorKind};

mod each;
mod structural;

use each::{Place, every};
use structural::Level;

/// What may stand at the root of a schema whose status is a part of its own.
const ROOT: [&str; 8] =
    ["description", "type", "format", "title", "maximum", "properties", "required", "x-kubernetes-validations"];
const ROOT_SHOWN: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength \
    MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example \
    XPreserveUnknownFields XValidations]";
const FREE: &str = "x-kubernetes-preserve-unknown-fields";
const EITHER: &str = "x-kubernetes-int-or-string";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const LIST_TYPE: &str = "x-kubernetes-list-type";
const LIST_KEYS: &str = "x-kubernetes-list-map-keys";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const RULES: &str = "x-kubernetes-validations";

/// Whether a schema fills anything in.
pub(super) fn has_defaults(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.contains_key("default")
                || ["properties", "definitions", "patternProperties"]
                    .iter()
                    .filter_map(|name| map.get(*name)?.as_object())
                    .any(|inner| inner.values().any(has_defaults))
                || ["items", "additionalProperties", "not", "allOf", "anyOf", "oneOf"]
                    .iter()
                    .filter_map(|name| map.get(*name))
                    .any(has_defaults)
        }
        Value::Array(items) => items.iter().any(has_defaults),
        _ => false,
    }
}

/// Everything wrong with the schema of a version; `has_status` says that its status is a part of its own.
pub(super) fn check(schema: &Value, at: &str, has_status: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if has_status {
        errors.extend(root(schema, at));
    }
    if is(schema, "nullable") {
        errors.push(FieldError::forbidden(format!("{at}.nullable"), "nullable cannot be true at the root"));
    }
    let mut shape = Vec::new();
    structural::invariants(schema, Level::Root, at, &mut shape);
    structural::completeness(schema, at, &mut shape);
    shape.sort_by_cached_key(ToString::to_string);
    let mut sound = shape.is_empty();
    errors.extend(shape);
    if sound {
        let defaults = custom::wrong_defaults(schema, at);
        sound = defaults.is_empty();
        errors.extend(defaults);
    }
    let mut each = Vec::new();
    every(schema, at, Place { root: true, ..Place::default() }, &mut each);
    let well_formed = each.is_empty();
    errors.extend(each);
    if sound && well_formed {
        errors.extend(rules(schema, at));
    }
    errors
}

fn is(schema: &Value, name: &str) -> bool {
    schema[name] == Value::Bool(true)
}

fn type_of(schema: &Value) -> &str {
    schema["type"].as_str().unwrap_or_default()
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn several<'a>(schema: &'a Value, name: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    schema[name].as_array().into_iter().flatten().enumerate()
}

fn root(schema: &Value, at: &str) -> Option<FieldError> {
    if !["", "object"].contains(&type_of(schema)) {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        return Some(FieldError::invalid_text(format!("{at}.type"), type_of(schema), why));
    }
    const BARRED: [&str; 7] = ["allOf", "anyOf", "oneOf", "not", "additionalProperties", "enum", "default"];
    let barred =
        schema.as_object()?.keys().find(|name| BARRED.contains(&name.as_str()) && !ROOT.contains(&name.as_str()));
    barred.map(|_| {
        let why = format!(
            "only {ROOT_SHOWN} fields are allowed at the root of the schema if the status subresource is enabled"
        );
        FieldError::invalid(at, schema, &why)
    })
}

/// Rules that are not understood.
fn rules(schema: &Value, at: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, rule) in several(schema, RULES) {
        if let Some(why) = custom::rule_error(schema, index) {
            let text = |name: &str| rule[name].as_str().unwrap_or_default();
            let shown = serde_json::json!({
                "Rule": text("rule"), "Message": text("message"), "MessageExpression": text("messageExpression"),
                "Reason": rule["reason"], "FieldPath": text("fieldPath"), "OptionalOldSelf": rule["optionalOldSelf"],
            });
            let why = format!("{}: compilation failed: {why}", in_order(&shown));
            errors.push(FieldError::new(FieldErrorKind::Invalid, format!("{at}.{RULES}[{index}].rule"), why));
        }
    }
    for (name, inner) in properties(schema) {
        errors.extend(rules(inner, &format!("{at}.properties[{name}]")));
    }
    for name in ["items", "additionalProperties"].into_iter().filter(|name| schema[*name].is_object()) {
        errors.extend(rules(&schema[name], &format!("{at}.{name}")));
    }
    errors
}

/// A rule as upstream's own struct shows it: the order of its fields is that of the struct.
fn in_order(rule: &Value) -> String {
    let fields = ["Rule", "Message", "MessageExpression", "Reason", "FieldPath", "OptionalOldSelf"];
    let one = |name: &str| format!("{name:?}:{}", crate::status::shown(&rule[name]));
    format!("{{{}}}", fields.into_iter().map(one).collect::<Vec<_>>().join(","))
}
