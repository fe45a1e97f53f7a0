//! What every schema by itself must be, wherever it stands.
//!
//! Source: apiextensions-apiserver `apis/apiextensions/validation/validation.go`.

use serde_json::Value;

use super::{EMBEDDED, FREE, LIST_KEYS, LIST_TYPE, MAP_TYPE, RULES, is, properties, several, type_of};
use crate::rules::definition::spec::words;
use crate::status::FieldError;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// What holds for a schema because of where it stands.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub(super) root: bool,
    /// Why nothing may be filled in here.
    pub(super) no_defaults: Option<&'a str>,
    /// Whether it is of the fields that every resource has.
    pub(super) meta: bool,
}

/// What is not allowed anywhere, and what lists and maps must be.
pub(super) fn every(schema: &Value, at: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    if !schema.is_object() {
        return;
    }
    allowed(schema, at, place, errors);
    let below = Place { root: false, ..place };
    let more = &schema["additionalProperties"];
    if !more.is_null() {
        if properties(schema).next().is_some() && *more != Value::Bool(true) {
            let why = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(format!("{at}.additionalProperties"), why));
        }
        let why = "inside additionalProperties applying to object metadata";
        let no_defaults = if place.meta { Some(why) } else { place.no_defaults };
        every(more, &format!("{at}.additionalProperties"), Place { no_defaults, ..below }, errors);
    }
    for (name, inner) in properties(schema) {
        let known = ["metadata", "kind", "apiVersion"].contains(&name.as_str());
        let meta = known && (place.root || is(schema, EMBEDDED));
        let why = format!("in top-level {name}");
        let no_defaults = if meta && place.root { Some(why.as_str()) } else { place.no_defaults };
        let place = Place { meta: place.meta || meta, no_defaults, root: false };
        every(inner, &format!("{at}.properties[{name}]"), place, errors);
    }
    every(&schema["not"], &format!("{at}.not"), below, errors);
    for name in ["allOf", "oneOf", "anyOf"] {
        for (index, inner) in several(schema, name) {
            every(inner, &format!("{at}.{name}[{index}]"), below, errors);
        }
    }
    every(&schema["items"], &format!("{at}.items"), below, errors);
    if schema[FREE] == Value::Bool(false) {
        errors.push(FieldError::invalid(format!("{at}.{FREE}"), &Value::Bool(false), "must be true or undefined"));
    }
    lists(schema, at, errors);
    rule_texts(schema, at, errors);
}

/// Parts of JSON schemas that are not supported, with whether their absence is empty.
const UNSUPPORTED: [&str; 6] = ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"];

fn allowed(schema: &Value, at: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    let found = type_of(schema);
    if !found.is_empty() && !TYPES.contains(&found) {
        errors.push(FieldError::not_supported(format!("{at}.type"), &found.into(), &TYPES));
    }
    if let Some(why) = place.no_defaults.filter(|_| schema.get("default").is_some()) {
        errors.push(FieldError::forbidden(format!("{at}.default"), format!("must not be set {why}")));
    }
    for name in UNSUPPORTED.into_iter().filter(|name| !schema[*name].is_null()) {
        errors.push(FieldError::forbidden(format!("{at}.{name}"), format!("{name} is not supported")));
    }
    if found == "null" {
        let why = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(format!("{at}.type"), why));
    }
    if schema["items"].is_array() {
        let why = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(format!("{at}.items"), why));
    }
    if place.meta && is(schema, EMBEDDED) {
        errors.push(FieldError::forbidden(format!("{at}.{EMBEDDED}"), "must not be used inside of resource meta"));
    }
    if is(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(format!("{at}.uniqueItems"), why));
    }
}

/// A `type` that an extension asks for.
fn wants_type(schema: &Value, wanted: &str, extension: &str, at: &str) -> Option<FieldError> {
    let (found, here) = (type_of(schema), format!("{at}.type"));
    let why = format!("must be {wanted} if {extension} is specified");
    match found {
        _ if schema[extension].is_null() || found == wanted => None,
        "" => Some(FieldError::required(here, why)),
        _ => Some(FieldError::invalid_text(here, found, &why)),
    }
}

fn lists(schema: &Value, at: &str, errors: &mut Vec<FieldError>) {
    errors.extend(wants_type(schema, "object", MAP_TYPE, at));
    let map_type = schema[MAP_TYPE].as_str();
    if let Some(other) = map_type.filter(|one| !["atomic", "granular"].contains(one)) {
        let here = format!("{at}.{MAP_TYPE}");
        errors.push(FieldError::not_supported(here, &other.into(), &["atomic", "granular"]));
    }
    let (list_type, items) = (schema[LIST_TYPE].as_str(), &schema["items"]);
    match wants_type(schema, "array", LIST_TYPE, at) {
        Some(error) => errors.push(error),
        None if list_type == Some("set") => errors.extend(set_items(items, at)),
        None => {}
    }
    if let Some(other) = list_type.filter(|one| !["atomic", "set", "map"].contains(one)) {
        let here = format!("{at}.{LIST_TYPE}");
        errors.push(FieldError::not_supported(here, &other.into(), &["atomic", "set", "map"]));
    }
    let keys: Vec<String> =
        schema[LIST_KEYS].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if !keys.is_empty() && list_type != Some("map") {
        let (here, why) = (format!("{at}.{LIST_TYPE}"), "must be map if x-kubernetes-list-map-keys is non-empty");
        errors.push(list_type.map_or_else(
            || FieldError::required(here.clone(), why),
            |other| FieldError::invalid_text(here.clone(), other, why),
        ));
    }
    if list_type == Some("map") {
        map_keys(&keys, items, at, errors);
    }
    if let Some(kind) = list_type.filter(|one| ["set", "map"].contains(one)) {
        if is(items, "nullable") {
            let why = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
            errors.push(FieldError::forbidden(format!("{at}.items.nullable"), why));
        }
        if kind == "map" {
            always_there(&keys, items, at, errors);
        }
    }
}

/// What is told apart as a whole is owned as a whole.
fn set_items(items: &Value, at: &str) -> Option<FieldError> {
    const WHY: &str = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let (name, found) = match type_of(items) {
        "array" => (LIST_TYPE, items[LIST_TYPE].as_str().or(Some("atomic"))),
        "object" => (MAP_TYPE, items[MAP_TYPE].as_str()),
        _ => return None,
    };
    (found != Some("atomic")).then(|| FieldError::invalid(format!("{at}.items.{name}"), &items[LIST_TYPE], WHY))
}

fn map_keys(keys: &[String], items: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let here = format!("{at}.{LIST_KEYS}");
    if keys.is_empty() {
        errors.push(FieldError::required(here.clone(), "must not be empty if x-kubernetes-list-type is map"));
    }
    if items.is_null() {
        let why = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(format!("{at}.items"), why));
    }
    if items.is_object() && type_of(items) != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid_text(format!("{at}.items.type"), type_of(items), why));
        return;
    }
    for (index, key) in keys.iter().enumerate().filter(|_| items.is_object()) {
        match items["properties"].get(key) {
            Some(inner) if ["array", "object"].contains(&type_of(inner)) => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let here = format!("{at}.items.properties[{key}].type");
                errors.push(FieldError::invalid_text(here, type_of(items), why));
            }
            Some(_) => {}
            None => errors.push(words(here.clone(), keys, "entries must all be names of item properties")),
        }
        if keys[..index].contains(key) {
            errors.push(words(here.clone(), keys, "must not contain duplicate entries"));
        }
    }
}

/// Keys of items are there, whatever a client leaves out.
fn always_there(keys: &[String], items: &Value, at: &str, errors: &mut Vec<FieldError>) {
    let required = |key: &str| items["required"].as_array().into_iter().flatten().any(|one| one == key);
    for key in keys {
        let Some(inner) = items["properties"].get(key) else { continue };
        let here = format!("{at}.items.properties[{key}]");
        if !required(key) && inner.get("default").is_none() {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(format!("{here}.default"), why));
        }
        if is(inner, "nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(format!("{here}.nullable"), why));
        }
    }
}

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What stands beside a rule.
fn rule_texts(schema: &Value, at: &str, errors: &mut Vec<FieldError>) {
    for (index, rule) in several(schema, RULES) {
        let here = format!("{at}.{RULES}[{index}]");
        let text = |name: &str| rule[name].as_str().unwrap_or_default();
        let blank = |name: &str| !text(name).is_empty() && text(name).trim().is_empty();
        let broken = |name: &str| text(name).trim().contains(['\n', '\r']);
        if text("rule").trim().is_empty() {
            errors.push(FieldError::required(format!("{here}.rule"), "rule is not specified"));
        } else if blank("message") {
            let why = "must be non-empty if specified";
            errors.push(FieldError::invalid_text(format!("{here}.message"), text("message"), why));
        } else if broken("message") {
            let why = "must not contain line breaks";
            errors.push(FieldError::invalid_text(format!("{here}.message"), text("message"), why));
        } else if broken("rule") && text("message").trim().is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(format!("{here}.message"), why));
        }
        if blank("messageExpression") {
            let why = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(format!("{here}.messageExpression"), why));
        }
        if let Some(reason) = rule["reason"].as_str().filter(|reason| !REASONS.contains(reason)) {
            errors.push(FieldError::not_supported(format!("{here}.reason"), &reason.into(), &REASONS));
        }
        if blank("fieldPath") {
            let why = "must be non-empty if specified";
            errors.push(FieldError::invalid_text(format!("{here}.fieldPath"), text("fieldPath"), why));
        }
    }
}
